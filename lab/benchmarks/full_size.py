"""`python -m lab.benchmarks.full_size`: a ViT-B/32 through the whole service, twenty updates of each method.

Weights are random, so what is measured is the way of real bytes through real processes: seconds and the
highest resident memory of each, beside the memory that the dry run's plan says. Test images have the classes
that the model gives them. Jobs that ended before are not run again (`--folder`). Writes one JSON there; the
page docs/full-size.md has its table.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import open_clip
import psutil
import torch
from torch import Tensor
from torch.nn.functional import normalize

from cleanclip.sync.client import Client
from demo import shards
from demo.serving import service
from lab.testbed.glyphs import digits
from lab.testbed.pictures import class_names, compose
from lab.testbed.shards import images, write_pairs
from lab.testbed.writing import write_labelled_shards

ROOT = Path(__file__).resolve().parents[2]
CONFIG: dict[str, Any] = {
    "embed_dim": 512,
    "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12},
}
NUM_PAIRS, NUM_IMAGES, BATCH = 160, 136, 16
NUM_AUDITED = 72
"""Fewer than are searched for patterns after a cleaning, or compared for the settings."""
CLASSES = tuple(name for name in class_names(digits()) if name.endswith(" seven"))
TRAINING: dict[str, Any] = {"epochs": 2, "batch_size": BATCH, "warmup_steps": 2}
RECIPES: dict[str, dict[str, Any]] = {
    "cleanclip": {"method": "cleanclip", **TRAINING},
    "par": {"method": "par", "epochs": 2, "batch_size": BATCH},
    "supervised": {"method": "supervised", **TRAINING},
    "uar": {"method": "uar", **TRAINING, "strong_epochs": 1, "inversion_steps": 8, "reinversion_steps": 4},
}
SCAN: dict[str, Any] = {
    "detectors": ["collapse"],
    "collapse": {"families": [{"family": "patch", "budget": 0.2}], "restarts": 2, "steps": [2, 4]},
    "num_images": 64,
    "num_held_out": 64,
    "num_examples": 1,
}
DECLARED = {"num_heads_vision": 12, "num_heads_text": 8, "quick_gelu": False}
ROLES = {
    "sanitizer run": "child",
    "app.main": "API",
    "celery": "supervisor",
    "weed": "SeaweedFS",
    "postgres": "PostgreSQL",
}


class Memory:
    """The highest resident memory of each kind of process below this one, five looks a second."""

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
        while not self._stop.wait(0.2):
            for process in psutil.Process().children(recursive=True):
                try:
                    text, size = " ".join(process.cmdline()), process.memory_info().rss
                except psutil.Error:
                    continue
                role = next((role for part, role in ROLES.items() if part in text), None)
                if role is not None:
                    self.peak_bytes[role] = max(self.peak_bytes[role], size)


def write_inputs(folder: Path, path: Path) -> None:
    """A model whose embeddings differ between images, pairs, and labelled images with its own answers."""
    pairs, tested = (
        compose(digits(), split, count, seed=0)
        for split, count in (("cleaning", NUM_PAIRS), ("test", NUM_IMAGES))
    )
    templates = digits().zero_shot_templates
    torch.manual_seed(0)
    model = open_clip.model.CLIP(**CONFIG).eval()
    prepare = open_clip.image_transform(224, is_train=False)
    image_NCHW = torch.stack([prepare(image) for image in images(tested)])
    with torch.inference_mode():
        features: list[Tensor] = []
        hook = model.visual.ln_post.register_forward_hook(lambda *passed: features.append(passed[2]))
        model.encode_image(image_NCHW)
        hook.remove()
        model.visual.ln_post.bias -= features[0].reshape(NUM_IMAGES, -1, 768)[:, 0].mean(dim=0)
        texts = [template.replace("{c}", name) for name in CLASSES for template in templates]
        text_CTD = model.encode_text(open_clip.tokenize(texts), normalize=True)
        class_CD = text_CTD.reshape(len(CLASSES), -1, 512).mean(dim=1)
        cosine_NC = model.encode_image(image_NCHW, normalize=True) @ normalize(class_CD, dim=1).T
    torch.save(model.state_dict(), path)
    write_pairs(pairs, folder / "pairs")
    answers = cosine_NC.argmax(dim=1).tolist()
    for role, count in (("labelled", NUM_AUDITED), ("searched", NUM_IMAGES)):
        samples = list(zip(images(tested), answers, strict=True))[:count]
        write_labelled_shards(samples, folder / role, CLASSES, templates, NUM_IMAGES)
    trained = zip(images(pairs), [number % len(CLASSES) for number in range(NUM_PAIRS)], strict=True)
    write_labelled_shards(trained, folder / "trained", CLASSES, templates, NUM_PAIRS)


def measure(client: Client, folder: Path, name: str, order: dict[str, Any]) -> dict[str, Any]:
    """One job: its phases in seconds, the memory that was planned and that was seen."""
    planned = client.jobs.dry_run(seed=1, **order)
    started = time.monotonic()
    with Memory() as memory:
        job = client.jobs.wait(client.jobs.create(seed=1, **order).id, timeout_s=3600)
        ended_s = time.monotonic() - started
        (folder / name).mkdir(parents=True, exist_ok=True)
        for artifact in client.jobs.artifacts(job.id):
            client.artifacts.download(artifact.id, folder / name)
    return {
        "state": job.state,
        "error": None if job.error is None else str(job.error),
        "job_s": ended_s,
        "download_s": time.monotonic() - started - ended_s,
        "phases_s": {
            phase.name: (phase.finished_at - phase.started_at).total_seconds()
            for phase in job.phases
            if phase.finished_at is not None and phase.started_at is not None
        },
        "peak_bytes": dict(memory.peak_bytes),
        "plan": planned.plan,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=ROOT / "var" / "full-size")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    result = folder / "result.json"
    kept: dict[str, Any] = json.loads(result.read_text()) if result.exists() else {}
    path = folder / "vit-b-32.pt"
    if not path.exists():
        write_inputs(folder, path)
    with service(ROOT, folder / "serve") as running, Client(running.url, running.key) as client:
        ids = {}
        for role in ("pairs", "labelled", "searched", "trained"):
            uri = shards.put(folder / role, running.storage, running.data_bucket, f"full-size/{role}")
            kind = "pairs" if role == "pairs" else "labelled"
            ids[role] = client.datasets.wait(client.datasets.create(kind=kind, uri=uri).id).id
        started = time.monotonic()
        with Memory() as memory:
            sent = client.uploads.upload_file(path, resume=False, declared=DECLARED)
            sent_s = time.monotonic() - started
            checkpoint = client.checkpoints.wait(str(sent.checkpoint_id), timeout_s=600)
        inspected_s = time.monotonic() - started - sent_s
        kept["upload"] = {"upload_s": sent_s, "inspect_s": inspected_s, "peak_bytes": dict(memory.peak_bytes)}
        audit = {"dataset_id": ids["labelled"], "target": "yellow seven", "attacks": [{"attack": "badnet"}]}
        orders: dict[str, dict[str, Any]] = {"audit": {"kind": "audit", "audit": audit}}
        for method, recipe in RECIPES.items():
            trained = ids["trained" if method == "supervised" else "pairs"]
            orders[method] = {"kind": "sanitize", "dataset_id": trained, "audit": audit, "recipe": recipe}
        orders["scan"] = {"kind": "scan", "scan": {**SCAN, "dataset_id": ids["searched"]}}
        for name, order in orders.items():
            if kept.get(name, {}).get("state") != "succeeded":
                kept[name] = measure(client, folder, name, {"checkpoint_id": checkpoint.id, **order})
                result.write_text(json.dumps(kept, indent=1, default=vars) + "\n")
            print(name, json.dumps(kept[name], default=vars)[:600], flush=True)


if __name__ == "__main__":
    main()
