"""The options of `sanitize` and `audit`, and what they become in the body of a job. Asks no service."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cleanclip.command import completion, values

FileArgument = Annotated[
    Path | None,
    typer.Argument(
        callback=values.readable_file,
        metavar="FILE",
        help="A checkpoint file to upload first. When interrupted or repeated, the command "
        "continues where it stopped.",
    ),
]
CheckpointOption = Annotated[
    str | None,
    typer.Option(
        "--checkpoint",
        metavar="CHECKPOINT",
        help="Id of an accepted checkpoint, instead of FILE.",
        autocompletion=completion.checkpoints,
    ),
]
LabelledOption = Annotated[
    str,
    typer.Option(
        "--labelled",
        metavar="DATASET|URI",
        help="The labelled set to audit on: its id, or s3://…, which is registered if necessary.",
        autocompletion=completion.labelled,
    ),
]
DeclaredOption = Annotated[
    list[str] | None,
    typer.Option("--declared", metavar="NAME=VALUE", help="With FILE: what its tensors do not say."),
]
DownloadOption = Annotated[
    Path | None,
    typer.Option(
        "--download", metavar="DIR", help="Wait, download all files into this folder and verify them."
    ),
]
KeyOption = Annotated[
    list[Path] | None,
    typer.Option("--key", metavar="PUB.pem", help="With --download: a public key that you trust."),
]
AgainFlag = Annotated[
    bool, typer.Option("--again", help="Upload, register and order again what an earlier run did.")
]
DryRunFlag = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Send and order nothing. Print what the job would do, how long earlier jobs took, "
        "and what would be refused.",
    ),
]
RetrievalOption = Annotated[
    str | None,
    typer.Option(
        "--retrieval",
        metavar="DATASET|URI",
        help="Pairs to measure retrieval on, other than those of --pairs: an id, or s3://….",
        autocompletion=completion.pairs,
    ),
]
TargetOption = Annotated[
    str | None,
    typer.Option(
        "--target", help="The class that triggers are suspected to lead to, unless a trigger names its own."
    ),
]
AttackOption = Annotated[
    list[str] | None,
    typer.Option(
        "--attack",
        metavar="NAME[:OPTION=VALUE,…]",
        help="A trigger to audit with, e.g. badnet:pattern=yellow,target=apple (with its own "
        "target); repeatable. Default: badnet, blended, wanet, sig.",
        autocompletion=completion.attacks,
    ),
]
SuiteOption = Annotated[
    str | None,
    typer.Option(
        "--suite",
        metavar="NAME",
        help="Triggers by name: paper (its four attacks and SIG) or structured (PAR's); not with --attack.",
        autocompletion=completion.suites,
    ),
]
TriggerOption = Annotated[
    list[str] | None,
    typer.Option(
        "--trigger",
        metavar="FILE[,OPTION=VALUE,…]",
        help="Your own trigger: a PNG or JPEG as a patch, e.g. "
        "mark.png,placement=top_left,size=0.1; repeatable, also together with --attack.",
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
        help="Name of one of the project's policies, or a JSON file of limits (limits.json, ./limits).",
        autocompletion=completion.policies,
    ),
]
ProbeFlag = Annotated[
    bool,
    typer.Option("--linear-probe", help="Also measure a linear probe on the image embeddings; takes longer."),
]
ExamplesOption = Annotated[
    int | None,
    typer.Option("--examples", min=0, max=12, help="Test images in the report, with each trigger; 0: none."),
]
RecheckOption = Annotated[
    bool | None,
    typer.Option(
        "--recheck/--no-recheck",
        help="Audit the published weights again in a fresh process. Default: if results are "
        "signed and it is cheap.",
    ),
]
AsrOption = Annotated[
    float | None, typer.Option("--asr-at-most", min=0, max=1, help="Policy: limit on ASR, from 0 to 1.")
]
CaOption = Annotated[
    float | None,
    typer.Option(
        "--ca-lost-at-most", min=0, max=1, help="Policy: limit on the clean accuracy lost, from 0 to 1."
    ),
]
RECOMMENDED, DEFAULTS = "recommended", "defaults"
RecipeOption = Annotated[
    str,
    typer.Option(
        "--recipe",
        metavar="recommended|defaults|FILE",
        help="recommended: published or measured for a model of this family and size, else defaults; "
        "defaults: the method's; FILE: options as JSON. The options below override each of them.",
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option(
        "--seed", min=0, max=2**31 - 1, help="Seed of every random draw; the same seed repeats the job."
    ),
]
MetadataOption = Annotated[
    list[str] | None, typer.Option("--metadata", metavar="NAME=VALUE", help="A note on the job; repeatable.")
]


def audit_of(
    target: str | None,
    *,
    file: Path | None,
    suite: str | None,
    attacks: list[str] | None,
    triggers: list[str] | None,
    linear_probe: bool,
    examples: int | None,
    recheck: bool | None,
) -> dict[str, Any]:
    """The field `audit` of a job, but for its dataset. Raises typer.BadParameter, Unreadable."""
    options = {} if file is None else values.json_object(file, "--audit")
    if target is not None:
        options["target"] = target
    listed = [values.attack(text) for text in attacks or []]
    listed += [values.trigger(text) for text in triggers or []]
    if suite is not None and listed:
        raise typer.BadParameter(
            "--suite chooses all triggers of an audit. Give --suite, or --attack and --trigger, not both."
        )
    if suite is not None or listed:
        options.pop("attacks", None)
        options.pop("suite", None)
        options |= {"suite": suite} if suite is not None else {"attacks": listed}
    if linear_probe and not options.get("linear_probe"):
        options["linear_probe"] = {}
    if examples is not None:
        options["examples"] = examples
    if recheck is not None:
        options["recheck"] = recheck
    if "target" not in options:
        raise typer.BadParameter("Give --target: the class that the triggers lead to.")
    return options


def recipe_of(
    recipe: str, named: Mapping[str, Any], others: list[str] | None
) -> tuple[dict[str, Any] | None, bool]:
    """The field `recipe` of a job, and whether recommended values are to be written into it.

    `named` are the values of options of their own, None where one was not given; `others` those of --set.
    """
    options = {} if recipe in (RECOMMENDED, DEFAULTS) else values.json_object(Path(recipe), "--recipe")
    options |= {name: value for name, value in named.items() if value is not None}
    options |= values.pairs(others or [], "--set")
    return options or None, recipe == RECOMMENDED


def policy_of(named: str | None, asr_at_most: float | None, ca_lost_at_most: float | None) -> dict[str, Any]:
    """The fields `policy` and `policy_name` of a job: one of them, or neither. Raises also Unreadable."""
    limits = {"asr_at_most": asr_at_most, "ca_lost_at_most": ca_lost_at_most}
    given = {name: value for name, value in limits.items() if value is not None}
    if named is not None and not _is_file(named):
        if given:
            raise typer.BadParameter("Give --policy, or --asr-at-most and --ca-lost-at-most, not both.")
        return {"policy_name": named}
    if named is not None:
        given = values.json_object(Path(named), "--policy") | given
    return {"policy": given or None}


def _is_file(named: str) -> bool:
    """Whatever lies in the folder: no policy's name has a dot or a slash."""
    return "." in named or "/" in named
