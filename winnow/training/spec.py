"""What a fine-tuning job trains: the options that a user chooses, checked, with `"auto"` where training decides.

Nothing here imports a model framework: the gateway checks options, the training subprocess resolves what is automatic.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, get_args

from winnow.errors import InvalidOption
from winnow.spec import MIN_WINDOW, RunSpec, Template

Adapter = Literal["lora", "none"]
TrainingDtype = Literal["auto", "float32", "bfloat16"]
TrainingTemplate = Literal["auto"] | Template
Auto = Literal["auto"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuneSpec:
    """Every option of a fine-tuning job.

    `adapter` none trains all weights. `target_modules` None means every linear layer but the LM head. `max_length` None
    means the window of the model. `learning_rate_multiplier` scales the base rate that the adapter and the size of the
    model call for; `learning_rate` is the rate itself in place of both, auto by the rule of `hyperparameters`.
    `template` auto is `chat` where the model has a chat template, else `alpaca`. `points` above 0: the job leaves no
    result but the checkpoints of a trajectory (`winnow.trajectory.planned`), and `max_length` is cut at the model's
    window.
    """

    model: str = "winnow-mini"
    n_epochs: int | Auto = "auto"
    batch_size: int | Auto = "auto"
    learning_rate_multiplier: float | Auto = "auto"
    learning_rate: float | Auto | None = None
    points: int = 0
    seed: int = 42
    suffix: str | None = None
    adapter: Adapter = "lora"
    lora_rank: int = 16
    lora_alpha: int = 32
    lora_dropout: float = 0.0
    target_modules: tuple[str, ...] | None = None
    dtype: TrainingDtype = "auto"
    max_length: int | None = None
    template: TrainingTemplate = "auto"
    packing: bool = False
    gradient_checkpointing: bool = False
    processes: int = 1
    merge: bool = False

    @classmethod
    def make(cls, **options: Any) -> Self:
        """Check the options; None means the default.

        Raises:
            InvalidOption: names the option, and what it may be.
        """
        given = {name: value for name, value in options.items() if value is not None}
        if "target_modules" in given:
            given["target_modules"] = tuple(given["target_modules"])
        spec = cls(**given)
        spec._check()
        return spec

    @classmethod
    def of_trajectory(cls, run: RunSpec) -> Self:
        """The job that trains the trajectory of a run, of all weights.

        It computes in float32 if the run does; else in bfloat16 where the worker has a GPU that can.
        """
        trajectory = run.trajectory
        assert trajectory is not None  # noqa: S101  # a run without one trains nothing
        return cls.make(
            model=run.model,
            n_epochs=trajectory.n_epochs,
            batch_size=trajectory.batch_size,
            learning_rate=trajectory.learning_rate,
            points=trajectory.points,
            seed=trajectory.seed,
            adapter="none",
            dtype="float32" if run.dtype == "float32" else "auto",
            max_length=trajectory.max_length,
            template=trajectory.template,
        )

    def _check(self) -> None:
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            if value not in allowed:
                raise InvalidOption(
                    f"{name} must be one of {', '.join(allowed)}; got {value!r}.", param=name
                )
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value not in {"auto", None} and not low <= value <= high:
                raise InvalidOption(
                    f"{name} must be from {low} to {high}; got {value!r}.", param=name
                )
        if self.merge and self.adapter == "none":
            raise InvalidOption(
                "merge joins an adapter with its base; adapter=none trains no adapter.",
                param="merge",
            )
        if self.learning_rate is not None and self.learning_rate_multiplier != "auto":
            raise InvalidOption(
                "learning_rate is the rate itself, so there is nothing for learning_rate_multiplier to scale. Give one "
                "of them.",
                param="learning_rate",
            )
        if self.adapter == "lora" and (self.points or self.learning_rate == "auto"):
            name = "points" if self.points else "learning_rate"
            raise InvalidOption(
                f"{name}={getattr(self, name)} is for training all weights. Give adapter=none with it.",
                param=name,
            )

    @property
    def rate_option(self) -> str:
        """The option that a user lowers for a lower learning rate."""
        return "learning_rate_multiplier" if self.learning_rate is None else "learning_rate"

    def as_dict(self) -> dict[str, Any]:
        """The options as plain values, for JSON."""
        return asdict(self)


_CHOICES: dict[str, tuple[str, ...]] = {
    "adapter": get_args(Adapter),
    "dtype": get_args(TrainingDtype),
    "template": ("auto", *get_args(Template)),
}
_RANGES: dict[str, tuple[float, float]] = {
    "n_epochs": (1, 50),
    "batch_size": (1, 4096),
    "learning_rate_multiplier": (1e-6, 1e6),
    "learning_rate": (1e-9, 1.0),
    "points": (0, 100),
    "seed": (0, 2**63 - 1),
    "lora_rank": (1, 1024),
    "lora_alpha": (1, 65536),
    "lora_dropout": (0, 0.99),
    "max_length": (MIN_WINDOW, 2**20),
    "processes": (1, 64),
}
