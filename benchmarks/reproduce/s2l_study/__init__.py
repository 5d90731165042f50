"""S2L on task families that are known, at a scale that two cores hold.

    families     twenty synthetic tasks of Zipf sizes, two families of label noise, tests that training never saw
    tiny_gpt     a GPT-2 of some ten thousand parameters, its training, losses and exact matches
    selections   the rows that each way of choosing keeps
    study        seeds x selections x budgets, each result kept as it comes
    report       tables and the claim with its paired interval

What it can show: whether clusters of loss trajectories bring rare families back, and whether a larger model gains from
it. What it cannot: how large the gain is on human data.
"""

from __future__ import annotations

from benchmarks.reproduce.place import Place
from benchmarks.reproduce.s2l_study.report import render
from benchmarks.reproduce.s2l_study.study import Study, run


def section(place: Place) -> str:
    """Run what is missing of the study, and report."""
    study = Study()
    return render(run(place.folder("s2l_study"), place.seeds, study), study)
