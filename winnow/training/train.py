"""One training job from its folder to its result: load, encode, settle, train on, write."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from peft import LoraConfig
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PrinterCallback
from transformers.pytorch_utils import Conv1D
from trl import SFTConfig

from winnow.errors import InvalidOption, OutOfMemory, TrainingDied
from winnow.proxy.tokenizer import HFTokenizer
from winnow.proxy.torch_model import load_model
from winnow.proxy.window import positions
from winnow.spec import Template
from winnow.training.alive import Pulse
from winnow.training.dataset import Encoded, encode_file, open_dataset
from winnow.training.events import Done, Prepared, Stopped, TrainingEvent
from winnow.training.hyperparameters import (
    WARMUP_SHARE,
    Hyperparameters,
    RateChoice,
    is_tried,
    resolve,
)
from winnow.training.job import (
    CHECKPOINTS,
    RATE_FILE,
    TRAIN_FILE,
    VALIDATION_FILE,
    TrainingJob,
    checkpoints,
)
from winnow.training.keep import Keeper
from winnow.training.learning_rate import Sample, choose_rate
from winnow.training.reporting import Reporter
from winnow.training.result import metrics_of, write_result
from winnow.training.spec import FineTuneSpec
from winnow.training.stop import StopRequest
from winnow.training.trainer import CompletionTrainer, is_out_of_memory, keeps_rows_apart
from winnow.trajectory import planned

CPU_TOKENS, CUDA_TOKENS = 2048, 16384
"""Tokens of a micro-batch. A GPU that has not the memory for so many is given half of them, and so on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    train: Encoded
    validation: Encoded | None


def train(
    folder: Path, *, say: Callable[[TrainingEvent], None], stop: StopRequest, threads: int
) -> Done | Stopped:
    """Train the job of a folder from its newest checkpoint on; every rank calls it.

    `threads` is how many all ranks may compute with together.

    Raises:
        TrainingDied: another worker may be able to go on with it.
        WinnowError: for a reason that the user can change; the message says what.
        StopAsked: before training began.
    """
    try:
        return _train(folder, say=say, stop=stop, threads=threads)
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise OutOfMemory from error
        raise


