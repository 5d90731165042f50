"""What a run computes: the options that a user chooses and the ones an installation fixes.

A `RunSpec` is made once, stored with the run, and decides every score: equal specs, equal model files and
equal rows have equal scores. Methods that watch a proxy learn have a `TrajectorySpec` beside it, and runs whose
`fingerprint` is equal share one fine-tune of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from typing import Any, Literal, Self, get_args

from winnow.errors import InvalidOption

Method = Literal["ifd", "learning_percentage", "s2l"]
EngineName = Literal["torch", "vllm", "vllm-server"]
Dtype = Literal["float32", "bfloat16"]
Template = Literal["plain", "alpaca", "chat"]
Convention = Literal["superfiltering", "paired"]
Statistic = Literal["ppl_ratio", "loss_ratio", "lp", "approx"]
Compat = Literal["small2large"]
Auto = Literal["auto"]

TRAJECTORY_METHODS: frozenset[Method] = frozenset({"learning_percentage", "s2l"})
"""Methods whose scores come from the losses of a proxy while it is fine-tuned on the dataset."""
STATISTICS: dict[Method, tuple[Statistic, ...]] = {
    "ifd": ("ppl_ratio", "loss_ratio"),
    "learning_percentage": ("lp", "approx"),
    "s2l": ("lp",),
}
"""What each method can compute of its losses, the default first; S2L has one score of its own and takes no choice."""
PROXY_EMBEDDINGS = "proxy"
SENTENCE_TRANSFORMERS = "sentence-transformers:"
"""What comes before the name of a model that embeds texts."""
TRAJECTORY_TOKENS = 512
MIN_WINDOW = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class TrajectorySpec:
    """What decides a trajectory beside its dataset, model, engine, dtype and token budget.

    Losses are kept before training, after each of `n_epochs`, and at `points` even distances. `max_length` is cut to
    the window of a model that has less. `keep_weights`: the weights stay after they were read. `checkpoints`: a folder
    of the user's own checkpoints, instead of training, and `checkpoints_revision` what their files were when the run
    was made (`winnow.own_checkpoints.own_revision`), so that other files under the same names are another trajectory.
    """

    n_epochs: int = 3
    points: int = 12
    batch_size: int | Auto = "auto"
    learning_rate: float | Auto = "auto"
    template: Template = "alpaca"
    max_length: int = TRAJECTORY_TOKENS
    seed: int = 42
    keep_weights: bool = False
    checkpoints: str | None = None
    checkpoints_revision: str | None = None

    def check(self) -> None:
        """Raises InvalidOption, which names the option and what it may be."""
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value != "auto" and not low <= value <= high:
                raise InvalidOption(
                    f"{name} must be from {low} to {high}; got {value!r}.", param=name
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """Every option of a run.

    `max_length` None means the window of the model. `cache`: losses that earlier runs of the owner computed are used,
    so the others are batched otherwise than in a fresh run (docs/decisions/0010). `trajectory` is set for the methods
    that need one. `embeddings`: what embeds the rows, `"proxy"` or `"sentence-transformers:NAME"`. `num_clusters` None
    means the method's own rule. `epoch` and `compat` are learning percentage's.
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
    trajectory: TrajectorySpec | None = None
    embeddings: str | None = None
    num_clusters: int | None = None
    epoch: int = 1
    compat: Compat | None = None

    @classmethod
    def make(
        cls, *, method: str = "ifd", embeddings: str | bool | None = None, **options: Any
    ) -> Self:
        """Check the options and fill in the defaults that depend on others; None means the default.

        The options of a `TrajectorySpec` are given flat, beside those of the run. `embeddings` may be a yes or a no.

        Raises:
            InvalidOption: names the option, and what it may be; an option that the method does not have is refused.
        """
        _check_choice("method", method, get_args(Method))
        given = {name: value for name, value in options.items() if value is not None}
        _refuse_foreign(method, given)
        if method in TRAJECTORY_METHODS:
            given = {"template": "alpaca", "max_length": TRAJECTORY_TOKENS} | given
            given["trajectory"] = _trajectory(given)
        if given.get("template") == "chat" and method == "ifd":
            given = {"convention": "paired"} | given
        spec = cls(
            method=method,  # type: ignore[arg-type]  # checked above
            statistic=given.pop("statistic", STATISTICS[method][0]),  # type: ignore[index]
            embeddings=_embeddings(method, embeddings),
            **{name: given[name] for name in given if name not in _TRAJECTORY_ONLY},
        )
        spec._check()
        return spec

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """The spec that `as_dict` wrote, also one that was written before an option was there."""
        nested = values.get("trajectory")
        trajectory = None if nested is None else TrajectorySpec(**nested)
        return cls(**{**values, "trajectory": trajectory})

    def as_dict(self) -> dict[str, Any]:
        """The options as plain values, for JSON."""
        return asdict(self)

    def _check(self) -> None:
        for name, allowed in _CHOICES.items():
            _check_choice(name, getattr(self, name), allowed)
        _check_choice("statistic", self.statistic, STATISTICS[self.method])
        if self.max_length is not None and self.max_length < MIN_WINDOW:
            raise InvalidOption(
                f"max_length must be at least {MIN_WINDOW} tokens.", param="max_length"
            )
        if self.token_budget < 1:
            raise InvalidOption("token_budget must be positive.", param="token_budget")
        if self.trajectory is not None:
            self.trajectory.check()
            self._check_epochs(self.trajectory)
        self._check_engine()
        self._check_clusters()

    def _check_epochs(self, trajectory: TrajectorySpec) -> None:
        if not 1 <= self.epoch <= trajectory.n_epochs:
            raise InvalidOption(
                f"epoch must be from 1 to n_epochs, {trajectory.n_epochs}; got {self.epoch}.",
                param="epoch",
            )
        if self.statistic == "approx" and self.epoch != 1:
            raise InvalidOption("statistic=approx is about the first epoch.", param="epoch")
        if (
            self.method == "learning_percentage"
            and self.statistic == "lp"
            and trajectory.n_epochs == 1
        ):
            raise InvalidOption(
                "After a single epoch every row has learned all it learns. Use statistic=approx, or n_epochs of 2 "
                "and more.",
                param="n_epochs",
            )

    def _check_engine(self) -> None:
        if self.trajectory is not None and self.engine == "vllm-server":
            raise InvalidOption(
                f"method={self.method} loads the checkpoints of a fine-tune, which a running vLLM cannot. Use "
                "engine=torch or engine=vllm.",
                param="engine",
            )
        if self.embeddings == PROXY_EMBEDDINGS and self.engine != "torch":
            raise InvalidOption(
                f"engine={self.engine} does not give the proxy's hidden states. Use engine=torch, "
                f"embeddings={SENTENCE_TRANSFORMERS}NAME, or embeddings=false.",
                param="embeddings",
            )

    def _check_clusters(self) -> None:
        if self.num_clusters is None:
            return
        if not 1 <= self.num_clusters <= MAX_CLUSTERS:
            raise InvalidOption(
                f"num_clusters must be from 1 to {MAX_CLUSTERS}; got {self.num_clusters}.",
                param="num_clusters",
            )
        if self.method != "s2l" and self.embeddings is None:
            raise InvalidOption(
                "num_clusters divides rows by their embeddings: give embeddings=true with it.",
                param="num_clusters",
            )


