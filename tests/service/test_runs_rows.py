"""The table of rows: every order, both directions, filters, search, and one row whole."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from service.runs.order import ahead, behind, first, last, sort_keys
from service.runs.search import contains, search_records
from winnow.records.blocks import BlockReader, BlockWriter
from winnow.records.readers import read_records
from winnow.store.blobs import Blobs

LONG = "word " * 1000
TALK = [
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": "b"},
    {"role": "user", "content": "c"},
    {"role": "assistant", "content": "d answer"},
]
LINES = [
    *(
        json.dumps(
            {
                "instruction": f"Question {n}",
                "output": f"Answer {n} " + "so " * (n % 7),
                "source": "ab"[n % 2],
            }
        )
        for n in range(30)
    ),
    '{"instruction": "Straße of ÉCOLE", "output": "An <b>answer</b>\\u0000", "id": 7}',
    json.dumps({"instruction": "long", "output": LONG}),
    '{"instruction": "no answer",  "n": 1.50}',
    "not json \xff",
    json.dumps({"messages": TALK}),
]
NUM_ROWS = len(LINES)
NUM_REJECTED = 2


@pytest.fixture
def path(client: TestClient, work: Callable[[], None]) -> str:
    """The rows of a completed run of `alice` on LINES."""
    body = "\n".join(LINES).encode().replace("ÿ".encode(), b"\xff")
    started = client.post("/score?format=jsonl", content=body).json()
    work()
    run = client.get(f"/runs/{started['id']}").json()
    assert run["status"] == "completed", run
    return f"{run['links']['rows']}"


def rows(page: dict[str, Any]) -> list[int]:
    return [row["row"] for row in page["data"]]


def test_pages_are_a_sorted_table_in_either_direction(client: TestClient, path: str) -> None:
    def get(**params: Any) -> dict[str, Any]:
        answer = client.get(path, params=params)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    everything = get(limit=100, sort="row", order="asc")
    assert rows(everything) == list(range(NUM_ROWS))
    assert (everything["total"], everything["has_more"]) == (NUM_ROWS, False)
    assert (everything["next"], everything["previous"], everything["searched"]) == (
        None,
        None,
        None,
    )
    for sort in (
        "score",
        "row",
        "loss_conditioned",
        "loss_direct",
        "tokens_conditioned",
        "tokens_direct",
    ):
        for order, sign in (("asc", 1), ("desc", -1)):
            expected = sorted(
                everything["data"],
                key=lambda row: math.inf if row[sort] is None else sign * row[sort],
            )
            seen, page = [], get(sort=sort, order=order, limit=12)
            pages = [rows(page)]
            while page["has_more"]:
                page = get(sort=sort, order=order, limit=12, after=page["next"])
                pages.append(rows(page))
            seen = [row for one in pages for row in one]
            assert seen == [row["row"] for row in expected], (sort, order)
            assert page["next"] is None
            back = get(sort=sort, order=order, limit=12, before=page["previous"])
            assert rows(back) == pages[-2]
    rejected = get(sort="score", status="rejected")
    assert rejected["total"] == NUM_REJECTED
    assert {row["reason"] for row in rejected["data"]} == {"missing_field", "malformed"}


def test_a_row_shows_what_was_read_and_why_it_has_no_score(client: TestClient, path: str) -> None:
    data = {row["row"]: row for row in client.get(path, params={"limit": 100}).json()["data"]}
    plain, odd, long, unread, broken, talk = (data[row] for row in (1, 30, 31, 32, 33, 34))
    assert (plain["prompt"], plain["source"], plain["status"]) == ("Question 1", "b", "scored")
    assert plain["flags"] == []
    assert (odd["answer"], odd["id"], odd["source"]) == ("An <b>answer</b>\0", "7", None)
    assert (long["answer"], long["answer_chars"]) == (LONG[:2000], len(LONG))
    assert (unread["prompt"], unread["record"]) == (None, LINES[32])
    assert '"output" is missing' in unread["detail"]
    assert broken["record"] == "not json \ufffd"
    assert (talk["prompt"], talk["answer"]) == ("user: a\n\nassistant: b\n\nuser: c", "d answer")
    scores = client.get(path.replace("rows", "scores"), params={"limit": 100}).json()["data"]
    for score in scores:
        assert score.items() <= data[score["row"]].items()


def test_rows_are_filtered_and_looked_up_either_side_of_a_threshold(
    client: TestClient, path: str
) -> None:
    def get(**params: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = client.get(path, params={"limit": 100} | params).json()[
            "data"
        ]
        return found

    scored = get(status="scored")
    assert {row["row"] for row in get(source="a")} == set(range(0, 30, 2))
    assert {row["row"] for row in get(source="")} == set(range(30, NUM_ROWS))
    assert get(source="none") == get(cluster=3) == []
    assert [row["row"] for row in get(reason="malformed")] == [33]
    assert get(flag="truncated") == [row for row in scored if "truncated" in row["flags"]]
    assert {row["row"] for row in get(first_row=32)} == {32, 33, 34}
    middle = scored[9]["score"]
    assert get(min_score=middle) == scored[:10]
    assert get(max_score=middle) == scored[9:]
    assert get(near=middle, limit=6) == scored[7:13]
    upwards = get(near=middle, limit=6, order="asc")
    assert upwards == scored[::-1][len(scored) - 12 : len(scored) - 6]
    assert get(near=99, limit=6) == scored[:6]


def test_a_page_that_cannot_be_is_refused(client: TestClient, path: str) -> None:
    refused: dict[str, dict[str, Any]] = {
        "after=1&before=1": {"param": "before"},
        "near=1&sort=row": {"param": "near"},
        f"after={NUM_ROWS}": {"param": "after"},
        f"before={2**53 - 1}": {"param": "before"},
        f"after={2**60}": {"param": "after"},
        "sort=detail": {"param": "sort"},
        "near=nan": {"param": "near"},
        "q=": {"param": "q"},
        "limit=101": {"param": "limit"},
        "what=1": {"param": "what"},
    }
    for query, problem in refused.items():
        answer = client.get(f"{path}?{query}")
        assert answer.status_code == 422, query
        assert answer.json().items() >= problem.items()


def test_a_search_ignores_capitals_and_reads_patterns_as_text(
    client: TestClient, path: str
) -> None:
    def get(q: str, **params: Any) -> list[int]:
        page = client.get(path, params={"q": q, "sort": "row", "order": "asc"} | params).json()
        assert page["searched"] == NUM_ROWS - params.get("first_row", 0)
        assert page["total"] == len(page["data"])
        return rows(page)

    assert get("école") == get("STRAßE") == get("<B>Answer</b>") == [30]
    assert get("question 2") == [2, *range(20, 30)]
    assert get("question 2", first_row=25) == [25, 26, 27, 28, 29]
    assert get("question 2", source="a", order="desc") == [28, 26, 24, 22, 20, 2]
    assert get("D ANSWER") == [34]
    assert get(".*") == get("%") == get("\\d") == []


def test_one_row_comes_whole(client: TestClient, path: str) -> None:
    long = client.get(f"{path}/31").json()
    assert long["record"] == LINES[31]
    assert long["turns"][1] == {"role": "assistant", "content": LONG}
    assert (long["object"], long["row"], long["status"]) == ("run.row", 31, "scored")
    assert client.get(f"{path}/32").json()["record"] == LINES[32]
    broken = client.get(f"{path}/33").json()
    assert (broken["turns"], broken["record"], broken["reason"]) == (
        None,
        "not json \ufffd",
        "malformed",
    )
    for row in (NUM_ROWS, 2**53 - 1):
        answer = client.get(f"{path}/{row}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert client.get(f"{path}/-1").status_code == 422


def test_rows_of_a_run_that_works_are_not_there_yet(client: TestClient) -> None:
    run = client.post("/score", content=LINES[0]).json()
    for what in (
        "rows",
        "rows/0",
        "points",
        "sources",
        "clusters",
        "report",
        "histogram?by=source",
    ):
        answer = client.get(f"/runs/{run['id']}/{what}")
        assert (answer.status_code, answer.json()["code"]) == (409, "scores_not_ready"), what
        assert int(answer.headers["Retry-After"]) >= 1


def test_a_long_search_stops_after_a_block_and_goes_on_from_there(blobs: Blobs) -> None:
    lines = b"".join(b'{"prompt": "p%d", "completion": "x"}\n' % n for n in range(66 * 1024))
    folder = blobs.folder("rows")
    with blobs.write("upload") as file:
        file.write(lines)
    with blobs.open_read("upload") as upload, BlockWriter(*folder) as writer:
        for record in read_records(upload):
            writer.write(record)
    records = BlockReader(*folder)
    whole = search_records(records, "P6", first_row=0)
    assert len(whole) == records.num_rows
    assert list(np.flatnonzero(whole)[:3]) == [6, 60, 61]
    short = search_records(records, "P6", first_row=10, max_bytes=1)
    assert len(short) == 1024 - 10
    assert (short == whole[10:1024]).all()
    rest = search_records(records, "P6", first_row=1024)
    assert (rest == whole[1024:]).all()
    assert len(search_records(records, "P6", first_row=10**9)) == 0


def test_a_row_without_turns_contains_nothing() -> None:
    turn = pa.struct([("role", pa.string()), ("content", pa.string())])
    turns = [
        None,
        [],
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": "Bc"}],
        None,
    ]
    found = contains(pa.array(turns, pa.list_(turn)), "b")
    assert found.tolist() == [False, False, True, False]


@given(
    values=st.lists(st.one_of(st.integers(0, 3).map(float), st.just(math.nan)), max_size=30),
    order=st.sampled_from(["asc", "desc"]),
    data=st.data(),
)
def test_places_are_those_of_a_sorted_table(values: list[float], order: Any, data: Any) -> None:
    keys = sort_keys(np.array(values), order)
    wanted = np.array(
        data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values))), bool
    )
    most = data.draw(st.integers(1, 10))
    table = sorted(np.flatnonzero(wanted), key=lambda place: (keys[place], place))
    assert first(keys, wanted, most).tolist() == table[:most]
    assert last(keys, wanted, most).tolist() == table[-most:]
    for at, place in enumerate(table):
        assert first(keys, wanted & behind(keys, place), most).tolist() == table[at + 1 :][:most]
        assert last(keys, wanted & ahead(keys, place), most).tolist() == table[:at][-most:]
