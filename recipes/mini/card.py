"""Write the model card from the log of the run and the output of the benchmark.

    python -m recipes.mini.card --log build/mini/log.jsonl --bench build/mini/bench.md CARD

The text is `card.md`, the figures are filled in; one that is missing is an error.
"""

import argparse
import json
from pathlib import Path
from string import Template
from typing import Any

from recipes.mini.optimizers import ADAMW_RATE, MUON_RATE

TEXT = Path(__file__).parent / "card.md"


def write_card(log: Path, bench: str) -> str:
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
        positions=_position_table(last["held_out"]),
        bench=bench.strip(),
    )


def _position_table(losses: dict[str, Any]) -> str:
    head = "| position | " + " | ".join(losses) + " |"
    rule = "| --- |" + " --- |" * len(losses)
    row = "| loss | " + " | ".join(f"{loss:.3f}" for loss in losses.values()) + " |"
    return f"{head}\n{rule}\n{row}"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Write the model card.")
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--bench", type=Path, required=True, help="output of bench_mini")
    parser.add_argument("card", type=Path)
    options = parser.parse_args()
    text = write_card(options.log, options.bench.read_text(encoding="utf-8"))
    options.card.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
