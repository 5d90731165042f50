"""IFD by two proxies of different size that share no text: how far do they agree?

`recipes.mini` trains a small and a larger GPT-2 on disjoint halves of its text, and the small one once more with
another seed on the half it had: two models of one size and one text agree as far as training noise lets them, which is
the ceiling; answer length is the floor. Training is short, a fixed number of steps, so these are weak models. They
score Alpaca, none of which they saw, with the answers as they are and under other prompts.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import GPT2Config, GPT2LMHeadModel

from benchmarks.bench_mini import Matching, read_records
from benchmarks.mini_figures import paired_rate, pooled_auc
from benchmarks.mini_losses import ifd_scores
from benchmarks.reproduce.place import Place, absent, markdown, number
from benchmarks.reproduce.published import Ranking
from benchmarks.reproduce.ranking import Floats
from recipes.mini.corpus import ARTICLE_FILES, RECORD_FILES, read_corpus
from recipes.mini.evaluate import loss_by_position
from recipes.mini.model import new_model
from recipes.mini.optimizers import build_optimizers
from recipes.mini.stream import TokenStream, encode_documents
from recipes.mini.tokenizer import save_tokenizer, train_tokenizer
from recipes.mini.train import Run
from winnow.proxy.torch_engine import TorchEngine

STEPS = 250
RECORDS = 1000
TRAINING = "training.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A model to train: its size, its half of the text, and its seed."""

    name: str
    width: int
    layers: int
    half: int
    seed: int


SMALL = Proxy(name="small, first half", width=128, layers=4, half=0, seed=1)
AGAIN = Proxy(name="small, first half, another seed", width=128, layers=4, half=0, seed=2)
LARGE = Proxy(name="large, second half", width=192, layers=6, half=1, seed=1)


def section(place: Place) -> str:
    """Train what is missing, score, and compare."""
    records = place.data / "alpaca_head.jsonl"
    text = [place.data / name for name in (*(file.name for file in RECORD_FILES), *ARTICLE_FILES)]
    if missing := absent(records, *text):
        return missing
    folder = place.folder("ifd_proxies")
    scored = {proxy.name: _scored(proxy, folder, place, records) for proxy in (SMALL, AGAIN, LARGE)}
    tokens = np.load(folder / "tokens.npy")
    small, large = (
        json.loads((_folder(folder, proxy) / TRAINING).read_text()) for proxy in (SMALL, LARGE)
    )
    setting = (
        f"{small['parameters'] / 1e6:.1f} and {large['parameters'] / 1e6:.1f} million parameters, trained for {STEPS} "
        f"steps, {small['tokens'] / 1e6:.1f} million tokens (winnow-mini: 19), in {small['seconds'] / 60:.0f} and "
        f"{large['seconds'] / 60:.0f} minutes of one core; held-out losses {small['held_out']:.2f} and "
        f"{large['held_out']:.2f} nats. IFD of {len(tokens):,} records."
    )
    return f"{setting}\n\n{_agreement(scored, tokens)}\n\n{_matching(scored)}"


def _folder(work: Path, proxy: Proxy) -> Path:
    return work / f"{proxy.width}x{proxy.layers}-half-{proxy.half}-seed-{proxy.seed}"


