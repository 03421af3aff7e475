"""A child that keeps the job folder's contract without a model: quick, and able to misbehave on request.

    python stand_in_child.py KEPT… BEHAVIOUR FOLDER

`work` counts steps and hashes; it saves states, resumes and obeys SIGTERM. It measures, judges and seals
nothing: its reports are kept files (tests/fixtures/stand_in/README.md) in which only what the order and the
input decide is written anew, names, digests and seeds. A report is written by its type, which works out what
follows from fields, as for every child: without that each edit would need a kept file of its own. A child may
read no file that its command does not name. The other behaviours are what a broken or hostile child might do.
"""

import base64
import gzip
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from cleanclip.vocabulary import jobspec, report
from cleanclip.vocabulary.attack_options import names_of
from cleanclip.vocabulary.image_edits import Edit
from cleanclip.vocabulary.null_set import names_sha256
from cleanclip.vocabulary.policy import Policy
from cleanclip.vocabulary.progress import SAMPLES_REUSED
from cleanclip.vocabulary.recipe import AuditOptions, DeclaredOptions, parse, parse_recipe, to_json
from cleanclip.vocabulary.recommended import RecipeSource, model_of
from cleanclip.vocabulary.scan_options import ScanOptions
from cleanclip.vocabulary.scan_report import MOST_HYPOTHESES, ScanReport, dump_scan
from cleanclip.vocabulary.vet_options import VetOptions
from cleanclip.vocabulary.vet_report import VetReport, dump_vet_report
from sanitizer.checkpoints.digests import dataset_sha256

KEPT = Path(__file__).parents[2] / "fixtures/stand_in"
NUM_STEPS = 30
SAVE_EVERY = 10
FOREVER_S = 600
GO_ON = "go-on"
"""File in its folder for which `work_until_told` waits at step 25, after two states; or for SIGTERM."""
CLASSES = ("apple", "banana", "cherry", "date", "elder", "fig")
"""Of the kept reports: an order's first and last class stand for "apple" and "fig"."""
NUM_CLASSES = len(CLASSES)
NUM_IMAGES, NUM_PAIRS, NUM_RETRIEVAL, NUM_TRUSTED = 300, 192, 150, 100
WAVE = Edit(edit="wave", axis="x", frequency=6, strength=50 / 255)


def kept(name: str) -> Any:
    content = (KEPT / name).read_bytes()
    return json.loads(gzip.decompress(content) if name.endswith(".gz") else content)


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def renamed(document: Any, class_name: str, other: str) -> Any:
    """With another name of a class in every place."""
    return json.loads(json.dumps(document).replace(json.dumps(class_name), json.dumps(other)))


def say(**event: Any) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def finish(folder: Path, status: str, code: int, outputs: tuple[str, ...] = (), failure: Any = None) -> None:
    outcome = {"status": status, "outputs": outputs, "failure": failure}
    (folder / "outcome.json").write_text(json.dumps(outcome))
    sys.exit(code)


def advance(phase: str, done: int, total: int) -> None:
    say(type="advanced", phase=phase, done=done, total=total)


# ---------------------------------------------------------------- a checkpoint


def weights(seed: bytes) -> bytes:
    """model.safetensors; another `seed`, other values, each of them finite."""
    values = bytes(byte & 0x3F for byte in hashlib.sha256(seed).digest())
    return (KEPT / "model.safetensors").read_bytes()[: -len(values)] + values


def inspection(upload: bytes, canonical: bytes) -> dict[str, Any]:
    """inspection.json of `upload`, whose weights are `canonical`."""
    read = {"upload_sha256": digest_of(upload), "size_bytes": len(upload)}
    return {**kept("inspection.json"), **read, "weights_sha256": digest_of(canonical)}


def config(found: dict[str, Any], declared: Any = None, filename: str = "clip.pt") -> dict[str, Any]:
    """config.json beside them."""
    document: dict[str, Any] = kept("config.json")
    named = ("layout", "upload_sha256", "assumed", "findings", "scanners", "dtype", "weights_sha256")
    document["checkpoint"] |= {name: found[name] for name in named} | {
        "filename": filename,
        "upload_size_bytes": found["size_bytes"],
        "declared": to_json(parse(DeclaredOptions, declared or {})),
    }
    return document


def canonical_files(upload: bytes) -> tuple[dict[str, bytes], dict[str, Any]]:
    """model.safetensors and config.json as if `upload` had been inspected, and the inspection."""
    canonical = weights(upload)
    found = inspection(upload, canonical)
    return {"model.safetensors": canonical, "config.json": json.dumps(config(found)).encode()}, found


