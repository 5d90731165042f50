"""Fine-tuning jobs as OpenAI has them, with our own options and figures under `winnow`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

from winnow.errors import InvalidOption
from winnow.store.events import Event
from winnow.store.fine_tunes import Checkpoint, FineTune, FineTuneStatus
from winnow.store.values import ErrorInfo
from winnow.training.spec import Adapter, Auto, FineTuneSpec, TrainingDtype, TrainingTemplate
from winnow.webhooks.url import MAX_URL

OWN_OPTIONS = (
    "adapter",
    "lora_rank",
    "lora_alpha",
    "lora_dropout",
    "target_modules",
    "dtype",
    "max_length",
    "template",
    "packing",
    "gradient_checkpointing",
    "processes",
    "merge",
)
METRICS = {"fine_tune.step", "fine_tune.eval"}
LEVELS: dict[str, Literal["warn", "error"]] = {
    "fine_tune.failed": "error",
    "fine_tune.retry": "warn",
    "fine_tune.warning": "warn",
}

MetadataKey = Annotated[str, Field(max_length=64)]
MetadataValue = Annotated[str, Field(max_length=512)]


class Hyperparameters(BaseModel):
    """What OpenAI lets a user choose; `auto` until training has decided."""

    model_config = ConfigDict(extra="forbid")

    n_epochs: int | Auto = "auto"
    batch_size: int | Auto = "auto"
    learning_rate_multiplier: float | Auto = "auto"


class Supervised(BaseModel):
    """The options of supervised fine-tuning."""

    model_config = ConfigDict(extra="forbid")

    hyperparameters: Hyperparameters | None = None


class Method(BaseModel):
    """How to fine-tune: supervised is the only way here."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["supervised"] = "supervised"
    supervised: Supervised | None = None


class OwnOptions(BaseModel):
    """Options that OpenAI does not have; with its client they go into `extra_body={"winnow": {...}}`."""

    model_config = ConfigDict(extra="forbid")

    adapter: Adapter | None = Field(
        None, description="lora (default), or none: all weights are trained."
    )
    lora_rank: int | None = Field(None, description="Default: 16.")
    lora_alpha: int | None = Field(None, description="Default: 32.")
    lora_dropout: float | None = Field(None, description="Default: 0.")
    target_modules: list[str] | None = Field(
        None, max_length=64, description="Default: every linear layer but the LM head."
    )
    dtype: TrainingDtype | None = Field(
        None, description="auto (default): bfloat16 where there is hardware for it."
    )
    max_length: int | None = Field(
        None, description="Tokens of a row; default: the model's window."
    )
    template: TrainingTemplate | None = Field(
        None, description="auto (default): chat if the model has a chat template, else alpaca."
    )
    packing: bool | None = Field(None, description="Several rows in one sequence.")
    gradient_checkpointing: bool | None = Field(None, description="Less memory, more time.")
    processes: int | None = Field(None, description="Training processes on the worker's machine.")
    merge: bool | None = Field(None, description="Leave the model with its adapter merged too.")
    webhook_url: str | None = Field(
        None,
        max_length=MAX_URL,
        description="Who is told when the job is over: a signed POST, see `webhooks` in this document.",
    )


class CreateFineTune(BaseModel):
    """What `openai.fine_tuning.jobs.create` sends."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(max_length=512, description="Base model, one of GET /models.")
    training_file: str = Field(
        max_length=1024,
        description="An uploaded file, or a subset: `subset:run_...?ratio=0.1` with the options of GET /subsets.",
        examples=["file-mfrggzdfmztwq2lknnwg23tp", "subset:run_mfrggzdfmztwq2lknnwg23tp?ratio=0.1"],
    )
    validation_file: str | None = Field(
        None, max_length=64, pattern="^file-", description="An uploaded file."
    )
    method: Method | None = None
    hyperparameters: Hyperparameters | None = Field(
        None, description="Deprecated: the older place for those of `method`."
    )
    seed: int | None = None
    suffix: str | None = Field(
        None,
        max_length=64,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="Becomes a part of the name of the result.",
    )
    metadata: dict[MetadataKey, MetadataValue] | None = Field(None, max_length=16)
    integrations: list[Any] | None = None
    winnow: OwnOptions = OwnOptions()

    @field_validator("integrations")
    @classmethod
    def _no_integrations(cls, value: list[Any] | None) -> None:
        if value:
            raise ValueError("there are none here: leave it out and follow the job's events")

    def spec(self) -> FineTuneSpec:
        """The job that is asked for.

        Raises:
            InvalidOption: a value is out of range, or hyperparameters stand in two places and differ.
        """
        return FineTuneSpec.make(
            model=self.model,
            seed=self.seed,
            suffix=self.suffix,
            **self._hyperparameters(),
            **self.winnow.model_dump(include=set(OWN_OPTIONS)),
        )

    def _hyperparameters(self) -> dict[str, Any]:
        older, method = self.hyperparameters, self.method and self.method.supervised
        newer = method and method.hyperparameters
        if older and newer and older != newer:
            raise InvalidOption(
                "hyperparameters differ from those of method.supervised: give them once.",
                param="hyperparameters",
            )
        return (newer or older or Hyperparameters()).model_dump()


class JobError(BaseModel):
    """Why a job failed, and which option is to blame if one is."""

    code: str = Field(examples=["out_of_memory"])
    message: str
    param: str | None

    @classmethod
    def of(cls, error: ErrorInfo | None) -> Self | None:
        """The view of an error that was stored, if there is one."""
        if error is None:
            return None
        return cls(code=error.code, message=error.message, param=error.param)


class OwnView(BaseModel):
    """What OpenAI's shape has no place for; `waits_for` says why nothing happens, if so."""

    options: dict[str, Any]
    step: int
    total_steps: int | None
    started_at: int | None
    waits_for: str | None
    webhook_url: str | None
    links: dict[str, str]


