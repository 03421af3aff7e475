"""Jobs that lists have written are kept by version, and so many bytes of them at most."""

from app.live.written_jobs import WrittenJobs


def test_another_version_is_not_found_and_takes_the_place_of_the_one_before() -> None:
    written = WrittenJobs()
    written.keep([("job_1", 1, b"one")])
    assert written.of({"job_1": 1, "job_2": 1}) == {"job_1": b"one"}
    assert written.of({"job_1": 2}) == {}
    written.keep([("job_1", 2, b"two")])
    assert written.of({"job_1": 1}) == {}
    assert written.of({"job_1": 2}) == {"job_1": b"two"}


def test_what_was_written_first_goes_where_there_would_be_too_many_bytes() -> None:
    written = WrittenJobs(most_bytes=10)
    for number in range(20):  # each writes job_1 again, which counts once
        written.keep([("job_1", number, b"12345"), (f"job_{number + 2}", 1, b"12345")])
        assert written.of({"job_1": number, f"job_{number + 2}": 1}).keys() == {"job_1", f"job_{number + 2}"}
    assert written.of({"job_20": 1}) == {}
    written.keep([("job_large", 1, b"x" * 11)])
    assert written.of({"job_1": 19, "job_21": 1, "job_large": 1}) == {}
