"""Scores survive storage and every public form."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from winnow import scores as scores_module
from winnow.errors import InputError, InvalidOption
from winnow.proxy.engine import SpanLoss
from winnow.records.example import Flag, RejectionReason
from winnow.scores import (
    SCORE_SCHEMA,
    SELECTION_COLUMNS,
    RowScore,
    ScoreTable,
    pack_flags,
    read_scores,
    row_scores,
    score_format,
    score_lines,
    score_members,
    unpack_flags,
    write_parquet,
    write_scores,
)

SCORED = RowScore(
    row=0,
    score=0.812346,
    conditioned=SpanLoss(nll=10.0, num_tokens=3),
    direct=SpanLoss(nll=7.0, num_tokens=2),
    flags=(Flag.TRUNCATED, Flag.TURNS_DROPPED),
)
REJECTED = RowScore(
    row=1, reason=RejectionReason.EMPTY_ANSWER, detail='line 2: "output" is empty, é'
)
PLAIN = RowScore(
    row=2,
    score=1.5,
    conditioned=SpanLoss(nll=1.0, num_tokens=1),
    direct=SpanLoss(nll=2.0, num_tokens=1),
)
ROWS = [SCORED, REJECTED, PLAIN]
FORMATS = ["jsonl", "csv", "parquet"]


def written(path: Path, rows: list[RowScore] | None = None) -> Path:
    with path.open("wb") as file:
        write_scores(ScoreTable.from_rows(rows or ROWS).batches(), file, format=score_format(path))
    return path


def test_rows_come_out_of_columns_as_they_went_in() -> None:
    assert row_scores(ScoreTable.from_rows(ROWS).table) == ROWS


@pytest.mark.parametrize("flags", [(), (Flag.BLANK_ANSWER,), tuple(Flag)])
def test_flags_survive_as_bits(flags: tuple[Flag, ...]) -> None:
    assert unpack_flags(pack_flags(flags)) == flags


def test_parquet_is_written_as_batches_come_and_read_by_column(tmp_path: Path) -> None:
    table = ScoreTable.from_rows(ROWS)
    assert write_parquet(table.batches(max_rows=1), tmp_path / "s.parquet") == 3
    assert row_scores(ScoreTable.read(tmp_path / "s.parquet").table) == ROWS
    part = ScoreTable.read(
        io.BytesIO((tmp_path / "s.parquet").read_bytes()), columns=SELECTION_COLUMNS
    )
    assert part.table.column_names == list(SELECTION_COLUMNS)
    assert part.row.tolist() == [0, 1, 2]
    assert np.isnan(part.score).tolist() == [False, True, False]
    assert part.flags.tolist() == [9, 0, 0]
    assert (len(part), part.num_scored) == (3, 2)


def test_small_batches_are_gathered_into_large_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow.parquet as pq

    monkeypatch.setattr(scores_module, "ROW_GROUP", 4)
    rows = [RowScore(row=row, reason=RejectionReason.MALFORMED, detail="") for row in range(10)]
    write_parquet(ScoreTable.from_rows(rows).batches(max_rows=2), tmp_path / "s.parquet")
    groups = pq.ParquetFile(tmp_path / "s.parquet").metadata
    assert [groups.row_group(at).num_rows for at in range(groups.num_row_groups)] == [4, 4, 2]


def test_an_empty_run_has_an_empty_table(tmp_path: Path) -> None:
    write_parquet([], tmp_path / "s.parquet")
    table = ScoreTable.read(tmp_path / "s.parquet")
    assert len(table) == 0
    assert table.table.schema.equals(SCORE_SCHEMA)


def test_a_score_line_shows_means_rounded_and_a_rejection_its_reason() -> None:
    lines = [json.loads(line) for line in score_lines(ScoreTable.from_rows(ROWS).table)]
    assert lines[:2] == [
        {
            "row": 0, "status": "scored", "score": 0.812346, "loss_conditioned": 3.333333, "loss_direct": 3.5,
            "tokens_conditioned": 3, "tokens_direct": 2, "flags": ["truncated", "turns_dropped"],
        },
        {"row": 1, "status": "rejected", "reason": "empty_answer", "detail": 'line 2: "output" is empty, é'},
    ]  # fmt: skip
    assert list(lines[2]) == [
        "row", "status", "score", "loss_conditioned", "loss_direct",
        "tokens_conditioned", "tokens_direct", "flags",
    ]  # fmt: skip


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_scores_file_is_read_back_in_every_format(tmp_path: Path, suffix: str) -> None:
    table = read_scores(written(tmp_path / f"scores.{suffix}"))
    back = row_scores(table.table)
    assert [(row.row, row.score, row.flags, row.reason, row.detail) for row in back] == [
        (row.row, row.score, row.flags, row.reason, row.detail) for row in ROWS
    ]
    assert back[0].conditioned is not None
    assert back[0].conditioned.nll == pytest.approx(10.0, abs=1e-5)


def test_a_scores_file_of_another_kind_is_refused() -> None:
    with pytest.raises(InvalidOption, match=r"\.jsonl, \.csv or \.parquet"):
        score_format("scores.xlsx")


def replaced(path: Path, old: str, new: str) -> Path:
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: replaced(path, '"row":2', '"row":1'), "entry 3: row 1 where row 2"),
        (lambda path: replaced(path, '"score":1.5', '"score":"high"'), "entry 3"),
        (lambda path: replaced(path, "empty_answer", "boredom"), "entry 2"),
        (lambda path: replaced(path, '"status":"scored",', ""), "entry 1"),
        (lambda path: replaced(path, "truncated", "odd"), "entry 1"),
        (lambda path: replaced(path, "{", "<"), "entry 1"),
    ],
)
def test_a_file_that_is_no_scores_file_says_where(
    tmp_path: Path, damage: Callable[[Path], Path], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_scores(damage(written(tmp_path / "scores.jsonl")))


@pytest.mark.parametrize(("suffix", "content"), [("parquet", b"PAR1 not"), ("csv", b"a,b\n1,2\n")])
def test_another_file_under_the_suffix_of_scores_is_refused(
    tmp_path: Path, suffix: str, content: bytes
) -> None:
    path = tmp_path / f"scores.{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match="scores"):
        read_scores(path)


def test_a_member_for_each_record_in_the_order_asked() -> None:
    members: list[Any] = score_members(ScoreTable.from_rows(ROWS), np.array([2, 0]))
    assert members == [
        {
            "row": 2, "score": 1.5, "loss_conditioned": 1.0, "loss_direct": 2.0,
            "tokens_conditioned": 1, "tokens_direct": 1, "flags": [],
        },
        {
            "row": 0, "score": 0.812346, "loss_conditioned": 3.333333, "loss_direct": 3.5,
            "tokens_conditioned": 3, "tokens_direct": 2, "flags": ["truncated", "turns_dropped"],
        },
    ]  # fmt: skip


def test_a_row_that_is_not_in_the_table_is_an_error() -> None:
    with pytest.raises(IndexError):
        ScoreTable.from_rows(ROWS).take(np.array([3]))


CLUSTERED = [
    RowScore(
        row=0,
        score=0.25,
        conditioned=SpanLoss(nll=3.0, num_tokens=3),
        cluster=4,
        cluster_in_source=7,
    ),
    RowScore(row=1, reason=RejectionReason.NOT_LEARNED, detail="no drop"),
    RowScore(row=2, score=1.5, conditioned=SpanLoss(nll=1.0, num_tokens=1), cluster=0),
]


def test_a_score_line_has_clusters_and_the_second_loss_only_where_they_are() -> None:
    lines = [json.loads(line) for line in score_lines(ScoreTable.from_rows(CLUSTERED).table)]
    common = ["row", "status", "score", "loss_conditioned", "tokens_conditioned", "flags"]
    assert list(lines[0]) == [*common, "cluster", "cluster_in_source"]
    assert list(lines[2]) == [*common, "cluster"]
    assert (lines[0]["cluster"], lines[2]["cluster"]) == (4, 0)


@pytest.mark.parametrize("suffix", FORMATS)
def test_clusters_and_missing_losses_survive_every_format(tmp_path: Path, suffix: str) -> None:
    table = read_scores(written(tmp_path / f"scores.{suffix}", CLUSTERED))
    assert row_scores(table.table) == CLUSTERED


def test_labels_are_set_and_read_as_numbers() -> None:
    table = ScoreTable.from_rows(ROWS)
    assert table.labels("cluster").tolist() == [-1, -1, -1]
    cluster, in_source = (np.array(labels, dtype=np.int32) for labels in ([3, -1, 0], [-1] * 3))
    labelled = table.with_clusters(cluster, in_source)
    assert labelled.labels("cluster").tolist() == [3, -1, 0]
    assert labelled.table.schema.equals(SCORE_SCHEMA)
    assert [row.cluster for row in row_scores(labelled.table)] == [3, None, 0]
    assert [row.cluster_in_source for row in row_scores(labelled.table)] == [None] * 3


def test_scores_from_before_clusters_are_read(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    old = ScoreTable.from_rows(ROWS).table.drop_columns(["cluster", "cluster_in_source"])
    pq.write_table(old, tmp_path / "s.parquet")
    assert row_scores(ScoreTable.read(tmp_path / "s.parquet").table) == ROWS
    part = ScoreTable.read(tmp_path / "s.parquet", columns=["row", "cluster"])
    assert part.labels("cluster").tolist() == [-1, -1, -1]
