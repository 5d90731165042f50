"""`winnow sweep`: heals what falls between the database and the broker."""

from __future__ import annotations

import signal
import threading

from winnow.errors import ConfigurationError


def sweep() -> None:
    """Publish lost work again, until SIGTERM. A service needs one sweeper; several do no harm."""
    from cli.environment import read_settings
    from workers.logs import configure_logs
    from workers.sweep import sweep_forever

    settings = read_settings()
    if settings.embedded:
        raise ConfigurationError(
            "A sweeper is for a service: set WINNOW_DATABASE_URL, WINNOW_BROKER_URL and WINNOW_BLOB_URL. "
            "The embedded mode has its own inside `winnow serve`."
        )
    configure_logs(settings.log_level)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    sweep_forever(settings, stop)
