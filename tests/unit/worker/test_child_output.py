"""What a child says: events where they make sense, bounded memory whatever it writes."""

from __future__ import annotations

from pathlib import Path

from app.domain.states import JobKind, JobPhase
from sanitizer.progress import Advanced, PhaseFinished, ProgressEvent
from worker.child_output import (
    MAX_BAD_LINES,
    MAX_LINE_BYTES,
    MAX_LOG_BYTES,
    MAX_STDOUT_BURST_BYTES,
    MAX_STDOUT_RATE_BYTES_S,
    TAIL_BYTES,
    CappedLog,
    EventReader,
)
from worker.tracker import Tracker

LINE = b'{"type": "advanced", "phase": "finetune", "done": 1, "total": 2}\n'


def read(*chunks: bytes) -> tuple[list[ProgressEvent], EventReader]:
    events: list[ProgressEvent] = []
    reader = EventReader(events.append)
    for chunk in chunks:
        reader.feed(chunk)
    return events, reader


def test_lines_become_events_wherever_the_chunks_are_cut() -> None:
    data = LINE + b'{"type": "phase_finished", "phase": "finetune"}\n' + LINE
    for size in (1, 7, 1000):
        events, reader = read(*(data[i : i + size] for i in range(0, len(data), size)))
        assert [type(event) for event in events] == [Advanced, PhaseFinished, Advanced]
        assert not reader.is_flood


def test_nonsense_is_dropped_and_the_next_event_is_understood() -> None:
    events, _ = read(b"hello\n", b"{}\n", b'{"type": "advanced", "phase": "lunch"}\n', b"\xff\xfe\n", LINE)
    assert len(events) == 1


def test_numbers_that_no_row_holds_and_units_that_are_no_words_are_nonsense() -> None:
    advanced = '{"type": "advanced", "phase": "inspect", "total": 1, %s}\n'
    said = ['"done": 1' + "0" * 400, '"done": -5', '"done": 1, "rate_unit": "%s"' % ("u" * 41)]
    tracker = Tracker(JobKind.INSPECT)
    tracker.begin(JobPhase.INSPECT)
    reader = EventReader(tracker.apply)
    reader.feed("".join(advanced % values for values in said).encode())
    assert reader._num_bad_lines == len(said)
    assert tracker.snapshot()[1]["step"] is None
    reader.feed((advanced % '"done": 1, "rate_unit": "bytes", "rate": 1e308').encode())
    assert tracker.snapshot()[1]["rate_unit"] == "bytes"


def test_a_line_longer_than_the_limit_is_dropped_whole_and_never_kept() -> None:
    events, reader = read(*[b"x" * 10_000] * 100, b"\n", LINE)
    assert len(events) == 1
    assert len(reader._rest) <= MAX_LINE_BYTES


def test_too_much_nonsense_is_a_flood() -> None:
    _, reader = read(b"x\n" * (MAX_BAD_LINES + 1))
    assert reader.is_flood


def test_too_many_bytes_at_once_are_a_flood_even_when_each_line_is_good() -> None:
    events: list[ProgressEvent] = []
    reader = EventReader(events.append, now=lambda: 0.0)
    long_line = LINE.rstrip().ljust(MAX_LINE_BYTES // 2) + b"\n"
    while reader._num_bytes <= MAX_STDOUT_BURST_BYTES:
        reader.feed(long_line * 10)
    assert reader.is_flood
    num_heard = len(events)
    assert num_heard > 0
    reader.feed(LINE)
    assert len(events) == num_heard, "a flood is no longer listened to"


def test_a_job_of_a_month_may_say_something_every_second() -> None:
    clock = [0.0]
    reader = EventReader(lambda _event: None, now=lambda: clock[0])
    for _ in range(1000):
        clock[0] += 30 * 24 * 3600 / 1000
        reader._num_bytes += int(30 * 24 * 3600 / 1000) * 5 * 200
        reader.feed(LINE)
    assert reader._num_bytes > 2**31
    assert not reader.is_flood
    assert MAX_STDOUT_RATE_BYTES_S > 5 * 200


def test_a_log_is_capped_on_disk_and_its_end_is_remembered(tmp_path: Path) -> None:
    log = CappedLog(tmp_path / "log")
    for _ in range(2 * MAX_LOG_BYTES // 65_536):
        log.feed(b"a" * 65_536)
    log.feed(b"\x1b[31mthe end\x00\xff\n")
    tail = log.tail()
    log.close()
    assert (tmp_path / "log").stat().st_size == MAX_LOG_BYTES
    assert len(tail) <= TAIL_BYTES
    assert tail.endswith("[31mthe end\ufffd\ufffd\n")
    assert "\x1b" not in tail
