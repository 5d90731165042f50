"""What happens to a unit of work that ends in an exception: one table, read from the top.

    give back   queued again at once, the attempt not counted: the worker goes away, or the run was cancelled, in
                which case nobody can claim it and the sweeper closes it
    put off     queued again for a while later, the attempt not counted: others still use what it is for, or what it
                is sent with
    drop        nothing is written: the unit belongs to another worker
    fail        the run, fine-tune or dataset fails now, with the message: another attempt would end the same way
    try again   the attempt counts; queued again after a pause, until the attempts are used up

Not covered: a worker that is killed. It writes nothing, its lease runs out, and the sweeper counts the attempt.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum

import psycopg
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from winnow.errors import (
    ConfigurationError,
    DependencyMissing,
    InputError,
    LeaseLost,
    ModelError,
    NotFound,
    RevisionMismatch,
    WinnowError,
)
from winnow.store.values import ErrorInfo
from workers.places import without_places

DATABASE_AWAY = (OperationalError, InterfaceError, PoolTimeout, psycopg.OperationalError)
"""What a lost, restarting or unreachable database raises, through SQLAlchemy or, in a COPY, the driver's own error; and
a pool whose connections are all in use, which costs no unit an attempt either."""

MAX_MESSAGE = 1000


class ShuttingDown(Exception):
    """The worker was asked to stop."""


class Cancelled(Exception):
    """What this unit is for was cancelled, paused or deleted."""


class InUse(Exception):
    """Another worker still writes to what this unit is to remove; it learns within seconds that it should not."""


class ReceiverBusy(Exception):
    """So many messages are on their way that this one waits its turn."""


class Stalled(Exception):
    """The unit has made no progress for so long that it counts as hanging."""


class TrainingFailed(Exception):
    """The training process says that it cannot go on; what to change stands in `info`."""

    def __init__(self, info: ErrorInfo) -> None:
        self.info = info
        super().__init__(info.message)


class Verdict(Enum):
    """What to write about a unit that did not finish."""

    GIVE_BACK = "given back"
    PUT_OFF = "put off"
    DROP = "dropped"
    FAIL = "failed"
    TRY_AGAIN = "to be tried again"


RULES: tuple[tuple[tuple[type[Exception], ...], Verdict], ...] = (
    ((ShuttingDown, Cancelled), Verdict.GIVE_BACK),
    ((InUse, ReceiverBusy), Verdict.PUT_OFF),
    ((LeaseLost,), Verdict.DROP),
    # Another worker may have the files of the run; the attempts bound how many are asked.
    ((RevisionMismatch,), Verdict.TRY_AGAIN),
    (
        (InputError, ModelError, DependencyMissing, ConfigurationError, NotFound, TrainingFailed),
        Verdict.FAIL,
    ),
    ((Exception,), Verdict.TRY_AGAIN),
)


def judge(error: Exception) -> Verdict:
    """The first rule that fits."""
    return next(verdict for types, verdict in RULES if isinstance(error, types))


def describe(error: Exception) -> ErrorInfo:
    """What the owner of the run or fine-tune reads: where things lie here is nobody else's business.

    What is wrong with the input is told as it is, since paths in it are the owner's own.
    """
    if isinstance(error, TrainingFailed):
        return replace(error.info, message=without_places(error.info.message))
    if isinstance(error, WinnowError):
        own = isinstance(error, InputError)
        message = error.message if own else without_places(error.message)
        return ErrorInfo(code=error.code, message=message[:MAX_MESSAGE], param=error.param)
    if isinstance(error, DATABASE_AWAY):
        return ErrorInfo(code="database_unavailable", message="The database did not answer.")
    if isinstance(error, FileNotFoundError) or getattr(error, "filename", None) is not None:
        what = getattr(error, "strerror", None) or type(error).__name__
        message = f"A worker could not read or write a file ({what}). Its log says which."
        return ErrorInfo(code="internal_error", message=message)
    # The first line alone: behind it a database error quotes the statement and its values.
    first_line = str(error).partition("\n")[0]
    message = without_places(f"{type(error).__name__}: {first_line}")
    return ErrorInfo(code="internal_error", message=message[:MAX_MESSAGE])
