"""Postgres is restarted in the middle of a run, on a server of the test's own."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests import servers
from tests.faults.conftest import named
from tests.faults.installation import Installation, hurried
from winnow.store import migrate


def test_a_run_survives_a_restart_of_the_database(
    tmp_path: Path, own_broker_url: str, undisturbed: str
) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="winnow-") as server_folder,
        servers.own_postgres(Path(server_folder)) as server,
    ):
        migrate.upgrade(server.url)
        settings = hurried(named(tmp_path, server.url, own_broker_url))
        installation = Installation(settings, tmp_path)
        with installation.running(num_workers=2):
            run_id = installation.start_run()
            installation.wait_until_in_the_middle(run_id)
            server.stop()
            server.start()
            installation.wait_until_completed(run_id)
            assert installation.digest(run_id) == undisturbed