def write_inputs(folder: Path, files: Mapping[str, bytes], **uploads: bytes) -> None:
    """A job's `files`, and what inspections made of `uploads`, by their names."""
    for name, upload in uploads.items():
        files = {**files, **{f"{name}/{one}": found for one, found in canonical_files(upload)[0].items()}}
    for place, content in files.items():
        path = folder / "inputs" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def input_of(folder: Path, name: str = "checkpoint", upload_sha256: str | None = None) -> dict[str, Any]:
    """What each report says of what came in."""
    origin = json.loads((folder / "inputs" / name / "config.json").read_text())["checkpoint"]
    canonical = (folder / "inputs" / name / "model.safetensors").read_bytes()
    read = {"upload_sha256": upload_sha256 or origin["upload_sha256"], "weights_sha256": digest_of(canonical)}
    return {**kept("cleaned.json")["checkpoint"], **read}


# ---------------------------------------------------------------- work


def newest_state(folder: Path) -> tuple[int, str] | None:
    states = sorted((folder / "state").glob("step-*")) if (folder / "state").is_dir() else []
    if not states:
        return None
    saved = json.loads((states[-1] / "position.json").read_text())
    return saved["step"], saved["digest"]


def save(folder: Path, step: int, digest: str, *, is_good: bool = False) -> None:
    name = f"state/step-{step:08d}"
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / "position.json").write_text(json.dumps({"step": step, "digest": digest}))
    (folder / name / "weights.bin").write_bytes(digest.encode() * 100)
    say(type="state_saved", path=name, step=step, is_good=is_good)


def train(folder: Path, seed: int, pace_s: float, holds_at: int | None) -> str:
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    step, digest = newest_state(folder) or (0, digest_of(str(seed).encode()))
    say(type="phase_started", phase="finetune", total=NUM_STEPS, unit="steps")
    if step:
        say(type="noted", level="info", message=f"Resumed from step {step} of {NUM_STEPS}.")
    while step < NUM_STEPS:
        step, digest = step + 1, digest_of(digest.encode())
        time.sleep(pace_s)
        advance("finetune", step, NUM_STEPS)
        while step == holds_at and not stop and not (folder / GO_ON).exists():
            time.sleep(0.02)
        if stop:
            save(folder, step, digest)
            finish(folder, "interrupted", jobspec.EXIT_INTERRUPTED)
        if step % SAVE_EVERY == 0 and step < NUM_STEPS:
            save(folder, step, digest)
    say(type="phase_finished", phase="finetune")
    return digest


def files_of(folder: Path, role: str) -> list[Path]:
    """The files of a dataset, texts first."""
    return sorted((folder / "inputs" / role).iterdir(), key=lambda path: (path.suffix == ".tar", path))


SIZES = {"pairs": NUM_PAIRS, "labelled": NUM_IMAGES, "retrieval": NUM_RETRIEVAL}


def data_inputs(folder: Path, kind: str) -> list[dict[str, Any]]:
    found = []
    for name, size in SIZES.items():
        if (folder / "inputs" / name).is_dir() and (name != "pairs" or kind == "sanitize"):
            digest = dataset_sha256((path.name, path) for path in files_of(folder, name))
            classes = {"num_classes": NUM_CLASSES} if name == "labelled" else {}
            listed = folder / jobspec.exclude_path(name)
            if listed.is_file():
                classes |= {"excluded": told_of_list(listed.read_bytes())}
            found.append({"kind": name, "sha256": digest, "num_samples": size, "num_skipped": 0} | classes)
    return found


def told_of_list(content: bytes) -> dict[str, Any]:
    """What a report says of a list of samples to leave out."""
    reported = json.loads(content)
    return {
        "num": len(reported["samples"]),
        "reason": reported["reason"],
        "list_sha256": digest_of(content),
    }


def audited(
    figures: dict[str, Any], options: AuditOptions, spec: dict[str, Any], weights_sha256: str
) -> dict[str, Any]:
    """Kept figures for an order: of the two kept triggers, the second leads to a target of its own."""
    ordered = [to_json(one) for one in options.attacks]
    targets = [one["target"] or options.target for one in ordered]
    of_target, of_another = figures["attacks"]
    attacks = []
    for name, one, target in zip(names_of(ordered), ordered, targets, strict=True):
        same = of_target if target == options.target else of_another
        attacks.append(renamed(same, same["target"], target) | {"name": name, "options": one})
    of_further, retrieval = figures["further_targets"][0], None
    further = [target for target in dict.fromkeys(targets) if target != options.target]
    if options.linear_probe is None:
        attacks = [one | {"linear_probe": None} for one in attacks]
    if spec.get("has_retrieval"):
        named, led = figures["retrieval"]["targets"][0], figures["retrieval"]["attacks"][0]
        retrieval = figures["retrieval"] | {
            "targets": [named | {"target": target} for target in dict.fromkeys(targets)],
            "attacks": [
                led | {"attack": one["attack"], "target": target}
                for one, target in zip(ordered, targets, strict=True)
            ],
        }
    are_counted = options.target == "banana" and {*targets} <= {"banana", "cherry", "fig"}
    return figures | {
        "weights_sha256": weights_sha256,
        "seed": spec["seed"],
        "ca_per_class": figures["ca_per_class"] if are_counted else [],
        "further_targets": [of_further | {"target": target} for target in further],
        "attacks": attacks,
        "linear_probe": figures["linear_probe"] if options.linear_probe else None,
        "retrieval": retrieval,
    }


