"""The cache of span losses, and dry runs.

Deploy-safe: every new column has a default that the code before it would have meant.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Rather fail than queue behind a long transaction and block everyone else.
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "span_loss",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("nll", sa.Double(), nullable=False),
        sa.Column("num_tokens", sa.Integer(), nullable=False),
        sa.Column("stored_by", sa.BigInteger(), nullable=False),
        sa.Column("used_on", sa.Date(), server_default=sa.text("CURRENT_DATE"), nullable=False),
        sa.CheckConstraint("nll < 'Infinity'", name=op.f("ck_span_loss_nll_is_finite")),
        sa.PrimaryKeyConstraint("owner", "key", name=op.f("pk_span_loss")),
    )
    op.create_index("ix_span_loss_used_on", "span_loss", ["used_on"], unique=False)
    op.add_column(
        "run",
        sa.Column("rows_cached", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
    )
    op.add_column("run", sa.Column("cache_snapshot", sa.Text(), nullable=True))
    op.add_column(
        "run",
        sa.Column("dry_run", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.add_column(
        "run", sa.Column("estimate", postgresql.JSONB(astext_type=sa.Text()), nullable=True)
    )
    op.create_index(
        "ix_run_dry",
        "run",
        ["finished_at"],
        unique=False,
        postgresql_where=sa.text("dry_run AND deleted_at IS NULL"),
    )
    op.add_column(
        "dataset",
        sa.Column("kept", sa.Boolean(), server_default=sa.text("true"), nullable=False),
    )
    op.create_index(
        "ix_dataset_not_kept",
        "dataset",
        ["id"],
        unique=False,
        postgresql_where=sa.text("NOT kept AND deleted_at IS NULL"),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_index(
        "ix_dataset_not_kept",
        table_name="dataset",
        postgresql_where=sa.text("NOT kept AND deleted_at IS NULL"),
    )
    op.drop_column("dataset", "kept")
    op.drop_index(
        "ix_run_dry",
        table_name="run",
        postgresql_where=sa.text("dry_run AND deleted_at IS NULL"),
    )
    op.drop_column("run", "estimate")
    op.drop_column("run", "dry_run")
    op.drop_column("run", "cache_snapshot")
    op.drop_column("run", "rows_cached")
    op.drop_index("ix_span_loss_used_on", table_name="span_loss")
    op.drop_table("span_loss")
