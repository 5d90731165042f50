"""Computations that take minutes and say nothing of how far they are: in a process of their own, which can be ended.

    parent    waits, says each second that the work goes on, and hears a cancel, a lost lease, a stop of the worker
    child     computes, sends back what came of it, and ends; its memory goes back

A library that multiplies matrices cannot be interrupted inside a process; the process can. It ends with its worker,
whatever happens to that one, and signals that a supervisor sends to both are left to the worker.
"""

from __future__ import annotations

import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from typing import Any, ParamSpec, TypeVar

from winnow.errors import WinnowError
from winnow.records.example import BLOCK_ROWS
from workers.lease import HEARD_WITHIN_S, Lease

Options = ParamSpec("Options")
Result = TypeVar("Result")

# A fork would take along the locks of threads that it does not have, and a GPU that it may not use.
_PROCESSES = get_context("spawn")


class ComputationDied(WinnowError):
    """A computation was killed. If the worker's machine ran out of memory, give it more."""

    code = "computation_died"


def patiently(
    lease: Lease,
    rows: int,
    compute: Callable[Options, Result],
    *args: Options.args,
    **options: Options.kwargs,
) -> Result:
    """What `compute` returns or raises, of a dataset of so many `rows`.

    It is a function of a module, and what goes in and out can be pickled. Starting the process takes about a second, so
    what is over sooner, a block of rows, is computed here.

    Raises:
        ShuttingDown, Cancelled, LeaseLost: as the lease does, within a second; nothing computes any more.
        ComputationDied: it was killed.
    """
    if rows <= BLOCK_ROWS:
        return compute(*args, **options)
    ours, theirs = _PROCESSES.Pipe(duplex=False)
    child = _PROCESSES.Process(
        target=_run, args=(theirs, compute, args, options), name=f"compute-{compute.__name__}"
    )
    with ours:
        child.start()
        theirs.close()
        try:
            while not ours.poll(HEARD_WITHIN_S):
                lease.go_on()
            succeeded, outcome = ours.recv()
        except EOFError as error:
            raise ComputationDied from error
        finally:
            child.kill()
            child.join()
    if not succeeded:
        raise outcome
    result: Result = outcome
    return result


def _run(
    answers: Connection, compute: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]
) -> None:
    """In the child."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()
    try:
        answer = True, compute(*args, **options)
    except Exception as error:  # noqa: BLE001 - the parent raises it
        answer = False, _told(error)
    answers.send(answer)


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None  # noqa: S101  # it started this process
    parent.join()
    os._exit(1)


def _told(error: Exception) -> Exception:
    """The error with where it came from, or one of its words if it cannot be sent."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes
    except Exception:  # noqa: BLE001 - whatever its class does there
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
