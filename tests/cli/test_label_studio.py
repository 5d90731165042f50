"""`winnow label-studio` as far as it goes without a Label Studio; `make test-label-studio` has the rest."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cli.conftest import Result

NOWHERE = ("--url", "http://127.0.0.1:9", "--project", "1")


@pytest.fixture(autouse=True)
def no_token_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LABEL_STUDIO_API_KEY", raising=False)
    monkeypatch.delenv("LABEL_STUDIO_URL", raising=False)


@pytest.mark.parametrize(
    "arguments",
    [("push", "run_x"), ("pull", "-o", "annotated.jsonl"), ("reconcile", "run_x")],
)
def test_a_token_is_asked_for_and_never_shown(
    winnow: Callable[..., Result], arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = winnow("label-studio", *arguments, *NOWHERE)
    assert done.code == 2
    assert done.err == (
        "error: Label Studio wants a token: put it into LABEL_STUDIO_API_KEY, or give --token.\n"
    )
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "top-secret")
    done = winnow("label-studio", *arguments, *NOWHERE)
    assert done.code == 2
    assert "No Label Studio answers at http://127.0.0.1:9" in done.err
    assert "top-secret" not in done.err + done.out
    assert "top-secret" not in winnow("label-studio", arguments[0], "--help").out


def test_scores_of_a_file_need_their_dataset(winnow: Callable[..., Result]) -> None:
    done = winnow("label-studio", "push", "scores.jsonl", *NOWHERE, "--token", "t")
    assert done.code == 2
    assert "--data FILE" in done.err
