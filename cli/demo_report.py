"""What the demo found, as text: a histogram, the extreme rows, the planted faults, and what to try next."""

from __future__ import annotations

import json
import math
import textwrap
from bisect import bisect
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from winnow.records.readers import read_records
from winnow.sample import MISMATCH, PLANTED_FIELD

if TYPE_CHECKING:
    from rich.console import Console

    from winnow.client import Download, Run

BIN_WIDTH = 0.1
LAST_BIN = 1.5
BAR_CHARS = 44
NUM_EXTREMES = 3
TEXT_CHARS = 60
WORST_SHARE = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredRecord:
    """A record of the sample and its score."""

    score: float
    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """The sample's scored records, the highest score first, and its rejections by reason."""

    ranked: Sequence[ScoredRecord]
    rejected: Counter[str]

    @classmethod
    def gather(cls, sample: Path, lines: Sequence[Mapping[str, Any]]) -> Self:
        """Put the records of the sample beside the score lines of their rows."""
        with sample.open("rb") as file:
            records = [json.loads(record.raw) for record in read_records(file)]
        scored = [
            ScoredRecord(score=line["score"], record=records[line["row"]])
            for line in lines
            if line["status"] == "scored"
        ]
        return cls(
            ranked=sorted(scored, key=lambda each: -each.score),
            rejected=Counter(line["reason"] for line in lines if line["status"] == "rejected"),
        )

    def mismatches(self, ranked: Sequence[ScoredRecord]) -> int:
        """How many of these records carry the answer of another one."""
        return sum(each.record[PLANTED_FIELD] == MISMATCH for each in ranked)


def show(console: Console, run: Run, findings: Findings, subset: Download) -> None:
    """Print everything."""
    for part in (
        _counts(run, findings),
        ["", "IFD of the answers (higher: the prompt helps less; from 1 on it misleads)"],
        _histogram([each.score for each in findings.ranked], unicode=console.encoding == "utf-8"),
        ["", f"The {NUM_EXTREMES} highest: hard, or prompt and answer do not fit"],
        *map(_extreme, findings.ranked[:NUM_EXTREMES]),
        ["", f"The {NUM_EXTREMES} lowest: the prompt already says it all"],
        *map(_extreme, reversed(findings.ranked[-NUM_EXTREMES:])),
        _planted(findings),
        _next_steps(subset),
    ):
        for line in part:
            console.print(line, markup=False)


def _counts(run: Run, findings: Findings) -> list[str]:
    took_s = (run.finished_at or 0) - run.created_at
    rate = "" if run.rows_per_s is None else f", {run.rows_per_s:,.0f} rows/s"
    lines = [
        "",
        f"Scored {run.counts.rows_scored} of {run.counts.rows} rows with {run.model} in {took_s} s{rate}",
    ]
    if findings.rejected:
        reasons = ", ".join(
            f"{reason} {number}" for reason, number in findings.rejected.most_common()
        )
        lines.append(f"Rejected {findings.rejected.total()}: {reasons}")
    return lines


def _histogram(scores: Sequence[float], *, unicode: bool) -> list[str]:
    """Bins of a tenth; the few scores far above 1 share the last one, or they would squeeze all others into one."""
    low = math.floor(min(scores) / BIN_WIDTH)
    tops = [
        round(BIN_WIDTH * (low + step), 1)
        for step in range(1, round(LAST_BIN / BIN_WIDTH) - low + 1)
    ]
    counts = Counter(bisect(tops, score) for score in scores)
    mark, longest = "█" if unicode else "#", max(counts.values())
    names = [*(f"below {top:.1f}" for top in tops), f"{LAST_BIN:.1f} and more"]
    return [
        f"  {name:>12}  {mark * -(-counts[at] * BAR_CHARS // longest)} {counts[at]}"
        for at, name in enumerate(names)
    ]


def _extreme(each: ScoredRecord) -> list[str]:
    question = _shortened(f"{each.record['instruction']} {each.record['input']}")
    planted = f"  [planted: {each.record[PLANTED_FIELD]}]" if each.record[PLANTED_FIELD] else ""
    return [
        f"  {each.score:.3f}  {question}",
        f"         -> {_shortened(each.record['output'], TEXT_CHARS - len(planted))}{planted}",
    ]


def _shortened(text: str, width: int = TEXT_CHARS) -> str:
    return textwrap.shorten(text, width, placeholder=" ...")


def _planted(findings: Findings) -> list[str]:
    num_worst = len(findings.ranked) // WORST_SHARE
    planted, found = (
        findings.mismatches(findings.ranked),
        findings.mismatches(findings.ranked[:num_worst]),
    )
    chance = planted * num_worst / len(findings.ranked)
    return [
        "",
        f"{planted} answers were planted under a prompt that is not theirs: {found} of them lie in the",
        f"worst tenth ({num_worst} rows, highest IFD first); chance would put {chance:.0f} there.",
    ]


def _next_steps(subset: Download) -> list[str]:
    with subset.path.open("rb") as file:
        num_rows = sum(1 for _ in read_records(file))
    return [
        "",
        f"The subset for ratio=0.1, {num_rows} rows: {subset.path}",
        "",
        "Your own data, without a server:",
        "  winnow score data.jsonl --ratio 0.1 -o subset.jsonl --scores scores.jsonl",
        "Or through the service:",
        "  winnow serve",
        "  curl -F file=@data.jsonl http://127.0.0.1:8000/score",
        "  curl -o subset.jsonl 'http://127.0.0.1:8000/subsets?ratio=0.1'",
    ]
