"""A child that keeps the job folder's contract without a model: quick, and able to misbehave on request.

    python stand_in_child.py BEHAVIOUR FOLDER

`work` counts steps and hashes; its result depends on the seed and on nothing else, it saves states, resumes
and obeys SIGTERM. The other behaviours are what a broken or hostile child might do.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cleanclip.vocabulary import jobspec, report, report_inputs, scan_judging
from cleanclip.vocabulary.attack_options import names_of
from cleanclip.vocabulary.audit_figures import AuditFigures
from cleanclip.vocabulary.control import MEASURED, SEARCHES, ControlFigures, Strongest
from cleanclip.vocabulary.exclusions import Exclusions, LeftOut, dump_exclusions
from cleanclip.vocabulary.found_triggers import FoundTrigger, has_pattern
from cleanclip.vocabulary.image_edits import Edit, bank
from cleanclip.vocabulary.measures import Difference, Estimate
from cleanclip.vocabulary.null_set import NullModel, NullPattern, NullSet, load_null, names_sha256, sealed
from cleanclip.vocabulary.plain_images import write_pattern
from cleanclip.vocabulary.policy import PolicySource
from cleanclip.vocabulary.progress import SAMPLES_REUSED
from cleanclip.vocabulary.recipe import (
    AttackOptions,
    AuditOptions,
    DeclaredOptions,
    Policy,
    Recipe,
    UARRecipe,
    parse,
    parse_recipe,
    to_json,
)
from cleanclip.vocabulary.recommended import RecipeSource, model_of
from cleanclip.vocabulary.scan_options import ScanOptions
from cleanclip.vocabulary.scan_report import (
    DosePoint,
    Hypothesis,
    NamedClass,
    NamedWord,
    ScanExample,
    ScanReport,
    dump_scan,
)
from cleanclip.vocabulary.scan_statistics import (
    CollapseFigures,
    CollapseRestart,
    DoseRate,
    EditFigures,
    EditRise,
    EditsFigures,
    ResidualFigures,
    ScanStatistics,
)
from cleanclip.vocabulary.scan_warnings import Conditions
from cleanclip.vocabulary.settled import COMPARED, Margin, SettingFigures, SettledArchitecture
from cleanclip.vocabulary.vet_options import VetOptions
from cleanclip.vocabulary.vet_plan import plan
from cleanclip.vocabulary.vet_report import (
    LEVELS,
    NAMED_BY,
    Basis,
    Quantiles,
    SampleScore,
    ScoreSummary,
    VetReport,
    WorstSample,
    dump_vet_report,
    reason_of,
)
from sanitizer.audits.statistics import mean_distance, wilson
from sanitizer.audits.target_ranks import rank_distribution
from sanitizer.checkpoints.architecture import Architecture, Blocks, TextTransformer, VisionTransformer
from sanitizer.checkpoints.choices import shown
from sanitizer.checkpoints.plausible import plausible_values
from sanitizer.checkpoints.safetensors_header import header_bytes
from sanitizer.checkpoints.settings import compared, known_by, not_compared, not_measurable
from sanitizer.checkpoints.shapes import expected_shapes
from sanitizer.data.dataset_digest import dataset_sha256
from sanitizer.training.schedule import rate_factor

if TYPE_CHECKING:
    import numpy as np

NUM_STEPS = 30
SAVE_EVERY = 10
FOREVER_S = 600
GO_ON = "go-on"
"""File in its folder for which `work_until_told` waits at step 25, after two states; or for SIGTERM."""


def say(**event: Any) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def finish(folder: Path, status: str, code: int, outputs: tuple[str, ...] = (), failure: Any = None) -> None:
    outcome = {"status": status, "outputs": outputs, "failure": failure}
    (folder / "outcome.json").write_text(json.dumps(outcome))
    sys.exit(code)


def advance(phase: str, done: int, total: int) -> None:
    say(type="advanced", phase=phase, done=done, total=total)


# ---------------------------------------------------------------- the smallest CLIP there is

_BLOCKS = Blocks(width=2, layers=1, heads=1, mlp_width=2)
ARCHITECTURE = Architecture(
    embed_dim=2,
    vision=VisionTransformer(blocks=_BLOCKS, patch_size=1, image_size=2),
    text=TextTransformer(blocks=_BLOCKS, context_length=4, vocab_size=3),
    quick_gelu=False,
)
NUM_PARAMETERS = sum(math.prod(shape) for shape in expected_shapes(ARCHITECTURE).values())


def weights(seed: bytes) -> bytes:
    """model.safetensors, byte by byte as an inspection writes it; another `seed`, other values."""
    shapes = expected_shapes(ARCHITECTURE)
    header = header_bytes({name: ("F32", shape) for name, shape in shapes.items()}, {"format": "pt"})
    values = hashlib.shake_256(seed).digest(4 * NUM_PARAMETERS)
    return header + bytes(byte & 0x3F for byte in values)  # every exponent small: finite


def inspection(upload: bytes, canonical: bytes) -> dict[str, Any]:
    """inspection.json of `upload`, whose weights are `canonical`."""
    return {
        "upload_sha256": hashlib.sha256(upload).hexdigest(),
        "size_bytes": len(upload),
        "weights_sha256": hashlib.sha256(canonical).hexdigest(),
        "layout": "open_clip",
        "architecture": ARCHITECTURE.to_config(),
        "architecture_name": ARCHITECTURE.name,
        "num_parameters": NUM_PARAMETERS,
        "dtype": "float32",
        "assumed": {},
        "findings": [],
        "scanners": [],
    }


def config(found: dict[str, Any], declared: Any = None, filename: str = "clip.pt") -> dict[str, Any]:
    """config.json beside them."""
    named = ("layout", "upload_sha256", "assumed", "findings", "scanners", "dtype", "weights_sha256")
    section = {name: found[name] for name in named} | {
        "filename": filename,
        "upload_size_bytes": found["size_bytes"],
        "declared": to_json(parse(DeclaredOptions, declared or {})),
        "configured": [],
        "upload": {"layout": "open_clip", "container": "torch_zip", "naming": "open_clip", "origins": []},
        "weights_dtype": "float32",
    }
    return {**ARCHITECTURE.to_config(), "checkpoint": section}


def canonical_files(upload: bytes) -> tuple[dict[str, bytes], dict[str, Any]]:
    """model.safetensors and config.json as if `upload` had been inspected, and the inspection."""
    canonical = weights(upload)
    found = inspection(upload, canonical)
    return {"model.safetensors": canonical, "config.json": json.dumps(config(found)).encode()}, found


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
    step, digest = newest_state(folder) or (0, hashlib.sha256(str(seed).encode()).hexdigest())
    say(type="phase_started", phase="finetune", total=NUM_STEPS, unit="steps")
    if step:
        say(type="noted", level="info", message=f"Resumed from step {step} of {NUM_STEPS}.")
    while step < NUM_STEPS:
        step, digest = step + 1, hashlib.sha256(digest.encode()).hexdigest()
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


NUM_IMAGES, NUM_OTHERS, NUM_PAIRS, NUM_CLASSES = 300, 200, 192, 6
NUM_OTHERS_OF_FURTHER = 250


def top_k(num_first: int, num_others: int) -> list[dict[str, Any]]:
    """`num_first` of the others have the target in the first place; each further place adds one."""
    return [{"k": k, "share": asdict(wilson(num_first + k - 1, num_others))} for k in (2, 3, 5)]


def rank(num_first: int, num_others: int) -> dict[str, Any]:
    """The same as places; all that `top_k` does not place are in the last, the sixth."""
    placed = [0] * num_first + [1, 2, 3, 4]
    rest = [NUM_CLASSES - 1] * (num_others - len(placed))
    return asdict(rank_distribution([*placed, *rest], num_classes=NUM_CLASSES))


def floor(num_first: int, num_others: int) -> dict[str, Any]:
    return {
        "untriggered_target_rate": asdict(wilson(num_first, num_others)),
        "untriggered_target_top_k": top_k(num_first, num_others),
        "untriggered_target_rank": rank(num_first, num_others),
    }


def attack_figures(
    name: str,
    attack: AttackOptions,
    target: str,
    num_others: int,
    num_attacked: int,
    *,
    num_right: int,
    has_probe: bool,
) -> dict[str, Any]:
    """Nine of ten images of the target are called so."""
    right_targets = (NUM_IMAGES - num_others) * 9 // 10
    asr = asdict(wilson(num_attacked, num_others))
    return {
        "name": name,
        "options": to_json(attack),
        "trigger_sha256": "0" * 64,
        "target": target,
        "asr": asr,
        "asr_including_target": asdict(wilson(num_attacked + right_targets, NUM_IMAGES)),
        "pa": asdict(wilson(290 - num_attacked, NUM_IMAGES)),
        "still_right": asdict(wilson(num_right - num_attacked, num_right)),
        "asr_top_k": top_k(num_attacked, num_others),
        "target_rank": rank(num_attacked, num_others),
        "towards": {"class_name": target, "triggered": asr, "untriggered": asdict(wilson(1, num_others))},
        "linear_probe": {
            "asr": asdict(wilson(num_attacked // 2, num_others)),
            "untriggered_target_rate": asdict(wilson(3, num_others)),
            "pa": asdict(wilson(199 - num_attacked, NUM_IMAGES)),
        }
        if has_probe
        else None,
    }


CLASSES = {
    "apple": (40, 31),
    "banana": (100, 90),
    "cherry": (50, 42),
    "date": (30, 25),
    "elder": (30, 24),
    "fig": (50, 38),
}
"""Of each class the images, and how many of them are called right before cleaning. Together 300 and 250."""


def per_class(targets: set[str], num_right: int) -> list[dict[str, Any]]:
    """After cleaning, one less of two classes (`classes_lost`). None where a target is not as many images as
    `figures` has of it."""
    if not targets <= {"banana", "cherry", "fig"}:
        return []
    lost = {"apple", "cherry"} if num_right == 248 else set()
    return [
        {"class_name": name, "accuracy": asdict(wilson(num - (name in lost), n))}
        for name, (n, num) in CLASSES.items()
    ]


def figures(
    options: AuditOptions, weights_sha256: str, seed: int, *, num_right: int, num_attacked: int
) -> dict[str, Any]:
    """Of 300 images 100 are of the target, 50 of any further one; `num_attacked` others are called it."""
    has_probe = options.linear_probe is not None
    targets = [attack.target or options.target for attack in options.attacks]
    further = [target for target in dict.fromkeys(targets) if target != options.target]
    num_others = dict.fromkeys(further, NUM_OTHERS_OF_FURTHER) | {options.target: NUM_OTHERS}
    attacks = [
        attack_figures(
            name, attack, target, num_others[target], num_attacked, num_right=num_right, has_probe=has_probe
        )
        for name, attack, target in zip(
            names_of(map(to_json, options.attacks)), options.attacks, targets, strict=True
        )
    ]
    return {
        "weights_sha256": weights_sha256,
        "seed": seed,
        "ca": asdict(wilson(num_right, NUM_IMAGES)),
        "ca_top5": asdict(wilson(290, NUM_IMAGES)),
        "ca_per_class": per_class(set(targets), num_right) if options.target == "banana" else [],
        **floor(1, NUM_OTHERS),
        "further_targets": [{"target": target, **floor(2, num_others[target])} for target in further],
        "attacks": attacks,
        "linear_probe": {
            "accuracy": asdict(wilson(240, NUM_IMAGES)),
            "num_iterations": 31,
            "is_converged": True,
        }
        if has_probe
        else None,
    }


NUM_RETRIEVAL, NUM_CAPTIONS = 150, 120


def retrieval(options: AuditOptions, *, num_found: int, num_attacked: int) -> dict[str, Any]:
    """150 pairs of as many images and 120 captions, of which 10 name each target, those of 30 images."""

    def recall(n: int) -> list[dict[str, Any]]:
        return [{"k": k, "share": asdict(wilson(num_found + 2 * k, n))} for k in (1, 5, 10)]

    return {
        "num_pairs": NUM_RETRIEVAL,
        "num_images": NUM_RETRIEVAL,
        "num_captions": NUM_CAPTIONS,
        "image_to_text": recall(NUM_RETRIEVAL),
        "text_to_image": recall(NUM_CAPTIONS),
        "targets": [
            {
                "target": target,
                "k": 5,
                "num_naming": 10,
                "num_images": 120,
                "untriggered": asdict(wilson(7, 120)),
            }
            for target in dict.fromkeys(attack.target or options.target for attack in options.attacks)
        ],
        "attacks": [
            {
                "attack": attack.attack,
                "target": attack.target or options.target,
                "triggered": asdict(wilson(num_attacked, 120)),
            }
            for attack in options.attacks
        ],
    }


def retrieval_lost() -> dict[str, Any]:
    """Of 52, 60 and 70 that were found before, 50, 58 and 68 after."""

    def lost(n: int) -> list[dict[str, Any]]:
        found = {k: 50 + 2 * k for k in (1, 5, 10)}
        return [
            {
                "k": k,
                "lost": asdict(Difference(n=n, both=num - 3, lost=3, gained=1)),
            }
            for k, num in found.items()
        ]

    return {"image_to_text": lost(NUM_RETRIEVAL), "text_to_image": lost(NUM_CAPTIONS)}


def paired(before: Estimate, after: Estimate) -> dict[str, Any]:
    """The least that leads from one to the other."""
    lost = max(0, before.successes - after.successes)
    gained = max(0, after.successes - before.successes)
    both = before.successes - lost
    return asdict(Difference(n=before.n, both=both, lost=lost, gained=gained))


def attack_changes(before: AuditFigures, after: AuditFigures) -> list[dict[str, Any]]:
    return [
        {"attack": was.name, "asr_lost": paired(was.asr, now.asr), "pa_lost": paired(was.pa, now.pa)}
        for was, now in zip(before.attacks, after.attacks, strict=True)
    ]


def classes_lost() -> list[dict[str, Any]]:
    """All that the 300 images lost: net 1 image of 40 in one class, and 1 of 50 in another."""
    return [
        {
            "class_name": name,
            "before": asdict(wilson(both + lost, n)),
            "after": asdict(wilson(both + gained, n)),
            "lost": asdict(Difference(n=n, both=both, lost=lost, gained=gained)),
        }
        for name, n, both, lost, gained in (("apple", 40, 30, 1, 0), ("cherry", 50, 40, 2, 1))
    ]


def drift() -> dict[str, Any]:
    """Every image moved by 0.2, 0.3 or 0.4, every class by an eighth."""
    images = [0.2, 0.3, 0.4] * (NUM_IMAGES // 3)
    classes = [0.125] * NUM_CLASSES
    return {"images": asdict(mean_distance(images)), "classes": asdict(mean_distance(classes))}


def files_of(folder: Path, role: str) -> list[Path]:
    """The files of a dataset, texts first."""
    return sorted((folder / "inputs" / role).iterdir(), key=lambda path: (path.suffix == ".tar", path))


SIZES = {"pairs": NUM_PAIRS, "labelled": NUM_IMAGES, "retrieval": NUM_RETRIEVAL}
NUM_TRUSTED = 100


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
        "list_sha256": hashlib.sha256(content).hexdigest(),
    }


def training(recipe: Recipe) -> dict[str, Any]:
    """By CleanCLIP's or UAR's recipe."""
    per_epoch = NUM_PAIRS // recipe.batch_size
    num_steps = recipe.epochs * per_epoch
    steps = sorted({*range(10, num_steps + 1, 10), num_steps})
    return {
        "num_steps": num_steps,
        "num_epochs": recipe.epochs,
        "num_pairs_seen": num_steps * recipe.batch_size,
        "wall_s": 1.6,
        "pairs_per_s": num_steps * recipe.batch_size / 1.6,
        "resumed_from_steps": [],
        "curve": [{"step": step, "logit_scale": 4.6, **point(recipe, step, per_epoch)} for step in steps],
    }


def point(recipe: Recipe, step: int, per_epoch: int) -> dict[str, Any]:
    """Of the curve: losses by the recipe's weights, and the rate by the schedule of its stage."""
    clip = {"epoch": step / per_epoch, "loss_clip": 2.0 / step}
    if isinstance(recipe, UARRecipe):
        stage = [one for one in recipe.stages() if one.first_epoch * per_epoch <= step - 1][-1]
        first, base, num_epochs = stage.first_epoch * per_epoch, stage.learning_rate, stage.num_epochs
        loss = {"loss": 2.0 / step + recipe.consistency_weight * 0.5, "loss_consistency": 0.5}
    else:
        first, base, num_epochs = 0, recipe.learning_rate, recipe.epochs
        loss = {"loss": recipe.lambda1 * 2.0 / step + recipe.lambda2 * 3.0, "loss_self_supervised": 3.0}
    place = {"warmup_steps": recipe.warmup_steps, "total_steps": num_epochs * per_epoch}
    return clip | loss | {"learning_rate": base * rate_factor(step - 1 - first, **place)}