def fingerprint(spec: RunSpec) -> str:
    """What two runs on one dataset must have in common to share a trajectory, as a hash.

    Raises:
        ValueError: the run has no trajectory.
    """
    if spec.trajectory is None:
        raise ValueError(f"method {spec.method} has no trajectory")
    values = {name: getattr(spec, name) for name in ("model", "engine", "dtype", "token_budget")}
    values["trajectory"] = asdict(spec.trajectory) | {"keep_weights": None}
    return sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def check_clusters(spec: RunSpec, rows: int) -> None:
    """Whether the clusters that a run asks for are found in reasonable time, now that its rows are counted.

    Raises:
        InvalidOption: k-means would keep a worker for hours; the message says how many clusters there may be.
    """
    if spec.num_clusters is not None and spec.num_clusters * rows > MAX_COMPARED:
        raise InvalidOption(
            f"num_clusters={spec.num_clusters} would compare each of {rows:,} rows with so many centres, again and "
            f"again. Ask for at most {MAX_COMPARED // rows}.",
            param="num_clusters",
        )


def _check_choice(name: str, value: object, allowed: tuple[Any, ...]) -> None:
    if value not in allowed:
        choices = ", ".join(str(one) for one in allowed if one is not None)
        raise InvalidOption(f"{name} must be one of {choices}; got {value!r}.", param=name)


def _refuse_foreign(method: str, given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        methods = _ONLY_FOR.get(name)
        if methods is not None and method not in methods and value is not False:
            raise InvalidOption(
                f"{name} belongs to method={' and '.join(sorted(methods))}, not to {method}.",
                param=name,
            )
    if given.get("checkpoints") is None:
        return
    for name in ("points", "batch_size", "learning_rate", "keep_weights"):
        if given.get(name):
            raise InvalidOption(
                f"{name} is about training, and checkpoints= says that it is done. Give one of them.",
                param=name,
            )


def _trajectory(given: Mapping[str, Any]) -> TrajectorySpec:
    names = {field.name for field in fields(TrajectorySpec)}
    return TrajectorySpec(**{name: value for name, value in given.items() if name in names})


def _embeddings(method: str, given: str | bool | None) -> str | None:
    if given is None:
        return PROXY_EMBEDDINGS if method == "learning_percentage" else None
    if given in {False, "false"}:
        return None
    if given in {True, "true", PROXY_EMBEDDINGS}:
        return PROXY_EMBEDDINGS
    if str(given).removeprefix(SENTENCE_TRANSFORMERS) in {"", given}:
        raise InvalidOption(
            f"embeddings must be true, false or {SENTENCE_TRANSFORMERS}NAME; got {given!r}.",
            param="embeddings",
        )
    return str(given)


MAX_CLUSTERS = 5_000
"""Five times what was published for Alpaca."""
MAX_COMPARED = 2_000_000_000
"""Rows times clusters: k-means compares so many pairs in each of its up to 100 rounds, on one thread."""

_TRAJECTORY_ONLY = frozenset(
    {"n_epochs", "points", "batch_size", "learning_rate", "keep_weights", "checkpoints"}
)
_ONLY_FOR: dict[str, frozenset[Method]] = {
    "convention": frozenset({"ifd"}),
    "epoch": frozenset({"learning_percentage"}),
    "compat": frozenset({"learning_percentage"}),
    **dict.fromkeys(_TRAJECTORY_ONLY, TRAJECTORY_METHODS),
}
_CHOICES: dict[str, tuple[str | None, ...]] = {
    "engine": get_args(EngineName),
    "dtype": get_args(Dtype),
    "template": get_args(Template),
    "convention": get_args(Convention),
    "compat": (None, *get_args(Compat)),
}
_RANGES: dict[str, tuple[float, float]] = {
    "n_epochs": (1, 50),
    "points": (1, 100),
    "batch_size": (1, 4096),
    "learning_rate": (1e-9, 1.0),
    "max_length": (MIN_WINDOW, 2**20),
    "seed": (0, 2**63 - 1),
}
