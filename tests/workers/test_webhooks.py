"""Messages to a real receiver: told once a run or job is over, again when that failed, and not where it is unwanted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import orjson
import pytest

from tests.webhooks.receiver import Receiver, Reply, receiving
from tests.workers.fine_tuning import conversations, create_job, post_file
from tests.workers.house import OWNER, House, alpaca
from winnow.errors import Conflict
from winnow.settings import Settings
from winnow.store import webhook_secrets, webhooks
from winnow.store.fine_tunes import cancel_fine_tune
from winnow.store.runs import cancel_run, delete_run
from winnow.store.webhooks import Delivery, Endpoint
from winnow.webhooks.addresses import LOOPBACK
from workers.aside import Aside
from workers.policy import ReceiverBusy
from workers.sweep import sweep_once
from workers.webhooks import (
    AT_ONCE_PER_OWNER,
    AT_ONCE_PER_RECEIVER,
    DeliverHandler,
    Receivers,
)

RETRIES_S = (0.1, 0.1)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Receivers on this machine are allowed, and attempts follow each other in no time."""
    changes = {"webhook_networks": LOOPBACK, "webhook_retries_s": RETRIES_S}
    return settings.model_copy(update=changes | {"webhook_timeout_s": 5.0})


def completed(house: House, url: str) -> str:
    """A run that is over, and whose message was tried once."""
    run_id = house.start_run(house.upload(alpaca(3)), webhook_url=url)
    house.work()
    assert house.run(run_id).status == "completed"
    return run_id


def sweep(house: House) -> None:
    """Pass the time until the next attempt, and make it."""
    time.sleep(RETRIES_S[0] * 1.3)
    sweep_once(house.database, house.settings, house.published.extend)
    house.work()


def deliveries(house: House, subject: str) -> list[Delivery]:
    with house.database.transaction() as connection:
        page = webhooks.list_deliveries(connection, owner=OWNER, subject=subject)
    return list(page.items)


def delivery(house: House, subject: str) -> Delivery:
    (only,) = deliveries(house, subject)
    return only


def endpoint(house: House) -> Endpoint:
    with house.database.transaction() as connection:
        (only,) = webhooks.list_endpoints(connection, owner=OWNER).items
    return only


def replay(house: House, delivery_id: str) -> None:
    with house.database.transaction() as connection:
        _, wakeups = webhooks.replay(connection, owner=OWNER, delivery_id=delivery_id)
    house.published += wakeups
    house.work()


def rotate(house: House) -> str:
    with house.database.transaction() as connection:
        return webhook_secrets.rotate_secret(connection, owner=OWNER)


def test_a_run_that_completes_is_told_at_once(house: House, receiver: Receiver) -> None:
    secret = rotate(house)
    run_id = completed(house, receiver.url)
    (received,) = receiver.received
    message = received.verified(secret)
    assert message["type"] == "run.completed"
    data = message["data"]
    assert (data["id"], data["status"], data["counts"]["rows_scored"]) == (run_id, "completed", 3)
    told = delivery(house, run_id)
    assert (told.id, told.status, told.next_attempt_at) == (received.message_id, "delivered", None)
    assert told.body.encode() == received.body
    assert [each.status_code for each in told.attempts] == [204]
    assert endpoint(house).delivered_at is not None


def test_a_run_that_fails_or_is_cancelled_is_told_too(house: House, receiver: Receiver) -> None:
    failed = house.start_run(house.upload(b'{"nothing": 1}\n'), webhook_url=receiver.url)
    house.work()
    cancelled = house.start_run(house.upload(alpaca(3)), webhook_url=receiver.url)
    with house.database.transaction() as connection:
        cancel_run(connection, owner=OWNER, run_id=cancelled)
    sweep(house)
    told = [orjson.loads(each.body) for each in receiver.received]
    assert {(each["type"], each["data"]["id"]) for each in told} == {
        ("run.failed", failed),
        ("run.cancelled", cancelled),
    }
    reasons = {each["type"]: each["data"]["error"] for each in told}
    assert reasons["run.failed"]["code"] == "no_usable_rows"


def test_a_job_that_ends_is_told(house: House, receiver: Receiver) -> None:
    file_id = post_file(house, conversations(2))
    job_id, _ = create_job(house, file_id, webhook_url=receiver.url)
    with house.database.transaction() as connection:
        _, wakeups = cancel_fine_tune(connection, owner=OWNER, fine_tune_id=job_id)
    house.published += wakeups
    house.work()
    message = orjson.loads(receiver.received[0].body)
    assert (message["type"], message["data"]["id"]) == ("fine_tune.cancelled", job_id)
    assert delivery(house, job_id).status == "delivered"


def test_what_names_no_receiver_makes_no_message(house: House) -> None:
    house.start_run(house.upload(alpaca(3)))
    house.work()
    assert house.count("webhook_delivery") == 0


