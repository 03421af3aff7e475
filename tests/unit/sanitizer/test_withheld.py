"""Labelled images that are withheld from a job's process, and what a second audit makes of both parts."""

import hashlib
import io
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from cleanclip.evidence import report as evidence
from cleanclip.vocabulary import jobspec
from cleanclip.vocabulary.attack_options import BadNetOptions
from cleanclip.vocabulary.control import NotSearched
from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.exclusions import Exclusions, LeftOut, dump_exclusions
from cleanclip.vocabulary.jobspec import LabelledPart, RecheckSpec, WithholdSpec
from cleanclip.vocabulary.probe_options import LinearProbeOptions
from cleanclip.vocabulary.progress import ignore, never_stop
from cleanclip.vocabulary.recipe import AuditOptions, CleanCLIPRecipe
from cleanclip.vocabulary.withholding import FEWEST, MOST, num_withheld, seed_of
from sanitizer.cli.commands import given_part
from sanitizer.data.labelled import open_labelled
from sanitizer.data.skipping import BadSample
from sanitizer.work import rechecking, withholding
from tests.fixtures import learned, pipeline
from tests.fixtures.shards import make_pairs
from worker.publishing.rechecking import differences

pytestmark = pytest.mark.usefixtures("short_searches")
NUM_IMAGES, NUM_WITHHELD, SEED = 330, 90, 5
OPTIONS = AuditOptions(
    target="east", attacks=(BadNetOptions(),), batch_size=60, examples=1, linear_probe=LinearProbeOptions()
)


TRUE = {
    "num_heads_vision": learned.HEADS_VISION,
    "num_heads_text": learned.HEADS_TEXT,
    "quick_gelu": learned.QUICK_GELU,
}


@pytest.mark.parametrize(
    ("num_images", "expected"),
    [(799, 0), (800, FEWEST), (2_000, FEWEST), (3_000, 600), (50_000, MOST), (2**40, MOST)],
)
def test_a_fifth_is_withheld_and_never_more_than_half(num_images: int, expected: int) -> None:
    assert num_withheld(num_images) == expected


