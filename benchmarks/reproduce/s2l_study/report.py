"""The tables of the study: accuracy by selection and budget, the paired claim, and whether the mechanism holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import t

from benchmarks.reproduce.place import markdown, number
from benchmarks.reproduce.s2l_study.families import (
    LARGEST,
    NAMES_OF_FAMILIES,
    NOISE,
    SMALLEST,
    TESTS,
)
from benchmarks.reproduce.s2l_study.selections import NAMES, Name
from benchmarks.reproduce.s2l_study.study import BUDGETS, Study

Results = Sequence[dict[str, Any]]
CLAIM: tuple[Name, Name] = ("s2l", "random")
TITLES = {"steps": "At equal steps", "epochs": "At equal epochs"}


def render(results: Results, study: Study) -> str:
    """All tables over the seeds that are complete."""
    complete = _complete(results)
    kept = [line for line in results if line["seed"] in complete]
    if not kept:
        return "Not measured yet: no seed is complete."
    parts = [_setting(study, complete)]
    for budget in BUDGETS:
        lines = [line for line in kept if line["budget"] == budget]
        parts += [f"### {TITLES[budget]}", _accuracies(lines), _claims(lines)]
    steps = [line for line in kept if line["budget"] == "steps"]
    parts += ["### By family, at equal steps", _by_family(steps, kept)]
    parts += ["### Whether the mechanism holds", _mechanism(kept)]
    return "\n\n".join(parts)


def _complete(results: Results) -> list[int]:
    wanted = len(NAMES) * len(BUDGETS) + 1
    seeds = [line["seed"] for line in results]
    return [seed for seed in sorted(set(seeds)) if seeds.count(seed) == wanted]


def _setting(study: Study, seeds: Sequence[int]) -> str:
    return (
        f"{len(NAMES_OF_FAMILIES)} task families of {SMALLEST} to {LARGEST:,} records and {len(NOISE)} of label noise, "
        f"{TESTS} tests of each family; {study.ratio:.0%} of the records by each selection. The proxy has width "
        f"{study.proxy.width} and {study.proxy.layers} layers, the target width {study.target.width} and "
        f"{study.target.layers}; batches of {study.batch_size}; {study.steps} steps, or {study.epochs} epochs; "
        f"paired seeds: {len(seeds)}. Accuracy is exact match under greedy decoding, averaged over the families "
        "without noise. Models begin with random weights; IFD is that of the proxy after its first epoch; the oracle, "
        "which selects by family, spreads over the families of noise too. Sizes, steps and epochs were chosen by "
        "looking at another seed, which is left out."
    )


def macro(line: dict[str, Any]) -> float:
    """The mean accuracy over the families."""
    return float(np.mean([line["accuracy"][name] for name in NAMES_OF_FAMILIES]))


def _of(lines: Results, name: Name) -> list[dict[str, Any]]:
    return sorted((line for line in lines if line["selection"] == name), key=_seed)


def _seed(line: dict[str, Any]) -> int:
    return int(line["seed"])


def _accuracies(lines: Results) -> str:
    rows = []
    for name in NAMES:
        found = _of(lines, name)
        noise = np.mean([line["noise_rows"] / line["rows"] for line in found])
        rows.append(
            [
                name,
                f"{np.mean([line['rows'] for line in found]):,.0f}",
                f"{np.mean([line['steps'] for line in found]):,.0f}",
                f"{noise:.1%}",
                number(float(np.mean([macro(line) for line in found]))),
                " ".join(number(macro(line)) for line in found),
            ]
        )
    return markdown(["selection", "records", "steps", "noise", "macro accuracy", "by seed"], rows)


def difference(lines: Results, better: Name, worse: Name) -> tuple[float, float, float]:
    """The mean paired difference of macro accuracy over seeds with its 95 % interval by Student's t; of one, NaN."""
    pairs = zip(_of(lines, better), _of(lines, worse), strict=True)
    gaps = [macro(a) - macro(b) for a, b in pairs]
    mean = float(np.mean(gaps))
    if len(gaps) < 2:
        return mean, float("nan"), float("nan")
    half = float(t.ppf(0.975, len(gaps) - 1) * np.std(gaps, ddof=1) / np.sqrt(len(gaps)))
    return mean, mean - half, mean + half


def _claims(lines: Results) -> str:
    _, low, _ = difference(lines, *CLAIM)
    verdict = "**holds**" if low > 0 else "**does not hold**"
    if np.isnan(low):
        verdict = "takes more seeds than one"
    others = [f"- {_gap(lines, other)}" for other in NAMES if other not in CLAIM]
    claim = f"{_gap(lines, CLAIM[1])}. The claim that it is above 0 {verdict}."
    return "\n".join([claim, "", *others])


def _gap(lines: Results, other: Name) -> str:
    mean, low, high = difference(lines, CLAIM[0], other)
    interval = "" if np.isnan(low) else f", 95 % from {low:+.3f} to {high:+.3f}"
    return f"S2L - {other}: {mean:+.3f}{interval}"


def _by_family(steps: Results, kept: Results) -> str:
    """Families by size rank: which family has which size differs by seed, so sizes are what can be averaged."""
    rows = []
    for rank in range(len(NAMES_OF_FAMILIES)):
        cells = [
            number(float(np.mean([_at_rank(line, rank, kept)[0] for line in _of(steps, name)])))
            for name in NAMES
        ]
        size = _at_rank(_of(steps, "everything")[0], rank, kept)[1]
        rows.append([f"{size:,}", *cells])
    return markdown(["records of the family", *NAMES], rows)


def _at_rank(line: dict[str, Any], rank: int, kept: Results) -> tuple[float, int]:
    """Accuracy on the family of a seed with this rank by size, and that size."""
    everything = next(one for one in _of(kept, "everything") if one["seed"] == line["seed"])
    sizes = {name: everything["family_rows"][name] for name in NAMES_OF_FAMILIES}
    name = sorted(sizes, key=lambda one: (-sizes[one], one))[rank]
    return line["accuracy"][name], sizes[name]


def _mechanism(kept: Results) -> str:
    lines = [line["groups"] for line in kept if line["selection"] == "mechanism"]
    rows = [
        [
            name,
            *(
                number(float(np.mean([line[name][kind] for line in lines])))
                for kind in ("normalized", "adjusted")
            ),
        ]
        for name in lines[0]
    ]
    head = ["groups", "mutual information with the families, normalized", "adjusted for chance"]
    return markdown(head, rows)
