"""A Hugging Face causal language model in a folder: loaded, never drawn at random, and known to look at no later token.

Not covered: models that need code of their own, which is never run.
"""
# ruff: noqa: N806

from __future__ import annotations

import math
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.activations import GELUTanh, NewGELUActivation
from transformers.utils import logging as hf_logging

from winnow.errors import ModelError
from winnow.spec import Dtype

DTYPES: dict[Dtype, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def load_model(path: Path, dtype: torch.dtype, *, device: Literal["cpu", "meta"] = "cpu") -> Any:
    """The causal language model of a folder, frozen. On `meta` no weight is read, only which there are.

    Raises:
        ModelError: the folder holds none that can be loaded without running its code.
    """
    try:
        with quiet_transformers():
            config = AutoConfig.from_pretrained(
                path, local_files_only=True, trust_remote_code=False
            )
            # The fused attention leaves out the cap that Gemma 2 puts on its attention scores.
            capped = getattr(config.get_text_config(), "attn_logit_softcapping", None)
            model, report = AutoModelForCausalLM.from_pretrained(
                path,
                config=config,
                dtype=dtype,
                device_map=None if device == "cpu" else device,
                attn_implementation="eager" if capped else None,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"The model in {path} cannot be loaded: {error}") from error
    if report["missing_keys"]:
        # They would be drawn at random, and every score with them.
        missing = ", ".join(sorted(report["missing_keys"])[:3])
        raise ModelError(f"The weights in {path} are incomplete: {missing} are missing.")
    return model.eval().requires_grad_(requires_grad=False)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bar and no advice on standard error: what matters is raised."""
    verbosity, bar = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(verbosity)
        if bar:
            hf_logging.enable_progress_bar()


@torch.inference_mode()
def has_plain_head(model: Any, window: int) -> bool:
    """Whether the model's logits are those of a linear head over its trunk: some models scale or cap them behind it.

    Raises:
        ModelError: a later token changes an earlier one's logits, so this is no causal model.
    """
    vocabulary = int(model.config.get_text_config().vocab_size)
    length = min(16, window)
    steps = torch.arange(2 * length, device=model.device).reshape(2, length)
    ids_BT = (steps * 7919 + 1) % vocabulary
    ids_BT[1, : length // 2] = ids_BT[0, : length // 2]
    logits_BTV = model(input_ids=ids_BT, use_cache=False).logits.float()
    tolerance = 1e-5 if model.dtype == torch.float32 else 2e-2
    close = tolerance * max(1.0, float(logits_BTV.abs().max()))
    if float((logits_BTV[0] - logits_BTV[1])[: length // 2].abs().max()) > 100 * close:
        raise ModelError(f"{model.name_or_path} is not a causal language model: it looks ahead.")
    head, trunk = model.get_output_embeddings(), model.base_model
    if not isinstance(head, nn.Linear) or trunk is model:
        return False
    hidden_BTD = trunk(input_ids=ids_BT, use_cache=False).last_hidden_state
    projected_BTV = head(hidden_BTD).float()
    same_shape = projected_BTV.shape == logits_BTV.shape
    return same_shape and float((projected_BTV - logits_BTV).abs().max()) <= close


class SigmoidGELU(nn.Module):
    """The tanh form of GELU: `x * sigmoid(sqrt(8 / pi) * (x + 0.044715 x^3))`, since `1 + tanh(u) = 2 sigmoid(2u)`.

    Six passes in place cost less than torch's own kernel, whose tanh is slow, and less than the eight allocations that
    transformers make of it.
    """

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Of any shape, float32."""
        scale = math.sqrt(8 / math.pi)
        return (
            (hidden * hidden)
            .mul_(0.044715 * scale)
            .add_(scale)
            .mul_(hidden)
            .sigmoid_()
            .mul_(hidden)
        )


def use_fast_activations(model: Any) -> None:
    """Compute the tanh form of GELU by one kernel, or by a faster formula; other activations have a kernel already."""
    # Rounded to bfloat16 after each step, the formula would lose digits that the kernel keeps.
    in_steps = model.device.type == "cpu" and model.dtype == torch.float32
    fast = SigmoidGELU() if in_steps else nn.GELU(approximate="tanh")
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, (NewGELUActivation, GELUTanh)):
                setattr(module, name, fast)


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16; where it has none, float32 is several times faster."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # torch answers for a processor under private names only. The last one knows Arm; on x86 it is content with AVX-512,
    # which multiplies bfloat16 in software.
    if platform.machine() in {"x86_64", "AMD64"}:
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()  # noqa: SLF001
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001
