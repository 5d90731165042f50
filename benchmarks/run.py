"""`make bench`: every benchmark of the service, one after the other, as one table."""

from __future__ import annotations

from benchmarks import first_block, selection, subset, training, upload
from benchmarks.report import table


def main() -> None:
    """Measure and print."""
    print(table(first_block.measure()), flush=True)
    print(table(upload.measure(1_000_000_000)), flush=True)
    print(table(subset.measure(1_000_000)), flush=True)
    print(table(selection.measure(rows=1_000_000, points=10_400)), flush=True)
    print(table(training.measure(rows=160, rounds=2)), flush=True)


if __name__ == "__main__":
    main()