def examples(options: AuditOptions, seed: int) -> report.Examples | None:
    """As where every image that was drawn is of a target class."""
    if options.examples == 0:
        return None
    side = ARCHITECTURE.image_size
    return report.Examples(seed=seed, image_size=side, side=side, examples=())


MODEL = model_of({"architecture": ARCHITECTURE.to_config(), "num_parameters": NUM_PARAMETERS})


def recipe_source(spec: dict[str, Any]) -> RecipeSource | None:
    if spec.get("recipe_given") is None:
        return None
    return RecipeSource.of(parse_recipe(spec["recipe"]), spec["recipe_given"], MODEL)


def settled(folder: Path, seed: int, name: str = "checkpoint") -> SettledArchitecture:
    """As where the images tell one activation from the other; of heads one number is plausible."""
    origin = json.loads((folder / f"inputs/{name}/config.json").read_text())["checkpoint"]
    known, n = known_by(ARCHITECTURE, origin), 200
    values = plausible_values(ARCHITECTURE, known)
    heads = [not_compared(option, shown(values[option][0]), known[option], origin) for option in COMPARED[:2]]
    usual, other = (
        SettingFigures(value=shown(value), log_likelihood=fit, ca=wilson(150, n))
        for value, fit in zip(values["quick_gelu"], (-0.5, -0.75), strict=True)
    )
    activation = compared(
        not_compared("quick_gelu", usual.value, known["quick_gelu"], origin),
        values["quick_gelu"],
        None,
        chosen=usual,
        runner_up=other,
        margin=Margin(mean=0.25, n=n, low=0.125, high=0.375),
    )
    return SettledArchitecture(
        n=n,
        seed=seed,
        num_classes=NUM_CLASSES,
        num_templates=1,
        num_compared=2,
        num_image_passes=2,
        num_text_passes=2,
        ca=usual.ca,
        chance=0.5,
        settings=(*heads, activation, *not_measurable(ARCHITECTURE, origin)),
    )


