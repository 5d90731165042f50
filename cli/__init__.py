"""The `winnow` command: one file a command, and the only place that brings gateway, workers and library together.

Commands import what they need when they run, so that `winnow --help` is fast and `winnow score` works where neither
FastAPI, Celery nor SQLAlchemy is installed. Whatever goes wrong on purpose is one line on stderr, never a traceback.

Exit codes: 0 done, 1 the work failed, 2 bad usage or input, 130 interrupted, 143 terminated.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Sequence

import typer

from cli import (
    agree,
    db,
    demo,
    fine_tune,
    jobs,
    keys,
    label_studio,
    models,
    score,
    select,
    serve,
    sweep,
    trajectories,
    trust,
    worker,
    worker_health,
)
from winnow.errors import EngineError, ServiceError, TrainingDied, WinnowError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

WRONG_PATH = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
EXTRAS = {
    "torch": "local",
    "transformers": "local",
    "sqlalchemy": "store",
    "alembic": "store",
    "celery": "store",
    "filelock": "store",
    "fastapi": "gateway",
    "uvicorn": "gateway",
}
"""The extra that brings each package that a command may find missing."""

app = typer.Typer(
    name="winnow",
    help="Score instruction-tuning data with a small proxy model and keep the part worth training on.",
    epilog="Start with: winnow demo",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    score.score,
    select.select,
    agree.agree,
    trust.trust,
    fine_tune.fine_tune,
    demo.demo,
    serve.serve,
    worker.worker,
    worker_health.worker_health,
    sweep.sweep,
    models.models,
):
    app.command()(command)
app.add_typer(jobs.app)
app.add_typer(trajectories.app)
app.add_typer(label_studio.app)
app.add_typer(db.app)
app.add_typer(keys.app)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Show the version and exit."),
) -> None:
    """Score instruction-tuning data with a small proxy model and keep the part worth training on."""
    if version:
        from winnow import __version__

        print(f"winnow {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and say how it ended; the entry point of the `winnow` script."""
    if threading.current_thread() is threading.main_thread():
        # A terminated command removes its temporary files as an interrupted one does.
        signal.signal(signal.SIGTERM, _terminate)
    try:
        result = app(args=arguments, prog_name="winnow", standalone_mode=False)
    except (typer.TyperException, WinnowError, ModuleNotFoundError, OSError) as error:
        message, code = _explain(error)
        print(f"error: {' '.join(message.split())}", file=sys.stderr)
        return code
    if result == EXIT_INTERRUPTED:
        print("interrupted", file=sys.stderr)
    return result if isinstance(result, int) else 0


def _explain(error: Exception) -> tuple[str, int]:
    """One line for people and an exit code; an error that nobody foresaw is raised again, with its traceback."""
    match error:
        case typer.TyperException():
            return error.format_message().replace("Value error, ", ""), EXIT_USAGE
        case EngineError() | ServiceError() | TrainingDied():
            return error.message, EXIT_FAILED
        case WinnowError():
            return error.message, EXIT_USAGE
        case ModuleNotFoundError() if error.name in EXTRAS:
            extra = EXTRAS[error.name]
            return f"This needs the package {error.name}: pip install 'winnow[{extra}]'", EXIT_USAGE
        case BrokenPipeError():
            return "the reader of the output left", EXIT_FAILED
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            code = EXIT_USAGE if isinstance(error, WRONG_PATH) else EXIT_FAILED
            return f"{where}{error.strerror or error}", code
    raise error


def _terminate(_signal: int, _frame: object) -> None:
    raise SystemExit(EXIT_TERMINATED)
