"""Two ways to update the weights; `muon` won the ablation on the card."""

from typing import Literal

from torch.nn import Module
from torch.optim import AdamW, Muon, Optimizer

OptimizerName = Literal["adamw", "muon"]
ADAMW_RATE = 4e-3
MUON_RATE = 6e-3


def build_optimizers(model: Module, name: OptimizerName) -> list[Optimizer]:
    """AdamW for everything, or Muon for the matrices inside the layers and AdamW for the rest."""
    matrices = [p for n, p in model.named_parameters() if ".h." in n and p.ndim == 2]
    others = [p for n, p in model.named_parameters() if not (".h." in n and p.ndim == 2)]
    others_group = {"params": others, "weight_decay": 0.01}
    if name == "adamw":
        groups = [{"params": matrices, "weight_decay": 0.1}, others_group]
        optimizers: list[Optimizer] = [AdamW(groups, lr=ADAMW_RATE, betas=(0.9, 0.98), fused=True)]
    else:
        optimizers = [
            Muon(matrices, lr=MUON_RATE, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
            AdamW([others_group], lr=ADAMW_RATE, betas=(0.9, 0.98), fused=True),
        ]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def set_learning_rate(optimizers: list[Optimizer], factor: float) -> None:
    """Every group at `factor` times its peak rate."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * factor
