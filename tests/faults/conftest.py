"""Installations that several tests of faults share, because their processes take seconds to start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import servers
from tests.faults.installation import Installation, hurried
from winnow.settings import Settings
from winnow.store import migrate


@pytest.fixture(scope="session")
def quick(
    postgres_url: str, redis_number: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """Two workers without a model, for faults that no worker dies of."""
    folder = tmp_path_factory.mktemp("quick")
    with servers.own_database(postgres_url) as url, servers.own_number(redis_number) as broker_url:
        migrate.upgrade(url)
        installation = Installation(hurried(named(folder, url, broker_url)), folder)
        with installation.running(num_workers=2):
            yield installation


@pytest.fixture(scope="session")
def undisturbed(quick: Installation) -> str:
    """Digest of the run that nothing disturbs, scored by two workers that race for its units."""
    run_id = quick.start_run()
    quick.wait_until_completed(run_id)
    return quick.digest(run_id)


@pytest.fixture
def own_broker_url(redis_number: str) -> Iterator[str]:
    """A Redis number that only this test uses: units of two databases have the same numbers."""
    with servers.own_number(redis_number) as url:
        yield url


def named(folder: Path, database_url: str, broker_url: str) -> Settings:
    return Settings(
        data_dir=folder,
        database_url=database_url,
        broker_url=broker_url,
        blob_url=(folder / "blobs").as_uri(),
    )
