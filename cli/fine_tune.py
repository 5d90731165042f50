"""`winnow fine-tune`: from a file or a subset to an adapter, on a running service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import typer

from cli import options
from winnow.errors import InvalidOption

RUN_PREFIX = "run_"
SUBSET_SCHEME = "subset:"
FILE_PREFIX = "file-"

ResultFolder = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FOLDER", help="Write the adapter or model into this new folder."
    ),
]


def fine_tune(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    source: Annotated[
        str,
        typer.Argument(
            metavar="DATA|RUN",
            help="A file to upload, a run of the service (with --ratio or --count), or subset:RUN?ratio=0.1.",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(help="Base model, one that the service offers; default: its first."),
    ] = None,
    ratio: options.Ratio = None,
    count: options.Count = None,
    strategy: options.Strategy = None,
    validation: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Report the loss on these rows too.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Times that every row is seen.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows of a step.")] = None,
    learning_rate_multiplier: Annotated[
        float | None, typer.Option(help="Scales the rate that the model and adapter call for.")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Train all weights instead of an adapter.")
    ] = False,
    lora_rank: Annotated[int | None, typer.Option(help="Rank of the adapter; default: 16.")] = None,
    lora_alpha: Annotated[int | None, typer.Option(help="Its scale; default: 32.")] = None,
    lora_dropout: Annotated[float | None, typer.Option(help="Its dropout; default: 0.")] = None,
    target_modules: Annotated[
        str | None,
        typer.Option(help="Layers it changes, separated by commas; default: every linear one."),
    ] = None,
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16"] | None, typer.Option(help="Number format.")
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(help="Tokens of a row; default: the model's window.")
    ] = None,
    template: Annotated[
        Literal["auto", "plain", "alpaca", "chat"] | None,
        typer.Option(help="How a prompt is written out."),
    ] = None,
    packing: Annotated[
        bool, typer.Option("--packing", help="Put several rows into one sequence.")
    ] = False,
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Less memory, more time.")
    ] = False,
    processes: Annotated[
        int | None, typer.Option(help="Training processes on the worker's machine.")
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Leave the model with its adapter merged too.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Seed of the training.")] = None,
    suffix: Annotated[str | None, typer.Option(help="A part of the name of the result.")] = None,
    output: ResultFolder = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Follow the job until it ends.")
    ] = True,
    url: options.ServerUrl = options.DEFAULT_URL,
    api_key: options.ApiKey = None,
) -> None:
    """Fine-tune a model on a file or on a subset, on a running service (`winnow serve`).

    Examples:
      winnow fine-tune subset.jsonl -o adapter
      winnow fine-tune run_... --ratio 0.1 --epochs 2 --merge -o model
    """
    from cli.follow import follow
    from cli.report import say
    from winnow.client import Client
    from winnow.client.fine_tunes import check_new_folder

    chosen = options.given(ratio=ratio, count=count, strategy=strategy)
    given: dict[str, Any] = options.given(
        n_epochs=epochs,
        batch_size=batch_size,
        learning_rate_multiplier=learning_rate_multiplier,
        adapter="none" if full else None,
        lora_rank=lora_rank,
        lora_alpha=lora_alpha,
        lora_dropout=lora_dropout,
        target_modules=None if target_modules is None else target_modules.split(","),
        dtype=dtype,
        max_length=max_length,
        template=template,
        packing=packing or None,
        gradient_checkpointing=gradient_checkpointing or None,
        processes=processes,
        merge=merge or None,
        seed=seed,
        suffix=suffix,
    )
    if output is not None:
        if not wait:
            raise InvalidOption("-o needs the end of the job: leave --no-wait out.", param="output")
        check_new_folder(output)
    with Client(url, api_key) as client:
        job = client.fine_tune(
            model=model, validation=validation, **_training_data(source, chosen), **given
        )
        say(f"{job.id}: {job.model} on {job.training_file}")
        if wait:
            follow(client, job.id, output)
        else:
            say(f"follow it with: winnow jobs follow {job.id}")


def _training_data(source: str, chosen: dict[str, Any]) -> dict[str, Any]:
    """What the client is told to train on.

    Raises:
        InvalidOption: a run without a choice of rows, or a choice of rows from something else.
    """
    if source.startswith(RUN_PREFIX) and not Path(source).exists():
        if not chosen:
            raise InvalidOption("Say how much of the run with --ratio or --count.", param="ratio")
        return {"training_file": f"{SUBSET_SCHEME}{source}?{urlencode(chosen)}"}
    if chosen:
        raise InvalidOption(
            "--ratio, --count and --strategy choose rows of a run; a file is used whole.",
            param="ratio",
        )
    if source.startswith((SUBSET_SCHEME, FILE_PREFIX)) and not Path(source).exists():
        return {"training_file": source}
    return {"data": Path(source)}
