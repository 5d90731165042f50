"""What a finished run looks like in numbers, gathered in one pass over its scores.

Losses are means over tokens, in nats: sums are added first and divided last. Quantiles are of scored rows.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.records.example import Flag
from winnow.scores import FLAG_BITS, SCORE_DECIMALS
from winnow.spec import Method

QUANTILES = (0, 1, 5, 10, 25, 50, 75, 90, 95, 99, 100)
"""In percent."""

FOREIGN_TEMPLATE_SHARE = 0.5
NOT_LEARNING_SHARE = 0.1
MANY_REJECTED_SHARE = 0.01


@dataclass(kw_only=True)
class Summary:
    """Add batches of `SCORE_SCHEMA`, then read `as_dict` and `warnings`. Holds 8 bytes a row."""

    num_rows: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    flags: Counter[Flag] = field(default_factory=Counter)
    nats: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    _scores: list[npt.NDArray[np.float64]] = field(default_factory=list)

    def add(self, batch: pa.RecordBatch) -> None:
        """Count the rows of a batch."""
        self.num_rows += batch.num_rows
        self._scores.append(batch.column("score").drop_null().to_numpy(zero_copy_only=False))
        for entry in pc.value_counts(batch.column("reason").drop_null()).to_pylist():
            self.reasons[entry["values"]] += entry["counts"]
        bits = batch.column("flags").to_numpy(zero_copy_only=False)
        for flag, bit in FLAG_BITS.items():
            self.flags[flag] += int(np.count_nonzero(bits & bit))
        for side in ("conditioned", "direct"):
            self.nats[side] += pc.sum(batch.column(f"nll_{side}"), min_count=0).as_py()
            self.tokens[side] += pc.sum(batch.column(f"tokens_{side}"), min_count=0).as_py()

    @property
    def num_rejected(self) -> int:
        """Rows without a score."""
        return self.reasons.total()

    def as_dict(self, method: Method = "ifd") -> dict[str, Any]:
        """The summary as it is stored with the run. A score of 1 means something to IFD alone."""
        scores = np.concatenate([np.empty(0), *self._scores])
        return {
            "rows": self.num_rows,
            "scored": len(scores),
            "rejected": self.num_rejected,
            "rejected_by_reason": dict(sorted(self.reasons.items())),
            "flagged": {flag.value: count for flag, count in self.flags.items() if count},
            "quantiles": _quantiles(scores),
            "share_at_least_1": _share(int(np.count_nonzero(scores >= 1)), len(scores))
            if method == "ifd"
            else None,
            "share_truncated": _share(self.flags[Flag.TRUNCATED], len(scores)),
            "mean_loss_conditioned": _share(self.nats["conditioned"], self.tokens["conditioned"]),
            "mean_loss_direct": _share(self.nats["direct"], self.tokens["direct"]),
            "tokens_conditioned": self.tokens["conditioned"],
            "tokens_direct": self.tokens["direct"],
        }


def warnings(summary: dict[str, Any]) -> list[str]:
    """What the owner of a run should look at before using its scores."""
    found = []
    at_least_1 = summary["share_at_least_1"]
    if at_least_1 is not None and at_least_1 > FOREIGN_TEMPLATE_SHARE:
        found.append(
            f"{at_least_1:.0%} of the scored rows have a score of 1 or more, where the prompt does not help: the "
            "template may be foreign to the model, or prompts and answers do not belong together."
        )
    unlearned = _share(summary["flagged"].get(Flag.UNLEARNED, 0), summary["scored"])
    if unlearned is not None and unlearned > NOT_LEARNING_SHARE:
        found.append(
            f"The proxy did not learn: {unlearned:.0%} of the scored rows are harder for it after training than "
            "before. Give it another learning_rate or more n_epochs; subsets leave such rows out unless "
            "include_unlearned asks for them."
        )
    rejected = _share(summary["rejected"], summary["rows"])
    if rejected is not None and rejected > MANY_REJECTED_SHARE:
        reasons = summary["rejected_by_reason"]
        most = max(reasons, key=lambda reason: reasons[reason])
        found.append(
            f"{rejected:.1%} of the rows were rejected, most of them as {most}: read the rejections, each says what "
            "to change."
        )
    return found


def _quantiles(scores: npt.NDArray[np.float64]) -> dict[str, float]:
    if not len(scores):
        return {}
    values = np.percentile(scores, QUANTILES)
    return {
        str(percent): round(float(value), SCORE_DECIMALS)
        for percent, value in zip(QUANTILES, values, strict=True)
    }


def _share(part: float, whole: int) -> float | None:
    return round(part / whole, SCORE_DECIMALS) if whole else None
