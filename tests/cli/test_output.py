"""Files are there whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from cli.output import check_writable, format_of, replacing
from winnow.errors import InvalidOption


def test_a_file_takes_its_name_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    with replacing(target) as file:
        file.write(b"half")
        assert not target.exists()
    assert target.read_bytes() == b"half"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    target.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), replacing(target) as file:
        file.write(b"%d" % (1 // 0))
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "real.jsonl", tmp_path / "link.jsonl"
    target.write_bytes(b"old")
    link.symlink_to(target)
    with replacing(link) as file:
        file.write(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    check_writable(pipe, inputs=(), param="--output")
    with replacing(pipe) as file:
        file.write(b"data")
    assert os.read(reader, 100) == b"data"
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    os.close(reader)


def test_the_suffix_decides_the_format_whatever_its_case() -> None:
    assert format_of(Path("x.CSV"), ("jsonl", "csv"), param="--output") == "csv"
    assert format_of(Path("-"), ("jsonl", "csv"), param="--output") == "jsonl"
    with pytest.raises(InvalidOption, match=r"use \.jsonl, \.csv"):
        format_of(Path("x.xlsx"), ("jsonl", "csv"), param="--output")


def test_places_that_cannot_be_written_are_refused_at_once(tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.touch()
    for place, told in (
        (tmp_path / "absent" / "x.jsonl", "no folder"),
        (tmp_path, "is a folder"),
        (tmp_path / ".." / tmp_path.name / "data.jsonl", "is the input"),
    ):
        with pytest.raises(InvalidOption, match=told):
            check_writable(place, inputs=(data,), param="--output")
