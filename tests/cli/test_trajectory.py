"""`winnow score` by methods that watch the proxy learn: one small fine-tune, and all that can be made of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cli
from cli.trajectory import shared_cores
from tests.cli.conftest import RECORDS, TINY, Result
from winnow.scores import read_scores
from winnow.spec import RunSpec

ROWS = len(RECORDS) + 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of two sources with an empty answer at its end, S2L's scores, embeddings and weights."""
    folder = tmp_path_factory.mktemp("trained")
    lines = [record | {"source": "ab"[row % 2]} for row, record in enumerate(RECORDS)]
    lines.append({"instruction": "Say hi.", "input": "", "output": "", "source": "a"})
    (folder / "data.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    arguments = [
        *("score", folder / "data.jsonl", "--model", TINY, "--method", "s2l", "--epochs", "2"),
        *("--points", "3", "--batch-size", "8", "--learning-rate", "1e-3", "--template", "plain"),
        *("--num-clusters", "4", "--embeddings", "true", "--scores", folder / "s2l.jsonl"),
        *("--save-embeddings", folder / "points.npy", "--keep-weights", folder / "kept"),
        *("--ratio", "0.25", "-o", folder / "subset.jsonl"),
    ]
    assert cli.main([str(argument) for argument in arguments]) == 0
    return folder


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_row_has_a_score_and_clusters_or_a_reason(folder: Path) -> None:
    *scored, rejected = records(folder / "s2l.jsonl")
    assert rejected["reason"] == "empty_answer"
    assert len(scored) == ROWS - 1
    assert {row["cluster"] for row in scored} == {0, 1, 2, 3}
    assert len({row["cluster_in_source"] for row in scored}) == 8
    assert "loss_direct" not in scored[0]


def test_the_weights_that_were_asked_for_stay(folder: Path) -> None:
    # Twenty rows in batches of eight are three steps an epoch; the ends are points, or beside them.
    steps = [int(path.name.removeprefix("step-")) for path in sorted((folder / "kept").iterdir())]
    assert steps == [2, 3, 4, 6]


def test_the_subset_is_the_one_that_the_scores_give_again(
    folder: Path, winnow: Callable[..., Result]
) -> None:
    again = winnow(
        *("select", folder / "s2l.jsonl", "--data", folder / "data.jsonl", "--method", "s2l"),
        *("--ratio", "0.25", "-o", "again.jsonl"),
    )
    assert again.code == 0
    assert Path("again.jsonl").read_bytes() == (folder / "subset.jsonl").read_bytes() != b""


@pytest.mark.parametrize(
    "options",
    [
        ["--strategy", "cluster_bottom", "--quota", "per_cluster"],
        ["--strategy", "cluster_balanced", "--per", "source"],
        ["--strategy", "cluster_balanced", "--stratify", "length"],
        ["--strategy", "top", "--method", "s2l"],
    ],
)
def test_scores_of_a_trajectory_are_open_to_every_strategy(
    folder: Path, winnow: Callable[..., Result], options: list[str]
) -> None:
    done = winnow(
        *("select", folder / "s2l.jsonl", "--data", folder / "data.jsonl", "--ratio", "0.2"),
        *("-o", "kept.jsonl", *options),
    )
    assert (done.code, done.error_lines) == (0, [])
    assert 4 <= len(records(Path("kept.jsonl"))) <= 8


def test_saved_embeddings_are_what_facility_location_compares(
    folder: Path, winnow: Callable[..., Result]
) -> None:
    points = np.load(folder / "points.npy")
    assert points.shape[0] == ROWS
    assert np.isnan(points).any(axis=1).tolist() == [*[False] * (ROWS - 1), True]
    asked = (
        *("select", folder / "s2l.jsonl", "--data", folder / "data.jsonl", "--count", "5"),
        *("--strategy", "facility_location", "--method", "s2l", "-o", "kept.jsonl"),
    )
    refused = winnow(*asked).error_lines[0]
    assert "--embeddings FILE.npy" in refused
    assert "--save-embeddings" in refused
    assert winnow(*asked, "--embeddings", folder / "points.npy").code == 0
    assert len(records(Path("kept.jsonl"))) == 5
    wrong = winnow(*asked, "--embeddings", folder / "data.jsonl")
    assert "no file that --save-embeddings wrote" in wrong.error_lines[0]
    np.save("few.npy", points[:3])
    assert f"each of {ROWS} rows" in winnow(*asked, "--embeddings", "few.npy").error_lines[0]