def report_of(
    folder: Path, spec: dict[str, Any], cleaned_sha256: str | None, *, is_cleaned: bool = True
) -> report.Report:
    """What a real child would write, every figure fitting every other; `cleaned_sha256` None: an audit.

    `is_cleaned` False: what is called cleaned has the figures of before.
    """
    written = renamed(kept("cleaned.json"), "apple", first_class(folder))
    options, seed = parse(AuditOptions, spec["audit"]), spec["seed"]
    came_in = input_of(folder, upload_sha256=spec.get("upload_sha256"))
    recipe = parse_recipe(spec["recipe"]) if spec.get("recipe") else None
    source, given = None, spec.get("recipe_given")
    if recipe is not None and given is not None:
        source = RecipeSource.of(recipe, given, model_of(came_in))
    after = written["after" if is_cleaned else "before"]
    of_cleaning: dict[str, Any] = dict.fromkeys(
        ("after", "ca_lost", "drift", "retrieval_lost", "training", "control")
    )
    of_cleaning |= {"attack_changes": [], "classes_lost": []}
    if cleaned_sha256 is not None:
        after = audited(after, options, spec, cleaned_sha256)
        lost = dict(zip((True, False), written["attack_changes"], strict=True))
        of_cleaning = {
            "after": after,
            "attack_changes": [
                lost[one["target"] == options.target] | {"attack": one["name"]} for one in after["attacks"]
            ],
            "retrieval_lost": written["retrieval_lost"] if spec.get("has_retrieval") else None,
            "training": recipe
            and (kept("uar_training.json") if recipe.method == "uar" else written["training"]),
            "control": written["control"] | {"seed": seed} if spec.get("searches", True) else None,
        }
    return parse(
        report.Report,
        written
        | {
            "kind": spec["kind"],
            "seed": seed,
            "checkpoint": came_in,
            "data": data_inputs(folder, spec["kind"]),
            "audit": options,
            "scan": spec.get("scan_section"),
            "recipe": recipe,
            "recipe_source": source,
            "policy": parse(Policy, spec.get("policy", {})),
            "policy_source": spec.get("policy_source") or written["policy_source"],
            "before": audited(written["before"], options, spec, came_in["weights_sha256"]),
            "examples": written["examples"] | {"seed": seed} if options.examples else None,
            "architecture": written["architecture"] | {"seed": seed},
        }
        | of_cleaning,
    )


def keep_first_audit(folder: Path, changes: Mapping[str, Any] | None = None) -> None:
    """As the library keeps it beside its states."""
    spec = json.loads((folder / "spec.json").read_text())
    document = json.loads(report.dump_json(report_of(folder, spec | {"kind": "audit"}, None)))
    altered(document["before"], changes or {})
    left = {"key": "0" * 64, "figures": document["before"], "settled": document["architecture"]}
    (folder / "state").mkdir(exist_ok=True)
    (folder / "state/draft.json").write_text(json.dumps(left | {"labels": [0, 1], "correct": "11"}))
    (folder / "state/draft.json").rename(folder / "state/baseline_audit.json")


def first_class(folder: Path) -> str:
    """The name of the dataset's first class, where it has as many as there are in CLASSES."""
    listed = folder / "inputs/labelled/classnames.txt"
    names = listed.read_text().splitlines() if listed.is_file() else []
    return names[0] if len(names) == NUM_CLASSES else "apple"


# ---------------------------------------------------------------- a scan


def measured(
    statistics: dict[str, Any], options: ScanOptions, names: Sequence[str], **measured_on: Any
) -> dict[str, Any]:
    """Kept statistics, of the detectors that were ordered, as those of these inputs."""
    left_out = {"edits", "residual"}.difference(options.detectors)
    return {
        **statistics,
        **dict.fromkeys(left_out),
        "class_names_sha256": names_sha256(names),
        **measured_on,
    }


