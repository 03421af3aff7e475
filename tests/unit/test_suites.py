"""Each file of the full suite is in one quarter, and the quarters take about equally long."""

from tests.suites import NUM_QUARTERS, UNKNOWN_S, quarters


def test_every_file_is_in_one_quarter() -> None:
    files = {f"tests/test_{number}.py" for number in range(23)}
    shares = quarters(files, {"tests/test_3.py": 300.0})
    assert len(shares) == NUM_QUARTERS
    assert set().union(*shares) == files
    assert sum(map(len, shares)) == len(files)


def test_the_quarters_take_about_as_long_as_each_other() -> None:
    seconds = {f"tests/test_{number}.py": 10.0 * (1 + number % 7) for number in range(40)}
    sums = [sum(seconds[file] for file in share) for share in quarters(set(seconds), seconds)]
    assert max(sums) - min(sums) <= 10.0


def test_a_file_without_a_last_result_counts_as_a_short_one() -> None:
    shares = quarters({"a", "b", "c", "d", "e"}, {"a": 4 * UNKNOWN_S})
    assert {"a"} in shares
