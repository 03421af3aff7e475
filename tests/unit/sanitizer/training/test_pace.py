"""Rate and time left from a clock that tests turn."""

import pytest

from sanitizer.training.pace import Pace


def test_the_rate_is_of_the_last_half_minute():
    clock = [0.0]
    pace = Pace(lambda: clock[0])
    pace.mark(0)
    assert pace.rate is None
    for done in range(1, 11):  # slow: one in ten seconds
        clock[0] += 10
        pace.mark(done)
    for done in range(11, 111):  # then two a second
        clock[0] += 0.5
        pace.mark(done)
    assert pace.rate == pytest.approx(2.0)
    assert pace.eta_s(60) == pytest.approx(30.0)


def test_without_a_rate_there_is_no_estimate():
    pace = Pace(lambda: 1.0)
    pace.mark(0)
    pace.mark(5)
    assert pace.rate is None
    assert pace.eta_s(10) is None
