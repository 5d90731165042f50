"""Files appear whole or not at all, on a disk and in memory alike (the fsspec interface that S3 has too)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from winnow.store.blobs import Blobs


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Blobs]:
    if request.param == "file":
        yield Blobs((tmp_path / "a folder" / "blobs").as_uri())
    else:
        yield Blobs("memory://bucket/prefix")
        fsspec.filesystem("memory").store.clear()


def write(store: Blobs, path: str, content: bytes) -> None:
    with store.write(path) as file:
        file.write(content)


def interrupted(store: Blobs) -> None:
    with store.write("a/b") as file:
        file.write(b"new")
        raise KeyboardInterrupt


def test_file_comes_back_as_it_was_written(store: Blobs) -> None:
    write(store, "datasets/ds_1/upload", b"one")
    with store.open_read("datasets/ds_1/upload") as file:
        assert file.read() == b"one"
    assert store.exists("datasets/ds_1/upload")
    assert store.size("datasets/ds_1/upload") == 3


def test_file_is_not_there_before_it_is_whole(store: Blobs) -> None:
    with store.write("runs/r/scores.parquet") as file:
        file.write(b"half")
        assert not store.exists("runs/r/scores.parquet")
    assert store.exists("runs/r/scores.parquet")


def test_file_that_is_written_again_is_replaced(store: Blobs) -> None:
    write(store, "a/b", b"first, and longer")
    write(store, "a/b", b"second")
    with store.open_read("a/b") as file:
        assert file.read() == b"second"


def test_interrupted_write_leaves_nothing_and_keeps_the_old_file(store: Blobs) -> None:
    write(store, "a/b", b"old")
    with pytest.raises(KeyboardInterrupt):
        interrupted(store)
    with store.open_read("a/b") as file:
        assert file.read() == b"old"
    assert len(store.fs.find(store.root)) == 1


def test_deleting_a_tree_leaves_its_neighbours_and_may_be_repeated(store: Blobs) -> None:
    for path in ("datasets/ds_1/upload", "datasets/ds_1/rows/part-0", "datasets/ds_10/upload"):
        write(store, path, b"x")
    for _ in range(2):
        store.delete_tree("datasets/ds_1")
    assert not store.exists("datasets/ds_1/upload")
    assert store.exists("datasets/ds_10/upload")


def test_what_is_not_there_is_not_there(store: Blobs) -> None:
    assert not store.exists("no/such")
    with pytest.raises(FileNotFoundError):
        store.open_read("no/such")
    with pytest.raises(FileNotFoundError):
        store.size("no/such")


def test_file_url_names_the_folder_that_it_looks_like(tmp_path: Path) -> None:
    folder = tmp_path / "100 % of a folder"
    write(Blobs(folder.as_uri()), "upload", b"x")
    assert (folder / "upload").read_bytes() == b"x"


def test_folder_is_a_place_inside_a_file_system(store: Blobs) -> None:
    write(store, "datasets/ds_1/rows/part-0", b"x")
    fs, root = store.folder("datasets/ds_1/rows")
    assert [path.rpartition("/")[2] for path in fs.ls(root, detail=False)] == ["part-0"]
