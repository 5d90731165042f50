"""`winnow trajectories` as far as it needs no service; what it asks of one is in tests of the client."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cli.conftest import Result

NOWHERE = ("--url", "http://127.0.0.1:9")


@pytest.mark.parametrize(
    "arguments",
    [
        ("list",),
        ("show", "traj_a"),
        ("cancel", "traj_a"),
        ("delete", "traj_a"),
        ("losses", "traj_a", "-o", "l.csv"),
    ],
)
def test_without_a_service_it_says_how_to_start_one(
    winnow: Callable[..., Result], arguments: tuple[str, ...]
) -> None:
    result = winnow("trajectories", *arguments, *NOWHERE)
    assert result.code == 2
    assert "winnow serve" in result.error_lines[0]


def test_the_suffix_of_losses_is_checked_first(winnow: Callable[..., Result]) -> None:
    result = winnow("trajectories", "losses", "traj_a", "-o", "losses.txt", *NOWHERE)
    assert (result.code, "use .parquet, .jsonl, .csv" in result.error_lines[0]) == (2, True)
