"""What a backend's URL names: a run or a model, and how its tasks are to be read.

    /label-studio/run_mfrggzdfmztwq2lknnwg23tp                      a run
    /label-studio/winnow-mini     /label-studio/org/name@revision   a model
    /label-studio/run_mfrg.../prompt=ask&answer=reply               with options

Label Studio 1.23 joins its paths to the URL with `urljoin`, which loses a query on the way. Hence options are the last
segment of the path, written like a query. Where a URL is called as it stands, a webhook's say, a query does as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.proxies import check_allowed, check_scorable, local_revision
from service.resources import Resources
from service.runs.results import refuse_dry_run
from service.subsets.schemas import Ratio
from winnow.labelling.label_config import LabelConfig
from winnow.labelling.prediction import DEFAULT_RATIO
from winnow.labelling.task_fields import TaskFields
from winnow.settings import Settings
from winnow.store.runs import get_run
from winnow.training.names import is_fine_tuned

RUN_PREFIX = "run_"
MAX_FIELD_CHARS = 200


class TargetOptions(BaseModel):
    """How tasks are read, and which rows are worth keeping."""

    model_config = ConfigDict(extra="forbid")

    prompt: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_FIELD_CHARS,
        description="The task's field with the prompt; default: found by the labelling configuration and its name.",
    )
    input: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_FIELD_CHARS,
        description="The field with what the prompt is about.",
    )
    answer: str | None = Field(
        None, min_length=1, max_length=MAX_FIELD_CHARS, description="The field with the answer."
    )
    ratio: Ratio = Field(
        DEFAULT_RATIO,
        description="Of a run: the hardest part of its rows is `keep`, the rest `drop`.",
    )
    threshold: float | None = Field(
        None,
        allow_inf_nan=False,
        description="The easiest score that is `keep`, instead of a ratio. A model knows no other rows, so without it "
        "no task is `keep` or `drop`.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A run or a model by its name, and the options of the URL."""

    name: str
    options: TargetOptions

    @property
    def is_run(self) -> bool:
        """Whether it is a run."""
        return self.name.startswith(RUN_PREFIX)

    def fields(self, config: LabelConfig) -> TaskFields:
        """Where the tasks of a project have their prompts and answers."""
        named = self.options.model_dump(include={"prompt", "input", "answer"})
        return TaskFields.find(config.fields, **named)

    def check(self, resources: Resources, *, owner: str) -> None:
        """Refuse what the owner cannot have predictions of.

        Raises:
            NotFound: the owner has no such run, or no such fine-tuned model.
            RunNotUsable: a dry run.
            ModelNotAllowed: not a model of this installation.
        """
        if not self.is_run:
            check_scorable(self.name, resources, owner=owner, param="target")
            return
        with resources.database.transaction() as connection:
            run = get_run(connection, owner=owner, run_id=self.name)
        refuse_dry_run(run, param="target")

    def version(self, settings: Settings) -> str:
        """What predictions are known by in Label Studio: the run's id, or the model and which files it has.

        Raises:
            ModelNotAllowed: not a model of this installation; only the folders of those are looked into.
        """
        if self.is_run or is_fine_tuned(self.name):
            return self.name
        check_allowed(self.name, settings, param="target")
        revision = local_revision(self.name)
        return self.name if revision is None else f"{self.name}@{revision[:12]}"


async def _named(
    request: Request,
    target: Annotated[
        str,
        Path(
            description="A run's id or a model's name; then, if need be, `/` and options: "
            "`run_.../prompt=ask&answer=reply`.",
            examples=["run_mfrggzdfmztwq2lknnwg23tp"],
        ),
    ],
    query: Annotated[TargetOptions, Query()],
) -> Target:
    name, given = _split(target.rstrip("/"))
    try:
        options = TargetOptions(**given | query.model_dump(exclude_unset=True))
    except ValidationError as error:
        located = [{**entry, "loc": ("path", *entry["loc"])} for entry in error.errors()]
        raise RequestValidationError(located) from error
    models: Sequence[str] = request.state.resources.settings.models
    # Label Studio drops the empty segment in front of a folder's name.
    folder = f"/{name}"
    return Target(name=folder if folder in models else name, options=options)


def _split(target: str) -> tuple[str, dict[str, str]]:
    """Name and options. A model may have any name, a run none with a slash: so its misspelt options are seen."""
    name, slash, last = target.rpartition("/")
    given = dict(parse_qsl(last, keep_blank_values=True))
    known = given.keys() <= TargetOptions.model_fields.keys()
    if slash and given and (known or name.startswith(RUN_PREFIX)):
        return name, given
    return target, {}


NamedTarget = Annotated[Target, Depends(_named)]
