"""The `winnow` command as a whole: light, and every failure one line."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Result

HEAVY = ("torch", "transformers", "fastapi", "uvicorn", "celery", "sqlalchemy", "numpy", "pyarrow")


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, cli; cli.main(['--help']); cli.main(['score', '--help']); cli.main(['serve', '--help']);"
        f"print('loaded:', [name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded: []"


def test_scoring_on_files_loads_no_server() -> None:
    """What stands in for an environment without a server; the wheel's own test builds one."""
    code = (
        "import sys, cli; from cli import local, report, score, select, subset;"
        "import winnow.proxy.loading, winnow.scoring, winnow.settings;"
        "print([n for n in ('fastapi', 'celery', 'sqlalchemy', 'workers', 'service') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_a_command_the_help_is_shown(winnow: Callable[..., Result]) -> None:
    shown = winnow()
    assert shown.code == 0
    assert "Usage: winnow" in shown.out
    assert all(name in shown.out for name in ("score", "select", "demo", "serve", "worker", "keys"))


def test_version(winnow: Callable[..., Result]) -> None:
    assert winnow("--version").out.startswith("winnow 0.")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["scor"], "Did you mean 'score'?"),
        (["score"], "Missing argument 'INPUT'"),
        (["score", "data.jsonl", "--nonsense"], "No such option: --nonsense"),
        (["score", "data.jsonl", "--dtype", "float99"], "'float99' is not one of 'float32'"),
        (["score", "absent.jsonl"], "absent.jsonl: No such file or directory"),
        (["score", "."], "Is a directory"),
        (["worker"], "WINNOW_DATABASE_URL"),
        (["sweep"], "WINNOW_DATABASE_URL"),
        (["db", "upgrade"], "WINNOW_DATABASE_URL"),
        (["keys", "create", "--owner", "ann"], "WINNOW_DATABASE_URL"),
        (["serve", "--host", "192.0.2.1"], "knows no keys"),
        (["serve", "--host", "example.org"], "knows no keys"),
        (["serve", "--gateway-only"], "WINNOW_BROKER_URL"),
    ],
)
def test_bad_usage_is_one_line_and_code_2(
    winnow: Callable[..., Result], arguments: list[str], told: str
) -> None:
    done = winnow(*arguments)
    assert done.code == 2
    assert len(done.err.splitlines()) == len(done.error_lines) == 1
    assert told in done.err
    assert done.out == ""
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("WINNOW_DTYPE", "float99", "WINNOW_DTYPE: Input should be 'float32' or 'bfloat16'"),
        ("WINNOW_DATABASE_URL", "postgresql+psycopg://x", "WINNOW_BROKER_URL and WINNOW_BLOB_URL"),
    ],
)
def test_a_wrong_setting_is_named(
    winnow: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
    dataset: Path,
    name: str,
    value: str,
    told: str,
) -> None:
    monkeypatch.setenv(name, value)
    done = winnow("score", dataset)
    assert done.code == 2
    assert told in done.error_lines[0]


def test_a_message_folder_beside_a_database_of_ones_own_is_refused(
    winnow: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("DATABASE", "postgresql+psycopg://x"),
        ("BROKER", "filesystem://"),
        ("BLOB", "file:///x"),
    ):
        monkeypatch.setenv(f"WINNOW_{name}_URL", value)
    done = winnow("serve", "--port", "0")
    assert done.code == 2
    assert "filesystem://" in done.error_lines[0]


def test_a_missing_package_names_the_extra_that_brings_it(
    winnow: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, dataset: Path
) -> None:
    # None in sys.modules is how Python marks a module that cannot be imported.
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "winnow.proxy.torch_engine", raising=False)
    done = winnow("score", dataset)
    assert done.code == 2
    assert "pip install 'winnow[local]'" in done.error_lines[0]


def test_help_is_quick() -> None:
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "cli", "--help"], capture_output=True, check=True)
    assert time.monotonic() - started < 3