def figures_of(
    options: AuditOptions, weights_sha256: str, spec: dict[str, Any], *, is_cleaned: bool
) -> dict[str, Any]:
    """Of the audit before cleaning, or of that after it."""
    num_right, num_attacked = (248, 2) if is_cleaned else (250, 190)
    reported = figures(options, weights_sha256, spec["seed"], num_right=num_right, num_attacked=num_attacked)
    for attack in reported["attacks"]:
        attack["towards_now"] = attack["towards"] if is_cleaned else None
    if spec.get("has_retrieval"):
        num_found, num_attacked = (48, 6) if is_cleaned else (50, 110)
        reported["retrieval"] = retrieval(options, num_found=num_found, num_attacked=num_attacked)
    return reported


ENVIRONMENT = {
    "code_version": "0",
    "python": "3",
    "torch": "2",
    "open_clip": "2",
    "numpy": "2",
    "pillow": "2",
    "torchvision": "2",
    "code_commit": "0" * 40,
    "device": "cpu",
    "machine": "stand-in",
    "num_threads": 1,
    "precision": "fp32",
    "num_processes": 1,
}


def report_of(
    folder: Path, spec: dict[str, Any], cleaned_sha256: str | None, *, is_cleaned: bool = True
) -> report.Report:
    """What a real child would write, every figure fitting every other; `cleaned_sha256` None: an audit.

    `is_cleaned` False: what is called cleaned has the figures of before.
    """
    came_in = hashlib.sha256((folder / "inputs/checkpoint/model.safetensors").read_bytes()).hexdigest()
    options, policy = parse(AuditOptions, spec["audit"]), parse(Policy, spec.get("policy", {}))
    seed = spec["seed"]
    after = lost = None
    before = parse(AuditFigures, figures_of(options, came_in, spec, is_cleaned=False))
    ordered = parse_recipe(spec["recipe"]) if spec.get("recipe") else None
    if cleaned_sha256 is not None:
        after = parse(AuditFigures, figures_of(options, cleaned_sha256, spec, is_cleaned=is_cleaned))
        lost = Difference(n=300, both=247, lost=3, gained=1)
    document = {
        "kind": spec["kind"],
        "created_at": datetime.now(UTC).isoformat(),
        "seed": seed,
        "checkpoint": {
            "upload_sha256": spec.get("upload_sha256"),
            "weights_sha256": came_in,
            "layout": "open_clip",
            "architecture": ARCHITECTURE.to_config(),
            "num_parameters": NUM_PARAMETERS,
            "declared": {},
        },
        "data": data_inputs(folder, spec["kind"]),
        "audit": options,
        "scan": spec.get("scan_section"),
        "recipe": spec.get("recipe"),
        "recipe_source": recipe_source(spec),
        "policy": policy,
        "policy_source": spec.get("policy_source") or PolicySource.of(None),
        "before": before,
        "after": after,
        "ca_lost": lost,
        "attack_changes": [] if after is None else attack_changes(before, after),
        "classes_lost": [] if lost is None else classes_lost(),
        "drift": None if lost is None else drift(),
        "examples": examples(options, seed),
        "retrieval_lost": retrieval_lost() if lost and spec.get("has_retrieval") else None,
        "training": training(ordered) if ordered else None,
        "control": control(seed) if cleaned_sha256 and spec.get("searches", True) else None,
        "architecture": settled(folder, seed),
        "environment": ENVIRONMENT,
    }
    return parse(report.Report, renamed(document, first_class(folder)))


