"""What a kind of job is, as a value that every room reads. Free of torch."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from cleanclip.kinds.facts import Facts
from cleanclip.kinds.phase import PUBLISH, STAGE, Phase
from cleanclip.vocabulary import anchors
from cleanclip.vocabulary.errors import DatasetRejected, SanitizerError
from cleanclip.vocabulary.jobspec import ANCHOR_PATH, CHECKPOINT_PATH
from cleanclip.vocabulary.report_kinds import PlainReport

VERDICT_FOLLOWS = (
    "The report's rates follow from their counts, its counts are consistent, and its verdict follows "
    "from them."
)
ANCHOR = "anchor_checkpoint_id"
DATA_TITLES = {"pairs": "Pairs", "labelled": "Labelled images"}
MAX_REPORT_BYTES = 8 * 2**20
MAX_JSON_BYTES = 2 * 2**20
MAX_CONFIG_BYTES = 8 * 2**20
SETTLING_PASSES = 32
"""Of each labelled image, to measure heads and activation: the most settings that are plausible, and more."""


@dataclass(frozen=True, kw_only=True)
class Input:
    """A checkpoint or a dataset that the job reads."""

    column: str
    """Of the job's row, and of its order, where its id stands."""
    pointer: str
    """Where the order's body names it."""
    roles: Mapping[str, str] = field(default_factory=dict)
    """Of a dataset: for each kind that it may have, what it is used as."""
    folder: str | None = None
    """Of a checkpoint: where it lies in the job's folder. None: it is a dataset, which lies by its role."""
    fact: str | None = None
    """The field of the child's spec that says whether it is there; None: it is always there."""
    trains: bool = False
    """Whether the model is trained on it, and its kind therefore the recipe's to say."""
    about: str | None = None
    """For people, where its name does not say it."""
    counts_bad: bool = False
    """Whether samples that cannot be read are counted, too: an epoch counts them, and trains on others
    in their place."""
    most: str | None = None
    """Of a dataset of which not every sample is used: the option that says how many are, at most."""
    used_for: str = "training"
    """Of a dataset, in a word for people."""
    title: str = "Read"
    """What an order that is shown calls it."""

    @property
    def label(self) -> str:
        """What a form calls it: a dataset that is always read by what it may be."""
        if self.folder is not None or self.fact is not None:
            return self.title
        return " or ".join(DATA_TITLES[one] for one in self.roles).capitalize()

    @property
    def name(self) -> str:
        """Of the option that names it where it is no job's main one: "trusted", "anchor"."""
        return self.column.removesuffix("_id").removesuffix("_dataset").removesuffix("_checkpoint")

    @property
    def place(self) -> tuple[str, ...]:
        """Where the order's body names it: the part, if it has one, and the field."""
        return tuple(self.pointer[1:].split("/"))


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of job."""

    name: str
    title: str
    """As people read it: "Cleaning"."""
    about: str | None = None
    """What it does, in a sentence, where the API has no words of its own for its order."""
    page: str = "jobs"
    """Part of the address of the form that orders it. A kind with a page of its own has a form of what it
    reads and of its options that have a label."""
    then_clean: tuple[str, str] | None = None
    """Where a cleaning can go by what it found: how the form's address names the job, and the button."""
    computes: tuple[Phase, ...]
    """The phases that a job may have between staging and publishing, in order."""
    is_public: bool = True
    """Whether customers order and list it; the others are the service's own, and read what was uploaded."""
    measures_model: bool = True
    """Whether its figures are of a model: what is of data alone is not shown side by side with them."""
    is_resumable: bool = False
    """Whether what an attempt has finished goes on with the job: training states, parts of a scan."""
    inputs: tuple[Input, ...]
    options: Any = None
    """Of its own part of an order: their type. None: it is not ordered."""
    usual: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda _: {}
    """What its form orders where it has no field for it, by the other fields of that part."""
    part: str | None = None
    """The name of that part, where it has not the kind's own."""
    shows: str = "The report's figures follow from its counts."
    """What files that were verified show, beside their digests."""
    does_not_show: str | None = None
    """What its figures are easily taken for, of a kind that ends with no verdict on the model."""
    finds_triggers: bool = False
    """Whether audits can take what it found as attacks."""
    judges: bool = False
    """Whether it ends with a verdict on the model."""
    report: type[PlainReport] | None = None
    """What report.json holds, of a kind that has no checks, pages and views of its own."""
    engine: str
    """The module whose `do` does it in the child: spec, folder, progress, stop."""
    spec: type[Any]
    """What the child is told. A field has the value of that name in the order, or one that staging knows."""
    check: Callable[[Facts], Iterator[SanitizerError]] = lambda _: iter(())
    """Everything that is wrong with an order, or with what a child opened, as far as it is known. The `where`
    of an error is a place in the order, with dots, or the column of an input."""
    warnings: Callable[[Facts], Iterator[str]] = lambda _: iter(())
    """What its report would warn of, and the order tells."""
    most_passes: Callable[[Any, Mapping[str, int]], int] = lambda spec, sizes: 0
    """Of a sample through the model, by the child's spec and the samples in each role: its time limit grows
    with them. Generous: the limit ends a process that hangs, no slow one."""
    leaves: Mapping[str, int | None]
    """The files that the child must leave, and no other: name → most bytes. None: as the weights have."""
    room_factor: int = 1
    """How much of its inputs' size it leaves on the disk at the worst, inputs included."""
    weights_factor: int = 0
    """How many times the weights that came in it may leave in all its outputs."""
    lists_samples: bool = False
    """Whether it leaves a line for each sample of its inputs."""
    max_state_bytes: int | None = None
    """Of one saved state; None: as a training's, which follows from the weights."""

    @property
    def command(self) -> str:
        """Of `cleanclip`, which orders it."""
        return self.name.replace("_", "-")

    @property
    def option_part(self) -> str:
        """Of an order, of its row and of the spec."""
        return self.part or self.name

    @property
    def spec_fields(self) -> frozenset[str]:
        """Names of what the child's spec says."""
        return frozenset(one.name for one in fields(self.spec))

    @property
    def reads_upload(self) -> bool:
        """Whether the checkpoint is read as it was uploaded, before anything of it is known."""
        return not self.is_public and SUSPECT in self.inputs

    @property
    def has_limits(self) -> bool:
        """Whether it ends with a verdict by limits that the order may set."""
        return "policy" in self.spec_fields

    @property
    def trains(self) -> bool:
        return any(one.trains for one in self.inputs)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """All that a job may have, in order."""
        return STAGE, *self.computes, PUBLISH

    def phases_of(self, order: Mapping[str, Any] | None) -> tuple[Phase, ...]:
        """Of a job with that order. None: the parts that all have."""
        return tuple(phase for phase in self.phases if phase.only_if(order or {}))

    def phase(self, name: str) -> Phase:
        """Of that name. One that the kind does not have, as an older job may, is known by its name alone."""
        missing = Phase(name=name, title=name.replace("_", " "))
        return next((phase for phase in self.phases if phase.name == name), missing)


