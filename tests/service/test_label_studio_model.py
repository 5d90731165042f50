"""The ML backend of a model: tasks are scored when Label Studio asks for them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from service.proxies import local_revision
from tests.service.conftest import RECORDS
from tests.service.label_studio import FIELDS, asked, setup, task, tasks_of
from winnow.settings import Settings

TINY = Path(__file__).parents[1] / "golden" / "tiny-gpt2"
HUB = "org/tiny@3f786850e387550fdab8"
URL = f"/label-studio/winnow-mini/{FIELDS}"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """An installation with models whose names have slashes."""
    return settings.model_copy(update={"models": ("winnow-mini", HUB, str(TINY))})


def ask(client: TestClient, tasks: list[Any], url: str = URL) -> Any:
    return client.post(f"{url}/predict", json=asked(tasks))


def score(client: TestClient, work: Callable[[], None], tasks: list[Any], url: str = URL) -> Any:
    """Ask, let the workers work, and ask again."""
    first = ask(client, tasks, url)
    assert (first.status_code, first.json()["code"]) == (503, "predictions_not_ready")
    assert int(first.headers["Retry-After"]) > 0
    work()
    answer = ask(client, tasks, url)
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


def runs(client: TestClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get("/runs?limit=100").json()["data"]
    return found


def test_tasks_are_scored_as_a_dataset_of_them_would_be(
    client: TestClient, work: Callable[[], None], finished_run: dict[str, Any]
) -> None:
    found = score(client, work, tasks_of(RECORDS))
    stored = client.get(f"/runs/{finished_run['id']}/scores").json()["data"]
    assert [one["winnow"]["values"]["score"] for one in found] == [row["score"] for row in stored]
    revision = local_revision("winnow-mini")
    assert revision is not None
    version = f"winnow-mini@{revision[:12]}"
    assert {one["model_version"] for one in found} == {version}
    assert client.post(f"{URL}/setup", json=setup()).json() == {"model_version": version}
    assert client.get(f"{URL}/versions").json() == {"versions": [version]}


def test_the_same_tasks_find_the_same_run_which_is_never_the_newest(
    client: TestClient, work: Callable[[], None], finished_run: dict[str, Any]
) -> None:
    tasks = tasks_of(RECORDS)
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: ask(client, tasks), range(4)))
    assert {answer.status_code for answer in answers} == {503}
    found = score(client, work, tasks_of(RECORDS[:3]))
    assert ask(client, tasks).json()["results"][:1] != []
    made = [run["id"] for run in runs(client) if run["id"] != finished_run["id"]]
    # Three of them, asked for by themselves, are rows of the same run.
    assert len(made) == 1
    assert {one["winnow"]["run"] for one in found} <= set(made)
    # Other numbers of the tasks, other fields beside the texts, and one task twice: the same texts.
    again = [task(n, each["data"] | {"note": n}) for n, each in enumerate([*tasks, tasks[0]])]
    results = ask(client, again).json()["results"]
    assert results[0] == results[-1]
    assert len(runs(client)) == 2
    # A new one among them is scored, and only that.
    score(client, work, [*tasks, task(1, {"question": "A new one?", "reply": "A new answer."})])
    assert sorted(run["counts"]["rows"] for run in runs(client)) == [1, len(RECORDS), len(RECORDS)]
    assert client.get("/subsets?ratio=0.5").headers["Winnow-Run"] == finished_run["id"]


def test_without_a_threshold_no_task_is_kept_or_dropped(
    client: TestClient, work: Callable[[], None]
) -> None:
    tasks = tasks_of(RECORDS)
    found = score(client, work, tasks)
    values = [one["winnow"]["values"]["score"] for one in found]
    assert {one["winnow"]["choice"] for one in found} <= {"check", None}
    for one, value in zip(found, values, strict=True):
        names = [region["from_name"] for region in one["result"]]
        assert names == (["verdict", "ifd"] if value >= 1 else ["ifd"])
    threshold = sorted(values)[4]
    decided = ask(client, tasks, f"{URL}&threshold={threshold}").json()["results"]
    choices = ["check" if v >= 1 else "keep" if v >= threshold else "drop" for v in values]
    assert [one["winnow"]["choice"] for one in decided] == choices


def test_a_task_that_cannot_be_read_is_to_be_checked(
    client: TestClient, work: Callable[[], None]
) -> None:
    unread = [None, task(1, {}), task(2, {"question": "q", "reply": ""}), task(3, {"reply": 7})]
    answer = ask(client, unread)
    # None of them is sent to a worker.
    assert answer.status_code == 200
    assert runs(client) == []
    found = score(client, work, [*unread, *tasks_of(RECORDS[:1])])
    assert [one["winnow"]["choice"] for one in found[:4]] == ["check"] * 4
    reasons = [one["winnow"]["values"]["reason"] for one in found[:4]]
    assert reasons == ["missing_field", "missing_field", "empty_answer", "missing_field"]
    assert found[4]["score"] is not None


def test_a_task_alone_whose_answer_is_too_short_is_to_be_checked(
    client: TestClient, work: Callable[[], None]
) -> None:
    (one,) = score(client, work, [task(1, {"question": "Yes or no?", "reply": "Y"})])
    assert (one["score"], one["winnow"]["choice"]) == (None, "check")
    assert one["winnow"]["values"]["reason"] == "answer_too_short"


def test_many_tasks_are_several_runs(client: TestClient, work: Callable[[], None]) -> None:
    data = [{"question": f"Question {n}", "reply": f"Answer {n}"} for n in range(1_001)]
    tasks = [task(number, each) for number, each in enumerate(data)]
    found = score(client, work, tasks)
    assert len(found) == 1_001
    assert len({one["winnow"]["run"] for one in found}) == 2


def test_the_name_of_a_model_may_have_slashes(client: TestClient) -> None:
    # The files of one are not here, so the revision in its name has to do.
    versions = {HUB: HUB, str(TINY): f"{TINY}@{(local_revision(str(TINY)) or '')[:12]}"}
    for name, version in versions.items():
        for path in (quote(name.removeprefix("/")), quote(name, safe="")):
            for url in (f"/label-studio/{path}", f"/label-studio/{path}/{FIELDS}"):
                connected = client.post(f"{url}/setup", json=setup())
                assert connected.json() == {"model_version": version}, url


def test_a_model_that_is_not_offered_is_refused(client: TestClient) -> None:
    for name in ("gpt2", "../../etc", "/etc", "winnow-mini/promt=a", "%00"):
        for path in ("setup", "predict", "webhook"):
            body = setup() | asked([]) | {"action": "START_TRAINING"}
            answer = client.post(f"/label-studio/{name}/{path}", json=body)
            assert answer.status_code in {404, 422}, answer.text
    stranger = client.post("/label-studio/ft:winnow-mini::aaaaaaaaaaaa/predict", json=asked([]))
    assert (stranger.status_code, stranger.json()["code"]) == (404, "not_found")


def test_tasks_whose_run_was_cancelled_are_told_so(client: TestClient) -> None:
    tasks = tasks_of(RECORDS)
    ask(client, tasks)
    client.post(f"/runs/{runs(client)[0]['id']}/cancel")
    answer = ask(client, tasks)
    assert (answer.status_code, answer.json()["code"]) == (409, "run_not_usable")
