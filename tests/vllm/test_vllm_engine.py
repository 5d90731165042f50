"""The vLLM engine in this process: the common suite, and what is its own."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file
from vllm import SamplingParams

from tests.proxy.engine_suite import (
    EDGES,
    POSITIONS,
    EngineSuite,
    Reference,
    agree,
    losses,
    spans,
)
from tests.proxy.folders import TINY
from tests.vllm.torch_losses import TorchProcess
from winnow.errors import EngineError, ModelError, RevisionMismatch
from winnow.proxy.engine import Span
from winnow.proxy.loading import load_engine
from winnow.proxy.vllm_engine import VLLMEngine
from winnow.settings import Settings
from winnow.spec import RunSpec

BROKEN_AT = 100
"""Position from which on the broken model knows no number."""

SMALL_STEP = 64
"""Tokens in a step that are fewer than those of the longest span."""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The golden model in a folder that a test may spoil."""
    return shutil.copytree(TINY, tmp_path / "model")


def rewrite(folder: Path, change: Callable[[dict[str, object]], None]) -> None:
    """Change the weights in a folder."""
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


class TestVLLMEngine(EngineSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, folder: Path) -> VLLMEngine:
        spec = RunSpec(model=str(folder), engine="vllm", token_budget=512)
        engine = load_engine(spec, settings=Settings())
        assert isinstance(engine, VLLMEngine)
        return engine

    @pytest.fixture(scope="class")
    @classmethod
    def reference(cls, folder: Path) -> Reference:
        return TorchProcess(folder=folder).losses

    def test_this_build_is_asked_for_every_token(self, engine: VLLMEngine) -> None:
        """It has the field, and its model runner V1 refuses it."""
        assert "prompt_logprob_token_ids" in SamplingParams.__struct_fields__
        assert not engine.scores_token_ids

    def test_what_vllm_leaves_out_is_asked_for_in_the_other_way(self, engine: VLLMEngine) -> None:
        expected = losses(engine, spans())
        forgetful = Forgetful(engine)
        heard: list[int] = []
        answered = forgetful.losses(spans(), on_batch=heard.append, on_replan=lambda _: None)
        assert agree(answered, expected)
        assert heard == sorted(set(heard))
        assert heard[-1] == len(spans())

    def test_vllm_that_answers_in_no_way_is_an_engine_error(self, engine: VLLMEngine) -> None:
        with pytest.raises(EngineError, match="no log-probabilities for 60 spans"):
            losses(Silent(engine), spans())

    def test_a_token_is_asked_for_at_the_position_before_it(self, engine: VLLMEngine) -> None:
        for span in spans(5):
            asked = engine._by_token_id(span)
            rows = asked.prompt_logprob_token_ids
            assert asked.prompt_logprob_start is not None
            after = [asked.prompt_logprob_start + 1 + row for row in range(len(rows))]
            assert rows[:, 0].tolist() == [span.tokens[at] for at in after]
            assert after[0] == span.start
            assert after[-1] == len(span.tokens) - 1

    def test_vllm_that_fails_is_an_engine_error_and_is_loaded_anew(
        self, engine: VLLMEngine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        expected = losses(engine, spans())

        def fail() -> None:
            raise RuntimeError("the device is gone")

        assert engine._llm is not None
        with monkeypatch.context() as patched:
            patched.setattr(engine._llm.llm_engine, "step", fail)
            with pytest.raises(EngineError, match="the device is gone"):
                losses(engine, spans())
        assert losses(engine, spans()) == expected

    def test_vllm_is_given_one_position_more_than_any_span_has(self, engine: VLLMEngine) -> None:
        assert engine._llm is not None
        assert engine._llm.llm_engine.model_config.max_model_len == POSITIONS + 1


class Forgetful(VLLMEngine):
    """An engine on another one's vLLM that asks in a way that gets no answer before it asks for every token."""

    scores_token_ids = True

    def __init__(self, engine: VLLMEngine) -> None:
        self.__dict__.update(engine.__dict__)

    def _by_token_id(self, span: Span) -> SamplingParams:  # noqa: ARG002
        return SamplingParams(max_tokens=1, detokenize=False)


class Silent(Forgetful):
    """An engine that gets no answer in either way."""

    def _all_tokens(self, span: Span) -> SamplingParams:
        return self._by_token_id(span)


def test_a_span_longer_than_a_step_is_computed_in_parts() -> None:
    batch = [*spans(20), *EDGES]
    engine = VLLMEngine(TINY, token_budget=SMALL_STEP)
    assert agree(losses(engine, batch), TorchProcess(folder=TINY).losses(batch))


def test_bfloat16_is_near_float32() -> None:
    coarse = VLLMEngine(TINY, dtype="bfloat16", token_budget=512)
    fine = TorchProcess(folder=TINY).losses(spans(20))
    assert [loss.mean for loss in losses(coarse, spans(20))] == pytest.approx(
        [loss.mean for loss in fine], abs=0.1
    )


def test_a_span_with_nan_leaves_those_beside_it_their_losses(copy: Path) -> None:
    def spoil(weights: dict[str, object]) -> None:
        name = next(name for name in weights if name.endswith("wpe.weight"))
        weights[name][BROKEN_AT] = math.nan  # type: ignore[index]

    rewrite(copy, spoil)
    batch = spans(20)
    got = losses(VLLMEngine(copy, token_budget=512), batch)
    long = {at for at, span in enumerate(batch) if len(span.tokens) > BROKEN_AT + 1}
    assert 0 < len(long) < len(batch)
    assert {at for at, loss in enumerate(got) if math.isnan(loss.nll)} == long
    kept = [at for at in range(len(batch)) if at not in long]
    expected = TorchProcess(folder=TINY).losses([batch[at] for at in kept])
    assert agree([got[at] for at in kept], expected)


def test_missing_weights_are_refused_rather_than_drawn_at_random(copy: Path) -> None:
    rewrite(copy, lambda weights: weights.pop(next(n for n in weights if "c_attn.weight" in n)))
    with pytest.raises(ModelError, match="incomplete"):
        VLLMEngine(copy)


def test_a_model_with_code_of_its_own_is_refused(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config |= {
        "model_type": "mine",
        "auto_map": {"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"},
    }
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "mine.py").write_text("raise SystemExit('this code must not run')")
    with pytest.raises(ModelError):
        VLLMEngine(copy)


def test_vllm_is_not_loaded_anew_from_other_files(copy: Path) -> None:
    engine = VLLMEngine(copy, token_budget=512)
    engine._llm = None
    config = copy / "config.json"
    config.write_text(config.read_text() + "\n")
    with pytest.raises(RevisionMismatch, match="replaced"):
        losses(engine, spans(1))