class FineTuneView(BaseModel):
    """A fine-tuning job. Times are unix seconds; what is null is not known yet, or does not apply."""

    id: str = Field(examples=["ftjob-mfrggzdfmztwq2lknnwg23tp"])
    object: Literal["fine_tuning.job"] = "fine_tuning.job"
    status: FineTuneStatus
    model: str
    fine_tuned_model: str | None
    organization_id: str = Field(description="The owner.")
    training_file: str
    validation_file: str | None
    hyperparameters: Hyperparameters
    method: Method
    seed: int
    trained_tokens: int | None
    result_files: list[str]
    error: JobError | None
    metadata: dict[str, str] | None
    integrations: list[Any] | None = None
    user_provided_suffix: str | None
    estimated_finish: int | None
    created_at: int
    finished_at: int | None
    winnow: OwnView

    @classmethod
    def of(cls, job: FineTune, *, waits_for: str | None = None) -> Self:
        """The view of a stored job."""
        known = job.spec.as_dict() | job.hyperparameters
        hyperparameters = Hyperparameters(
            **{name: known[name] for name in Hyperparameters.model_fields}
        )
        return cls(
            id=job.id,
            status=job.status,
            model=job.spec.model,
            fine_tuned_model=job.fine_tuned_model,
            organization_id=job.owner,
            training_file=job.training_file,
            validation_file=job.validation_file,
            hyperparameters=hyperparameters,
            method=Method(supervised=Supervised(hyperparameters=hyperparameters)),
            seed=job.spec.seed,
            trained_tokens=None if job.active else job.trained_tokens,
            result_files=list(job.result_files),
            error=JobError.of(job.error),
            metadata=job.metadata or None,
            user_provided_suffix=job.spec.suffix,
            estimated_finish=_whole(job.estimated_finish),
            created_at=int(job.created_at),
            finished_at=_whole(job.finished_at),
            winnow=OwnView(
                options={name: known[name] for name in OWN_OPTIONS},
                step=job.step,
                total_steps=job.total_steps,
                started_at=_whole(job.started_at),
                waits_for=waits_for,
                webhook_url=job.webhook_url,
                links=_links(job),
            ),
        )


class OwnEvent(BaseModel):
    """The number of an event among those of its job, from 1, and what kind it is."""

    seq: int
    type: str = Field(examples=["fine_tune.step"])


class FineTuneEventView(BaseModel):
    """Something that happened to a job."""

    id: str = Field(examples=["ftevent-mfrggzdfmztwq2lknnwg23tp-7"])
    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"
    created_at: int
    level: Literal["info", "warn", "error"]
    message: str
    type: Literal["message", "metrics"]
    data: dict[str, Any]
    winnow: OwnEvent

    @classmethod
    def of(cls, event: Event, *, job_id: str) -> Self:
        """The view of a stored event."""
        return cls(
            id=f"{event_prefix(job_id)}{event.seq}",
            created_at=int(event.created_at),
            level=LEVELS.get(event.type, "info"),
            message=event.message,
            type="metrics" if event.type in METRICS else "message",
            data=event.data,
            winnow=OwnEvent(seq=event.seq, type=event.type),
        )


class CheckpointMetrics(BaseModel):
    """Losses in nats per token at the step of a checkpoint."""

    step: int
    train_loss: float | None = None
    valid_loss: float | None = None


class CheckpointView(BaseModel):
    """A checkpoint of a job, from which it goes on after a pause or a failure of its worker."""

    id: str = Field(examples=["ftckpt-mfrggzdfmztwq2lknnwg23tp"])
    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    created_at: int
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    step_number: int
    metrics: CheckpointMetrics

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Self:
        """The view of a stored checkpoint."""
        return cls(
            id=checkpoint.id,
            created_at=int(checkpoint.created_at),
            fine_tuned_model_checkpoint=f"{checkpoint.fine_tune_id}:step-{checkpoint.step}",
            fine_tuning_job_id=checkpoint.fine_tune_id,
            step_number=checkpoint.step,
            metrics=CheckpointMetrics(**(dict(checkpoint.metrics) | {"step": checkpoint.step})),
        )


def event_prefix(job_id: str) -> str:
    """What the ids of a job's events begin with; the number of the event follows."""
    return f"ftevent-{job_id.removeprefix('ftjob-')}-"


def _whole(moment: float | None) -> int | None:
    return None if moment is None else int(moment)


def _links(job: FineTune) -> dict[str, str]:
    path = f"/v1/fine_tuning/jobs/{job.id}"
    return {"self": path, "events": f"{path}/events", "checkpoints": f"{path}/checkpoints"}