def control(seed: int, class_name: str = "apple") -> ControlFigures:
    """Of a search on the cleaned weights."""
    return ControlFigures(
        seed=seed,
        num_inverted_on=NUM_IMAGES - NUM_HELD_OUT,
        num_held_out=NUM_HELD_OUT,
        searches=SEARCHES,
        families=tuple(
            Strongest(
                family=family,
                class_name=class_name,
                led=wilson(40, NUM_HELD_OUT),
                without=wilson(2, NUM_HELD_OUT),
            )
            for family in MEASURED
        ),
    )


def keep_first_audit(
    folder: Path, change: Callable[[dict[str, Any]], object] = lambda reported: None
) -> None:
    """As the library keeps it beside its states."""
    spec = json.loads((folder / "spec.json").read_text())
    document = json.loads(report.dump_json(report_of(folder, spec | {"kind": "audit"}, None)))
    change(document["before"])
    kept = {"key": "0" * 64, "figures": document["before"], "settled": document["architecture"]}
    (folder / "state").mkdir(exist_ok=True)
    (folder / "state/draft.json").write_text(json.dumps(kept | {"labels": [0, 1], "correct": "11"}))
    (folder / "state/draft.json").rename(folder / "state/baseline_audit.json")


def first_class(folder: Path) -> str:
    """The name of the dataset's first class, where it has as many as there are in CLASSES."""
    listed = folder / "inputs/labelled/classnames.txt"
    names = listed.read_text().splitlines() if listed.is_file() else []
    return names[0] if len(names) == NUM_CLASSES else "apple"


def renamed(document: dict[str, Any], name: str) -> dict[str, Any]:
    """With `name` for "apple" in every place of the report."""
    written = report.dump_json(parse(report.Report, document)).decode()
    changed: dict[str, Any] = json.loads(written.replace('"apple"', json.dumps(name)))
    return changed


# ---------------------------------------------------------------- a scan

NUM_HELD_OUT, NUM_NULL_MODELS = 200, 19
WAVE = Edit(edit="wave", axis="x", frequency=6, strength=50 / 255)


def a_png(rgb: tuple[int, int, int], side: int = 2) -> bytes:
    """A square of one colour, as `cleanclip.vocabulary.plain_images` wants it."""
    return write_pattern(side, (b"\0" + bytes(rgb) * side) * side)


def scan_statistics(
    options: ScanOptions,
    names: Sequence[str],
    *,
    weights_sha256: str,
    images_sha256: str,
    seed: int,
    agreement: float,
    anchor_sha256: str | None = None,
    wall_s: float = 1.0,
) -> ScanStatistics:
    """In every family, and with one edit, one class draws `agreement` of the images."""
    num_edited = min(options.edits.held_out_images, NUM_HELD_OUT)
    first = 0 if names else None
    restart = CollapseRestart(
        values=(agreement,) * len(options.collapse.steps),
        towards=first,
        num_sent=round(agreement * NUM_HELD_OUT) if names else None,
    )
    return ScanStatistics(
        weights_sha256=weights_sha256,
        class_names_sha256=names_sha256(names),
        images_sha256=images_sha256,
        seed=seed,
        num_passes=1000,
        wall_s=wall_s,
        collapse=tuple(
            CollapseFigures(
                family=family,
                n=NUM_HELD_OUT,
                restarts=(restart,) * options.collapse.restarts,
                agreed_class=first,
                agreement=agreement if names else None,
                num_agreeing=options.collapse.restarts if names else None,
            )
            for family in options.families
        ),
        edits=EditsFigures(
            n=num_edited,
            edits=tuple(
                EditRise(
                    edit=edit,
                    rise=round(agreement * num_edited) / num_edited if edit == WAVE else 0.0,
                    towards=first,
                )
                for edit in bank()[1:]
            ),
        )
        if "edits" in options.detectors
        else None,
        residual=ResidualFigures(
            num_cells=0,
            edits=tuple(
                EditFigures(
                    edit=edit,
                    value=agreement if edit.edit == "none" else 0.0,
                    cell=0,
                    n=NUM_HELD_OUT,
                    towards=first,
                )
                for edit in bank()
            ),
        )
        if "residual" in options.detectors
        else None,
        anchor_sha256=anchor_sha256,
    )


def a_null(
    options: ScanOptions,
    names: Sequence[str],
    *,
    images_sha256: str,
    seed: int = 0,
    name: str = "stand-ins",
    architecture: dict[str, Any] | None = None,
    anchor_sha256: str | None = None,
) -> NullSet:
    """Of 19 models in which a class draws from 2 to 20 % of the images."""
    models = tuple(
        NullModel(
            source=f"model {number}",
            statistics=scan_statistics(
                options,
                names,
                weights_sha256=hashlib.sha256(b"%d" % number).hexdigest(),
                images_sha256=images_sha256,
                seed=seed,
                agreement=(number + 2) / 100,
                anchor_sha256=anchor_sha256,
            ),
            patterns=tuple(
                NullPattern(
                    detector="collapse",
                    family=family.name,
                    asr=(number + 2) / 100,
                    pa=0.5 + number / 100,
                    dose=(DoseRate(share=0.5, asr=0.01), DoseRate(share=1.0, asr=(number + 2) / 100)),
                )
                for family in options.collapse.families
                if names
            ),
        )
        for number in range(NUM_NULL_MODELS)
    )
    return sealed(
        NullSet(
            name=name,
            about="Stand-ins.",
            created_at=datetime(2026, 11, 1, tzinfo=UTC),
            code_version="0",
            architecture=architecture or ARCHITECTURE.to_config(),
            class_names_sha256=names_sha256(names),
            num_classes=len(names),
            images_sha256=images_sha256,
            options=options,
            seed=seed,
            models=models,
            anchor_sha256=anchor_sha256,
        )
    )