def test_a_receiver_that_fails_is_told_again_with_the_same_id_and_bytes(
    house: House, receiver: Receiver
) -> None:
    receiver.replies = [Reply(500), Reply(302, {"Location": receiver.url}), Reply(200)]
    run_id = completed(house, receiver.url)
    assert delivery(house, run_id).next_attempt_at is not None
    sweep(house)
    sweep(house)
    assert len({(each.message_id, each.body) for each in receiver.received}) == 1
    told = delivery(house, run_id)
    assert [each.status_code for each in told.attempts] == [500, 302, 200]
    assert told.status == "delivered"


def test_it_waits_as_long_as_the_receiver_asks(house: House, receiver: Receiver) -> None:
    receiver.replies = [Reply(503, {"Retry-After": "100"})]
    run_id = completed(house, receiver.url)
    sweep(house)
    assert len(receiver.received) == 1
    due = delivery(house, run_id).next_attempt_at
    assert due is not None
    assert 90 < due - time.time() < 130


def test_410_disables_the_endpoint_at_once(house: House, receiver: Receiver) -> None:
    receiver.replies = [Reply(410), Reply(204)]
    first = completed(house, receiver.url)
    assert delivery(house, first).status == "failed"
    assert endpoint(house).disabled_reason == "gone"
    second = completed(house, receiver.url)
    (attempt,) = delivery(house, second).attempts
    assert attempt.error == "endpoint_disabled"
    assert len(receiver.received) == 1


def test_a_receiver_that_takes_nothing_is_disabled_until_it_is_enabled(
    house: House, receiver: Receiver
) -> None:
    receiver.replies = [Reply(500)] * 3 + [Reply(204)]
    run_id = completed(house, receiver.url)
    sweep(house)
    assert delivery(house, run_id).status == "pending"
    sweep(house)
    failed = delivery(house, run_id)
    assert (failed.status, len(failed.attempts)) == ("failed", 3)
    disabled = endpoint(house)
    assert disabled.disabled_reason == "failing"
    with (
        house.database.transaction() as connection,
        pytest.raises(Conflict, match="disabled"),
    ):
        webhooks.replay(connection, owner=OWNER, delivery_id=failed.id)
    with house.database.transaction() as connection:
        webhooks.enable_endpoint(connection, owner=OWNER, endpoint_id=disabled.id)
    replay(house, failed.id)
    assert delivery(house, run_id).status == "delivered"
    assert receiver.received[-1].message_id == failed.id


def test_a_receiver_that_took_another_message_meanwhile_stays(
    house: House, receiver: Receiver
) -> None:
    receiver.replies = [Reply(500), Reply(204), Reply(500)]
    unlucky = completed(house, receiver.url)
    completed(house, receiver.url)
    sweep(house)
    sweep(house)
    assert delivery(house, unlucky).status == "failed"
    assert endpoint(house).disabled_at is None


def test_what_waits_for_its_next_attempt_can_have_it_now(house: House, receiver: Receiver) -> None:
    receiver.replies = [Reply(503, {"Retry-After": "1000"}), Reply(204)]
    run_id = completed(house, receiver.url)
    replay(house, delivery(house, run_id).id)
    assert delivery(house, run_id).status == "delivered"
    replay(house, delivery(house, run_id).id)
    assert len(receiver.received) == 3


def test_a_name_is_checked_where_it_leads_to(house: House, receiver: Receiver) -> None:
    house.settings = house.settings.model_copy(update={"webhook_networks": ()})
    run_id = completed(house, f"http://localhost:{receiver.port}/hook")
    told = delivery(house, run_id)
    assert (told.status, told.attempts[0].error) == ("failed", "address_closed")
    assert receiver.received == []


def test_a_deleted_run_takes_its_messages_along(house: House, receiver: Receiver) -> None:
    receiver.replies = [Reply(500)]
    run_id = completed(house, receiver.url)
    with house.database.transaction() as connection:
        wakeups = delete_run(connection, owner=OWNER, run_id=run_id)
        assert webhooks.list_deliveries(connection, owner=OWNER).items == ()
    sweep(house)
    assert len(receiver.received) == 1, "it is not told any more"
    house.published += wakeups
    house.work()
    assert house.count("webhook_delivery") == 0
    assert house.rows("SELECT kind FROM work WHERE kind = 'deliver'") == []


def test_a_message_whose_workers_are_lost_again_and_again_is_given_up(
    house: House, receiver: Receiver
) -> None:
    receiver.replies = [Reply(500)]
    run_id = completed(house, receiver.url)
    house.execute(
        "UPDATE work SET state = 'running', attempt = max_attempts, lease_token = 'x', "
        "lease_expires_at = now() - interval '1 s' WHERE kind = 'deliver'"
    )
    sweep(house)
    lost = delivery(house, run_id)
    assert (lost.status, lost.attempts[-1].error) == ("failed", "worker_lost")


def test_messages_are_forgotten_after_a_month(house: House, receiver: Receiver) -> None:
    run_id = completed(house, receiver.url)
    house.execute("UPDATE webhook_delivery SET finished_at = now() - interval '31 days'")
    sweep(house)
    assert deliveries(house, run_id) == []
    assert house.run(run_id).status == "completed"


