"""Figures of a run beside its histogram: points, sources, clusters, and a manifest that follows a dragged ratio."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from threading import Event
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from service.subsets import manifest
from tests.service.conftest import RECORDS


def scores_of(client: TestClient, run: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get(run["links"]["scores"]).json()["data"]
    return found


def test_points_are_a_draw_that_can_be_repeated(
    client: TestClient, finished_run: dict[str, Any]
) -> None:
    path = f"/runs/{finished_run['id']}/points"
    rows = scores_of(client, finished_run)
    everything = client.get(path).json()
    assert everything["row"] == list(range(len(RECORDS)))
    assert everything["x"] == [row["tokens_conditioned"] for row in rows]
    assert everything["y"] == [row["score"] for row in rows]
    assert everything["source"] == [record["source"] for record in RECORDS]
    some = client.get(path, params={"limit": 7, "x": "loss_direct", "y": "row"}).json()
    assert some["row"] == some["y"] == sorted(some["row"])
    assert (len(some["row"]), some["scored"]) == (7, len(RECORDS))
    assert some["x"] == [rows[row]["loss_direct"] for row in some["row"]]
    again = client.get(path, params={"limit": 7}).json()
    other = client.get(path, params={"limit": 7, "seed": 1}).json()
    assert some["row"] == again["row"] != other["row"]


def test_sources_are_compared_by_their_own_rows(
    client: TestClient, work: Callable[[], None]
) -> None:
    records = [*RECORDS, {"instruction": "a", "output": "bb"}, {"instruction": "none"}]
    started = client.post("/score", json=records).json()
    work()
    run = client.get(f"/runs/{started['id']}").json()
    rows = scores_of(client, run)
    found = client.get(f"/runs/{run['id']}/sources").json()
    assert [(one["source"], one["rows"], one["rejected"]) for one in found["data"]] == [
        ("a", 10, 0),
        ("b", 10, 0),
        (None, 2, 1),
    ]
    assert found["num_sources"] == 3
    own = np.array([row["score"] for row in rows[1:20:2]])
    told = found["data"][1]
    assert told["mean_score"] == pytest.approx(own.mean(), abs=1e-6)
    assert told["quantiles"]["50"] == pytest.approx(np.median(own), abs=1e-6)
    assert told["share_at_least_1"] == pytest.approx((own >= 1).mean(), abs=1e-6)
    by_source = client.get(
        f"/runs/{run['id']}/histogram", params={"by": "source", "bins": 5}
    ).json()
    assert [one["source"] for one in by_source["by_source"]] == ["a", "b", None]
    assert (
        np.sum([one["counts"] for one in by_source["by_source"]], axis=0).tolist()
        == by_source["counts"]
    )
    for one in by_source["by_source"]:
        assert sum(one["counts"]) + one["below"] + one["above"] == one["scored"]
    assert client.get(f"/runs/{run['id']}/histogram").json()["by_source"] is None


def test_clusters_of_s2l_come_with_the_losses_that_made_them(
    client: TestClient, learned: Callable[..., dict[str, Any]]
) -> None:
    run = learned(method="s2l", num_clusters=4)
    rows = scores_of(client, run)
    found = client.get(f"/runs/{run['id']}/clusters").json()
    sizes = Counter(row["cluster"] for row in rows)
    assert {one["cluster"]: one["rows"] for one in found["data"]} == sizes
    assert [one["rows"] for one in found["data"]] == sorted(sizes.values(), reverse=True)
    assert (found["num_clusters"], found["unclustered"]) == (4, 0)
    assert (found["steps"], found["rows_sampled"]) == ([2, 4, 6], len(RECORDS))
    losses = client.get(f"/trajectories/{run['trajectory']}/losses?format=jsonl").text.splitlines()
    assert len(losses) == len(RECORDS)
    for one in found["data"]:
        own = [row["score"] for row in rows if row["cluster"] == one["cluster"]]
        # The score of s2l is the mean of a row's losses at the same steps.
        assert one["mean_score"] == pytest.approx(np.mean(own), abs=1e-6)
        assert np.mean(one["losses"]) == pytest.approx(np.mean(own), abs=1e-5)
        assert (one["min_score"], one["max_score"]) == (min(own), max(own))
        page = client.get(f"/runs/{run['id']}/rows", params={"cluster": one["cluster"]}).json()
        assert page["total"] == one["rows"]

    client.delete(f"/trajectories/{run['trajectory']}")
    without = client.get(f"/runs/{run['id']}/clusters").json()
    assert without["steps"] is without["rows_sampled"] is None
    assert without["data"] == [one | {"losses": None} for one in found["data"]]


def test_a_run_without_clusters_has_none(client: TestClient, finished_run: dict[str, Any]) -> None:
    found = client.get(f"/runs/{finished_run['id']}/clusters").json()
    assert (found["data"], found["num_clusters"], found["steps"]) == ([], 0, None)
    assert found["unclustered"] == len(RECORDS)


def test_a_manifest_is_known_by_its_tag(client: TestClient, finished_run: dict[str, Any]) -> None:
    params = {"run": finished_run["id"], "ratio": "0.5", "strategy": "bottom"}
    first = client.get("/subsets/manifest", params=params)
    rows = sorted(row["score"] for row in scores_of(client, finished_run))
    assert first.json()["threshold"] == rows[9]
    assert first.json()["threshold_row"] in range(len(RECORDS))
    assert first.headers["Cache-Control"] == "private, no-cache"
    tag = {"If-None-Match": first.headers["ETag"]}
    again = client.get("/subsets/manifest", params=params | {"ratio": "0.50"}, headers=tag)
    assert (again.status_code, again.content) == (304, b"")
    other = client.get("/subsets/manifest", params=params | {"ratio": "0.25"}, headers=tag)
    assert (other.status_code, other.json()["threshold"]) == (200, rows[4])
    subset = client.get("/subsets", params=params, headers=tag)
    assert (subset.status_code, subset.headers["ETag"] == tag["If-None-Match"]) == (200, False)


def test_a_manifest_does_not_wait_until_a_large_dataset_is_hashed(
    client: TestClient, finished_run: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/subsets/manifest?run={finished_run['id']}&ratio=0.5"
    hash_all, go_on = manifest._hashes, Event()
    monkeypatch.setattr(manifest, "_hashes", lambda of: go_on.wait(60) and hash_all(of))
    with monkeypatch.context() as hurried:
        hurried.setattr(manifest, "HASHING_S", 0.01)
        first = client.get(path)
    go_on.set()
    assert first.json()["duplicates"] is None
    assert "ETag" not in first.headers
    second = client.get(path)
    assert second.json() == first.json() | {"duplicates": 0}
    assert "ETag" in second.headers
