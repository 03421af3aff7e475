"""Each file of the full suite is in one eighth, and the eighths take about equally long."""

from tests.suites import NUM_SHARES, UNKNOWN_S, eighths


def test_every_file_is_in_one_eighth() -> None:
    files = {f"tests/test_{number}.py" for number in range(23)}
    shares = eighths(files, {"tests/test_3.py": 300.0})
    assert len(shares) == NUM_SHARES
    assert set().union(*shares) == files
    assert sum(map(len, shares)) == len(files)


def test_the_eighths_take_about_as_long_as_each_other() -> None:
    seconds = {f"tests/test_{number}.py": 10.0 * (1 + number % 7) for number in range(40)}
    sums = [sum(seconds[file] for file in share) for share in eighths(set(seconds), seconds)]
    assert max(sums) - min(sums) <= 10.0


def test_a_file_without_a_last_result_counts_as_a_short_one() -> None:
    shares = eighths({*"abcdefghi"}, {"a": 8 * UNKNOWN_S})
    assert {"a"} in shares
