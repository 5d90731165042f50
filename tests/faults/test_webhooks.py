"""A worker is killed while it sends a message: another one sends it again, under the same id."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import text

from tests.faults.conftest import named
from tests.faults.installation import Installation, hurried, rows_of_text, wait_for
from tests.webhooks.receiver import Reply, receiving
from winnow.store.webhook_secrets import rotate_secret
from winnow.webhooks.addresses import LOOPBACK


def test_a_message_outlives_the_worker_that_sends_it(
    tmp_path: Path, database_url: str, own_broker_url: str
) -> None:
    settings = hurried(named(tmp_path, database_url, own_broker_url), webhook_networks=LOOPBACK)
    installation = Installation(settings, tmp_path)
    with receiving() as receiver, installation.running(num_workers=1):
        receiver.replies = [Reply(pause_s=60), Reply(200)]
        with installation.database.transaction() as connection:
            secret = rotate_secret(connection, owner="alice")
        run_id = installation.start_run(rows_of_text(10), webhook_url=receiver.url)
        (first,) = receiver.wait(1)
        # The receiver is silent, and the one worker goes on with other work.
        installation.wait_until_completed(installation.start_run(rows_of_text(20)))
        assert len(receiver.received) == 1
        installation.workers[0].kill()
        installation.start_worker()
        _, second = receiver.wait(2)
        assert (second.message_id, second.body) == (first.message_id, first.body)
        assert second.verified(secret)["data"]["id"] == run_id
        told = text("SELECT status FROM webhook_delivery WHERE id = :id")

        def delivered() -> bool:
            with installation.database.transaction() as connection:
                status = connection.scalar(told, {"id": first.message_id})
            return bool(status == "delivered")

        wait_for(delivered)
