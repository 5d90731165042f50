"""Train `winnow-mini` from scratch within a time budget, and put the result in place.

    python -m recipes.mini.train --data FOLDER --minutes 95 --work build/mini \
        --install winnow/models/mini

One thread, one process. Every few minutes the work folder receives a checkpoint (`--resume` goes on
from it), an exportable model under `model/`, and the held-out losses; `log.jsonl` keeps a line every
ten steps. At the end the model replaces the one in the install folder, file by file.
"""

import argparse
import json
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch.optim import Optimizer
from transformers import GPT2LMHeadModel

from recipes.mini.corpus import read_corpus
from recipes.mini.evaluate import loss_by_position
from recipes.mini.model import export, new_model, token_losses
from recipes.mini.optimizers import OptimizerName, build_optimizers, set_learning_rate
from recipes.mini.schedule import BATCH_TOKENS, LONG_ROW, learning_rate_factor, row_length
from recipes.mini.stream import Tokens, TokenStream, encode_documents
from recipes.mini.tokenizer import save_tokenizer, train_tokenizer
from winnow.proxy.torch_model import multiplies_bfloat16

SEED = 42
LOG_EVERY = 10


@dataclass(kw_only=True)
class Progress:
    """How far a run has come; all of it goes into the checkpoint."""

    step: int = 0
    tokens: int = 0
    long_tokens: int = 0
    seconds: float = 0.0
    epoch: int = 0
    cursor: int = 0


@dataclass(kw_only=True)
class Run:
    """A training run: the model, its optimizers, the data and the place in both."""

    work: Path
    budget_s: float
    model: GPT2LMHeadModel
    optimizers: list[Optimizer]
    stream: TokenStream
    held_out: list[Tokens]
    progress: Progress = field(default_factory=Progress)

    def train(self, checkpoint_s: float) -> None:
        """Steps until the budget is used up, with a checkpoint now and then and at the end."""
        saved = self.progress.seconds
        while self.progress.seconds < self.budget_s:
            started = time.monotonic()
            self.take_step()
            self.progress.seconds += time.monotonic() - started
            if self.progress.seconds - saved >= checkpoint_s:
                self.save()
                saved = self.progress.seconds
        self.save()

    def take_step(self) -> None:
        """One batch forward and back, one update, one line of the log in ten."""
        done = self.progress
        fraction = done.seconds / self.budget_s
        length = row_length(done.step, fraction)
        batch = self.stream.take(BATCH_TOKENS // length, length)
        inputs, targets = (torch.from_numpy(part) for part in batch)
        factor = learning_rate_factor(fraction)
        set_learning_rate(self.optimizers, factor)
        # Where the processor has no instructions for bfloat16, a step in it takes minutes.
        coarse = multiplies_bfloat16(torch.device("cpu"))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=coarse):
            loss = token_losses(self.model, inputs, targets).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        done.step += 1
        done.tokens += inputs.numel()
        done.long_tokens += inputs.numel() if length == LONG_ROW else 0
        done.epoch, done.cursor = self.stream.epoch, self.stream.cursor
        if done.step % LOG_EVERY == 0:
            self.log({"loss": loss.item(), "rate_factor": factor})

    def log(self, figures: dict[str, object]) -> None:
        """Append a line to the log of the run."""
        with (self.work / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps({**vars(self.progress), **figures}) + "\n")

    def save(self) -> None:
        """Checkpoint, exportable model and held-out losses."""
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "progress": vars(self.progress),
        }
        torch.save(state, self.work / "checkpoint.new")
        (self.work / "checkpoint.new").replace(self.work / "checkpoint.pt")
        export(self.model, self.work / "model")
        self.log({"held_out": loss_by_position(self.model, self.held_out)})

    def resume(self) -> None:
        """Go back to the last checkpoint of the work folder."""
        state = torch.load(self.work / "checkpoint.pt", weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.progress = Progress(**state["progress"])
        self.stream = self.stream.moved_to(self.progress.epoch, self.progress.cursor)


def prepare(data: Path, work: Path, minutes: float, optimizer: OptimizerName) -> Run:
    """Read the corpus, train the tokenizer, and stand at step 0."""
    (work / "model").mkdir(parents=True, exist_ok=True)
    corpus = read_corpus(data)
    tokenizer = train_tokenizer(corpus.train)
    save_tokenizer(tokenizer, work / "model")
    model = new_model()
    return Run(
        work=work,
        budget_s=minutes * 60,
        model=model,
        optimizers=build_optimizers(model, optimizer),
        stream=TokenStream(encode_documents(tokenizer, corpus.train)),
        held_out=encode_documents(tokenizer, corpus.held_out),
    )


def install(model: Path, target: Path) -> None:
    """Replace the files of `target` by those of `model`, each at once."""
    target.mkdir(parents=True, exist_ok=True)
    for file in sorted(model.iterdir()):
        staged = target / f".{file.name}"
        shutil.copyfile(file, staged)
        staged.replace(target / file.name)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train winnow-mini from scratch.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the corpora")
    parser.add_argument("--work", type=Path, required=True, help="checkpoints, log and model")
    parser.add_argument("--install", type=Path, help="folder that receives the finished model")
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--checkpoint-minutes", type=float, default=5)
    parser.add_argument("--optimizer", choices=("adamw", "muon"), default="muon")
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(SEED)
    run = prepare(options.data, options.work, options.minutes, options.optimizer)
    if options.resume:
        run.resume()
    run.train(options.checkpoint_minutes * 60)
    if options.install:
        install(options.work / "model", options.install)


if __name__ == "__main__":
    main()
