"""The baseline of `benchmarks.training`: fine-tuning as a TRL user writes it, as a process of its own.

    python -m benchmarks.plain_sft BASE ROWS.jsonl OUT BATCH EPOCHS LEARNING_RATE

Prints tokens per second from the first step to the last, checkpoints between them included, as Winnow's `Step` says it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer


class StopWatch(TrainerCallback):  # type: ignore[misc]
    """How long it took from the beginning to the last step's log."""

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Start."""
        self.began_at = time.monotonic()

    def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
        """Take the time of a step."""
        if "loss" in logs:
            self.elapsed_s = time.monotonic() - self.began_at


def main() -> None:
    """Train, save checkpoints as often as Winnow does, and print the speed as JSON."""
    base, rows, out, batch, epochs, rate = sys.argv[1:]
    speaks = os.dup(1)
    os.dup2(2, 1)
    records = [json.loads(line) for line in Path(rows).read_bytes().splitlines()]
    watch = StopWatch()
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(base, dtype="float32"),
        processing_class=AutoTokenizer.from_pretrained(base),
        train_dataset=Dataset.from_list(records),
        peft_config=LoraConfig(
            task_type="CAUSAL_LM", r=16, lora_alpha=32, target_modules="all-linear"
        ),
        args=SFTConfig(
            output_dir=out,
            seed=42,
            num_train_epochs=int(epochs),
            per_device_train_batch_size=int(batch),
            learning_rate=float(rate),
            lr_scheduler_type="cosine",
            warmup_steps=0.03,
            max_length=1024,
            bf16=False,
            gradient_checkpointing=False,
            use_cpu=True,
            include_num_input_tokens_seen="non_padding",
            logging_steps=1,
            save_strategy="steps",
            save_steps=0.1,
            save_total_limit=2,
            report_to="none",
            dataloader_pin_memory=False,
            disable_tqdm=True,
        ),
        callbacks=[watch],
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    tokens = trainer.state.num_input_tokens_seen
    said = {"tokens_per_s": tokens / watch.elapsed_s, "losses": losses}
    os.write(speaks, json.dumps(said).encode())


if __name__ == "__main__":
    main()
