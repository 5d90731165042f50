"""Webhooks: whom to tell, the messages and what became of them, and their secrets. One index a dataset at a time.

Gateways and sweepers of 0004 may run beside it: they know neither the tables nor the columns, which may be null or have
a default, tell nobody, and leave messages to new code. Workers of 0004 may not: they claim any unit of their queues,
cannot do a `deliver` or an `index`, and use up its attempts; of an `index` they then fail the dataset, which was ready.
Stop all of them before the first new gateway starts (docs/scaling.md). Messages that they gave up the new sweeper ends.

What it locks: nobody reads or writes `work` while three indexes are made over it, which is one scan each, about a
second together for a million units (a billion rows scored). `run`, `fine_tune` and `selection` are locked after that,
for the milliseconds that new tables, new columns without a scan and an empty index over the runs take. CONCURRENTLY
would spare `work` that second, but not inside the one transaction in which `winnow.store.migrate` applies all
migrations or none; and a second starter, which waits for the first with a snapshot open, would be waited for by it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_SAMPLES = "is_sample AND deleted_at IS NULL"
_OPEN = "state IN ('queued', 'running')"
_OF_ONE = "delivery_id IS NOT NULL"
_INDEXED = "kind = 'index' AND state IN ('queued', 'running')"


def upgrade() -> None:
    # Rather fail than queue behind a long transaction and block everyone else.
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("work", sa.Column("delivery_id", sa.Text(), nullable=True))
    op.create_index(
        "uq_work_deliver", "work", ["delivery_id"], unique=True, postgresql_where=sa.text(_OPEN)
    )
    op.create_index("ix_work_delivery", "work", ["delivery_id"], postgresql_where=sa.text(_OF_ONE))
    op.create_index(
        "uq_work_index", "work", ["dataset_id"], unique=True, postgresql_where=sa.text(_INDEXED)
    )
    _create_secret()
    _create_endpoint()
    op.add_column("selection", sa.Column("blob", sa.Text(), nullable=True))
    op.add_column("fine_tune", sa.Column("webhook_url", sa.Text(), nullable=True))
    op.add_column("run", sa.Column("webhook_url", sa.Text(), nullable=True))
    op.add_column(
        "run", sa.Column("is_sample", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.create_index("ix_run_sample", "run", ["finished_at"], postgresql_where=sa.text(_SAMPLES))
    _create_delivery()
    op.create_foreign_key(
        op.f("fk_work_delivery_id"),
        "work",
        "webhook_delivery",
        ["delivery_id"],
        ["id"],
        ondelete="CASCADE",
        postgresql_not_valid=True,
    )
    # No unit has a delivery yet, and ix_work_delivery, which is empty, says so.
    op.execute("ALTER TABLE work VALIDATE CONSTRAINT fk_work_delivery_id")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    # What old code would not work on.
    op.execute("DELETE FROM work WHERE kind = 'index' OR delivery_id IS NOT NULL")
    op.drop_index("uq_work_index", table_name="work", postgresql_where=sa.text(_INDEXED))
    op.drop_index("ix_work_delivery", table_name="work", postgresql_where=sa.text(_OF_ONE))
    op.drop_index("uq_work_deliver", table_name="work", postgresql_where=sa.text(_OPEN))
    op.drop_constraint(op.f("fk_work_delivery_id"), "work", type_="foreignkey")
    op.drop_column("work", "delivery_id")
    op.drop_table("webhook_delivery")
    op.drop_table("webhook_endpoint")
    op.drop_table("webhook_secret")
    op.drop_index("ix_run_sample", table_name="run", postgresql_where=sa.text(_SAMPLES))
    op.drop_column("run", "is_sample")
    op.drop_column("run", "webhook_url")
    op.drop_column("fine_tune", "webhook_url")
    op.drop_column("selection", "blob")


def _create_secret() -> None:
    op.create_table(
        "webhook_secret",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("previous", sa.Text(), nullable=True),
        sa.Column("previous_expires_at", sa.DateTime(timezone=True), nullable=True),
        _created_at(),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_webhook_secret")),
    )


def _create_endpoint() -> None:
    op.create_table(
        "webhook_endpoint",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        _created_at(),
        sa.CheckConstraint(
            "(disabled_at IS NULL) = (disabled_reason IS NULL)",
            name=op.f("ck_webhook_endpoint_disabled_with_a_reason"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoint")),
    )
    op.create_index("uq_webhook_endpoint_url", "webhook_endpoint", ["owner", "url"], unique=True)
    op.create_index(
        "ix_webhook_endpoint_owner_created", "webhook_endpoint", ["owner", "created_at", "id"]
    )


def _create_delivery() -> None:
    op.create_table(
        "webhook_delivery",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("fine_tune_id", sa.Text(), nullable=True),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'pending'"), nullable=False),
        sa.Column(
            "attempts",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'"),
            nullable=False,
        ),
        _created_at(),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('pending', 'delivered', 'failed')", name=op.f("ck_webhook_delivery_status")
        ),
        sa.CheckConstraint(
            "(run_id IS NULL) <> (fine_tune_id IS NULL)",
            name=op.f("ck_webhook_delivery_one_subject"),
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name=op.f("fk_webhook_delivery_run_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["fine_tune_id"],
            ["fine_tune.id"],
            name=op.f("fk_webhook_delivery_fine_tune_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_delivery")),
    )
    columns = ["owner", "created_at", "id"]
    op.create_index("ix_webhook_delivery_owner_created", "webhook_delivery", columns)
    op.create_index("ix_webhook_delivery_run", "webhook_delivery", ["run_id"])
    op.create_index("ix_webhook_delivery_fine_tune", "webhook_delivery", ["fine_tune_id"])
    op.create_index("ix_webhook_delivery_finished", "webhook_delivery", ["finished_at"])


def _created_at() -> sa.Column[object]:
    time = sa.DateTime(timezone=True)
    return sa.Column("created_at", time, server_default=sa.text("now()"), nullable=False)
