"""What a command says when it ends, in lines for people; on stderr, so that standard output stays data."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from cli.progress import duration
from cli.subset import SubsetRequest
from winnow.estimate import Estimate
from winnow.records.example import Flag
from winnow.scores import FLAG_BITS, ScoreTable
from winnow.selection.ratio import MISLEADING, Selected
from winnow.spec import Method

FIRST_REJECTIONS = 5
"""So many rejections are shown; the scores file has all of them."""
MUCH_UNLEARNED = 0.1
"""Above this share of unlearned rows a proxy did not learn."""


def say(line: str) -> None:
    """One line on stderr."""
    print(line, file=sys.stderr, flush=True)


def say_rejections(first: Iterable[tuple[int, str, str]], total: int) -> None:
    """The first rejections (row, reason, detail), each with its line and remedy, and how many more there are."""
    shown = list(islice(first, FIRST_REJECTIONS))
    for row, reason, detail in shown:
        say(f"  row {row}: {reason}: {detail}")
    if total > len(shown):
        say(f"  and {total - len(shown):,} more; --scores FILE names every one")


def say_scores(table: ScoreTable, *, method: Method, seconds: float) -> None:
    """How many rows were read, scored and rejected, how the scores lie, and how long it took."""
    rejected = table.table.filter(pc.field("reason").is_valid())
    say(f"read {len(table):,} rows: scored {table.num_scored:,}, rejected {rejected.num_rows:,}")
    if rejected.num_rows:
        counts = rejected.column("reason").value_counts().to_pylist()
        say(f"rejected: {by_reason({each['values']: each['counts'] for each in counts})}")
        first = rejected.slice(0, FIRST_REJECTIONS).select(["row", "reason", "detail"]).to_pydict()
        say_rejections(zip(*first.values(), strict=True), rejected.num_rows)
    score = table.score[~np.isnan(table.score)]
    if len(score):
        say(f"score: median {np.median(score):.4f}{_of_method(table, score, method)}")
    say(f"took {duration(seconds)}, {len(table) / seconds:,.0f} rows/s")


def _of_method(table: ScoreTable, score: npt.NDArray[np.float64], method: Method) -> str:
    if method == "ifd":
        return f"; {np.count_nonzero(score >= MISLEADING) / len(score):.1%} at 1 or above"
    if method == "s2l":
        return ""
    unlearned = np.count_nonzero(table.flags & FLAG_BITS[Flag.UNLEARNED]) / len(score)
    if unlearned <= MUCH_UNLEARNED:
        return f"; {unlearned:.1%} unlearned"
    return (
        f"; {unlearned:.1%} unlearned: the proxy did not learn these data, so its scores say little. Train longer, or "
        "with another learning rate"
    )


def say_estimate(found: Estimate) -> None:
    """What scoring would do, and how sure that is."""
    if found.rows_sampled == found.rows:
        say(f"read {found.rows:,} rows and encoded every one; nothing is written")
    else:
        say(f"read {found.rows:,} rows; scaled from {found.rows_sampled:,}; nothing is written")
    say(f"would score {found.rows_scored:,}, {found.share_truncated:.1%} of them truncated")
    say(f"would reject {found.rows_rejected:,} ({found.share_rejected:.1%})")
    if found.rejected_by_reason:
        say(f"rejected: {by_reason(found.rejected_by_reason)}")
    say(
        f"tokens to score: {found.tokens_conditioned:,} with the prompt, {found.tokens_direct:,} without; "
        f"{found.tokens_read:,} to read"
    )
    if found.checkpoints:
        say(
            f"would train on {found.tokens_trained:,} tokens and read the rows at {found.checkpoints} checkpoints"
        )
    if found.seconds is not None:
        speed = f"{found.rows_per_s:,.0f} rows/s in {found.rows_timed:,} timed rows"
        say(f"would take {duration(found.seconds)}: {speed}")


def say_subset(request: SubsetRequest, selected: Selected) -> None:
    """How many rows were kept, and what took the others."""
    taken = by_reason({rule: number for rule, number in selected.taken_by_rule.items() if number})
    others = f"; not kept: {taken}" if taken else ""
    say(f"kept {len(selected.rows):,} rows in {request.path}{others}")
    if len(selected.rows) < selected.k:
        say(f"fewer than the {selected.k:,} asked for: the rules above left no more")


def say_written(scores: Path) -> None:
    """Where the scores are."""
    say(f"scores of every row in {scores}")


def by_reason(counts: Mapping[str, int]) -> str:
    """`empty_answer 20, malformed 1`, the most frequent first."""
    return ", ".join(f"{reason} {number:,}" for reason, number in Counter(counts).most_common())
