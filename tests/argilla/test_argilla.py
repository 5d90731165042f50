"""What is exported passes Argilla's own checks, for a dataset made as docs/labelling.md says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import numpy as np
import orjson

from tests.records import hostile
from tests.records.samples import read, store
from winnow.labelling.prediction import CHOICES, keep_threshold, predictions_of
from winnow.output import Origin, Output, render_labelling
from winnow.proxy.engine import SpanLoss
from winnow.records.blocks import BlockReader
from winnow.records.example import Example, Flag, Rejection
from winnow.scores import RowScore, ScoreTable

QUESTION = UUID(int=7)
METADATA = {
    "row": "integer",
    "choice": "terms",
    "sort_score": "float",
    "score": "float",
    "loss_conditioned": "float",
    "loss_direct": "float",
    "perplexity_conditioned": "float",
    "perplexity_direct": "float",
    "tokens_conditioned": "integer",
    "tokens_direct": "integer",
    "flags": "terms",
    "cluster": "integer",
    "cluster_in_source": "integer",
    "reason": "terms",
    "detail": "terms",
    "source": "terms",
    "id": "terms",
}
"""The type of every property that a record may have."""

SETTINGS = {
    "fields": ["prompt", "answer"],
    "labels": list(CHOICES),
    "question_id": str(QUESTION),
    "metadata": METADATA,
}
CONVERSATION = (
    b'{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}'
)
REJECTED = (b"not JSON \x00\xff", b'{"instruction": "Say nothing.", "output": ""}')


def lines(count: int) -> bytes:
    """Hostile records, a conversation, rejected rows, and plain ones up to `count`."""
    first = [*hostile.LINES.values(), CONVERSATION, *REJECTED]
    plain = (
        b'{"instruction": "Question %d", "output": "Answer %d", "source": "s%d", "id": %d}'
        % (n, n, n % 3, n)
        for n in range(count - len(first))
    )
    return b"\n".join([*first, *plain])


def scored(outcome: Example | Rejection) -> RowScore:
    if isinstance(outcome, Rejection):
        return RowScore(row=outcome.row, reason=outcome.reason, detail=outcome.detail)
    return RowScore(
        row=outcome.row,
        score=outcome.row / 400,
        conditioned=SpanLoss(nll=outcome.row + 1.0, num_tokens=2),
        direct=SpanLoss(nll=3.0, num_tokens=2),
        flags=(Flag.TRUNCATED, Flag.BLANK_ANSWER) if outcome.row % 7 == 0 else (),
        cluster=outcome.row % 5,
        cluster_in_source=0,
    )


def exported(folder: Path, count: int) -> bytes:
    """Every row of a run, as `/runs/{id}/scores?format=argilla` gives it."""
    reader = store(folder, read(lines(count)))
    assert isinstance(reader, BlockReader)
    outcomes = [each for block in range(reader.num_blocks) for each in reader.outcomes(block)]
    table = ScoreTable.from_rows(map(scored, outcomes))
    parts = render_labelling(
        reader,
        np.arange(reader.num_rows),
        output=Output(format="argilla", question_id=QUESTION),
        predictions=predictions_of(table, "ifd", threshold=keep_threshold(table, "ifd")),
        origin=Origin(method="ifd", dataset="ds_1", run="run_1", version="org/model@0123456789ab"),
    )
    return b"".join(parts)


def test_exports_pass_and_damaged_ones_do_not(
    tmp_path: Path, argilla: Callable[..., list[list[int] | str]]
) -> None:
    whole = exported(tmp_path / "500", 500)
    few = exported(tmp_path / "20", 20)
    damaged = {
        "'maybe' is not a valid label": few.replace(b'"value":"check"', b'"value":"maybe"'),
        "non configured fields": few.replace(b'"answer":', b'"reply":"","answer":'),
        "should match pattern": few.replace(b'"agent":"org/model-', b'"agent":"org/model@'),
        "External IDs must be unique": few.replace(b'"ds_1-1"', b'"ds_1-2"'),
        "metadata is not valid": few.replace(b'"row":1,', b'"row":"one",'),
    }
    passed, *refused = argilla(SETTINGS, whole, *damaged.values())
    assert passed == [500]
    for words, why in zip(damaged, refused, strict=True):
        assert words in str(why)
    items = orjson.loads(whole)["items"]
    assert {item["suggestions"][0]["value"] for item in items} == set(CHOICES)
    assert set().union(*(item["metadata"] for item in items)) == set(METADATA)


def test_the_page_names_every_property() -> None:
    page = Path("docs/labelling.md").read_text(encoding="utf-8")
    for name, kind in METADATA.items():
        assert f'rg.{kind.title()}MetadataProperty("{name}")' in page
