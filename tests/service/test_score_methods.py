"""The methods of `POST /score`: their options, what each refuses, and what their runs leave."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.score.options import MethodOptions
from service.score.schemas import ScoreOptions
from tests.service.conftest import RECORDS
from winnow.settings import Settings

BODY = {"records": RECORDS}
FOREIGN = {
    "ifd": {
        "n_epochs": 3,
        "points": 12,
        "batch_size": "auto",
        "learning_rate": 0.1,
        "keep_weights": True,
        "checkpoints": "mine",
        "epoch": 1,
        "compat": "small2large",
        "statistic": "lp",
    },
    "learning_percentage": {"convention": "paired", "statistic": "ppl_ratio", "cache": True},
    "s2l": {
        "cache": True,
        "convention": "paired",
        "statistic": "approx",
        "epoch": 1,
        "compat": "small2large",
    },
}
"""Options that a method does not have."""


def post(client: TestClient, **options: Any) -> Any:
    return client.post("/score", json=BODY | options)


@pytest.mark.parametrize(
    ("method", "name", "value"),
    [(method, *option) for method, options in FOREIGN.items() for option in options.items()],
)
def test_an_option_that_the_method_does_not_have_is_named(
    client: TestClient, method: str, name: str, value: object
) -> None:
    answer = post(client, method=method, **{name: value})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_option"), answer.text
    assert answer.json()["param"] == name
    assert client.get("/runs").json()["data"] == []


def test_every_option_is_either_for_all_methods_or_refused_by_one() -> None:
    """An option that is new must be thought of here."""
    for_all = {"method", "dtype", "template", "max_length", "seed", "embeddings"}
    data_and_model = {"name", "format", "dataset", "model", "engine", "dry_run", "num_clusters"}
    data_and_model |= {"webhook_url"}
    foreign = {name for options in FOREIGN.values() for name in options}
    assert set(ScoreOptions.model_fields) == for_all | data_and_model | foreign
    assert set(MethodOptions.model_fields) < set(ScoreOptions.model_fields)


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"method": "lp"}, "method"),
        ({"method": "s2l", "n_epochs": 0}, "n_epochs"),
        ({"method": "s2l", "n_epochs": 10**30}, "n_epochs"),
        ({"method": "s2l", "points": 101}, "points"),
        ({"method": "s2l", "batch_size": 0}, "batch_size"),
        ({"method": "s2l", "batch_size": "large"}, "batch_size"),
        ({"method": "s2l", "learning_rate": "nan"}, "learning_rate"),
        ({"method": "s2l", "learning_rate": -1}, "learning_rate"),
        ({"method": "s2l", "max_length": 4}, "max_length"),
        ({"method": "s2l", "num_clusters": 0}, "num_clusters"),
        ({"method": "s2l", "engine": "vllm-server"}, "engine"),
        ({"method": "learning_percentage", "n_epochs": 1}, "n_epochs"),
        ({"method": "learning_percentage", "epoch": 4}, "epoch"),
        ({"method": "learning_percentage", "compat": "mine"}, "compat"),
        ({"method": "ifd", "num_clusters": 5}, "num_clusters"),
        ({"embeddings": "sentence-transformers:"}, "embeddings"),
        ({"embeddings": "word2vec"}, "embeddings"),
        ({"embeddings": True, "engine": "vllm"}, "embeddings"),
    ],
    ids=str,
)
def test_a_value_that_cannot_be_met_is_named(
    client: TestClient, options: dict[str, Any], param: str
) -> None:
    answer = post(client, **options)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_option"), answer.text
    assert answer.json()["param"].partition(".")[0] == param


def test_a_method_brings_its_own_defaults(client: TestClient) -> None:
    run = post(client, method="learning_percentage").json()
    options = run["options"]
    assert (options["template"], options["max_length"], options["statistic"]) == (
        "alpaca",
        512,
        "lp",
    )
    assert (options["embeddings"], options["epoch"]) == ("proxy", 1)
    assert options["trajectory"] == {
        "n_epochs": 3,
        "points": 12,
        "batch_size": "auto",
        "learning_rate": "auto",
        "template": "alpaca",
        "max_length": 512,
        "seed": 42,
        "keep_weights": False,
        "checkpoints": None,
        "checkpoints_revision": None,
    }
    assert (run["status"], run["trajectory"]) == ("queued", None)


@pytest.mark.parametrize("where", ["params", "data", "files"])
def test_options_of_a_trajectory_are_read_from_every_place(client: TestClient, where: str) -> None:
    dataset = client.post("/datasets", json=RECORDS).json()["id"]
    given = {
        "method": "s2l",
        "points": "4",
        "batch_size": "8",
        "learning_rate": "1e-3",
        "keep_weights": "true",
        "embeddings": "true",
        "dataset": dataset,
    }
    sent = {name: (None, value) for name, value in given.items()} if where == "files" else given
    run = client.post("/score", **{where: sent}).json()  # type: ignore[arg-type]
    trajectory = run["options"]["trajectory"]
    assert (trajectory["points"], trajectory["batch_size"]) == (4, 8)
    assert (trajectory["learning_rate"], trajectory["keep_weights"]) == (0.001, True)
    assert run["options"]["embeddings"] == "proxy"


@pytest.mark.parametrize("method", ["learning_percentage", "s2l"])
def test_a_method_that_watches_learning_scores_every_row(
    client: TestClient, learned: Callable[..., dict[str, Any]], method: str
) -> None:
    run = learned(method=method)
    assert run["counts"]["rows_scored"] == len(RECORDS)
    page = client.get(f"/runs/{run['id']}/scores").json()["data"]
    assert page[0].keys() >= {"score", "loss_conditioned", "tokens_conditioned", "cluster"}
    assert "loss_direct" not in page[0]
    assert {"cluster_in_source"} <= page[0].keys()  # the records name two sources
    lines = client.get(f"/runs/{run['id']}/scores?format=jsonl").text.splitlines()
    assert [json.loads(line) for line in lines] == page


def test_ifd_keeps_its_scores_when_rows_are_embedded(
    client: TestClient, finished_run: dict[str, Any], work: Callable[[], None]
) -> None:
    run = client.post("/score", params={"dataset": finished_run["dataset"], "embeddings": True})
    work()
    plain, embedded = (
        client.get(f"/runs/{run_id}/scores").json()["data"]
        for run_id in (finished_run["id"], run.json()["id"])
    )
    assert [row["score"] for row in embedded] == [row["score"] for row in plain]
    assert {row["cluster"] for row in embedded} == {0}


def test_a_dry_run_of_a_trajectory_trains_nothing(
    client: TestClient, work: Callable[[], None]
) -> None:
    run = post(client, method="s2l", dry_run=True).json()
    work()
    done = client.get(f"/runs/{run['id']}").json()
    assert (done["status"], done["trajectory"]) == ("completed", None)
    assert client.get("/trajectories").json()["data"] == []


def test_rows_are_embedded_by_models_that_the_operator_names(client: TestClient) -> None:
    answer = post(client, embeddings="sentence-transformers:/etc")
    assert (answer.status_code, answer.json()["code"]) == (422, "model_not_allowed")
    assert answer.json()["param"] == "embeddings"
    assert "WINNOW_EMBEDDERS" in answer.json()["detail"]


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder of checkpoints below one that the operator names, and a way out of it."""
    folder = tmp_path / "shared" / "mine"
    for step in (3, 6):
        checkpoint = folder / f"checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        for name in ("config.json", "model.safetensors", "tokenizer.json"):
            (checkpoint / name).write_text("{}")
    (tmp_path / "shared" / "out").symlink_to(tmp_path)
    return folder


