"""`make reproduce`: every proof, one after the other, as tables; docs/reproduction.md is what it prints.

    python -m benchmarks.reproduce [--data FOLDER] [--only PROOF ...] [--seeds 5] [--threads 1]

What was computed stays under build/reproduce, so a reproduction that broke off goes on; `--only` measures some proofs
and takes the others as they were last measured. From nothing it takes hours of one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from benchmarks.reproduce import ifd_proxies, s2l_study, transfer_mini, transfer_published
from benchmarks.reproduce.place import Place

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "reproduction.md"
HEAD = """# The papers' claims, measured again

This page is written by `make reproduce` (`benchmarks/reproduce/`); every number on it comes from that command. *Stated*
figures are published ones, or were computed from published per-record figures by others; the rest was measured.

A claim of transfer rests on the column *partial*: Spearman's correlation given the logarithm of the answer's tokens,
with its 95 % interval from a bootstrap over records. Answer length alone ranks instruction data much as models do, so
each table has it as a row, and a random order beside it."""

Section = Callable[[Place], str]
PROOFS: dict[str, tuple[str, Section]] = {
    "transfer_published": (
        "Learning percentage transfers between sizes (arXiv 2402.10430)",
        transfer_published.section,
    ),
    "transfer_mini": (
        "It transfers down to winnow-mini, 7 million parameters",
        transfer_mini.section,
    ),
    "ifd_proxies": ("IFD by proxies of two sizes (arXiv 2402.00530)", ifd_proxies.section),
    "s2l_study": ("S2L at the scale of two cores (arXiv 2403.07384)", s2l_study.section),
}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure again what the papers claim.")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "reproduce")
    parser.add_argument("--only", choices=PROOFS, nargs="+", default=list(PROOFS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    place = Place(
        data=options.data, work=options.work, threads=options.threads, seeds=options.seeds
    )
    for name in options.only:
        text = PROOFS[name][1](place)
        print(f"## {PROOFS[name][0]}\n\n{text}\n", flush=True)
        (place.folder("sections") / f"{name}.md").write_text(text, encoding="utf-8")
        DOCUMENT.write_text(document(place), encoding="utf-8")


def document(place: Place) -> str:
    """The page, of the sections that were measured last."""
    parts = [HEAD]
    for name, (title, _) in PROOFS.items():
        file = place.folder("sections") / f"{name}.md"
        text = file.read_text(encoding="utf-8") if file.exists() else "Not measured yet."
        parts.append(f"## {title}\n\n{text}")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
