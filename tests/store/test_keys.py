"""API keys and ids: shown once, kept as a hash, refused when revoked, not to be guessed."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import select

from tests.store.story import Story
from winnow.errors import NotFound
from winnow.store import keys
from winnow.store.ids import new_id
from winnow.store.tables import api_key


def test_key_authenticates_its_owner_until_it_is_revoked(story: Story) -> None:
    mine = story.do(keys.create_key, owner="ann", name="laptop")
    other = story.do(keys.create_key, owner="bob")
    assert story.do(keys.authenticate, mine) == "ann"
    assert story.do(keys.authenticate, mine[:-1]) is None
    (listed,) = story.do(keys.list_keys, owner="ann")
    assert (listed.name, listed.revoked_at) == ("laptop", None)
    for _ in range(2):
        story.do(keys.revoke_key, key_id=listed.id)
    assert story.do(keys.authenticate, mine) is None
    assert story.do(keys.authenticate, other) == "bob"
    assert [key.revoked_at is None for key in story.do(keys.list_keys)] == [False, True]


def test_key_itself_is_not_kept(story: Story) -> None:
    key = story.do(keys.create_key, owner="ann")
    stored = str(story.do(lambda conn: conn.execute(select(api_key)).one()))
    assert key.startswith("winnow_sk_")
    assert key not in stored
    assert key[14:] not in stored


def test_unknown_key_cannot_be_revoked(story: Story) -> None:
    with pytest.raises(NotFound, match="winnow keys list"):
        story.do(keys.revoke_key, key_id="key_x")


def test_ids_say_what_they_name_and_do_not_repeat() -> None:
    ids = {new_id("ds") for _ in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch(r"ds_[a-z2-7]{24}", one) for one in ids)