def scan_report_of(folder: Path, spec: dict[str, Any]) -> ScanReport:
    """What a real child would write of a poisoned model: one trigger leads to the first class."""
    options, [data] = parse(ScanOptions, spec["scan"]), data_inputs(folder, "scan")
    listed, seed = folder / "inputs/labelled/classnames.txt", spec["seed"]
    labelled = listed.read_text().splitlines() if listed.is_file() else [*CLASSES]
    names = [] if options.class_names == "none" else [*labelled, *options.further_classes]
    kept_as = "" if names else "_without_names"
    written = renamed(renamed(kept(f"scan{kept_as}.json"), "fig", labelled[-1]), "apple", labelled[0])
    found = [one for one in written["hypotheses"] if one["detector"] in options.detectors]
    judgements, null = written["judgements"], None
    if spec["has_null"]:
        by_null = kept(f"scan_by_null{kept_as}.json")
        found = [written["hypotheses"][one.pop("place")] | one for one in by_null["hypotheses"]]
        given = json.loads((folder / "inputs/null.json").read_bytes())
        judgements = by_null["judgements"]
        null = by_null["null"] | {name: given[name] for name in ("name", "sha256", "about", "code_version")}
    came_in = input_of(folder, upload_sha256=spec.get("upload_sha256"))
    anchor = input_of(folder, "anchor") if spec.get("has_anchor") else None
    settled = written["conditions"]["settled"] | {"seed": seed}
    written |= {
        "seed": seed,
        "checkpoint": came_in,
        "anchor": anchor,
        "data": [data],
        "options": options,
        "num_classes": len(names),
        "judgements": [one for one in judgements if one["detector"] in options.detectors],
        "null": null,
        "hypotheses": found[:MOST_HYPOTHESES],
        "statistics": measured(
            written["statistics"],
            options,
            names,
            weights_sha256=came_in["weights_sha256"],
            images_sha256=data["sha256"],
            anchor_sha256=anchor and anchor["weights_sha256"],
            seed=seed,
            wall_s=time.monotonic(),
        ),
        "examples": written["examples"] if options.num_examples else [],
        "conditions": written["conditions"] | {"settled": settled, "anchor_settled": anchor and settled},
    }
    return parse(ScanReport, written)


