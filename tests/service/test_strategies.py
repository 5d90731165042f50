"""Strategies of `/subsets` over runs of every method: what each run has, what it lacks, and rows that take work."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable
from typing import Any, get_args

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from service.subsets.schemas import SELECTION_OPTIONS
from tests.service.conftest import RECORDS
from winnow.client.values import SelectionOptions, SubsetOptions
from winnow.selection.reference import SubsetReference
from winnow.selection.request import Strategy
from winnow.store.session import Database
from winnow.store.tables import selection, work

Learned = Callable[..., dict[str, Any]]

OWN = {
    "ifd": ["top", "bottom", "random"],
    "learning_percentage": [
        "top",
        "bottom",
        "random",
        "cluster_bottom",
        "cluster_balanced",
        "facility_location",
    ],
    "s2l": ["top", "bottom", "random", "cluster_bottom", "cluster_balanced"],
}
"""What a run of each method can be asked for, as it is made by default."""

LACKING = [
    (method, strategy)
    for method, strategy in itertools.product(OWN, get_args(Strategy))
    if strategy not in OWN[method]
]


@pytest.fixture
def run_of(finished_run: dict[str, Any], learned: Learned) -> Callable[[str], dict[str, Any]]:
    """A completed run of a method."""
    return lambda method: finished_run if method == "ifd" else learned(method=method)


def rows_of(text: str) -> list[int]:
    """The numbers of the records in a subset."""
    return [int(json.loads(line)["output"].rpartition(" ")[2]) for line in text.splitlines()]


@pytest.mark.parametrize("method", OWN)
def test_every_run_is_open_to_every_strategy_that_it_has_the_data_for(
    client: TestClient,
    run_of: Callable[[str], dict[str, Any]],
    work: Callable[[], None],
    method: str,
) -> None:
    run = run_of(method)["id"]
    for strategy in OWN[method]:
        asked = {"run": run, "ratio": "0.3", "strategy": strategy}
        client.get("/subsets", params=asked)
        work()
        answer = client.get("/subsets", params=asked)
        assert answer.status_code == 200, answer.text
        manifest = client.get("/subsets/manifest", params=asked).json()
        assert manifest["rows_selected"] == len(rows_of(answer.text)) <= 6
        assert manifest["rows_selected"] + sum(manifest["taken_by_rule"].values()) == len(RECORDS)
        assert client.get("/subsets", params=asked).content == answer.content


@pytest.mark.parametrize(("method", "strategy"), LACKING)
def test_a_strategy_that_a_run_lacks_the_data_for_says_how_to_get_it(
    client: TestClient, run_of: Callable[[str], dict[str, Any]], method: str, strategy: str
) -> None:
    asked = {"run": run_of(method)["id"], "ratio": "0.3", "strategy": strategy}
    for path in ("/subsets", "/subsets/manifest"):
        answer = client.get(path, params=asked)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_option"), answer.text
        assert answer.json()["param"] == "strategy"
        assert "embeddings=true" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "strategy"), [("learning_percentage", "cluster_bottom"), ("s2l", "cluster_balanced")]
)
def test_a_method_has_a_strategy_of_its_own(
    client: TestClient, run_of: Callable[[str], dict[str, Any]], method: str, strategy: str
) -> None:
    run = run_of(method)["id"]
    plain = client.get("/subsets", params={"run": run, "count": 5})
    named = client.get("/subsets", params={"run": run, "count": 5, "strategy": strategy})
    assert plain.content == named.content
    assert plain.headers["ETag"] == named.headers["ETag"]


def test_clusters_give_their_lowest_rows(client: TestClient, learned: Learned) -> None:
    run = learned(method="learning_percentage", num_clusters=4)
    page = client.get(f"/runs/{run['id']}/scores").json()["data"]
    clusters = {row["row"]: row["cluster"] for row in page}
    chosen = rows_of(client.get("/subsets", params={"run": run["id"], "count": 10}).text)
    by_score = sorted(page, key=lambda row: (row["score"], row["row"]))
    taken = Counter(clusters[row] for row in chosen)
    for cluster, count in taken.items():
        lowest = [row["row"] for row in by_score if row["cluster"] == cluster][:count]
        assert set(lowest) <= set(chosen)
    asked = {"run": run["id"], "count": 10}
    counted = client.get("/subsets/manifest", params=asked).json()["clusters"]
    assert counted == {"selected": len(taken), "all": len(set(clusters.values()))}


def test_sources_give_equally_many_rows_from_clusters_of_their_own(
    client: TestClient, learned: Learned
) -> None:
    asked = {"run": learned(method="s2l")["id"], "count": 6, "per": "source"}
    chosen = rows_of(client.get("/subsets", params=asked).text)
    assert sorted(row % 2 for row in chosen) == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"quota": "per_cluster"}, "quota"),
        ({"quota": "per_cluster", "strategy": "cluster_balanced"}, "quota"),
        ({"quota": "per_cluster", "strategy": "cluster_bottom", "per": "source"}, "quota"),
        ({"quota": "per_cluster", "strategy": "cluster_bottom", "stratify": "length"}, "quota"),
        ({"quota": "equal", "strategy": "cluster_bottom"}, "quota"),
        ({"pool_ratio": "0.3"}, "pool_ratio"),
        ({"pool_ratio": "0.3", "strategy": "cluster_bottom"}, "pool_ratio"),
        ({"pool_ratio": "0", "strategy": "facility_location"}, "pool_ratio"),
        ({"pool_ratio": "1.1", "strategy": "facility_location"}, "pool_ratio"),
        ({"strategy": "cluster_top"}, "strategy"),
        ({"include_unlearned": "perhaps"}, "include_unlearned"),
        ({"per": "source", "stratify": "source"}, "stratify"),
    ],
    ids=str,
)
def test_an_option_that_the_strategy_does_not_have_is_named(
    client: TestClient, finished_run: dict[str, Any], options: dict[str, str], param: str
) -> None:
    asked = {"run": finished_run["id"], "ratio": "0.3"} | options
    answer = client.get("/subsets", params=asked)
    assert (answer.status_code, answer.json()["param"]) == (422, param), answer.text


def test_a_part_of_every_cluster_is_rounded_as_published(
    client: TestClient, learned: Learned
) -> None:
    run = learned(method="learning_percentage", num_clusters=4)["id"]
    asked = {"run": run, "ratio": "0.3", "strategy": "cluster_bottom", "quota": "per_cluster"}
    manifest = client.get("/subsets/manifest", params=asked).json()
    page = client.get(f"/runs/{run}/scores").json()["data"]
    sizes = Counter(row["cluster"] for row in page)
    # np.array_split into round(1 / 0.3) = 3 parts: the first has a row more if the size is no multiple.
    assert manifest["rows_selected"] == sum(-(-size // 3) for size in sizes.values())
    assert manifest["clusters"] == {"selected": len(sizes), "all": len(sizes)}


def test_rows_that_take_work_are_chosen_once_and_then_kept(
    client: TestClient, learned: Learned, work: Callable[[], None], database: Database
) -> None:
    asked = {
        "run": learned(method="learning_percentage")["id"],
        "ratio": "0.2",
        "strategy": "facility_location",
    }
    for path in ("/subsets", "/subsets/manifest"):
        answer = client.get(path, params=asked)
        assert (answer.status_code, answer.json()["code"]) == (409, "selection_not_ready")
        assert int(answer.headers["Retry-After"]) >= 1
        assert "x-should-retry" not in answer.headers
    assert client.head("/subsets", params=asked).status_code == 409
    work()
    first = client.get("/subsets", params=asked)
    assert first.status_code == 200
    assert len(rows_of(first.text)) == 4
    # 0.20 is 0.2, and neither the form of the file nor the order of its rows is another choice of rows.
    for same in (
        {"ratio": "0.20"},
        {"format": "csv"},
        {"include": "scores"},
        {"pool_ratio": "0.2"},
        {"order": "score"},
        {"seed": 7},
    ):
        assert client.get("/subsets", params=asked | same).status_code == 200
    ranked = rows_of(client.get("/subsets", params=asked | {"order": "score"}).text)
    assert sorted(ranked) == rows_of(first.text)
    for other in ({"ratio": "0.3"}, {"pool_ratio": "0.5"}):
        assert client.get("/subsets", params=asked | other).status_code == 409
    with database.transaction() as connection:
        assert len(connection.execute(selection.select()).all()) == 3
    manifest = client.get("/subsets/manifest", params=asked).json()
    assert manifest["selection"]["pool_ratio"] == "0.2"
    assert manifest["rows_selected"] == 4


def test_rows_that_could_not_be_chosen_say_why(
    client: TestClient, learned: Learned, database: Database
) -> None:
    asked = {
        "run": learned(method="learning_percentage")["id"],
        "ratio": "0.2",
        "strategy": "facility_location",
    }
    client.get("/subsets", params=asked)
    error = {"code": "damaged_container", "message": "Block 0 is damaged."}
    with database.transaction() as connection:
        connection.execute(work.delete().where(work.c.kind == "select"))
        failed = {"status": "failed", "error": error, "finished_at": selection.c.created_at}
        connection.execute(update(selection).values(failed))
    answer = client.get("/subsets", params=asked)
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "Block 0 is damaged." in answer.json()["detail"]
    assert answer.headers["x-should-retry"] == "false"


def test_a_manifest_leads_to_its_subset(
    client: TestClient, learned: Learned, work: Callable[[], None]
) -> None:
    run = learned(method="learning_percentage")["id"]
    for options in (
        {"ratio": "0.4", "seed": 0, "min_score": -1000, "include_unlearned": True},
        {"count": 3, "strategy": "random", "seed": 0},
        {"ratio": "0.2", "strategy": "facility_location", "pool_ratio": "0.9"},
        {"ratio": "0.2", "quota": "per_cluster"},
    ):
        asked = {"run": run} | options
        client.get("/subsets", params=asked)
        work()
        link = client.get("/subsets/manifest", params=asked).json()["links"]["subset"]
        direct, linked = client.get("/subsets", params=asked), client.get(link)
        assert linked.headers["ETag"] == direct.headers["ETag"]
        reference = SubsetReference.parse(
            f"subset:{run}?" + link.partition("?")[2].partition("&")[2]
        )
        assert reference.selection("learning_percentage").seed == options.get("seed", 42)


def test_whatever_chooses_rows_over_http_does_so_in_a_reference_and_in_the_client() -> None:
    choosing = SELECTION_OPTIONS
    for name in choosing:
        assert SubsetReference.parse(f"subset:run_x?{name}=1").options == {name: "1"}
    assert set(SelectionOptions.__annotations__) == choosing | {"run", "dataset", "method"}
    assert set(SubsetOptions.__annotations__) == {
        *SelectionOptions.__annotations__,
        *("include", "format", "escape", "from_name", "to_name", "question_id"),
    }
