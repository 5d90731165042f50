"""From a run's options to an engine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.proxy.folders import TINY
from winnow.errors import ConfigurationError, DependencyMissing, ModelNotFound
from winnow.proxy.loading import check_engine, load_engine
from winnow.proxy.models import revision
from winnow.proxy.torch_engine import TorchEngine
from winnow.proxy.vllm_environment import VARIABLES
from winnow.settings import Settings
from winnow.spec import RunSpec

CPU = Settings(device="cpu")


def test_an_engine_has_the_settings_of_its_run() -> None:
    spec = RunSpec(model=str(TINY), dtype="bfloat16", token_budget=77)
    engine = load_engine(spec, settings=CPU, threads=1)
    assert isinstance(engine, TorchEngine)
    assert (engine.dtype, engine.token_budget) == ("bfloat16", 77)
    assert engine.revision == revision(TINY)


def test_a_missing_model_is_an_error_and_never_another_model() -> None:
    with pytest.raises(ModelNotFound):
        load_engine(RunSpec(model="gpt2"), settings=CPU)


def test_without_torch_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "winnow.proxy.torch_engine", None)
    with pytest.raises(DependencyMissing, match="pip install"):
        load_engine(RunSpec(model=str(TINY)), settings=CPU)


def test_without_vllm_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "winnow.proxy.vllm_engine", None)
    for name in VARIABLES:
        monkeypatch.setenv(name, "kept")
    with pytest.raises(DependencyMissing, match="pip install"):
        load_engine(RunSpec(model=str(TINY), engine="vllm"), settings=CPU)
    assert {os.environ[name] for name in VARIABLES} == {"kept"}


def test_a_worker_does_not_offer_an_engine_that_it_cannot_load() -> None:
    check_engine(CPU)
    with pytest.raises(DependencyMissing, match="vLLM"):
        check_engine(Settings(engine="vllm"))
    with pytest.raises(ConfigurationError, match="WINNOW_VLLM_URL"):
        check_engine(Settings(engine="vllm-server"))


def test_a_run_on_vllm_has_the_token_budget_of_vllm() -> None:
    settings = Settings(token_budget=100, vllm_batched_tokens=200)
    assert [settings.budget_of(name) for name in ("torch", "vllm", "vllm-server")] == [
        100,
        200,
        100,
    ]


def test_the_environment_of_vllm_is_set_without_importing_torch_and_changes_no_choice(
    tmp_path: Path,
) -> None:
    code = (
        "import os, sys; from winnow.proxy.vllm_environment import prepare_environment; prepare_environment(); "
        "print('torch' in sys.modules, os.environ['VLLM_PLUGINS'], os.environ['VLLM_LOGGING_LEVEL'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            "PATH": os.environ["PATH"],
            "VLLM_LOGGING_LEVEL": "DEBUG",
            "PYTHONPATH": str(Path.cwd()),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False  DEBUG\n"
