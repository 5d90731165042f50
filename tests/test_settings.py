"""Settings: all three places or none, and nothing is taken from an empty variable."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from winnow.errors import ConfigurationError
from winnow.settings import Settings

PLACES = {
    "WINNOW_DATABASE_URL": "postgresql+psycopg://localhost/winnow",
    "WINNOW_BROKER_URL": "redis://localhost/0",
    "WINNOW_BLOB_URL": "file:///tmp/blobs",
}


@pytest.mark.parametrize("missing", PLACES)
def test_a_service_names_all_of_its_places(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PLACES.items():
        monkeypatch.setenv(name, value)
    assert not Settings().embedded
    monkeypatch.delenv(missing)
    with pytest.raises(ConfigurationError, match=missing):
        Settings()


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PLACES, "WINNOW_MODELS"):
        monkeypatch.setenv(name, "")
    assert Settings().embedded
    assert Settings().models == ("winnow-mini",)


def test_an_installation_offers_at_least_one_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_MODELS", " , ")
    with pytest.raises(ValidationError, match="models"):
        Settings()
