"""A checked request for a part of the rows of a run: which strategy, how many, which filters, how shared out.

Not covered: the selection itself (`winnow.selection.ratio`).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from decimal import ROUND_DOWN, Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, Literal, Self, get_args

from winnow.errors import InvalidOption
from winnow.scores import SELECTION_COLUMNS
from winnow.spec import Method, RunSpec

Strategy = Literal[
    "top", "bottom", "random", "cluster_bottom", "cluster_balanced", "facility_location"
]
Order = Literal["original", "score"]
Per = Literal["source"]
Stratify = Literal["length", "source"]
Quota = Literal["per_cluster"]

DEFAULT_STRATEGY: dict[Method, Strategy] = {
    "ifd": "top",
    "learning_percentage": "cluster_bottom",
    "s2l": "cluster_balanced",
}
LOWEST_FIRST: frozenset[Method] = frozenset({"learning_percentage"})
"""Methods whose low scores are the hard rows; of the others the high ones are."""
CLUSTER_STRATEGIES: frozenset[Strategy] = frozenset({"cluster_bottom", "cluster_balanced"})
DRAWING_STRATEGIES: frozenset[Strategy] = frozenset({"random", "cluster_balanced"})
"""Strategies that draw at random; to the others a seed means nothing."""
POOL_RATIO = Decimal("0.2")
MAX_POOL = 50_000
"""Rows that facility location compares with each other. Time grows with their square, and with how many are taken."""
MAX_RATIO_DIGITS = 20
DEFAULT_SEED = 42


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A checked request for a part of the rows; exactly one of `ratio` and `count` is set.

    `method` is that of the run and no part of what was asked: it says which scores are the hard ones, and what a score
    of 1 means. `quota` and `pool_ratio` are None unless the strategy has them.
    """

    strategy: Strategy
    method: Method = "ifd"
    ratio: Decimal | None = None
    count: int | None = None
    min_score: float | None = None
    max_score: float | None = None
    include_unlearned: bool = False
    seed: int = DEFAULT_SEED
    order: Order = "original"
    per: Per | None = None
    stratify: Stratify | None = None
    quota: Quota | None = None
    pool_ratio: Decimal | None = None

    @classmethod
    def make(
        cls,
        *,
        method: Method = "ifd",
        strategy: str | None = None,
        ratio: Decimal | float | str | None = None,
        pool_ratio: Decimal | float | str | None = None,
        **options: Any,
    ) -> Self:
        """Check the options, which are the fields; None means the default, a strategy of None the method's own.

        Raises:
            InvalidOption: names the option, and what it may be.
        """
        chosen = strategy or DEFAULT_STRATEGY[method]
        if pool_ratio is None and chosen == "facility_location":
            pool_ratio = POOL_RATIO
        selection = cls(
            strategy=chosen,  # type: ignore[arg-type]  # checked next
            method=method,
            ratio=None if ratio is None else _ratio("ratio", ratio),
            pool_ratio=None if pool_ratio is None else _ratio("pool_ratio", pool_ratio),
            **{name: value for name, value in options.items() if value is not None},
        )
        selection._check()
        return selection

    def _check(self) -> None:
        if (self.ratio is None) == (self.count is None):
            raise InvalidOption("Give exactly one of ratio and count.", param="ratio")
        if self.count is not None and self.count < 1:
            raise InvalidOption(f"count must be at least 1; got {self.count}.", param="count")
        _check_bounds(self.min_score, self.max_score)
        if not 0 <= self.seed < 2**64:
            raise InvalidOption(f"seed must be from 0 to 2**64 - 1; got {self.seed}.", param="seed")
        for name, allowed in _CHOICES.items():
            value = getattr(self, name)
            if value not in allowed:
                choices = ", ".join(str(one) for one in allowed if one is not None)
                raise InvalidOption(f"{name} must be one of {choices}; got {value!r}.", param=name)
        if self.per is not None and self.per == self.stratify:
            raise InvalidOption(
                "per=source takes equal parts and stratify=source proportional ones: choose one.",
                param="stratify",
            )
        self._check_strategy()

    def _check_strategy(self) -> None:
        for name, strategy in (("quota", "cluster_bottom"), ("pool_ratio", "facility_location")):
            if getattr(self, name) is not None and self.strategy != strategy:
                raise InvalidOption(
                    f"{name} belongs to strategy={strategy}, not to {self.strategy}.", param=name
                )
        if self.quota is None:
            return
        if self.ratio is None:
            raise InvalidOption(
                "quota=per_cluster takes a part of every cluster: give a ratio, not a count.",
                param="quota",
            )
        if self.per is not None or self.stratify is not None:
            raise InvalidOption(
                "quota=per_cluster shares the rows out by itself: leave per and stratify away.",
                param="quota",
            )

    def as_dict(self) -> dict[str, Any]:
        """The request as plain values, for JSON; ratios as decimal strings. The method is its run's."""
        values = asdict(self)
        del values["method"]
        texts = {name: None if values[name] is None else str(values[name]) for name in _RATIOS}
        return values | texts

    def canonical(self) -> Self:
        """The same set of rows in the order of the dataset, without what decides nothing of it."""
        seed = self.seed if self.strategy in DRAWING_STRATEGIES else DEFAULT_SEED
        return replace(self, order="original", seed=seed)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the scores that this selection reads."""
        more = ["tokens_conditioned"] if self.stratify == "length" else []
        if self.strategy in CLUSTER_STRATEGIES:
            more += ["cluster", "cluster_in_source"] if self.per else ["cluster"]
        return (*SELECTION_COLUMNS, *more)

    @property
    def lowest_first(self) -> bool:
        """Whether the best row is the one with the lowest score."""
        if self.strategy in {"top", "bottom", "cluster_bottom"}:
            return self.strategy != "top"
        return self.method in LOWEST_FIRST

    def num_wanted(self, rows_read: int) -> int:
        """k: how many rows are wanted of so many read."""
        if self.count is not None:
            return self.count
        return math.floor(Fraction(self.ratio or 0) * rows_read)

    def pool_size(self, rows_read: int) -> int:
        """How many rows facility location chooses from, where the filters leave so many."""
        pool = math.floor(Fraction(self.pool_ratio or 0) * rows_read)
        return min(rows_read, max(pool, self.num_wanted(rows_read)))


def check_available(selection: Selection, spec: RunSpec) -> None:
    """Whether a run of this spec will have what the strategy goes by.

    Raises:
        InvalidOption: it will not; the message says how to get it.
    """
    if spec.embeddings is not None:
        return
    if selection.strategy in CLUSTER_STRATEGIES and spec.method != "s2l":
        raise no_clusters(selection.strategy)
    if selection.strategy == "facility_location":
        raise no_embeddings()


def check_size(selection: Selection, rows_read: int) -> None:
    """Whether a selection is one that a worker should be kept busy with: its work grows with the square of the pool.

    Raises:
        InvalidOption: it is too large; the message says what to lower.
    """
    if not needs_work(selection):
        return
    num_wanted = min(rows_read, selection.num_wanted(rows_read))
    if num_wanted > MAX_POOL:
        param = "count" if selection.ratio is None else "ratio"
        raise InvalidOption(
            f"strategy={selection.strategy} compares the rows that it takes with each other, at most {MAX_POOL:,}, and "
            f"this {param} asks for {num_wanted:,}. Lower it, or use strategy=cluster_balanced.",
            param=param,
        )
    if selection.pool_size(rows_read) > MAX_POOL:
        raise InvalidOption(
            f"strategy={selection.strategy} compares the rows of its pool with each other, at most {MAX_POOL:,}, and a "
            f"pool_ratio of {selection.pool_ratio} is {selection.pool_size(rows_read):,} rows of {rows_read:,}. Lower "
            f"pool_ratio to {_floored(MAX_POOL / rows_read)}.",
            param="pool_ratio",
        )


def no_clusters(strategy: Strategy) -> InvalidOption:
    """What to say where a strategy chooses from clusters, and the run has none."""
    return InvalidOption(
        f"The run has no clusters, which strategy={strategy} chooses from: score with embeddings=true.",
        param="strategy",
    )


def no_embeddings() -> InvalidOption:
    """What to say where a strategy compares embeddings, and the run has none."""
    return InvalidOption(
        "The run has no embeddings, which strategy=facility_location compares: score with embeddings=true.",
        param="strategy",
    )


def no_sources(param: Literal["per", "stratify"]) -> InvalidOption:
    """What to say where rows are to be shared out among sources, and none names one."""
    return InvalidOption(
        f"No row names its source, so {param}=source has nothing to share the rows out among. Give the records a field "
        "'source', or leave it out.",
        param=param,
    )


def needs_work(selection: Selection) -> bool:
    """Whether a selection takes more than reading scores: embeddings are read, and compared with each other."""
    return selection.strategy == "facility_location"


def _ratio(name: str, value: Decimal | float | str) -> Decimal:
    try:
        ratio = Decimal(str(value))
    except InvalidOperation:
        ratio = Decimal(0)
    if not (ratio.is_finite() and 0 < ratio <= 1):
        raise InvalidOption(f"{name} must be above 0 and at most 1; got {value!r}.", param=name)
    # Exact arithmetic on 1e-999999999 would compute a number of a billion digits.
    if ratio.adjusted() < -MAX_RATIO_DIGITS or len(ratio.as_tuple().digits) > MAX_RATIO_DIGITS:
        raise InvalidOption(
            f"{name} has more than {MAX_RATIO_DIGITS} digits behind the point; round it.",
            param=name,
        )
    return ratio


def _floored(ratio: float) -> str:
    """A ratio not above this one, in two digits."""
    return str(
        Decimal(ratio).quantize(Decimal(1).scaleb(math.floor(math.log10(ratio)) - 1), ROUND_DOWN)
    )


def _check_bounds(min_score: float | None, max_score: float | None) -> None:
    for name, bound in (("min_score", min_score), ("max_score", max_score)):
        if bound is not None and not math.isfinite(bound):
            raise InvalidOption(f"{name} must be a finite number; got {bound}.", param=name)
    if min_score is not None and max_score is not None and min_score > max_score:
        raise InvalidOption(
            f"min_score {min_score} is above max_score {max_score}.", param="min_score"
        )


_RATIOS = ("ratio", "pool_ratio")
_CHOICES: dict[str, tuple[str | None, ...]] = {
    "strategy": get_args(Strategy),
    "order": get_args(Order),
    "per": (None, *get_args(Per)),
    "stratify": (None, *get_args(Stratify)),
    "quota": (None, *get_args(Quota)),
}
