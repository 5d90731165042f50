"""`winnow trust`: two models, one sample, one verdict."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import TINY, Result

OTHER = TINY.with_name("tiny-gpt2-bos")


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """More rows than a sample takes, every tenth without an answer."""
    path = tmp_path / "many.jsonl"
    records = [
        {"instruction": f"Say {row}.", "output": f"{row} " * (row % 9 + 2) if row % 10 else ""}
        for row in range(150)
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_it_says_how_far_the_proxy_stands_for_the_target(
    winnow: Callable[..., Result], many: Path
) -> None:
    asked = ("trust", many, "--proxy", TINY, "--target", OTHER, "--sample", "60")
    done = winnow(*asked)
    assert done.code == 0
    assert "rows that both scored     60" in done.out
    for line in ("Spearman", "given answer length", "answer length alone", "gained over it"):
        assert line in done.out
    verdict = done.out.splitlines()[-1]
    assert verdict.partition(":")[0] in {"strong", "fair", "weak", "none"}
    assert winnow(*asked).out == done.out
    assert winnow(*asked, "--seed", "1").out != done.out


def test_a_model_for_itself_is_refused(winnow: Callable[..., Result], many: Path) -> None:
    done = winnow("trust", many, "--proxy", TINY, "--target", TINY)
    assert (done.code, "Proxy and target are both" in done.error_lines[0]) == (2, True)


def test_a_sample_beyond_the_limit_is_refused(winnow: Callable[..., Result], many: Path) -> None:
    done = winnow("trust", many, "--proxy", TINY, "--target", OTHER, "--sample", "2001")
    assert (done.code, "from 50 to 2,000 rows" in done.error_lines[0]) == (2, True)


def test_data_without_a_usable_row_are_refused(
    winnow: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "bad.jsonl").write_text('{"instruction": "Say hi.", "output": ""}\n')
    done = winnow("trust", "bad.jsonl", "--proxy", TINY, "--target", OTHER)
    assert (done.code, "No row" in done.error_lines[0]) == (2, True)
