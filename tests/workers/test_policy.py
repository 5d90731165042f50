"""Which exception leads to what."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy.exc import OperationalError

from winnow import errors
from workers.policy import Cancelled, InUse, ShuttingDown, Verdict, describe, judge


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (ShuttingDown("stop"), Verdict.GIVE_BACK),
        (Cancelled("cancelled"), Verdict.GIVE_BACK),
        (InUse("busy"), Verdict.PUT_OFF),
        (errors.LeaseLost(), Verdict.DROP),
        (errors.DamagedContainer(), Verdict.FAIL),
        (errors.RevisionMismatch(), Verdict.TRY_AGAIN),
        (errors.UnsafeWeights(), Verdict.FAIL),
        (errors.DependencyMissing(), Verdict.FAIL),
        (errors.EngineError(), Verdict.TRY_AGAIN),
        (OperationalError("SELECT", {}, Exception("gone")), Verdict.TRY_AGAIN),
        (OSError("no space left"), Verdict.TRY_AGAIN),
        (KeyError("a mistake of ours"), Verdict.TRY_AGAIN),
    ],
)
def test_the_verdict_on_an_error(error: Exception, verdict: Verdict) -> None:
    assert judge(error) is verdict


def test_an_error_of_ours_is_described_in_its_own_words() -> None:
    described = describe(errors.DamagedContainer("gzip data ends at byte 17"))
    assert (described.code, described.message) == ("damaged_container", "gzip data ends at byte 17")


def test_a_lost_database_is_described_without_the_statement() -> None:
    for error in (
        OperationalError("SELECT secret", {}, Exception("gone")),
        psycopg.OperationalError("host 10.0.0.1 refused"),
    ):
        assert describe(error).message == "The database did not answer."


def test_a_file_that_is_gone_is_described_without_its_place() -> None:
    message = describe(FileNotFoundError(2, "No such file or directory", "/srv/winnow/x")).message
    assert "No such file or directory" in message
    assert "/srv" not in message


def test_a_long_message_is_cut() -> None:
    assert len(describe(ValueError("x" * 100_000)).message) == 1000
