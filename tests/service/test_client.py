"""Our own client against a real gateway, for what takes more than one request."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

from tests.service.conftest import RECORDS
from tests.service.learning import STEPS, Trainer
from winnow.client import Client
from winnow.errors import (
    Conflict,
    InvalidOption,
    ModelNotAllowed,
    NotFound,
    RunNotUsable,
    ScoresNotReady,
    SelectionNotReady,
    TrajectoryNotReady,
)
from winnow.settings import Settings


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """An installation with a small and a large model."""
    return settings.model_copy(update={"models": ("winnow-mini", "winnow-large")})


@pytest.fixture
def winnow(live: httpx.Client) -> Iterator[Client]:
    """Our client, asked by `alice`."""
    key = live.headers["Authorization"].removeprefix("Bearer ")
    with Client(str(live.base_url), key) as client:
        yield client


@pytest.fixture
def working(work: Callable[[], None]) -> Iterator[None]:
    """A worker in the background."""
    over = threading.Event()

    def loop() -> None:
        while not over.is_set():
            work()
            time.sleep(0.05)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def lines(subset: Iterable[bytes]) -> list[Any]:
    return [json.loads(line) for line in b"".join(subset).splitlines()]


def test_a_run_leads_to_its_trajectory_and_to_every_loss(
    winnow: Client, work: Callable[[], None], trainer: Trainer, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    started = winnow.score(RECORDS, method="s2l", n_epochs=2, points=3, seed=7)
    work()
    run = winnow.run(started.id)
    assert run.status == "training"
    assert run.trajectory is not None
    trajectory = winnow.trajectory(run.trajectory)
    assert trajectory.active
    assert trajectory.options["seed"] == 7
    for ask in (winnow.losses, lambda id_: winnow.download_losses(folder / "l.csv", id_)):
        with pytest.raises(TrajectoryNotReady):
            list(ask(run.trajectory))  # type: ignore[operator]
    trainer.train(run.trajectory)
    work()
    assert winnow.wait(run).status == "completed"
    trajectory = next(winnow.trajectories(dataset=run.dataset))
    assert not trajectory.active
    assert trajectory.training is not None
    assert trajectory.training.hyperparameters["learning_rate"] == 0.01
    assert [one.step for one in trajectory.checkpoints] == list(STEPS)
    losses = list(winnow.losses(trajectory.id))
    assert [line["row"] for line in losses] == list(range(len(RECORDS)))
    table = pq.read_table(winnow.download_losses(folder / "l.parquet", trajectory.id))
    assert table.column("loss_6").to_pylist() == [line["loss_6"] for line in losses]
    assert [path.name for path in folder.iterdir()] == ["l.parquet"]
    types = [event["type"] for event in winnow.trajectory_events(trajectory.id)]
    assert types[-1] == "trajectory.completed"
    scores = winnow.download_scores(folder / "scores.jsonl", run.id).read_text().splitlines()
    assert [json.loads(line) for line in scores] == list(winnow.scores(run.id))


def test_a_cancelled_trajectory_ends_the_wait_for_its_run(
    winnow: Client, work: Callable[[], None]
) -> None:
    started = winnow.score(RECORDS, method="learning_percentage")
    work()
    trajectory = winnow.run(started.id).trajectory
    assert trajectory is not None
    with pytest.raises(Conflict):
        winnow.delete_trajectory(trajectory)
    assert winnow.cancel_trajectory(trajectory).status == "cancelled"
    with pytest.raises(RunNotUsable):
        winnow.wait(started)
    winnow.delete_trajectory(trajectory)
    assert list(winnow.trajectories()) == []
    with pytest.raises(NotFound):
        winnow.trajectory("traj_none")


def test_rows_that_take_work_are_waited_for_if_asked(
    winnow: Client, work: Callable[[], None], tmp_path: Path
) -> None:
    run = winnow.score(RECORDS, embeddings=True)
    asked: dict[str, Any] = {
        "run": run.id,
        "ratio": 0.2,
        "strategy": "facility_location",
        "pool_ratio": 0.5,
    }
    with pytest.raises(ScoresNotReady):
        b"".join(winnow.subset(**asked))
    work()
    for ask in (winnow.subset, winnow.manifest):
        with pytest.raises(SelectionNotReady):
            list(ask(**asked))
    later = threading.Timer(0.2, work)
    later.start()
    manifest = winnow.manifest(wait=True, **asked)
    later.join()
    assert manifest["rows_selected"] == 4
    kept = winnow.download(tmp_path / "kept.jsonl", wait=True, **asked)
    assert kept.path.read_bytes() == b"".join(winnow.subset(**asked))
    assert kept.run == run.id


def test_waiting_ends_with_what_was_waited_for(winnow: Client, work: Callable[[], None]) -> None:
    run = winnow.score(RECORDS, embeddings=True)
    asked: dict[str, Any] = {"run": run.id, "ratio": 0.2, "wait": True, "timeout_s": 0.1}
    with pytest.raises(TimeoutError, match=r"after 0\.1 s .*rows are scored"):
        b"".join(winnow.subset(**asked))
    work()
    for ask in (winnow.subset, winnow.manifest):
        with pytest.raises(TimeoutError, match=r"after 0\.1 s"):
            list(ask(**asked, strategy="facility_location", pool_ratio=0.5))
    with pytest.raises(TimeoutError, match=r"the data is not read after 0\.1 s"):
        winnow.trust(RECORDS[:15], target="winnow-large", timeout_s=0.1)
    work()
    rows = [record | {"output": f"{record['output']}!"} for record in RECORDS]
    dataset = winnow.add_dataset(rows).id
    work()
    with pytest.raises(TimeoutError, match="is still"):
        winnow.trust(dataset=dataset, target="winnow-large", timeout_s=0.1)


def test_every_option_of_a_subset_arrives(winnow: Client, work: Callable[[], None]) -> None:
    run = winnow.score(RECORDS, embeddings=True, num_clusters=3)
    work()
    asked: dict[str, Any] = {
        "strategy": "cluster_bottom",
        "min_score": 0.0,
        "max_score": 50.0,
        "include_unlearned": True,
        "seed": 0,
        "order": "score",
        "per": "source",
        "stratify": "length",
    }
    manifest = winnow.manifest(run=run.id, count=6, **asked)
    assert manifest["selection"] == asked | {
        "count": 6,
        "ratio": None,
        "quota": None,
        "pool_ratio": None,
    }
    whole = winnow.manifest(run=run.id, ratio=0.5, strategy="cluster_bottom", quota="per_cluster")
    assert whole["clusters"] == {"selected": 3, "all": 3}
    assert len(lines(winnow.subset(run=run.id, count=6, **asked))) == 6


@pytest.mark.usefixtures("working")
def test_trust_is_one_call_from_data_to_verdict(winnow: Client) -> None:
    rows = [
        {"instruction": f"Question {n}", "output": f"Answer {n} {'more ' * (n % 9)}"}
        for n in range(120)
    ]
    heard = []
    report = winnow.trust(
        rows, target="winnow-large", sample=60, on_progress=lambda run: heard.append(run.model)
    )
    assert report["rows"] == 60
    assert report["verdict"] in {"strong", "fair", "weak", "none"}
    assert set(heard) == {"winnow-mini", "winnow-large"}
    dataset = next(one.id for one in winnow.datasets() if one.rows_read == 120)
    pair = winnow.start_trust(dataset=dataset, target="winnow-large", sample=60)
    assert pair.sample.dataset == dataset
    assert pair.proxy.dataset == winnow.run(report["proxy"]).dataset
    assert report == winnow.trust_report(report["proxy"], report["target"])
    agreement = winnow.agreement(report["proxy"], report["target"])
    assert agreement["spearman"]["value"] == report["spearman"]["value"]


def test_trust_names_what_it_cannot_use(winnow: Client, work: Callable[[], None]) -> None:
    dataset = winnow.add_dataset(RECORDS).id
    work()
    with pytest.raises(ModelNotAllowed) as refused:
        winnow.start_trust(dataset=dataset, target="gpt2")
    assert refused.value.param == "target"
    with pytest.raises(InvalidOption, match="either data or dataset"):
        winnow.start_trust(target="winnow-large")
