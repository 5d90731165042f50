"""Tests against Argilla's own checks, in an environment of their own: `make test-argilla`.

A run without this folder named never collects it.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CHECKS = Path(__file__).with_name("argilla_checks.py")


@pytest.fixture
def argilla(tmp_path: Path) -> Callable[..., list[list[int] | str]]:
    """Hands files of bulks to Argilla's checks: the number of records of each bulk, or why one is refused."""

    def check(settings: dict[str, Any], *files: bytes) -> list[list[int] | str]:
        paths = [tmp_path / f"{number}.jsonl" for number in range(len(files))]
        for path, data in zip(paths, files, strict=True):
            path.write_bytes(data)
        described = tmp_path / "settings.json"
        described.write_text(json.dumps(settings), encoding="utf-8")
        done = subprocess.run(
            [os.environ["ARGILLA_PYTHON"], CHECKS, described, *paths],
            stdout=subprocess.PIPE,
            check=True,
            env={"ARGILLA_HOME_PATH": str(tmp_path), "PATH": os.environ["PATH"]},
        )
        found: list[list[int] | str] = json.loads(done.stdout)
        return found

    return check
