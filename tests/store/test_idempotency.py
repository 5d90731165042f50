"""A request with an Idempotency-Key is done once, also when it comes twice at the same time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, func, select

from tests.store.story import OWNER, Story
from winnow.errors import IdempotencyMismatch
from winnow.store import idempotency, keys
from winnow.store.idempotency import StoredResponse
from winnow.store.tables import api_key

ANSWER = StoredResponse(status=202, headers={"Location": "/runs/run_x"}, body=b'{"id": 1}')


def request(conn: Connection, request_hash: str = "h", owner: str = OWNER) -> StoredResponse:
    """A request that makes an object, the way the gateway does one."""
    stored = idempotency.begin(conn, owner=owner, key="k", request_hash=request_hash)
    if stored is not None:
        return stored
    keys.create_key(conn, owner=owner)
    idempotency.finish(
        conn, owner=owner, key="k", status=ANSWER.status, headers=ANSWER.headers, body=ANSWER.body
    )
    return ANSWER


def num_made(story: Story) -> int:
    return story.do(lambda conn: conn.scalar(select(func.count()).select_from(api_key)))


def test_second_request_gets_the_first_answer(story: Story) -> None:
    assert story.do(request) == story.do(request) == ANSWER
    assert num_made(story) == 1


def test_same_key_with_another_request_is_refused(story: Story) -> None:
    story.do(request)
    with pytest.raises(IdempotencyMismatch):
        story.do(request, "other")


def test_keys_of_two_owners_do_not_meet(story: Story) -> None:
    story.do(request)
    story.do(request, "other", owner="bob")
    assert num_made(story) == 2


def test_twenty_requests_at_once_make_one_object(story: Story) -> None:
    together = threading.Barrier(20)

    def post(_: int) -> StoredResponse:
        together.wait()
        return story.do(request)

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(post, range(20)))
    assert answers == [ANSWER] * 20
    assert num_made(story) == 1


def test_request_that_failed_can_be_sent_again(story: Story) -> None:
    with story.database.transaction() as conn:
        request(conn)
        conn.rollback()
    assert story.do(request) == ANSWER
    assert num_made(story) == 1


def test_waiting_request_takes_the_place_of_one_that_rolled_back(story: Story) -> None:
    with story.database.transaction() as conn, ThreadPoolExecutor(1) as pool:
        request(conn)
        waiting = pool.submit(story.do, request)
        threading.Event().wait(0.2)
        assert not waiting.done()
        conn.rollback()
        assert waiting.result() == ANSWER
    assert num_made(story) == 1
