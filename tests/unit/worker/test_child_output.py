"""What a child says: bounded, typed events where they make sense, and too much of anything ends it."""

import io
import os
import time
import tracemalloc
from pathlib import Path
from typing import IO

import pytest

from cleanclip.vocabulary.progress import Advanced, PhaseFinished, ProgressEvent
from worker.confinement.child_output import (
    BURST_OF_STATES,
    EVENTS,
    MAX_BAD_LINES,
    MAX_LINE_BYTES,
    MAX_LOG_BYTES,
    READ_EVERY_S,
    STDERR_BYTES,
    STDOUT_BYTES,
    TAIL_BYTES,
    CappedLog,
    EventReader,
    Excess,
    Meter,
    pump,
)

LINE = b'{"type": "advanced", "phase": "finetune", "done": 1, "total": 2}\n'
ADVANCED = '{"type": "advanced", "phase": "inspect", "done": 1, "total": 1, %s}\n'


def read(*chunks: bytes) -> tuple[list[ProgressEvent], EventReader]:
    events: list[ProgressEvent] = []
    reader = EventReader(events.append, now=lambda: 0.0)
    for chunk in chunks:
        reader.feed(chunk)
    return events, reader


def code_of(fed: EventReader | CappedLog) -> str | None:
    return None if fed.excess is None else fed.excess.code


def test_lines_become_events_wherever_the_chunks_are_cut() -> None:
    data = LINE + b'{"type": "phase_finished", "phase": "finetune"}\n' + LINE
    for size in (1, 7, 1000):
        events, reader = read(*(data[i : i + size] for i in range(0, len(data), size)))
        assert [type(event) for event in events] == [Advanced, PhaseFinished, Advanced]
        assert reader.excess is None


def test_nonsense_is_dropped_and_the_next_event_is_understood() -> None:
    events, _ = read(b"hello\n", b"{}\n", b'{"type": "advanced", "phase": "lunch"}\n', b"\xff\xfe\n", LINE)
    assert len(events) == 1


@pytest.mark.parametrize(
    "values",
    [
        '"done": 1' + "0" * 400,
        '"done": -5',
        '"done": 1.5',
        '"rate_unit": "%s"' % ("u" * 41),
        '"eta_s": -1e308',
        '"eta_s": 1e308',
        '"eta_s": NaN',
        '"rate": Infinity',
        '"rate": 1e400',
        '"loss": 1e308',
        '"loss": NaN',
        '"loss": "2.0"',
        '"message": "%s"' % ("m" * 10_001),
        '"surprise": 1',
    ],
    ids=lambda values: str(values)[:20],
)
def test_what_is_no_bounded_finite_typed_value_is_no_event(values: str) -> None:
    events, _ = read((ADVANCED % values).encode())
    assert events == []
    assert code_of(read((ADVANCED % values).encode() * (MAX_BAD_LINES + 1))[1]) == "child_nonsense"
    events, _ = read((ADVANCED % '"rate_unit": "bytes", "rate": 1e12, "eta_s": 0, "loss": null').encode())
    assert len(events) == 1


def test_a_line_longer_than_the_limit_is_dropped_whole_and_never_kept() -> None:
    tracemalloc.start()
    events, _ = read(*[b"x" * 10_000] * 100, b"\n", LINE)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(events) == 1
    assert most < 4 * MAX_LINE_BYTES, "of a million bytes"


@pytest.mark.parametrize("line", [b"x\n", b"\n", (ADVANCED % '"eta_s": -1').encode()])
def test_too_much_nonsense_ends_the_job_as_that(line: bytes) -> None:
    _, reader = read(line * MAX_BAD_LINES)
    assert reader.excess is None
    reader.feed(line)
    assert code_of(reader) == "child_nonsense"