def _scored(proxy: Proxy, work: Path, place: Place, records: Path) -> Matching:
    """IFD of the true answers and of the same under other prompts."""
    folder = _folder(work, proxy)
    if not (folder / TRAINING).exists():
        _train(proxy, folder, place)
    file = folder / "ifd.npy"
    if not file.exists():
        chosen = read_records(records, RECORDS)
        engine = TorchEngine(folder, device="cpu", threads=place.threads)
        prompts = [record.prompt for record in chosen]
        answers = [record.answer for record in chosen]
        others = prompts[len(prompts) // 2 :] + prompts[: len(prompts) // 2]
        true, tokens = ifd_scores(engine, prompts, answers)
        shuffled, _ = ifd_scores(engine, others, answers)
        np.save(work / "tokens.npy", tokens)
        np.save(file, np.array([true, shuffled]))
    return Matching(*np.load(file))


def _train(proxy: Proxy, folder: Path, place: Place) -> None:
    """The recipe's steps, counted instead of timed, so that a busy machine trains as far as an idle one."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    folder.mkdir(parents=True, exist_ok=True)
    corpus = read_corpus(place.data)
    tokenizer = _tokenizer(folder.parent / "tokenizer", corpus.train)
    save_tokenizer(tokenizer, folder)
    model = _new_model(proxy)
    held_out = encode_documents(tokenizer, corpus.held_out)
    run = Run(
        work=folder,
        budget_s=STEPS,
        model=model,
        optimizers=build_optimizers(model, "muon"),
        stream=TokenStream(
            encode_documents(tokenizer, corpus.train[proxy.half :: 2]), epoch=1000 * proxy.seed
        ),
        held_out=held_out,
    )
    started = time.process_time()
    while run.progress.step < STEPS:
        run.take_step()
        run.progress.seconds = run.progress.step
    seconds = time.process_time() - started
    model.save_pretrained(folder)
    said = {
        "seconds": seconds,
        "tokens": run.progress.tokens,
        "parameters": sum(part.numel() for part in model.parameters()),
        "held_out": loss_by_position(model, held_out)["all"],
    }
    (folder / TRAINING).write_text(json.dumps(said))


def _tokenizer(folder: Path, documents: list[str]) -> Tokenizer:
    """One for all proxies: with two, half of what differs would be the tokens."""
    file = folder / "tokenizer.json"
    if not file.exists():
        folder.mkdir()
        save_tokenizer(train_tokenizer(documents), folder)
    return Tokenizer.from_file(str(file))


def _new_model(proxy: Proxy) -> GPT2LMHeadModel:
    """winnow-mini's architecture in another size, heads of 64."""
    torch.manual_seed(proxy.seed)
    config = new_model().config.to_dict()
    sizes = {"n_embd": proxy.width, "n_layer": proxy.layers, "n_head": proxy.width // 64}
    return GPT2LMHeadModel(GPT2Config(**(config | sizes)))


def _agreement(scored: dict[str, Matching], tokens: Floats) -> str:
    target = _ranking(scored[LARGE.name].true)
    small = _ranking(scored[SMALL.name].true)
    draw = np.random.default_rng(42).random(len(tokens))
    rows = [
        (SMALL.name, LARGE.name, small, target),
        (SMALL.name, f"{AGAIN.name} (ceiling)", small, _ranking(scored[AGAIN.name].true)),
        ("answer length, negated (floor)", LARGE.name, Ranking.of_values(-tokens), target),
        ("random", LARGE.name, Ranking.of_values(draw), target),
    ]
    head = [
        "IFD by",
        "against",
        "Spearman",
        "partial on log answer tokens",
        "highest tenth below 1",
    ]
    return markdown(head, [[of, against, *_cells(a, b, tokens)] for of, against, a, b in rows])


def _ranking(ifd: Floats) -> Ranking:
    """Rows by IFD, and the tenth that `top` selects: the highest below 1."""
    below = np.where(ifd < 1, -ifd, np.nan)
    return Ranking(values=ifd, lowest=Ranking.of_values(below).lowest)


def _cells(a: Ranking, b: Ranking, tokens: Floats) -> list[str]:
    found = a.transfer(b, tokens)
    return [number(found.spearman), found.interval, number(a.overlap(b))]


def _matching(scored: dict[str, Matching]) -> str:
    rows = []
    for name, found in scored.items():
        both = found.only(np.isfinite(found.true) & np.isfinite(found.shuffled))
        rows.append(
            [
                name,
                number(float((both.true < 1).mean())),
                number(float((both.shuffled < 1).mean())),
                number(pooled_auc(both.true, both.shuffled)),
                number(paired_rate(both.true, both.shuffled)),
            ]
        )
    head = ["IFD by", "below 1, true answers", "below 1, under other prompts", "AUC", "paired rate"]
    return markdown(head, rows)
