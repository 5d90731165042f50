"""How far a small proxy's ranking can be trusted for a large model, on a sample of one's own rows.

Both models score the same rows. Answer length ranks rows too, costs nothing, and is the same for both, so it stands
beside every figure, and the verdict rests on what the proxy knows beyond it: the correlation of ranks given the
logarithm of the answer's tokens (`winnow.agreement`), by the lower end of its interval:

    strong    0.6 and more
    fair      0.3 and more
    weak      above 0
    none      0 and less: on these rows the proxy cannot be told from answer length

Intervals are of 95 %, by a seeded bootstrap over rows. They speak of the rows sampled, not of another dataset.

A sample has from `MIN_SAMPLE` to `MAX_SAMPLE` rows. More would say little more: at 2,000 rows the interval of a
correlation of 0.6 is 0.06 wide, and its thousand resamples take seconds, which is as long as a request may last.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from winnow.agreement import MIN_ROWS, Correlation, rank_correlations
from winnow.errors import InputError, InvalidOption
from winnow.scores import ScoreTable
from winnow.selection.ratio import MISLEADING
from winnow.selection.request import LOWEST_FIRST
from winnow.spec import Method

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
Verdict = Literal["strong", "fair", "weak", "none"]

MIN_SAMPLE, MAX_SAMPLE = 50, 2_000
DRAWN_ROWS = 1 << 16
"""Rows whose draws are held at a time."""

RATIOS = (0.05, 0.1, 0.25, 0.5)
RESAMPLES = 1000
CENTRE_95 = (2.5, 97.5)
"""Percentiles between which 95 % of the resamples lie."""
STRONG, FAIR = 0.6, 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Of the part of the rows that the target would keep, the share that the proxy, answer length and chance keep."""

    ratio: float
    proxy: Correlation
    length: float
    chance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Proxy and target compared on the rows that both scored.

    `spearman` is that of their scores, `length` that of answer length and the target's scores, `gain` by how much the
    first is farther from 0 than the second, `partial` the first given answer length.
    """

    rows: int
    spearman: Correlation
    partial: Correlation
    length: Correlation
    gain: Correlation
    kept: tuple[Kept, ...]
    verdict: Verdict

    @property
    def words(self) -> str:
        """The verdict as a sentence."""
        return _WORDS[self.verdict]


def check_sample(size: int) -> None:
    """Whether so many rows may be sampled.

    Raises:
        InvalidOption: they are too few to say anything, or too many.
    """
    if not MIN_SAMPLE <= size <= MAX_SAMPLE:
        raise InvalidOption(
            f"sample must be from {MIN_SAMPLE} to {MAX_SAMPLE:,} rows; got {size:,}.",
            param="sample",
        )


def sample_rows(usable: npt.NDArray[np.bool_], size: int, *, seed: int) -> Rows:
    """`size` of the usable rows, drawn without replacement, ascending; all of them if they are no more.

    Beside `usable` it holds the draws of `DRAWN_ROWS` rows and of the sample.
    """
    # One raw draw for every row, as strategy=random does it: what is usable moves no other row's draw.
    generator = np.random.PCG64(seed)
    rows, draws = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.uint64)
    for first in range(0, len(usable), DRAWN_ROWS):
        part = usable[first : first + DRAWN_ROWS]
        rows = np.concatenate([rows, first + np.flatnonzero(part)])
        draws = np.concatenate([draws, generator.random_raw(len(part))[part]])
        lowest = np.argsort(draws, kind="stable")[:size]
        rows, draws = rows[lowest], draws[lowest]
    return np.sort(rows)


def trust(
    proxy: ScoreTable,
    target: ScoreTable,
    *,
    method: Method,
    ratios: Sequence[float] = RATIOS,
    seed: int = 42,
) -> Trust:
    """Compare the scores of a proxy and a target for the same rows; the answer's tokens are those of the target.

    Rows that one of them did not score, or did not learn, are left out.

    Raises:
        InputError: the tables are not of the same rows, or too few are left.
    """
    if len(proxy) != len(target):
        raise InputError(
            f"The scores are of different rows: {len(proxy)} of the proxy and {len(target)} of the target."
        )
    both = proxy.ranked & target.ranked
    if np.count_nonzero(both) < MIN_ROWS:
        raise InputError(
            f"Fewer than {MIN_ROWS} rows are scored, and learned, by both models; sample more."
        )
    return compare(
        proxy.score[both],
        target.score[both],
        tokens=target.answer_tokens[both],
        method=method,
        ratios=ratios,
        seed=seed,
    )


def compare(
    proxy: Floats,
    target: Floats,
    *,
    tokens: Floats,
    method: Method,
    ratios: Sequence[float] = RATIOS,
    seed: int = 42,
) -> Trust:
    """`trust` for arrays of scores, one for each row, and of the tokens of their answers."""
    every = np.arange(len(target))
    read = _Statistics(proxy, target, tokens, method, ratios)
    values = read(every)
    resampled = np.array([read(rows) for rows in _resamples(len(every), seed)])
    intervals = [_interval(*one) for one in zip(values, resampled.T, strict=True)]
    spearman, partial, length, gain = intervals[:4]
    return Trust(
        rows=len(every),
        spearman=spearman,
        partial=partial,
        length=length,
        gain=gain,
        kept=tuple(
            Kept(ratio=ratio, proxy=of_proxy, length=of_length, chance=num_kept / len(every))
            for ratio, of_proxy, of_length, num_kept in zip(
                ratios,
                intervals[4:],
                read.kept(every, by_length=True),
                _nums_kept(ratios, len(every)),
                strict=True,
            )
        ),
        verdict=_verdict(partial),
    )


class _Statistics:
    """Every figure that has an interval, of any rows: three correlations, the gain, and what is kept at each ratio."""

    def __init__(
        self, proxy: Floats, target: Floats, tokens: Floats, method: Method, ratios: Sequence[float]
    ) -> None:
        self._scores = (proxy, target, tokens)
        self._ratios = ratios
        # Length has no best end of its own: it is given the one that suits the target.
        suits = 1.0 if rank_correlations(proxy, target, tokens).b_length >= 0 else -1.0
        self._length = _keys(suits * tokens, method, misleading=math.inf)
        self._proxy, self._target = (
            _keys(values, method, misleading=MISLEADING) for values in (proxy, target)
        )

    def __call__(self, rows: Rows) -> list[float]:
        found = rank_correlations(*(values[rows] for values in self._scores))
        gain = abs(found.a_b) - abs(found.b_length)
        return [found.a_b, found.partial, found.b_length, gain, *self.kept(rows)]

    def kept(self, rows: Rows, *, by_length: bool = False) -> list[float]:
        """Of the rows that the target would keep at each ratio, the share that the proxy keeps, or answer length."""
        other = np.argsort((self._length if by_length else self._proxy)[rows], kind="stable")
        place = np.empty_like(other)
        place[other] = np.arange(len(rows))
        places = place[np.argsort(self._target[rows], kind="stable")]
        return [
            float(np.count_nonzero(places[:num_kept] < num_kept) / num_kept)
            for num_kept in _nums_kept(self._ratios, len(rows))
        ]


def _keys(values: Floats, method: Method, *, misleading: float) -> Floats:
    """The order in which the method keeps rows, smallest first; of IFD, misleading rows come last."""
    if method in LOWEST_FIRST:
        return values
    return np.where((method == "ifd") & (values >= misleading), values, -values)


def _nums_kept(ratios: Sequence[float], num_rows: int) -> list[int]:
    return [max(1, math.floor(ratio * num_rows)) for ratio in ratios]


def _resamples(num_rows: int, seed: int) -> Iterator[Rows]:
    # Raw draws are the part of NumPy's generators that never changes between versions.
    generator = np.random.PCG64(seed)
    for _ in range(RESAMPLES):
        yield (generator.random_raw(num_rows) % np.uint64(num_rows)).astype(np.int64)


def _interval(value: float, resampled: Floats) -> Correlation:
    """NaN where a side does not vary; a resample in which one does not says nothing."""
    if math.isnan(value):
        return Correlation(value=value, low=value, high=value)
    low, high = np.nanpercentile(resampled, CENTRE_95)
    return Correlation(value=value, low=float(low), high=float(high))


def _verdict(partial: Correlation) -> Verdict:
    if partial.low >= STRONG:
        return "strong"
    if partial.low >= FAIR:
        return "fair"
    return "weak" if partial.low > 0 else "none"


_WORDS: dict[Verdict, str] = {
    "strong": "The proxy ranks these rows much as the target does, beyond what answer length tells: trust it here.",
    "fair": "The proxy ranks these rows partly as the target does, beyond what answer length tells: trust it for "
    "choosing a share of them, not row by row.",
    "weak": "The proxy tells a little more of the target's ranking than answer length does: try a larger proxy.",
    "none": "On these rows the proxy tells no more of the target's ranking than answer length does: do not trust it "
    "here.",
}
