"""How an audit behaves around its figures: batches, bad images, progress, stopping, the model's mode."""

import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from cleanclip.vocabulary.attack_options import (
    BadNetOptions,
    BlendedOptions,
    CustomPatchOptions,
    CustomPatternOptions,
    LabelConsistentOptions,
    SIGOptions,
)
from cleanclip.vocabulary.errors import DatasetRejected, Interrupted, OptionsRejected
from cleanclip.vocabulary.probe_options import LinearProbeOptions
from cleanclip.vocabulary.progress import Advanced, PhaseFinished, PhaseStarted, ProgressEvent, ignore
from cleanclip.vocabulary.recipe import AuditOptions
from sanitizer.audits.audit import AuditResult, attack_names, run_audit
from sanitizer.audits.statistics import paired_difference
from sanitizer.checkpoints.model import LoadedCheckpoint
from sanitizer.data.labelled import LabelledDataset, open_labelled
from sanitizer.data.shards import ShardSource
from sanitizer.data.sources import RawSample
from sanitizer.run import Run
from tests.fixtures.audited import NUM_IMAGES
from tests.fixtures.triggers import picture

PROBE = LinearProbeOptions(folds=3)


def audit(
    checkpoint: LoadedCheckpoint,
    labelled: LabelledDataset,
    *,
    progress: Callable[[ProgressEvent], None] = ignore,
    stop: Callable[[], bool] = lambda: False,
    num_workers: int = 0,
    seed: int = 1,
    **options: Any,
) -> AuditResult:
    options = {"target": "cloud", "attacks": (BadNetOptions(size=0.3),), "batch_size": 16, **options}
    return run_audit(
        checkpoint,
        labelled,
        AuditOptions(**options),
        Run(device=torch.device("cpu"), progress=progress, stop=stop, num_workers=num_workers),
        seed=seed,
        phase="final_audit",
    )


def test_figures_do_not_depend_on_the_batch_size(
    checkpoint: LoadedCheckpoint, labelled: LabelledDataset
) -> None:
    results = [audit(checkpoint, labelled, batch_size=size) for size in (1, 7, 60, 512)]
    assert all(result.figures == results[0].figures for result in results)


def test_figures_do_not_depend_on_the_number_of_decoding_processes(
    checkpoint: LoadedCheckpoint, labelled: LabelledDataset
) -> None:
    assert audit(checkpoint, labelled, num_workers=1).figures == audit(checkpoint, labelled).figures


def test_no_decoding_process_outlives_an_audit(
    checkpoint: LoadedCheckpoint, labelled: LabelledDataset
) -> None:
    already, during = set(multiprocessing.active_children()), []
    audit(
        checkpoint,
        labelled,
        num_workers=2,
        progress=lambda _: during.extend(multiprocessing.active_children()),
    )
    assert len(set(during) - already) == 2
    assert not set(multiprocessing.active_children()) - already


@pytest.mark.parametrize("num_triggers", [1, 8])
def test_an_image_is_decoded_once_whatever_the_number_of_triggers_and_passed_once_for_each(
    checkpoint: LoadedCheckpoint,
    labelled: LabelledDataset,
    monkeypatch: pytest.MonkeyPatch,
    num_triggers: int,
) -> None:
    read, decoded, passed = LabelledDataset.read, [], []

    def counted(self: LabelledDataset, index: int, *arguments: Any) -> Any:
        decoded.append(index)
        return read(self, index, *arguments)

    monkeypatch.setattr(LabelledDataset, "read", counted)
    checkpoint.model.visual.register_forward_hook(lambda _model, given, _out: passed.append(len(given[0])))
    attacks = tuple(BadNetOptions(size=0.2 + 0.05 * number) for number in range(num_triggers))
    audit(checkpoint, labelled, attacks=attacks, examples=0)
    assert sorted(decoded) == list(range(NUM_IMAGES))
    assert sum(passed) == (num_triggers + 1) * NUM_IMAGES


def test_attacks_of_the_same_pixels_cost_one_pass_and_have_the_figures_that_each_has_alone(
    checkpoint: LoadedCheckpoint, labelled: LabelledDataset
) -> None:
    attacks = (
        BadNetOptions(size=0.3),
        SIGOptions(),
        LabelConsistentOptions(size=0.3),
        BadNetOptions(size=0.3, target="dog"),
    )
    alone = [audit(checkpoint, labelled, attacks=(attack,), linear_probe=PROBE) for attack in attacks]
    passed: list[int] = []
    handle = checkpoint.model.visual.register_forward_hook(
        lambda _model, given, _out: passed.append(len(given[0]))
    )
    together = audit(checkpoint, labelled, attacks=attacks, examples=0, linear_probe=PROBE)
    handle.remove()
    assert sum(passed) == (2 + 2) * NUM_IMAGES, "clean ones for the probe and for CA, and two triggers"
    for number, one in enumerate(alone):
        (expected,) = one.figures.attacks
        assert replace(together.figures.attacks[number], name=expected.name) == expected
    was, now = alone[2].triggered[0], together.triggered[2]
    assert torch.equal(was.is_target_N, now.is_target_N)
    assert torch.equal(was.is_right_N, now.is_right_N)


