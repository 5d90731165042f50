"""`cache` and `dry_run` of `POST /score`: how they are given, and what a run says about them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from tests.service.conftest import RECORDS
from winnow.settings import Settings
from winnow.store.blobs import Blobs
from winnow.store.session import Database
from workers.sweep import sweep_once

LINES = "".join(f'{{"instruction": "Say {n}", "output": "It is {n}"}}\n' for n in range(30))

Work = Callable[[], None]


def done(client: TestClient, work: Work, response: Any) -> dict[str, Any]:
    assert response.status_code == 202, response.json()
    work()
    run: dict[str, Any] = client.get(f"/runs/{response.json()['id']}").json()
    assert run["status"] == "completed", run
    return run


def test_a_dataset_that_is_posted_again_says_how_many_rows_it_owes_to_earlier_runs(
    client: TestClient, work: Work
) -> None:
    first = done(client, work, client.post("/score", json=RECORDS))
    again = done(client, work, client.post("/score", json=RECORDS))
    assert (first["options"]["cache"], again["options"]["cache"]) == (True, True)
    assert (first["counts"]["rows_cached"], again["counts"]["rows_cached"]) == (0, len(RECORDS))
    manifest = client.get("/subsets/manifest", params={"run": again["id"], "ratio": 0.5}).json()
    assert manifest["run"]["rows_cached"] == len(RECORDS)
    assert manifest["run"]["options"]["cache"] is True


@pytest.mark.parametrize(
    "request_",
    [
        {"params": {"cache": "false"}, "content": LINES},
        {"data": {"cache": "false"}, "files": {"file": ("a.jsonl", LINES)}},
        {"json": {"cache": False, "records": RECORDS}},
    ],
)
def test_the_cache_is_off_when_a_query_a_form_or_json_says_so(
    client: TestClient, work: Work, request_: dict[str, Any]
) -> None:
    for _ in range(2):
        run = done(client, work, client.post("/score", **request_))
    assert run["options"]["cache"] is False
    assert run["counts"]["rows_cached"] == 0


def test_an_installation_may_have_it_off(settings: Settings, client: TestClient) -> None:
    without = create_app(settings.model_copy(update={"cache": False}))
    with TestClient(without, headers=client.headers) as other:
        assert other.post("/score", json=RECORDS).json()["options"]["cache"] is False
        asked = other.post("/score", params={"cache": "true"}, json=RECORDS)
        assert asked.json()["options"]["cache"] is True


def test_a_dry_run_ends_with_an_estimate_and_has_no_scores(client: TestClient, work: Work) -> None:
    run = done(client, work, client.post("/score", params={"dry_run": True}, content=LINES))
    estimate = run["estimate"]
    assert run["dry_run"] is True
    assert run["summary"] is None
    assert run["links"].keys() == {"self", "dataset", "events"}
    assert estimate["rows"] == estimate["rows_sampled"] == estimate["rows_scored"] == 30
    assert (estimate["rows_rejected"], estimate["share_rejected"]) == (0, 0.0)
    assert 0 < estimate["tokens_direct"] < estimate["tokens_conditioned"] + 30
    assert estimate["seconds"] >= 0
    assert estimate["rows_per_s"] > 0
    assert estimate["workers"] == 1
    for path in ("scores", "scores?format=jsonl", "histogram"):
        refused = client.get(f"/runs/{run['id']}/{path}")
        assert (refused.status_code, refused.json()["code"]) == (409, "run_not_usable")
        assert "dry run" in refused.json()["detail"]


def test_a_dry_run_shows_how_the_data_was_read(client: TestClient, work: Work) -> None:
    long = '{"instruction": "Say \\u0000", "output": "' + "so " * 1000 + '", "source": "s"}\n'
    started = client.post("/score", params={"dry_run": True}, content="{}\n" + long + LINES)
    estimate = done(client, work, started)["estimate"]
    assert estimate["format"] == "jsonl"
    first, second = estimate["first_rows"][:2]
    assert [row["row"] for row in estimate["first_rows"]] == [1, 2, 3, 4, 5]
    assert (first["prompt"], first["source"]) == ("Say \ufffd", "s")
    assert (first["answer"], first["answer_chars"]) == (("so " * 1000)[:500], 3000)
    assert (second["prompt"], second["answer"]) == ("Say 0", "It is 0")
    (rejected,) = estimate["rejections"]
    assert (rejected["row"], rejected["reason"]) == (0, "missing_field")
    assert rejected["detail"].startswith("line 1:")


def test_subsets_never_come_from_a_dry_run(
    client: TestClient, work: Work, finished_run: dict[str, Any]
) -> None:
    dry = client.post("/score", json={"dataset": finished_run["dataset"], "dry_run": True})
    run = done(client, work, dry)
    newest = client.get("/subsets", params={"ratio": 0.5})
    assert newest.headers["Winnow-Run"] == finished_run["id"]
    named = client.get("/subsets", params={"run": run["id"], "ratio": 0.5})
    assert (named.status_code, named.json()["code"]) == (409, "run_not_usable")


def test_what_was_sent_along_for_a_dry_run_is_removed(
    client: TestClient, work: Work, database: Database, blobs: Blobs, settings: Settings
) -> None:
    run = done(client, work, client.post("/score", params={"dry_run": True}, content=LINES))
    assert client.get(f"/datasets/{run['dataset']}").status_code == 200
    sweep_once(database, settings, lambda _: None)
    work()
    assert client.get(f"/datasets/{run['dataset']}").status_code == 404
    filesystem, folder = blobs.folder("datasets")
    assert not filesystem.exists(folder) or filesystem.ls(folder) == []
    assert client.get(f"/runs/{run['id']}").json()["estimate"] == run["estimate"]
    named = client.get("/subsets", params={"run": run["id"], "ratio": 0.5})
    assert (named.status_code, named.json()["code"]) == (409, "run_not_usable")
    assert client.delete(f"/runs/{run['id']}").status_code == 204
    work()
    assert client.get(f"/runs/{run['id']}").status_code == 404


def test_a_dry_run_of_a_file_without_a_usable_row_fails_as_scoring_would(
    client: TestClient, work: Work
) -> None:
    started = client.post("/score", params={"dry_run": True}, content="{}\n{}\n").json()
    work()
    run = client.get(f"/runs/{started['id']}").json()
    assert (run["status"], run["error"]["code"]) == ("failed", "no_usable_rows")