@pytest.fixture
def sharing(settings: Settings, mine: Path, make_key: Callable[[str], str]) -> Iterator[TestClient]:
    """A gateway whose operator lets users name checkpoints."""
    app = create_app(settings.model_copy(update={"checkpoints": (mine.parent,)}))
    headers = {"Authorization": f"Bearer {make_key('alice')}"}
    with TestClient(app, headers=headers, raise_server_exceptions=False) as client:
        yield client


def test_checkpoints_of_ones_own_are_evaluated_and_nothing_is_trained(
    sharing: TestClient, mine: Path, work: Callable[[], None]
) -> None:
    options = {"method": "learning_percentage", "n_epochs": 2}
    runs = [post(sharing, checkpoints=name, **options).json()["id"] for name in ("mine", str(mine))]
    work()
    first, second = (sharing.get(f"/runs/{run_id}").json() for run_id in runs)
    assert first["status"] == second["status"] == "completed"
    assert first["trajectory"] == second["trajectory"]
    assert first["options"]["trajectory"]["checkpoints"] == "mine"
    trajectory = sharing.get(f"/trajectories/{first['trajectory']}").json()
    assert trajectory["training"] is None
    assert [(one["step"], one["epoch"]) for one in trajectory["checkpoints"]] == [
        (0, 0),
        (3, 1),
        (6, 2),
    ]
    assert trajectory["checkpoints"][1]["weights"] == "checkpoint-3"
    told = json.dumps([first, trajectory])
    assert str(mine.parent) not in told
    assert sorted(path.name for path in mine.iterdir()) == ["checkpoint-3", "checkpoint-6"]


