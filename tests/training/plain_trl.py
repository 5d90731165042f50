"""Fine-tuning as a TRL user writes it, with nothing of Winnow: prompt and completion as text, TRL does the rest."""

from __future__ import annotations

from pathlib import Path

from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer


def losses(
    base: Path, texts: list[tuple[str, str]], out: Path, *, lora: bool, learning_rate: float
) -> list[float]:
    """The loss of each step: two epochs in batches of four, as two times two."""
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(base),
        processing_class=AutoTokenizer.from_pretrained(base),
        train_dataset=Dataset.from_list([{"prompt": p, "completion": c} for p, c in texts]),
        peft_config=LoraConfig(
            task_type="CAUSAL_LM", r=16, lora_alpha=32, target_modules="all-linear"
        )
        if lora
        else None,
        args=SFTConfig(
            output_dir=str(out),
            seed=42,
            num_train_epochs=2,
            per_device_train_batch_size=2,
            gradient_accumulation_steps=2,
            learning_rate=learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=0.03,
            max_length=128,
            bf16=False,
            gradient_checkpointing=False,
            use_cpu=True,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            dataloader_pin_memory=False,
            disable_tqdm=True,
        ),
    )
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
