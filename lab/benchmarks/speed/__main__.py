"""Measures and writes docs/performance.md (its generated part) and docs/performance.json.

    python -m lab.benchmarks.speed                        everything: hours on two quiet cores
    python -m lab.benchmarks.speed training --models RN50 one part; the others' last results stay on the page
    python -m lab.benchmarks.speed --try                  everything very small, printed and not written
    python -m lab.benchmarks.speed --tables               the page again from the results that are there

Parts: training, audit. Other work on the machine disturbs the times: the load at the start stands under each
table. On a GPU `make gpu` measures more.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lab.benchmarks.speed import auditing, tables, training
from lab.benchmarks.speed.measuring import machine
from sanitizer.training import device as devices

PARTS = ("training", "audit")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(PARTS))
    parser.add_argument("--models", nargs="+", default=["RN50", "ViT-B/32", "demo"])
    parser.add_argument("--pairs", type=int, default=48, help="of RN50 and ViT-B/32")
    parser.add_argument("--batch", type=int, default=16, help="of RN50 and ViT-B/32")
    parser.add_argument("--images", type=int, default=40, help="of the audit")
    parser.add_argument("--classes", type=int, default=8, help="of the audit")
    parser.add_argument("--templates", type=int, default=8, help="of the audit, of ImageNet's 80")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--try", dest="is_try", action="store_true")
    parser.add_argument("--tables", action="store_true")
    chosen = parser.parse_args()
    if unknown := set(chosen.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return chosen


def _work(chosen: argparse.Namespace, scratch: Path) -> dict[str, Callable[[], list[dict[str, Any]]]]:
    device = devices.pick(chosen.device)
    full_size = [name for name in chosen.models if name != "demo"]

    def trained(name: str) -> dict[str, Any]:
        # The demo's own batch; as many pairs as take about as long.
        small = name == "demo"
        batch, pairs = (64, 64 * (2 if chosen.is_try else 60)) if small else (chosen.batch, chosen.pairs)
        return training.compare(
            name, scratch, num_pairs=pairs, batch_size=batch, repetitions=chosen.repetitions, device=device
        )

    def audited(name: str) -> dict[str, Any]:
        return auditing.compare(
            name,
            scratch,
            num_images=chosen.images,
            num_classes=chosen.classes,
            num_templates=chosen.templates,
            repetitions=chosen.repetitions,
            device=device,
        )

    return {
        "training": lambda: [trained(name) for name in chosen.models],
        "audit": lambda: [audited(name) for name in full_size],
    }


def main() -> None:
    """Measure the parts that were asked for, one after another; each is written as soon as it is there."""
    chosen = _arguments()
    if chosen.is_try:
        chosen.pairs, chosen.batch, chosen.repetitions = 4, 2, 1
        chosen.images, chosen.classes, chosen.templates = 4, 2, 2
    results: dict[str, Any] = {}
    if tables.RESULTS.exists() and not chosen.is_try:
        results = json.loads(tables.RESULTS.read_text(encoding="utf-8"))
    if chosen.tables:
        tables.write(results)
        return
    command = " ".join(["python -m lab.benchmarks.speed", *sys.argv[1:]])
    with tempfile.TemporaryDirectory(prefix="speed-") as folder:
        work = _work(chosen, Path(folder))
        for part in chosen.parts or PARTS:
            host = machine(torch.device(devices.pick(chosen.device)))
            results[part] = {"machine": host, "command": command, "rows": work[part]()}
            if not chosen.is_try:
                tables.write(results)
    print(tables.render(results))


if __name__ == "__main__":
    main()
