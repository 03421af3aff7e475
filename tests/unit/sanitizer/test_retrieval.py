"""Retrieval in whole jobs of the library: what a report tells, what is refused and when, what is warned."""

from dataclasses import replace

import pytest

from cleanclip.evidence import figures as evidence_figures
from cleanclip.evidence import report as evidence_report
from cleanclip.evidence import retrieval as evidence_retrieval
from cleanclip.vocabulary.attack_options import BadNetOptions, SIGOptions
from cleanclip.vocabulary.errors import DatasetRejected, Interrupted
from cleanclip.vocabulary.progress import Advanced, Noted, PhaseFinished, PhaseStarted, ProgressEvent
from cleanclip.vocabulary.recipe import AuditOptions, CleanCLIPRecipe, SupervisedRecipe
from cleanclip.vocabulary.report import load_json
from lab.testbed.writing import png, write_pair_shards, write_shards
from sanitizer.rendering.checked_report import parse_report
from sanitizer.rendering.documents import pages
from tests.fixtures import pipeline
from tests.fixtures.audited import pictures, write_model
from tests.fixtures.hostile_shards import SHARDS
from tests.fixtures.shards import make_labelled, make_pairs

RECIPE = CleanCLIPRecipe(epochs=1, batch_size=8, learning_rate=1e-3, warmup_steps=1)
OPTIONS = AuditOptions(target="dog", attacks=(BadNetOptions(), SIGOptions()), batch_size=16)


def pairs(folder, captions, shown=None):
    write_pair_shards(zip(shown or pictures(len(captions)), captions, strict=True), folder, shard_size=20)
    return folder


def mixed(num_pairs):
    return [f"a {('dog', 'cat', 'tree')[number % 3]} and {number} birds" for number in range(num_pairs)]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    write_model(folder / "checkpoint")
    make_pairs(folder / "pairs", 24)
    make_labelled(folder / "labelled", 18)
    make_labelled(folder / "training", 24)
    pairs(folder / "retrieval", mixed(30))
    return folder


def sanitize(inputs, out, retrieval, **changes):
    options = {
        "recipe": RECIPE,
        "options": OPTIONS,
        "out_dir": out,
        "state_folder": out / "state",
        "retrieval_path": retrieval,
        "seed": 3,
    }
    training = changes.pop("training", inputs / "pairs")
    return pipeline.sanitize(inputs / "checkpoint", training, inputs / "labelled", **(options | changes))


def audit(inputs, out, retrieval, options=OPTIONS, **changes):
    return pipeline.audit(
        inputs / "checkpoint",
        inputs / "labelled",
        options,
        out,
        retrieval_path=retrieval,
        seed=3,
        **changes,
    )


@pytest.fixture(scope="module")
def done(inputs, tmp_path_factory):
    out = tmp_path_factory.mktemp("done")
    return out, sanitize(inputs, out, inputs / "retrieval")


def test_a_cleaning_tells_recall_both_ways_before_and_after_and_what_was_lost(done):
    out, report = done
    assert [(data.kind, data.num_samples) for data in report.data] == [
        ("pairs", 24),
        ("labelled", 18),
        ("retrieval", 30),
    ]
    for audited in (report.before.retrieval, report.after.retrieval):
        assert (audited.num_pairs, audited.num_images, audited.num_captions) == (30, 30, 30)
        assert [one.k for one in audited.image_to_text] == [1, 5, 10]
        (target,) = audited.targets
        assert (target.target, target.k, target.num_naming, target.num_images) == ("dog", 5, 10, 20)
        assert [(one.attack, one.target) for one in audited.attacks] == [("badnet", "dog"), ("sig", "dog")]
        assert target.untriggered.n == audited.attacks[0].triggered.n == audited.attacks[1].triggered.n == 20
    for before, after, lost in zip(
        report.before.retrieval.text_to_image,
        report.after.retrieval.text_to_image,
        report.retrieval_lost.text_to_image,
        strict=True,
    ):
        assert lost.k == before.k == after.k
        assert lost.lost.lost - lost.lost.gained == before.share.successes - after.share.successes
    assert load_json((out / "report.json").read_bytes()) == report


