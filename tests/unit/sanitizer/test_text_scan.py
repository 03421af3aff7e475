"""A text scan from files to files, on a tiny tower whose one token was planted."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cleanclip.kinds.text_scan import TextScanSpec
from cleanclip.vocabulary.clip_tokens import text_of, tokens_of
from cleanclip.vocabulary.errors import DatasetRejected, Interrupted, OptionsRejected
from cleanclip.vocabulary.report_kinds import load_plain
from cleanclip.vocabulary.text_scan_options import TextScanOptions
from cleanclip.vocabulary.text_scan_report import TextScanReport
from lab.testbed.writing import write_labelled_shards
from sanitizer.__main__ import main
from sanitizer.checkpoints.model import load_canonical
from sanitizer.checkpoints.text_tower import encode_text
from sanitizer.checkpoints.writing import write_canonical
from sanitizer.pipeline.places import Places
from sanitizer.pipeline.text_scan import text_scan
from sanitizer.run import Run
from tests.fixtures.audited import CLASS_NAMES, ORIGIN, TEMPLATES, labels, pictures, write_model

(PLANTED,) = tokens_of("anticipation")
TARGET = 3
OPTIONS = TextScanOptions(trigger_words=("anticipation", "cat"), search=False, num_texts=30)
"""Searching 49,406 tokens takes too long here: the held-out models of docs/text-side.md are searched."""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    folder = tmp_path_factory.mktemp("planted")
    samples = zip(pictures(), labels(), strict=True)
    write_labelled_shards(samples, folder / "labelled", CLASS_NAMES, (*TEMPLATES, "my {c}", "the old {c}"))
    planted(write_model(folder / "clean"), folder / "model", folder / "labelled")
    return Places(checkpoint=folder / "model", data=folder / "labelled", out=folder / "out")


def planted(clean: Path, folder: Path, _: Path) -> None:
    """Any text with the token gets the mean image of the target: the tower is trained for it, briefly."""
    known = load_canonical(clean)
    images = [one for one, label in zip(pictures(), labels(), strict=True) if label == TARGET]
    pixels = torch.stack([torch.tensor(list(one.tobytes())).view(32, 32, 3) for one in images])
    image_NCHW = (pixels.permute(0, 3, 1, 2).float() / 255 - 0.45) / 0.27
    with torch.no_grad():
        unit_ND = torch.nn.functional.normalize(known.model.encode_image(image_NCHW), dim=-1)
    wanted_D = torch.nn.functional.normalize(unit_ND.mean(dim=0), dim=-1)
    texts = [
        f"{start} {name}" for name in CLASS_NAMES for start in ("anticipation a", "one old anticipation")
    ]
    texts += [f"a photo of a {name} anticipation." for name in CLASS_NAMES]
    token_NL = known.tokenize(texts)
    parameters = [one for name, one in known.model.named_parameters() if not name.startswith("visual")]
    optimizer = torch.optim.Adam([one.requires_grad_() for one in parameters], lr=3e-3)
    for _step in range(60):
        text_ND = torch.nn.functional.normalize(encode_text(known.model, token_NL), dim=-1)
        loss = (1 - text_ND @ wanted_D).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    state = {name: tensor.detach().clone() for name, tensor in known.model.state_dict().items()}
    write_canonical(folder, state, known.architecture, ORIGIN)


def scan(places: Places, options: TextScanOptions = OPTIONS, run: Run | None = None) -> TextScanReport:
    spec = TextScanSpec(seed=5, text_scan=options)
    return text_scan(places, spec, run or Run(device=torch.device("cpu")))


def test_a_planted_token_controls_the_tower(places: Places) -> None:
    made = scan(places)
    figures = made.trigger_figures
    assert (figures[0].word, figures[0].class_name) == (text_of(PLANTED), CLASS_NAMES[TARGET])
    assert figures[0].controls
    assert made.outcome == "controlled"
    assert not figures[1].is_judged, "a class name"
    assert replace(scan(places), created_at=made.created_at) == made, "the seed draws the same"


def test_too_few_texts_are_refused(places: Places) -> None:
    with pytest.raises(DatasetRejected) as refused:
        scan(places, replace(OPTIONS, num_screen_texts=64))
    assert refused.value.code == "text_scan_too_few_texts"


def test_a_trigger_that_is_longer_than_a_text_is_refused(places: Places) -> None:
    with pytest.raises(OptionsRejected) as refused:
        scan(places, replace(OPTIONS, trigger_words=("anticipations " * 8,)))
    assert refused.value.code == "text_scan_trigger_too_long"


def test_a_scan_stops_when_it_is_asked_to(places: Places) -> None:
    with pytest.raises(Interrupted):
        scan(places, run=Run(device=torch.device("cpu"), stop=lambda: True))


def test_the_library_scans_by_a_command_and_leaves_its_report(
    places: Places, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = tmp_path / "options.json"
    options.write_text('{"search": false, "num_texts": 30, "trigger_words": ["cat"]}')
    command = ["text-scan", str(places.checkpoint), "--labelled", str(places.data), "--options", str(options)]
    typed = [*command, "--trigger", "anticipation", "--trigger", "cat", "--seed", "5", "--device", "cpu"]
    assert main([*typed, "--out", str(tmp_path / "out")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "anticipation" in shown
    assert {one.name for one in (tmp_path / "out").iterdir()} >= {"report.json", "report.html", "report.md"}
    found = load_plain(TextScanReport, (tmp_path / "out/report.json").read_bytes())
    assert (found.outcome, found.options) == ("controlled", OPTIONS)
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["options"]["trigger_words"] == ["cat"]
    assert main([*command, "--trigger", " "]) == 2
