"""Fine-tuning jobs, their checkpoints, and files.

Deploy-safe: old code knows none of these tables, and a unit of work without a fine-tune is what it always was.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_OBJECT = sa.text("'{}'")


def upgrade() -> None:
    # Rather fail than queue behind a long transaction and block everyone else.
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "file",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("blob", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_file")),
    )
    op.create_index("ix_file_owner_created", "file", ["owner", "created_at", "id"], unique=False)
    op.create_table(
        "fine_tune",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("spec", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("training_file", sa.Text(), nullable=False),
        sa.Column("validation_file", sa.Text(), nullable=True),
        sa.Column(
            "metadata",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=_OBJECT,
            nullable=False,
        ),
        sa.Column(
            "status", sa.Text(), server_default=sa.text("'validating_files'"), nullable=False
        ),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=True),
        sa.Column(
            "provenance",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=_OBJECT,
            nullable=False,
        ),
        sa.Column("step", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("total_steps", sa.Integer(), nullable=True),
        sa.Column("trained_tokens", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "hyperparameters",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=_OBJECT,
            nullable=False,
        ),
        sa.Column("estimated_finish", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fine_tuned_model", sa.Text(), nullable=True),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column(
            "result_files", postgresql.ARRAY(sa.Text()), server_default=_OBJECT, nullable=False
        ),
        sa.Column("metrics", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("event_seq", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('validating_files', 'queued', 'running', 'paused', 'succeeded', 'failed', 'cancelled')",
            name=op.f("ck_fine_tune_status"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fine_tune")),
    )
    op.create_index(
        "ix_fine_tune_owner_created", "fine_tune", ["owner", "created_at", "id"], unique=False
    )
    op.create_index("uq_fine_tune_model", "fine_tune", ["fine_tuned_model"], unique=True)
    op.create_table(
        "fine_tune_checkpoint",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("fine_tune_id", sa.Text(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column(
            "metrics",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=_OBJECT,
            nullable=False,
        ),
        sa.Column("folder", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["fine_tune_id"],
            ["fine_tune.id"],
            name=op.f("fk_fine_tune_checkpoint_fine_tune_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fine_tune_checkpoint")),
    )
    op.create_index(
        "uq_fine_tune_checkpoint_step",
        "fine_tune_checkpoint",
        ["fine_tune_id", "step"],
        unique=True,
    )
    op.add_column("work", sa.Column("fine_tune_id", sa.Text(), nullable=True))
    op.create_foreign_key(
        op.f("fk_work_fine_tune_id"),
        "work",
        "fine_tune",
        ["fine_tune_id"],
        ["id"],
        ondelete="CASCADE",
    )
    op.create_index(
        "uq_work_fine_tune",
        "work",
        ["fine_tune_id"],
        unique=True,
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_index(
        "uq_work_fine_tune",
        table_name="work",
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )
    op.drop_constraint(op.f("fk_work_fine_tune_id"), "work", type_="foreignkey")
    op.drop_column("work", "fine_tune_id")
    op.drop_index("uq_fine_tune_checkpoint_step", table_name="fine_tune_checkpoint")
    op.drop_table("fine_tune_checkpoint")
    op.drop_index("uq_fine_tune_model", table_name="fine_tune")
    op.drop_index("ix_fine_tune_owner_created", table_name="fine_tune")
    op.drop_table("fine_tune")
    op.drop_index("ix_file_owner_created", table_name="file")
    op.drop_table("file")
