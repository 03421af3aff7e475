"""Nulls by lists of models on a hub: pinned, fetched once by several processes, and what was left out."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import open_clip.pretrained
import pytest
import safetensors.torch

from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.null_set import load_null
from sanitizer.__main__ import main
from sanitizer.checkpoints.model import build_clip
from sanitizer.cli import reference_hub
from sanitizer.cli.reference_lists import ReferenceList, read_list, shipped, write_list
from sanitizer.pipeline.nulls import NotObtained
from tests.fakes.hub import Hub, cut, send_json
from tests.fixtures.audited import ARCHITECTURE, changed, labels, pictures, write_model
from tests.numerics.test_scan import write_images

pytestmark = pytest.mark.slow
OPTIONS = {
    "detectors": ["collapse"],
    "num_images": 64,
    "num_held_out": 64,
    "vocabulary": False,
    "num_examples": 0,
    "collapse": {
        "families": [{"family": "patch", "budget": 0.25, "placement": "random"}],
        "restarts": 2,
        "steps": [1, 2],
        "images_per_step": 4,
    },
}


Weights = Callable[[int], bytes]
WIDE = -1
"""The number of a model of another architecture."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """Files of small models: the same bytes for the same number."""
    folder = tmp_path_factory.mktemp("models")
    base = write_model(folder / "base")

    @cache
    def made(number: int) -> bytes:
        if number == WIDE:
            model = build_clip(replace(ARCHITECTURE, embed_dim=32))
            return safetensors.torch.save(model.state_dict())
        return (changed(base, folder / str(number), number) / "model.safetensors").read_bytes()

    return made


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    """What each command is told but the list."""
    images = write_images(tmp_path / "images", pictures(130), labels(130))
    options = tmp_path / "options.json"
    options.write_text(json.dumps(OPTIONS))
    return ["--labelled", str(images), "--options", str(options), "--out", str(tmp_path / "null.json")]


def written(tmp_path: Path, *models: tuple[str, str], about: str = "Made by a test.") -> Path:
    """A list of sources and kin."""
    lines = ['name = "small ones"', f"about = {json.dumps(about)}"]
    for source, kin in models:
        lines += ["[[models]]", f"source = {json.dumps(source)}", f"kin = {json.dumps(kin)}"]
        lines += ["declared = { num_heads_vision = 4, num_heads_text = 2, quick_gelu = false }"]
    path = tmp_path / "list.toml"
    path.write_text("\n".join(lines))
    return path


def test_a_pinned_list_is_measured_once_by_two_processes_and_says_what_it_left_out(
    hub: Hub, weights: Weights, given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.add("lab/one", {"config.json": b"{}", "model.safetensors": weights(1), "model.bin": weights(9)})
    sweep = {
        f"s3B_lr{rate}/epoch_{epoch}.pt": weights(rate + epoch) for rate in (20, 40) for epoch in (9, 10)
    }
    hub.add("lab/sweep", sweep)
    hub.add("lab/same", {"model.safetensors": weights(1)})
    hub.add("lab/gone", {"model.safetensors": weights(3)})
    listed = written(
        tmp_path,
        ("hf://lab/one/model.*", "one"),
        ("hf://lab/sweep/s3B_*/epoch_*.pt", "two"),
        ("hf://lab/same/*.safetensors", "three"),
        ("hf://lab/gone/*.safetensors", "four"),
        ("hf://lab/absent/*.safetensors", "five"),
    )
    pinned = tmp_path / "pinned.toml"
    assert main(["null", "pin", str(listed), "--out", str(pinned)]) == 3
    assert "not pinned: hf://lab/absent/" in capsys.readouterr().out
    paths = [one.parts[2] for one in read_list(str(pinned)).models]
    assert paths[:3] == ["model.safetensors", "s3B_lr20/epoch_10.pt", "s3B_lr40/epoch_10.pt"]
    fetched = [path for path in hub.asked if path.startswith("/blobs/")]
    assert fetched == [], "pinning asks for names and digests"

    hub.add("lab/one", {"model.safetensors": weights(7)})
    hub.models["lab/gone"].clear()
    command = [sys.executable, "-m", "sanitizer", "null", "build", "--list", str(pinned), *given]
    both = [
        subprocess.Popen(command, stderr=subprocess.PIPE, env=os.environ | {"COLUMNS": "300"})
        for _ in range(2)
    ]
    reported = [process.communicate(timeout=400)[1].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0], reported
    fetched = [path.partition("?")[0] for path in hub.asked if path.startswith("/blobs/")]
    assert len(fetched) == len({*fetched}) == 3, "each model by one of them"
    null = load_null((tmp_path / "null.json").read_bytes())
    assert [one.base for one in null.models] == ["one", "two", "two"]
    assert (null.name, len(null.counted)) == ("small ones", 2), "kin count once"
    assert "3 of the list were left out" in null.about
    assert all("lab/gone" in text and "has the same weights as" in text for text in reported)

    hub.asked.clear()
    assert main(["null", "build", "--list", str(pinned), *given, "--each-run-counts"]) == 0
    assert not [path for path in hub.asked if path.startswith("/blobs/")], "what is kept is not fetched again"
    each = load_null((tmp_path / "null.json").read_bytes())
    assert (len(each.counted), [one.statistics for one in each.models]) == (
        3,
        [one.statistics for one in null.models],
    )
    assert "each count" in each.about


def test_other_bytes_and_another_architecture_are_left_out(
    hub: Hub, weights: Weights, given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.add("lab/one", {"model.safetensors": weights(1)})
    hub.add("lab/wide", {"model.safetensors": weights(WIDE)})
    hub.add("lab/other", {"model.safetensors": weights(3)})
    models = [(f"hf://lab/{name}/model.safetensors", name) for name in ("one", "wide", "other")]
    pinned = tmp_path / "pinned.toml"
    assert main(["null", "pin", str(written(tmp_path, *models)), "--out", str(pinned)]) == 0
    hub.models["lab/other"] = {
        commit: {"model.safetensors": weights(4)} for commit in hub.models["lab/other"]
    }
    assert main(["null", "build", "--list", str(pinned), *given]) == 0
    said = capsys.readouterr().err
    assert "its bytes are not those that were pinned" in " ".join(said.split())
    assert "has another architecture than" in " ".join(said.split())
    assert len(load_null((tmp_path / "null.json").read_bytes()).models) == 1


def test_a_file_that_the_hub_says_is_too_large_is_not_fetched(
    hub: Hub, weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("lab/one", {"model.safetensors": weights(1)})
    pinned = tmp_path / "pinned.toml"
    named = written(tmp_path, ("hf://lab/one/model.safetensors", "one"))
    assert main(["null", "pin", str(named), "--out", str(pinned)]) == 0
    (model,) = reference_hub.references(read_list(str(pinned)), lambda _: None, each_run_counts=False)
    monkeypatch.setattr(reference_hub, "MAX_BYTES", len(weights(1)) - 1)
    with pytest.raises(NotObtained, match="bytes, and at most"):
        model.obtain(tmp_path / "fetched")
    assert not list((tmp_path / "fetched").rglob("*.safetensors"))


def test_another_declaration_is_another_model_and_what_could_not_be_had_is_tried_again(
    hub: Hub, weights: Weights, given: list[str], tmp_path: Path
) -> None:
    names = {"wide": WIDE, "1": 1, "2": 2}  # the first is not of the architecture that most have
    for name, number in names.items():
        hub.add(f"lab/{name}", {"model.safetensors": weights(number)})
    models = [(f"hf://lab/{name}/model.safetensors", name) for name in names]
    pinned, null = tmp_path / "pinned.toml", tmp_path / "null.json"
    assert main(["null", "pin", str(written(tmp_path, *models)), "--out", str(pinned)]) == 0
    missing = hub.models.pop("lab/2")
    assert main(["null", "build", "--list", str(pinned), *given]) == 0
    before = load_null(null.read_bytes())
    assert len(before.models) == 1, "one of two architectures, the first of the list where they are as many"
    hub.models["lab/2"] = missing
    assert main(["null", "build", "--list", str(pinned), *given]) == 0
    after = load_null(null.read_bytes())
    assert [one.base for one in after.models] == ["1", "2"], "most have this architecture"

    pinned.write_text(pinned.read_text().replace("quick_gelu = false", "quick_gelu = true"))
    assert main(["null", "build", "--list", str(pinned), *given]) == 0
    other = load_null(null.read_bytes())
    assert other.architecture["model_cfg"]["quick_gelu"]
    assert [one.statistics for one in other.models] != [one.statistics for one in after.models]
    assert null.stat().st_mode & 0o777 == (tmp_path / "list.toml").stat().st_mode & 0o777


def test_a_hub_that_names_another_commit_or_digest_than_the_list_is_not_believed(
    hub: Hub, weights: Weights, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commit = hub.add("lab/one", {"model.safetensors": weights(1)})
    source = f"hf://lab/one@{commit}/model.safetensors"
    listed, pinned = written(tmp_path, (source, "one")), tmp_path / "pinned.toml"
    listed.write_text(f'{listed.read_text()}\nsha256 = "{"0" * 64}"')
    assert main(["null", "pin", str(listed), "--out", str(pinned)]) == 0, "it is pinned"
    listed = written(tmp_path, ("hf://lab/one/model.safetensors", "one"))
    listed.write_text(f'{listed.read_text()}\nsha256 = "{"0" * 64}"')
    assert main(["null", "pin", str(listed), "--out", str(pinned)]) == 3
    assert "another SHA-256" in " ".join(capsys.readouterr().out.split())
    described = hub.description("lab/one", "f" * 40, hub.models["lab/one"][commit])
    hub.answers[f"/api/models/lab/one/revision/{commit}"] = lambda request: send_json(request, described)
    assert main(["null", "pin", str(written(tmp_path, (source, "one"))), "--out", str(pinned)]) == 3
    assert "names the commit ffff" in " ".join(capsys.readouterr().out.split())


def test_a_list_that_is_not_pinned_or_of_which_nothing_is_left_makes_no_null(
    hub: Hub, weights: Weights, given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.add("lab/one", {"model.safetensors": weights(1)})
    listed = written(tmp_path, ("hf://lab/one/model.safetensors", "one"))
    assert main(["null", "build", "--list", str(listed), *given]) == 3
    assert "null pin" in capsys.readouterr().err
    assert main(["null", "pin", str(listed), "--out", str(tmp_path / "pinned.toml")]) == 0
    hub.answers = {path: cut(b"half", 100) for path in (f"/blobs/{digest}" for digest in digests(tmp_path))}
    assert main(["null", "build", "--list", str(tmp_path / "pinned.toml"), *given]) == 3
    assert "left out" in capsys.readouterr().err
    assert not (tmp_path / "null.json").exists()


def digests(tmp_path: Path) -> list[str]:
    return [str(one.sha256) for one in read_list(str(tmp_path / "pinned.toml")).models]


@pytest.mark.parametrize(
    "text",
    [
        "name = 1",
        'name = "a"\nabout = ""\nmodels = []',
        'name = "a"\nabout = ""\n[[models]]\nsource = "https://host/file"\nkin = "a"',
        'name = "a"\nabout = ""\n[[models]]\nsource = "hf://a/b/../c"\nkin = "a"',
        'name = "a"\nabout = ""\n[[models]]\nsource = "hf://a/b/c"\nkin = "a"\nsha256 = "12"',
        'name = "a"\nabout = ""\n[[models]]\nsource = "hf://a/b/c"\nkin = "a"\ndate = 2026-12-01',
        "[[[",
    ],
)
def test_a_list_that_cannot_be_read_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "list.toml"
    path.write_text(text)
    with pytest.raises(OptionsRejected) as refused:
        read_list(str(path))
    assert refused.value.code == "null_list_unreadable"


def test_the_lists_that_ship_are_those_of_open_clip_and_can_be_written_again(tmp_path: Path) -> None:
    assert len(shipped()) == 9
    for name in shipped():
        one: ReferenceList = read_list(name)
        (tmp_path / "again.toml").write_text(write_list(one))
        assert read_list(str(tmp_path / "again.toml")) == one
        repos = [model.parts[0] for model in one.models]
        if name.endswith("-sweep"):
            assert {*repos} == {"laion/scaling-laws-for-comparison"}
            continue
        quick = name.endswith("-quickgelu")
        assert all(model.declared.quick_gelu is quick for model in one.models)
        tag = (
            name.removesuffix("-quickgelu")
            .replace("vit-", "ViT-")
            .replace("-b-", "-B-")
            .replace("-l-", "-L-")
        )
        known = open_clip.pretrained._PRETRAINED[tag].values()
        expected = [
            weights["hf_hub"].rstrip("/")
            for weights in known
            if bool(weights.get("quick_gelu")) is quick and weights["mean"][0] != 0.5
        ]
        assert [repo for repo in repos if repo != "laion/scaling-laws-openclip"] == expected
