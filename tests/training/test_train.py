"""Training in this process, on the tiny model: what is learned, with which numbers, and what is left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.training import plain_trl
from tests.training.conftest import TINY
from tests.training.jobs import MakeJob, last, losses, train_here
from winnow.errors import InvalidOption, NonFiniteLoss, NoUsableRows, OutOfMemory, TrainingDied
from winnow.proxy.tokenizer import HFTokenizer
from winnow.records.example import Example, Turn
from winnow.training import alive
from winnow.training import train as training
from winnow.training.encode import EncodedCompletion, encode_completion
from winnow.training.events import (
    Alive,
    Done,
    Evaluated,
    Prepared,
    Saved,
    Step,
    Stopped,
    TrainingEvent,
)
from winnow.training.job import TRAIN_FILE, VALIDATION_FILE, checkpoints, write_examples
from winnow.training.merge import merge_adapter
from winnow.training.reporting import Reporter
from winnow.training.stop import StopRequest
from winnow.training.train import train
from winnow.training.trainer import CompletionTrainer, is_out_of_memory, keeps_rows_apart

pytestmark = pytest.mark.filterwarnings("default")
"""The libraries warn of themselves; what of it matters is tested."""


@pytest.fixture(autouse=True)
def no_telemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    """TRL reports its use to its makers, unless it runs where tests do."""
    monkeypatch.setenv("CI", "1")


@pytest.fixture(scope="module")
def lora(make_job: MakeJob) -> tuple[Path, list[TrainingEvent]]:
    """A finished job with validation rows and a merged model, and what it said."""
    folder = make_job(validation=9, merge=True)
    return folder, train_here(folder)


@pytest.mark.parametrize("adapter", ["lora", "none"])
def test_every_step_has_the_loss_of_a_plain_trl_script(
    adapter: str,
    lora: tuple[Path, list[TrainingEvent]],
    make_job: MakeJob,
    examples: list[Example],
    tmp_path: Path,
) -> None:
    if adapter == "lora":
        folder, events = lora
    else:
        folder = make_job(adapter="none")
        events = train_here(folder)
    prepared = events[0]
    assert isinstance(prepared, Prepared)
    texts = [(f"{one.turns[0].content}\n", one.turns[1].content) for one in examples]
    rate = prepared.hyperparameters["learning_rate"]
    plain = plain_trl.losses(TINY, texts, tmp_path, lora=adapter == "lora", learning_rate=rate)
    assert len(plain) == prepared.total_steps == 22
    assert losses(folder) == pytest.approx(plain, abs=1e-5)
    assert losses(folder)[-1] < losses(folder)[0] - 0.1


def test_it_says_what_it_does_and_the_last_step_is_never_lost(
    lora: tuple[Path, list[TrainingEvent]],
) -> None:
    folder, events = lora
    steps = [event for event in events if isinstance(event, Step)]
    assert (steps[0].step, steps[-1].step, steps[-1].total_steps) == (1, 22, 22)
    assert steps[-1].loss == pytest.approx(losses(folder)[-1], abs=1e-6)
    assert steps[-1].eta_s == 0
    evaluated = [event.step for event in events if isinstance(event, Evaluated)]
    assert evaluated == [11, 22]
    saved = [event.step for event in events if isinstance(event, Saved)]
    assert saved == [3, 6, 9, 12, 15, 18, 21, 22]
    assert list(checkpoints(folder)) == saved[-2:]


def test_the_result_holds_what_was_done_and_no_path_of_the_machine(
    lora: tuple[Path, list[TrainingEvent]],
) -> None:
    folder, events = lora
    done = last(events)
    assert isinstance(done, Done)
    result = folder / "result"
    metrics = json.loads((result / "metrics.json").read_text())
    assert metrics == json.loads(json.dumps(done.metrics))
    prepared = events[0]
    assert isinstance(prepared, Prepared)
    assert done.trained_tokens == prepared.trained_tokens_planned
    assert done.trained_tokens == [e for e in events if isinstance(e, Step)][-1].trained_tokens
    assert metrics["eval_loss"] == [e for e in events if isinstance(e, Evaluated)][-1].loss
    card = (result / "README.md").read_text()
    for fact in ("ds_cats", "d1g3st", "ft:tiny:test:0123456789ab", metrics["base_revision"]):
        assert fact in card
    config = json.loads((result / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny"
    texts = [path.read_text() for path in result.rglob("*") if path.suffix in {".json", ".md"}]
    assert not [text for text in texts if str(folder) in text or str(TINY) in text]


def test_the_adapter_loads_with_plain_peft_and_is_the_merged_model(
    lora: tuple[Path, list[TrainingEvent]], tmp_path: Path
) -> None:
    result = lora[0] / "result"
    tokenizer = AutoTokenizer.from_pretrained(result)
    ids = tokenizer("the cat\n", return_tensors="pt")
    adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(TINY), result).eval()
    written = adapted.generate(**ids, max_new_tokens=4, do_sample=False)
    assert written.shape[1] > ids["input_ids"].shape[1]
    merge_adapter(TINY, result, tmp_path / "merged")
    with torch.no_grad():
        logits = adapted(**ids).logits
        for folder in (result / "merged", tmp_path / "merged"):
            merged = AutoModelForCausalLM.from_pretrained(folder)
            assert torch.allclose(merged(**ids).logits, logits, atol=1e-4)
        base = AutoModelForCausalLM.from_pretrained(TINY)
        assert not torch.allclose(base(**ids).logits, logits, atol=1e-2)


def test_the_validation_loss_is_the_mean_over_tokens(
    lora: tuple[Path, list[TrainingEvent]], examples: list[Example]
) -> None:
    folder, events = lora
    model = AutoModelForCausalLM.from_pretrained(folder / "result" / "merged")
    nll, count = 0.0, 0
    for sequence in _sequences(examples[:9]):
        labels = torch.tensor([sequence[1]])
        with torch.no_grad():
            mean = model(input_ids=torch.tensor([sequence[0]]), labels=labels).loss
        learned = int((labels[:, 1:] != -100).sum())
        nll, count = nll + float(mean) * learned, count + learned
    assert [e for e in events if isinstance(e, Evaluated)][-1].loss == pytest.approx(
        nll / count, abs=1e-4
    )


def _sequences(examples: list[Example]) -> list[tuple[list[int], list[int]]]:
    outcomes = encode_completion(examples, HFTokenizer(TINY), template="plain", window=128)
    return [
        (list(sequence.tokens), sequence.labels)
        for outcome in outcomes
        if isinstance(outcome, EncodedCompletion)
        for sequence in outcome.sequences
    ]


Seen = list[tuple[list[int], list[int]]]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """The ids and labels of each row that the model was given, by a hook on the model itself."""
    rows: Seen = []
    load = training.load_model

    def note(_module: Any, _args: Any, given: dict[str, Any]) -> None:
        if "labels" not in given:
            return
        ids, labels = given["input_ids"], given["labels"]
        if "position_ids" in given:
            cuts = (given["position_ids"][0] == 0).nonzero().flatten().tolist()[1:]
            pairs = zip(ids[0].tensor_split(cuts), labels[0].tensor_split(cuts), strict=True)
        else:
            lengths = given["attention_mask"].sum(dim=1).tolist()
            pairs = zip(
                (row[:n] for row, n in zip(ids, lengths, strict=True)),
                (row[:n] for row, n in zip(labels, lengths, strict=True)),
                strict=True,
            )
        rows.extend((one.tolist(), two.tolist()) for one, two in pairs)

    def load_and_watch(*args: Any) -> Any:
        model = load(*args)
        model.register_forward_pre_hook(note, with_kwargs=True)
        return model

    monkeypatch.setattr(training, "load_model", load_and_watch)
    return rows


@pytest.mark.parametrize("packing", [False, True])
def test_the_model_sees_our_ids_and_labels_and_nothing_else(
    packing: bool,
    lora: tuple[Path, list[TrainingEvent]],
    make_job: MakeJob,
    examples: list[Example],
    seen: Seen,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # So few tokens fit that a step takes several micro-batches.
    monkeypatch.setattr(training, "CPU_TOKENS", 64)
    folder = make_job(packing=packing)
    train_here(folder)
    assert sorted(seen) == sorted(2 * _sequences(examples))
    assert losses(folder) == pytest.approx(losses(lora[0]), abs=2e-5)


def test_memory_that_runs_out_halves_the_micro_batches_and_changes_no_loss(
    lora: tuple[Path, list[TrainingEvent]],
    make_job: MakeJob,
    examples: list[Example],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = max(len(tokens) for tokens, _ in _sequences(examples))
    sizes: list[int] = []
    compute = CompletionTrainer.compute_loss

    def compute_or_run_out(self: Any, model: Any, inputs: Any, *args: Any, **options: Any) -> Any:
        sizes.append(inputs["input_ids"].numel())
        if sizes[-1] > room:
            torch.empty(2**60)
        return compute(self, model, inputs, *args, **options)

    monkeypatch.setattr(CompletionTrainer, "compute_loss", compute_or_run_out)
    folder = make_job()
    train_here(folder)
    assert max(sizes) > room
    assert max(sizes[-10:]) <= room
    assert losses(folder) == pytest.approx(losses(lora[0]), abs=2e-5)


@pytest.mark.parametrize("where", ["load_model", "write_result"])
def test_memory_that_runs_out_anywhere_is_said_to_have_run_out(
    where: str, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, where, lambda *_, **__: torch.empty(2**60))
    with pytest.raises(OutOfMemory, match="max_length"):
        train_here(make_job(rows=4, n_epochs=1))


def test_every_long_phase_gives_signs_of_life(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alive, "ALIVE_EVERY_S", 0)
    said = train_here(make_job(rows=8, n_epochs=1, validation=3, merge=True))
    phases = [event.phase for event in said if isinstance(event, Alive)]
    assert phases == [
        *["encoding", "encoding", "training", "training", "evaluation"],
        *["merge"] * 4,
    ]


def test_torch_says_so_when_memory_runs_out() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("shapes differ"))


def test_stopped_and_resumed_it_ends_as_if_it_had_not_been(make_job: MakeJob) -> None:
    # Dropout: the resumed steps draw the same random numbers. Five steps an epoch: one stop at its end, one within.
    options = {"lora_dropout": 0.2, "gradient_checkpointing": True, "rows": 20}
    whole, parts = make_job(**options), make_job(**options)
    train_here(whole)
    stopped_at: list[int] = []
    while not (parts / "result").exists():
        stop = StopRequest()

        def ask_after(event: TrainingEvent, stop: StopRequest = stop) -> None:
            stop.asked = isinstance(event, Saved) and event.step in {4, 6}

        end = train(parts, say=ask_after, stop=stop, threads=1)
        stopped_at += [end.step] if isinstance(end, Stopped) else []
    assert stopped_at == [5, 7]
    assert losses(parts) == losses(whole)


def test_a_checkpoint_that_was_cut_short_does_not_count(make_job: MakeJob) -> None:
    folder = make_job()
    train_here(folder)
    newest = max(checkpoints(folder))
    (checkpoints(folder)[newest] / "optimizer.pt").write_bytes(b"half")
    assert newest not in checkpoints(folder)
    events: list[TrainingEvent] = []
    train(folder, say=events.append, stop=StopRequest(), threads=1)
    prepared = events[0]
    assert isinstance(prepared, Prepared)
    assert prepared.resumed_from == 21
    assert newest in checkpoints(folder)


def test_a_loss_that_is_not_a_number_ends_it_before_it_is_saved(make_job: MakeJob) -> None:
    folder = make_job(learning_rate_multiplier=1e6, n_epochs=50)
    with pytest.raises(NonFiniteLoss) as caught:
        train_here(folder)
    assert caught.value.param == "learning_rate_multiplier"
    assert not checkpoints(folder)


@pytest.mark.parametrize("validation", [0, 3])
def test_an_update_that_spoils_the_weights_is_no_success(
    validation: int, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide = Reporter.on_step_end

    def spoil(self: Reporter, *args: Any, model: Any, **options: Any) -> None:
        decide(self, *args, **options)
        learned = next(one for one in model.parameters() if one.requires_grad)
        learned.data.fill_(float("nan"))

    monkeypatch.setattr(Reporter, "on_step_end", spoil)
    folder = make_job(rows=4, n_epochs=1, validation=validation)
    with pytest.raises(NonFiniteLoss, match="validation" if validation else "last update"):
        train_here(folder)
    assert not (folder / "result").exists()


def test_a_job_goes_on_in_the_precision_it_was_begun_in(make_job: MakeJob) -> None:
    prepared = train_here(make_job(rows=4, n_epochs=1, dtype="bfloat16", dtype_before="float32"))[0]
    assert isinstance(prepared, Prepared)
    assert prepared.hyperparameters["dtype"] == "float32"
    if not torch.cuda.is_available():
        with pytest.raises(TrainingDied, match="bfloat16"):
            train_here(make_job(dtype_before="bfloat16"))


@pytest.mark.parametrize(
    ("options", "param", "says"),
    [
        ({"target_modules": ("q_proj",)}, "target_modules", "c_attn, c_fc, c_proj"),
        ({"target_modules": ("lm_head",)}, "target_modules", "c_attn, c_fc, c_proj"),
        ({"dtype": "bfloat16"}, "dtype", "dtype=auto"),
        ({"max_length": 129}, "max_length", "128"),
        ({"template": "chat"}, "template", "template=plain"),
        ({"processes": 3}, "batch_size", "multiple of 3"),
        ({"processes": 4}, "processes", "at most 3"),
    ],
)
def test_an_option_that_cannot_be_met_is_named(
    options: dict[str, Any], param: str, says: str, make_job: MakeJob
) -> None:
    if torch.cuda.is_available() and param in {"dtype", "batch_size", "processes"}:
        pytest.skip("this machine can")
    with pytest.raises(InvalidOption, match=says) as caught:
        train_here(make_job(**options))
    assert caught.value.param == param


def test_part_of_a_layers_name_is_enough_to_target_it(make_job: MakeJob) -> None:
    folder = make_job(target_modules=("attn.c_proj",), rows=4, n_epochs=1)
    train_here(folder)
    config = json.loads((folder / "result" / "adapter_config.json").read_text())
    assert config["target_modules"] == ["attn.c_proj"]


def test_rows_without_a_token_to_learn_are_counted_and_all_of_them_end_it(
    make_job: MakeJob, examples: list[Example]
) -> None:
    long = Turn(role="user", content="cat " * 200)
    full = Example(row=7, turns=(long, Turn(role="assistant", content="Yes.")))
    ask = Turn(role="user", content="cat")
    too_much = Example(row=8, turns=(ask, Turn(role="assistant", content="cat " * 200)))
    folder = make_job(n_epochs=1)
    write_examples(folder / TRAIN_FILE, [*examples[:5], full, too_much])
    write_examples(folder / VALIDATION_FILE, [examples[0], full])
    events = train_here(folder)
    prepared, done = events[0], last(events)
    assert isinstance(prepared, Prepared)
    assert isinstance(done, Done)
    assert (prepared.rows_used, prepared.rejected_by_reason) == (6, {"prompt_fills_window": 1})
    assert prepared.validation_rejected == {"prompt_fills_window": 1}
    assert prepared.answers_cut == done.metrics["answers_cut"] == 1
    folder = make_job()
    write_examples(folder / TRAIN_FILE, [full])
    with pytest.raises(NoUsableRows, match="Row 7") as caught:
        train_here(folder)
    assert caught.value.param == "training_file"


def test_full_fine_tuning_leaves_a_model_that_loads_by_itself(make_job: MakeJob) -> None:
    folder = make_job(adapter="none", rows=4, n_epochs=1, learning_rate_multiplier=100.0)
    train_here(folder)
    result = folder / "result"
    model = AutoModelForCausalLM.from_pretrained(result)
    ids = AutoTokenizer.from_pretrained(result)("the cat\n", return_tensors="pt")
    assert model.generate(**ids, max_new_tokens=3).shape[1] > ids["input_ids"].shape[1]
    assert str(folder) not in (result / "config.json").read_text()


def test_packing_is_refused_where_rows_would_see_each_other(
    make_job: MakeJob, tmp_path: Path
) -> None:
    from transformers import AutoConfig

    torch.manual_seed(0)
    shape = {"hidden_size": 32, "n_layer": 2, "n_head": 2, "vocab_size": 1024}
    config = AutoConfig.for_model("bloom", initializer_range=0.5, bos_token_id=0, **shape)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(TINY).save_pretrained(tmp_path)
    with pytest.raises(InvalidOption, match="packing=false") as caught:
        train_here(make_job(base=tmp_path, packing=True))
    assert caught.value.param == "packing"
    assert keeps_rows_apart(AutoModelForCausalLM.from_pretrained(TINY))