@pytest.mark.parametrize("kind", [*EVENTS, "state_saved"])
def test_more_events_of_a_kind_than_any_job_has_are_a_flood_and_are_heard_no_longer(kind: str) -> None:
    rest = {
        "advanced": b'"phase": "finetune", "done": 1, "total": 2',
        "phase_started": b'"phase": "finetune", "total": 2, "unit": "steps"',
        "phase_finished": b'"phase": "finetune"',
        "noted": b'"level": "info", "message": "2 processes share the training."',
        "state_saved": b'"path": "state/step-00000001", "step": 1',
    }[kind]
    most = BURST_OF_STATES if kind == "state_saved" else int(EVENTS[kind].burst)
    events, reader = read(*[b'{"type": "' + kind.encode() + b'", ' + rest + b"}\n"] * most)
    assert len(events) == most
    assert reader.excess is None
    reader.feed(b'{"type": "' + kind.encode() + b'", ' + rest + b"}\n" + LINE)
    assert code_of(reader) == "child_flood"
    assert kind in (reader.excess.message if reader.excess else "")
    assert len(events) == most


def test_too_many_bytes_at_once_are_a_flood_even_when_each_line_is_good() -> None:
    long_line = LINE.rstrip().ljust(MAX_LINE_BYTES // 2) + b"\n"
    num_lines = int(STDOUT_BYTES.burst) // len(long_line) + 1
    events, reader = read(*[long_line] * num_lines)
    assert code_of(reader) == "child_flood"
    assert 0 < len(events) < num_lines
    num_heard = len(events)
    reader.feed(LINE)
    assert len(events) == num_heard, "a flood is no longer listened to"


def test_a_job_of_a_month_may_say_something_five_times_a_second_and_save_every_minute() -> None:
    clock = [0.0]
    heard: list[ProgressEvent] = []
    reader = EventReader(heard.append, now=lambda: clock[0], save_every_s=60.0)
    meters = {5: Meter(EVENTS["advanced"], lambda: clock[0]), 5 * 200: Meter(STDOUT_BYTES, lambda: clock[0])}
    state = b'{"type": "state_saved", "path": "state/step-00000001", "step": 1}\n'
    for _ in range(30 * 24 * 60):
        clock[0] += 60.0
        reader.feed(LINE + state)
        assert not any(meter.is_over(60 * each_second) for each_second, meter in meters.items())
    assert reader.excess is None
    assert len(heard) == 2 * 30 * 24 * 60


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
    assert log.excess is None


def test_a_log_without_end_is_a_flood(tmp_path: Path) -> None:
    log = CappedLog(tmp_path / "log", now=lambda: 0.0)
    chunk = b"a" * 2**20
    for _ in range(int(STDERR_BYTES.burst) // 2**20):
        log.feed(chunk)
    assert log.excess is None
    log.feed(b"a")
    assert code_of(log) == "child_flood"
    log.close()


class Counting:
    """What a pump feeds; has had too much after `most` bytes."""

    def __init__(self, most: int) -> None:
        self.excess: Excess | None = None
        self.num_bytes = self.num_chunks = 0
        self._most = most

    def feed(self, chunk: bytes, /) -> None:
        self.num_bytes += len(chunk)
        self.num_chunks += 1
        if self.num_bytes > self._most:
            self.excess = Excess(code="child_flood", message="m")


class Endless(io.RawIOBase):
    """A stream that never ends."""

    num_read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        assert isinstance(buffer, memoryview)
        self.num_read += len(buffer)
        assert self.num_read < 2**27, "nobody stops reading it"
        return len(buffer)


def test_what_has_had_too_much_is_read_no_further() -> None:
    stream = Endless()
    fed = Counting(2**20)
    thread = pump(io.BufferedReader(stream), fed)  # type: ignore[arg-type]
    thread.join(10)
    assert not thread.is_alive()
    assert 2**20 < fed.num_bytes <= 2**20 + MAX_LINE_BYTES


def test_bytes_that_come_one_by_one_do_not_cost_a_look_each() -> None:
    reading, writing = os.pipe()
    stream: IO[bytes] = os.fdopen(reading, "rb")
    fed = Counting(2**30)
    began = time.monotonic()
    thread = pump(stream, fed)
    for _ in range(20_000):
        os.write(writing, b"x")
    os.close(writing)
    thread.join(10)
    took_s = time.monotonic() - began
    stream.close()
    assert fed.num_bytes == 20_000
    assert fed.num_chunks <= took_s / READ_EVERY_S + 2
