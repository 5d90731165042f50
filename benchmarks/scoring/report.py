"""The results as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.report import Figure, table
from benchmarks.scoring.results import CeilingFigure, Results, Speed, Spread

PUBLISHED_ROWS_PER_S = 61.7
"""GPT-2 on one A800, batch size 1, 4,096 Alpaca rows in 66.41 s: the only published figure that names GPU and rows."""


def markdown(results: Results) -> str:
    """Everything, for people."""
    parts = [
        f"## {results.model}",
        _setting(results),
        _table(SPEED_HEAD, [_speed_row(speed) for speed in results.speeds]),
        "Ceilings, the fastest product of matrices in the same run:",
        _table(CEILING_HEAD, [_ceiling_row(ceiling) for ceiling in results.ceilings]),
        f"Against {results.speeds[0].label}, rows that both score:",
        _table(FIDELITY_HEAD, [_fidelity_row(speed) for speed in results.speeds[1:]]),
        *(
            f"vLLM against the torch engine, {dtype}: {_spread(spread)} times as fast."
            for dtype, spread in results.vllm_times_torch.items()
        ),
        *_note(results),
        *(f"Left out: {reason}" for reason in results.left_out),
        *_beside_published(results),
    ]
    return "\n\n".join(parts)


def _setting(results: Results) -> str:
    rows = f"{results.rows} rows of {results.source}"
    work = f"{results.scored_tokens:,} scored tokens, {results.gflop:,.0f} GFLOP"
    return (
        f"{rows}, {work}; {results.machine}, {results.device}, {results.threads} threads, token budget "
        f"{results.token_budget}; medians of {results.repeats} repeats [least, most]."
    )


def _note(results: Results) -> list[str]:
    if results.emulated_rows is None:
        return []
    rows = f"{results.emulated_rows} of the rows were scored so, once, for the fidelity; the speed says nothing."
    return [f"Emulated: this processor has no bfloat16 instructions. {rows}"]


SPEED_HEAD = (
    *("implementation", "rows/s", "times (a)", "scored tokens/s", "GFLOP/s"),
    *("of the ceiling", "peak memory, MiB", "ready after, s", "first pass longer by, s"),
)


def _speed_row(speed: Speed) -> Sequence[str]:
    gpu = "" if speed.gpu_peak_mib is None else f" + GPU {speed.gpu_peak_mib:,.0f}"
    extra = "" if speed.first_extra_s is None else f"{speed.first_extra_s:.1f}"
    return (
        speed.label,
        _spread(speed.rows_per_s),
        _spread(speed.times_published),
        _spread(speed.tokens_per_s),
        _spread(speed.gflops),
        f"{speed.share:.0%}",
        f"{speed.peak_mib:,.0f}{gpu}",
        f"{speed.ready_s:.1f}",
        extra,
    )


CEILING_HEAD = ("ceiling", "GFLOP/s", "best of each repeat", "product", "how")


def _ceiling_row(ceiling: CeilingFigure) -> Sequence[str]:
    return (
        ceiling.label,
        _number(ceiling.gflops),
        _spread(ceiling.by_repeat),
        ceiling.product,
        ceiling.way,
    )


FIDELITY_HEAD = (
    *("implementation", "rows", "scored by one only", "largest error of a mean loss, nats"),
    *("standard deviation of the error of IFD", "Spearman of IFD", "top-10 % overlap"),
    *("the same, cut at 1", "rows moved over 1", "of them beyond 3 standard deviations"),
)


def _fidelity_row(speed: Speed) -> Sequence[str]:
    found = speed.fidelity
    return (
        speed.label,
        str(found.rows),
        str(found.one_sided),
        f"{found.loss_error:.1e}",
        f"{found.ifd_sd:.1e}",
        f"{found.spearman:.5f}",
        f"{found.overlap:.1%}",
        f"{found.overlap_cut:.1%}",
        str(found.moved),
        str(found.moved_far),
    )


def _beside_published(results: Results) -> list[str]:
    if results.device != "cuda":
        return []
    figures = [
        Figure(
            what=f"{results.model}: {speed.label}",
            value=speed.rows_per_s.median,
            unit="rows/s",
            baseline="published, GPT-2 on one A800",
            baseline_value=PUBLISHED_ROWS_PER_S,
        )
        for speed in results.speeds
    ]
    return [table(figures)]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _spread(spread: Spread) -> str:
    return f"{_number(spread.median)} [{_number(spread.least)}, {_number(spread.most)}]"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