def test_another_seed_moves_the_trigger_and_not_the_clean_figures(
    checkpoint: LoadedCheckpoint, labelled: LabelledDataset
) -> None:
    one, other = audit(checkpoint, labelled, seed=1).figures, audit(checkpoint, labelled, seed=2).figures
    assert (one.ca, one.untriggered_target_rate) == (other.ca, other.untriggered_target_rate)
    assert one.attacks[0].trigger_sha256 != other.attacks[0].trigger_sha256
    assert (one.seed, other.seed) == (1, 2)


def test_correctness_by_image_adds_up_to_clean_accuracy_and_pairs_with_another_audit(
    checkpoint: LoadedCheckpoint, labelled: LabelledDataset
) -> None:
    before = audit(checkpoint, labelled)
    assert before.correct_N.dtype == torch.bool
    assert len(before.correct_N) == NUM_IMAGES
    assert int(before.correct_N.sum()) == before.figures.ca.successes
    checkpoint.model.visual.attnpool.c_proj.bias.data.add_(0.3)
    after = audit(checkpoint, labelled)
    difference = paired_difference(before.correct_N.tolist(), after.correct_N.tolist())
    assert difference.lost - difference.gained == before.figures.ca.successes - after.figures.ca.successes
    assert difference.lost + difference.gained > 0


def test_the_weights_and_every_attack_are_named_in_the_figures(
    checkpoint: LoadedCheckpoint, labelled: LabelledDataset
) -> None:
    attacks = (SIGOptions(), BadNetOptions(), BadNetOptions(pattern="yellow"))
    figures = audit(checkpoint, labelled, attacks=attacks).figures
    assert figures.weights_sha256 == checkpoint.weights_sha256
    assert [attack.name for attack in figures.attacks] == [
        "sig",
        "badnet:pattern=gaussian_redrawn",
        "badnet:pattern=yellow",
    ]
    assert [attack.options["attack"] for attack in figures.attacks] == ["sig", "badnet", "badnet"]
    assert len({attack.trigger_sha256 for attack in figures.attacks}) == 3


def test_attacks_of_one_kind_are_named_by_what_tells_them_apart() -> None:
    attacks = (
        BadNetOptions(),
        BlendedOptions(),
        BadNetOptions(size=0.5),
        BadNetOptions(size=0.5, target="red zero"),
        BadNetOptions(size=0.5),
    )
    names = attack_names(AuditOptions(target="x", attacks=attacks))
    assert names == (
        "badnet:size=0.0714286",
        "blended",
        "badnet:size=0.5",
        "badnet:target=red zero,size=0.5",
        "badnet:size=0.5-2",
    )


def test_pictures_are_numbered_whatever_their_options_and_digests() -> None:
    """A title with a digest and a place in it is wider than a phone."""
    patch, fixed = CustomPatchOptions(image=picture()), CustomPatchOptions(image=picture(3, 3), at=(1 / 3, 0))
    whole = CustomPatternOptions(image=picture())
    names = attack_names(AuditOptions(target="x", attacks=(patch, fixed, whole)))
    assert names == ("pattern 1 (patch)", "pattern 2 (patch)", "custom_pattern")


def test_patterns_of_one_attack_that_have_names_of_their_own_are_told_apart() -> None:
    names = attack_names(AuditOptions(target="x", suite="structured"))
    assert names == ("badnet-stripes", "blended-stripes", "blended-triangles", "text_trigger")
    names = attack_names(AuditOptions(target="x", suite="paper"))
    assert names == ("badnet", "blended", "wanet", "label_consistent", "sig")


def test_progress_runs_from_start_to_finish_in_images(
    checkpoint: LoadedCheckpoint, labelled: LabelledDataset
) -> None:
    events: list[ProgressEvent] = []
    audit(checkpoint, labelled, progress=events.append)
    assert events[0] == PhaseStarted(phase="final_audit", total=NUM_IMAGES, unit="images")
    assert events[-1] == PhaseFinished(phase="final_audit")
    advanced = [event for event in events if isinstance(event, Advanced)]
    assert advanced[0].message == "embedded 7 class names"
    assert [event.done for event in advanced] == [0, 16, 32, 48, 60]
    assert all(event.rate and event.rate > 0 and event.rate_unit == "images" for event in advanced[1:])
    assert advanced[-1].eta_s == 0