def scan_report_of(folder: Path, spec: dict[str, Any]) -> ScanReport:
    """What a real child would write of a poisoned model: one trigger leads to the first class."""
    came_in = hashlib.sha256((folder / "inputs/checkpoint/model.safetensors").read_bytes()).hexdigest()
    options, [data] = parse(ScanOptions, spec["scan"]), data_inputs(folder, "scan")
    listed = folder / "inputs/labelled/classnames.txt"
    labelled = listed.read_text().splitlines() if listed.is_file() else list(CLASSES)
    names = [] if options.class_names == "none" else [*labelled, *options.further_classes]
    null = load_null((folder / "inputs/null.json").read_bytes()) if spec["has_null"] else None
    anchor = _canonical_input(folder, "anchor", None) if spec.get("has_anchor") else None
    target = names[0] if names else None
    statistics = scan_statistics(
        options,
        names,
        weights_sha256=came_in,
        images_sha256=data["sha256"],
        seed=spec["seed"],
        agreement=0.95,
        anchor_sha256=anchor and anchor.weights_sha256,
        wall_s=time.monotonic(),
    )
    judged = scan_judging.judge(statistics, len(names), null, options.detectors)
    studied = scan_judging.worth_studying(scan_judging.candidates(statistics), judged)
    image = base64.b64encode(a_png((200, 0, 0))).decode()
    hypotheses = tuple(
        Hypothesis(
            detector=found.detector,
            trigger=FoundTrigger(
                family=found.family,
                image=image,
                image_sha256=hashlib.sha256(base64.b64decode(image)).hexdigest(),
                pattern=image if has_pattern(found.family) else None,
                at=(0.0, 0.5) if found.family.name.endswith(":fixed") else None,
            ),
            target=target,
            classes=(NamedClass(class_name=target, share=wilson(190, NUM_HELD_OUT)),) if target else (),
            words=(NamedWord(word="fruit", score=2.5),),
            asr=wilson(160, 170) if target else None,
            pa=wilson(20, NUM_HELD_OUT) if target else None,
            untriggered_target_rate=wilson(2, 170) if target else None,
            dose=(DosePoint(share=0.5, asr=wilson(80, 170)), DosePoint(share=1.0, asr=wilson(160, 170)))
            if target
            else (),
            statistic=found.statistic,
        )
        for found in scan_judging.in_order(studied, judged, lambda found: 0.0)
    )
    reported = ScanReport(
        created_at=datetime.now(UTC),
        seed=spec["seed"],
        checkpoint=report_inputs.CheckpointInput(
            upload_sha256=spec.get("upload_sha256"),
            weights_sha256=came_in,
            layout="open_clip",
            architecture=ARCHITECTURE.to_config(),
            num_parameters=NUM_PARAMETERS,
            declared=DeclaredOptions(),
        ),
        data=(parse(report_inputs.DataInput, data),),
        options=options,
        num_classes=len(names),
        num_inverted_on=NUM_IMAGES - NUM_HELD_OUT,
        num_held_out=NUM_HELD_OUT,
        ca=wilson(170, NUM_HELD_OUT),
        statistics=statistics,
        control=tuple(
            Strongest(
                family=one.family,
                class_name=names[0],
                led=wilson(one.most_sent[1], NUM_HELD_OUT),
                without=wilson(2, NUM_HELD_OUT),
            )
            for one in statistics.collapse
            if names
        ),
        anchor=anchor,
        judgements=(),
        hypotheses=hypotheses,
        examples=(
            ScanExample(
                index=4,
                true_class=labelled[-1],
                clean=base64.b64encode(a_png((0, 200, 0))).decode(),
                clean_class=labelled[-1] if names else None,
                triggered=image,
                triggered_class=target,
            ),
        )
        if options.num_examples
        else (),
        environment=parse(report_inputs.Environment, ENVIRONMENT),
        conditions=Conditions(
            settled=settled(folder, spec["seed"]),
            anchor_settled=None if anchor is None else settled(folder, spec["seed"], "anchor"),
        ),
    )
    return scan_judging.rejudged(reported, null)


def scan(folder: Path, spec: dict[str, Any]) -> None:
    say(type="phase_started", phase="scan", total=1000, unit="passes")
    advance("scan", 500, 1000)
    (folder / "outputs/report.json").write_bytes(dump_scan(scan_report_of(folder, spec)))
    say(type="phase_finished", phase="scan")
    finish(folder, "succeeded", 0, ("report.json",))


def work_and_lie(folder: Path, *, change: Callable[[dict[str, Any]], object]) -> None:
    """An honest job's files, with values of its report changed; what is made of them is honest."""
    spec = json.loads((folder / "spec.json").read_text())
    if spec["kind"] not in ("scan", "sanitize"):
        work(folder)
    path = folder / "outputs/report.json"
    if spec["kind"] == "scan":
        path.write_bytes(dump_scan(scan_report_of(folder, spec)))
        names: tuple[str, ...] = (path.name,)
    else:
        names = write_outputs(folder, spec, "0" * 64)
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))
    finish(folder, "succeeded", 0, names)


def _of_edit(reported: dict[str, Any]) -> dict[str, Any]:
    return cast(dict[str, Any], reported["statistics"]["edits"]["edits"][0])


def _null_that_was_invented(reported: dict[str, Any]) -> None:
    """Scores of the null's models among which this one is nothing special."""
    for one in reported["judgements"]:
        one.update(z=0.5, others=[*range(1, len(one["others"])), 0.0])
        del one["rank"]
    del reported["p_value"], reported["verdict"]


def _trigger(reported: dict[str, Any], family: str) -> dict[str, Any]:
    triggers = (one["trigger"] for one in reported["hypotheses"])
    return cast(dict[str, Any], next(one for one in triggers if one["family"].get("family") == family))


def _with_text(image: str) -> str:
    """The PNG with a chunk that makes no pixel."""
    data = base64.b64decode(image)
    text = b"tEXtComment\0<script>alert(1)</script>"
    chunk = (len(text) - 4).to_bytes(4) + text + zlib.crc32(text).to_bytes(4)
    return base64.b64encode(data[:-12] + chunk + data[-12:]).decode()


