"""Write the model card from the log of the run, its model, and the output of the benchmark.

    python -m recipes.mini.card --data FOLDER --log build/mini/log.jsonl --bench build/mini/bench.md winnow/models/mini

The text is `card.md`, the figures are filled in; one that is missing is an error.
"""

import argparse
import json
from pathlib import Path
from string import Template

import torch
from tokenizers import Tokenizer
from transformers import GPT2LMHeadModel

from recipes.mini.corpus import read_corpus
from recipes.mini.evaluate import ALL_OFFSETS, loss_by_position
from recipes.mini.optimizers import ADAMW_RATE, MUON_RATE
from recipes.mini.stream import encode_documents

TEXT = Path(__file__).parent / "card.md"


def write_card(log: Path, *, positions: dict[str, float], bench: str) -> str:
    """The card of the run that wrote `log`."""
    last = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
    return Template(TEXT.read_text(encoding="utf-8")).substitute(
        muon_rate=MUON_RATE,
        adamw_rate=ADAMW_RATE,
        minutes=round(last["seconds"] / 60),
        steps=f"{last['step']:,}",
        tokens=f"{last['tokens'] / 1e6:.1f}",
        passes=last["epoch"],
        long_share=round(100 * last["long_tokens"] / last["tokens"]),
        positions=_position_table(positions),
        bench=bench.strip(),
    )


def measure_positions(folder: Path, data: Path) -> dict[str, float]:
    """Held-out loss by position of the model as it is shipped."""
    model = GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    held_out = encode_documents(tokenizer, read_corpus(data).held_out)
    return loss_by_position(model, held_out, offsets=ALL_OFFSETS)


def _position_table(losses: dict[str, float]) -> str:
    head = "| position | " + " | ".join(losses) + " |"
    rule = "| --- |" + " --- |" * len(losses)
    row = "| loss | " + " | ".join(f"{loss:.3f}" for loss in losses.values()) + " |"
    return f"{head}\n{rule}\n{row}"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Write the model card.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the corpora")
    parser.add_argument("--log", type=Path, required=True, help="log of the run")
    parser.add_argument("--bench", type=Path, required=True, help="output of bench_mini")
    parser.add_argument("model", type=Path, help="folder of the model, which receives the card")
    options = parser.parse_args()
    torch.set_num_threads(1)
    text = write_card(
        options.log,
        positions=measure_positions(options.model, options.data),
        bench=options.bench.read_text(encoding="utf-8"),
    )
    (options.model / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
