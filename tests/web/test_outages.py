"""What goes wrong while somebody watches: a run that fails, a server that goes away, a run that is cancelled."""

from __future__ import annotations

import httpx
from playwright.sync_api import Page, expect

from tests.web.data import completed, lines, record
from tests.web.gateway import Gateway, Worker
from winnow.store import fine_tune_progress as jobs
from winnow.store.events import add_event
from winnow.store.session import Database
from winnow.store.values import ErrorInfo


def started(client: httpx.Client, num_rows: int) -> str:
    run: str = client.post("/score", content=lines([record(n) for n in range(num_rows)])).json()[
        "id"
    ]
    return run


def test_a_failed_run_says_why_and_what_to_change(
    page: Page, url: str, worker: Worker, api: httpx.Client
) -> None:
    run = api.post("/score", content=lines([{"output": "x"}] * 2)).json()["id"]
    page.goto(f"{url}/#/runs/{run}")
    expect(page.get_by_role("heading", name="Waiting")).to_be_visible()
    worker.do_all()
    failure = page.get_by_role("alert").filter(has_text="The run failed")
    expect(failure).to_contain_text("no_usable_rows")
    expect(page.get_by_role("region", name="Rejected rows").last).to_contain_text("line 2")


def test_a_server_that_goes_away_is_waited_for(
    page: Page, gateway: Gateway, worker: Worker, key: str
) -> None:
    bearer = {"Authorization": f"Bearer {key}"}
    with gateway.serving() as url, httpx.Client(base_url=url, headers=bearer) as client:
        run = started(client, 3000)
        worker.do_one()  # reads the dataset
        worker.do_one()  # scores a block
        page.goto(f"{url}/#/runs/{run}")
        expect(page.locator("main")).to_contain_text("1,024 of 3,000 rows")
    away = page.get_by_text("The server does not answer")
    expect(away).to_be_visible()
    worker.do_one()
    with gateway.serving():
        expect(away).to_be_hidden()
        expect(page.locator("main")).to_contain_text("2,048 of 3,000 rows")
        worker.do_all()
        expect(page.locator("#rows-kept")).to_have_text("300")
    # A page that is complete goes on too: what it asks for next waits.
    page.get_by_label("Show").select_option("all")
    expect(away).to_be_visible()
    with gateway.serving():
        expect(away).to_be_hidden()
        expect(page.locator("table.records tbody tr")).to_have_count(25)


def test_a_run_is_cancelled_and_deleted(
    page: Page, url: str, worker: Worker, api: httpx.Client
) -> None:
    run = started(api, 2000)
    worker.do_one()
    page.goto(f"{url}/#/runs/{run}")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("main")).to_contain_text("Cancelled after 0 rows")
    delete = page.get_by_role("button", name="Delete")
    delete.click()
    page.evaluate("location.hash = '#/'")
    expect(page.get_by_role("heading", name="Score a dataset")).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.go_back()
    delete.click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="Score a dataset")).to_be_visible()
    assert api.get(f"/runs/{run}").status_code == 404


def test_a_fine_tune_is_started_and_its_loss_watched(
    page: Page, url: str, worker: Worker, api: httpx.Client, database: Database
) -> None:
    run = completed(api, worker, [record(n) for n in range(100)])
    page.goto(f"{url}/#/runs/{run['id']}?ratio=0.2")
    page.get_by_text("Fine-tune on this subset").click()
    page.get_by_label("Epochs").fill("2")
    page.get_by_label("Name", exact=True).fill("tidy")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("tidy")
    (job,) = api.get("/v1/fine_tuning/jobs").json()["data"]
    assert job["training_file"] == f"subset:{run['id']}?ratio=0.2"
    assert job["hyperparameters"]["n_epochs"] == 2
    with database.transaction() as connection:
        jobs.finish_validating(connection, job["id"], [], rows=20)
        jobs.move(connection, job["id"], "running", "The job trains.", step=0, total_steps=10)
    pause = page.get_by_role("button", name="Pause")
    pause.focus()
    for step in range(1, 6):
        data = {"step": step, "total_steps": 10, "loss": 4.0 / step, "eta_s": 10.0 - step}
        with database.transaction() as connection:
            add_event(connection, job["id"], "fine_tune.step", f"Step {step}/10", data)
    expect(page.locator("main")).to_contain_text("Step 5: training loss 0.8000")
    expect(page.locator("main")).to_contain_text("step 5 of 10")
    with database.transaction() as connection:
        jobs.move(connection, job["id"], "paused", "The job rests.")
    # Whoever is on the button when it goes is on its successor.
    expect(page.get_by_role("button", name="Resume")).to_be_focused()
    expect(page.locator(".plot .lines path.js-line")).to_have_count(1)
    failed = ErrorInfo(code="out_of_memory", message="Halve batch_size.")
    with database.transaction() as connection:
        jobs.fail(connection, job["id"], failed)
    expect(page.get_by_role("alert").filter(has_text="The job failed")).to_contain_text(
        "Halve batch_size."
    )