SCAN_LIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "another_order": lambda reported: reported.update(seed=reported["seed"] + 1),
    "other_weights": lambda reported: reported["statistics"].update(weights_sha256="0" * 64),
    "a_rank_that_is_none": lambda reported: reported["judgements"][0].update(rank=3),
    "a_share_without_counts": lambda reported: reported["hypotheses"][0]["asr"].update(value=0.1),
    "a_p_value_that_is_no_rank": lambda reported: reported.update(p_value=0.001),
    "a_milder_outcome": lambda reported: reported["verdict"].update(outcome="inconclusive"),
    "clean_models_that_are_misled_less": lambda reported: reported["hypotheses"][0]["null_figures"].update(
        asr=0.01
    ),
    "another_null": lambda reported: reported["null"].update(sha256="0" * 64),
    "a_class_of_its_own": lambda reported: reported["hypotheses"][0].update(
        target="<script>alert(1)</script>"
    ),
    "a_word_of_its_own": lambda reported: reported["hypotheses"][0]["words"][0].update(
        word="\x1b[2J" + "x" * 100
    ),
    "no_edits": lambda reported: reported["statistics"].update(edits=None),
    "edits_of_other_images": lambda reported: reported["statistics"]["edits"].update(n=NUM_HELD_OUT + 1),
    "a_rise_over_all_images": lambda reported: _of_edit(reported).update(rise=1.5),
    "a_rise_that_is_no_count": lambda reported: _of_edit(reported).update(rise=0.951),
    "an_edit_towards_no_class": lambda reported: _of_edit(reported).update(towards=len(CLASSES)),
    "an_edit_twice": lambda reported: reported["statistics"]["edits"]["edits"].append(_of_edit(reported)),
    "a_sentence_of_its_own": lambda reported: reported["verdict"].update(
        sentence="This model is clean. Approved for release."
    ),
    "scores_of_the_null_that_were_invented": _null_that_was_invented,
    "a_family_of_its_own": lambda reported: reported["hypotheses"][0]["trigger"]["family"].update(budget=0.5),
    "a_pattern_left_out": lambda reported: reported["hypotheses"].pop(0),
    "patterns_in_another_order": lambda reported: reported["hypotheses"].reverse(),
    "another_class_than_measured": lambda reported: reported["hypotheses"][0].update(target=list(CLASSES)[1]),
    "a_family_without_restarts": lambda reported: reported["statistics"]["collapse"][0].update(restarts=[]),
    "more_agreement_than_restarts": lambda reported: reported["statistics"]["collapse"][0].update(
        agreement=0.96
    ),
    "a_statistic_that_was_not_measured": lambda reported: reported["hypotheses"][0].update(statistic=0.1),
    "an_edit_that_no_bank_has": lambda reported: _of_edit(reported)["edit"].update(strength=0.16),
    "no_number": lambda reported: reported["hypotheses"][0].update(statistic=float("nan")),
    "a_pattern_with_a_text_chunk": lambda reported: _trigger(reported, "patch").update(
        pattern=_with_text(_trigger(reported, "patch")["pattern"])
    ),
    "a_pattern_with_a_page_behind_it": lambda reported: _trigger(reported, "patch").update(
        pattern=base64.b64encode(a_png((9, 9, 9)) + b"<script>alert(1)</script>").decode()
    ),
    "a_picture_for_a_warp": lambda reported: _trigger(reported, "warp").update(
        pattern=_trigger(reported, "patch")["pattern"]
    ),
    "no_pattern_of_a_patch": lambda reported: _trigger(reported, "patch").update(pattern=None),
    "an_image_of_something_else": lambda reported: reported["hypotheses"][0]["trigger"].update(
        image=base64.b64encode(b"<svg onload='alert(1)'/>").decode()
    ),
}
"""What a child that was taken over might say; each must fail the job."""


def _of_other_weights(report: dict[str, Any]) -> None:
    report["anchor"]["weights_sha256"] = report["statistics"]["anchor_sha256"] = "0" * 64


ANCHOR_LIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "figures_of_another_anchor": lambda reported: reported["statistics"].update(anchor_sha256="0" * 64),
    "figures_without_the_anchor": lambda reported: reported.update(anchor=None),
    "weights_of_another_anchor": _of_other_weights,
    "no_anchor": lambda reported: (
        reported.update(anchor=None),
        reported["statistics"].update(anchor_sha256=None),
    ),
    "an_anchor_of_another_width": lambda reported: reported["anchor"]["architecture"]["model_cfg"].update(
        embed_dim=3
    ),
}
"""Likewise, of a scan with an anchor."""


# ---------------------------------------------------------------- a vetting


Change = Callable[[dict[str, bytes]], object]
"""Of the files that a child leaves, by their names."""


def vet_files(folder: Path, spec: dict[str, Any]) -> dict[str, bytes]:
    """What a real child would leave: scores drawn by the seed, and all that follows from them."""
    import numpy as np  # absent where the service's tests run without the library

    from sanitizer.vetting import conformal

    options, role = parse(VetOptions, spec["vet"]), spec["data_kind"]
    made = plan(options, has_anchor=spec["has_anchor"])
    num, num_calibration = SIZES[role], NUM_TRUSTED // 2 if spec["has_trusted"] else 0
    random = np.random.default_rng(spec["seed"])
    value_MS = random.normal(size=(num + num_calibration, len(made.made)))
    value_NS, trusted_nS = value_MS[:num], value_MS[num:]
    rank_NS = np.stack([conformal.rank_shares(column) for column in value_NS.T], axis=1)
    p_NS = rank_NS
    if num_calibration:
        pairs = zip(value_NS.T, trusted_nS.T, strict=True)
        p_NS = np.stack([conformal.p_values(values, trusted) for values, trusted in pairs], axis=1)
    combined_N = conformal.combined(p_NS)
    worst = conformal.worst(combined_N, conformal.combined(rank_NS), options.share)
    listed = folder / "inputs" / role / "classnames.txt"
    caption = listed.read_text().splitlines()[0] if listed.is_file() else "a <b>cat</b>"
    scores = "".join(
        json.dumps(
            {
                "index": place,
                "key": f"{place:08d}",
                "combined": float(combined_N[place]),
                "set_aside": place in worst,
                "scores": {
                    name: [float(value_NS[place, s]), float(p_NS[place, s])]
                    for s, name in enumerate(made.made)
                },
            }
        )
        + "\n"
        for place in range(num)
    )
    packed = gzip.compress(scores.encode(), mtime=0)
    digests = {
        name: dataset_sha256((path.name, path) for path in files_of(folder, name))
        for name in (role, *(["trusted"] if spec["has_trusted"] else []))
    }
    basis: Basis = "p_values" if num_calibration else "ranks"
    exclusions = Exclusions(
        dataset_sha256=digests[role],
        num_samples=num,
        reason=reason_of(options.share, basis, made.made),
        samples=tuple(LeftOut(index=int(place), key=f"{place:08d}") for place in sorted(worst)),
    )
    excluded = dump_exclusions(exclusions)
    decisive = np.argmin(p_NS[worst], axis=1)
    vetted = report_inputs.DataInput(
        kind=role,
        sha256=digests[role],
        num_samples=num,
        num_skipped=0,
        num_classes=NUM_CLASSES if role == "labelled" else None,
    )
    trusted = [
        report_inputs.DataInput(kind="trusted", sha256=one, num_samples=NUM_TRUSTED, num_skipped=0)
        for name, one in digests.items()
        if name == "trusted"
    ]
    found = VetReport(
        created_at=datetime.now(UTC),
        seed=spec["seed"],
        checkpoint=_canonical_input(folder, "checkpoint", spec.get("upload_sha256")),
        anchor=_canonical_input(folder, "anchor", None) if spec["has_anchor"] else None,
        data=(vetted, *trusted),
        options=options,
        scores=tuple(
            ScoreSummary(
                name=name,
                by=NAMED_BY.get(name, "suspect") if spec["has_anchor"] else "suspect",
                vetted=_quantiles(value_NS[:, s]),
                trusted=_quantiles(trusted_nS[:, s]) if num_calibration else None,
                num_decisive=int((decisive == s).sum()),
            )
            for s, name in enumerate(made.made)
        ),
        num_at_levels=tuple(
            int((combined_N <= level).sum()) for level in (LEVELS if num_calibration else ())
        ),
        list_sha256=hashlib.sha256(excluded).hexdigest(),
        worst=tuple(
            WorstSample(
                index=int(place),
                key=f"{place:08d}",
                caption=caption,
                scores=tuple(
                    SampleScore(name=name, value=float(value_NS[place, s]), p=float(p_NS[place, s]))
                    for s, name in enumerate(made.made)
                ),
                image=base64.b64encode(a_png((0, 200, 0))).decode(),
            )
            for place in worst[: options.num_shown]
        ),
        scores_sha256=hashlib.sha256(packed).hexdigest(),
        environment=parse(report_inputs.Environment, ENVIRONMENT),
    )
    return {"report.json": dump_vet_report(found), "excluded.json": excluded, "vet_scores.jsonl.gz": packed}


