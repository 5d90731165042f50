"""The published selections of learning percentage, found again as sets.

The golden cases are selections of the reference implementation on Dolly's first 2,000 records with given clusters. The
published subsets of Dolly are compared on the rows with P0 > 1: those with P0 = 1 have LP = 0 by the published rule,
and their order among each other is arbitrary. Clusters that the published files do not give back are unknown (-1).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reproduce.place import Place, absent, markdown
from benchmarks.reproduce.published import Rows, Statistic, no_sources, read_published
from winnow.scores import NO_CLUSTER, ScoreTable
from winnow.selection.groups import Labels
from winnow.selection.ratio import Selection, select
from winnow.spec import RunSpec
from winnow.trajectory import TrajectoryLosses, trajectory_scores

STATED = {("opt-350m", "lp1@10"): (1148, 1162), ("llama2-7b", "lp1@10"): (1001, 1013)}
STATISTICS: dict[str, Statistic] = {
    "LP1": "lp",
    "LP1_Approx": "approx",
    "lp1": "lp",
    "lp1_approx": "approx",
}


def section(place: Place) -> str:
    """Both tables, or what is missing for each."""
    columns = place.data / "small2large_ppl_dolly.npz"
    parts = [
        f"### {title}\n\n{absent(columns, file) or table(columns, json.loads(file.read_text()))}"
        for title, file, table in (
            ("Golden selections", place.golden / "learning_percentage.json", _golden_table),
            (
                "The published subsets of Dolly",
                place.golden / "dolly_published_lp.json",
                _dolly_table,
            ),
        )
    ]
    return "\n\n".join(parts)


def _golden_table(columns: Path, golden: dict[str, Any]) -> str:
    clusters = np.array(golden["clusters"], dtype=np.int32)
    models = read_published(columns, len(clusters), every_row=True)
    rows = []
    for case in golden["cases"]:
        found = reference_selection(
            models[case["model"]],
            clusters,
            STATISTICS[case["metric"]],
            f"{case['percentage'] / 100}",
        )
        wanted = set(case["selected"])
        same = (
            "yes"
            if set(found.tolist()) == wanted
            else f"{len(wanted ^ set(found.tolist()))} rows differ"
        )
        rows.append(
            [case["model"], case["metric"], f"{case['percentage']} %", str(len(wanted)), same]
        )
    return markdown(["model", "score", "ratio", "published rows", "equal as sets"], rows)


def _dolly_table(columns: Path, golden: dict[str, Any]) -> str:
    clusters = np.array(golden["clusters"], dtype=np.int32)
    models = read_published(columns, every_row=True)
    rows = []
    for model, subsets in golden["subsets"].items():
        for name, subset in subsets.items():
            score, _, percentage = name.partition("@")
            found = reference_selection(
                models[model], clusters, STATISTICS[score], f"{int(percentage) / 100}"
            )
            learned = [row for row in subset if models[model].nll[0, row] > 0]
            again = len(set(found.tolist()) & set(learned))
            stated = STATED.get((model, name))
            rows.append(
                [
                    model,
                    name,
                    f"{stated[0]:,} of {stated[1]:,}" if stated else "",
                    f"{again:,} of {len(learned):,}",
                    f"{again / len(learned):.1%}",
                ]
            )
    return markdown(["model", "subset", "stated", "found again of rows with P0 > 1", "share"], rows)


def reference_selection(
    losses: TrajectoryLosses, clusters: Labels, statistic: Statistic, ratio: str
) -> Rows:
    """What Winnow selects by the published rules: `compat=small2large`, `quota=per_cluster`, given clusters."""
    compat = "small2large" if statistic == "lp" else None
    spec = RunSpec.make(
        method="learning_percentage", statistic=statistic, compat=compat, embeddings=False
    )
    table = ScoreTable.from_rows(trajectory_scores(losses, spec))
    table = table.with_clusters(clusters, np.full_like(clusters, NO_CLUSTER))
    selection = Selection.make(
        method="learning_percentage", ratio=ratio, quota="per_cluster", include_unlearned=True
    )
    return select(table, selection, sources=no_sources).rows
