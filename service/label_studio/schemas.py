"""Label Studio's protocol for ML backends and its webhooks, as 1.23 speaks them.

Only what is used is read. `/setup` carries a token of Label Studio's and `/predict` the credentials of its task data:
they have no field here, so they go no further than the body they came in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self, TypeVar

from fastapi import Request
from pydantic import BaseModel, Field

from service.body import located_in_body
from winnow.errors import InputError, TooLarge
from winnow.labelling.label_config import LabelConfig
from winnow.labelling.prediction import Choice, Prediction
from winnow.records.json_text import MalformedJson, parse_json

MAX_SETUP_BYTES = 2 << 20
MAX_EVENT_BYTES = 16 << 20
MAX_TASKS_BYTES = 32 << 20
MAX_TASKS = 50_000

Asked = TypeVar("Asked", bound=BaseModel)


async def read_body(request: Request, *, max_bytes: int) -> bytes:
    """The whole body.

    Raises:
        TooLarge: it is longer than `max_bytes`.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise TooLarge(f"The body may have {max_bytes} bytes; send less at a time.")
    return bytes(body)


def parse(body: bytes, kind: type[Asked]) -> Asked:
    """A body of JSON, lone surrogates and long integers included.

    Raises:
        InputError: it is no JSON.
        RequestValidationError: it is not of this kind.
    """
    try:
        value = parse_json(body)
    except MalformedJson as error:
        raise InputError(f"The body cannot be read: {error}.") from error
    with located_in_body():
        return kind.model_validate(value)


class SetupRequest(BaseModel):
    """What `/setup` is told of a project."""

    label_config: str = Field("", alias="schema")


class PredictRequest(BaseModel):
    """Tasks, as `{"id", "data"}`, and the configuration of their project. A task of another shape matches no row."""

    tasks: list[Any] = Field(max_length=MAX_TASKS)
    label_config: str = ""

    def config(self) -> LabelConfig:
        """The configuration; a single choice if none was sent."""
        return LabelConfig.parse(self.label_config) if self.label_config else LabelConfig.plain()


class HealthView(BaseModel):
    """The backend is there."""

    status: Literal["UP"] = "UP"
    model_class: Literal["Winnow"] = "Winnow"


class SetupView(BaseModel):
    """What Label Studio calls the predictions from now on."""

    model_version: str


class VersionsView(BaseModel):
    """The one version that there is."""

    versions: list[str]


class Explanation(BaseModel):
    """Where a prediction comes from. Label Studio does not keep it."""

    run: str | None = Field(None, description="The run that scored the task.")
    row: int | None = Field(None, description="The row of it that the task is.")
    matched_by: Literal["content", "row", "id"] | None = None
    checked: bool = Field(
        default=False,
        description="Whether prompt and answer of the task are those of the row. A task without them is matched by the "
        "number or id alone.",
    )
    choice: Choice | None = None
    values: dict[str, Any] = Field(
        default={}, description="Raw values: the score, losses, tokens, flags, or a reason."
    )
    why: str | None = Field(None, description="Why there is no prediction, if so.")


class TaskPrediction(BaseModel):
    """What is said of one task: regions for the controls that fit, and a score in [0, 1] to sort by."""

    result: list[dict[str, Any]]
    score: float | None
    model_version: str
    winnow: Explanation

    @classmethod
    def of(
        cls, prediction: Prediction, config: LabelConfig, explanation: Explanation, *, version: str
    ) -> Self:
        """The prediction in the controls of a project. Where nothing is known to choose by, no choice is made."""
        result = config.result(prediction)
        if explanation.choice is None:
            result = [region for region in result if region["type"] != "choices"]
        return cls(result=result, score=prediction.score, model_version=version, winnow=explanation)

    @classmethod
    def none(cls, why: str, *, version: str) -> Self:
        """No prediction. `version` still has to be text."""
        return cls(result=[], score=None, model_version=version, winnow=Explanation(why=why))


class PredictionsView(BaseModel):
    """As many results as there were tasks, in their order."""

    results: list[TaskPrediction]


def data_of(task: object) -> Mapping[str, Any]:
    """The fields of a task; none if it has another shape."""
    data = task.get("data") if isinstance(task, Mapping) else None
    return data if isinstance(data, Mapping) else {}
