"""Rules of the house that import-linter cannot say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from winnow import errors
from winnow.errors import WinnowError

ROOT = Path(__file__).parents[1]


def loaded_after(statement: str) -> set[str]:
    """Top-level packages in memory after a fresh interpreter ran a statement."""
    code = f"import sys; {statement}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import service.app", {"torch", "transformers", "vllm", "trl"}),
        ("import workers.app", {"fastapi", "vllm", "trl"}),
        ("import winnow.scoring, winnow.selection", {"torch", "sqlalchemy", "celery", "fastapi"}),
        ("import cli", {"torch", "sqlalchemy", "celery", "fastapi", "uvicorn"}),
    ],
)
def test_a_process_loads_only_its_own_rooms(statement: str, absent: set[str]) -> None:
    assert not loaded_after(statement) & absent


def test_every_error_says_what_it_means_under_a_code_of_its_own() -> None:
    tree = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    kinds = [kind for kind in tree if issubclass(kind, WinnowError)]
    assert all(kind().message for kind in kinds)
    assert len({kind.code for kind in kinds}) == len(kinds)
    drawn = errors.__doc__ or ""
    assert [kind.__name__ for kind in kinds if kind.__name__ not in drawn] == []
