"""From a run's options to an engine."""

from __future__ import annotations

import sys

import pytest

from tests.proxy.folders import TINY
from winnow.errors import DependencyMissing, ModelNotFound
from winnow.proxy.loading import load_engine
from winnow.proxy.models import revision
from winnow.proxy.torch_engine import TorchEngine
from winnow.spec import RunSpec


def test_an_engine_has_the_settings_of_its_run() -> None:
    spec = RunSpec(model=str(TINY), dtype="bfloat16", token_budget=77)
    engine = load_engine(spec, device="cpu", threads=1)
    assert isinstance(engine, TorchEngine)
    assert (engine.dtype, engine.token_budget) == ("bfloat16", 77)
    assert engine.revision == revision(TINY)


def test_a_missing_model_is_an_error_and_never_another_model() -> None:
    with pytest.raises(ModelNotFound):
        load_engine(RunSpec(model="gpt2"))


def test_without_torch_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "winnow.proxy.torch_engine", None)
    with pytest.raises(DependencyMissing, match="pip install"):
        load_engine(RunSpec(model=str(TINY)))
