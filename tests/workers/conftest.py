"""A house of its own for every test of the workers."""

from __future__ import annotations

import pytest

from tests.workers.house import House
from winnow.settings import Settings
from winnow.store.blobs import Blobs
from winnow.store.session import Database


@pytest.fixture
def house(settings: Settings, database: Database, blobs: Blobs) -> House:
    return House(settings=settings, database=database, blobs=blobs)
