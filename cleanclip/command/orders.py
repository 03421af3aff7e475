"""`sanitize` and `audit`: options become the body of a job; what is not said is left to the service."""

from __future__ import annotations

from typing import Annotated

import typer

from cleanclip.command import completion, journey, values
from cleanclip.command.gate import AllowFlag, FailOnOption, gate_of
from cleanclip.command.order_options import (
    RECOMMENDED,
    AgainFlag,
    AsrOption,
    AttackOption,
    AuditOption,
    CaOption,
    CheckpointOption,
    DeclaredOption,
    DownloadOption,
    DryRunFlag,
    ExamplesOption,
    FileArgument,
    KeyOption,
    LabelledOption,
    MetadataOption,
    PolicyOption,
    ProbeFlag,
    RecheckOption,
    RecipeOption,
    RetrievalOption,
    SeedOption,
    SuiteOption,
    TargetOption,
    TriggerOption,
    audit_of,
    policy_of,
    recipe_of,
)
from cleanclip.command.output import Output
from cleanclip.command.session import JsonFlag, NameOption, TimeoutOption, WaitFlag, session_of
from cleanclip.command.steps import Order, named


def sanitize(
    context: typer.Context,
    *,
    file: FileArgument = None,
    checkpoint: CheckpointOption = None,
    training: Annotated[
        str,
        typer.Option(
            "--pairs",
            "--training",
            "--data",
            metavar="DATASET|URI",
            help="Clean image-caption pairs, for the method supervised clean labelled images: an id, or s3://…",
            autocompletion=completion.pairs,
        ),
    ],
    labelled: LabelledOption,
    declared: DeclaredOption = None,
    retrieval: RetrievalOption = None,
    target: TargetOption = None,
    suite: SuiteOption = None,
    attack: AttackOption = None,
    trigger: TriggerOption = None,
    audit: AuditOption = None,
    linear_probe: ProbeFlag = False,
    examples: ExamplesOption = None,
    recheck: RecheckOption = None,
    recipe: RecipeOption = RECOMMENDED,
    method: Annotated[
        str | None, typer.Option(help="cleanclip, par or supervised.", autocompletion=completion.methods)
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, max=100, help="Passes over the clean data.")] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            "--lr",
            max=1,
            callback=values.above_zero,
            help="Peak learning rate, above 0; a cosine schedule takes it to zero.",
        ),
    ] = None,
    lambda1: Annotated[
        float | None, typer.Option(min=0, max=100, help="Weight of the image-caption loss.")
    ] = None,
    lambda2: Annotated[
        float | None, typer.Option(min=0, max=100, help="Weight of the self-supervised loss.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=4, help="par: the distance from the input model at which the push stops."),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=2, max=32768, help="Pairs per update.")] = None,
    warmup_steps: Annotated[
        int | None,
        typer.Option(
            min=0, max=100_000, help="Warm-up: updates until the learning rate is reached; par has none."
        ),
    ] = None,
    recipe_option: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other option of the recipe; repeatable."),
    ] = None,
    output_layout: Annotated[
        str | None, typer.Option(help="open_clip, or as_uploaded to also get the layout of the upload.")
    ] = None,
    policy: PolicyOption = None,
    asr_at_most: AsrOption = None,
    ca_lost_at_most: CaOption = None,
    seed: SeedOption = None,
    name: NameOption = None,
    metadata: MetadataOption = None,
    wait: WaitFlag = False,
    timeout: TimeoutOption = None,
    download: DownloadOption = None,
    key: KeyOption = None,
    fail_on: FailOnOption = None,
    allow_inconclusive: AllowFlag = False,
    again: AgainFlag = False,
    dry_run: DryRunFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Audit a checkpoint, clean it, audit it again. Prints the job's id; with --wait or --download the whole
    job, unless --quiet.

    With FILE it does every step: it uploads, registers data by address, waits and orders. Repeat it to
    continue after an interruption; a job that failed or was cancelled is ordered again. The exit status says
    whether the job succeeded, whatever its verdict; with --fail-on it also depends on the verdict.

    Example: cleanclip sanitize clip.pt --data s3://d/p/ --labelled s3://d/t/ --target banana --download out

    Example: cleanclip sanitize --checkpoint ckpt_… --pairs ds_… --labelled ds_… --target banana --wait
    """
    options_named = {
        "method": method,
        "epochs": epochs,
        "learning_rate": lr,
        "lambda1": lambda1,
        "lambda2": lambda2,
        "threshold": threshold,
        "batch_size": batch_size,
        "warmup_steps": warmup_steps,
    }
    options, is_recommended = recipe_of(recipe, options_named, recipe_option)
    training_kind = "labelled" if (options or {}).get("method") == "supervised" else "pairs"
    body = {
        "kind": "sanitize",
        "audit": audit_of(
            target,
            file=audit,
            suite=suite,
            attacks=attack,
            triggers=trigger,
            linear_probe=linear_probe,
            examples=examples,
            recheck=recheck,
        ),
        "recipe": options,
        **policy_of(policy, asr_at_most, ca_lost_at_most),
        "seed": seed,
        "name": name,
        "output_layout": output_layout,
        "metadata": values.text_pairs(metadata or [], "--metadata") or None,
    }
    journey.carry_out(
        session_of(context),
        Output(is_json=as_json),
        Order(
            body=body,
            file=file,
            checkpoint=checkpoint,
            declared=values.pairs(declared or [], "--declared"),
            data=named(
                labelled=(labelled, "labelled"),
                training=(training, training_kind),
                retrieval=(retrieval, "pairs"),
            ),
            is_recommended=is_recommended,
        ),
        journey.Ending(
            wait=wait,
            timeout_s=timeout,
            folder=download,
            keys=key or [],
            gate=gate_of(fail_on, allow_inconclusive=allow_inconclusive),
        ),
        is_again=again,
        is_dry_run=dry_run,
    )


def audit(
    context: typer.Context,
    *,
    file: FileArgument = None,
    checkpoint: CheckpointOption = None,
    labelled: LabelledOption,
    declared: DeclaredOption = None,
    retrieval: RetrievalOption = None,
    target: TargetOption = None,
    suite: SuiteOption = None,
    attack: AttackOption = None,
    trigger: TriggerOption = None,
    audit: AuditOption = None,
    policy: PolicyOption = None,
    linear_probe: ProbeFlag = False,
    examples: ExamplesOption = None,
    recheck: RecheckOption = None,
    asr_at_most: AsrOption = None,
    ca_lost_at_most: CaOption = None,
    seed: SeedOption = None,
    name: NameOption = None,
    metadata: MetadataOption = None,
    wait: WaitFlag = False,
    timeout: TimeoutOption = None,
    download: DownloadOption = None,
    key: KeyOption = None,
    fail_on: FailOnOption = None,
    allow_inconclusive: AllowFlag = False,
    again: AgainFlag = False,
    dry_run: DryRunFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Measure a checkpoint and change nothing. Prints the job's id; with --wait or --download the whole
    job, unless --quiet.

    With FILE and addresses of data it does every step, like `sanitize`.

    The exit status says whether the job succeeded, whatever its verdict; with --fail-on it also depends on
    the verdict.

    Example: cleanclip audit clip.pt --labelled s3://data/test/ --target banana --suite structured --wait

    Example: cleanclip audit --checkpoint ckpt_… --labelled ds_… --target banana --attack badnet --wait
    """
    body = {
        "kind": "audit",
        "audit": audit_of(
            target,
            file=audit,
            suite=suite,
            attacks=attack,
            triggers=trigger,
            linear_probe=linear_probe,
            examples=examples,
            recheck=recheck,
        ),
        **policy_of(policy, asr_at_most, ca_lost_at_most),
        "seed": seed,
        "name": name,
        "metadata": values.text_pairs(metadata or [], "--metadata") or None,
    }
    journey.carry_out(
        session_of(context),
        Output(is_json=as_json),
        Order(
            body=body,
            file=file,
            checkpoint=checkpoint,
            declared=values.pairs(declared or [], "--declared"),
            data=named(labelled=(labelled, "labelled"), retrieval=(retrieval, "pairs")),
        ),
        journey.Ending(
            wait=wait,
            timeout_s=timeout,
            folder=download,
            keys=key or [],
            gate=gate_of(fail_on, allow_inconclusive=allow_inconclusive),
        ),
        is_again=again,
        is_dry_run=dry_run,
    )
