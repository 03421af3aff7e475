"""Rows of float32 on disk, written in order and read in any: so memory does not grow with the dataset.

    state/vet/vetted.json          how many samples are done, and of which run
    state/vet/vetted.<field>.f32   one row a sample; rows beyond the last save are written again

Plain reads and writes, no memory map: mapped pages would count as the process's memory.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sanitizer.whole_files import write_whole


class RowFiles:
    """`widths`: numbers a row of each field. `num_done` samples were saved by an earlier run of the same
    key."""

    def __init__(self, folder: Path, name: str, widths: Mapping[str, int], key: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._progress = folder / f"{name}.json"
        self._key = key
        self.widths = dict(widths)
        self.num_done, self.notes = self._read_progress()
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | (0 if self.num_done else os.O_TRUNC)
        self._files = {field: os.open(folder / f"{name}.{field}.f32", flags, 0o600) for field in widths}

    def __del__(self) -> None:
        for descriptor in self.__dict__.pop("_files", {}).values():
            os.close(descriptor)

    def write(self, start: int, rows: Mapping[str, NDArray[np.float32]]) -> None:
        """Rows of every field from sample `start` on."""
        for field, block in rows.items():
            data = np.ascontiguousarray(block, dtype=np.float32).tobytes()
            offset = start * 4 * self.widths[field]
            while data:
                written = os.pwrite(self._files[field], data, offset)
                data, offset = data[written:], offset + written

    def save(self, num_done: int, notes: Mapping[str, object]) -> None:
        """A later run of the same key goes on after `num_done` samples, with these notes."""
        for descriptor in self._files.values():
            os.fsync(descriptor)
        content = {"key": self._key, "num_done": num_done, "notes": dict(notes)}
        write_whole(self._progress, json.dumps(content))
        self.num_done, self.notes = num_done, dict(notes)

    def read(self, field: str, places: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float64]:
        """[len(places), width], as float64. Neighbouring places are read together."""
        wanted = np.asarray(places, dtype=np.int64)
        width = self.widths[field]
        rows = np.empty((len(wanted), width), dtype=np.float32)
        order = np.argsort(wanted, kind="stable")
        breaks = np.flatnonzero(np.diff(wanted[order]) != 1) + 1
        for run in np.split(order, breaks) if len(order) else ():
            size = 4 * width * len(run)
            data = os.pread(self._files[field], size, int(wanted[run[0]]) * 4 * width)
            if len(data) != size:
                raise OSError(f"{field}: the state of an earlier run is cut off")
            rows[run] = np.frombuffer(data, dtype=np.float32).reshape(len(run), width)
        return rows.astype(np.float64)

    def _read_progress(self) -> tuple[int, dict[str, object]]:
        try:
            content = json.loads(self._progress.read_text(encoding="utf-8"))
            if content["key"] == self._key:
                return int(content["num_done"]), dict(content["notes"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return 0, {}
