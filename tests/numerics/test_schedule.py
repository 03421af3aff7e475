"""The learning rate of every update against a plain float64 loop."""

from itertools import pairwise

import pytest

from sanitizer.training.schedule import rate_factor
from tests.numerics import reference_training as reference


@pytest.mark.parametrize(("warmup", "total"), [(50, 15_620), (0, 10), (1, 10), (9, 10), (10, 10), (50, 10)])
def test_every_rate_equals_the_loops(warmup, total):
    rates = [1e-5 * rate_factor(step, warmup_steps=warmup, total_steps=total) for step in range(total)]
    assert rates == pytest.approx(reference.learning_rates(1e-5, warmup, total), rel=1e-12, abs=1e-24)


def test_the_schedule_warms_up_from_the_first_update_and_only_falls_afterwards():
    factors = [rate_factor(step, warmup_steps=50, total_steps=500) for step in range(500)]
    assert factors[0] == pytest.approx(1 / 50)
    assert factors[49] == factors[50] == 1.0
    assert all(later > earlier for earlier, later in pairwise(factors[:50]))
    assert all(later < earlier for earlier, later in pairwise(factors[50:]))
    assert 0 < factors[-1] < 1e-4


@pytest.mark.parametrize("step", [-1, 10, 11])
def test_a_step_outside_the_run_has_no_rate(step):
    with pytest.raises(ValueError, match="outside"):
        rate_factor(step, warmup_steps=2, total_steps=10)