def search(folder: Path, spec: dict[str, Any]) -> None:
    """A scan or a vetting."""
    phase, total, unit = ("scan", 1000, "passes") if spec["kind"] == "scan" else ("vet", NUM_PAIRS, "samples")
    say(type="phase_started", phase=phase, total=total, unit=unit)
    advance(phase, total // 2, total)
    names = write_outputs(folder, spec, OTHER)
    say(type="phase_finished", phase=phase)
    finish(folder, "succeeded", 0, names)


def altered(document: Any, changes: Mapping[str, Any]) -> Any:
    """With other values at places such as `data.0.sha256`; a function changes the old, `...` drops it."""
    for place, value in changes.items():
        *way, last = (int(step) if step.isdecimal() else step for step in place.split("."))
        part = document
        for step in way:
            part = part[step]
        if value is ...:
            del part[last]
        else:
            part[last] = value(part[last]) if callable(value) else value
    return document


def work_and_lie(folder: Path, *, changes: Mapping[str, Any]) -> None:
    """An honest job's files, with values of its report changed; what is made of them is honest."""
    spec = json.loads((folder / "spec.json").read_text())
    if spec["kind"] not in ("audit", "sanitize", "scan", "vet"):
        work(folder)
    names = write_outputs(folder, spec, OTHER)
    path = folder / "outputs/report.json"
    path.write_text(json.dumps(altered(json.loads(path.read_bytes()), changes)))
    finish(folder, "succeeded", 0, names)


OTHER = "0" * 64
"""A digest of something else."""


# ---------------------------------------------------------------- a vetting


def vet_files(folder: Path, spec: dict[str, Any]) -> dict[str, bytes]:
    """What a real child would leave of 192 samples, by the share and the scores of `VetOptions`."""
    role, options = spec["data_kind"], parse(VetOptions, spec["vet"])
    given = [name for name in ("trusted", "anchor") if spec[f"has_{name}"]]
    place = KEPT / "_".join(["vetted", *given, *(options.scores or ())])
    names = ("report.json", "excluded.json", "vet_scores.jsonl.gz")
    left = {name: (place / name).read_bytes() for name in names}
    found, excluded = json.loads(left["report.json"]), json.loads(left["excluded.json"])
    for one, name in zip(found["data"], (role, "trusted"), strict=False):
        one |= {"kind": name, "sha256": dataset_sha256((path.name, path) for path in files_of(folder, name))}
    if role == "labelled":
        found["data"][0]["num_classes"] = NUM_CLASSES
        found["worst"] = [one | {"caption": first_class(folder)} for one in found["worst"]]
    excluded["dataset_sha256"] = found["data"][0]["sha256"]
    left["excluded.json"] = json.dumps(excluded).encode()
    found |= {
        "seed": spec["seed"],
        "checkpoint": input_of(folder, upload_sha256=spec.get("upload_sha256")),
        "anchor": input_of(folder, "anchor") if spec["has_anchor"] else None,
        "options": options,
        "list_sha256": digest_of(left["excluded.json"]),
        "worst": found["worst"][: options.num_shown],
    }
    return left | {"report.json": dump_vet_report(parse(VetReport, found))}


def write_outputs(
    folder: Path, spec: dict[str, Any], digest: str, cleaned: bytes | None = None
) -> tuple[str, ...]:
    """What a real child would leave; of a cleaning the weights are `cleaned`, or made of `digest`."""
    if spec["kind"] == "scan":
        files = {"report.json": dump_scan(scan_report_of(folder, spec))}
    elif spec["kind"] == "vet":
        files = vet_files(folder, spec)
    elif spec["kind"] == "audit":
        files = {"report.json": report.dump_json(report_of(folder, spec, None))}
    else:
        cleaned = cleaned or weights(digest.encode())
        written = report_of(folder, spec, digest_of(cleaned))
        assert written.training is not None
        files = {
            "model.safetensors": cleaned,
            "config.json": json.dumps(cleaned_config(folder, written, cleaned)).encode(),
            "report.json": report.dump_json(written),
            "training_curve.json": report.curve_json(written.training),
        }
    for name, content in files.items():
        (folder / "outputs" / name).write_bytes(content)
    return tuple(files)


def cleaned_config(folder: Path, written: report.Report, cleaned: bytes) -> dict[str, Any]:
    came_in: dict[str, Any] = json.loads((folder / "inputs/checkpoint/config.json").read_text())
    section = came_in["checkpoint"]
    made = {
        "recipe": to_json(written.recipe),
        "seed": written.seed,
        "from_weights_sha256": section["weights_sha256"],
    }
    changed = {"cleaned": made, "weights_sha256": digest_of(cleaned)}
    changed["assumed"] = section["assumed"] | written.architecture.as_assumed()
    return {**came_in, "checkpoint": section | changed}


def draw(folder: Path) -> None:
    """In place of the pages that the library draws: to load what draws would take each test a second."""
    (folder / "outputs/report.html").write_text(
        jobspec.REPORT_HTML_HEAD + "<title>Report</title></head></html>\n"
    )
    (folder / "outputs/report.md").write_text("## Report\n")
    finish(folder, "succeeded", 0, ("report.html", "report.md"))


def recheck(folder: Path, spec: dict[str, Any]) -> None:
    """Honest, whatever is called cleaned: the figures are those of the weights that lie there."""
    advance("final_audit", 1, 2)
    kind = {"kind": "sanitize" if spec["is_cleaned"] else "audit"}
    cleaned = is_cleaned = None
    if spec["is_cleaned"]:
        place = folder / jobspec.CLEANED_PATH
        cleaned = digest_of((place / "model.safetensors").read_bytes())
        made = json.loads((place / "config.json").read_text())["checkpoint"]["cleaned"]
        is_cleaned = made["from_weights_sha256"] != cleaned
    reported = report_of(folder, spec | kind, cleaned, is_cleaned=is_cleaned is not False)
    found: dict[str, Any] = {"measured": reported.measured, "architecture": reported.architecture}
    if spec["is_cleaned"]:
        found["control"] = reported.control and replace(reported.control, seed=spec["control_seed"])
    value = parse(jobspec.RecheckedFigures, found)
    (folder / "outputs/figures.json").write_bytes(jobspec.RECHECKED_ADAPTER.dump_json(value))
    finish(folder, "succeeded", 0, ("figures.json",))


def work(folder: Path, pace_s: float = 0.02, holds_at: int | None = None) -> None:
    spec = json.loads((folder / "spec.json").read_text())
    out = folder / "outputs"
    if spec["kind"] == "pages":
        draw(folder)
    if spec["kind"] == "recheck":
        recheck(folder, spec)
    if spec["kind"] == "inspect":
        inspect(folder, spec, out)
    if spec["kind"] == "validate":
        validate(folder, spec, out)
    if spec["kind"] in ("scan", "vet"):
        search(folder, spec)
    say(type="phase_started", phase="baseline_audit", total=2, unit="images")
    advance("baseline_audit", 2, 2)
    say(type="phase_finished", phase="baseline_audit")
    if spec["kind"] == "sanitize":
        keep_first_audit(folder)
    digest = train(folder, spec["seed"], pace_s, holds_at) if spec["kind"] == "sanitize" else "0" * 64
    finish(folder, "succeeded", 0, write_outputs(folder, spec, digest))


def inspect(folder: Path, spec: dict[str, Any], out: Path) -> None:
    data = (folder / "inputs/upload").read_bytes()
    say(type="phase_started", phase="inspect", total=len(data), unit="bytes")
    if not data.startswith(b"CLIP"):
        issues = ["dangerous: posix.system"]
        scanner = {"name": "picklescan", "version": "1", "verdict": "dangerous", "issues": issues}
        failure = {"code": "unknown_format", "message": "No checkpoint.", "remedy": "Upload one."}
        failure["scanners"] = [scanner | {"num_issues": 1}]
        finish(folder, "refused", jobspec.EXIT_REFUSED, failure=failure)
    files, found = canonical_files(data)
    (out / "model.safetensors").write_bytes(files["model.safetensors"])
    (out / "config.json").write_text(json.dumps(config(found, spec["declared"], spec["filename"])))
    (out / "inspection.json").write_text(json.dumps(found))
    finish(folder, "succeeded", 0, ("model.safetensors", "config.json", "inspection.json"))


def validate(folder: Path, spec: dict[str, Any], out: Path) -> None:
    summary = summary_of(folder, spec)
    say(type="phase_started", phase="validate", total=summary["num_shards"], unit="samples")
    (out / "dataset.json").write_text(json.dumps(summary))
    write_samples(out, rgb=base64.b64encode(bytes([200, 0, 0] * 4)).decode())
    finish(folder, "succeeded", 0, ("dataset.json", "drawn_samples.json"))


def summary_of(folder: Path, spec: dict[str, Any]) -> dict[str, Any]:
    """dataset.json, with the samples that its reports tell of."""
    files = files_of(folder, spec["data_kind"])
    num_shards = sum(path.suffix == ".tar" for path in files)
    num_samples = SIZES[spec["data_kind"]]
    summary = {
        "kind": spec["data_kind"],
        "sha256": dataset_sha256((path.name, path) for path in files),
        "num_shards": num_shards,
        "num_samples": num_samples,
        "num_skipped": 0,
        "skipped_reasons": {},
        "skipped_examples": [],
    }
    if spec["data_kind"] == "labelled":
        listed = [path for path in files if path.name == "classnames.txt"]
        names = listed[0].read_text().splitlines() if listed else ["x"]
        summary |= {"class_names": names, "images_per_class": [num_samples] + [0] * (len(names) - 1)}
    return summary


def write_samples(out: Path, *, rgb: str) -> None:
    text = {"key": "0004", "caption": "a red <b>square</b>"}
    sample = {"index": 4, "width": 2, "height": 2, "rgb": rgb} | text
    (out / "drawn_samples.json").write_text(json.dumps({"seed": 7, "samples": [sample]}))


# ---------------------------------------------------------------- misbehaviour


DIVERGED = {"code": "loss_diverged", "message": "m", "remedy": "r"}


def diverge(folder: Path) -> None:
    """After the audit before cleaning, a good state and three that were saved while the loss rose."""
    say(type="phase_started", phase="baseline_audit", total=2, unit="images")
    keep_first_audit(folder)
    say(type="phase_finished", phase="baseline_audit")
    say(type="phase_started", phase="finetune", total=9, unit="steps")
    for step in (2, 4, 6, 8):
        if step > 2:
            # Each is shipped before the next comes, the last after the end.
            time.sleep(5.0 if step == 4 else 1.0)
        save(folder, step, "0" * 64, is_good=step == 2)
    failure = {"code": "loss_not_finite", "message": "m", "remedy": "r", "phase": "finetune"}
    finish(folder, "refused", jobspec.EXIT_REFUSED, failure=failure)


def diverge_and_link(folder: Path) -> None:
    """With an audit that is a link to something else."""
    (folder / "state").mkdir(exist_ok=True)
    (folder / "state/baseline_audit.json").symlink_to("/etc/passwd")
    finish(folder, "refused", jobspec.EXIT_REFUSED, failure=DIVERGED)


def diverge_and_lie(folder: Path) -> None:
    """With an audit that holds what is not a number."""
    keep_first_audit(folder, {"ca.successes": float("nan")})
    finish(folder, "refused", jobspec.EXIT_REFUSED, failure=DIVERGED)


def tell_of_other_weights(folder: Path) -> None:
    """And go on as if nothing were: who waits for the end waits long."""
    say(type="phase_started", phase="baseline_audit", total=2, unit="images")
    keep_first_audit(folder, {"weights_sha256": OTHER})
    say(type="phase_started", phase="finetune", total=NUM_STEPS, unit="steps")
    time.sleep(FOREVER_S)


def tell_one_thing_and_report_another(folder: Path) -> None:
    """Figures that fit each other, but not those of the report."""
    spec = json.loads((folder / "spec.json").read_text())
    digest = input_of(folder)["weights_sha256"]
    written = report_of(folder, spec, digest)
    other = json.loads(report.dump_json(written))["after"]
    for attack in other["attacks"]:
        attack["towards_now"] = None
    keep_first_audit(folder, other)
    say(type="phase_started", phase="finetune", total=NUM_STEPS, unit="steps")
    time.sleep(2.5)
    finish(folder, "succeeded", 0, write_outputs(folder, spec, "0" * 64))


def say_that_it_waits() -> None:
    say(type="phase_started", phase="baseline_audit", total=None, unit="images")


def wait_for_ever(_folder: Path) -> None:
    say_that_it_waits()
    time.sleep(FOREVER_S)


def ignore_terminate(folder: Path) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    wait_for_ever(folder)


def flood_events(_folder: Path) -> None:
    line = b"x" * 100 + b"\n"
    while True:
        os.write(1, line * 600)


def flood_log(folder: Path) -> None:
    for _ in range(100):
        os.write(2, b"chatter" * 15_000)
    os.write(2, b"the last words\n")
    finish(folder, "refused", jobspec.EXIT_REFUSED, failure=DIVERGED)


def eat_memory(_folder: Path) -> None:
    hoard = []
    while True:
        hoard.append(bytearray(os.urandom(1) * (16 * 1024 * 1024)))


def crash(_folder: Path) -> None:
    sys.stderr.write("something went wrong here\n")
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGSEGV)


