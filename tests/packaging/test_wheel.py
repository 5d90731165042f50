"""The built wheel, installed where nothing else is, does what the checkout does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVER_PACKAGES = ("fastapi", "celery", "sqlalchemy")


def run(*command: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """Run a command, show its whole output when it fails, return its standard output."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT, cwd=folder)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel with the `local` extra, and nothing of a server."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    install(folder, f"{wheel}[local]")
    return folder


def install(environment: Path, requirement: str) -> None:
    run(
        environment / "bin" / "pip",
        "install",
        "--quiet",
        "-c",
        ROOT / "constraints.txt",
        requirement,
        cwd=environment,
    )


def own_environment() -> dict[str, str]:
    """This process's variables without the settings of any installation."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("WINNOW_", "PYTHON", "VIRTUAL_ENV"))
    }


@pytest.mark.timeout(900)
def test_score_works_without_a_server_installed(environment: Path, tmp_path: Path) -> None:
    """`winnow score` needs neither FastAPI nor Celery nor SQLAlchemy."""
    probe = f"import importlib.util as u; print([u.find_spec(n) for n in {SERVER_PACKAGES}])"
    python = environment / "bin" / "python"
    assert run(python, "-c", probe, cwd=tmp_path).strip() == "[None, None, None]"
    rows = [
        {"instruction": "Name a primary colour.", "output": "Red is a primary colour."},
        {"instruction": "Say nothing.", "output": ""},
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run(
        environment / "bin" / "winnow",
        *("score", "in.jsonl", "--ratio", "1", "-o", "out.jsonl", "--scores", "scores.jsonl"),
        cwd=tmp_path,
        env=own_environment(),
    )
    lines = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    assert [line["status"] for line in lines] == ["scored", "rejected"]


@pytest.mark.timeout(900)
def test_demo_runs_from_any_folder(environment: Path, wheel: Path, tmp_path: Path) -> None:
    """The sample, the model, the migrations and the embedded servers are all in the wheel."""
    install(environment, f"{wheel}[all]")
    printed = run(environment / "bin" / "winnow", "demo", cwd=tmp_path, env=own_environment())
    assert "planted" in printed
    subset = next(tmp_path.glob("*.jsonl"))
    assert all("instruction" in json.loads(line) for line in subset.read_text().splitlines())
