"""The statistics of `bench_mini`: rank correlations, AUC, and the overlap baseline."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Floats = npt.NDArray[np.float64]


def spearman(a: Floats, b: Floats) -> float:
    """Correlation of the ranks."""
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def partial_spearman(a: Floats, b: Floats, given: Floats) -> float:
    """Spearman of `a` and `b` with the ranks of `given` partialled out."""
    ab, ag, bg = spearman(a, b), spearman(a, given), spearman(b, given)
    return (ab - ag * bg) / math.sqrt((1 - ag**2) * (1 - bg**2))


def pooled_auc(lower: Floats, higher: Floats) -> float:
    """Chance that a value of `lower` is below a value of `higher`; ties count half."""
    ranks = rankdata(np.concatenate([lower, higher]))[len(lower) :]
    wins = ranks.sum() - len(higher) * (len(higher) + 1) / 2
    return float(wins / (len(lower) * len(higher)))


def paired_rate(lower: Floats, higher: Floats) -> float:
    """Share of positions at which `lower` is below `higher`."""
    return float((lower < higher).mean())


def idf_overlap(
    prompts: Sequence[str], answers: Sequence[str], *, documents: Sequence[str]
) -> Floats:
    """Share of an answer's words, weighted by rarity, that its prompt contains as well."""
    frequency = Counter(word for document in documents for word in _words(document))
    weight = {word: math.log(len(documents) / count) for word, count in frequency.items()}

    def share(prompt: set[str], answer: set[str]) -> float:
        total = sum(weight[word] for word in answer)
        return sum(weight[word] for word in answer & prompt) / total if total else 0.0

    pairs = zip(prompts, answers, strict=True)
    return np.array([share(_words(prompt), _words(answer)) for prompt, answer in pairs])


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))
