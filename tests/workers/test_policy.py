"""Which exception leads to what."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from winnow import errors
from winnow.store.values import ErrorInfo
from workers.places import called
from workers.policy import (
    Cancelled,
    InUse,
    ShuttingDown,
    TrainingFailed,
    Verdict,
    describe,
    judge,
)


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
        PoolTimeout("QueuePool limit of size 2 overflow 2 reached"),
    ):
        assert describe(error).message == "The database did not answer."


def test_a_file_that_is_gone_is_described_without_its_place() -> None:
    message = describe(FileNotFoundError(2, "No such file or directory", "/data/winnow/x")).message
    assert "No such file or directory" in message
    assert "/srv" not in message


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            errors.ModelNotFound("/data/winnow/trajectories/traj_x@3 has no config.json."),
            "traj_x@3 has no config.json.",
        ),
        (
            errors.TrainingDied(
                "Training broke off (OSError: '/data/winnow/jobs/ab/kept' is full)."
            ),
            "Training broke off (OSError: 'kept' is full).",
        ),
        (
            ValueError("cannot read /data/winnow/blobs/x.parquet"),
            "ValueError: cannot read x.parquet",
        ),
        (
            TrainingFailed(ErrorInfo(code="unsafe_weights", message="/data/models/a/b.bin: no")),
            "b.bin: no",
        ),
        (
            errors.EngineError("http://host:8000/v1/models answers 1/2 and/or no."),
            "http://host:8000/v1/models answers 1/2 and/or no.",
        ),
        (errors.InvalidOption("There is no folder '/my/own'."), "There is no folder '/my/own'."),
    ],
)
def test_where_things_lie_here_is_not_told(error: Exception, told: str) -> None:
    assert describe(error).message == told


def test_a_model_that_was_fetched_is_told_of_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(errors.UnsafeWeights) as caught, called(tmp_path, "ft:mini:x:1"):
        raise errors.UnsafeWeights(f"{tmp_path} has pickles.", param="model")
    assert (caught.value.message, caught.value.param) == ("ft:mini:x:1 has pickles.", "model")


def test_a_long_message_is_cut() -> None:
    assert len(describe(ValueError("x" * 100_000)).message) == 1000
