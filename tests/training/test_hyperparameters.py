"""What is automatic, settled."""

from __future__ import annotations

import pytest

from winnow.errors import InvalidOption
from winnow.training.hyperparameters import Hyperparameters, base_rate, is_tried, resolve
from winnow.training.spec import FineTuneSpec


def settle(
    num_sequences: int = 1000, num_parameters: int = 10**9, **options: object
) -> Hyperparameters:
    return resolve(
        FineTuneSpec.make(**options),
        num_sequences=num_sequences,
        num_parameters=num_parameters,
        dtype="float32",
        template="alpaca",
        max_length=512,
    )


@pytest.mark.parametrize(
    ("rows", "batch_size", "steps"), [(3, 8, 3), (10_000, 20, 1500), (10**6, 64, 46_875)]
)
def test_the_automatic_batch_grows_with_the_rows(rows: int, batch_size: int, steps: int) -> None:
    chosen = settle(rows)
    assert (chosen.batch_size, chosen.n_epochs, chosen.total_steps) == (batch_size, 3, steps)


def test_the_multiplier_scales_the_rate_of_the_adapter_and_size() -> None:
    assert settle(learning_rate_multiplier=0.5).learning_rate == pytest.approx(1e-4)
    assert settle(adapter="none").learning_rate == pytest.approx(2e-5)
    assert base_rate("lora", 10**6) > base_rate("lora", 10**8) > base_rate("lora", 10**10)


def test_a_given_rate_is_taken_and_an_automatic_one_is_tried_for_small_models_only() -> None:
    def auto(num_parameters: int) -> tuple[float, bool]:
        spec = FineTuneSpec.make(learning_rate="auto", adapter="none")
        chosen = settle(num_parameters=num_parameters, learning_rate="auto", adapter="none")
        return chosen.learning_rate, is_tried(spec, num_parameters)

    assert settle(learning_rate=3e-4, adapter="none").learning_rate == 3e-4
    assert auto(70_000_000) == auto(10**10) == (2e-5, False)
    assert auto(69_999_999)[1]
    assert not is_tried(FineTuneSpec.make(), 10**6)


def test_an_automatic_batch_is_divided_among_the_processes_and_a_chosen_one_must_be() -> None:
    assert settle(processes=3).batch_size == 9
    assert settle(processes=2, batch_size=6).batch_size == 6
    with pytest.raises(InvalidOption) as caught:
        settle(processes=4, batch_size=6)
    assert caught.value.param == "batch_size"
