"""The machine's ceiling: how fast it multiplies matrices, the only part of scoring that cannot be left out.

Shapes are the model's own, at a batch's tokens and at a chunk of rows for its head, and square ones that flatter the
machine. On a CPU each is computed in two ways, as engines do it: one product on all threads, and one product on each
thread. The best of all is the ceiling.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch.nn import functional

AT_LEAST_S = 0.1
AT_LEAST_TIMES = 2
LONG_S = 1.0
"""A product that takes so long, as where bfloat16 is emulated, is computed once."""
SQUARES = {"cpu": (1024, 2048), "cuda": (4096, 8192)}
ROWS = {"cpu": (512, 1024), "cuda": (8192, 16_384)}
HEAD_ROWS = {"cpu": (128, 512), "cuda": (2048, 8192)}


class Product(NamedTuple):
    """rows x inputs times inputs x outputs."""

    rows: int
    inputs: int
    outputs: int

    def __str__(self) -> str:
        return f"{self.rows} x {self.inputs} x {self.outputs}"


class Ceiling(NamedTuple):
    """The fastest product: which it was, and its speed."""

    gflops: float
    product: str
    way: str


def products(matrices: Sequence[tuple[int, int]], device: torch.device) -> list[Product]:
    """What to try; `matrices` are a model's, inputs and outputs of each, the head's last."""
    kind = device.type
    *trunk, head = matrices
    return [
        *(Product(size, size, size) for size in SQUARES[kind]),
        *(Product(rows, *matrix) for rows in ROWS[kind] for matrix in trunk),
        *(Product(rows, *head) for rows in HEAD_ROWS[kind]),
    ]


def ceiling(
    tried: Sequence[Product], *, dtype: torch.dtype, device: torch.device, threads: int
) -> Ceiling:
    """The best of the products, in the best way."""
    ways = {f"one product on {threads} threads": _together}
    if device.type == "cpu" and threads > 1:
        ways[f"{threads} products of one thread"] = _lanes
    return max(
        Ceiling(
            way(_multiply(product, dtype, device), threads) * _giga(product), str(product), name
        )
        for product in tried
        for name, way in ways.items()
    )


def _giga(product: Product) -> float:
    return 2e-9 * product.rows * product.inputs * product.outputs


def _multiply(product: Product, dtype: torch.dtype, device: torch.device) -> Callable[[], None]:
    left = torch.randn(product.rows, product.inputs, dtype=dtype, device=device)
    right = torch.randn(product.outputs, product.inputs, dtype=dtype, device=device)

    def multiply() -> None:
        functional.linear(left, right)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return multiply


def _together(multiply: Callable[[], None], threads: int) -> float:
    """Products a second with every thread at the same one; on a GPU the threads only start them."""
    torch.set_num_threads(threads)
    return 1 / _best_s(multiply)


def _lanes(multiply: Callable[[], None], threads: int) -> float:
    """Products a second with a product on every thread."""
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:

        def in_each() -> None:
            for running in [pool.submit(multiply) for _ in range(threads)]:
                running.result()

        return threads / _best_s(in_each)


def _best_s(work: Callable[[], None]) -> float:
    """The shortest time of several; the first counts only where it alone is long."""
    first = _timed(work)
    if first > LONG_S:
        return first
    times: list[float] = []
    while len(times) < AT_LEAST_TIMES or sum(times) < AT_LEAST_S:
        times.append(_timed(work))
    return min(times)


def _timed(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
