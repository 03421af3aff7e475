"""`sanitize` and `audit`: options become the body of a job; what is not said is left to the service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from client.command import values
from client.command.output import Output
from client.command.session import (
    JsonFlag,
    Session,
    TimeoutOption,
    WaitFlag,
    conclude,
    session_of,
    wait_for_job,
)

CheckpointOption = Annotated[str, typer.Option("--checkpoint", metavar="CHECKPOINT", help="An accepted one.")]
LabelledOption = Annotated[
    str, typer.Option("--labelled", metavar="DATASET", help="The labelled set to audit on.")
]
RetrievalOption = Annotated[
    str | None,
    typer.Option(
        "--retrieval", metavar="DATASET", help="Pairs to measure retrieval on, other than those of --pairs."
    ),
]
TargetOption = Annotated[
    str | None,
    typer.Option(
        "--target", help="The class that triggers are suspected to lead to, where they name no other."
    ),
]
AttackOption = Annotated[
    list[str] | None,
    typer.Option(
        "--attack",
        metavar="NAME[:OPTION=VALUE,…]",
        help="A trigger to audit with, e.g. badnet:pattern=yellow,target=apple (a class of its own); may be "
        "repeated. Default: the usual four.",
    ),
]
SuiteOption = Annotated[
    str | None,
    typer.Option(
        "--suite",
        metavar="NAME",
        help="Triggers by name: paper (its four attacks and SIG) or structured (PAR's); not with --attack.",
    ),
]
TriggerOption = Annotated[
    list[str] | None,
    typer.Option(
        "--trigger",
        metavar="FILE[,OPTION=VALUE,…]",
        help="Your own trigger: a PNG or JPEG as a patch, e.g. mark.png,placement=top_left,size=0.1; may be "
        "repeated, and stand beside --attack.",
    ),
]
AuditOption = Annotated[
    Path | None,
    typer.Option("--audit", metavar="FILE", help="Audit options as JSON; other options override it."),
]
PolicyOption = Annotated[
    str | None,
    typer.Option(
        "--policy",
        metavar="NAME|FILE",
        help="Limits that the project keeps by that name, or a file of them as JSON (limits.json, ./limits).",
    ),
]
ProbeFlag = Annotated[
    bool, typer.Option("--linear-probe", help="Also ask a probe on the image embeddings; takes longer.")
]
AsrOption = Annotated[
    float | None, typer.Option("--asr-at-most", min=0, max=1, help="Policy: limit on the ASR, as a share.")
]
CaOption = Annotated[
    float | None, typer.Option("--ca-lost-at-most", min=0, max=1, help="Policy: limit on the CA lost.")
]
SeedOption = Annotated[int | None, typer.Option("--seed", min=0)]
MetadataOption = Annotated[
    list[str] | None, typer.Option("--metadata", metavar="NAME=VALUE", help="A note on the job; repeatable.")
]


def _audit(
    labelled: str,
    target: str | None,
    *,
    retrieval: str | None,
    file: Path | None,
    suite: str | None,
    attacks: list[str] | None,
    triggers: list[str] | None,
    linear_probe: bool,
) -> dict[str, Any]:
    options = {} if file is None else values.json_object(file, "--audit")
    options["dataset_id"] = labelled
    if retrieval is not None:
        options["retrieval_dataset_id"] = retrieval
    if target is not None:
        options["target"] = target
    listed = [values.attack(text) for text in attacks or []]
    listed += [values.trigger(text) for text in triggers or []]
    if suite is not None and listed:
        raise typer.BadParameter("--suite names all triggers of an audit: give it or --attack and --trigger.")
    if suite is not None or listed:
        options.pop("attacks", None)
        options.pop("suite", None)
        options |= {"suite": suite} if suite is not None else {"attacks": listed}
    if linear_probe and not options.get("linear_probe"):
        options["linear_probe"] = {}
    if "target" not in options:
        raise typer.BadParameter("Which class do the triggers lead to? Give --target.")
    return options


def _policy(named: str | None, asr_at_most: float | None, ca_lost_at_most: float | None) -> dict[str, Any]:
    """The fields `policy` and `policy_name` of a job: one of them, or neither."""
    limits = {"asr_at_most": asr_at_most, "ca_lost_at_most": ca_lost_at_most}
    given = {name: value for name, value in limits.items() if value is not None}
    if named is not None and not _is_file(named):
        if given:
            raise typer.BadParameter(
                "--policy names limits that are kept: give it, or --asr-at-most and --ca-lost-at-most."
            )
        return {"policy_name": named}
    if named is not None:
        given = values.json_object(Path(named), "--policy") | given
    return {"policy": given or None}


def _is_file(named: str) -> bool:
    """Whatever lies in the folder: no policy's name has a dot or a slash."""
    return "." in named or "/" in named


