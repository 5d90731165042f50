"""What a finished job leaves: adapter or model, tokenizer, metrics.json, step_metrics.csv, and a card that says how.

The folder is complete or absent: it is written beside its place and moved there.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson
import torch

from winnow.proxy import models
from winnow.training.dataset import Encoded
from winnow.training.finite import check_weights
from winnow.training.hyperparameters import Hyperparameters
from winnow.training.job import RESULT, TrainingJob
from winnow.training.merge import merge_adapter
from winnow.training.trainer import CompletionTrainer

PACKAGES = ("winnow", "torch", "transformers", "trl", "peft")


def write_result(
    trainer: CompletionTrainer,
    folder: Path,
    *,
    job: TrainingJob,
    rows: Encoded,
    chosen: Hyperparameters,
    on_part: Callable[[], None],
) -> dict[str, Any]:
    """Write the result folder, in the first rank; its metrics.

    Raises:
        NonFiniteLoss: what was learned is not numbers, since the last update spoiled it; there is no result.
    """
    check_weights(trainer.model, job.spec)
    metrics = metrics_of(trainer, job=job, rows=rows, chosen=chosen)
    if not trainer.accelerator.is_main_process:
        return metrics
    partial = folder / f"{RESULT}.part"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    _save_weights(trainer.model, partial, job, chosen)
    on_part()
    trainer.processing_class.save_pretrained(partial)
    (partial / "metrics.json").write_bytes(orjson.dumps(metrics, option=orjson.OPT_INDENT_2))
    _write_steps(partial / "step_metrics.csv", trainer.state.log_history)
    (partial / "README.md").write_text(model_card(job, metrics), encoding="utf-8")
    if job.spec.merge:
        merged = partial / "merged"
        merge_adapter(job.base_folder, partial, merged, dtype=chosen.dtype, on_part=on_part)
    shutil.rmtree(folder / RESULT, ignore_errors=True)
    partial.replace(folder / RESULT)
    return metrics


def _save_weights(model: Any, folder: Path, job: TrainingJob, chosen: Hyperparameters) -> None:
    if job.spec.adapter == "lora":
        config = model.peft_config["default"]
        config.base_model_name_or_path = job.public_base
        model.save_pretrained(folder, save_embedding_layers=False)
    else:
        model.to(getattr(torch, chosen.dtype)).save_pretrained(folder)


def metrics_of(
    trainer: CompletionTrainer, *, job: TrainingJob, rows: Encoded, chosen: Hyperparameters
) -> dict[str, Any]:
    """What metrics.json holds: from which rows and with which options it was trained, and how it came out."""
    history = trainer.state.log_history
    losses = [entry["loss"] for entry in history if "loss" in entry]
    evaluated = [entry["eval_loss"] for entry in history if "eval_loss" in entry]
    return {
        "model": job.name,
        "base_model": job.public_base,
        "base_revision": models.revision(job.base_folder),
        "rows_used": rows.rows_used,
        "rows_rejected": rows.rows_rejected,
        "rejected_by_reason": dict(rows.rejected_by_reason),
        "answers_cut": rows.answers_cut,
        "steps": trainer.state.global_step,
        "trained_tokens": rows.num_tokens * chosen.n_epochs,
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "eval_loss": evaluated[-1] if evaluated else None,
        "hyperparameters": _hyperparameters(job, chosen),
        "versions": {package: version(package) for package in PACKAGES},
    }


def _hyperparameters(job: TrainingJob, chosen: Hyperparameters) -> dict[str, Any]:
    lora = ("lora_rank", "lora_alpha", "lora_dropout", "target_modules")
    options = ("seed", "adapter", *(lora if job.spec.adapter == "lora" else ()), "packing")
    return chosen.as_dict() | {name: getattr(job.spec, name) for name in options}


def _write_steps(path: Path, history: list[dict[str, Any]]) -> None:
    """A line for each step, with the validation loss where there is one."""
    evaluated = {entry["step"]: entry["eval_loss"] for entry in history if "eval_loss" in entry}
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["step", "train_loss", "learning_rate", "valid_loss"])
        for entry in history:
            if "loss" in entry:
                valid = evaluated.get(entry["step"], "")
                lines.writerow([entry["step"], entry["loss"], entry["learning_rate"], valid])


def model_card(job: TrainingJob, metrics: Mapping[str, Any]) -> str:
    """README.md: what the model is, from which rows, how it was trained and how it came out."""
    is_adapter = job.spec.adapter == "lora"
    library = "peft" if is_adapter else "transformers"
    what = "A LoRA adapter of" if is_adapter else "A fine-tune of all weights of"
    header = {"base_model": job.public_base, "library_name": library}
    summary = (
        f"{what} `{job.public_base}` (revision `{metrics['base_revision']}`), made by Winnow. The loss was taken on "
        "the answers only, their end included."
    )
    figures = (
        *("rows_used", "rows_rejected", "answers_cut", "steps", "trained_tokens"),
        *("first_loss", "last_loss"),
    )
    parts = [
        _front_matter(header | {"pipeline_tag": "text-generation"}),
        f"# {job.name}\n\n{summary}\n",
        _table("Where the rows come from", job.provenance),
        _table("How it was trained", metrics["hyperparameters"]),
        _table(
            "How it came out",
            {name: metrics[name] for name in figures}
            | {f"rejected: {reason}": n for reason, n in metrics["rejected_by_reason"].items()}
            | ({} if metrics["eval_loss"] is None else {"eval_loss": metrics["eval_loss"]}),
        ),
        _table("Versions", metrics["versions"]),
    ]
    return "\n".join(part for part in parts if part)


def _front_matter(values: Mapping[str, str]) -> str:
    lines = [f"{name}: {orjson.dumps(value).decode()}" for name, value in values.items()]
    return "\n".join(["---", *lines, "---", ""])


def _table(title: str, values: Mapping[str, Any]) -> str:
    if not values:
        return ""
    rows = [f"| {name} | {_cell(value)} |" for name, value in values.items()]
    return "\n".join([f"## {title}", "", "| | |", "|---|---|", *rows, ""])


def _cell(value: object) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return " ".join(text.split()).replace("|", "\\|")
