"""The demo, step by step: a service, a poisoned CLIP, a job through the public client, a second measurement.

Everything lies below one folder and every process started here ends with this one.
"""

import json
import os
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from cleanclip.models import Job
from cleanclip.sync.client import Client
from cleanclip.vocabulary.null_set import load_null
from cleanclip.vocabulary.recipe import to_json
from demo import labelled, screen, shards
from demo.customer import Cleaned, Customer
from demo.recipe import (
    ATTACK,
    CLEANINGS,
    MAIN,
    NULL_PATH,
    NUM_CLEAN_PAIRS,
    NUM_TEST_IMAGES,
    POISONING,
    TARGET,
)
from demo.serving import Service, service
from demo.verdict import Figures, Outcome
from lab.testbed import independent
from lab.testbed.glyphs import digits
from lab.testbed.pictures import Pictures, compose
from lab.testbed.shards import write_pairs
from lab.testbed.subject import Subject, find_or_train, unpack

ROOT = Path(__file__).resolve().parent.parent
NUM_THREADS = 1
"""For the poisoned training. Two are slower than one as soon as anything else runs: its layers are small, and
threads that wait for each other spin. One also rounds the same way on every machine of a kind."""


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """`keep` leaves the service up afterwards, until Ctrl-C."""

    folder: Path
    seed: int
    keep: bool


def run(options: DemoOptions, console: Console) -> bool:
    """The whole demo; whether the aim was reached. Raises ServiceFailed and what the client raises."""
    started = time.monotonic()
    options.folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("CLEANCLIP_CACHE_DIR", str(options.folder / "client-cache"))
    with ExitStack() as stack:
        _say(console, "1  The service: PostgreSQL, Valkey, SeaweedFS, API, workers")
        running = stack.enter_context(service(ROOT, options.folder / "serve"))
        console.print(f"  {running.url} answers", highlight=False)
        poison_started = time.monotonic()
        _say(console, f"2  A poisoned CLIP (seed {options.seed}): a patch that makes everything “{TARGET}”")
        subject = _poison(options, console)
        poison_s = time.monotonic() - poison_started
        addresses = _publish_data(options, running, console)
        client = stack.enter_context(Client(running.url, running.key))
        null = _keep_null(running, client, console)
        _say(console, "3  A customer who knows no trigger: upload, scan, clean, scan again")
        customer = Customer(
            client=client, folder=options.folder, seed=options.seed, null=null, console=console
        )
        cleaned = customer.clean(subject.path, addresses)
        _say(console, "4  The same measurement once more, outside the service")
        outcome = _outcome(cleaned, subject, options)
        wall_s = {
            "install": _install_s(),
            "poison": round(poison_s, 1),
            **cleaned.wall_s,
            "total": round(time.monotonic() - started, 1),
        }
        is_reached = _conclude(
            outcome=outcome,
            wall_s=wall_s,
            subject=subject,
            cleaned=cleaned,
            options=options,
            console=console,
        )
        if options.keep:
            _stay(running, cleaned.jobs[MAIN], console)
    return is_reached


def _poison(options: DemoOptions, console: Console) -> Subject:
    torch.set_num_threads(NUM_THREADS)
    folder = options.folder / f"poisoned-seed{options.seed}"
    with screen.bars(console) as progress:
        bar = screen.PoisonBar(progress, POISONING.batch_size)
        subject = find_or_train(
            folder, POISONING, ATTACK, seed=options.seed, on_step=bar.step, on_epoch=bar.epoch
        )
    last = subject.epochs[-1]
    how = "trained now" if subject.is_new else "kept from an earlier run"
    console.print(f"  {subject.path} ({how}): CA {last.ca:.1%}, ASR {last.asr:.1%}", highlight=False)
    return subject


def _publish_data(options: DemoOptions, running: Service, console: Console) -> dict[str, str]:
    """The s3:// addresses of clean pairs and labelled test set."""
    folder = options.folder / f"data-seed{options.seed}"
    write_pairs(compose(digits(), "cleaning", NUM_CLEAN_PAIRS, seed=options.seed), folder / "pairs")
    labelled.write(folder / "labelled")
    addresses = {
        kind: shards.put(folder / kind, running.storage, running.data_bucket, f"seed{options.seed}/{kind}")
        for kind in ("pairs", "labelled")
    }
    console.print(
        f"  {NUM_CLEAN_PAIRS:,} clean pairs and {NUM_TEST_IMAGES:,} test images of other scans:"
        f" {addresses['pairs']}, {addresses['labelled']}",
        highlight=False,
    )
    return addresses


def _keep_null(running: Service, client: Client, console: Console) -> str:
    """The name of the demo's null, which the operator of the service adds unless it is there."""
    null = load_null(NULL_PATH.read_bytes())
    kept = next((one for one in client.nulls.list().data if one.name == null.name), None)
    if kept is not None and kept.sha256 != null.sha256:
        running.operate(ROOT, "remove-null", kept.id)
        kept = None
    if kept is None:
        running.operate(ROOT, "add-null", str(NULL_PATH))
    console.print(
        f"  The operator's null “{null.name}”: {len(null.models)} models that were never poisoned, smallest"
        f" p {null.used.smallest_p:.3g}",
        highlight=False,
    )
    return null.name