def _order(
    session: Session, body: dict[str, Any], *, wait: bool, timeout_s: float | None, as_json: bool
) -> None:
    output = Output(is_json=as_json)
    with session.client() as client:
        job = client.jobs.create(**body)
        if not wait:
            output.result(job.to_json(), job.id)
            return
        output.note(job.id)
        job = wait_for_job(client, output, job.id, timeout_s=timeout_s)
    conclude(output, job)


def sanitize(
    context: typer.Context,
    *,
    checkpoint: CheckpointOption,
    training: Annotated[
        str,
        typer.Option(
            "--pairs",
            "--training",
            metavar="DATASET",
            help="Clean image-caption pairs; for the method supervised clean labelled images.",
        ),
    ],
    labelled: LabelledOption,
    retrieval: RetrievalOption = None,
    target: TargetOption = None,
    suite: SuiteOption = None,
    attack: AttackOption = None,
    trigger: TriggerOption = None,
    audit: AuditOption = None,
    linear_probe: ProbeFlag = False,
    recipe: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Recipe as JSON; the options below override it."),
    ] = None,
    method: Annotated[str | None, typer.Option(help="cleanclip, par or supervised.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1)] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="Learning rate before its cosine to zero.")] = None,
    lambda1: Annotated[float | None, typer.Option(min=0, help="Weight of the image-caption loss.")] = None,
    lambda2: Annotated[float | None, typer.Option(min=0, help="Weight of the self-supervised loss.")] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=4, help="par: how far from the model that came in.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=2)] = None,
    warmup_steps: Annotated[int | None, typer.Option(min=0)] = None,
    recipe_option: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other option of the recipe; repeatable."),
    ] = None,
    output_layout: Annotated[
        str | None, typer.Option(help="open_clip, or as_uploaded to also get the layout that came in.")
    ] = None,
    policy: PolicyOption = None,
    asr_at_most: AsrOption = None,
    ca_lost_at_most: CaOption = None,
    seed: SeedOption = None,
    metadata: MetadataOption = None,
    wait: WaitFlag = False,
    timeout: TimeoutOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Audit a checkpoint, clean it, audit it again. Prints the job's id.

    Example: cleanclip sanitize --checkpoint ckpt_… --pairs ds_… --labelled ds_… --target banana --wait
    """
    options = {} if recipe is None else values.json_object(recipe, "--recipe")
    named = {
        "method": method,
        "epochs": epochs,
        "learning_rate": lr,
        "lambda1": lambda1,
        "lambda2": lambda2,
        "threshold": threshold,
        "batch_size": batch_size,
        "warmup_steps": warmup_steps,
    }
    options |= {name: value for name, value in named.items() if value is not None}
    options |= values.pairs(recipe_option or [], "--set")
    body = {
        "kind": "sanitize",
        "checkpoint_id": checkpoint,
        "dataset_id": training,
        "audit": _audit(
            labelled,
            target,
            retrieval=retrieval,
            file=audit,
            suite=suite,
            attacks=attack,
            triggers=trigger,
            linear_probe=linear_probe,
        ),
        "recipe": options or None,
        **_policy(policy, asr_at_most, ca_lost_at_most),
        "seed": seed,
        "output_layout": output_layout,
        "metadata": values.text_pairs(metadata or [], "--metadata") or None,
    }
    _order(session_of(context), body, wait=wait, timeout_s=timeout, as_json=as_json)


def audit(
    context: typer.Context,
    *,
    checkpoint: CheckpointOption,
    labelled: LabelledOption,
    retrieval: RetrievalOption = None,
    target: TargetOption = None,
    suite: SuiteOption = None,
    attack: AttackOption = None,
    trigger: TriggerOption = None,
    audit: AuditOption = None,
    policy: PolicyOption = None,
    linear_probe: ProbeFlag = False,
    asr_at_most: AsrOption = None,
    ca_lost_at_most: CaOption = None,
    seed: SeedOption = None,
    metadata: MetadataOption = None,
    wait: WaitFlag = False,
    timeout: TimeoutOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Measure a checkpoint and change nothing. Prints the job's id.

    Example: cleanclip audit --checkpoint ckpt_… --labelled ds_… --target banana --attack badnet --wait
    """
    body = {
        "kind": "audit",
        "checkpoint_id": checkpoint,
        "audit": _audit(
            labelled,
            target,
            retrieval=retrieval,
            file=audit,
            suite=suite,
            attacks=attack,
            triggers=trigger,
            linear_probe=linear_probe,
        ),
        **_policy(policy, asr_at_most, ca_lost_at_most),
        "seed": seed,
        "metadata": values.text_pairs(metadata or [], "--metadata") or None,
    }
    _order(session_of(context), body, wait=wait, timeout_s=timeout, as_json=as_json)
