"""`vet` from files to files: what it leaves, what it refuses, how it resumes, and what `--exclude` makes of
it."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cleanclip.evidence.verification import verify
from cleanclip.vocabulary.attack_options import BadNetOptions
from cleanclip.vocabulary.errors import CheckpointRejected, DatasetRejected, Interrupted, OptionsRejected
from cleanclip.vocabulary.exclusions import Exclusions, LeftOut, dump_exclusions, load_exclusions
from cleanclip.vocabulary.progress import Advanced, Noted
from cleanclip.vocabulary.report import load_json
from cleanclip.vocabulary.vet_options import VetOptions
from cleanclip.vocabulary.vet_report import VetReport, load_vet_report
from lab.testbed.writing import write_pair_shards
from sanitizer.__main__ import main
from sanitizer.checkpoints.model import build_clip, load_canonical
from sanitizer.checkpoints.writing import write_canonical
from sanitizer.data.excluding import read_exclusions, without
from sanitizer.data.pairs import open_pairs
from sanitizer.vetting import reading, scoring
from tests.fixtures.audited import ARCHITECTURE, write_model
from tests.fixtures.pipeline import vet
from tests.fixtures.shards import make_labelled, make_pairs, random_caption, random_image

OPTIONS = VetOptions(neighbours=4, batch_size=32, num_shown=3)
FILES = ("vet_scores.jsonl.gz", "excluded.json")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vetting")
    write_model(folder / "suspect")
    weights = load_canonical(folder / "suspect").model.state_dict()
    random = torch.Generator().manual_seed(1)
    moved = {
        name: tensor + 0.02 * torch.randn(tensor.shape, generator=random)
        if tensor.is_floating_point() and "running" not in name
        else tensor
        for name, tensor in weights.items()
    }
    write_canonical(folder / "anchor", moved, ARCHITECTURE, {"layout": "open_clip"})
    make_pairs(folder / "pairs", 60, shard_size=25)
    others = ((random_image(seed), random_caption(seed)) for seed in range(1000, 1060))
    write_pair_shards(others, folder / "trusted", 30)
    return folder


def run(inputs: Path, out: Path, options: VetOptions = OPTIONS, **given: Any) -> VetReport:
    named = {"anchor": inputs / "anchor", "trusted": inputs / "trusted"} | given
    return vet(inputs / "suspect", inputs / "pairs", "pairs", options, out, seed=3, **named)


def refused(kind: type[Exception], inputs: Path, out: Path, **given: Any) -> Any:
    with pytest.raises(kind) as raised:
        run(inputs, out, **given)
    assert raised.value.message
    assert raised.value.remedy
    return raised.value


def test_it_scores_every_sample_and_sets_the_worst_share_aside(inputs: Path, tmp_path: Path) -> None:
    report = run(inputs, tmp_path)
    assert report == load_vet_report((tmp_path / "report.json").read_bytes())
    assert (report.set_aside.num, report.set_aside.of) == (3, 60)
    assert [one.name for one in report.scores] == ["local_density", "disagreement", "residual", "mismatch"]
    assert {one.name for one in report.not_computed} == {"trigger_direction", "sensitivity"}
    assert (report.basis, report.num_fit, report.num_calibration) == ("p_values", 30, 30)
    with gzip.open(tmp_path / "vet_scores.jsonl.gz", "rt") as file:
        lines = [json.loads(line) for line in file]
    assert [line["index"] for line in lines] == list(range(60))
    assert all(1 / 31 <= p <= 1 for line in lines for _, p in line["scores"].values())
    worst = {line["index"] for line in lines if line["set_aside"]}
    excluded = load_exclusions((tmp_path / "excluded.json").read_bytes())
    assert {one.index for one in excluded.samples} == worst == {one.index for one in report.worst}
    assert excluded.dataset_sha256 == report.vetted.sha256 == open_pairs(inputs / "pairs").sha256
    [measured] = report.measured
    assert measured.poison == "shuffled_captions"
    assert 25 <= measured.recall.n <= 30


def test_the_digests_of_a_folder_that_no_service_packed_are_not_said_to_differ(
    inputs: Path, tmp_path: Path
) -> None:
    run(inputs, tmp_path)
    named = [(one.file, one.message) for one in verify(tmp_path).findings if one.file == "excluded.json"]
    assert named == []
    (tmp_path / "excluded.json").write_text((tmp_path / "excluded.json").read_text() + "\n")
    (finding,) = (one for one in verify(tmp_path).findings if one.file == "excluded.json")
    assert (finding.where, finding.message) == ("its SHA-256", "is not what report.json says")


def test_every_score_and_labelled_images_work_too(inputs: Path, tmp_path: Path) -> None:
    make_labelled(tmp_path / "labelled", 40)
    options = replace(
        OPTIONS,
        scores=("residual", "trigger_direction", "mismatch", "sensitivity"),
        triggers=(BadNetOptions(),),
        directions=((1.0, *[0.0] * 23),),
    )
    report = vet(
        inputs / "suspect", tmp_path / "labelled", "labelled", options, tmp_path / "out",
        anchor=inputs / "anchor", seed=3,
    )  # fmt: skip
    assert [one.name for one in report.scores] == list(options.scores or ())
    assert report.basis == "ranks"
    assert report.levels == ()
    assert report.measured == ()
    assert report.worst[0].caption in ("cat", "dog", "tree")


def test_without_an_anchor_three_scores_are_left_out_and_the_suspect_judges_captions(
    inputs: Path, tmp_path: Path
) -> None:
    report = run(inputs, tmp_path, anchor=None, trusted=None)
    assert report.decided_by == {"local_density": "suspect", "mismatch": "suspect"}
    reasons = {one.name: one.reason for one in report.not_computed}
    assert all("anchor" in reasons[name] for name in ("disagreement", "residual", "trigger_direction"))
    assert any("by the suspect itself" in one for one in report.warnings)
    assert any("sorted among themselves" in one for one in report.warnings)


def test_a_run_that_was_stopped_goes_on_and_leaves_the_same_bytes(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BLOCK", 8)
    whole = run(inputs, tmp_path / "whole")
    events: list[Any] = []

    def stop() -> bool:  # in the middle of the vetted set, which follows 60 trusted samples
        return any(isinstance(event, Advanced) and event.done > 80 for event in events)

    state = tmp_path / "state"
    with pytest.raises(Interrupted):
        run(inputs, tmp_path / "cut", stop=stop, state=state, progress=events.append)
    done = next(event.done for event in reversed(events) if isinstance(event, Advanced))
    assert 80 < done < 120
    events.clear()
    resumed = run(inputs, tmp_path / "cut", state=state, progress=events.append)
    noted = [event.message for event in events if isinstance(event, Noted)]
    assert [one.split(" of an")[0] for one in noted] == [
        "60 of 60 trusted samples",
        f"{done - 60} of 60 vetted samples",
    ]
    for name in FILES:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()
    assert replace(resumed, created_at=whole.created_at) == whole


def test_a_state_of_other_data_is_not_used(inputs: Path, tmp_path: Path) -> None:
    run(inputs, tmp_path / "out", state=tmp_path / "state")
    make_pairs(tmp_path / "others", 30)
    report = vet(
        inputs / "suspect", tmp_path / "others", "pairs", OPTIONS, tmp_path / "out",
        state=tmp_path / "state", seed=3,
    )  # fmt: skip
    assert report.vetted.num_samples == 30


def test_bad_samples_are_left_out_and_counted(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BLOCK", 1)  # a block without a good sample
    samples = [(random_image(seed), random_caption(seed) if seed != 4 else " ") for seed in range(40)]
    write_pair_shards(samples, tmp_path / "pairs", 20)
    options = replace(OPTIONS, max_skipped_share=0.1)
    report = vet(inputs / "suspect", tmp_path / "pairs", "pairs", options, tmp_path / "out", seed=3)
    assert (report.vetted.num_skipped, report.set_aside.of) == (1, 39)
    assert any(one.startswith("1 of 40 pair samples were bad") for one in report.warnings)
    with gzip.open(tmp_path / "out/vet_scores.jsonl.gz", "rt") as file:
        assert 4 not in [json.loads(line)["index"] for line in file]


def test_a_trusted_set_that_overlaps_is_refused_before_any_pass(inputs: Path, tmp_path: Path) -> None:
    error = refused(DatasetRejected, inputs, tmp_path, trusted=inputs / "pairs")
    assert error.code == "trusted_overlaps"
    others = [(random_image(seed), "other words") for seed in range(2000, 2060)]
    write_pair_shards([*others, (random_image(7), "one of them")], tmp_path / "overlapping", 100)
    error = refused(DatasetRejected, inputs, tmp_path / "out", trusted=tmp_path / "overlapping")
    assert (error.code, error.where) == ("trusted_overlaps", "00000007")
    assert not (tmp_path / "out").exists()


def test_an_anchor_that_is_the_suspect_is_refused(inputs: Path, tmp_path: Path) -> None:
    error = refused(OptionsRejected, inputs, tmp_path, anchor=inputs / "suspect")
    assert error.code == "anchor_is_the_suspect"


def test_too_few_samples_are_refused(inputs: Path, tmp_path: Path) -> None:
    few = replace(OPTIONS, neighbours=64, batch_size=128)
    assert refused(DatasetRejected, inputs, tmp_path, options=few).code == "too_few_to_vet"
    finer = replace(OPTIONS, share=0.01)
    assert refused(DatasetRejected, inputs, tmp_path, options=finer).code == "too_few_trusted"


def test_a_score_without_its_input_is_refused_where_it_was_asked_for(inputs: Path, tmp_path: Path) -> None:
    options = replace(OPTIONS, scores=("residual",))
    error = refused(OptionsRejected, inputs, tmp_path, options=options, anchor=None)
    assert error.code == "score_without_input"
    options = replace(OPTIONS, directions=((1.0, 2.0),))
    assert refused(OptionsRejected, inputs, tmp_path, options=options).code == "wrong_direction_length"


def test_images_that_are_all_equal_are_refused(inputs: Path, tmp_path: Path) -> None:
    write_pair_shards([(random_image(1), random_caption(seed)) for seed in range(30)], tmp_path / "pairs", 30)
    with pytest.raises(DatasetRejected) as raised:
        vet(inputs / "suspect", tmp_path / "pairs", "pairs", OPTIONS, tmp_path / "out")
    assert raised.value.code == "images_all_equal"


@pytest.mark.parametrize(
    ("change", "code"), [("constant", "embeddings_constant"), ("infinite", "embeddings_not_finite")]
)
def test_a_model_whose_embeddings_say_nothing_is_refused(
    inputs: Path, tmp_path: Path, change: str, code: str
) -> None:
    weights = dict(load_canonical(inputs / "suspect").model.state_dict())
    name = "visual.attnpool.c_proj.weight"
    weights[name] = torch.zeros_like(weights[name]) if change == "constant" else weights[name] * 1e38
    write_canonical(tmp_path / "broken", weights, ARCHITECTURE, {"layout": "open_clip"})
    with pytest.raises(CheckpointRejected) as raised:
        vet(tmp_path / "broken", inputs / "pairs", "pairs", OPTIONS, tmp_path / "out")
    assert raised.value.code == code


def test_an_anchor_of_another_shape_is_fine(inputs: Path, tmp_path: Path) -> None:
    vision = replace(ARCHITECTURE.vision, image_size=64)
    other = replace(ARCHITECTURE, vision=vision, embed_dim=16)
    write_canonical(tmp_path / "anchor", _untrained(other), other, {"layout": "open_clip"})
    report = run(inputs, tmp_path / "out", anchor=tmp_path / "anchor")
    assert {"residual", "disagreement"} <= {one.name for one in report.scores}


def _untrained(architecture: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return build_clip(architecture).state_dict()


def test_samples_that_one_score_finds_are_among_the_worst() -> None:
    """Among 1,000 of which 200 trusted ones say what is usual."""
    random = np.random.default_rng(0)
    values = random.standard_normal((1200, 3))
    values[:5, 1] = 9
    scored = scoring.judge(1000, (), values, 0.05)
    assert len(scored.worst) == 50
    assert set(range(5)) <= set(scored.worst.tolist())


def a_list(path: Path, folder: Path, places: list[int], **changed: Any) -> Path:
    dataset = open_pairs(folder)
    exclusions = Exclusions(
        dataset_sha256=changed.get("sha256", dataset.sha256),
        num_samples=changed.get("num_samples", len(dataset)),
        reason="a test",
        samples=tuple(LeftOut(index=one, key=changed.get("key", dataset.key(one))) for one in places),
    )
    path.write_bytes(dump_exclusions(exclusions))
    return path


def test_a_dataset_without_some_samples_counts_the_others_again(inputs: Path, tmp_path: Path) -> None:
    whole = open_pairs(inputs / "pairs")
    some = without(whole, read_exclusions(a_list(tmp_path / "list", inputs / "pairs", [0, 2, 59])))
    assert len(some) == 57
    assert [some.key(index) for index in (0, 1, 2)] == [whole.key(index) for index in (1, 3, 4)]
    assert some.read(0).caption == whole.read(1).caption
    assert some.files_sha256 == whole.sha256 != some.sha256
    assert some.excluded is not None
    assert some.excluded.num == 3


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"sha256": "0" * 64}, "exclusions_of_another_dataset"),
        ({"num_samples": 61}, "exclusions_of_another_dataset"),
        ({"key": "another"}, "exclusions_of_another_dataset"),
    ],
)
def test_a_list_for_another_dataset_is_refused(
    inputs: Path, tmp_path: Path, changed: dict[str, Any], code: str
) -> None:
    path = a_list(tmp_path / "list", inputs / "pairs", [3], **changed)
    with pytest.raises(OptionsRejected) as raised:
        without(open_pairs(inputs / "pairs"), read_exclusions(path))
    assert raised.value.code == code


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"kind": "exclusions", "kind": 1}', b"\xff"])
def test_a_file_that_is_not_a_list_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "list").write_bytes(content)
    with pytest.raises(OptionsRejected) as raised:
        read_exclusions(tmp_path / "list")
    assert raised.value.code == "exclusions_unreadable"


def test_a_list_that_names_everything_or_is_out_of_order_is_refused(inputs: Path, tmp_path: Path) -> None:
    path = a_list(tmp_path / "list", inputs / "pairs", list(range(60)))
    with pytest.raises(DatasetRejected) as raised:
        without(open_pairs(inputs / "pairs"), read_exclusions(path))
    assert raised.value.code == "everything_excluded"
    with pytest.raises(ValueError, match="order"):
        a_list(tmp_path / "list", inputs / "pairs", [3, 3])


def test_the_command_vets_and_sanitize_vets_on_its_way(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_labelled(tmp_path / "labelled", 12)
    (tmp_path / "vet.json").write_text('{"neighbours": 4, "batch_size": 32}')
    (tmp_path / "recipe.json").write_text('{"epochs": 1, "batch_size": 8, "learning_rate": 1e-3}')
    vetting = ["--vet-options", str(tmp_path / "vet.json"), "--seed", "3"]
    command = ["vet", str(inputs / "suspect"), "--pairs", str(inputs / "pairs"), *vetting]
    assert main([*command, "--out", str(tmp_path / "vetted")]) == 0
    assert "3 of 60 samples are set aside" in capsys.readouterr().out
    assert (tmp_path / "vetted/report.html").is_file()
    sanitize = [
        "sanitize", str(inputs / "suspect"), "--pairs", str(inputs / "pairs"), "--labelled",
        str(tmp_path / "labelled"), "--target", "dog", "--attack", "badnet", "--json", "--recipe",
        str(tmp_path / "recipe.json"),
    ]  # fmt: skip
    assert main([*sanitize, "--vet", *vetting, "--out", str(tmp_path / "cleaned")]) == 0
    report = load_json(capsys.readouterr().out)
    assert report.data[0].num_samples == 57
    assert report.data[0].sha256 == open_pairs(inputs / "pairs").sha256
    assert report.data[0].excluded is not None
    assert report.data[0].excluded.num == 3
    assert "vet set aside the worst 5 %" in report.data[0].excluded.reason
    assert any(one.startswith("3 pairs were left out by a list") for one in report.warnings)
    assert "left out of the" in (tmp_path / "cleaned/report.html").read_text()
    lists = [tmp_path / "vetted/excluded.json", tmp_path / "cleaned/vet/excluded.json"]
    assert lists[0].read_bytes() == lists[1].read_bytes()
    others = ["--exclude", str(lists[0]), "--pairs", str(inputs / "trusted")]
    assert main([*sanitize, *others, "--out", str(tmp_path / "other")]) == 3
    assert "exclusions_of_another_dataset" in capsys.readouterr().err
    assert main([*sanitize, "--anchor", "x", "--out", str(tmp_path / "other")]) == 2
    assert "--vet" in capsys.readouterr().err
