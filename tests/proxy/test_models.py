"""Which folder a model's name means, and what its revision covers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.proxy.folders import TINY
from winnow.errors import DependencyMissing, ModelNotFound, UnsafeWeights
from winnow.proxy.models import resolve, revision

COMMIT = "0123456789abcdef0123456789abcdef01234567"
RESOLVE = "import sys; from winnow.proxy.models import resolve; print(resolve(sys.argv[1]))"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TINY, tmp_path / "model"))


def resolve_with_cache(
    name: str, cache: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    # In a process of its own: the hub's client reads its environment once, when it is imported.
    return subprocess.run(
        [sys.executable, "-c", RESOLVE, name],
        env=os.environ | {"HF_HOME": str(cache)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_bundled_model_is_a_package_folder() -> None:
    folder = resolve("winnow-mini")
    assert folder.name == "mini"
    assert (folder / "config.json").is_file()


def test_a_local_folder_is_a_model(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve(str(model)) == model
    monkeypatch.chdir(model.parent)
    assert resolve("./model") == model


@pytest.mark.parametrize("name", ["gpt2", "org/name", "./nowhere"])
def test_a_name_without_a_folder_or_a_revision_says_how_to_give_one(name: str) -> None:
    with pytest.raises(ModelNotFound, match=f"{name}@REVISION"):
        resolve(name)


def test_pickled_weights_are_refused(model: Path) -> None:
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    with pytest.raises(UnsafeWeights, match=r"pytorch_model\.bin"):
        resolve(str(model))


@pytest.mark.parametrize("lost", ["model.safetensors", "config.json"])
def test_a_folder_that_is_no_model_says_what_it_lacks(model: Path, lost: str) -> None:
    (model / lost).unlink()
    with pytest.raises(ModelNotFound, match=r"safetensors|config\.json"):
        resolve(str(model))


@pytest.mark.parametrize(
    "changed", ["model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"]
)
def test_every_file_that_decides_a_score_is_part_of_the_revision(model: Path, changed: str) -> None:
    before = revision(model)
    with (model / changed).open("ab") as file:
        file.write(b" ")
    assert revision(model) != before


def test_a_revision_is_that_of_the_files_wherever_they_lie(model: Path) -> None:
    (model / "README.md").write_text("notes")
    assert revision(model) == revision(TINY)
    assert len(revision(model)) == 16


def test_a_model_of_the_hub_is_found_in_the_local_cache(model: Path, tmp_path: Path) -> None:
    repository = tmp_path / "cache" / "hub" / "models--org--name"
    shutil.copytree(model, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "v1").write_text(COMMIT)
    for asked in ("v1", COMMIT):
        found = resolve_with_cache(f"org/name@{asked}", tmp_path / "cache", HF_HUB_OFFLINE="1")
        assert found.stdout.strip() == str(repository / "snapshots" / COMMIT), found.stderr


@pytest.mark.parametrize(
    "unreachable",
    [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}],
)
def test_a_hub_that_cannot_be_reached_is_a_clear_error_at_once(
    tmp_path: Path, unreachable: dict[str, str]
) -> None:
    begin = time.monotonic()
    asked = resolve_with_cache("org/name@v1", tmp_path, **unreachable)
    assert (
        "ModelNotFound: org/name@v1 is not in the local cache, and the hub cannot be reached"
        in asked.stderr
    )
    assert time.monotonic() - begin < 20


def test_a_model_of_the_hub_needs_the_hubs_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(DependencyMissing, match="pip install"):
        resolve("org/name@v1")


def test_models_are_named_and_hashed_without_a_model_framework() -> None:
    code = "import sys, winnow.proxy.models, winnow.scoring; print({'torch', 'transformers'} & set(sys.modules))"
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "set()"
