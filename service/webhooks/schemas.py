"""How secrets, receivers and messages look over HTTP, and how a message looks to its receiver."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, Field

from service.datasets.schemas import ErrorView
from service.fine_tuning.schemas import JobError
from service.runs.schemas import RunCounts
from winnow.spec import Method
from winnow.store.webhook_secrets import SecretInfo
from winnow.store.webhooks import Delivery, DeliveryStatus, DisabledReason, Endpoint
from winnow.webhooks.message import MessageType


class SecretView(BaseModel):
    """What signs your messages: hints are how a secret begins. Times are unix seconds."""

    object: Literal["webhook.secret"] = "webhook.secret"
    hint: str = Field(examples=["whsec_MfKQ"])
    created_at: int
    previous_hint: str | None = Field(description="The secret before a rotation, while it signs.")
    previous_expires_at: int | None

    @classmethod
    def of(cls, info: SecretInfo) -> Self:
        """The view of what may be shown."""
        return cls(
            hint=info.hint,
            created_at=int(info.created_at),
            previous_hint=info.previous_hint,
            previous_expires_at=_whole(info.previous_expires_at),
        )


class NewSecretView(SecretView):
    """A new secret, which is shown this once."""

    secret: str = Field(examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])


class EndpointView(BaseModel):
    """A receiver of yours, known from its first message that was taken or given up. Times are unix seconds."""

    id: str = Field(examples=["whep_mfrggzdfmztwq2lknnwg23tp"])
    object: Literal["webhook.endpoint"] = "webhook.endpoint"
    url: str
    status: Literal["enabled", "disabled"]
    disabled_reason: DisabledReason | None = Field(
        description="gone: it answered 410. failing: a message used up its attempts, and it took no other meanwhile."
    )
    disabled_at: int | None
    delivered_at: int | None = Field(description="When it last took a message.")
    created_at: int

    @classmethod
    def of(cls, endpoint: Endpoint) -> Self:
        """The view of a stored receiver."""
        return cls(
            id=endpoint.id,
            url=endpoint.url,
            status="enabled" if endpoint.disabled_at is None else "disabled",
            disabled_reason=endpoint.disabled_reason,
            disabled_at=_whole(endpoint.disabled_at),
            delivered_at=_whole(endpoint.delivered_at),
            created_at=int(endpoint.created_at),
        )


class AttemptView(BaseModel):
    """One attempt: the status of the answer, or why there is none. What a receiver answers is not kept."""

    at: float = Field(description="Unix seconds; the `webhook-timestamp` of the attempt.")
    seconds: float
    status_code: int | None
    error: str | None = Field(
        examples=["timeout"],
        description="timeout, connection_failed, address_closed or endpoint_disabled, or what a worker failed of.",
    )
    detail: str | None


class DeliveryView(BaseModel):
    """A message to a receiver; `id` is its `webhook-id`. Times are unix seconds."""

    id: str = Field(examples=["msg_mfrggzdfmztwq2lknnwg23tp"])
    object: Literal["webhook.delivery"] = "webhook.delivery"
    subject: str = Field(examples=["run_mfrggzdfmztwq2lknnwg23tp"])
    type: MessageType
    url: str
    status: DeliveryStatus
    attempts: list[AttemptView]
    next_attempt_at: int | None
    created_at: int
    finished_at: int | None

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        """The view of a stored message."""
        return cls.model_validate(_columns(delivery))


class WholeDeliveryView(DeliveryView):
    """A message with the bytes that every attempt sends and signs."""

    body: str


class _Message(BaseModel):
    timestamp: AwareDatetime = Field(description="When it was over.")


class RunOver(BaseModel):
    """A run that is over: fields of `GET /runs/{run_id}`. In a message above 20 kB some are left out."""

    id: str
    object: Literal["run"]
    status: Literal["completed", "failed", "cancelled"]
    created_at: int
    finished_at: int
    started_at: int | None = None
    name: str | None = None
    dataset: str | None = None
    method: Method | None = None
    model: str | None = None
    revision: str | None = None
    trajectory: str | None = None
    counts: RunCounts | None = None
    summary: dict[str, Any] | None = None
    dry_run: bool | None = None
    warnings: list[str] | None = None
    error: ErrorView | None = None


class RunMessage(_Message):
    """A run is over."""

    type: Literal["run.completed", "run.failed", "run.cancelled"]
    data: RunOver


class FineTuneOver(BaseModel):
    """A job that is over: fields of `GET /v1/fine_tuning/jobs/{job_id}`. In a message above 20 kB some are left out."""

    id: str
    object: Literal["fine_tuning.job"]
    status: Literal["succeeded", "failed", "cancelled"]
    created_at: int
    finished_at: int
    model: str | None = None
    fine_tuned_model: str | None = None
    training_file: str | None = None
    validation_file: str | None = None
    trained_tokens: int | None = None
    result_files: list[str] | None = None
    error: JobError | None = None
    metadata: dict[str, str] | None = None


class FineTuneMessage(_Message):
    """A fine-tuning job is over."""

    type: Literal["fine_tune.succeeded", "fine_tune.failed", "fine_tune.cancelled"]
    data: FineTuneOver


def _columns(delivery: Delivery) -> dict[str, Any]:
    whole = {
        name: _whole(getattr(delivery, name))
        for name in ("next_attempt_at", "created_at", "finished_at")
    }
    return asdict(delivery) | whole


def _whole(moment: float | None) -> int | None:
    return None if moment is None else int(moment)
