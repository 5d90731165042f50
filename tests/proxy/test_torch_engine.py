"""The torch engine: the same numbers alone, together, in any order and on any number of threads."""

from __future__ import annotations

import json
import math
import platform
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BertConfig, BertLMHeadModel

from tests.proxy.engine_suite import EngineSuite, Reference, agree, losses, spans
from tests.proxy.folders import TINY, TOKENIZER_FILES, MakeModel
from winnow.errors import EngineError, InvalidOption, ModelError
from winnow.proxy.engine import Span, SpanLoss
from winnow.proxy.models import revision
from winnow.proxy.torch_engine import TorchEngine


def own_losses(folder: Path, batch: Sequence[Span]) -> list[SpanLoss]:
    """The losses as the model itself computes them, one span at a time."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    made = []
    for span in batch:
        ids = torch.tensor([list(span.tokens)])
        with torch.inference_mode():
            log_probs = model(input_ids=ids).logits[0, :-1].double().log_softmax(-1)
        scored = log_probs.gather(-1, ids[0, 1:, None])[span.start - 1 :, 0]
        made.append(SpanLoss(nll=-float(scored.sum()), num_tokens=len(scored)))
    return made


class TestTorchEngine(EngineSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, folder: Path) -> TorchEngine:
        return TorchEngine(folder, device="cpu", threads=2, token_budget=512)

    @pytest.fixture(scope="class")
    @classmethod
    def reference(cls, folder: Path) -> Reference:
        return lambda batch: own_losses(folder, batch)


def test_a_token_without_an_embedding_makes_its_own_span_nan_and_no_other(
    tiny: TorchEngine,
) -> None:
    batch = spans(count=5)
    unknown = Span(tokens=[1, 2, 1_000_000], start=1)
    found = losses(tiny, [batch[0], unknown, *batch[1:]])
    assert math.isnan(found[1].nll)
    assert found[1].num_tokens == 2
    assert [found[0], *found[2:]] == losses(tiny, batch)


@pytest.mark.parametrize("threads", [2, 3])
def test_the_number_of_threads_changes_no_bit(tiny: TorchEngine, threads: int) -> None:
    batch = spans(count=200)
    wide = TorchEngine(TINY, device="cpu", threads=threads, token_budget=512)
    assert losses(wide, batch) == losses(tiny, batch)


def test_a_lane_computes_on_one_thread_whatever_the_process_uses() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        engine = TorchEngine(TINY, device="cpu", threads=2, token_budget=512)
        assert engine._lanes.pool.submit(torch.get_num_threads).result() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_bfloat16_is_near_float32(tiny: TorchEngine) -> None:
    coarse = TorchEngine(TINY, dtype="bfloat16", device="cpu", threads=1, token_budget=512)
    batch = spans(count=20)
    assert [loss.mean for loss in losses(coarse, batch)] == pytest.approx(
        [loss.mean for loss in losses(tiny, batch)], abs=0.1
    )


def test_a_plain_head_is_applied_to_scored_positions_only(make_model: MakeModel) -> None:
    folder = make_model("llama")
    engine = TorchEngine(folder, device="cpu", threads=1)
    assert engine.projects_scored_only
    batch = spans(count=4, longest=64)
    assert agree(losses(engine, batch), own_losses(folder, batch))


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("gemma2", {"final_logit_softcapping": 5.0, "query_pre_attn_scalar": 16}),
        ("cohere", {"logit_scale": 0.25}),
        ("granite", {"logits_scaling": 4.0}),
    ],
)
def test_a_model_that_changes_its_logits_behind_the_head_runs_its_own_forward_pass(
    make_model: MakeModel, family: str, options: dict[str, object]
) -> None:
    folder = make_model(family, **options)
    engine = TorchEngine(folder, device="cpu", threads=1)
    assert not engine.projects_scored_only
    batch = spans(count=4, longest=64)
    assert agree(losses(engine, batch), own_losses(folder, batch))


def test_gemma_2_keeps_the_cap_on_its_attention(make_model: MakeModel) -> None:
    folder = make_model("gemma2", attn_logit_softcapping=0.5, query_pre_attn_scalar=16)
    engine = TorchEngine(folder, device="cpu", threads=1)
    assert engine._model.config._attn_implementation == "eager"


def test_a_model_that_looks_ahead_is_refused(tmp_path: Path) -> None:
    config = BertConfig(
        vocab_size=1024, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=64, initializer_range=0.5,
    )  # fmt: skip
    BertLMHeadModel(config).save_pretrained(tmp_path)
    for name in TOKENIZER_FILES:
        shutil.copy(TINY / name, tmp_path / name)
    with pytest.raises(ModelError, match="looks ahead"):
        TorchEngine(tmp_path, device="cpu", threads=1)


def test_missing_weights_are_refused_rather_than_drawn_at_random(tmp_path: Path) -> None:
    shutil.copytree(TINY, tmp_path, dirs_exist_ok=True)
    weights = load_file(tmp_path / "model.safetensors")
    lost = next(name for name in weights if "c_attn.weight" in name)
    save_file(
        {name: w for name, w in weights.items() if name != lost},
        tmp_path / "model.safetensors",
        {"format": "pt"},
    )
    with pytest.raises(ModelError, match="incomplete"):
        TorchEngine(tmp_path, device="cpu", threads=1)


def test_weights_cut_short_are_refused(tmp_path: Path) -> None:
    shutil.copytree(TINY, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ModelError, match="cannot be loaded"):
        TorchEngine(tmp_path, device="cpu", threads=1)


def test_a_model_with_code_of_its_own_is_refused(tmp_path: Path) -> None:
    shutil.copytree(TINY, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {
        "model_type": "mine",
        "auto_map": {"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "mine.py").write_text("raise SystemExit('this code must not run')")
    with pytest.raises(ModelError):
        TorchEngine(tmp_path, device="cpu", threads=1)


def test_a_gpu_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InvalidOption, match="no GPU"):
        TorchEngine(TINY, device="cuda")


@pytest.mark.parametrize(
    ("failure", "message"),
    [(torch.OutOfMemoryError("full"), "token_budget"), (RuntimeError("broken"), "broken")],
)
def test_a_failing_device_is_an_engine_error_that_says_what_to_do(
    failure: RuntimeError, message: str
) -> None:
    engine = TorchEngine(TINY, device="cpu", threads=1)

    def fail(**_: object) -> None:
        raise failure

    engine._trunk = fail
    with pytest.raises(EngineError, match=message):
        losses(engine, spans(count=1))


def fail_on_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def fail_on_cpu() -> None:
    torch.empty(2**55, dtype=torch.uint8)


class Scarce:
    """A trunk with memory for so many tokens."""

    def __init__(self, trunk: Any, max_tokens: int, fail: Callable[[], None]) -> None:
        self.trunk, self.max_tokens, self.fail = trunk, max_tokens, fail

    def __call__(self, *, input_ids: torch.Tensor, use_cache: bool) -> Any:
        if input_ids.numel() > self.max_tokens:
            self.fail()
        return self.trunk(input_ids=input_ids, use_cache=use_cache)


def scarce(max_tokens: int, fail: Callable[[], None], *, threads: int = 1) -> TorchEngine:
    engine = TorchEngine(TINY, device="cpu", threads=threads, token_budget=1024)
    engine._trunk = Scarce(engine._trunk, max_tokens, fail)
    return engine


@pytest.mark.parametrize("fail", [fail_on_gpu, fail_on_cpu])
def test_where_memory_runs_out_the_rest_is_done_in_smaller_batches_and_the_caller_hears_of_it(
    tiny: TorchEngine, fail: Callable[[], None]
) -> None:
    batch = spans()
    done, budgets = list[int](), list[int]()
    found = scarce(300, fail).losses(batch, on_batch=done.append, on_replan=budgets.append)
    assert agree(found, losses(tiny, batch))
    assert budgets == sorted(set(budgets), reverse=True)
    assert 150 < budgets[-1] <= 300 < budgets[0] < 1024
    assert done == sorted(set(done))
    assert done[-1] == len(batch)


def test_memory_that_runs_out_late_keeps_what_was_done_and_no_thread_changes_a_bit() -> None:
    class LateScarce(Scarce):
        def __call__(self, *, input_ids: torch.Tensor, use_cache: bool) -> Any:
            short = input_ids.shape[1] < 64
            self.max_tokens = 300 if short else 10_000
            return super().__call__(input_ids=input_ids, use_cache=use_cache)

    outcomes = []
    for threads in (1, 2):
        engine = scarce(300, fail_on_cpu, threads=threads)
        engine._trunk = LateScarce(engine._trunk.trunk, 300, fail_on_cpu)
        done, told = list[int](), list[tuple[int, int]]()
        found = engine.losses(
            spans(count=300),
            on_batch=done.append,
            on_replan=lambda budget, done=done, told=told: told.append((done[-1], budget)),
        )
        outcomes.append((found, done, told))
    assert outcomes[0][2][0][0] > 10
    assert outcomes[0] == outcomes[1]


def test_no_memory_for_a_single_span_is_an_engine_error_after_what_could_be_tried() -> None:
    budgets = list[int]()
    with pytest.raises(EngineError, match="token_budget"):
        scarce(100, fail_on_cpu).losses(spans(), on_batch=lambda _: None, on_replan=budgets.append)
    assert budgets


def test_a_processor_without_bfloat16_says_that_it_is_slow(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False)
    TorchEngine(TINY, dtype="bfloat16", device="cpu", threads=1)
    assert "Use dtype=float32" in caplog.text
    caplog.clear()
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    TorchEngine(TINY, dtype="bfloat16", device="cpu", threads=1)
    assert not caplog.text


def test_a_model_that_states_no_window_gets_a_bounded_one(tmp_path: Path) -> None:
    from transformers import BloomConfig, BloomForCausalLM

    BloomForCausalLM(
        BloomConfig(vocab_size=1024, hidden_size=32, n_layer=1, n_head=2)
    ).save_pretrained(tmp_path)
    for name in TOKENIZER_FILES:
        shutil.copy(TINY / name, tmp_path / name)
    assert TorchEngine(tmp_path, device="cpu", threads=1).window == 2048


def test_the_revision_stays_that_of_the_weights_in_memory(tmp_path: Path) -> None:
    """A folder may be replaced under a running worker; its scores are still those of the old weights."""
    folder = shutil.copytree(TINY, tmp_path / "model")
    engine = TorchEngine(folder, threads=1)
    config = folder / "config.json"
    config.write_text(config.read_text() + "\n")
    assert engine.revision == revision(TINY) != revision(folder)
