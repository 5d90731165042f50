"""A selection that took work, as it is kept: its rows as Parquet, the rest as JSON beside them.

It is kept in the order of the dataset; whoever wants another one arranges the rows when they are read
(`winnow.selection.ratio.arranged`).

Not covered: where (`selection_path` is relative to the blob store) and for how long (`winnow.store.selections`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from winnow.selection.ratio import Selected
from winnow.selection.request import Selection

RULES_VERSION = 1
"""Part of every key: raised when the same request selects other rows."""


def selection_key(selection: Selection) -> str:
    """What requests for the same rows of one run have in common, in whatever order; fit for a file's name."""
    values = selection.canonical().as_dict()
    for name in ("ratio", "pool_ratio"):
        ratio = getattr(selection, name)
        values[name] = None if ratio is None else f"{ratio.normalize():f}"
    canonical = json.dumps([RULES_VERSION, values], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def selection_path(run_id: str, key: str, made_by: str) -> str:
    """Where the rows of a selection lie in the blob store; `made_by` tells apart who has made the same one."""
    return f"runs/{run_id}/selections/{key}-{made_by}.parquet"


def write_selected(selected: Selected, file: IO[bytes]) -> dict[str, Any]:
    """Write the rows in their order; returns what else is to be kept, as plain values for JSON."""
    pq.write_table(pa.table({"row": pa.array(selected.rows, pa.int64())}), file)
    return {
        "rows_read": selected.rows_read,
        "k": selected.k,
        "taken_by_rule": selected.taken_by_rule,
        "threshold": selected.threshold,
    }


def read_selected(file: IO[bytes], kept: Mapping[str, Any]) -> Selected:
    """What `write_selected` wrote to `file` and returned."""
    rows = pq.read_table(file).column("row").to_numpy()
    return Selected(
        rows=rows.astype(np.int64, copy=False),
        rows_read=kept["rows_read"],
        k=kept["k"],
        taken_by_rule=dict(kept["taken_by_rule"]),
        threshold=kept["threshold"],
    )
