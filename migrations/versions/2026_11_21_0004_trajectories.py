"""Trajectories and their checkpoints, clusters of scored rows, and selections that take work.

Gateways and sweepers of the earlier version may run beside it: they know neither the tables nor the columns, all of
which may be null, and let a run in `training` be. Its workers may not, once new code has made such a run: they claim
units of evaluation and of selection, which they cannot do, and use up their attempts. Stop them before the first new
gateway starts (docs/scaling.md); what they gave up the new sweeper ends with a reason.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ACTIVE_BEFORE = "status IN ('queued', 'ingesting', 'scoring', 'finalizing')"
_ACTIVE = "status IN ('queued', 'ingesting', 'training', 'scoring', 'finalizing')"
_STATUS_BEFORE = (
    "status IN ('queued', 'ingesting', 'scoring', 'finalizing', 'completed', 'failed', 'cancelled')"
)
_STATUS = "status IN ('queued', 'ingesting', 'training', 'scoring', 'finalizing', 'completed', 'failed', 'cancelled')"
_SHARED = "status NOT IN ('failed', 'cancelled') AND deleted_at IS NULL"
_EVALUATED = "kind = 'evaluate'"
_SELECTED = "kind = 'select' AND state IN ('queued', 'running')"


def upgrade() -> None:
    # Rather fail than queue behind a long transaction and block everyone else.
    op.execute("SET LOCAL lock_timeout = '5s'")
    _create_trajectory()
    _create_checkpoint()
    _create_selection()
    op.add_column("run", sa.Column("trajectory_id", sa.Text(), nullable=True))
    op.add_column(
        "run", sa.Column("checkpoints", postgresql.JSONB(astext_type=sa.Text()), nullable=True)
    )
    op.create_foreign_key(
        op.f("fk_run_trajectory_id"),
        "run",
        "trajectory",
        ["trajectory_id"],
        ["id"],
        ondelete="SET NULL",
    )
    op.create_index("ix_run_trajectory", "run", ["trajectory_id"], unique=False)
    _replace_run_status(_STATUS, _ACTIVE)
    op.add_column("score", sa.Column("cluster", sa.Integer(), nullable=True))
    op.add_column("score", sa.Column("cluster_in_source", sa.Integer(), nullable=True))
    op.add_column("fine_tune", sa.Column("trajectory_id", sa.Text(), nullable=True))
    op.create_foreign_key(
        op.f("fk_fine_tune_trajectory_id"),
        "fine_tune",
        "trajectory",
        ["trajectory_id"],
        ["id"],
        ondelete="CASCADE",
    )
    op.create_index("uq_fine_tune_trajectory", "fine_tune", ["trajectory_id"], unique=True)
    op.add_column("work", sa.Column("trajectory_id", sa.Text(), nullable=True))
    op.add_column("work", sa.Column("checkpoint", sa.SmallInteger(), nullable=True))
    op.create_foreign_key(
        op.f("fk_work_trajectory_id"),
        "work",
        "trajectory",
        ["trajectory_id"],
        ["id"],
        ondelete="CASCADE",
    )
    op.create_index("ix_work_trajectory", "work", ["trajectory_id", "state"], unique=False)
    op.create_index(
        "uq_work_evaluate_block",
        "work",
        ["trajectory_id", "checkpoint", "first_block"],
        unique=True,
        postgresql_where=sa.text(_EVALUATED),
    )
    op.create_index(
        "uq_work_select",
        "work",
        ["run_id", "subject"],
        unique=True,
        postgresql_where=sa.text(_SELECTED),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    # What old code would neither work on nor show.
    op.execute("DELETE FROM work WHERE kind IN ('evaluate', 'select') OR trajectory_id IS NOT NULL")
    op.execute("UPDATE run SET status = 'cancelled', finished_at = now() WHERE status = 'training'")
    op.execute("DELETE FROM fine_tune WHERE trajectory_id IS NOT NULL")
    op.drop_index("uq_work_select", table_name="work", postgresql_where=sa.text(_SELECTED))
    op.drop_index("uq_work_evaluate_block", table_name="work", postgresql_where=sa.text(_EVALUATED))
    op.drop_index("ix_work_trajectory", table_name="work")
    op.drop_constraint(op.f("fk_work_trajectory_id"), "work", type_="foreignkey")
    op.drop_column("work", "checkpoint")
    op.drop_column("work", "trajectory_id")
    op.drop_index("uq_fine_tune_trajectory", table_name="fine_tune")
    op.drop_constraint(op.f("fk_fine_tune_trajectory_id"), "fine_tune", type_="foreignkey")
    op.drop_column("fine_tune", "trajectory_id")
    op.drop_column("score", "cluster_in_source")
    op.drop_column("score", "cluster")
    _replace_run_status(_STATUS_BEFORE, _ACTIVE_BEFORE)
    op.drop_index("ix_run_trajectory", table_name="run")
    op.drop_constraint(op.f("fk_run_trajectory_id"), "run", type_="foreignkey")
    op.drop_column("run", "checkpoints")
    op.drop_column("run", "trajectory_id")
    op.drop_table("selection")
    op.drop_table("trajectory_checkpoint")
    op.drop_table("trajectory")


def _replace_run_status(status: str, active: str) -> None:
    op.drop_constraint(op.f("ck_run_status"), "run", type_="check")
    op.create_check_constraint(op.f("ck_run_status"), "run", status)
    op.drop_index("ix_run_active", table_name="run")
    op.create_index(
        "ix_run_active", "run", ["status"], unique=False, postgresql_where=sa.text(active)
    )


def _create_trajectory() -> None:
    op.create_table(
        "trajectory",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("dataset_id", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("spec", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("revision", sa.Text(), nullable=True),
        sa.Column("window", sa.Integer(), nullable=True),
        sa.Column("status", sa.Text(), server_default=sa.text("'queued'"), nullable=False),
        sa.Column("blocks_per_unit", sa.Integer(), nullable=False),
        sa.Column("units_in_flight", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("blocks", sa.Integer(), nullable=False),
        sa.Column("num_checkpoints", sa.Integer(), nullable=True),
        sa.Column("checkpoints_done", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("rows_done", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("keep_weights", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("event_seq", sa.Integer(), server_default=sa.text("0"), nullable=False),
        _created_at(),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('queued', 'training', 'evaluating', 'completed', 'failed', 'cancelled')",
            name=op.f("ck_trajectory_status"),
        ),
        sa.CheckConstraint(
            "checkpoints_done <= num_checkpoints", name=op.f("ck_trajectory_checkpoints_done")
        ),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["dataset.id"],
            name=op.f("fk_trajectory_dataset_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trajectory")),
    )
    op.create_index(
        "uq_trajectory_fingerprint",
        "trajectory",
        ["owner", "dataset_id", "fingerprint"],
        unique=True,
        postgresql_where=sa.text(_SHARED),
    )
    op.create_index(
        "ix_trajectory_owner_created", "trajectory", ["owner", "created_at", "id"], unique=False
    )
    op.create_index("ix_trajectory_dataset", "trajectory", ["dataset_id"], unique=False)
    op.create_index(
        "ix_trajectory_active",
        "trajectory",
        ["status"],
        unique=False,
        postgresql_where=sa.text("status IN ('queued', 'training', 'evaluating')"),
    )


def _create_checkpoint() -> None:
    op.create_table(
        "trajectory_checkpoint",
        sa.Column("trajectory_id", sa.Text(), nullable=False),
        sa.Column("position", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=True),
        sa.Column("point", sa.Boolean(), nullable=False),
        sa.Column("folder", sa.Text(), nullable=True),
        sa.Column("blocks_done", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("nll", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("num_tokens", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        _created_at(),
        sa.ForeignKeyConstraint(
            ["trajectory_id"],
            ["trajectory.id"],
            name=op.f("fk_trajectory_checkpoint_trajectory_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("trajectory_id", "position", name=op.f("pk_trajectory_checkpoint")),
    )
    op.create_index(
        "uq_trajectory_checkpoint_step",
        "trajectory_checkpoint",
        ["trajectory_id", "step"],
        unique=True,
    )


def _create_selection() -> None:
    op.create_table(
        "selection",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'queued'"), nullable=False),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        _created_at(),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('queued', 'done', 'failed')", name=op.f("ck_selection_status")
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f("fk_selection_run_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "key", name=op.f("pk_selection")),
    )
    op.create_index(
        "ix_selection_queued",
        "selection",
        ["run_id"],
        unique=False,
        postgresql_where=sa.text("status = 'queued'"),
    )


def _created_at() -> sa.Column[object]:
    time = sa.DateTime(timezone=True)
    return sa.Column("created_at", time, server_default=sa.text("now()"), nullable=False)