def _outcome(cleaned: Cleaned, subject: Subject, options: DemoOptions) -> Outcome:
    reports = cleaned.reports
    test = labelled.given(reports[MAIN])
    poisoned = unpack(subject.path, POISONING, options.folder / "independent")
    *_, last_but_one, last = subject.epochs
    return Outcome(
        before=_of_service(reports[MAIN]["before"]),
        after={method: _of_service(report["after"]) for method, report in reports.items()},
        independent_before=_independent(poisoned, test, options),
        independent_after={
            method: _independent(folder, test, options) for method, folder in cleaned.folders.items()
        },
        last_gain=last.ca - last_but_one.ca,
        last_gain_noise=last.ca_noise,
        found=_of_found(reports),
        scan=cleaned.scan,
        rescan=cleaned.rescan,
        target=TARGET,
    )


def _independent(model_folder: Path, test: Pictures, options: DemoOptions) -> Figures:
    return independent.figures(model_folder, digits(), test, target=TARGET, attack=ATTACK, seed=options.seed)


def _of_service(audited: dict[str, Any]) -> Figures:
    """Of our own trigger, which stands before those that the scan found."""
    attack = audited["attacks"][0]
    return {"ca": audited["ca"], "asr": attack["asr"], "pa": attack["pa"]}


def _of_found(reports: dict[str, dict[str, Any]]) -> dict[str, float]:
    """The highest ASR of the attacks behind ours, by when it was measured."""
    audits = {"before": reports[MAIN]["before"]}
    audits |= {f"after {method}": report["after"] for method, report in reports.items()}
    return {
        when: max(attack["asr"]["value"] for attack in audit["attacks"][1:])
        for when, audit in audits.items()
        if audit["attacks"][1:]
    }


def _conclude(
    *,
    outcome: Outcome,
    wall_s: dict[str, float | None],
    subject: Subject,
    cleaned: Cleaned,
    options: DemoOptions,
    console: Console,
) -> bool:
    """Print what came out and write result.json."""
    missed = outcome.missed()
    result = outcome.to_json() | {
        "recipes": {method: to_json(recipe) for method, recipe in CLEANINGS.items()},
        "job_ids": {method: job.id for method, job in cleaned.jobs.items()},
        "wall_s": wall_s,
        "seed": options.seed,
        "aim_missed": missed,
    }
    path = options.folder / "result.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    console.print()
    console.print(outcome.table())
    console.print(outcome.of_found(), highlight=False)
    console.print(
        f"BadNet, fixed 5×5 patch at a random place, target “{TARGET}”; {NUM_CLEAN_PAIRS:,} clean pairs."
        " UAR is this project's method, CleanCLIP the paper's; neither knows the trigger. Their recipes are"
        f" in result.json. {_times(wall_s, subject)}",
        highlight=False,
    )
    if not outcome.disagreements():
        console.print(
            "An independent measurement, outside the service, counted the same images in all"
            f" {3 * (1 + len(CLEANINGS))} figures.",
            highlight=False,
        )
    console.print(f"Files: {subject.path}, {cleaned.folders[MAIN]}, {path}", highlight=False)
    if missed:
        console.print("The aim was missed.", style="bold red")
        for sentence in missed:
            console.print(f"  {sentence}", highlight=False)
    else:
        console.print(
            f"The aim was reached: with {MAIN} the backdoor is gone, the accuracy is kept.",
            style="bold green",
        )
    console.print(
        "Next: `make demo SEED=2` poisons another model, `make demo KEEP=1` leaves the service up,"
        " `make serve` starts it alone, `cleanclip --help` lists the commands.",
        highlight=False,
    )
    return not missed


def _times(wall_s: dict[str, float | None], subject: Subject) -> str:
    poisoned = f"poisoning {wall_s['poison']:.0f} s" if subject.is_new else "poisoned model kept"
    return (
        f"{poisoned}, scan {wall_s['scan']:.0f} s, cleaning {wall_s['jobs']:.0f} s,"
        f" rescan {wall_s['rescan']:.0f} s, in all {wall_s['total']:.0f} s."
    )


def _install_s() -> float | None:
    """How long `make` took to install, if it was `make` that did."""
    try:
        return float(json.loads((ROOT / "var" / "install.json").read_text(encoding="utf-8"))["install_s"])
    except (OSError, ValueError, KeyError):
        return None


def _stay(running: Service, job: Job, console: Console) -> None:
    console.print(f"\nThe service stays up: {running.url}   key: {running.key}", highlight=False)
    console.print("  The job in a browser (this link signs in once, within the hour):")
    console.print(f"  {running.sign_in_url}&next=/ui/jobs/{job.id}", highlight=False, soft_wrap=True)
    console.print("  Ctrl-C stops it.")
    threading.Event().wait()


def _say(console: Console, heading: str) -> None:
    console.print(f"\n[bold]{heading}[/bold]", highlight=False)