def test_a_stop_is_obeyed_before_the_next_batch(
    checkpoint: LoadedCheckpoint, labelled: LabelledDataset
) -> None:
    events: list[ProgressEvent] = []

    def stop() -> bool:
        return any(isinstance(event, Advanced) and event.done >= 32 for event in events)

    with pytest.raises(Interrupted):
        audit(checkpoint, labelled, progress=events.append, stop=stop)
    assert max(event.done for event in events if isinstance(event, Advanced)) == 32
    with pytest.raises(Interrupted):
        audit(checkpoint, labelled, stop=lambda: True)


def test_the_model_keeps_its_mode_its_weights_and_its_statistics(
    checkpoint: LoadedCheckpoint, labelled: LabelledDataset
) -> None:
    checkpoint.model.train()
    before = {name: tensor.clone() for name, tensor in checkpoint.model.state_dict().items()}
    figures = audit(checkpoint, labelled).figures
    assert checkpoint.model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in checkpoint.model.state_dict().items())
    checkpoint.model.eval()
    assert audit(checkpoint, labelled).figures == figures
    assert not checkpoint.model.training


def test_the_mode_is_restored_after_a_stop_too(
    checkpoint: LoadedCheckpoint, labelled: LabelledDataset
) -> None:
    checkpoint.model.train()
    with pytest.raises(Interrupted):
        audit(checkpoint, labelled, stop=lambda: True)
    assert checkpoint.model.training
    assert torch.is_grad_enabled()


class DamagedSource(ShardSource):
    """Shards in which some pictures' bytes are noise."""

    damaged: frozenset[int] = frozenset({3, 31, 59})

    def read(self, index: int) -> RawSample:
        raw = super().read(index)
        if index not in self.damaged:
            return raw
        return RawSample(image=b"no image at all", texts=raw.texts)


def damaged_set(folder: Path) -> LabelledDataset:
    sound = open_labelled(folder)
    return LabelledDataset(
        DamagedSource(sorted(folder.glob("*.tar"))), sound.class_names, sound.templates, []
    )


def test_bad_images_are_counted_left_out_and_change_nothing_for_the_others(
    checkpoint: LoadedCheckpoint, labelled: LabelledDataset, labelled_folder: Path
) -> None:
    whole = audit(checkpoint, labelled)
    partly = audit(checkpoint, damaged_set(labelled_folder), max_skipped_share=0.1)
    kept = [index for index in range(NUM_IMAGES) if index not in DamagedSource.damaged]
    assert partly.num_skipped == 3
    assert len(partly.skipped_examples) == 3
    assert partly.figures.ca.n == NUM_IMAGES - 3
    assert torch.equal(partly.correct_N, whole.correct_N[kept])


def test_more_bad_images_than_the_stated_share_are_refused(
    checkpoint: LoadedCheckpoint, labelled_folder: Path
) -> None:
    with pytest.raises(DatasetRejected):
        audit(checkpoint, damaged_set(labelled_folder), max_skipped_share=0.01)


def test_an_unknown_target_is_refused_before_anything_is_measured(
    checkpoint: LoadedCheckpoint, labelled: LabelledDataset
) -> None:
    events: list[ProgressEvent] = []
    with pytest.raises(OptionsRejected) as refused:
        audit(checkpoint, labelled, target="clod", progress=events.append)
    assert refused.value.code == "unknown_target"
    assert "'cloud'" in refused.value.remedy
    assert events == []


def test_a_template_that_does_not_name_the_class_is_refused_with_its_number(
    checkpoint: LoadedCheckpoint, labelled: LabelledDataset
) -> None:
    with pytest.raises(OptionsRejected) as refused:
        audit(checkpoint, labelled, templates=("a {c}", "a photo"))
    assert (refused.value.code, refused.value.where) == ("bad_template", "audit.templates.1")


def test_given_templates_go_before_those_of_the_set(
    checkpoint: LoadedCheckpoint, labelled: LabelledDataset
) -> None:
    own = audit(checkpoint, labelled).correct_N
    given = audit(checkpoint, labelled, templates=("zebra {c} zebra zebra",)).correct_N
    assert not torch.equal(own, given)


