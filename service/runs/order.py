"""Places in a sorted table, without sorting it: the rows of one page, from the keys of all.

`keys` has a number for every row, smallest first, infinity for a row that has none; equal keys stay in the order of
their rows. `wanted` says which rows the table has.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]


def sort_keys(values: Keys, order: Literal["asc", "desc"]) -> Keys:
    """The keys of a table sorted by these numbers, NaN where a row has none."""
    return np.where(np.isnan(values), np.inf, values if order == "asc" else -values)


def first(keys: Keys, wanted: Bools, most: int) -> Places:
    """The first `most` rows of the table, in its order. Linear time, however long the table is."""
    places = np.flatnonzero(wanted)
    found = keys[places]
    if len(places) > most:
        near = found <= np.partition(found, most - 1)[most - 1]
        places, found = places[near], found[near]
    return places[np.argsort(found, kind="stable")[:most]]


def last(keys: Keys, wanted: Bools, most: int) -> Places:
    """The last `most` rows of the table, in its order."""
    mirrored = first(-keys[::-1], wanted[::-1], most)
    return (len(keys) - 1 - mirrored)[::-1]


def behind(keys: Keys, place: int) -> Bools:
    """The rows that come behind the one at `place`."""
    later = np.arange(len(keys)) > place
    return np.asarray((keys > keys[place]) | ((keys == keys[place]) & later))


def ahead(keys: Keys, place: int) -> Bools:
    """The rows that come in front of the one at `place`."""
    earlier = np.arange(len(keys)) < place
    return np.asarray((keys < keys[place]) | ((keys == keys[place]) & earlier))