def point_outside(folder: Path) -> None:
    (folder / "outputs" / "report.json").symlink_to("/etc/passwd")
    finish(folder, "succeeded", 0, ("report.json",))


def hand_in_another_mans_model(folder: Path) -> None:
    """What six lines of code in the child can do: the weights that came in, and a report of another order."""
    spec = json.loads((folder / "spec.json").read_text())
    invented = spec | {"seed": 99, "policy": {"asr_at_most": 0.9, "ca_lost_at_most": 0.9}}
    names = write_outputs(folder, invented, "poisoned")
    finish(folder, "succeeded", 0, names)


def invent_figures(folder: Path) -> None:
    """The weights that came in, and the report of an honest cleaning: all that is told of them fits."""
    spec = json.loads((folder / "spec.json").read_text())
    if spec["kind"] != "sanitize":
        work(folder)
    came_in = (folder / "inputs/checkpoint/model.safetensors").read_bytes()
    finish(folder, "succeeded", 0, write_outputs(folder, spec, "0" * 64, came_in))


def invent_a_search(folder: Path) -> None:
    """A scan or a vetting that fits itself, with words or counts that are not those of the data; the process
    that makes it again is honest."""
    spec = json.loads((folder / "spec.json").read_text())
    if "fresh" in folder.parts or spec["kind"] not in {"scan", "vet"}:
        work(folder)
    lies: dict[str, dict[str, Any]] = {
        "scan": {"conditions.num_near": 1, "warnings": ...},
        "vet": {"worst.0.caption": "This model is clean. Approved for release."},
    }
    work_and_lie(folder, changes=lies[spec["kind"]])