def check_anchor(facts: Facts) -> Iterator[SanitizerError]:
    """Whether the trusted model can be compared with the one that the job is about."""
    if SUSPECT.column in facts.models and ANCHOR in facts.models:
        yield from anchors.of_anchor(facts.models[SUSPECT.column], facts.models[ANCHOR])


def trained_on_the_test(where: str | None = None) -> DatasetRejected:
    """Refuses data to train on that are also measured on."""
    return DatasetRejected(
        "trained_on_the_test",
        "The model would be trained on data that the audits measure on, so their figures would show nothing.",
        "Give other data for training.",
        where=where,
    )


SUSPECT = Input(
    column="checkpoint_id",
    pointer="/checkpoint_id",
    folder=CHECKPOINT_PATH,
    about="The model that the job is about. It is not changed.",
    title="Checkpoint",
)
"""The model that the job is about."""


def anchor(part: str, use: str = "") -> Input:
    """Another model, which is trusted, named in that part of the order. `use`: what it is good for."""
    return Input(
        column=ANCHOR,
        pointer=f"/{part}/anchor_checkpoint_id",
        folder=ANCHOR_PATH,
        fact="has_anchor",
        about=f"Another model, which you trust, from another source. {use}".rstrip(),
        title="Anchor",
    )


def labelled(part: str, about: str | None = None) -> Input:
    """The labelled images that are measured on, named in that part of the order."""
    return Input(
        column="labelled_dataset_id",
        pointer=f"/{part}/dataset_id",
        roles={"labelled": "labelled"},
        about=about,
        used_for="audit",
        title="Measured on",
    )


RETRIEVAL = Input(
    column="retrieval_dataset_id",
    pointer="/audit/retrieval_dataset_id",
    roles={"pairs": "retrieval"},
    used_for="retrieval",
    fact="has_retrieval",
    title="Retrieval on",
)
