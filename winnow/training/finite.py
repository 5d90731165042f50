"""What is not a number any more ends a job, before it is saved or kept."""

from __future__ import annotations

from typing import Any

from winnow.errors import NonFiniteLoss
from winnow.training.spec import FineTuneSpec


def not_finite(what: str, spec: FineTuneSpec) -> NonFiniteLoss:
    """The error that says so, and what to lower."""
    return NonFiniteLoss(f"{what} Lower {spec.rate_option}.", param=spec.rate_option)


def check_weights(model: Any, spec: FineTuneSpec) -> None:
    """Look at what is learned.

    Raises:
        NonFiniteLoss: the last update spoiled it.
    """
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and not parameter.isfinite().all():
            raise not_finite(f"The last update left {name} without finite numbers.", spec)