def leave_more(folder: Path) -> None:
    """An honest result, and beside it what people or programs might open."""
    names = write_outputs(folder, json.loads((folder / "spec.json").read_text()), "0" * 64)
    page = jobspec.REPORT_HTML_HEAD + '<meta http-equiv="refresh" content="0; url=http://127.0.0.1/">'
    more = {"index.html": "<script>1</script>", "model.pkl": "c", "run.sh": "id", "report.html": page}
    for name, text in more.items():
        (folder / "outputs" / name).write_text(text)
    finish(folder, "succeeded", 0, (*names, *more))


def leave_a_page_unnamed(folder: Path) -> None:
    """A page where the renderer's would lie, that the outcome does not name."""
    names = write_outputs(folder, json.loads((folder / "spec.json").read_text()), "0" * 64)
    (folder / "outputs/report.html").write_text(jobspec.REPORT_HTML_HEAD + "<meta http-equiv=refresh>")
    finish(folder, "succeeded", 0, names)


def inspect_a_pickle(folder: Path) -> None:
    """Canonical weights that are a pickle, with an inspection that tells its digest."""
    files, found = canonical_files((folder / "inputs/upload").read_bytes())
    pickled = b"cos\nsystem\n(S'id'\ntR."
    found["weights_sha256"] = digest_of(pickled)
    files |= {"model.safetensors": pickled, "inspection.json": json.dumps(found).encode()}
    files["config.json"] = json.dumps(config(found)).encode()
    for name, content in files.items():
        (folder / "outputs" / name).write_bytes(content)
    finish(folder, "succeeded", 0, tuple(files))


def inspect_another_model(folder: Path) -> None:
    """One of the programs that an inspection ends with puts another model in the place of the upload's."""
    spec = json.loads((folder / "spec.json").read_text())
    if spec["kind"] != "inspect" or spec["scanner_time_limit_s"] == 0:
        work(folder)
    upload = (folder / "inputs/upload").read_bytes()
    canonical = weights(b"another")
    found = inspection(upload, canonical)
    (folder / "outputs/model.safetensors").write_bytes(canonical)
    (folder / "outputs/config.json").write_text(json.dumps(config(found, spec["declared"], spec["filename"])))
    (folder / "outputs/inspection.json").write_text(json.dumps(found | {"converted_again": True}))
    finish(folder, "succeeded", 0, ("model.safetensors", "config.json", "inspection.json"))


def validate_other_files(folder: Path) -> None:
    """Everything of a validation as it should be but the digest of what was read."""
    spec = json.loads((folder / "spec.json").read_text())
    write_samples(folder / "outputs", rgb=base64.b64encode(bytes([200, 0, 0] * 4)).decode())
    summary = summary_of(folder, spec) | {"sha256": "0" * 64}
    (folder / "outputs/dataset.json").write_text(json.dumps(summary))
    finish(folder, "succeeded", 0, ("dataset.json", "drawn_samples.json"))


