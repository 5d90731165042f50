"""Tables of pandas and Hugging Face go into a run and come out of its subset."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import datasets
import httpx
import pandas as pd
import pyarrow as pa
import pytest

from tests.service.conftest import RECORDS
from winnow.client import Client
from winnow.client.tables import to_pandas
from winnow.errors import InputError

FRAME = pd.DataFrame(RECORDS).assign(
    when=pd.Timestamp("2026-01-02", tz="UTC"),
    part=pd.Categorical([each["source"] for each in RECORDS]),
    n=range(len(RECORDS)),
)


@pytest.fixture
def winnow(live: httpx.Client) -> Any:
    key = live.headers["Authorization"].removeprefix("Bearer ")
    with Client(str(live.base_url), key) as client:
        yield client


def test_a_data_frame_comes_back_with_its_types(winnow: Client, work: Callable[[], None]) -> None:
    shuffled = FRAME.iloc[::-1]  # an index that is no part of the data
    run = winnow.score(shuffled)
    work()
    half = winnow.subset(run=run.id, ratio=0.5, strategy="random")
    frame = half.to_pandas()
    rows = [int(row) for row in frame["n"]]
    expected = FRAME.iloc[rows].reset_index(drop=True)
    pd.testing.assert_frame_equal(frame, expected, check_categorical=False)
    assert frame["part"].dtype == "category"
    scored = winnow.subset(run=run.id, ratio=0.5, strategy="random", include="scores").to_pandas()
    scores = pd.DataFrame(winnow.scores(run.id)).set_index("row")["score"]
    assert list(scored["winnow_score"]) == list(scores[scored["winnow_row"]])
    assert list(scored.columns[: len(FRAME.columns)]) == list(FRAME.columns)


def test_a_hugging_face_dataset_comes_back_with_its_features(
    winnow: Client, work: Callable[[], None]
) -> None:
    turns = [
        [
            {"role": "user", "content": each["instruction"]},
            {"role": "assistant", "content": each["output"]},
        ]
        for each in RECORDS
    ]
    features = datasets.Features(
        {
            "messages": [{"role": datasets.Value("string"), "content": datasets.Value("string")}],
            "part": datasets.ClassLabel(names=["a", "b"]),
        }
    )
    parts = [each["source"] for each in RECORDS]
    whole = datasets.Dataset.from_dict({"messages": turns, "part": parts}, features=features)
    chosen = whole.select(range(19, 3, -1))  # rows by an index that the table does not have
    run = winnow.score(chosen)
    work()
    found = winnow.subset(run=run.id, ratio=1.0, strategy="random").to_dataset()
    assert found.features == features
    assert found.to_list() == chosen.to_list()
    scored = winnow.subset(run=run.id, count=2, include="scores").to_dataset()
    assert scored[0]["winnow"]["score"] > 0
    streamed = winnow.add_dataset(chosen.to_iterable_dataset())
    work()
    assert winnow.dataset(streamed.id).rows_usable == len(chosen)


def test_any_arrow_table_may_be_a_dataset(winnow: Client, work: Callable[[], None]) -> None:
    table = pa.Table.from_pylist(RECORDS)
    run = winnow.score(table)
    work()
    assert winnow.subset(run=run.id, ratio=1.0, strategy="random").to_arrow().equals(table)
    file = winnow.add_file(table)
    assert file.bytes > 0


def test_what_is_no_single_table_is_refused(winnow: Client) -> None:
    with pytest.raises(InputError, match="choose a part of it"):
        winnow.score(datasets.DatasetDict({"train": datasets.Dataset.from_list(RECORDS)}))
    with pytest.raises(InputError, match="Give each column one type"):
        winnow.score(pd.DataFrame({"instruction": ["a", 1], "output": ["b", "c"]}))


def test_whole_numbers_stay_exact_where_some_are_missing() -> None:
    large = 2**53 + 1
    rows = {"n": [large, None], "yes": [True, None], "whole": [1, 2], "part": [0.5, None]}
    table = pa.table(rows).append_column("winnow", pa.array([{"cluster": 3}, {"cluster": None}]))
    frame = to_pandas(table)
    assert [str(kind) for kind in frame.dtypes] == ["Int64", "boolean", "int64", "float64", "Int64"]
    assert frame["n"][0] == large
    assert frame["yes"].isna().tolist() == [False, True]
    assert list(frame.columns)[-1] == "winnow_cluster"
