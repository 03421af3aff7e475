"""`sanitize` and `audit`: options become the body of a job; what is not said is left to the service."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from cleanclip.command import completion, values
from cleanclip.command.checkpoint_order import CheckpointOrder
from cleanclip.command.commands import command_of
from cleanclip.command.option_fields import option_of
from cleanclip.command.order_fields import RECOMMENDED, leaves_method, policy_of, recipe_of, training_kind_of
from cleanclip.command.steps import Order, named
from cleanclip.vocabulary.found_attacks import scans_first
from cleanclip.vocabulary.policy import Policy
from cleanclip.vocabulary.recipe import AuditOptions, CleanCLIPRecipe, PARRecipe

_NAMED_OPTIONS = (
    *("method", "epochs", "learning_rate", "lambda1", "lambda2", "threshold", "batch_size", "warmup_steps"),
)
"""Of a recipe, those that have an option of their own."""


@dataclass(frozen=True, kw_only=True)
class AuditOrder(CheckpointOrder):
    """Measure a checkpoint and change nothing. Prints the job's id; with --wait or --download the whole
    job, unless --quiet.

    With FILE and addresses of data it does every step, like `sanitize`.

    The exit status says whether the job succeeded, whatever its verdict; with --fail-on it also depends on
    the verdict.

    Example: cleanclip audit clip.pt --labelled s3://data/test/ --target banana --suite structured --wait

    Example: cleanclip audit --checkpoint ckpt_… --labelled ds_… --target banana --attack badnet --wait

    Example: cleanclip audit --checkpoint ckpt_… --labelled ds_… --attacks-from-scan job_… --wait
    """

    retrieval: Annotated[
        str | None,
        typer.Option(
            "--retrieval",
            metavar="DATASET|URI",
            help="Pairs to measure retrieval on, other than those of --pairs: an id, or s3://….",
            autocompletion=completion.pairs,
        ),
    ] = None
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            help="The class that triggers are suspected to lead to, unless a trigger names its own.",
        ),
    ] = None
    suite: Annotated[
        str | None,
        typer.Option(
            "--suite",
            metavar="NAME",
            help="Triggers by name: paper (its four attacks and SIG) or structured (PAR's); not with "
            "--attack.",
            autocompletion=completion.suites,
        ),
    ] = None
    attack: Annotated[
        list[str] | None,
        typer.Option(
            "--attack",
            metavar="NAME[:OPTION=VALUE,…]",
            help="A trigger to audit with, e.g. badnet:pattern=yellow,target=apple (with its own "
            "target); repeatable. Default: badnet, blended, wanet, sig.",
            autocompletion=completion.attacks,
        ),
    ] = None
    trigger: Annotated[
        list[str] | None,
        typer.Option(
            "--trigger",
            metavar="FILE[,OPTION=VALUE,…]",
            help="Your own trigger: a PNG or JPEG as a patch, e.g. "
            "mark.png,placement=top_left,size=0.1; repeatable, also together with --attack.",
        ),
    ] = None
    attacks_from_scan: Annotated[
        str | None,
        typer.Option(
            "--attacks-from-scan",
            metavar="JOB",
            help="A finished scan of the same model: the triggers that it found are audited, beside those of "
            "--suite, --attack and --trigger. Without --target: the class that the first of them leads to.",
            autocompletion=completion.jobs,
        ),
    ] = None
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude",
            metavar="JOB",
            help="A finished vetting of one of the datasets: the samples that it set aside are left out; "
            "repeatable.",
            autocompletion=completion.jobs,
        ),
    ] = None
    audit: Annotated[
        Path | None,
        typer.Option("--audit", metavar="FILE", help="Audit options as JSON; other options override it."),
    ] = None
    linear_probe: Annotated[
        bool,
        typer.Option(
            "--linear-probe", help="Also measure a linear probe on the image embeddings; takes longer."
        ),
    ] = False
    examples: Annotated[
        int | None,
        option_of(AuditOptions, "examples", text="Test images in the report, with each trigger; 0: none."),
    ] = None
    recheck: Annotated[
        bool | None,
        typer.Option(
            "--recheck/--no-recheck",
            help="Audit the weights again in a fresh process, also on images withheld from the first. "
            "Default: if results are signed.",
        ),
    ] = None
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy",
            metavar="NAME|FILE",
            help="Name of one of the project's policies, or a JSON file of limits (limits.json, ./limits).",
            autocompletion=completion.policies,
        ),
    ] = None
    asr_at_most: Annotated[
        float | None, option_of(Policy, "asr_at_most", text="Policy: limit on ASR, from 0 to 1.")
    ] = None
    ca_lost_at_most: Annotated[
        float | None,
        option_of(Policy, "ca_lost_at_most", text="Policy: limit on the clean accuracy lost, from 0 to 1."),
    ] = None
    controlled_at_most: Annotated[
        float | None,
        option_of(
            Policy,
            "controlled_at_most",
            text="Policy: limit on the share of images that one pattern leads to one class, from 0 to 1.",
        ),
    ] = None

    def order(self) -> Order:
        """Raises typer.BadParameter, Unreadable."""
        return Order(
            body={
                "kind": "audit",
                "audit": self._audit(),
                **policy_of(
                    self.policy,
                    asr_at_most=self.asr_at_most,
                    ca_lost_at_most=self.ca_lost_at_most,
                    controlled_at_most=self.controlled_at_most,
                ),
                **self.about(),
                "exclude": self.exclude or None,
            },
            **self.subject(),
            data=named(labelled=(self.labelled, "labelled"), retrieval=(self.retrieval, "pairs")),
        )

    def _audit(self) -> dict[str, Any]:
        """The field `audit` of a job, but for its dataset."""
        options = {} if self.audit is None else values.json_object(self.audit, "--audit")
        if self.target is not None:
            options["target"] = self.target
        listed = [values.attack(text) for text in self.attack or []]
        listed += [values.trigger(text) for text in self.trigger or []]
        if self.suite is not None and listed:
            raise typer.BadParameter(
                "--suite chooses all triggers of an audit. Give --suite, or --attack and --trigger, not both."
            )
        if self.suite is not None or listed:
            options.pop("attacks", None)
            options.pop("suite", None)
            options |= {"suite": self.suite} if self.suite is not None else {"attacks": listed}
        if self.linear_probe and not options.get("linear_probe"):
            options["linear_probe"] = {}
        if self.examples is not None:
            options["examples"] = self.examples
        if self.recheck is not None:
            options["recheck"] = self.recheck
        if getattr(self, "rebound", False) and not options.get("rebound"):
            options["rebound"] = {}
        if self.attacks_from_scan is not None:
            options["attacks_from_scan"] = self.attacks_from_scan
        if "target" not in options and not (options.get("attacks_from_scan") or self._scans_first(options)):
            raise typer.BadParameter("Give --target: the class that the triggers lead to.")
        return options

    def _scans_first(self, _options: dict[str, Any]) -> bool:
        """Whether the job with these options of its audit scans first."""
        return False


@dataclass(frozen=True, kw_only=True)
class SanitizeOrder(AuditOrder):
    """Audit a checkpoint, clean it, audit it again. Prints the job's id; with --wait or --download the whole
    job, unless --quiet.

    With FILE it does every step: it uploads, registers data by address, waits and orders. Repeat it to
    continue after an interruption; a job that failed or was cancelled is ordered again. The exit status says
    whether the job succeeded, whatever its verdict; with --fail-on it also depends on the verdict.

    Example: cleanclip sanitize clip.pt --data s3://d/p/ --labelled s3://d/t/ --target banana --download out

    Example: cleanclip sanitize --checkpoint ckpt_… --pairs ds_… --labelled ds_… --target banana --wait

    Example: cleanclip sanitize clip.pt --data s3://d/p/ --labelled s3://d/t/ --scan --download out
    """

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
    ]
    scan_first: Annotated[
        bool | None,
        typer.Option(
            "--scan/--no-scan",
            help="Scan the model first and audit what is found, too. Default: only where neither a target "
            "nor a trigger is named; both suites are audited then as well.",
        ),
    ] = None
    scan_options: Annotated[
        Path | None,
        typer.Option("--scan-options", metavar="FILE", help="Options of that scan and its null, as JSON."),
    ] = None
    rebound: Annotated[
        bool,
        typer.Option(
            "--rebound",
            help="Also train copies of the cleaned model further: does the backdoor come back? Takes longer.",
        ),
    ] = False
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe",
            metavar="recommended|defaults|FILE",
            help="recommended: what you leave out has the values published or measured for a model of this "
            "family and size, else the method's defaults; defaults: always the method's; "
            "FILE: options as JSON. The options below override each of them.",
        ),
    ] = RECOMMENDED
    method: Annotated[
        str | None,
        typer.Option(
            help="cleanclip, par, supervised or uar. Default: uar where no trigger is named, the image "
            "tower is a ViT or the suite is structured; else cleanclip.",
            autocompletion=completion.methods,
        ),
    ] = None
    beside: Annotated[
        bool,
        typer.Option(
            "--beside",
            help="Also order CleanCLIP, with its recommended values, on the same inputs, to compare the two. "
            "--wait and --download are for the first job.",
        ),
    ] = False
    epochs: Annotated[
        int | None, option_of(CleanCLIPRecipe, "epochs", text="Passes over the clean data.")
    ] = None
    learning_rate: Annotated[
        float | None,
        option_of(
            CleanCLIPRecipe,
            "learning_rate",
            "--lr",
            text="Peak learning rate, above 0; a cosine schedule takes it to zero.",
        ),
    ] = None
    lambda1: Annotated[
        float | None, option_of(CleanCLIPRecipe, "lambda1", text="Weight of the image-caption loss.")
    ] = None
    lambda2: Annotated[
        float | None, option_of(CleanCLIPRecipe, "lambda2", text="Weight of the self-supervised loss.")
    ] = None
    threshold: Annotated[
        float | None,
        option_of(
            PARRecipe, "threshold", text="par: the distance from the input model at which the push stops."
        ),
    ] = None
    batch_size: Annotated[int | None, option_of(CleanCLIPRecipe, "batch_size", text="Pairs per update.")] = (
        None
    )
    warmup_steps: Annotated[
        int | None,
        option_of(
            CleanCLIPRecipe,
            "warmup_steps",
            text="Warm-up: updates until the learning rate is reached; par has none.",
        ),
    ] = None
    recipe_option: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other option of the recipe; repeatable."),
    ] = None
    output_layout: Annotated[
        str | None, typer.Option(help="open_clip, or as_uploaded to also get the layout of the upload.")
    ] = None

    def order(self) -> Order:
        """Raises typer.BadParameter, Unreadable."""
        given = {name: getattr(self, name) for name in _NAMED_OPTIONS}
        recipe, takes_defaults = recipe_of(self.recipe, given, self.recipe_option)
        training_kind = training_kind_of(recipe)
        if self.beside and training_kind != "pairs":
            raise typer.BadParameter("--beside also orders CleanCLIP, which trains on pairs. Leave it out.")
        audited = super().order()
        cleaning = {
            "kind": "sanitize",
            "recipe": recipe,
            "output_layout": self.output_layout,
            "scan": self._scan(),
        }
        return replace(
            audited,
            body={**audited.body, **cleaning},
            data={**audited.data, **named(training=(self.training, training_kind))},
            takes_defaults=takes_defaults,
            leaves_method=leaves_method(self.recipe, recipe),
            beside=self.beside,
        )

    def _scan(self) -> dict[str, Any] | bool | None:
        """The field `scan` of the job; None: as the service does it."""
        if self.scan_options is None:
            return self.scan_first
        if self.scan_first is False:
            raise typer.BadParameter("--scan-options is of a scan: leave it or --no-scan out.")
        return values.json_object(self.scan_options, "--scan-options")

    def _scans_first(self, options: dict[str, Any]) -> bool:
        named = (options.get(name) for name in ("target", "attacks", "suite", "attacks_from_scan"))
        return scans_first(True if self.scan_options is not None else self.scan_first, *named)


sanitize = command_of(SanitizeOrder, "sanitize")
audit = command_of(AuditOrder, "audit")
