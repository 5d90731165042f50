"""The format `label_studio` goes into a real Label Studio as it is, hostile records and rejected rows too."""

from __future__ import annotations

import io
import json
from pathlib import Path

from benchmarks.label_studio_server import StudioServer
from tests.records import hostile
from winnow.client import Client
from winnow.labelling.label_config import SAMPLE_CONFIG

REJECTED = b'not JSON \x00\xff\n{"instruction": "Say nothing.", "output": ""}\n'


def test_a_task_file_of_hostile_rows_is_imported(
    studio: StudioServer, service: Client, tmp_path: Path
) -> None:
    run = service.wait(service.score(io.BytesIO(hostile.DATA + REJECTED)))
    file = service.download_scores(tmp_path / "tasks.json", run.id, format="label_studio")
    project = studio.new_project("hostile rows", SAMPLE_CONFIG)
    with file.open("rb") as tasks:
        answer = studio.http.post(
            f"/api/projects/{project}/import",
            files={"file": ("tasks.json", tasks, "application/json")},
        )
    assert answer.status_code == 201, answer.text
    number = len(hostile.LINES) + 2
    assert (answer.json()["task_count"], answer.json()["prediction_count"]) == (number, number)
    exported = studio.get(
        f"/api/projects/{project}/export", exportType="JSON", download_all_tasks="true"
    )
    stored = sorted(exported, key=lambda task: task["data"]["winnow_row"])
    sent = json.loads(file.read_bytes())
    assert [task["data"] for task in stored] == [task["data"] for task in sent]
    listed = studio.get("/api/tasks/", project=project, page_size=100, fields="all")["tasks"]
    said = {task["data"]["winnow_row"]: task["predictions"][0] for task in listed}
    for row, task in enumerate(sent):
        (prediction,) = task["predictions"]
        assert said[row]["score"] == prediction["score"]
        assert said[row]["model_version"] == run.id
        (result,) = prediction["result"]
        assert result["value"] == said[row]["result"][0]["value"]