def test_a_slow_receiver_holds_up_no_other_work(house: House, receiver: Receiver) -> None:
    receiver.replies = [Reply(pause_s=60)]
    house.settings = house.settings.model_copy(update={"webhook_timeout_s": 30.0})
    aside = Aside(1)
    runner = house.runner(aside=aside)
    slow = house.start_run(house.upload(alpaca(3)), webhook_url=receiver.url)
    house.work(runner)
    receiver.wait(1)
    other = house.start_run(house.upload(alpaca(4)), webhook_url=receiver.url)
    house.work(runner)
    assert house.run(other).status == "completed"
    assert delivery(house, slow).attempts == (), "it is still waited for"
    waiting = delivery(house, other)
    (unit,) = house.rows("SELECT worker_id FROM work WHERE subject = :id", id=waiting.id)
    assert unit["worker_id"] is None, "nobody claims it"
    assert (waiting.status, waiting.attempts) == ("pending", ()), "no thread was free"
    assert waiting.next_attempt_at is not None
    receiver.ended.set()
    aside.close(20)
    (attempt,) = delivery(house, slow).attempts
    assert attempt.error == "connection_failed"


def test_one_receiver_has_a_share_of_the_threads_and_no_more() -> None:
    receivers = Receivers()
    owners = [f"owner {number}" for number in range(AT_ONCE_PER_RECEIVER)]
    busy = [receivers.on_the_way(owner, "https://a.example/1") for owner in owners]
    for each in busy:
        each.__enter__()
    with pytest.raises(ReceiverBusy), receivers.on_the_way("ann", "https://a.example/2"):
        pass
    with receivers.on_the_way("ann", "https://b.example/"):
        pass
    busy[0].__exit__(None, None, None)
    with receivers.on_the_way("ann", "https://a.example/2"):
        pass


def test_so_has_one_owner_however_many_receivers_hang() -> None:
    receivers = Receivers()
    hosts = [f"https://host{number}.example/" for number in range(AT_ONCE_PER_OWNER)]
    busy = [receivers.on_the_way("bob", url) for url in hosts]
    for each in busy:
        each.__enter__()
    with pytest.raises(ReceiverBusy), receivers.on_the_way("bob", "https://another.example/"):
        pass
    with receivers.on_the_way("ann", "https://host0.example/"):
        pass
    busy[0].__exit__(None, None, None)
    with receivers.on_the_way("bob", "https://another.example/"):
        pass


def test_what_waits_its_turn_asks_ever_more_seldom(house: House, receiver: Receiver) -> None:
    receiver.replies = [Reply(500), Reply(204)]
    run_id = completed(house, receiver.url)
    handler = DeliverHandler(settings=house.settings, database=house.database)
    runner = house.runner({"deliver": handler})
    (unit,) = house.rows("SELECT id FROM work WHERE kind = 'deliver'")
    pauses_s = []
    with ExitStack() as others:
        for _ in range(AT_ONCE_PER_OWNER):
            others.enter_context(handler.receivers.on_the_way(OWNER, receiver.url))
        for minutes in (0, 10, 1000):
            house.execute(
                "UPDATE work SET available_at = now(), "
                "created_at = now() - make_interval(mins => :minutes)",
                minutes=minutes,
            )
            runner.run(unit["id"])
            due = delivery(house, run_id).next_attempt_at
            assert due is not None
            pauses_s.append(due - time.time())
    assert pauses_s == pytest.approx([15, 200, 300], abs=10)
    house.execute("UPDATE work SET available_at = now() WHERE kind = 'deliver'")
    runner.run(unit["id"])
    told = delivery(house, run_id)
    assert (told.status, len(told.attempts)) == ("delivered", 2), "waiting is no attempt"


def test_what_a_worker_of_an_earlier_version_gave_up_is_ended_and_can_be_sent_again(
    house: House, receiver: Receiver
) -> None:
    receiver.replies = [Reply(500), Reply(204)]
    run_id = completed(house, receiver.url)
    house.execute(
        "UPDATE work SET state = 'failed', attempt = max_attempts, finished_at = now() "
        "WHERE kind = 'deliver'"
    )
    assert delivery(house, run_id).status == "pending"
    sweep(house)
    given_up = delivery(house, run_id)
    assert (given_up.status, given_up.attempts[-1].error) == ("failed", "worker_lost")
    sweep(house)
    assert delivery(house, run_id) == given_up
    replay(house, given_up.id)
    assert delivery(house, run_id).status == "delivered"


@pytest.mark.parametrize(("reply", "left"), [(Reply(204), 0), (Reply(410), 1)])
def test_a_receiver_without_messages_is_forgotten_unless_it_is_disabled(
    house: House, receiver: Receiver, reply: Reply, left: int
) -> None:
    receiver.replies = [reply]
    completed(house, receiver.url)
    house.execute(
        "UPDATE webhook_endpoint SET created_at = created_at - interval '31 days', "
        "delivered_at = delivered_at - interval '31 days'"
    )
    sweep(house)
    assert house.count("webhook_endpoint") == 1, "it has a message"
    house.execute("UPDATE webhook_delivery SET finished_at = now() - interval '31 days'")
    sweep(house)
    assert house.count("webhook_endpoint") == left
