"""`winnow label-studio`: rows to annotators with the hardest first, and what they made of them back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli import options
from winnow.errors import InvalidOption
from winnow.spec import Method

if TYPE_CHECKING:
    from winnow.client.label_studio import LabelStudio, Project
    from winnow.labelling.label_config import LabelConfig
    from winnow.labelling.task_fields import TaskFields

app = typer.Typer(
    name="label-studio",
    help="Send rows to a Label Studio, fetch what annotators made of them, make up for lost webhooks.",
    no_args_is_help=True,
)

PROJECT = "Label Studio"
WINNOW = "Winnow service"
FIRST_TASKS = 100
"""So many tasks decide whether a project shows what the records have."""

Url = Annotated[
    str,
    typer.Option(
        envvar="LABEL_STUDIO_URL", help="Address of Label Studio.", rich_help_panel=PROJECT
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        envvar="LABEL_STUDIO_API_KEY",
        help="Access token of an account there; better in the environment, where no list of processes shows it.",
        rich_help_panel=PROJECT,
        show_default=False,
    ),
]
ProjectId = Annotated[
    int,
    typer.Option(
        "--project",
        min=1,
        help="Number of the project, as in its address.",
        rich_help_panel=PROJECT,
    ),
]
PromptField = Annotated[
    str | None,
    typer.Option(
        "--prompt", help="Field of the tasks that shows the prompt, if its name does not tell."
    ),
]
AnswerField = Annotated[
    str | None,
    typer.Option(
        "--answer", help="Field of the tasks that shows the answer, if its name does not tell."
    ),
]
InputField = Annotated[
    str | None,
    typer.Option("--input", help="Field of the tasks that shows the input, if there is one."),
]
WinnowUrl = Annotated[
    str,
    typer.Option(envvar="WINNOW_URL", help="Address of the service.", rich_help_panel=WINNOW),
]
WinnowKey = Annotated[
    str | None,
    typer.Option(
        envvar="WINNOW_API_KEY",
        help="Key for it; an embedded one needs none.",
        rich_help_panel=WINNOW,
    ),
]


@app.command()
def push(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    source: Annotated[
        str,
        typer.Argument(
            metavar="SCORES|RUN",
            help="A file that --scores wrote (.jsonl, .csv, .parquet), or the id of a service's run.",
        ),
    ],
    url: Url,
    project_id: ProjectId,
    token: Token = None,
    order: Annotated[
        Literal["original", "hardest"],
        typer.Option(help="Order in which tasks are made, which annotators get them in."),
    ] = "original",
    ratio: Annotated[
        float | None,
        typer.Option(help="Only the rows that a subset of this ratio has; default: every row."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The dataset that a scores file belongs to.")
    ] = None,
    method: Annotated[
        Method | None,
        typer.Option(help="What a scores file measures; default: ifd if each row has two losses."),
    ] = None,
    prompt: PromptField = None,
    answer: AnswerField = None,
    input_field: InputField = None,
    input_format: options.InputFormat = "auto",
    winnow_url: WinnowUrl = options.DEFAULT_URL,
    api_key: WinnowKey = None,
) -> None:
    """Make tasks with predictions of scored rows; what is there already is not made again.

    Examples:
      winnow label-studio push run_... --url http://127.0.0.1:8080 --project 1 --order hardest
      winnow label-studio push scores.jsonl --data data.jsonl --url http://127.0.0.1:8080 --project 1
    """
    from cli import report
    from cli.labelled import tasks_of_run, tasks_of_scores
    from cli.progress import row_progress
    from cli.select import RUN_PREFIX, require_data
    from winnow.client.label_studio_push import push as push_tasks
    from winnow.labelling.fitted import check_shown, fit
    from winnow.labelling.task_file import hardest_first, read_tasks

    of_run = source.startswith(RUN_PREFIX) and not Path(source).exists()
    if of_run:
        tasks = tasks_of_run(source, ratio=ratio, url=winnow_url, api_key=api_key)
    else:
        tasks = tasks_of_scores(
            Path(source), require_data(data), ratio=ratio, method=method, input_format=input_format
        )
    names = {"prompt": prompt, "answer": answer, "input": input_field}
    with (
        _opened(url, token, project_id, names) as (studio, project, config, fields),
        tasks as (pieces, model_version),
        row_progress("pushing") as advance,
    ):
        elements = read_tasks(pieces)
        ordered = hardest_first(elements) if order == "hardest" else elements
        fitted = (fit(element, config, fields) for element in ordered)
        first = list(islice(fitted, FIRST_TASKS))
        check_shown(first, config, project=_name(project))
        pushed = push_tasks(
            studio,
            project,
            chain(first, fitted),
            model_version=model_version,
            fields=fields,
            on_tasks=lambda done: advance(done, None),
        )
    report.say(
        f"{_name(project)}: {pushed.created:,} tasks made, {pushed.predicted:,} predictions added to tasks "
        f"that were there, {pushed.known:,} there already"
    )


@app.command()
def pull(
    url: Url,
    project_id: ProjectId,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE.jsonl",
            help="Write a record for each annotated task here.",
        ),
    ],
    token: Token = None,
    score: Annotated[
        bool,
        typer.Option(
            "--score",
            help="Score the records: by the service that --winnow-url names, else on this machine, into "
            "FILE.scores.jsonl.",
        ),
    ] = False,
    prompt: PromptField = None,
    answer: AnswerField = None,
    input_field: InputField = None,
    winnow_url: Annotated[
        str | None,
        typer.Option(envvar="WINNOW_URL", help="Address of the service.", rich_help_panel=WINNOW),
    ] = None,
    api_key: WinnowKey = None,
) -> None:
    """Fetch annotated tasks as a dataset: records with the texts as edited, and what was chosen as fields.

    Example:
      winnow label-studio pull --url http://127.0.0.1:8080 --project 1 -o annotated.jsonl --score
    """
    from cli import report
    from cli.labelled import score_file, write_annotated
    from cli.output import STDOUT, check_writable, format_of

    format_of(output, ("jsonl",), param="--output")
    check_writable(output, inputs=(), param="--output")
    if score and output == STDOUT:
        raise InvalidOption("--score reads what --output wrote: name a file.", param="score")
    names = {"prompt": prompt, "answer": answer, "input": input_field}
    with _opened(url, token, project_id, names) as (studio, project, config, fields):
        pulled = write_annotated(output, studio, project, config, fields)
    report.say(
        f"{_name(project)}: {pulled.records:,} annotated tasks in {output}, {pulled.edited:,} of them edited"
    )
    if score and pulled.records:
        score_file(output, url=winnow_url, api_key=api_key)


@app.command()
def reconcile(
    target: Annotated[
        str, typer.Argument(metavar="RUN|MODEL", help="What the webhook's address names.")
    ],
    url: Url,
    project_id: ProjectId,
    token: Token = None,
    prompt: PromptField = None,
    answer: AnswerField = None,
    input_field: InputField = None,
    winnow_url: WinnowUrl = options.DEFAULT_URL,
    api_key: WinnowKey = None,
) -> None:
    """Hand the service every annotation that counts; those that a lost webhook missed are scored, the others known.

    Example:
      winnow label-studio reconcile run_... --url http://127.0.0.1:8080 --project 1
    """
    from collections import Counter

    from cli import report
    from cli.progress import row_progress
    from winnow.client import Client
    from winnow.client.label_studio_events import annotation_events

    names = options.given(prompt=prompt, answer=answer, input=input_field)
    counts: Counter[str] = Counter()
    with (
        _connected(url, token) as studio,
        Client(winnow_url, api_key) as client,
        row_progress("reconciling") as advance,
    ):
        project = studio.project(project_id)
        for event in annotation_events(studio, project):
            answered = client.send_annotations(target, event, **names)
            counts.update(
                {name: answered[name] for name in ("queued", "known", "unchanged", "ignored")}
            )
            advance(counts.total(), None)
    report.say(
        f"{_name(project)}: {counts.total():,} annotations; {counts['queued']:,} had been missed and are scored now, "
        f"{counts['known']:,} known, {counts['unchanged']:,} without another answer, {counts['ignored']:,} not usable"
    )


@contextmanager
def _opened(
    url: str, token: str | None, project_id: int, names: dict[str, str | None]
) -> Iterator[tuple[LabelStudio, Project, LabelConfig, TaskFields]]:
    """A project, and how its configuration is to be read."""
    from winnow.labelling.label_config import LabelConfig
    from winnow.labelling.task_fields import TaskFields

    with _connected(url, token) as studio:
        project = studio.project(project_id)
        config = LabelConfig.parse(project.label_config)
        yield studio, project, config, TaskFields.find(config.fields, **names)


def _connected(url: str, token: str | None) -> LabelStudio:
    from winnow.client.label_studio import LabelStudio

    if token is None:
        raise InvalidOption(
            "Label Studio wants a token: put it into LABEL_STUDIO_API_KEY, or give --token.",
            param="token",
        )
    return LabelStudio(url, token)


def _name(project: Project) -> str:
    return f"project {project.id} ({project.title})"
