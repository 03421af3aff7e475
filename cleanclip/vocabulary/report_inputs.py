"""What a report of any kind says of its inputs and of the machine. Free of torch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import MaxLen
from pydantic import StringConstraints

from cleanclip.vocabulary.exclusions import Digest, ExcludedSamples
from cleanclip.vocabulary.inspection_phrases import Finding, Issue, Layout, Version
from cleanclip.vocabulary.measures import Count
from cleanclip.vocabulary.recipe import AuditPrecision, DeclaredOptions
from cleanclip.vocabulary.recommended import Model, model_of
from cleanclip.vocabulary.skip_reasons import SkippedExamples, skipped

Sentences = Annotated[tuple[str, ...], MaxLen(1000)]
"""Of our own: a page and a row carry them all. How long each may be: `strict_json`."""


Hardware = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9(](?:[A-Za-z0-9 ()@,_+/-]|\.[A-Za-z0-9]){0,199}$")
]
"""The name of a machine or a device: no sentence, for a full stop stands in a number or a word."""


WHO_VOUCHES = (
    "This file alone proves nothing about its origin. statement.json, if it is beside it, "
    "binds it to the input and the outputs; model.sig, if there is one, binds both to an "
    "operator's key. Without model.sig the folder is unsigned. Check it with: cleanclip verify FOLDER"
)


ScannerName = Literal["picklescan", "modelaudit"]


ScannerVerdict = Literal[
    "nothing_found",
    "suspicious",
    "dangerous",
    "inconclusive",
    "failed",
    "timed_out",
    "not_installed",
    "not_applicable",
    "switched_off",
]


WHAT_DANGEROUS_MEANS = (
    "“dangerous” is the scanner's word for a file that names code outside its list of harmless "
    "names: a program that loads the file as a pickle may run that code. picklescan reports it "
    "for every research checkpoint and every TorchScript archive. This service executed "
    "nothing in the file, and its decision does not depend on scanners."
)


_OF_TORCH_SAVE = (
    ": torch._utils._rebuild_tensor_v2",
    ": torch._utils._rebuild_parameter",
    ": collections.OrderedDict",
    "opcode: BINPERSID",
)
"""How issues end that are about what each file of torch.save holds."""


def scanner_words(verdict: str, issues: Sequence[str], num_issues: int) -> str:
    """A scanner's verdict as people read it. One that objects to nothing but what each file of torch.save
    holds does not call the file suspicious."""
    is_usual = 0 < num_issues == len(issues) and all(issue.endswith(_OF_TORCH_SAVE) for issue in issues)
    if verdict == "suspicious" and is_usual:
        return "nothing but what torch.save writes"
    return verdict.replace("_", " ")


@dataclass(frozen=True, kw_only=True)
class ScannerEvidence:
    """What another scanner reported about the upload. It does not decide whether a file is accepted."""

    name: ScannerName
    version: Version | None
    verdict: ScannerVerdict
    num_issues: Count = 0
    issues: Annotated[tuple[Issue, ...], MaxLen(50)] = ()
    """The first of them."""


@dataclass(frozen=True, kw_only=True)
class CheckpointInput:
    """The input, by digest, and the findings of its inspection."""

    upload_sha256: Digest | None
    """Digest of the bytes that came in; None where the library was given canonical weights."""
    weights_sha256: Digest
    layout: Layout
    architecture: dict[str, Any]
    num_parameters: Count = 0
    """0: not known."""
    declared: DeclaredOptions
    findings: Annotated[tuple[Finding, ...], MaxLen(1000)] = ()
    scanners: Annotated[tuple[ScannerEvidence, ...], MaxLen(20)] = ()

    @property
    def model(self) -> Model | None:
        """Its family and size, on which recommended values depend."""
        return model_of({"architecture": self.architecture, "num_parameters": self.num_parameters})


@dataclass(frozen=True, kw_only=True)
class FetchedSource:
    """Where the service fetched the checkpoint from. Size and digest are its own, of the bytes that came."""

    ordered: str
    """As the order names it; of an address without its query."""
    commit: str | None
    """Of a model hub: what the revision was, by the hub's word."""
    path: str | None
    """Of a model hub: the file."""
    size_bytes: Count
    sha256: Digest
    fetched_at: str
    """By the service's clock, RFC 3339 in UTC."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The job that the report belongs to, from the service's own records. All are names for people, but for
    `source`."""

    filename: str
    """Of the upload."""
    source: FetchedSource | None
    """None: it was uploaded."""
    job_id: str
    job_name: str | None
    project: str
    requested_by: str
    """The key that ordered the job, as it was named then."""


DataRole = Literal["pairs", "training", "labelled", "retrieval", "trusted"]


@dataclass(frozen=True, kw_only=True)
class DataInput:
    """`pairs`, `training`: what a model was trained on, the latter labelled images; `labelled`, `retrieval`:
    the images and the pairs that it was measured on; `trusted`: samples that a vetting compares with."""

    kind: DataRole
    sha256: Digest
    """Digest over the names and digests of its files, in order."""
    num_samples: int
    num_skipped: int
    num_classes: int | None = None
    num_missing: Count | None = None
    """Of `training`: classes of the labelled images that these images do not have. Else None."""
    skipped_examples: SkippedExamples = ()
    excluded: ExcludedSamples | None = None
    """Samples that an order left out; `num_samples` does not count them. None where it left out none."""

    @property
    def num_good(self) -> int:
        """Samples that could be used."""
        return self.num_samples - self.num_skipped

    @property
    def excluded_words(self) -> str:
        """How many were left out by a list, and why; empty where none was."""
        if self.excluded is None:
            return ""
        what = {"pairs": "pair", "labelled": "labelled image"}.get(self.kind, f"{self.kind} sample")
        were = " was" if self.excluded.num == 1 else "s were"
        return f"{self.excluded.num} {what}{were} left out by a list: {self.excluded.reason}."

    @property
    def skipped_words(self) -> Iterator[str]:
        """That bad samples were left out, if any were."""
        return skipped("pair" if self.kind == "pairs" else self.kind, self.num_skipped, self.num_samples)


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What the figures were computed with, so that they can be repeated. A supervisor names the machine and
    the versions of its own installation, which is the job's."""

    code_version: Version
    python: Version
    torch: Version
    open_clip: Version
    numpy: Version
    """Makes every random draw."""
    pillow: Version
    """Decodes and resizes images."""
    torchvision: Version
    """Transforms images beside it."""
    code_commit: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{7,64}$")] | None = None
    """The commit that this library was installed from, where its installer noted it: `code_version` is the
    same for many commits."""
    device: Hardware
    machine: Hardware
    num_threads: Count
    precision: AuditPrecision
    num_processes: Count
    """That shared out the training."""
