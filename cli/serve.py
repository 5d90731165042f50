"""`winnow serve`: the whole service on one machine, or the gateway of a larger one."""

from __future__ import annotations

import signal
import sys
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Annotated

import typer

from cli import options
from winnow.errors import ConfigurationError

if TYPE_CHECKING:
    from winnow.settings import Settings


def serve(
    gateway_only: Annotated[
        bool,
        typer.Option("--gateway-only", help="No worker and no sweeper here; they run elsewhere."),
    ] = False,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = None,
    data_dir: options.DataDir = None,
) -> None:
    """Serve the HTTP interface, with a worker beside it.

    Without settings everything is kept in one folder, for this machine alone. With WINNOW_DATABASE_URL,
    WINNOW_BROKER_URL and WINNOW_BLOB_URL it is a part of a service.
    """
    from cli import installation
    from cli.environment import read_settings
    from cli.gateway import serve_on
    from workers.logs import configure_logs

    settings = read_settings(host=host, port=port, data_dir=data_dir)
    configure_logs(settings.log_level)
    if settings.embedded:
        _check_embedded(gateway_only, settings)
    with ExitStack() as stack:
        listener = stack.enter_context(installation.listen(settings.host, settings.port))
        if settings.embedded:
            settings = stack.enter_context(installation.embedded(settings))
        else:
            installation.check_migrated(settings)
        if not gateway_only:
            stack.enter_context(installation.background(settings, worker_log=sys.stderr.buffer))
        stack.callback(_ignore_signals)
        ready = _ready_line(installation.address(listener), settings)
        # A signal is how a server ends; uvicorn raises it again once it has closed what was open.
        with suppress(KeyboardInterrupt, SystemExit):
            serve_on(listener, settings, on_ready=lambda: print(ready, file=sys.stderr, flush=True))
    print("stopped", file=sys.stderr)


def _check_embedded(gateway_only: bool, settings: Settings) -> None:
    from cli.installation import check_host

    if settings.broker_url is not None:
        raise ConfigurationError(
            "The message folder filesystem:// belongs to the embedded mode, which starts a database of its own. Set "
            "WINNOW_BROKER_URL to a Redis, or unset all three places."
        )
    if gateway_only:
        raise ConfigurationError(
            "--gateway-only is for a service: set WINNOW_DATABASE_URL, WINNOW_BROKER_URL and WINNOW_BLOB_URL."
        )
    check_host(settings.host)


def _ready_line(url: str, settings: Settings) -> str:
    where = f"everything in {settings.data_dir}" if settings.embedded else "keys required"
    return f"Winnow is ready at {url} ({where}; API at {url}/docs; Ctrl-C stops it)"


def _ignore_signals() -> None:
    """A second Ctrl-C must not cut the shutdown short: it takes seconds, and it leaves nothing behind."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
