"""The torch engine: the same numbers alone, together, in any order and on any number of threads."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BertConfig, BertLMHeadModel

from tests.proxy.folders import TINY, TOKENIZER_FILES, MakeModel
from winnow.errors import EngineError, InvalidOption, ModelError
from winnow.proxy.engine import Span, SpanLoss
from winnow.proxy.models import revision
from winnow.proxy.torch_engine import TorchEngine

ABS, REL = 2e-5, 1e-5
"""How far mean losses of the same span may lie apart in float32."""


def spans(count: int = 60, longest: int = 128) -> list[Span]:
    draw = torch.Generator().manual_seed(1)
    made = []
    for _ in range(count):
        length = int(torch.randint(2, longest + 1, (), generator=draw))
        tokens = torch.randint(0, 1024, (length,), generator=draw).tolist()
        made.append(Span(tokens=tokens, start=int(torch.randint(1, length, (), generator=draw))))
    return made


def losses(engine: TorchEngine, of: Sequence[Span]) -> list[SpanLoss]:
    return engine.losses(of, on_batch=lambda _: None)


def agree(left: Sequence[SpanLoss], right: Sequence[SpanLoss]) -> bool:
    return [loss.num_tokens for loss in left] == [loss.num_tokens for loss in right] and [
        loss.mean for loss in left
    ] == pytest.approx([loss.mean for loss in right], abs=ABS, rel=REL)


def reference(folder: Path, span: Span) -> SpanLoss:
    """The loss as the model itself computes it, one span at a time."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = torch.tensor([list(span.tokens)])
    with torch.inference_mode():
        log_probs = model(input_ids=ids).logits[0, :-1].double().log_softmax(-1)
    scored = log_probs.gather(-1, ids[0, 1:, None])[span.start - 1 :, 0]
    return SpanLoss(nll=-float(scored.sum()), num_tokens=len(scored))


def test_alone_together_and_in_another_order_a_span_has_the_same_loss(tiny: TorchEngine) -> None:
    batch = spans()
    together = losses(tiny, batch)
    assert agree([losses(tiny, [span])[0] for span in batch], together)
    assert agree(losses(tiny, batch[::-1])[::-1], together)


def test_a_loss_is_that_of_the_models_own_forward_pass(tiny: TorchEngine) -> None:
    batch = spans(count=5)
    assert agree(losses(tiny, batch), [reference(TINY, span) for span in batch])


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
        assert engine._lanes.submit(torch.get_num_threads).result() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_window_is_the_models_and_a_span_may_fill_it(tiny: TorchEngine) -> None:
    assert tiny.window == 128
    assert losses(tiny, [Span(tokens=[5] * 128, start=127)])[0].num_tokens == 1


@pytest.mark.parametrize(
    "span",
    [
        Span(tokens=[5] * 129, start=1),
        Span(tokens=[5, 6], start=0),
        Span(tokens=[5, 6], start=2),
        Span(tokens=[], start=1),
    ],
)
def test_a_span_beyond_the_window_or_without_a_scored_token_is_the_callers_error(
    tiny: TorchEngine, span: Span
) -> None:
    with pytest.raises(ValueError, match="span"):
        losses(tiny, [span])


def test_no_spans_have_no_losses(tiny: TorchEngine) -> None:
    assert losses(tiny, []) == []


def test_progress_is_told_in_the_callers_thread_and_ends_at_all_spans(tiny: TorchEngine) -> None:
    heard: list[tuple[int, threading.Thread]] = []
    tiny.losses(spans(), on_batch=lambda done: heard.append((done, threading.current_thread())))
    counts = [done for done, _ in heard]
    assert counts == sorted(set(counts))
    assert counts[-1] == 60
    assert {thread for _, thread in heard} == {threading.current_thread()}


def test_what_progress_raises_stops_the_work_and_leaves_the_engine_usable(
    tiny: TorchEngine,
) -> None:
    heard: list[int] = []

    def stop(done: int) -> None:
        heard.append(done)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny.losses(spans(), on_batch=stop)
    assert len(heard) == 1
    assert len(losses(tiny, spans(count=3))) == 3


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
    assert agree(losses(engine, batch), [reference(folder, span) for span in batch])


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
    assert agree(losses(engine, batch), [reference(folder, span) for span in batch])


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
