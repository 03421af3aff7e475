"""`python -m lab.gpu`, behind `make gpu`: what a GPU does with this project, into one JSON and one page.

Each part is a file in var/gpu/. A part that is there for the same commit and device is not run again.
Exit codes: 0 all parts are there, 1 one failed, 2 there is no such device.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import torch

from cleanclip.vocabulary.errors import OptionsRejected
from lab.benchmarks.speed.measuring import as_a_job, machine
from lab.drills.records import commit
from lab.gpu import page
from lab.gpu.order import Order
from lab.gpu.parts import PARTS, ROOT, run
from sanitizer.training.device import pick
from sanitizer.whole_files import write_whole


def main(arguments: list[str] | None = None) -> int:
    """Run what is missing; write the JSON and the page after each part."""
    parser = argparse.ArgumentParser(prog="python -m lab.gpu", description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="a tiny model and few images; not into docs/")
    parser.add_argument("--model", help="a checkpoint's path, or open_clip's name of one that is downloaded")
    parser.add_argument("--data", type=Path, help="a folder with labelled/ and pairs/")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--folder", type=Path, default=ROOT / "var" / "gpu")
    given = parser.parse_args(arguments)
    if given.data and not given.model:
        parser.error("--data needs --model: an audit refuses random weights, which are no better than chance")
    try:
        device = pick(given.device)
    except OptionsRejected as error:
        print(f"{error} DEVICE=cpu QUICK=1 runs every part with a tiny model.", file=sys.stderr)
        return 2
    host = {**machine(device), "commit": commit(), **_device(device)}
    key = json.dumps([host["device"], given.quick, given.model, str(given.data)])
    folder = given.folder / hashlib.sha256(key.encode()).hexdigest()[:12]
    order = Order(
        device=device,
        device_name=host["device"],
        device_bytes=host["device_bytes"],
        is_quick=given.quick,
        model=given.model,
        data=given.data,
        folder=folder,
        results=folder / host["commit"],
    )
    order.results.mkdir(parents=True, exist_ok=True)
    about = {"model": given.model and Path(given.model).name, "has_data": given.data is not None}
    parts: dict[str, Any] = {}
    for name in given.parts:
        parts[name] = _result(name, order)
        path = page.PAGE if device.type == "cuda" and not given.quick else given.folder / "gpu.md"
        page.write({"machine": host, "is_quick": given.quick, **about, "parts": parts}, path)
    return int(any("failure" in row for row in parts.values()))


def _device(device: torch.device) -> dict[str, Any]:
    if device.type != "cuda":
        return {"driver": None, "device_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")}
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    memory = torch.cuda.get_device_properties(device).total_memory
    return {"driver": answer.split()[0], "device_bytes": memory}


def _result(name: str, order: Order) -> dict[str, Any]:
    """What is kept of a part; one that failed is run again. Whatever a part does, the others are run."""
    path = order.results / f"{name}.json"
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"failure": ""}
    if "failure" in kept:
        print(f"{name} …", flush=True)
        try:
            kept = as_a_job(run, name, order)
        except BrokenProcessPool:
            kept = {"failure": "Its process was killed, for example for the memory that it took."}
        if "failure" in kept:
            print(kept["failure"], file=sys.stderr)
        write_whole(path, json.dumps(kept, indent=1) + "\n")
    return kept


if __name__ == "__main__":
    sys.exit(main())