def test_the_client_finds_nothing_wrong_and_the_pages_show_it(done):
    out, _ = done
    written = (out / "report.json").read_bytes()
    read = evidence_report.parse(written)
    assert [*evidence_figures.check(read), *evidence_retrieval.check(read)] == []
    drawn = pages(parse_report(written))
    assert b"Retrieval with captions" in drawn["report.html"]
    assert b"| Image to caption, R@1 |" in drawn["report.md"].replace(b"<!-- -->", b"")


def test_a_second_attempt_takes_up_retrieval_too_and_another_set_is_measured_anew(done, inputs, tmp_path):
    out, report = done
    events: list[ProgressEvent] = []
    again = sanitize(inputs, out, inputs / "retrieval", progress=events.append)
    assert any(isinstance(event, Noted) and "baseline audit" in event.message for event in events)
    assert (again.before, again.after) == (report.before, report.after)
    assert again.retrieval_lost == report.retrieval_lost
    other = pairs(tmp_path / "other", mixed(31))
    started: list[ProgressEvent] = []
    with pytest.raises(Interrupted):
        sanitize(inputs, out, other, progress=started.append, stop=lambda: True)
    assert [event.phase for event in started if isinstance(event, PhaseStarted)] == ["baseline_audit"]


def test_progress_counts_to_its_total(inputs, tmp_path):
    events: list[ProgressEvent] = []
    audit(inputs, tmp_path, inputs / "retrieval", progress=events.append)
    advanced = [event for event in events if isinstance(event, Advanced)]
    assert advanced[-1].done == advanced[-1].total == 18 + 2 * 30
    assert [event.done for event in advanced] == sorted(event.done for event in advanced)
    assert isinstance(events[-1], PhaseFinished)


def test_an_audit_without_a_set_tells_nothing_of_it(inputs, tmp_path):
    report = audit(inputs, tmp_path, None)
    assert report.before.retrieval is None
    assert [data.kind for data in report.data] == ["labelled"]


def test_the_same_audit_is_the_same_to_the_last_digit(inputs, tmp_path):
    first = audit(inputs, tmp_path / "first", inputs / "retrieval")
    assert audit(inputs, tmp_path / "second", inputs / "retrieval").before == first.before


def equal_captions(folder):
    return pairs(folder, ["a dog"] * 12)


def one_pair(folder):
    return pairs(folder, ["a dog"])


def labelled(folder):
    return make_labelled(folder, 12)


def hostile(folder):
    folder.mkdir()
    SHARDS["gzip_bomb"].write(folder / "shard.tar")
    return folder


def nothing(folder):
    return folder


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (equal_captions, "captions_all_equal"),
        (one_pair, "too_few_for_retrieval"),
        (labelled, "no_captions"),
        (hostile, SHARDS["gzip_bomb"].refused),
        (nothing, "not_found"),
    ],
)
def test_a_set_that_cannot_be_used_is_refused_before_anything_is_computed(inputs, tmp_path, make, code):
    events: list[ProgressEvent] = []
    with pytest.raises(DatasetRejected) as refused:
        sanitize(inputs, tmp_path / "out", make(tmp_path / "set"), progress=events.append)
    assert refused.value.code == code
    assert refused.value.remedy
    assert events == []
    assert not (tmp_path / "out").exists()


def test_a_model_is_not_measured_on_the_pairs_that_it_is_trained_on(inputs, tmp_path):
    with pytest.raises(DatasetRejected) as refused:
        sanitize(inputs, tmp_path / "out", inputs / "pairs")
    assert refused.value.code == "trained_on_the_test"
    assert not (tmp_path / "out").exists()