def test_the_method_of_scores_is_asked_for_where_it_matters(
    folder: Path, winnow: Callable[..., Result]
) -> None:
    asked = ("select", folder / "s2l.jsonl", "--data", folder / "data.jsonl", "--ratio", "0.2")
    refused = winnow(*asked, "-o", "kept.jsonl")
    assert (refused.code, "--method" in refused.error_lines[0]) == (2, True)


def test_kept_weights_are_checkpoints_for_the_other_method(
    folder: Path, winnow: Callable[..., Result]
) -> None:
    done = winnow(
        *("score", folder / "data.jsonl", "--model", TINY, "--method", "learning_percentage"),
        *("--checkpoints", folder / "kept", "--n-epochs", "2", "--template", "plain"),
        *("--ratio", "0.2", "-o", "subset.jsonl", "--scores", "lp.parquet", "--num-clusters", "2"),
    )
    assert done.code == 0
    assert "training on" not in done.err
    table = read_scores("lp.parquet")
    assert table.num_scored == ROWS - 1
    assert set(table.labels("cluster").tolist()) == {-1, 0, 1}
    assert len(records(Path("subset.jsonl"))) == 4
    assert "unlearned" in done.err


def test_epochs_that_kept_weights_tell_are_not_contradicted(
    folder: Path, winnow: Callable[..., Result]
) -> None:
    asked = ("score", folder / "data.jsonl", "--model", TINY, "--method", "s2l", "--dry-run")
    refused = winnow(*asked, "--checkpoints", folder / "kept", "--epochs", "3")
    assert (refused.code, "so n_epochs is not 3" in refused.error_lines[0]) == (2, True)


def test_cores_are_shared_out_while_the_proxy_is_trained(folder: Path) -> None:
    trained = RunSpec.make(method="s2l")
    shared = [shared_cores(trained, cores) for cores in (1, 2, 3, 8)]
    assert shared == [(1, 1), (1, 1), (2, 1), (4, 4)]
    own = RunSpec.make(method="s2l", checkpoints=str(folder / "kept"))
    assert shared_cores(own, 8) == (0, 8)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--epochs", "2"], "n_epochs belongs to method=learning_percentage and s2l"),
        (["--method", "s2l", "--batch-size", "many"], "--batch-size is a number or auto"),
        (["--method", "s2l", "--keep-weights", "."], "is there already"),
        (["--method", "s2l", "--checkpoints", "absent"], "no folder 'absent'"),
        (["--method", "s2l", "--save-embeddings", "a.npy"], "what --embeddings asks for"),
        (["--embeddings", "true", "--save-embeddings", "a.txt"], "use .npy"),
        (["--ratio", "0.5", "-o", "kept.jsonl", "--strategy", "cluster_bottom"], "no clusters"),
    ],
)
def test_bad_options_are_refused_before_any_work(
    winnow: Callable[..., Result], dataset: Path, options: list[str], told: str
) -> None:
    done = winnow("score", dataset, "--model", TINY, *options)
    assert done.code == 2
    assert told in done.error_lines[0]
    assert list(dataset.parent.iterdir()) == [dataset]


def test_a_dry_run_tells_what_the_trajectory_would_cost(
    winnow: Callable[..., Result], dataset: Path
) -> None:
    done = winnow("score", dataset, "--model", TINY, "--method", "s2l", "--template", "plain", "--dry-run")  # fmt: skip
    assert done.code == 0
    assert "and read the rows at 10 checkpoints" in done.err
