"""What a run may ask for: defaults by method, refusals by name, and what two runs must share to share a trajectory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from winnow.errors import InvalidOption
from winnow.spec import RunSpec, TrajectorySpec, fingerprint

SPECS = [
    RunSpec.make(),
    RunSpec.make(template="chat", embeddings="sentence-transformers:./mini", num_clusters=7),
    RunSpec.make(method="learning_percentage", n_epochs=5, epoch=4, compat="small2large"),
    RunSpec.make(method="s2l", learning_rate=3e-4, batch_size=16, checkpoints=None, seed=7),
    RunSpec.make(method="s2l", checkpoints="/mine", embeddings=True),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.method)
def test_a_spec_is_read_as_it_was_written(spec: RunSpec) -> None:
    assert RunSpec.read(orjson.loads(orjson.dumps(spec.as_dict()))) == spec


def test_a_spec_from_before_trajectories_is_read() -> None:
    old = RunSpec.make(statistic="loss_ratio").as_dict()
    for name in ("trajectory", "embeddings", "num_clusters", "epoch", "compat"):
        del old[name]
    assert RunSpec.read(old) == RunSpec.make(statistic="loss_ratio")


def test_defaults_are_those_of_the_method() -> None:
    ifd, lp, s2l = (RunSpec.make(method=name) for name in ("ifd", "learning_percentage", "s2l"))
    assert [spec.statistic for spec in (ifd, lp, s2l)] == ["ppl_ratio", "lp", "lp"]
    assert [spec.template for spec in (ifd, lp, s2l)] == ["plain", "alpaca", "alpaca"]
    assert [spec.max_length for spec in (ifd, lp, s2l)] == [None, 512, 512]
    assert [spec.embeddings for spec in (ifd, lp, s2l)] == [None, "proxy", None]
    assert ifd.trajectory is None
    assert lp.trajectory == s2l.trajectory == TrajectorySpec()
    assert RunSpec.make(template="chat").convention == "paired"


def test_the_trajectory_knows_what_the_run_says() -> None:
    spec = RunSpec.make(method="s2l", template="plain", max_length=64, seed=5, points=3)
    assert spec.trajectory == TrajectorySpec(template="plain", max_length=64, seed=5, points=3)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (True, "proxy"), ("true", "proxy"), ("proxy", "proxy"), (False, None), ("false", None),
        ("sentence-transformers:m@1", "sentence-transformers:m@1"),
    ],
)  # fmt: skip
def test_embeddings_are_a_yes_a_no_or_a_name(given: str | bool, meant: str | None) -> None:
    assert RunSpec.make(method="learning_percentage", embeddings=given).embeddings == meant


LP: dict[str, Any] = {"method": "learning_percentage"}


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"method": "magic"}, "method"),
        ({"statistic": "lp"}, "statistic"),
        ({"method": "s2l", "statistic": "approx"}, "statistic"),
        ({"n_epochs": 3}, "n_epochs"),
        ({"checkpoints": "/mine"}, "checkpoints"),
        ({"keep_weights": True}, "keep_weights"),
        ({"epoch": 1}, "epoch"),
        ({"method": "s2l", "compat": "small2large"}, "compat"),
        (LP | {"convention": "paired"}, "convention"),
        (LP | {"epoch": 4}, "epoch"),
        (LP | {"epoch": 0}, "epoch"),
        (LP | {"n_epochs": 1}, "n_epochs"),
        (LP | {"statistic": "approx", "epoch": 2}, "epoch"),
        (LP | {"points": 0}, "points"),
        (LP | {"points": 101}, "points"),
        (LP | {"batch_size": 0}, "batch_size"),
        (LP | {"learning_rate": 2.0}, "learning_rate"),
        (LP | {"max_length": 4}, "max_length"),
        (LP | {"seed": -1}, "seed"),
        (LP | {"checkpoints": "/mine", "batch_size": 8}, "batch_size"),
        (LP | {"compat": "other"}, "compat"),
        (LP | {"engine": "vllm-server", "embeddings": False}, "engine"),
        (LP | {"engine": "vllm"}, "embeddings"),
        ({"engine": "vllm", "embeddings": True}, "embeddings"),
        ({"embeddings": "maybe"}, "embeddings"),
        ({"embeddings": "sentence-transformers:"}, "embeddings"),
        ({"num_clusters": 5}, "num_clusters"),
        (LP | {"num_clusters": 0}, "num_clusters"),
    ],
)
def test_what_cannot_be_is_refused_by_name(options: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidOption) as refused:
        RunSpec.make(**options)
    assert refused.value.param == param


def test_an_option_that_says_no_is_no_option() -> None:
    assert RunSpec.make(keep_weights=False) == RunSpec.make()


@pytest.mark.parametrize(
    "options",
    [{"n_epochs": 1, "statistic": "approx"}, {"engine": "vllm", "embeddings": False}],
)
def test_what_can_be_is_made(options: dict[str, Any]) -> None:
    assert RunSpec.make(**LP, **options).trajectory is not None


def test_both_methods_share_a_trajectory_and_its_weights_do_not_matter() -> None:
    first = fingerprint(RunSpec.make(method="learning_percentage"))
    assert first == fingerprint(RunSpec.make(method="s2l", keep_weights=True, embeddings=True))
    assert first == fingerprint(RunSpec.make(method="learning_percentage", epoch=2, cache=True))


@pytest.mark.parametrize(
    "options",
    [
        {"model": "other"}, {"dtype": "bfloat16"}, {"token_budget": 64}, {"n_epochs": 2},
        {"points": 4}, {"batch_size": 8}, {"learning_rate": 1e-4}, {"template": "plain"},
        {"max_length": 64}, {"seed": 1}, {"checkpoints": "/mine"},
    ],
)  # fmt: skip
def test_what_decides_a_trajectory_is_in_its_fingerprint(options: dict[str, Any]) -> None:
    assert fingerprint(RunSpec.make(method="s2l", **options)) != fingerprint(
        RunSpec.make(method="s2l")
    )


def test_a_frozen_proxy_has_no_trajectory() -> None:
    with pytest.raises(ValueError, match="no trajectory"):
        fingerprint(replace(RunSpec.make(), seed=1))
