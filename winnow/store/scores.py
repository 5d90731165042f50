"""Scores of a run, one row for every input row.

Not covered: the file that a completed run leaves (`runs/{id}/scores.parquet`), which selection and downloads read.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
from psycopg import Cursor, sql
from sqlalchemy import BigInteger, Connection, any_, literal, select, text
from sqlalchemy.dialects.postgresql import ARRAY

from winnow.proxy.engine import SpanLoss
from winnow.records.example import RejectionReason
from winnow.scores import SCORE_SCHEMA, RowScore, pack_flags, unpack_flags
from winnow.store.owned import check_run
from winnow.store.tables import score
from winnow.store.values import Page, page_of, storable

_CLUSTERS = ("cluster", "cluster_in_source")
"""Columns that scoring leaves alone: a run has clusters when all of its rows have scores."""

_UPSERT = text("""
    INSERT INTO score (run_id, row, score, nll_conditioned, tokens_conditioned, nll_direct, tokens_direct,
                       flags, reason, detail)
    SELECT :run_id, * FROM unnest(
        CAST(:row AS bigint[]), CAST(:score AS double precision[]),
        CAST(:nll_conditioned AS double precision[]), CAST(:tokens_conditioned AS integer[]),
        CAST(:nll_direct AS double precision[]), CAST(:tokens_direct AS integer[]),
        CAST(:flags AS smallint[]), CAST(:reason AS text[]), CAST(:detail AS text[]))
    ON CONFLICT (run_id, row) DO UPDATE SET
        score = excluded.score,
        nll_conditioned = excluded.nll_conditioned, tokens_conditioned = excluded.tokens_conditioned,
        nll_direct = excluded.nll_direct, tokens_direct = excluded.tokens_direct,
        flags = excluded.flags, reason = excluded.reason, detail = excluded.detail
""")

_CLUSTER = text("""
    UPDATE score SET cluster = found.cluster, cluster_in_source = found.cluster_in_source
    FROM unnest(CAST(:row AS bigint[]), CAST(:cluster AS integer[]), CAST(:cluster_in_source AS integer[]))
         AS found (row, cluster, cluster_in_source)
    WHERE score.run_id = :run_id AND score.row BETWEEN :first AND :last AND score.row = found.row
""")

_COPY = sql.SQL(
    "COPY (SELECT {columns} FROM score WHERE run_id = {run_id} ORDER BY row) TO STDOUT (FORMAT csv)"
)
_CSV_COLUMNS = pa_csv.ReadOptions(column_names=SCORE_SCHEMA.names)
_CSV_QUOTING = pa_csv.ParseOptions(newlines_in_values=True)
# NULL is an empty field and an empty text a quoted one: that is how COPY tells them apart.
_CSV_TYPES = pa_csv.ConvertOptions(
    column_types=SCORE_SCHEMA,
    null_values=[""],
    strings_can_be_null=True,
    quoted_strings_can_be_null=False,
)


def store_scores(conn: Connection, run_id: str, scores: Sequence[RowScore]) -> None:
    """Insert the scores of some rows, or replace them: a block that is scored twice stands once."""
    columns = [_values(row) for row in scores]
    names = [name for name in SCORE_SCHEMA.names if name not in _CLUSTERS]
    conn.execute(
        _UPSERT,
        {"run_id": run_id} | {name: [row[name] for row in columns] for name in names},
    )


def store_clusters(
    conn: Connection,
    run_id: str,
    *,
    rows: Sequence[int],
    cluster: Sequence[int | None],
    cluster_in_source: Sequence[int | None],
) -> None:
    """Note the clusters of some rows of a run that are scored, of at least one; None: in none."""
    found = {"row": rows, "cluster": cluster, "cluster_in_source": cluster_in_source}
    lists = {name: list(values) for name, values in found.items()}
    # Without their bounds every row of the run would be read for some of them.
    bounds = {"first": min(rows), "last": max(rows)}
    conn.execute(_CLUSTER, {"run_id": run_id} | bounds | lists)


def page_scores(
    conn: Connection, *, owner: str, run_id: str, after_row: int = -1, limit: int = 100
) -> Page[RowScore]:
    """Scores of a run of the owner in row order, beginning after the row `after_row`.

    Raises:
        NotFound: the owner has no such run.
    """
    check_run(conn, owner=owner, run_id=run_id)
    statement = (
        select(score)
        .where(score.c.run_id == run_id, score.c.row > after_row)
        .order_by(score.c.row)
        .limit(limit + 1)
    )
    return page_of([_score(row) for row in conn.execute(statement)], limit)


def load_scores(
    conn: Connection, *, owner: str, run_id: str, rows: Sequence[int]
) -> list[RowScore]:
    """The scores of these rows of a run of the owner, in row order; a row that it does not have is left out.

    Raises:
        NotFound: the owner has no such run.
    """
    check_run(conn, owner=owner, run_id=run_id)
    wanted = any_(literal(list(rows), ARRAY(BigInteger)))
    statement = select(score).where(score.c.run_id == run_id, score.c.row == wanted)
    return [_score(row) for row in conn.execute(statement.order_by(score.c.row))]


def copy_scores(
    conn: Connection, run_id: str, *, batch_rows: int = 65_536
) -> Generator[pa.RecordBatch, None, None]:
    """All scores of a run in row order, as batches of `SCORE_SCHEMA`; memory is that of one batch.

    The connection is busy until the iterator is exhausted or closed.
    """
    columns = sql.SQL(", ").join(map(sql.Identifier, SCORE_SCHEMA.names))
    query = _COPY.format(columns=columns, run_id=sql.Literal(run_id))
    cursor: Cursor[Any] = conn.connection.cursor()  # type: ignore[assignment]
    with cursor, cursor.copy(query) as rows:
        lines: list[bytes] = []
        for line in rows:
            lines.append(bytes(line))
            if len(lines) == batch_rows:
                yield _batch(lines)
                lines = []
        if lines:
            yield _batch(lines)


def _batch(lines: Sequence[bytes]) -> pa.RecordBatch:
    table = pa_csv.read_csv(
        BytesIO(b"".join(lines)),
        read_options=_CSV_COLUMNS,
        parse_options=_CSV_QUOTING,
        convert_options=_CSV_TYPES,
    )
    return table.cast(SCORE_SCHEMA).combine_chunks().to_batches()[0]


def _values(row: RowScore) -> dict[str, Any]:
    conditioned, direct = row.conditioned, row.direct
    return {
        "row": row.row,
        "score": row.score,
        "nll_conditioned": None if conditioned is None else conditioned.nll,
        "tokens_conditioned": None if conditioned is None else conditioned.num_tokens,
        "nll_direct": None if direct is None else direct.nll,
        "tokens_direct": None if direct is None else direct.num_tokens,
        "flags": pack_flags(row.flags),
        "reason": row.reason,
        "detail": None if row.detail is None else storable(row.detail),
    }


def _score(row: Any) -> RowScore:
    return RowScore(
        row=row.row,
        score=row.score,
        conditioned=_loss(row.nll_conditioned, row.tokens_conditioned),
        direct=_loss(row.nll_direct, row.tokens_direct),
        flags=unpack_flags(row.flags),
        reason=None if row.reason is None else RejectionReason(row.reason),
        detail=row.detail,
        cluster=row.cluster,
        cluster_in_source=row.cluster_in_source,
    )


def _loss(nll: float | None, num_tokens: int | None) -> SpanLoss | None:
    return None if nll is None or num_tokens is None else SpanLoss(nll=nll, num_tokens=num_tokens)