def test_a_method_of_labels_is_measured_on_pairs_all_the_same(inputs, tmp_path):
    recipe = SupervisedRecipe(epochs=1, batch_size=8, learning_rate=1e-3, warmup_steps=1)
    report = sanitize(inputs, tmp_path, inputs / "retrieval", recipe=recipe, training=inputs / "training")
    assert [data.kind for data in report.data] == ["training", "labelled", "retrieval"]
    assert report.after.retrieval.num_pairs == 30


def test_one_picture_for_all_captions_leaves_nothing_to_choose_from(inputs, tmp_path):
    set_ = pairs(tmp_path / "set", mixed(12), pictures(1) * 12)
    with pytest.raises(DatasetRejected) as refused:
        audit(inputs, tmp_path / "out", set_)
    assert refused.value.code == "too_few_for_retrieval"
    assert "one image" in refused.value.message


def test_captions_that_are_the_same_to_the_tokenizer_are_one(inputs, tmp_path):
    with pytest.raises(DatasetRejected) as refused:
        audit(inputs, tmp_path / "out", pairs(tmp_path / "set", ["a dog", "A  DOG", "a Dog "] * 4))
    assert refused.value.code == "captions_all_equal"


def test_a_caption_whose_image_is_broken_is_none_to_choose(inputs, tmp_path):
    samples = [{"png": png(image), "txt": b"a dog"} for image in pictures(11)]
    write_shards([*samples, {"png": b"broken", "txt": b"a cat"}], tmp_path / "set", 20, stem="pairs")
    with pytest.raises(DatasetRejected) as refused:
        audit(inputs, tmp_path / "out", tmp_path / "set", replace(OPTIONS, max_skipped_share=0.1))
    assert refused.value.code == "too_few_for_retrieval"
    assert "one caption" in refused.value.message


def test_more_bad_pairs_than_the_stated_share_are_refused(inputs, tmp_path):
    set_ = pairs(tmp_path / "set", [*mixed(20), " ", "\n"])
    with pytest.raises(DatasetRejected) as refused:
        audit(inputs, tmp_path / "out", set_)
    assert refused.value.code == "too_many_bad_samples"
    report = audit(inputs, tmp_path / "out", set_, replace(OPTIONS, max_skipped_share=0.1))
    assert (report.data[1].num_samples, report.data[1].num_skipped) == (22, 2)
    assert report.before.retrieval.num_pairs == 20
    assert any(one.startswith("2 of 22 retrieval samples") for one in report.warnings)


@pytest.mark.parametrize(
    ("captions", "why"),
    [
        ([f"a dogged cat with {number} birds" for number in range(12)], "No caption of the retrieval set"),
        ([f"a dog with {number} birds" for number in range(12)], "Every image of the retrieval set"),
        (["a dog", "a cat", "a tree", "a bird", "two birds"] * 2, "only 5 different captions"),
    ],
)
def test_what_the_set_cannot_show_is_left_out_with_one_warning(inputs, tmp_path, captions, why):
    report = audit(inputs, tmp_path, pairs(tmp_path / "set", captions))
    assert [one.untriggered for one in report.before.retrieval.targets] == [None]
    assert [one.triggered for one in report.before.retrieval.attacks] == [None, None]
    reported = [warning for warning in report.warnings if "retrieval set" in warning]
    assert len(reported) == 1
    assert why in reported[0]
    written = (tmp_path / "report.json").read_bytes()
    assert list(evidence_retrieval.check(evidence_report.parse(written))) == []
    assert b"Target caption" not in pages(parse_report(written))["report.html"]


def test_a_k_that_is_not_under_the_number_of_candidates_is_left_out(inputs, tmp_path):
    set_ = pairs(tmp_path / "set", ["a dog", "a cat", "a tree"] * 4)
    found = audit(inputs, tmp_path, set_).before.retrieval
    assert [one.k for one in found.image_to_text] == [1]
    assert [one.k for one in found.text_to_image] == [1, 5, 10]
    assert {one.share.n for one in found.text_to_image} == {3}
