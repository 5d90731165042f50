"""What a training step does, as a function of how far the run has come.

The budget is a time, so everything follows the fraction of it that has passed: a slower machine
trains on fewer tokens and still ends with a decayed learning rate.
"""

import math

WARM_UP = 0.015
FLOOR = 0.03
BATCH_TOKENS = 4096
LONG_ROW = 1024


def learning_rate_factor(fraction: float) -> float:
    """Linear warm-up, then half a cosine from 1 down to `FLOOR`."""
    if fraction < WARM_UP:
        return max(fraction / WARM_UP, 0.02)
    angle = math.pi * min(1.0, (fraction - WARM_UP) / (1.0 - WARM_UP))
    return FLOOR + (1.0 - FLOOR) * 0.5 * (1.0 + math.cos(angle))


def row_length(step: int, fraction: float) -> int:
    """Tokens per row of a batch.

    Rows grow from 256 to 512 at two fifths of the run, so that fewer answers are cut from their
    prompts. Every eighth batch has rows of 1,024 from the start, so that late positions are trained
    while the learning rate is high; of the last fifth, every second one.
    """
    every = 2 if fraction >= 0.8 else 8
    if step % every == 0:
        return LONG_ROW
    return 256 if fraction < 0.4 else 512
