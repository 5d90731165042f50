"""The architecture of `winnow-mini`, its loss, and its export."""

from pathlib import Path

import torch
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel

from recipes.mini.tokenizer import CONTEXT, VOCABULARY_SIZE

LOGIT_CHUNK = 1024


def new_model() -> GPT2LMHeadModel:
    """A GPT-2 of 7.1 million parameters: 6 layers of 256, 4 heads of 64, tied embeddings."""
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY_SIZE,
            n_positions=CONTEXT,
            n_embd=256,
            n_layer=6,
            n_head=4,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=0,
            eos_token_id=0,
            use_cache=False,
        )
    )


def token_losses(
    model: GPT2LMHeadModel, inputs: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """Loss in nats of every target, in the shape of `targets`; logits are made in chunks."""
    hidden: torch.Tensor = model.transformer(inputs).last_hidden_state.flatten(0, 1)
    losses = [
        functional.cross_entropy(model.lm_head(states).float(), wanted, reduction="none")
        for states, wanted in zip(
            torch.split(hidden, LOGIT_CHUNK),
            torch.split(targets.flatten(), LOGIT_CHUNK),
            strict=True,
        )
    ]
    return torch.cat(losses).view_as(targets)


def export(model: GPT2LMHeadModel, folder: Path) -> None:
    """Put bfloat16 weights and configuration into `folder`, each file replaced at once."""
    copy = new_model()
    copy.load_state_dict(model.state_dict())
    copy.config.use_cache = True
    staged = folder / ".staged"
    copy.to(torch.bfloat16).save_pretrained(staged)
    for name in ("config.json", "model.safetensors"):
        (staged / name).replace(folder / name)
    for leftover in staged.iterdir():
        leftover.unlink()
    staged.rmdir()
