"""`winnow fine-tune` and `winnow jobs` as far as they need no service; with one they are in tests/e2e."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli import follow
from tests.cli.conftest import Result

NOWHERE = ("--url", "http://127.0.0.1:9")


def step(number: int) -> dict[str, Any]:
    data = {"step": number, "total_steps": 40, "loss": 2.5, "tokens_per_s": 1234.5, "eta_s": 65.0}
    return {"message": f"Step {number}", "data": data, "winnow": {"type": "fine_tune.step"}}


def evaluated(loss: float) -> dict[str, Any]:
    return {"message": "Evaluated.", "data": {"loss": loss}, "winnow": {"type": "fine_tune.eval"}}


@pytest.mark.parametrize(
    "arguments",
    [
        ("fine-tune", "data.jsonl"),
        ("fine-tune", "run_abc", "--ratio", "0.1"),
        ("jobs", "list"),
        ("jobs", "show", "ftjob-abc"),
        ("jobs", "cancel", "ftjob-abc"),
    ],
)
def test_without_a_service_it_says_how_to_start_one(
    winnow: Callable[..., Result], arguments: tuple[str, ...]
) -> None:
    result = winnow(*arguments, *NOWHERE)
    assert result.code == 2
    assert "winnow serve" in result.error_lines[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run_abc",), "--ratio or --count"),
        (("data.jsonl", "--ratio", "0.1"), "choose rows of a run"),
        (("data.jsonl", "-o", "full"), "full is not an empty folder"),
        (("data.jsonl", "--no-wait", "-o", "new"), "leave --no-wait out"),
    ],
)
def test_what_contradicts_itself_is_refused_before_anything_is_sent(
    winnow: Callable[..., Result], tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "kept").touch()
    result = winnow("fine-tune", *arguments, *NOWHERE)
    assert result.code == 2
    assert said in result.error_lines[0]


def test_the_loss_line_has_step_losses_rate_and_time() -> None:
    assert follow.words(step(12)["data"], None) == (
        "step 12/40  loss 2.5000  1,234 tokens/s  1 min 05 s left"
    )
    assert "loss 2.5000  valid 2.7500  " in follow.words(step(12)["data"], 2.75)


def test_away_from_a_terminal_steps_are_told_now_and_then(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with follow._loss_line() as hear:
        hear(step(1))
        hear(evaluated(2.75))
        for number in range(2, 41):
            hear(step(number))
    told = capfd.readouterr().err.splitlines()
    assert [line.split("  ")[0] for line in told] == ["step 1/40", "Evaluated.", "step 40/40"]
    assert "valid 2.7500" in told[-1]


def test_on_a_terminal_the_line_is_live(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with follow._live() as hear:
        hear(step(1))
        hear(evaluated(2.75))
        hear(step(2))
    told = capfd.readouterr().err
    for part in ("step 1/40", "Evaluated.", "step 2/40", "valid 2.7500"):
        assert part in told
