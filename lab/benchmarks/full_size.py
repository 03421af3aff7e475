"""A full-size RN50 and a ViT-B/32 through the whole service: seconds of each part, peak memory of each.

    .venv/bin/python -m lab.benchmarks.full_size [--pairs 64] [--images 80]

The weights are random and the file is in OpenAI's layout (a TorchScript archive in half precision): what is
measured is the way of real bytes through real processes, not what a model knows. The images are the
demo's, enlarged by the model's own transform. Prints a table; writes nothing but under var/full-size/.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import threading
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import open_clip.model
import psutil
import torch

from cleanclip.sync.client import Client
from demo import shards
from demo.serving import service
from lab.testbed.glyphs import digits
from lab.testbed.pictures import compose
from lab.testbed.shards import write_labelled, write_pairs

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "var" / "full-size"
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12}
MODELS: dict[str, dict[str, Any]] = {
    "RN50": {
        "embed_dim": 1024,
        "vision_cfg": {"image_size": 224, "layers": [3, 4, 6, 3], "width": 64, "patch_size": None},
        "text_cfg": TEXT,
    },
    "ViT-B/32": {
        "embed_dim": 512,
        "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32},
        "text_cfg": TEXT,
    },
}


def write_archive(name: str, path: Path) -> None:
    """Trace a random CLIP, saved as OpenAI published its models: TorchScript, float16, three integers."""
    torch.manual_seed(0)
    model = open_clip.model.CLIP(**MODELS[name], quick_gelu=True).eval()
    for key, value in {"input_resolution": 224, "context_length": 77, "vocab_size": 49408}.items():
        if hasattr(model, key):
            delattr(model, key)
        model.register_buffer(key, torch.tensor(value))
    example = (torch.zeros(1, 3, 224, 224), torch.zeros(1, 77, dtype=torch.long))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(model, example, check_trace=False)
        traced.half()
        torch.jit.save(traced, path)


class Memory:
    """The highest resident memory seen of each kind of process below this one, ten looks a second."""

    def __init__(self) -> None:
        self.peak_bytes: dict[str, int] = defaultdict(int)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._stop.wait(0.1):
            for process in [me, *me.children(recursive=True)]:
                try:
                    role, size = _role(process.cmdline()), process.memory_info().rss
                except psutil.Error:
                    continue
                if role:
                    self.peak_bytes[role] = max(self.peak_bytes[role], size)


def _role(command: list[str]) -> str | None:
    text = " ".join(command)
    parts = {
        "sanitizer run": "child",
        "app.main": "API",
        "celery": "supervisor",
        "worker.sweeper": "sweeper",
        "weed": "SeaweedFS",
        "valkey": "Valkey",
        "postgres": "PostgreSQL (largest process)",
    }
    return next((role for part, role in parts.items() if part in text and "guard" not in text), None)


@contextmanager
def timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    """Add the wall seconds of the block to `seconds[part]`."""
    started = time.monotonic()
    yield
    seconds[part] = time.monotonic() - started


def run(
    client: Client, name: str, pairs_id: str, labelled_id: str
) -> tuple[int, dict[str, float], dict[str, int]]:
    """One model through upload, inspection, one short job and download."""
    path = FOLDER / f"{name.replace('/', '-')}.pt"
    if not path.exists():
        write_archive(name, path)
    seconds: dict[str, float] = {}
    with Memory() as memory:
        with timed(seconds, "upload"):
            sent = client.uploads.upload_file(path, resume=False)
        with timed(seconds, "inspect"):
            checkpoint = client.checkpoints.wait(str(sent.checkpoint_id))
        with timed(seconds, "job"):
            job = client.jobs.create(
                kind="sanitize",
                checkpoint_id=checkpoint.id,
                dataset_id=pairs_id,
                audit={
                    "dataset_id": labelled_id,
                    "target": "yellow seven",
                    "attacks": [{"attack": "badnet"}],
                },
                recipe={"method": "cleanclip", "epochs": 1, "batch_size": 16, "warmup_steps": 1},
            )
            job = client.jobs.wait(job.id)
        for phase in job.phases:
            seconds[f"  {phase.name}"] = (phase.finished_at - phase.started_at).total_seconds()
        with timed(seconds, "download"):
            for artifact in client.jobs.artifacts(job.id):
                client.artifacts.download(artifact.id, FOLDER / "out")
    shutil.rmtree(FOLDER / "out", ignore_errors=True)
    return path.stat().st_size, seconds, memory.peak_bytes


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--images", type=int, default=80)
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    write_pairs(compose(digits(), "cleaning", options.pairs, seed=0), FOLDER / "pairs")
    write_labelled(digits(), compose(digits(), "test", options.images, seed=0), FOLDER / "labelled")
    with service(ROOT, FOLDER / "serve") as running, Client(running.url, running.key) as client:
        ids = []
        for kind in ("pairs", "labelled"):
            uri = shards.put(FOLDER / kind, running.storage, running.data_bucket, f"full-size/{kind}")
            ids.append(client.datasets.wait(client.datasets.create(kind=kind, uri=uri).id).id)
        print(
            f"{platform.machine()}, {psutil.cpu_count()} cores; "
            f"{options.pairs} pairs, {options.images} images\n"
        )
        for name in MODELS:
            size, seconds, peaks = run(client, name, *ids)
            print(f"## {name}, file of {size / 1e6:.0f} MB\n\n| part | seconds |\n|---|---:|")
            print("\n".join(f"| {part} | {value:.1f} |" for part, value in seconds.items()))
            print("\n| process | peak resident MB |\n|---|---:|")
            print("\n".join(f"| {role} | {value / 1e6:.0f} |" for role, value in sorted(peaks.items())), "\n")


if __name__ == "__main__":
    main()
