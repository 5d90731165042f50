"""Facility location: the rows that best stand for a pool, each row of which looks to the selected one nearest to it.

    f(S) = sum over the pool of max_{j in S} exp(-||x_i - x_j||_2 / d)         d: the number of dimensions

Superfiltering.D (Li et al. 2024, arXiv 2402.00530, section 3.3) maximises it over the rows with the highest IFD, with
submodlib's dense Euclidean similarity. `f` is submodular, so what a row would add only shrinks while others are
selected: an old gain bounds the new one, and only rows at the top of the bounds need to be looked at again (Minoux
1978). The result is that of the plain greedy algorithm, ties by position.

Unit vectors of hundreds of dimensions all have similarities near 1, where a float32 tells few of them apart. So what is
kept is how far each falls short of 1, computed in float64 and rounded once. These shortfalls are kept if they fit
`MATRIX_BYTES`, and computed again for the few rows that are looked at where they do not, so memory is bounded for any
pool.
"""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.floating[Any]]
Shortfalls = npt.NDArray[np.float32]

MATRIX_BYTES = 768 << 20
BLOCK_BYTES = 64 << 20
"""Shortfalls computed at a time, in float64."""
GAIN_DECIMALS = 8
"""Two rows that only stand for each other gain the same; without rounding, float noise would choose between them."""
LOOK_AHEAD = 4
"""Candidates whose gain is computed together: the product over many rows costs little more than over one."""


def facility_location(points: Points, k: int) -> npt.NDArray[np.int64]:
    """Positions of min(k, rows) representatives of `points`, shape (rows, dimensions), in the order of their choice."""
    shortfall = _Shortfall(points)
    left = np.ones(len(points), dtype=np.float32)
    # Python's heap pops the highest bound first, of equal ones the lowest position; `fresh` tells after how many
    # selections a bound was computed.
    bounds = [(-gain, at, 0) for at, gain in enumerate(shortfall.totals())]
    heapq.heapify(bounds)
    chosen: list[int] = []
    while bounds and len(chosen) < k:
        _, at, fresh = bounds[0]
        if fresh == len(chosen):
            heapq.heappop(bounds)
            chosen.append(at)
            np.minimum(left, shortfall.rows([at])[0], out=left)
            continue
        stale = [heapq.heappop(bounds) for _ in range(min(LOOK_AHEAD, len(bounds)))]
        ahead = [entry for entry in stale if entry[2] < len(chosen)]
        positions = [entry[1] for entry in ahead]
        for position, gain in zip(positions, shortfall.gains(positions, left), strict=True):
            heapq.heappush(bounds, (-gain, position, len(chosen)))
        for entry in stale:
            if entry[2] == len(chosen):
                heapq.heappush(bounds, entry)
    return np.array(chosen, dtype=np.int64)


class _Shortfall:
    """1 - exp(-distance / dimensions) between points, from memory if there is room for all of it."""

    def __init__(self, points: Points) -> None:
        self._points = np.ascontiguousarray(points, dtype=np.float64)
        self._squares = np.einsum("nd,nd->n", self._points, self._points)
        num_rows = len(points)
        self._block = max(1, BLOCK_BYTES // (8 * max(1, num_rows)))
        self._matrix: Shortfalls | None = None
        if 4 * num_rows**2 <= MATRIX_BYTES:
            self._matrix = np.empty((num_rows, num_rows), dtype=np.float32)
            for start in range(0, num_rows, self._block):
                stop = min(start + self._block, num_rows)
                part = self._compute(np.arange(start, stop), start)
                self._matrix[start:stop, start:] = part
                self._matrix[start:, start:stop] = part.T

    def totals(self) -> list[float]:
        """What each row adds to an empty selection."""
        num_rows = len(self._points)
        return [
            round(num_rows - float(total), GAIN_DECIMALS)
            for start in range(0, num_rows, self._block)
            for total in self.rows(range(start, min(start + self._block, num_rows))).sum(
                axis=1, dtype=np.float64
            )
        ]

    def gains(self, positions: list[int], left: Shortfalls) -> list[float]:
        """What each of these rows adds to a selection to which the rows of the pool fall so far `left` short of 1."""
        # In float64, where the two rows of a pair gain exactly the same.
        return [
            round(
                float(np.maximum(np.subtract(left, row, dtype=np.float64), 0).sum()), GAIN_DECIMALS
            )
            for row in self.rows(positions)
        ]

    def rows(self, positions: list[int] | range) -> Shortfalls:
        """Shortfalls of these rows to all, of shape (positions, rows)."""
        if self._matrix is None:
            return self._compute(np.asarray(positions))
        found: Shortfalls = (
            self._matrix[positions.start : positions.stop]
            if isinstance(positions, range)
            else self._matrix[positions]
        )
        return found

    def _compute(self, positions: npt.NDArray[np.int64], first: int = 0) -> Shortfalls:
        """Shortfalls to the rows from `first` on; no position lies before it."""
        squares = self._points[positions] @ self._points[first:].T
        squares *= -2
        squares += self._squares[first:]
        squares += self._squares[positions, None]
        # A point's distance to itself is exactly 0, which rounding would make a little more or less.
        squares[np.arange(len(positions)), positions - first] = 0
        np.maximum(squares, 0, out=squares)
        np.sqrt(squares, out=squares)
        squares /= -self._points.shape[1]
        np.expm1(squares, out=squares)
        return np.asarray(-squares, dtype=np.float32)
