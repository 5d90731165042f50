"""What a run computes: the options that a user chooses and the ones an installation fixes.

A `RunSpec` is made once, stored with the run, and decides every score: equal specs, equal model files and
equal rows have equal scores.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, get_args

from winnow.errors import InvalidOption

Method = Literal["ifd"]
EngineName = Literal["torch", "vllm", "vllm-server"]
Dtype = Literal["float32", "bfloat16"]
Template = Literal["plain", "alpaca", "chat"]
Convention = Literal["superfiltering", "paired"]
Statistic = Literal["ppl_ratio", "loss_ratio"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """Every option of a run.

    `max_length` None means the window of the model. `cache`: losses that earlier runs of the owner computed are used,
    so the others are batched otherwise than in a fresh run (docs/decisions/0010).
    """

    method: Method = "ifd"
    model: str = "winnow-mini"
    engine: EngineName = "torch"
    dtype: Dtype = "float32"
    template: Template = "plain"
    convention: Convention = "superfiltering"
    statistic: Statistic = "ppl_ratio"
    max_length: int | None = None
    token_budget: int = 1024
    seed: int = 42
    cache: bool = False

    @classmethod
    def make(cls, *, convention: str | None = None, **options: Any) -> Self:
        """Check the options and fill in the defaults that depend on others.

        Raises:
            InvalidOption: names the option, and what it may be.
        """
        template = options.get("template") or "plain"
        chosen = convention or ("paired" if template == "chat" else "superfiltering")
        given = {name: value for name, value in options.items() if value is not None}
        spec = cls(**given, convention=chosen)  # type: ignore[arg-type]
        spec._check()
        return spec

    def _check(self) -> None:
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            if value not in allowed:
                raise InvalidOption(
                    f"{name} must be one of {', '.join(allowed)}; got {value!r}.", param=name
                )
        if self.max_length is not None and self.max_length < MIN_WINDOW:
            raise InvalidOption(
                f"max_length must be at least {MIN_WINDOW} tokens.", param="max_length"
            )
        if self.token_budget < 1:
            raise InvalidOption("token_budget must be positive.", param="token_budget")

    def as_dict(self) -> dict[str, Any]:
        """The options as plain values, for JSON."""
        return asdict(self)


MIN_WINDOW = 8

_CHOICES: dict[str, tuple[str, ...]] = {
    "method": get_args(Method),
    "engine": get_args(EngineName),
    "dtype": get_args(Dtype),
    "template": get_args(Template),
    "convention": get_args(Convention),
    "statistic": get_args(Statistic),
}