@pytest.fixture(scope="module")
def parted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a fresh child that has parted the images; of a list that leaves two of them out."""
    folder = tmp_path_factory.mktemp("parted")
    learned.write_labelled(folder / jobspec.LABELLED_PATH, NUM_IMAGES)
    whole = open_labelled(folder / jobspec.LABELLED_PATH)
    left_out = tuple(LeftOut(index=index, key=whole.key(index)) for index in (0, 7))
    listed = Exclusions(
        dataset_sha256=whole.files_sha256, num_samples=NUM_IMAGES, reason="Two of them.", samples=left_out
    )
    path = folder / jobspec.exclude_path("labelled")
    path.parent.mkdir()
    path.write_bytes(dump_exclusions(listed))
    (folder / jobspec.OUTPUTS_PATH).mkdir()
    withholding.do(WithholdSpec(num=NUM_WITHHELD, seed=SEED, exclude=True), folder, ignore, never_stop)
    return folder


def part(parted: Path, name: str, folder: Path) -> Path:
    """One of the parts as a labelled set."""
    shutil.copytree(parted / jobspec.LABELLED_PATH, folder, ignore=shutil.ignore_patterns("*.tar"))
    shutil.copy(parted / jobspec.OUTPUTS_PATH / name, folder)
    return folder


def test_every_sample_lies_in_one_part_byte_for_byte_but_for_those_left_out(
    parted: Path, tmp_path: Path
) -> None:
    def content(folder: Path) -> list[str]:
        dataset = open_labelled(folder)
        return [
            f"{dataset.read(n).label} {hashlib.sha256(dataset.raw_image(n)).hexdigest()}"
            for n in range(len(dataset))
        ]

    whole = content(parted / jobspec.LABELLED_PATH)
    given = content(part(parted, jobspec.GIVEN_NAME, tmp_path / "given"))
    withheld = content(part(parted, jobspec.WITHHELD_NAME, tmp_path / "withheld"))
    assert (len(given), len(withheld)) == (NUM_IMAGES - 2 - NUM_WITHHELD, NUM_WITHHELD)
    assert sorted([*given, *withheld, whole[0], whole[7]]) == sorted(whole)
    assert not set(given) & set(withheld)


def test_which_are_withheld_is_drawn_by_the_seed(parted: Path, tmp_path: Path) -> None:
    digests = []
    for number, seed in enumerate((SEED, SEED, SEED + 1)):
        folder = tmp_path / str(number)
        shutil.copytree(parted / "inputs", folder / "inputs")
        (folder / jobspec.OUTPUTS_PATH).mkdir()
        withholding.do(WithholdSpec(num=NUM_WITHHELD, seed=seed, exclude=True), folder, ignore, never_stop)
        digests.append(hashlib.sha256((folder / "outputs" / jobspec.WITHHELD_NAME).read_bytes()).hexdigest())
    assert digests[0] == digests[1] != digests[2]


def test_the_command_line_leaves_out_the_same_images(
    parted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labelled, listed = parted / jobspec.LABELLED_PATH, parted / jobspec.exclude_path("labelled")
    with pytest.raises(OptionsRejected) as refused:
        given_part(labelled, [listed], tmp_path / "refused")
    assert refused.value.code == "too_few_to_withhold"
    monkeypatch.setattr("sanitizer.cli.commands.num_withheld", lambda _: NUM_WITHHELD)
    folder, part, others = given_part(labelled, [listed], tmp_path / "given")
    assert others == []
    assert (part.num_withheld, part.excluded and part.excluded.num) == (NUM_WITHHELD, 2)
    again = tmp_path / "service"
    shutil.copytree(parted / "inputs", again / "inputs")
    (again / jobspec.OUTPUTS_PATH).mkdir()
    order = WithholdSpec(num=NUM_WITHHELD, seed=seed_of(part.dataset_sha256), exclude=True)
    withholding.do(order, again, ignore, never_stop)
    given = (again / jobspec.OUTPUTS_PATH / jobspec.GIVEN_NAME).read_bytes()
    assert (folder / jobspec.GIVEN_NAME).read_bytes() == given
    assert len(open_labelled(folder)) == NUM_IMAGES - 2 - NUM_WITHHELD


def test_a_sample_without_an_image_stays_a_bad_one(tmp_path: Path) -> None:
    folder = learned.write_labelled(tmp_path / jobspec.LABELLED_PATH, 30)
    with tarfile.open(folder / "without-image.tar", "w") as archive:
        member = tarfile.TarInfo("lost.cls")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"0"))
    (tmp_path / jobspec.OUTPUTS_PATH).mkdir()
    withholding.do(WithholdSpec(num=10, seed=0), tmp_path, ignore, never_stop)
    names = (jobspec.GIVEN_NAME, jobspec.WITHHELD_NAME)
    parts = [open_labelled(part(tmp_path, name, tmp_path / name[:5])) for name in names]
    assert [len(one) for one in parts] == [21, 10]
    num_bad = 0
    for dataset in parts:
        for index in range(len(dataset)):
            try:
                dataset.read(index)
            except BadSample:
                num_bad += 1
    assert num_bad == 1


def test_both_audits_of_the_given_images_are_found_again_and_those_of_the_others_stand_beside(
    parted: Path, tmp_path: Path
) -> None:
    """The report is of the images that the job's process had, under the digest of the whole set."""
    folder = tmp_path / "fresh"
    learned.write_model(folder / jobspec.CHECKPOINT_PATH, **TRUE)
    given = part(parted, jobspec.GIVEN_NAME, folder / jobspec.LABELLED_PATH)
    part(parted, jobspec.WITHHELD_NAME, folder / jobspec.WITHHELD_PATH)
    pairs = make_pairs(tmp_path / "pairs", 16)
    whole = open_labelled(parted / jobspec.LABELLED_PATH).files_sha256
    of = LabelledPart(dataset_sha256=whole, num_withheld=NUM_WITHHELD)
    report = pipeline.sanitize(
        folder / jobspec.CHECKPOINT_PATH,
        pairs,
        given,
        recipe=CleanCLIPRecipe(epochs=1, batch_size=8, learning_rate=1e-6, warmup_steps=1),
        options=OPTIONS,
        out_dir=folder / jobspec.CLEANED_PATH,
        state_folder=tmp_path / "state",
        labelled_part=of,
        seed=3,
    )
    assert report.data[1].sha256 == whole
    assert report.data[1].num_samples == NUM_IMAGES - 2 - NUM_WITHHELD == report.before.ca.n
    (folder / jobspec.OUTPUTS_PATH).mkdir()
    order = RecheckSpec(
        audit=OPTIONS, seed=3, labelled_part=of, is_cleaned=True, withheld_seed=123, control_seed=9
    )
    rechecking.do(order, folder, ignore, never_stop)
    raw = (folder / jobspec.OUTPUTS_PATH / jobspec.FIGURES_NAME).read_bytes()
    found = jobspec.RECHECKED_ADAPTER.validate_json(raw)
    assert found.architecture == report.architecture
    assert list(differences(report.measured, found.measured, 0.0, learned.CLASS_NAMES)) == []
    assert found.measured.examples == report.examples
    assert found.withheld is not None
    assert (found.withheld.num_samples, found.withheld.seed) == (NUM_WITHHELD, 123)
    assert found.withheld.measured.before.ca.n == NUM_WITHHELD
    assert report.control is not None
    assert found.control == NotSearched(not_searched="scan_too_few_images"), f"{NUM_WITHHELD} images"
    complete = replace(report, withheld=found.withheld, control=found.control)
    assert [str(one) for one in evidence.check(complete)] == []
    changed = replace(found.withheld.measured.before, ca=report.before.ca)
    forged = replace(found.withheld, measured=replace(found.withheld.measured, before=changed))
    places = [one.where for one in evidence.check(replace(complete, withheld=forged))]
    assert "withheld.before.ca.n" in places
