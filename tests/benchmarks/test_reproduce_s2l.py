"""The study of S2L: its tasks, its models, its selections, and what its report concludes."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.reproduce.s2l_study import families, report, selections, study, tiny_gpt
from benchmarks.reproduce.s2l_study.families import FAMILIES, NAMES_OF_FAMILIES, NOISE, TESTS
from winnow.proxy.engine import SpanLoss
from winnow.scores import RowScore
from winnow.trajectory import TrajectoryLosses, planned

SIZE = tiny_gpt.Size(width=16, layers=1, heads=2)
ROWS = 2200


@pytest.fixture(scope="module")
def tasks() -> families.Tasks:
    return families.make_tasks(seed=3)


def test_sizes_fall_from_the_largest_to_the_smallest() -> None:
    sizes = families.zipf_sizes(len(FAMILIES))
    assert (sizes[0], sizes[-1]) == (families.LARGEST, families.SMALLEST)
    assert sizes == sorted(sizes, reverse=True)


def test_no_prompt_of_a_test_is_trained_on_and_every_family_is_tested(
    tasks: families.Tasks,
) -> None:
    trained = [row.prompt for row in tasks.train]
    assert len(set(trained)) == len(trained)
    assert not set(trained) & {row.prompt for row in tasks.tests}
    assert Counter(row.family for row in tasks.tests) == dict.fromkeys(NAMES_OF_FAMILIES, TESTS)
    sizes = Counter(row.family for row in tasks.train)
    assert sizes.keys() == {*NAMES_OF_FAMILIES, *NOISE}
    assert {row.difficulty for row in tasks.train} == {1, 2, 3}


def test_a_seed_makes_the_same_tasks(tasks: families.Tasks) -> None:
    assert families.make_tasks(seed=3) == tasks


@pytest.mark.parametrize(
    ("name", "items", "answer"),
    [
        ("sum", "3 9", "12"),
        ("difference", "3 9 4", "6"),
        ("reverse", "a d b", "b d a"),
        ("sort", "c a b", "a b c"),
        ("successor", "a j", "b a"),
        ("tomorrow", "sunday", "monday"),
        ("season", "jul dec", "summer winter"),
        ("city", "bosna", "brint"),
    ],
)
def test_answers_follow_from_items(name: str, items: str, answer: str) -> None:
    family = next(family for family in FAMILIES if family.name == name)
    assert list(family.answer(items.split())) == answer.split()


@pytest.fixture(scope="module")
def rows(tasks: families.Tasks) -> list[families.Row]:
    return tasks.train[:96]


@pytest.fixture(scope="module")
def trained(rows: list[families.Row]) -> tiny_gpt.TinyGPT:
    torch.manual_seed(0)
    words = tiny_gpt.vocabulary(rows)
    model = tiny_gpt.TinyGPT(SIZE, num_words=len(words) + 1, window=16)
    training = tiny_gpt.Training(steps=150, batch_size=16, learning_rate=1e-2, seed=0)
    tiny_gpt.train(model, tiny_gpt.encode(rows, words), np.arange(len(rows)), training)
    return model


def test_a_match_is_what_greedy_decoding_finds(
    trained: tiny_gpt.TinyGPT, rows: list[families.Row]
) -> None:
    words = tiny_gpt.vocabulary(rows)
    found = tiny_gpt.exact_matches(trained, tiny_gpt.encode(rows, words))
    assert 0 < found.sum() < len(rows)
    for row, matched in zip(rows, found, strict=True):
        ids = [tiny_gpt.END, *(words[word] for word in row.prompt)]
        answer = [*(words[word] for word in row.answer), tiny_gpt.END]
        with torch.no_grad():
            for _ in answer:
                state = trained.states(torch.tensor([ids]))[0, -1]
                ids.append(int(trained.logits(state).argmax()))
        assert matched == (ids[-len(answer) :] == answer)


def test_a_loss_is_the_sum_over_answer_and_end_whatever_stands_beside_the_row(
    trained: tiny_gpt.TinyGPT, rows: list[families.Row]
) -> None:
    words = tiny_gpt.vocabulary(rows)
    nll, counts = tiny_gpt.answer_losses(trained, tiny_gpt.encode(rows, words))
    assert counts.tolist() == [len(row.answer) + 1 for row in rows]
    alone, _ = tiny_gpt.answer_losses(trained, tiny_gpt.encode(rows[7:8], words))
    assert nll[7] == pytest.approx(alone[0], abs=1e-4)
    ended, fewer = tiny_gpt.answer_losses(trained, tiny_gpt.encode(rows, words, with_end=False))
    assert (counts - fewer).tolist() == [1] * len(rows)
    assert (ended < nll).all()


def test_selections_meet_the_rows_they_share_in_the_same_order() -> None:
    training = tiny_gpt.Training(steps=1, batch_size=2, learning_rate=0.1, seed=4)
    orders = []
    for chosen in (np.arange(10), np.array([1, 3, 5, 8])):
        batches = tiny_gpt._batches(10, chosen, training)
        orders.append(
            [
                row
                for _, batch in zip(range(len(chosen) // 2), batches, strict=False)
                for row in batch
            ]
        )
    assert [row for row in orders[0] if row in orders[1]] == orders[1]


@pytest.fixture
def evidence() -> selections.Evidence:
    """Three families, the rarest of sixty rows, that differ in how fast they are learned and where they lie."""
    draw = np.random.default_rng(2)
    family = np.repeat(np.arange(3, dtype=np.int32), [1440, 700, 60])
    checkpoints = tuple(planned(120, selections.EPOCHS, selections.POINTS))
    times = np.linspace(0, 3, len(checkpoints))
    rates = np.array([3.0, 1.0, 0.1])[family]
    nll = 5 * np.exp(-np.outer(times, rates)) + draw.normal(0, 0.01, (len(times), ROWS))
    losses = TrajectoryLosses(
        checkpoints=checkpoints,
        rows=np.arange(ROWS),
        nll=nll,
        num_tokens=np.ones(ROWS, dtype=np.int32),
        flags=np.zeros(ROWS, dtype=np.int16),
        reasons=[None] * ROWS,
        details=[None] * ROWS,
    )
    one = SpanLoss(nll=1.0, num_tokens=1)
    return selections.Evidence(
        losses=losses,
        ifd=[
            RowScore(row=row, score=float(score), conditioned=one, direct=one)
            for row, score in enumerate(draw.uniform(0.5, 1.5, ROWS))
        ],
        embeddings=draw.normal(size=(ROWS, 4)).astype(np.float32),
        families=family,
    )


@pytest.mark.parametrize("name", selections.NAMES)
def test_a_selection_keeps_its_share_and_repeats_itself(
    evidence: selections.Evidence, name: selections.Name
) -> None:
    chosen = selections.choose(name, evidence, 300, seed=1)
    assert len(set(chosen.tolist())) == len(chosen) == (ROWS if name == "everything" else 300)
    assert chosen.tolist() == selections.choose(name, evidence, 300, seed=1).tolist()


def test_the_oracle_takes_equal_parts_and_s2l_more_of_what_is_rare_than_chance(
    evidence: selections.Evidence,
) -> None:
    kept = {
        name: Counter(evidence.families[selections.choose(name, evidence, 300, seed=1)].tolist())
        for name in ("families", "s2l", "random")
    }
    assert kept["families"] == {0: 120, 1: 120, 2: 60}
    assert kept["s2l"][2] > kept["random"][2]


def test_clusters_of_trajectories_tell_the_families_apart(evidence: selections.Evidence) -> None:
    found = selections.mechanism(evidence)
    assert found["s2l"]["adjusted"] > 0.2 > found["embeddings"]["adjusted"]


def _results(seeds: int, gain: float) -> list[dict[str, Any]]:
    """A finished study in which S2L is `gain` better than every other selection, more or less by seed."""
    lines: list[dict[str, Any]] = []
    kinds = {"normalized": 0.5, "adjusted": 0.4}
    settings = asdict(study.Study())
    for seed in range(study.FIRST_SEED, study.FIRST_SEED + seeds):
        groups = dict.fromkeys(("s2l", "embeddings", "length"), kinds)
        lines.append(
            {
                "study": settings,
                "seed": seed,
                "selection": "mechanism",
                "budget": "",
                "groups": groups,
            }
        )
        for budget in study.BUDGETS:
            for name in selections.NAMES:
                accuracy = 0.5 + seed / 100 + (gain * (1 + seed / 10) if name == "s2l" else 0)
                lines.append(
                    {
                        "study": settings,
                        "seed": seed,
                        "selection": name,
                        "budget": budget,
                        "rows": 100,
                        "steps": 10,
                        "noise_rows": 5,
                        "family_rows": dict.fromkeys(NAMES_OF_FAMILIES, 7),
                        "accuracy": dict.fromkeys(NAMES_OF_FAMILIES, accuracy),
                    }
                )
    return lines


def test_the_claim_holds_if_the_whole_interval_is_above_zero() -> None:
    better = report.render(_results(5, 0.1), study.Study())
    assert "S2L - random: +0.130, 95 % from +0.110 to +0.150" in better
    assert "**holds**" in better
    equal = report.render(_results(5, 0.0), study.Study())
    assert "**does not hold**" in equal
    assert "paired seeds: 5" in equal


def test_one_seed_proves_nothing_and_an_unfinished_one_is_left_out() -> None:
    lines = _results(2, 0.1)
    assert "takes more seeds than one" in report.render(lines[:-1], study.Study())
    assert "paired seeds: 1" in report.render(lines[:-1], study.Study())
    assert "no seed is complete" in report.render(lines[:3], study.Study())


def test_a_finished_study_is_read_and_another_study_is_not(tmp_path: Path) -> None:
    lines = _results(2, 0.1)
    other = {**lines[0], "study": {"ratio": 0.5}}
    file = tmp_path / "results.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in [other, *lines]))
    assert study.run(tmp_path, 2, study.Study()) == lines