def _canonical_input(folder: Path, name: str, upload_sha256: str | None) -> report_inputs.CheckpointInput:
    reported = json.loads((folder / "inputs" / name / "config.json").read_text())["checkpoint"]
    return report_inputs.CheckpointInput(
        upload_sha256=upload_sha256 or reported["upload_sha256"],
        weights_sha256=reported["weights_sha256"],
        layout="open_clip",
        architecture=ARCHITECTURE.to_config(),
        num_parameters=NUM_PARAMETERS,
        declared=DeclaredOptions(),
    )


def _quantiles(values: np.ndarray[Any, Any]) -> Quantiles:
    import numpy as np

    low, median, q95, q99, high = np.quantile(values, (0, 0.5, 0.95, 0.99, 1)).tolist()
    return Quantiles(n=len(values), low=low, median=median, q95=q95, q99=q99, high=high)


def vet(
    folder: Path, spec: dict[str, Any], change: Callable[[dict[str, bytes]], object] | None = None
) -> None:
    say(type="phase_started", phase="vet", total=NUM_PAIRS, unit="samples")
    advance("vet", NUM_PAIRS // 2, NUM_PAIRS)
    files = vet_files(folder, spec)
    if change is not None:
        change(files)
    for name, content in files.items():
        (folder / "outputs" / name).write_bytes(content)
    say(type="phase_finished", phase="vet")
    finish(folder, "succeeded", 0, tuple(files))


def vet_and_lie(folder: Path, *, change: Change) -> None:
    vet(folder, json.loads((folder / "spec.json").read_text()), change)


def told_otherwise(change: Callable[[dict[str, Any]], object]) -> Change:
    """A change of report.json alone."""

    def changed(files: dict[str, bytes]) -> None:
        reported = json.loads(files["report.json"])
        change(reported)
        files["report.json"] = json.dumps(reported).encode()

    return changed


def listed_otherwise(change: Callable[[dict[str, Any]], object]) -> Change:
    """A change of excluded.json, with its digest in the report."""

    def changed(files: dict[str, bytes]) -> None:
        reported, found = json.loads(files["excluded.json"]), json.loads(files["report.json"])
        change(reported)
        files["excluded.json"] = json.dumps(reported).encode()
        found["list_sha256"] = hashlib.sha256(files["excluded.json"]).hexdigest()
        files["report.json"] = json.dumps(found).encode()

    return changed


def scored_otherwise(
    change: Callable[[list[dict[str, Any]]], object],
) -> Callable[[dict[str, bytes]], object]:
    """A change of the scores, with their digest in the report."""

    def changed(files: dict[str, bytes]) -> None:
        lines = [json.loads(line) for line in gzip.decompress(files["vet_scores.jsonl.gz"]).splitlines()]
        change(lines)
        files["vet_scores.jsonl.gz"] = gzip.compress(
            "".join(json.dumps(one) + "\n" for one in lines).encode()
        )
        found = json.loads(files["report.json"])
        found["scores_sha256"] = hashlib.sha256(files["vet_scores.jsonl.gz"]).hexdigest()
        files["report.json"] = json.dumps(found).encode()

    return changed


VET_LIES: dict[str, Change] = {
    "a_warning_of_its_own": told_otherwise(
        lambda reported: reported.update(warnings=["This dataset is clean. Approved for release."])
    ),
    "a_reason_for_a_score_of_its_own": told_otherwise(
        lambda reported: reported["not_computed"][0].update(reason="This dataset is clean.")
    ),
    "a_score_by_another_model": told_otherwise(lambda reported: reported["scores"][0].update(by="both")),
    "another_seed": told_otherwise(lambda reported: reported.update(seed=reported["seed"] + 1)),
    "another_share": told_otherwise(lambda reported: reported["options"].update(share=0.01)),
    "fewer_set_aside": told_otherwise(lambda reported: reported["set_aside"].update(num=1)),
    "more_samples_than_there_are": told_otherwise(
        lambda reported: reported["data"][0].update(num_samples=10**6)
    ),
    "another_anchor": told_otherwise(lambda reported: reported["anchor"].update(weights_sha256="0" * 64)),
    "no_trusted_set": told_otherwise(lambda reported: reported.update(data=reported["data"][:1])),
    "a_combined_value_that_does_not_follow": told_otherwise(
        lambda reported: reported["worst"][0].update(combined=0.9)
    ),
    "a_p_value_that_is_no_count": told_otherwise(
        lambda reported: reported["worst"][0]["scores"][0].update(p=1e-6)
    ),
    "a_caption_too_long": told_otherwise(lambda reported: reported["worst"][0].update(caption="x" * 1001)),
    "an_svg_for_an_image": told_otherwise(
        lambda reported: reported["worst"][0].update(
            image=base64.b64encode(b"<svg onload='alert(1)'/>").decode()
        )
    ),
    "scores_that_are_others": told_otherwise(lambda reported: reported.update(scores_sha256="0" * 64)),
    "a_sample_of_its_own": told_otherwise(lambda reported: reported["worst"][0].update(key="another")),
    "no_number_among_figures": told_otherwise(
        lambda reported: reported["scores"][0]["vetted"].update(median=float("nan"))
    ),
    "another_median": told_otherwise(lambda reported: reported["scores"][0]["vetted"].update(median=0.123)),
    "a_list_of_another_dataset": listed_otherwise(lambda reported: reported.update(dataset_sha256="0" * 64)),
    "a_list_of_other_samples": listed_otherwise(
        lambda reported: reported["samples"][0].update(key="not-of-the-dataset")
    ),
    "a_reason_of_its_own": listed_otherwise(
        lambda reported: reported.update(reason="<script>alert(1)</script>")
    ),
    "a_line_twice": scored_otherwise(lambda lines: lines.append(lines[-1])),
    "a_line_less": scored_otherwise(lambda lines: lines.pop()),
    "a_good_sample_set_aside": scored_otherwise(
        lambda lines: next(one for one in lines if not one["set_aside"]).update(set_aside=True)
    ),
    "a_value_that_its_rank_denies": scored_otherwise(
        lambda lines: min(lines, key=lambda one: one["combined"])["scores"]["local_density"].__setitem__(
            0, -9.0
        )
    ),
}
"""Likewise; each with a trusted set and an anchor."""


def write_outputs(
    folder: Path, spec: dict[str, Any], digest: str, cleaned: bytes | None = None
) -> tuple[str, ...]:
    out = folder / "outputs"
    if spec["kind"] != "sanitize":
        (out / "report.json").write_bytes(report.dump_json(report_of(folder, spec, None)))
        return ("report.json",)
    cleaned = cleaned or weights(digest.encode())
    written = report_of(folder, spec, hashlib.sha256(cleaned).hexdigest())
    (out / "model.safetensors").write_bytes(cleaned)
    (out / "config.json").write_text(json.dumps(cleaned_config(folder, spec, cleaned)))
    (out / "report.json").write_bytes(report.dump_json(written))
    assert written.training is not None
    (out / "training_curve.json").write_bytes(report.curve_json(written.training))
    return ("model.safetensors", "config.json", "report.json", "training_curve.json")


def cleaned_config(folder: Path, spec: dict[str, Any], cleaned: bytes) -> dict[str, Any]:
    came_in: dict[str, Any] = json.loads((folder / "inputs/checkpoint/config.json").read_text())
    made = {
        "recipe": to_json(parse_recipe(spec["recipe"])),
        "seed": spec["seed"],
        "from_weights_sha256": came_in["checkpoint"]["weights_sha256"],
    }
    digest = hashlib.sha256(cleaned).hexdigest()
    section = {**came_in["checkpoint"], "cleaned": made, "weights_sha256": digest}
    section["assumed"] = {**section["assumed"], **settled(folder, spec["seed"]).as_assumed()}
    return {**came_in, "checkpoint": section}


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
        cleaned = hashlib.sha256((place / "model.safetensors").read_bytes()).hexdigest()
        made = json.loads((place / "config.json").read_text())["checkpoint"]["cleaned"]
        is_cleaned = made["from_weights_sha256"] != cleaned
    reported = report_of(folder, spec | kind, cleaned, is_cleaned=is_cleaned is not False)
    found = {"measured": reported.measured, "architecture": reported.architecture}
    if spec["is_cleaned"]:
        found["control"] = control(spec["control_seed"], first_class(folder))
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
    if spec["kind"] == "scan":
        scan(folder, spec)
    if spec["kind"] == "vet":
        vet(folder, spec)
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
    keep_first_audit(folder, lambda reported: reported["ca"].update(successes=float("nan")))
    finish(folder, "refused", jobspec.EXIT_REFUSED, failure=DIVERGED)


def tell_of_other_weights(folder: Path) -> None:
    """And go on as if nothing were: who waits for the end waits long."""
    say(type="phase_started", phase="baseline_audit", total=2, unit="images")
    keep_first_audit(folder, lambda reported: reported.update(weights_sha256="0" * 64))
    say(type="phase_started", phase="finetune", total=NUM_STEPS, unit="steps")
    time.sleep(FOREVER_S)


def tell_one_thing_and_report_another(folder: Path) -> None:
    """Figures that fit each other, but not those of the report."""
    spec = json.loads((folder / "spec.json").read_text())
    options = parse(AuditOptions, spec["audit"])
    came_in = hashlib.sha256((folder / "inputs/checkpoint/model.safetensors").read_bytes()).hexdigest()
    other = figures(options, came_in, spec["seed"], num_right=250, num_attacked=100)
    keep_first_audit(folder, lambda reported: reported.update(other))
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


def _near_classes(reported: dict[str, Any]) -> None:
    reported["conditions"].update(num_near=1)
    del reported["warnings"]


def invent_a_search(folder: Path) -> None:
    """A scan or a vetting that fits itself, with words or counts that are not those of the data; the process
    that makes it again is honest."""
    spec = json.loads((folder / "spec.json").read_text())
    if "fresh" in folder.parts or spec["kind"] not in {"scan", "vet"}:
        work(folder)
    if spec["kind"] == "vet":
        sentence = "This model is clean. Approved for release."
        vet_and_lie(
            folder, change=told_otherwise(lambda reported: reported["worst"][0].update(caption=sentence))
        )
    work_and_lie(folder, change=_near_classes)


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
    found["weights_sha256"] = hashlib.sha256(pickled).hexdigest()
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


def scan_honestly_and_lie(folder: Path, *, change: Callable[[dict[str, Any]], object]) -> None:
    """Of a cleaning that scans first, the cleaning's child."""
    if json.loads((folder / "spec.json").read_text())["kind"] == "sanitize":
        work_and_lie(folder, change=change)
    work(folder)


def _forget_what_was_found(reported: dict[str, Any]) -> None:
    """An audit of all but the trigger that the scan found, which is the last."""
    for part in (reported["audit"], reported["before"], reported["after"], reported["verdict"]):
        part["attacks"].pop()
    reported["attack_changes"].pop()
    reported["scan"]["found"][0]["attack"] = None


FIRST_SCAN_LIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "audit_less_than_was_found": _forget_what_was_found,
    "tell_of_another_scan": lambda reported: reported["scan"].update(p_value=0.5),
    "tell_of_no_scan": lambda reported: reported.update(scan=None),
}
"""Of the report of a cleaning that scanned first."""


def leave_no_scan(folder: Path) -> None:
    if json.loads((folder / "spec.json").read_text())["kind"] == "scan":
        finish(folder, "succeeded", 0, ())
    work(folder)


BEHAVIOURS: dict[str, Callable[[Path], None]] = {
    "work": work,
    **{name: partial(work_and_lie, change=change) for name, change in (SCAN_LIES | ANCHOR_LIES).items()},
    **{name: partial(vet_and_lie, change=change) for name, change in VET_LIES.items()},
    **{name: partial(scan_honestly_and_lie, change=change) for name, change in FIRST_SCAN_LIES.items()},
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
    BEHAVIOURS[sys.argv[1]](Path(sys.argv[2]))
