"""What the tests of the store start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.store.story import Story
from winnow.settings import Settings
from winnow.store.session import Database


@pytest.fixture
def story(database: Database, tmp_path: Path) -> Story:
    settings = Settings(data_dir=tmp_path, max_attempts=3, units_in_flight=2, republish_after_s=8)
    return Story(database=database, settings=settings)
