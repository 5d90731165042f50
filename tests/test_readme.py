"""The README says what the code says."""

from __future__ import annotations

from pathlib import Path

from winnow.settings import settings_table

ROOT = Path(__file__).parents[1]


def test_the_settings_table_is_the_one_of_the_code() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert settings_table() in readme, "run `python -m winnow.settings` and paste its table"