def test_checkpoints_whose_files_are_others_now_are_another_trajectory(
    sharing: TestClient, mine: Path, work: Callable[[], None]
) -> None:
    def trajectory() -> tuple[str, str]:
        started = post(sharing, method="s2l", checkpoints="mine").json()
        work()
        run = sharing.get(f"/runs/{started['id']}").json()
        assert run["status"] == "completed", run
        return run["trajectory"], run["options"]["trajectory"]["checkpoints_revision"]

    first = trajectory()
    assert trajectory() == first
    (mine / "checkpoint-6" / "model.safetensors").write_text("other weights")
    second = trajectory()
    assert (first[0] != second[0], first[1] != second[1]) == (True, True)


def test_epochs_are_those_that_the_checkpoints_tell(sharing: TestClient, mine: Path) -> None:
    for step, epoch in ((3, 1.0), (6, 2.0)):
        state = json.dumps({"global_step": step, "epoch": epoch})
        (mine / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
    asked = {"method": "learning_percentage", "checkpoints": "mine"}
    run = post(sharing, **asked).json()
    assert run["options"]["trajectory"]["n_epochs"] == 2
    refused = post(sharing, **asked, n_epochs=3)
    assert (refused.status_code, refused.json()["param"]) == (422, "n_epochs")
    assert "checkpoint-6" in refused.json()["detail"]
    assert str(mine.parent) not in refused.json()["detail"]


def test_a_cache_that_a_method_does_not_have_may_be_declined(client: TestClient) -> None:
    assert post(client, method="s2l", cache=False).status_code == 202


@pytest.mark.parametrize(
    "name",
    [
        "absent",
        "..",
        "../..",
        "out",
        "out/shared/../..",
        "/",
        "/etc",
        "mine/checkpoint-3",
        "\x00",
        "x" * 300,
    ],
)
def test_checkpoints_elsewhere_are_refused_alike_whether_they_are_there_or_not(
    sharing: TestClient, name: str, tmp_path: Path
) -> None:
    answer = post(sharing, method="s2l", checkpoints=name)
    assert (answer.status_code, answer.json()["param"]) == (422, "checkpoints"), answer.text
    assert str(tmp_path) not in answer.json()["detail"]
    assert sharing.get("/runs").json()["data"] == []


def test_checkpoints_need_an_operator_who_names_folders(client: TestClient, mine: Path) -> None:
    answer = post(client, method="s2l", checkpoints=str(mine))
    assert (answer.status_code, answer.json()["param"]) == (422, "checkpoints")
    assert "WINNOW_CHECKPOINTS" in answer.json()["detail"]


def test_training_options_and_checkpoints_contradict_each_other(sharing: TestClient) -> None:
    answer = post(sharing, method="s2l", checkpoints="mine", learning_rate=0.1)
    assert (answer.status_code, answer.json()["param"]) == (422, "learning_rate")


def test_checkpoints_without_the_ends_of_epochs_are_of_use_to_s2l_only(sharing: TestClient) -> None:
    options = {"checkpoints": "mine", "n_epochs": 4}
    refused = post(sharing, method="learning_percentage", **options)
    assert (refused.status_code, refused.json()["param"]) == (422, "checkpoints")
    assert post(sharing, method="s2l", **options).status_code == 202
