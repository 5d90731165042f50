"""The page of the reproduction: what was measured, and what was not."""

from __future__ import annotations

from pathlib import Path

from benchmarks.reproduce.__main__ import PROOFS, document
from benchmarks.reproduce.place import Place


def test_the_page_has_a_section_for_each_proof_measured_or_not(tmp_path: Path) -> None:
    place = Place(data=tmp_path, work=tmp_path / "work")
    (place.folder("sections") / "s2l_study.md").write_text("It holds.")
    page = document(place)
    assert [line[3:] for line in page.splitlines() if line.startswith("## ")] == [
        title for title, _ in PROOFS.values()
    ]
    assert page.count("Not measured yet.") == len(PROOFS) - 1
    assert page.endswith("It holds.\n")