def _train(
    folder: Path, *, say: Callable[[TrainingEvent], None], stop: StopRequest, threads: int
) -> Done | Stopped:
    job = TrainingJob.read(folder)
    _check_devices(job.spec, threads)
    process = PartialState(cpu=not torch.cuda.is_available())
    dtype = _dtype(job)
    alive = Pulse(say)
    model = _load_base(job, dtype)
    tokenizer = AutoTokenizer.from_pretrained(
        job.base_folder, local_files_only=True, trust_remote_code=False
    )
    template, window = _template(job.spec, tokenizer), _window(job.spec, model)
    rows = [_encode(folder, job, template, window, alive) if process.is_main_process else None]
    encoded: _Rows = broadcast_object_list(rows)[0]
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    settled = resolve(
        job.spec,
        num_sequences=encoded.train.num_sequences,
        num_parameters=num_parameters,
        dtype=dtype,
        template=template,
        max_length=window,
    )
    tried = is_tried(job.spec, num_parameters)
    chosen = _with_rate(folder, settled, job.spec, model, alive) if tried else settled
    newest = max(checkpoints(folder), default=0)
    say(_prepared(encoded, chosen, newest))
    trainer = CompletionTrainer(
        model=model,
        args=_arguments(folder, job.spec, chosen),
        train_dataset=open_dataset(_arrow(folder, TRAIN_FILE)),
        validation=open_dataset(_arrow(folder, VALIDATION_FILE)) if encoded.validation else None,
        processing_class=tokenizer,
        peft_config=_lora(job.spec, model) if job.spec.adapter == "lora" else None,
        token_budget=CUDA_TOKENS if torch.cuda.is_available() else CPU_TOKENS,
        packing=job.spec.packing,
        on_batch=alive,
    )
    keeper = _keeper(folder, chosen, job.spec, tokenizer, say)
    keeper.resume(newest)
    reporter = Reporter(
        folder=folder,
        spec=job.spec,
        choice=chosen.rate_choice,
        keeper=keeper,
        steps_per_epoch=chosen.total_steps // chosen.n_epochs,
        evaluates=encoded.validation is not None,
        say=say,
        stop=stop,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(reporter)
    stop.deferred = True
    trainer.train(resume_from_checkpoint=str(checkpoints(folder)[newest]) if newest else None)
    if reporter.stopped:
        return Stopped(step=trainer.state.global_step)
    if job.spec.points:
        metrics = metrics_of(trainer, job=job, rows=encoded.train, chosen=chosen)
    else:
        metrics = write_result(
            trainer,
            folder,
            job=job,
            rows=encoded.train,
            chosen=chosen,
            on_part=partial(alive, "merge"),
        )
    return Done(trained_tokens=metrics["trained_tokens"], metrics=metrics)


def _check_devices(spec: FineTuneSpec, threads: int) -> None:
    has_gpu = torch.cuda.is_available()
    most, what = (torch.cuda.device_count(), "GPUs") if has_gpu else (threads, "threads")
    if spec.processes > most:
        raise InvalidOption(
            f"processes={spec.processes} needs as many {what}, and this worker has {most}. Give at most {most}.",
            param="processes",
        )


def _dtype(job: TrainingJob) -> Literal["float32", "bfloat16"]:
    spec = job.spec
    able = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    if job.dtype == "bfloat16" and not able:
        raise TrainingDied(
            "The job was begun in bfloat16, which this worker does not compute in. Give every training worker a GPU "
            "that does, or start the job again with dtype=float32."
        )
    if job.dtype is not None:
        return job.dtype
    if spec.dtype == "bfloat16" and not able:
        raise InvalidOption(
            "dtype=bfloat16 needs a GPU that computes in it, and this worker has none. Use dtype=auto.",
            param="dtype",
        )
    if spec.dtype == "auto":
        return "bfloat16" if able else "float32"
    return spec.dtype


def _load_base(job: TrainingJob, dtype: Literal["float32", "bfloat16"]) -> Any:
    # LoRA leaves the base alone, so it may be as coarse as it computes; weights that learn stay float32.
    coarse = dtype == "bfloat16" and job.spec.adapter == "lora"
    model = load_model(job.base_folder, torch.bfloat16 if coarse else torch.float32)
    if job.spec.packing and not keeps_rows_apart(model):
        raise InvalidOption(
            f"{job.spec.model} cannot keep the rows of a packed sequence apart: its attention would read across "
            "them. Use packing=false.",
            param="packing",
        )
    # PEFT would look the name up on the hub at every checkpoint.
    model.name_or_path = ""
    return model.requires_grad_(requires_grad=True)


def _template(spec: FineTuneSpec, tokenizer: PreTrainedTokenizerBase) -> Template:
    if spec.template == "auto":
        return "chat" if tokenizer.chat_template else "alpaca"
    return spec.template


def _window(spec: FineTuneSpec, model: Any) -> int:
    window = positions(model.config)
    if spec.points:
        return min(window, spec.max_length or window)
    if spec.max_length is not None and spec.max_length > window:
        raise InvalidOption(
            f"max_length {spec.max_length} is more than the {window} tokens of {spec.model}.",
            param="max_length",
        )
    return spec.max_length or window


def _encode(folder: Path, job: TrainingJob, template: Template, window: int, alive: Pulse) -> _Rows:
    """The first rank's part: clear what a killed one left half written, and encode the rows for all."""
    complete = checkpoints(folder).values()
    for path in (folder / CHECKPOINTS).glob("*"):
        if path not in complete:
            shutil.rmtree(path)
    tokenizer = HFTokenizer(job.base_folder)

    def encode(name: str, param: str) -> Encoded:
        return encode_file(
            folder / name,
            _arrow(folder, name),
            tokenizer,
            template=template,
            window=window,
            param=param,
            on_block=partial(alive, "encoding"),
        )

    return _Rows(
        train=encode(TRAIN_FILE, "training_file"),
        validation=encode(VALIDATION_FILE, "validation_file")
        if (folder / VALIDATION_FILE).exists()
        else None,
    )


def _arrow(folder: Path, name: str) -> Path:
    return (folder / name).with_suffix(".arrow")


def _prepared(encoded: _Rows, chosen: Hyperparameters, resumed_from: int) -> Prepared:
    rows, validation = encoded.train, encoded.validation
    return Prepared(
        rows_used=rows.rows_used,
        rows_rejected=rows.rows_rejected,
        rejected_by_reason=rows.rejected_by_reason,
        validation_rejected=validation.rejected_by_reason if validation else {},
        answers_cut=rows.answers_cut,
        total_steps=chosen.total_steps,
        resumed_from=resumed_from,
        trained_tokens_planned=rows.num_tokens * chosen.n_epochs,
        hyperparameters=chosen.as_dict(),
    )


def _with_rate(
    folder: Path, settled: Hyperparameters, spec: FineTuneSpec, model: Any, alive: Pulse
) -> Hyperparameters:
    """With the rate that the newest checkpoint was trained at, or else the one that the first rank finds by trying."""
    process = PartialState()

    def choose() -> RateChoice:
        if saved := checkpoints(folder):
            return RateChoice.read(saved[max(saved)] / RATE_FILE)
        dataset = open_dataset(_arrow(folder, TRAIN_FILE))
        return choose_rate(
            model.to(process.device),
            Sample.draw(dataset, batch_size=settled.batch_size, seed=spec.seed),
            seed=spec.seed,
            dtype=settled.dtype,
            on_batch=partial(alive, "learning_rate"),
        )

    choices = [choose() if process.is_main_process else None]
    return settled.with_choice(broadcast_object_list(choices)[0])


def _keeper(
    folder: Path,
    chosen: Hyperparameters,
    spec: FineTuneSpec,
    tokenizer: PreTrainedTokenizerBase,
    say: Callable[[TrainingEvent], None],
) -> Keeper:
    keeps = spec.points > 0 and PartialState().is_main_process
    plan = planned(chosen.total_steps, chosen.n_epochs, spec.points) if keeps else []
    wanted = [checkpoint for checkpoint in plan if checkpoint.step]
    return Keeper(folder=folder, spec=spec, wanted=wanted, tokenizer=tokenizer, say=say)


def _lora(spec: FineTuneSpec, model: Any) -> LoraConfig:
    linear = {
        f".{name}": type(module)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D)
        and module is not model.get_output_embeddings()
    }
    names = sorted({name.rpartition(".")[2] for name in linear})
    for target in spec.target_modules or ():
        if not any(name.endswith(f".{target}") for name in linear):
            raise InvalidOption(
                f"{spec.model} has no linear layer {target!r} beside its head. It has {', '.join(names)}.",
                param="target_modules",
            )
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=spec.lora_rank,
        lora_alpha=spec.lora_alpha,
        lora_dropout=spec.lora_dropout,
        target_modules=list(spec.target_modules or names),
        # GPT-2 keeps its weights transposed.
        fan_in_fan_out=Conv1D in linear.values(),
    )


def _arguments(folder: Path, spec: FineTuneSpec, chosen: Hyperparameters) -> SFTConfig:
    return SFTConfig(
        output_dir=str(folder / CHECKPOINTS),
        seed=spec.seed % 2**32,
        num_train_epochs=chosen.n_epochs,
        per_device_train_batch_size=chosen.batch_size // spec.processes,
        learning_rate=chosen.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=WARMUP_SHARE,
        weight_decay=0.0,
        max_grad_norm=1.0,
        bf16=chosen.dtype == "bfloat16",
        use_cpu=not torch.cuda.is_available(),
        gradient_checkpointing=spec.gradient_checkpointing,
        ddp_find_unused_parameters=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        dataloader_pin_memory=torch.cuda.is_available(),
        include_num_input_tokens_seen="non_padding",
        logging_steps=1,
        # A loss that is not a number ends the job; it is not to be papered over.
        logging_nan_inf_filter=False,
        save_strategy="no",
        save_total_limit=2,
        eval_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
