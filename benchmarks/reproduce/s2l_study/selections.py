"""What a small proxy says of the rows, and the rows that each way of choosing keeps.

    s2l          equal parts of clusters of loss trajectories
    random       the baseline
    families     equal parts of the true families, noise among them: what clusters at their best could do
    embeddings   equal parts of as many clusters of the trained proxy's mean hidden states
    length       equal parts of the tenths of answer length
    ifd          the highest IFD below 1, by the proxy after its first epoch: a proxy that never trained knows nothing
    lp           the lowest learning percentage of every cluster of embeddings
    everything   all rows

Scores, clusters and selections are Winnow's own; only the models are not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score

from benchmarks.reproduce.s2l_study.families import NAMES_OF_FAMILIES, NOISE, Row
from benchmarks.reproduce.s2l_study.tiny_gpt import (
    Positions,
    TinyGPT,
    Training,
    answer_losses,
    embeddings,
    encode,
    train,
)
from winnow.methods.ifd import ifd
from winnow.proxy.engine import SpanLoss
from winnow.scores import NO_CLUSTER, RowScore, ScoreTable
from winnow.selection.cluster_rows import S2L_CLUSTERS, cluster_columns
from winnow.selection.groups import Labels, length_labels
from winnow.selection.ratio import Selection, select
from winnow.spec import RunSpec
from winnow.trajectory import TrajectoryLosses, planned, trajectory_scores

Name = Literal["s2l", "random", "families", "embeddings", "length", "ifd", "lp", "everything"]
NAMES: tuple[Name, ...] = get_args(Name)
Group = Literal["s2l", "embeddings", "length", "families"]
GROUPS: tuple[Group, ...] = get_args(Group)

S2L = RunSpec.make(method="s2l")
LP = RunSpec.make(method="learning_percentage")
IFD = RunSpec.make(embeddings=True, num_clusters=S2L_CLUSTERS)
assert S2L.trajectory is not None
EPOCHS, POINTS = S2L.trajectory.n_epochs, S2L.trajectory.points


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that a selection may look at, of each row of training; the families are the oracle's alone."""

    losses: TrajectoryLosses
    ifd: list[RowScore]
    embeddings: npt.NDArray[np.float32]
    families: Labels


def look(proxy: TinyGPT, rows: list[Row], words: dict[str, int], training: Training) -> Evidence:
    """Train the proxy on all rows, and look at them at the checkpoints of its trajectory."""
    encoded = encode(rows, words)
    checkpoints = planned(training.steps, EPOCHS, POINTS)
    steps = {checkpoint.step for checkpoint in checkpoints}
    nll, num_tokens = answer_losses(proxy, encoded)
    curves = [nll]
    scores: list[RowScore] = []

    def evaluate(step: int) -> None:
        if step in steps:
            curves.append(answer_losses(proxy, encoded)[0])
        if step == training.steps // EPOCHS:
            scores.extend(_ifd(proxy, rows, words))

    train(proxy, encoded, np.arange(len(rows)), training, after_step=evaluate)
    names = (*NAMES_OF_FAMILIES, *NOISE)
    losses = TrajectoryLosses(
        checkpoints=tuple(checkpoints),
        rows=np.arange(len(rows)),
        nll=np.array(curves),
        num_tokens=num_tokens.astype(np.int32),
        flags=np.zeros(len(rows), dtype=np.int16),
        reasons=[None] * len(rows),
        details=[None] * len(rows),
    )
    return Evidence(
        losses=losses,
        ifd=scores,
        embeddings=embeddings(proxy, encoded),
        families=np.array([names.index(row.family) for row in rows], dtype=np.int32),
    )


def _ifd(proxy: TinyGPT, rows: list[Row], words: dict[str, int]) -> list[RowScore]:
    """IFD of each row in the `paired` convention: both passes score the same tokens, and no end."""
    conditioned, direct = (
        _span_losses(*answer_losses(proxy, encode(rows, words, with_prompt=given, with_end=False)))
        for given in (True, False)
    )
    return [
        RowScore(row=row, score=ifd(given, alone), conditioned=given, direct=alone)
        for row, (given, alone) in enumerate(zip(conditioned, direct, strict=True))
    ]


def _span_losses(nll: npt.NDArray[Any], num_tokens: npt.NDArray[Any]) -> list[SpanLoss]:
    pairs = zip(nll.tolist(), num_tokens.tolist(), strict=True)
    return [SpanLoss(nll=loss, num_tokens=count) for loss, count in pairs]


def choose(name: Name, evidence: Evidence, k: int, *, seed: int) -> Positions:
    """The rows that a selection keeps, at most `k` but for `everything`."""
    if name == "everything":
        return np.arange(len(evidence.families))
    if name == "lp":
        table = ScoreTable.from_rows(trajectory_scores(evidence.losses, LP))
        table = table.with_clusters(*cluster_columns(evidence.embeddings, LP, None))
        selection = Selection.make(method="learning_percentage", count=k)
    elif name in {"ifd", "random"}:
        table = ScoreTable.from_rows(evidence.ifd)
        selection = Selection.make(
            strategy="top" if name == "ifd" else "random", count=k, seed=seed
        )
    else:
        table = ScoreTable.from_rows(trajectory_scores(evidence.losses, S2L))
        labels = labels_of(name, evidence)  # type: ignore[arg-type]  # the names that are left
        table = table.with_clusters(labels, np.full_like(labels, NO_CLUSTER))
        selection = Selection.make(method="s2l", count=k, seed=seed)
    return select(table, selection, sources=_no_sources).rows


def labels_of(name: Group, evidence: Evidence) -> Labels:
    """The groups that a balanced selection takes equal parts of."""
    ways: dict[Group, Callable[[], Labels]] = {
        "s2l": lambda: cluster_columns(evidence.losses.curves, S2L, None)[0],
        "embeddings": lambda: cluster_columns(evidence.embeddings, IFD, None)[0],
        "length": lambda: length_labels(evidence.losses.num_tokens.astype(np.float64)),
        "families": lambda: evidence.families,
    }
    return ways[name]()


def mechanism(evidence: Evidence) -> dict[str, dict[str, float]]:
    """How far the groups of each balanced selection tell the families apart: mutual information, 0 to 1."""
    found = {name: labels_of(name, evidence) for name in GROUPS[:-1]}
    return {
        name: {
            "normalized": float(normalized_mutual_info_score(evidence.families, labels)),
            "adjusted": float(adjusted_mutual_info_score(evidence.families, labels)),
        }
        for name, labels in found.items()
    }


def _no_sources() -> pa.ChunkedArray:
    raise AssertionError("no selection here is by source")
