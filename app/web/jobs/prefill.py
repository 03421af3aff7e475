"""What a new job's form holds before anybody has written into it: by the address, or from an earlier job."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from app.db.models.job import Job
from app.web.jobs import options, order_form
from app.web.kit.command_line import ordered_audit
from app.web.kit.visitor import Form
from cleanclip.vocabulary.attack_options import SUITES, USUAL
from cleanclip.vocabulary.found_attacks import BOTH_SUITES
from cleanclip.vocabulary.recipe import to_json

Fields = Iterator[tuple[str, str]]


def empty_form(
    *,
    kind: str | None,
    checkpoint: str | None,
    dataset: str | None,
    is_labelled: bool,
    scan: tuple[str, str] | None = None,
    exclude: str | None = None,
) -> Form:
    """A cleaning by the method that is proposed, with the usual triggers and what the address names. `scan`:
    the id and the first target of one whose triggers take the usual ones' place. `exclude`: a vetting."""
    fields = [
        ("kind", order_form.kind_of(kind).name),
        ("method", order_form.METHOD_PROPOSED),
        ("recipe", order_form.RECIPE_RECOMMENDED),
        ("suite", order_form.SUITE_FOUND if scan else order_form.SUITE_USUAL),
        ("policy", order_form.POLICY_DEFAULT),
    ]
    if scan:
        fields += [(order_form.FROM_SCAN, scan[0]), ("target", scan[1])]
    if exclude:
        fields.append(("exclude", exclude))
    if checkpoint:
        fields.append(("checkpoint_id", checkpoint))
    if dataset:
        fields.append(("audit/dataset_id" if is_labelled else "dataset_id", dataset))
    return Form(fields)


def form_of_scan(job: Job) -> Form:
    """A cleaning that is judged on what a finished scan found: its target is the class to which the first
    pattern leads that has one."""
    scan = (job.result or {}).get("scan") or {}
    target = next((one["target"] for one in scan.get("hypotheses") or () if one.get("target")), "")
    return empty_form(
        kind=None,
        checkpoint=job.checkpoint_id,
        dataset=job.labelled_dataset_id,
        is_labelled=True,
        scan=(job.id, target),
    )


def form_of_vetting(job: Job, *, is_labelled: bool) -> Form:
    """A cleaning without the samples that a finished vetting set aside."""
    return empty_form(
        kind=None,
        checkpoint=job.checkpoint_id,
        dataset=job.dataset_id,
        is_labelled=is_labelled,
        exclude=job.id,
    )


def form_of_job(job: Job) -> Form:
    """The order of an earlier job, as somebody would have written it: what is a default is left out."""
    return Form(list(_again(job)))


def _again(job: Job) -> Fields:
    spec = job.spec
    yield "kind", order_form.kind_of(job.kind).name
    for name, value in (
        ("checkpoint_id", job.checkpoint_id),
        ("dataset_id", job.dataset_id),
        ("audit/dataset_id", job.labelled_dataset_id),
        ("audit/retrieval_dataset_id", job.retrieval_dataset_id),
        ("output_layout", spec.get("output_layout")),
        ("exclude", "\n".join(one["job_id"] for one in (spec.get("exclude") or {}).values()) or None),
        ("seed", str(job.seed)),
        ("max_attempts", str(job.max_attempts)),
        ("metadata", "\n".join(f"{name}={value}" for name, value in job.job_metadata.items())),
    ):
        if value is not None:
            yield name, value
    recipe = spec.get("recipe")
    yield "method", recipe["method"] if recipe else order_form.METHOD_PROPOSED
    yield "recipe", order_form.RECIPE_DEFAULTS if recipe else order_form.RECIPE_RECOMMENDED
    if recipe:
        group = options.methods().get(recipe["method"])
        yield from options.written(group.options if group else (), recipe)
    if spec.get("scan") is not None:
        yield "scan", "on"
    yield from _audit(ordered_audit(spec), scans_first=spec.get("scan") is not None)
    yield from _policy(spec)


def _audit(audit: Mapping[str, Any], *, scans_first: bool) -> Fields:
    yield "target", audit.get("target", "")
    yield "templates", "\n".join(audit.get("templates") or ())
    yield from options.written(options.audit().options, audit)
    if audit.get("linear_probe") is not None:
        yield "linear_probe", "on"
        yield from options.written(options.probe().options, audit["linear_probe"])
    if audit.get("rebound") is not None:
        yield "rebound", "on"
        yield from options.written(options.rebound().options, audit["rebound"])
    attacks = audit["attacks"]
    for name, known in ((order_form.SUITE_USUAL, BOTH_SUITES if scans_first else USUAL), *SUITES.items()):
        if attacks == [to_json(one) for one in known]:
            yield "suite", name
            return
    kinds = [attack["attack"] for attack in attacks]
    order = [name for name in options.attacks() if name in kinds]
    if kinds != order:  # several of a kind, or in an order of their own, which gives them their names
        yield "suite", order_form.SUITE_JSON
        yield "attacks_json", json.dumps(attacks, indent=1, ensure_ascii=False)
        return
    yield "suite", order_form.SUITE_LIST
    for attack in attacks:
        yield "attack", attack["attack"]
        yield from options.written(options.attacks()[attack["attack"]].options, attack)


def _policy(spec: Mapping[str, Any]) -> Fields:
    source = spec["policy_source"]
    if source["given"] == "default":
        yield "policy", order_form.POLICY_DEFAULT
        return
    if source["given"] == "kept":
        yield "policy", order_form.POLICY_KEPT
        yield "policy_name", source["name"]
        return
    yield "policy", order_form.POLICY_GIVEN
    yield from policy_fields(spec["policy"])


def policy_fields(content: Mapping[str, Any]) -> Fields:
    """Of limits as they are kept."""
    for option in options.policy().options:
        yield option.name, options.field_text(content[option.option])
    for name, limit in content["asr_at_most_for"].items():
        yield options.LIMIT + name, options.field_text(limit)
