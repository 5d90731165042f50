"""From a model's name to a folder of files, and from the folder to its revision. No model framework is imported.

    winnow-mini            bundled with the package
    ./folder               a local folder
    hub-id@revision        a Hugging Face hub id at a commit, tag or branch: from the local cache, else from the hub

Weights are safetensors only: a pickle can run code when it is loaded. For the same reason no model may bring code of
its own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import resources
from pathlib import Path

from winnow.errors import DependencyMissing, ModelNotFound, RevisionMismatch, UnsafeWeights

BUNDLED = "winnow-mini"
WEIGHTS = "*.safetensors"
PICKLED_WEIGHTS = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")
SMALL_FILES = ("*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt")
"""Configuration, tokenizer and chat template, as models on the hub name them."""

_HUB_NAME = re.compile(r"(?P<repo>[\w.-]+(/[\w.-]+)?)@(?P<revision>[\w./-]+)")


def resolve(name: str) -> Path:
    """The folder of the model's files.

    Raises:
        ModelNotFound: there is no such model, or the hub cannot be reached; the message says which.
        UnsafeWeights: there is, but not in safetensors.
        DependencyMissing: the name is one of the hub, and its client is not installed.
    """
    if name == BUNDLED:
        return checked(Path(str(resources.files("winnow.models"))) / "mini")
    if Path(name).is_dir():
        return checked(Path(name).resolve())
    if match := _HUB_NAME.fullmatch(name):
        return _from_hub(match["repo"], match["revision"])
    raise ModelNotFound(
        f"There is no folder {name!r} here, and a model of the hub needs a revision, so that its scores can be "
        f"made again: {name}@REVISION. The bundled model is {BUNDLED}.",
        param="model",
    )


def checked(folder: Path) -> Path:
    """The folder, if it holds a configuration and safetensors weights.

    Raises:
        ModelNotFound: it does not.
        UnsafeWeights: its weights are in another format.
    """
    if not (folder / "config.json").is_file():
        raise ModelNotFound(f"{folder} has no config.json, so it is not a model.", param="model")
    if any(folder.glob(WEIGHTS)):
        return folder
    pickled = [path.name for pattern in PICKLED_WEIGHTS for path in folder.glob(pattern)]
    if pickled:
        raise UnsafeWeights(
            f"{folder} has {pickled[0]} but no safetensors weights. Pickled weights can run code and are never "
            "loaded; save the model again with safe_serialization=True.",
            param="model",
        )
    raise ModelNotFound(f"{folder} has no weights (*.safetensors).", param="model")


def revision(folder: Path) -> str:
    """Hash of everything in the folder that decides a score: weights, configuration, tokenizer, chat template.

    Sixteen hexadecimal digits. A file is read once, until its size or time of change is another.
    """
    total = hashlib.sha256()
    names = {path for pattern in (WEIGHTS, *SMALL_FILES) for path in folder.glob(pattern)}
    for path in sorted(names):
        stat = path.stat()
        total.update(f"{path.name} {_digest(path, stat.st_mtime_ns, stat.st_size)}\n".encode())
    return total.hexdigest()[:16]


@contextmanager
def unchanged(folder: Path) -> Iterator[str]:
    """The revision of a folder whose files are read in the body.

    Raises:
        RevisionMismatch: the files changed in the meantime, so nobody knows which of them were read.
    """
    before = revision(folder)
    yield before
    if revision(folder) != before:
        raise RevisionMismatch(f"The files of {folder} changed while they were loaded. Try again.")


# Room for the files of `winnow.own_checkpoints.MOST_CHECKPOINTS`.
@lru_cache(maxsize=8192)
def _digest(path: Path, mtime_ns: int, size: int) -> str:  # noqa: ARG001 - they are what the cache goes by
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _from_hub(repo: str, revision: str) -> Path:
    try:
        from huggingface_hub import snapshot_download  # noqa: PLC0415
        from huggingface_hub.errors import (  # noqa: PLC0415
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
    except ImportError as error:
        raise DependencyMissing(
            f"{repo}@{revision} is a model of the hub: pip install 'winnow[local]', or name a local folder."
        ) from error

    patterns = [WEIGHTS, "*.safetensors.index.json", *SMALL_FILES]
    try:
        return checked(
            Path(
                snapshot_download(
                    repo, revision=revision, allow_patterns=patterns, local_files_only=True
                )
            )
        )
    except (LocalEntryNotFoundError, ModelNotFound):
        pass  # not in the cache, or only in part
    try:
        return checked(Path(snapshot_download(repo, revision=revision, allow_patterns=patterns)))
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise ModelNotFound(
            f"The hub has no {repo} at {revision}, or it is private and HF_TOKEN is not set.",
            param="model",
        ) from error
    except OSError as error:
        raise ModelNotFound(
            f"{repo}@{revision} is not in the local cache, and the hub cannot be reached. Connect once, or copy the "
            "model into a folder and name that.",
            param="model",
        ) from error
