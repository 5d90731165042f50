"""Log lines of a worker process: ours with fields, Celery's only when something is wrong."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog
from celery import signals

LEVELS = {"celery": logging.WARNING, "kombu": logging.ERROR, "redis": logging.WARNING}


def configure_logs(level: str) -> None:
    """Write structlog lines of `level` and above to standard error: for people on a terminal, else JSON."""
    renderer: Any = (
        # Plain tracebacks: the pretty ones show local variables, and those hold other people's data.
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if sys.stderr.isatty()
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    for name, at_least in LEVELS.items():
        logging.getLogger(name).setLevel(at_least)
    # Whoever answers this signal has set logging up, so Celery leaves it alone.
    signals.setup_logging.connect(_leave_alone, weak=False)


def _leave_alone(**_: Any) -> None:
    """Celery asks; the answer is that it is done."""
