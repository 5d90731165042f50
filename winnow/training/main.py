"""The training subprocess: `python -m winnow.training.main FOLDER THREADS [--with-parent]`.

`winnow.training.process` starts it; THREADS are those of all its ranks together.

Standard output carries the events; whatever the libraries write there goes to standard error. With `accelerate launch`
this is the program of every rank, and the first one speaks for all.

How it ends: 0 after `Done`, 1 after `Failed`, `STOPPED_CODE` after `Stopped`, `CRASHED_CODE` after `Crashed`.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from winnow.errors import TrainingDied, WinnowError
from winnow.training.events import Crashed, Failed, Stopped, TrainingEvent, render
from winnow.training.job import checkpoints
from winnow.training.stop import StopAsked, StopRequest

STOPPED_CODE = 75
"""EX_TEMPFAIL of sysexits: start it again, and it goes on."""

CRASHED_CODE = 70
"""EX_SOFTWARE of sysexits."""

WATCH_S = 0.3
SPEAK_FIRST_S = 2.0
"""What fails in every rank is said by the first, which must not be ended by the launcher before it has."""


def main() -> int:
    """Train the job of the folder; the exit code."""
    folder, threads = Path(sys.argv[1]), int(sys.argv[2])
    say = _speaker()
    if "--with-parent" in sys.argv[3:]:
        end_with_parent()
    stop = StopRequest()
    signal.signal(signal.SIGTERM, stop.ask)
    first = int(os.environ.get("RANK", "0")) == 0
    event: TrainingEvent
    try:
        # Its imports take seconds; a parent that dies meanwhile is noticed.
        from winnow.training.train import train  # noqa: PLC0415

        event = train(folder, say=say if first else _say_nothing, stop=stop, threads=threads)
    except StopAsked:
        event = Stopped(step=max(checkpoints(folder), default=0))
    except Exception as error:  # noqa: BLE001
        event = _why(error)
        time.sleep(0 if first else SPEAK_FIRST_S)
    if first or isinstance(event, Failed | Crashed):
        say(event)
    return {Stopped: STOPPED_CODE, Failed: 1, Crashed: CRASHED_CODE}.get(type(event), 0)


def _why(error: Exception) -> Failed | Crashed:
    if isinstance(error, TrainingDied):
        return Crashed(message=error.message)
    if isinstance(error, WinnowError):
        return Failed(code=error.code, message=error.message, param=error.param)
    traceback.print_exception(error)
    return Crashed(message="".join(traceback.format_exception_only(error)).partition("\n")[0])


def _speaker() -> Callable[[TrainingEvent], None]:
    events = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(event: TrainingEvent) -> None:
        os.write(events, render(event))

    return say


def _say_nothing(_: TrainingEvent) -> None:
    pass


def end_with_parent() -> None:
    """End at once when standard input closes, which only the worker holds open, or when the launcher is gone."""
    launcher = os.getppid()

    def watch() -> None:
        readable: list[int] = []
        while not readable and os.getppid() == launcher:
            readable, _, _ = select.select([sys.stdin.fileno()], [], [], WATCH_S)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