def test_a_linear_probe_is_measured_where_it_is_ordered_and_changes_no_other_figure(
    checkpoint: LoadedCheckpoint, labelled: LabelledDataset
) -> None:
    without = audit(checkpoint, labelled).figures
    events: list[ProgressEvent] = []
    probed = audit(checkpoint, labelled, progress=events.append, linear_probe=PROBE).figures
    assert without.linear_probe is None
    assert probed.linear_probe is not None
    assert probed.linear_probe.accuracy.n == NUM_IMAGES
    bare = tuple(replace(attack, linear_probe=None) for attack in probed.attacks)
    assert replace(probed, linear_probe=None, attacks=bare) == without
    assert events[0] == PhaseStarted(phase="final_audit", total=2 * NUM_IMAGES, unit="images")
    done = [event.done for event in events if isinstance(event, Advanced)]
    assert done == [0, 16, 32, 48, 60, 60, 60, 60, 76, 92, 108, 120]


def test_a_probes_figures_do_not_depend_on_the_batch_size(
    checkpoint: LoadedCheckpoint, labelled: LabelledDataset
) -> None:
    results = [audit(checkpoint, labelled, batch_size=size, linear_probe=PROBE) for size in (1, 16, 512)]
    for result in results:
        assert result.figures.linear_probe is not None
        assert result.figures.linear_probe.accuracy == results[0].figures.linear_probe.accuracy
        assert result.figures.attacks == results[0].figures.attacks


def test_a_probe_sees_the_same_folds_where_images_are_bad(
    checkpoint: LoadedCheckpoint, labelled_folder: Path
) -> None:
    figures = audit(
        checkpoint, damaged_set(labelled_folder), max_skipped_share=0.1, linear_probe=PROBE
    ).figures
    assert figures.linear_probe is not None
    assert figures.linear_probe.accuracy.n == figures.attacks[0].asr_including_target.n == NUM_IMAGES - 3


def test_a_stop_is_obeyed_within_the_fit_of_a_probe(
    checkpoint: LoadedCheckpoint, labelled: LabelledDataset
) -> None:
    events: list[ProgressEvent] = []

    def stop() -> bool:
        return any(isinstance(event, Advanced) and "for fold 1" in (event.message or "") for event in events)

    with pytest.raises(Interrupted):
        audit(checkpoint, labelled, progress=events.append, stop=stop, linear_probe=PROBE)
    assert sum("linear probe" in (getattr(event, "message", "") or "") for event in events) == 1


def test_too_few_images_of_a_class_for_the_probe_are_refused(
    checkpoint: LoadedCheckpoint, labelled: LabelledDataset
) -> None:
    with pytest.raises(OptionsRejected) as refused:
        audit(checkpoint, labelled, linear_probe=LinearProbeOptions(folds=9))
    assert refused.value.code == "too_few_for_probe"
    assert "has 8 usable images" in refused.value.message


def test_where_triggered_images_go_is_counted_against_the_same_images_without_the_trigger(
    checkpoint: LoadedCheckpoint, labelled: LabelledDataset
) -> None:
    attacks = (BadNetOptions(pattern="white", size=0.9, placement="centre"), SIGOptions())
    result = audit(checkpoint, labelled, attacks=attacks)
    names = labelled.class_names
    for attack, number in zip(result.figures.attacks, result.towards, strict=True):
        found = attack.towards
        assert found.class_name == names[number]
        num_others = int((result.label_N != number).sum())
        assert (found.triggered.n, found.untriggered.n) == (num_others, num_others)
        of_target = attack.asr.successes
        assert found.triggered.successes >= of_target
        if found.class_name == "cloud":
            assert found.triggered == attack.asr
            assert found.untriggered == result.figures.untriggered_target_rate


def test_an_audit_after_another_speaks_of_the_class_that_the_other_found(
    checkpoint: LoadedCheckpoint, labelled: LabelledDataset
) -> None:
    before = audit(checkpoint, labelled)
    other = (before.towards[0] + 1) % len(labelled.class_names)
    after = run_audit(
        checkpoint,
        labelled,
        AuditOptions(target="cloud", attacks=(BadNetOptions(size=0.3),)),
        Run(device=torch.device("cpu")),
        seed=1,
        phase="final_audit",
        towards=(other,),
    )
    assert after.towards == (other,)
    found, now = after.figures.attacks[0].towards, after.figures.attacks[0].towards_now
    assert found is not None
    assert found.class_name == labelled.class_names[other]
    assert now == before.figures.attacks[0].towards, "the same model leads them where it led them"
    assert before.figures.attacks[0].towards_now is None


def test_templates_that_nobody_chose_are_compared_with_a_plain_one(
    checkpoint: LoadedCheckpoint, labelled: LabelledDataset
) -> None:
    labelled.templates = None
    default = audit(checkpoint, labelled)
    plain = audit(checkpoint, labelled, templates=("a photo of a {c}.",))
    assert default.plain_template_ca == plain.figures.ca
    assert plain.plain_template_ca is None
