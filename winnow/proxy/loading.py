"""From a run's options to a loaded engine; model frameworks are imported here, when one is needed."""

from __future__ import annotations

from typing import Literal

from winnow.errors import DependencyMissing
from winnow.proxy.engine import Engine
from winnow.proxy.models import resolve
from winnow.spec import RunSpec


def load_engine(
    spec: RunSpec,
    *,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    threads: int | None = None,
) -> Engine:
    """Load the engine and the model that a run asks for: seconds, and memory for the weights. Keep it.

    Raises:
        ModelError: the model cannot be used; the message says why.
        DependencyMissing: torch is not installed.
        InvalidOption: `device` is not on this machine.
    """
    folder = resolve(spec.model)
    try:
        from winnow.proxy.torch_engine import TorchEngine  # noqa: PLC0415
    except ImportError as error:
        raise DependencyMissing(
            "Scoring here needs torch and transformers: pip install 'winnow[local]'."
        ) from error
    return TorchEngine(
        folder,
        dtype=spec.dtype,
        device=device,
        threads=threads,
        token_budget=spec.token_budget,
    )