def say_nonsense(folder: Path) -> None:
    (folder / "outcome.json").write_text('{"status": "succeeded", "outputs": ["../../lock"]}')
    sys.exit(0)


def leave_a_daemon(folder: Path) -> None:
    """Double fork, in a session of its own if it may have one: as who wants to outlive the group."""
    script = (
        "import os,time\n"
        "try: os.setsid()\n"
        "except PermissionError: pass\n"
        "if os.fork(): os._exit(0)\n"
        "time.sleep(600)"
    )
    subprocess.run([sys.executable, "-c", script, "stand-in-daemon"], check=True)
    wait_for_ever(folder)


def look_around(folder: Path) -> None:
    """Write down what the child can see and touch."""
    seen: dict[str, Any] = {"environment": dict(os.environ), "status": Path("/proc/self/status").read_text()}
    seen["num_processes"] = sum(name.isdecimal() for name in os.listdir("/proc"))
    try:
        socket.create_connection(("127.0.0.1", int(os.environ.get("PORT", "1"))), timeout=1).close()
        seen["network"] = "open"
    except OSError as error:
        seen["network"] = str(error)
    try:
        (folder.parent / "trespass").write_text("x")
        seen["outside"] = "written"
    except OSError as error:
        seen["outside"] = str(error)
    (folder / "seen.json").write_text(json.dumps(seen))
    wait_for_ever(folder)


def pass_a_picture_for_pixels(folder: Path) -> None:
    """A validation that would have a file of its own shown to people."""
    out = folder / "outputs"
    write_samples(out, rgb=base64.b64encode(b"<svg onload='alert(1)'/>").decode())
    summary = summary_of(folder, json.loads((folder / "spec.json").read_text()))
    (out / "dataset.json").write_text(json.dumps(summary))
    finish(folder, "succeeded", 0, ("dataset.json", "drawn_samples.json"))


def talk_to_itself(folder: Path) -> None:
    """Say how many ranks it may start, and whether they could speak with each other."""
    max_ranks = json.loads((folder / "spec.json").read_text()).get("max_ranks")
    try:
        server = socket.create_server(("127.0.0.1", 0))
        socket.create_connection(server.getsockname()).close()
        how = "heard"
    except PermissionError:
        how = "silent"
    say(type="noted", level="info", message=SAMPLES_REUSED(done=max_ranks or 0, total=0, name=how))
    work(folder)


def scan_honestly_and_lie(folder: Path, *, changes: Mapping[str, Any]) -> None:
    """Of a cleaning that scans first, the cleaning's child."""
    if json.loads((folder / "spec.json").read_text())["kind"] == "sanitize":
        work_and_lie(folder, changes=changes)
    work(folder)


def _but_the_last(attacks: list[Any]) -> list[Any]:
    return attacks[:-1]


_AUDITED = ("audit.attacks", "before.attacks", "after.attacks", "verdict.attacks", "attack_changes")
FIRST_SCAN_LIES: dict[str, dict[str, Any]] = {
    "audit_less_than_was_found": {**dict.fromkeys(_AUDITED, _but_the_last), "scan.found.0.attack": None},
    "tell_of_another_scan": {"scan.p_value": 0.5},
    "tell_of_no_scan": {"scan": None},
}
"""Of the report of a cleaning that scanned first; the last trigger is the one that the scan found."""


def leave_no_scan(folder: Path) -> None:
    if json.loads((folder / "spec.json").read_text())["kind"] == "scan":
        finish(folder, "succeeded", 0, ())
    work(folder)


BEHAVIOURS: dict[str, Callable[[Path], None]] = {
    "work": work,
    "lie": partial(work_and_lie, changes={"seed": 99}),
    **{name: partial(scan_honestly_and_lie, changes=changes) for name, changes in FIRST_SCAN_LIES.items()},
    "work_until_told": lambda folder: work(folder, pace_s=0.1, holds_at=25),
    **{
        function.__name__: function
        for function in (
            diverge,
            diverge_and_lie,
            diverge_and_link,
            tell_of_other_weights,
            tell_one_thing_and_report_another,
            wait_for_ever,
            ignore_terminate,
            flood_events,
            flood_log,
            eat_memory,
            crash,
            point_outside,
            hand_in_another_mans_model,
            invent_figures,
            invent_a_search,
            inspect_a_pickle,
            inspect_another_model,
            leave_a_page_unnamed,
            leave_no_scan,
            leave_more,
            validate_other_files,
            pass_a_picture_for_pixels,
            say_nonsense,
            leave_a_daemon,
            look_around,
            talk_to_itself,
        )
    },
}

if __name__ == "__main__":
    BEHAVIOURS[sys.argv[-2]](Path(sys.argv[-1]))
