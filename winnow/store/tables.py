"""Every table, as SQLAlchemy Core. Migrations follow this file; a test compares the two.

Public objects have unguessable text ids, work has numbers. Times are the database's, never a worker's. Rules about what
may happen at the same time are unique indexes here, not locks in Python.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

_NOW = text("now()")
_ZERO = text("0")


def _time(name: str, *, nullable: bool = True) -> Column[object]:
    default = None if nullable else _NOW
    return Column(name, DateTime(timezone=True), nullable=nullable, server_default=default)


api_key = Table(
    "api_key",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("name", Text),
    # What the key starts with, so that a person can tell keys apart; the key itself is never kept.
    Column("hint", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False, unique=True),
    _time("created_at", nullable=False),
    _time("revoked_at"),
)

# status: ingesting -> ready | failed. A dataset that failed for another reason than its bytes goes back to ingesting
# when the same bytes are posted again. deleted_at hides it at once; a purge unit removes it.
dataset = Table(
    "dataset",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("name", Text),
    Column("sha256", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("requested_format", Text, nullable=False),
    Column("format", Text),
    Column("status", Text, nullable=False, server_default=text("'ingesting'")),
    Column("rows_read", BigInteger),
    Column("rows_usable", BigInteger),
    Column("rows_rejected", BigInteger),
    Column("num_blocks", Integer),
    Column("error", JSONB),
    # False while nothing but dry runs and samples has asked for it: then it is removed with the last of them.
    Column("kept", Boolean, nullable=False, server_default=text("true")),
    _time("created_at", nullable=False),
    _time("deleted_at"),
    CheckConstraint("status IN ('ingesting', 'ready', 'failed')", name="status"),
    # The same bytes of one owner, read the same way, are one dataset.
    Index(
        "uq_dataset_content",
        "owner",
        "sha256",
        "requested_format",
        unique=True,
        postgresql_where=text("deleted_at IS NULL"),
    ),
    Index("ix_dataset_owner_created", "owner", "created_at", "id"),
    Index("ix_dataset_not_kept", "id", postgresql_where=text("NOT kept AND deleted_at IS NULL")),
)

# Rows that could not even be read as an example: they get no score in any run of the dataset.
rejection = Table(
    "rejection",
    metadata,
    Column("dataset_id", ForeignKey("dataset.id", ondelete="CASCADE"), primary_key=True),
    Column("row", BigInteger, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
)

# What a method that watches a proxy learn needs: one fine-tune of it on a whole dataset, and the losses of all rows at
# its checkpoints. status: queued -> training -> evaluating -> completed, and from each of the first three -> failed |
# cancelled. One of the user's own checkpoints begins with evaluating. `trajectory_progress.move` is the only place that
# changes it, and each change is an event.
trajectory = Table(
    "trajectory",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("dataset_id", ForeignKey("dataset.id", ondelete="CASCADE"), nullable=False),
    # What runs must have in common to share it (`trajectory_use`), and the options of the first of them.
    Column("fingerprint", Text, nullable=False),
    Column("spec", JSONB, nullable=False),
    # The model files that training begins with; null until a worker that has them says what they are.
    Column("revision", Text),
    Column("window", Integer),
    Column("status", Text, nullable=False, server_default=text("'queued'")),
    # How it is cut into units of evaluation, as a run is into units of scoring.
    Column("blocks_per_unit", Integer, nullable=False),
    Column("units_in_flight", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("blocks", Integer, nullable=False),
    # Null until training has settled its number of steps.
    Column("num_checkpoints", Integer),
    Column("checkpoints_done", Integer, nullable=False, server_default=_ZERO),
    # Rows evaluated, over all checkpoints.
    Column("rows_done", BigInteger, nullable=False, server_default=_ZERO),
    Column("keep_weights", Boolean, nullable=False, server_default=text("false")),
    Column("error", JSONB),
    Column("event_seq", Integer, nullable=False, server_default=_ZERO),
    _time("created_at", nullable=False),
    _time("started_at"),
    _time("finished_at"),
    _time("deleted_at"),
    CheckConstraint(
        "status IN ('queued', 'training', 'evaluating', 'completed', 'failed', 'cancelled')",
        name="status",
    ),
    CheckConstraint("checkpoints_done <= num_checkpoints", name="checkpoints_done"),
    # However many runs begin at once, they share one fine-tune.
    Index(
        "uq_trajectory_fingerprint",
        "owner",
        "dataset_id",
        "fingerprint",
        unique=True,
        postgresql_where=text("status NOT IN ('failed', 'cancelled') AND deleted_at IS NULL"),
    ),
    Index("ix_trajectory_owner_created", "owner", "created_at", "id"),
    Index("ix_trajectory_dataset", "dataset_id"),
    Index(
        "ix_trajectory_active",
        "status",
        postgresql_where=text("status IN ('queued', 'training', 'evaluating')"),
    ),
)

# Weights of a trajectory, in the order of their steps. Position 0 is the model before training. `folder` is null there,
# and where the weights were removed.
trajectory_checkpoint = Table(
    "trajectory_checkpoint",
    metadata,
    Column("trajectory_id", ForeignKey("trajectory.id", ondelete="CASCADE"), primary_key=True),
    Column("position", SmallInteger, primary_key=True, autoincrement=False),
    Column("step", Integer, nullable=False),
    # Set where an epoch ends.
    Column("epoch", Integer),
    # Whether it is one of the evenly spaced ones.
    Column("point", Boolean, nullable=False),
    Column("folder", Text),
    # Counted by the units that are done; nll and num_tokens are sums over all rows that have a loss.
    Column("blocks_done", Integer, nullable=False, server_default=_ZERO),
    Column("nll", Double, nullable=False, server_default=_ZERO),
    Column("num_tokens", BigInteger, nullable=False, server_default=_ZERO),
    _time("created_at", nullable=False),
    Index("uq_trajectory_checkpoint_step", "trajectory_id", "step", unique=True),
)

# status: queued -> ingesting -> scoring -> finalizing -> completed, and from each of the first four -> failed |
# cancelled. A run that needs a trajectory is training between ingesting and scoring. A dry run goes from scoring to
# completed. `progress.move` is the only place that changes it, and each change is an event.
run = Table(
    "run",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("dataset_id", ForeignKey("dataset.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text),
    # Made on the side, by POST /trust or of tasks of Label Studio: a request that names no run never means it.
    Column("is_sample", Boolean, nullable=False, server_default=text("false")),
    Column("method", Text, nullable=False),
    Column("spec", JSONB, nullable=False),
    # Whose losses it reads, from the moment that its dataset is ready; and the user's own checkpoints, if it names any.
    Column("trajectory_id", ForeignKey("trajectory.id", ondelete="SET NULL")),
    Column("checkpoints", JSONB),
    # The model files that the run is bound to; null until a worker that has them says what they are.
    Column("revision", Text),
    Column("window", Integer),
    Column("status", Text, nullable=False, server_default=text("'queued'")),
    # How the run is cut into units, how many of them are published at a time, and how often each is tried.
    Column("blocks_per_unit", Integer, nullable=False),
    Column("units_in_flight", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("rows", BigInteger),
    Column("blocks", Integer),
    # Counted by the units that are done; what running units have done so far stands in work.rows_done.
    Column("blocks_done", Integer, nullable=False, server_default=_ZERO),
    Column("rows_done", BigInteger, nullable=False, server_default=_ZERO),
    Column("rows_scored", BigInteger, nullable=False, server_default=_ZERO),
    Column("rows_rejected", BigInteger, nullable=False, server_default=_ZERO),
    # Rows whose losses all came from the cache, and which transactions had been committed when the run was made: what
    # they stored is what the run may use. Null: the run uses no cache.
    Column("rows_cached", BigInteger, nullable=False, server_default=_ZERO),
    Column("cache_snapshot", Text),
    # A dry run scores nothing and ends with an estimate.
    Column("dry_run", Boolean, nullable=False, server_default=text("false")),
    Column("estimate", JSONB),
    # Who is told when it is over.
    Column("webhook_url", Text),
    Column("error", JSONB),
    Column("warnings", JSONB, nullable=False, server_default=text("'[]'")),
    Column("summary", JSONB),
    Column("event_seq", Integer, nullable=False, server_default=_ZERO),
    _time("created_at", nullable=False),
    _time("started_at"),
    # From the first claim of a scoring unit to the last one done: what a rate is measured over.
    _time("scoring_at"),
    _time("scored_at"),
    _time("finished_at"),
    _time("deleted_at"),
    CheckConstraint(
        "status IN ('queued', 'ingesting', 'training', 'scoring', 'finalizing', 'completed', 'failed', 'cancelled')",
        name="status",
    ),
    CheckConstraint("blocks_done <= blocks", name="blocks_done"),
    Index("ix_run_owner_created", "owner", "created_at", "id"),
    Index("ix_run_dataset", "dataset_id"),
    Index("ix_run_trajectory", "trajectory_id"),
    Index("ix_run_dry", "finished_at", postgresql_where=text("dry_run AND deleted_at IS NULL")),
    Index(
        "ix_run_sample", "finished_at", postgresql_where=text("is_sample AND deleted_at IS NULL")
    ),
    Index(
        "ix_run_active",
        "status",
        postgresql_where=text(
            "status IN ('queued', 'ingesting', 'training', 'scoring', 'finalizing')"
        ),
    ),
)

# One row for every input row: a score or a reason, never both or neither.
score = Table(
    "score",
    metadata,
    Column("run_id", ForeignKey("run.id", ondelete="CASCADE"), primary_key=True),
    Column("row", BigInteger, primary_key=True),
    Column("score", Double),
    Column("nll_conditioned", Double),
    Column("tokens_conditioned", Integer),
    Column("nll_direct", Double),
    Column("tokens_direct", Integer),
    # A set of bits, in the order of winnow.scores.FLAG_BITS.
    Column("flags", SmallInteger, nullable=False, server_default=_ZERO),
    Column("reason", Text),
    Column("detail", Text),
    # Found when all rows have their score; null where the run has no clusters, and in rows that are in none.
    Column("cluster", Integer),
    Column("cluster_in_source", Integer),
    CheckConstraint("(score IS NULL) <> (reason IS NULL)", name="score_or_reason"),
    CheckConstraint("score <> 'NaN'", name="score_is_a_number"),
)

# Rows of a run that took work to select, one row for every request; only the newest of a run are kept. status: queued
# -> done | failed; one that failed goes back to queued when it is asked for again after a while.
selection = Table(
    "selection",
    metadata,
    Column("run_id", ForeignKey("run.id", ondelete="CASCADE"), primary_key=True),
    # Equal requests have equal keys.
    Column("key", Text, primary_key=True),
    Column("request", JSONB, nullable=False),
    Column("status", Text, nullable=False, server_default=text("'queued'")),
    # Where its rows lie; a file that nobody else ever writes.
    Column("blob", Text),
    Column("result", JSONB),
    Column("error", JSONB),
    _time("created_at", nullable=False),
    _time("finished_at"),
    CheckConstraint("status IN ('queued', 'done', 'failed')", name="status"),
    Index("ix_selection_queued", "run_id", postgresql_where=text("status = 'queued'")),
)

# Losses of spans that runs of an owner have computed. They belong to no dataset: the key is a hash of token ids
# (winnow.proxy.span_cache), and no text comes back from it.
span_loss = Table(
    "span_loss",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("key", LargeBinary, primary_key=True),
    Column("nll", Double, nullable=False),
    Column("num_tokens", Integer, nullable=False),
    # Number of the transaction: with run.cache_snapshot it says whether the loss was there when the run was made.
    Column("stored_by", BigInteger, nullable=False),
    # A day, not a moment, so that an entry is written at most once a day however often it is used.
    Column("used_on", Date, nullable=False, server_default=text("CURRENT_DATE")),
    CheckConstraint("nll < 'Infinity'", name="nll_is_finite"),
    Index("ix_span_loss_used_on", "used_on"),
)

# Files of an owner: uploads, and what a fine-tune left. `blob` is where the bytes lie. deleted_at hides one at once; a
# purge unit removes it.
file = Table(
    "file",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("filename", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("blob", Text, nullable=False),
    _time("created_at", nullable=False),
    _time("deleted_at"),
    Index("ix_file_owner_created", "owner", "created_at", "id"),
)

# status: validating_files -> queued -> running -> succeeded, paused in between, and from each of them -> failed |
# cancelled. `fine_tune_progress.move` is the only place that changes it, and each change is an event.
fine_tune = Table(
    "fine_tune",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    # Set on the training of a trajectory, which nobody sees as a job.
    Column("trajectory_id", ForeignKey("trajectory.id", ondelete="CASCADE")),
    Column("spec", JSONB, nullable=False),
    Column("training_file", Text, nullable=False),
    Column("validation_file", Text),
    Column("metadata", JSONB, nullable=False, server_default=text("'{}'")),
    # Who is told when it is over.
    Column("webhook_url", Text),
    Column("status", Text, nullable=False, server_default=text("'validating_files'")),
    Column("max_attempts", Integer, nullable=False),
    # What validation found: rows to train on, and where they come from. Null until then.
    Column("rows", BigInteger),
    Column("provenance", JSONB, nullable=False, server_default=text("'{}'")),
    # What has been told of the training. A step is told once, also if it is done twice after a crash.
    Column("step", Integer, nullable=False, server_default=_ZERO),
    Column("total_steps", Integer),
    Column("trained_tokens", BigInteger, nullable=False, server_default=_ZERO),
    Column("hyperparameters", JSONB, nullable=False, server_default=text("'{}'")),
    _time("estimated_finish"),
    # What the model is called in a later /score, and the blob folder of its files.
    Column("fine_tuned_model", Text),
    Column("result", Text),
    Column("result_files", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("metrics", JSONB),
    Column("error", JSONB),
    Column("event_seq", Integer, nullable=False, server_default=_ZERO),
    _time("created_at", nullable=False),
    _time("started_at"),
    _time("finished_at"),
    CheckConstraint(
        "status IN ('validating_files', 'queued', 'running', 'paused', 'succeeded', 'failed', 'cancelled')",
        name="status",
    ),
    Index("ix_fine_tune_owner_created", "owner", "created_at", "id"),
    Index("uq_fine_tune_model", "fine_tuned_model", unique=True),
    Index("uq_fine_tune_trajectory", "trajectory_id", unique=True),
)

# Where a fine-tune can go on. `folder` is null once the files were removed: only the newest are kept.
fine_tune_checkpoint = Table(
    "fine_tune_checkpoint",
    metadata,
    Column("id", Text, primary_key=True),
    Column("fine_tune_id", ForeignKey("fine_tune.id", ondelete="CASCADE"), nullable=False),
    Column("step", Integer, nullable=False),
    Column("metrics", JSONB, nullable=False, server_default=text("'{}'")),
    Column("folder", Text),
    _time("created_at", nullable=False),
    Index("uq_fine_tune_checkpoint_step", "fine_tune_id", "step", unique=True),
)

# What an owner's messages are signed with; readable, because signing needs the secret itself. After a rotation the one
# before it signs too, until it expires.
webhook_secret = Table(
    "webhook_secret",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("secret", Text, nullable=False),
    Column("previous", Text),
    _time("previous_expires_at"),
    _time("created_at", nullable=False),
)

# Receivers, known from their first message that was taken or given up. One that is disabled is sent nothing until its
# owner says otherwise.
webhook_endpoint = Table(
    "webhook_endpoint",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("url", Text, nullable=False),
    # The last time that it took a message.
    _time("delivered_at"),
    _time("disabled_at"),
    Column("disabled_reason", Text),
    _time("created_at", nullable=False),
    CheckConstraint(
        "(disabled_at IS NULL) = (disabled_reason IS NULL)", name="disabled_with_a_reason"
    ),
    Index("uq_webhook_endpoint_url", "owner", "url", unique=True),
    Index("ix_webhook_endpoint_owner_created", "owner", "created_at", "id"),
)

# One message to one receiver; the id is the `webhook-id` of every attempt, and the body the bytes that are signed.
# status: pending -> delivered | failed, and back to pending when it is replayed. When the next attempt is due stands in
# its unit of work.
webhook_delivery = Table(
    "webhook_delivery",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("run_id", ForeignKey("run.id", ondelete="CASCADE")),
    Column("fine_tune_id", ForeignKey("fine_tune.id", ondelete="CASCADE")),
    Column("type", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("status", Text, nullable=False, server_default=text("'pending'")),
    Column("attempts", JSONB, nullable=False, server_default=text("'[]'")),
    _time("created_at", nullable=False),
    _time("finished_at"),
    CheckConstraint("status IN ('pending', 'delivered', 'failed')", name="status"),
    CheckConstraint("(run_id IS NULL) <> (fine_tune_id IS NULL)", name="one_subject"),
    Index("ix_webhook_delivery_owner_created", "owner", "created_at", "id"),
    Index("ix_webhook_delivery_run", "run_id"),
    Index("ix_webhook_delivery_fine_tune", "fine_tune_id"),
    Index("ix_webhook_delivery_finished", "finished_at"),
)

# A unit of work. state: queued -> running (claim) -> done (finish)
#                                 running -> queued (release, failed attempt, expired lease)
#                                 running | queued -> failed (permanent, or out of attempts) | cancelled
# queued and published_at null: nobody has been told yet, because the run's window is full or available_at lies ahead.
work = Table(
    "work",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("kind", Text, nullable=False),
    # What the unit is about: a dataset, a run, a fine-tune, a trajectory, a message to a receiver, or the key of a
    # selection. A purge may outlive it, hence the foreign keys are null there.
    Column("subject", Text, nullable=False),
    Column("dataset_id", ForeignKey("dataset.id", ondelete="CASCADE")),
    Column("run_id", ForeignKey("run.id", ondelete="CASCADE")),
    Column("fine_tune_id", ForeignKey("fine_tune.id", ondelete="CASCADE")),
    # Of evaluation, of the training of a trajectory, and of the purge of what it leaves; and which checkpoint to
    # evaluate.
    Column("trajectory_id", ForeignKey("trajectory.id", ondelete="CASCADE")),
    Column("checkpoint", SmallInteger),
    Column("delivery_id", ForeignKey("webhook_delivery.id", ondelete="CASCADE")),
    Column("first_block", Integer, nullable=False, server_default=_ZERO),
    Column("num_blocks", Integer, nullable=False, server_default=_ZERO),
    Column("queue", Text, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'queued'")),
    Column("attempt", Integer, nullable=False, server_default=_ZERO),
    Column("max_attempts", Integer, nullable=False),
    Column("lease_token", Text),
    _time("lease_expires_at"),
    Column("worker_id", Text),
    Column("rows_done", BigInteger, nullable=False, server_default=_ZERO),
    _time("available_at", nullable=False),
    _time("published_at"),
    Column("publishes", Integer, nullable=False, server_default=_ZERO),
    Column("error", JSONB),
    _time("created_at", nullable=False),
    _time("finished_at"),
    CheckConstraint("state IN ('queued', 'running', 'done', 'failed', 'cancelled')", name="state"),
    # A running unit without a lease would run for ever.
    CheckConstraint(
        "state <> 'running' OR (lease_token IS NOT NULL AND lease_expires_at IS NOT NULL)",
        name="running_has_lease",
    ),
    Index(
        "uq_work_score_block",
        "run_id",
        "first_block",
        unique=True,
        postgresql_where=text("kind = 'score'"),
    ),
    Index(
        "uq_work_evaluate_block",
        "trajectory_id",
        "checkpoint",
        "first_block",
        unique=True,
        postgresql_where=text("kind = 'evaluate'"),
    ),
    Index(
        "uq_work_select",
        "run_id",
        "subject",
        unique=True,
        postgresql_where=text("kind = 'select' AND state IN ('queued', 'running')"),
    ),
    # However many units think that they were the last, one finalise is made.
    Index("uq_work_finalise", "run_id", unique=True, postgresql_where=text("kind = 'finalise'")),
    Index("uq_work_purge", "subject", unique=True, postgresql_where=text("kind = 'purge'")),
    Index(
        "uq_work_ingest",
        "dataset_id",
        unique=True,
        postgresql_where=text("kind = 'ingest' AND state IN ('queued', 'running')"),
    ),
    Index(
        "uq_work_index",
        "dataset_id",
        unique=True,
        postgresql_where=text("kind = 'index' AND state IN ('queued', 'running')"),
    ),
    # A fine-tune is in one pair of hands at a time, however often it is paused and resumed.
    Index(
        "uq_work_fine_tune",
        "fine_tune_id",
        unique=True,
        postgresql_where=text("state IN ('queued', 'running')"),
    ),
    # Two attempts at one message are never made at the same time.
    Index(
        "uq_work_deliver",
        "delivery_id",
        unique=True,
        postgresql_where=text("state IN ('queued', 'running')"),
    ),
    Index("ix_work_delivery", "delivery_id", postgresql_where=text("delivery_id IS NOT NULL")),
    Index("ix_work_run", "run_id", "state"),
    Index("ix_work_trajectory", "trajectory_id", "state"),
    Index("ix_work_dataset", "dataset_id"),
    Index("ix_work_lease", "lease_expires_at", postgresql_where=text("state = 'running'")),
    Index("ix_work_queued", "published_at", postgresql_where=text("state = 'queued'")),
)

# Numbered per subject without a gap, by the subject's own counter (run.event_seq, and so on).
event = Table(
    "event",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("type", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("data", JSONB, nullable=False, server_default=text("'{}'")),
    _time("created_at", nullable=False),
)

# Written in the transaction of the object that the request created; status is null only inside it.
idempotency_key = Table(
    "idempotency_key",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_hash", Text, nullable=False),
    Column("status", SmallInteger),
    Column("headers", JSONB, nullable=False, server_default=text("'{}'")),
    Column("body", LargeBinary),
    _time("created_at", nullable=False),
    Index("ix_idempotency_key_created", "created_at"),
)

# Worker processes that said lately that they are there, and what they take.
worker = Table(
    "worker",
    metadata,
    Column("id", Text, primary_key=True),
    Column("queues", ARRAY(Text), nullable=False),
    Column("offers", JSONB, nullable=False, server_default=text("'[]'")),
    _time("started_at", nullable=False),
    _time("seen_at", nullable=False),
)
