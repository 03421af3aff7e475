"""`python -m sanitizer` for a person: results on stdout, sentences on stderr, documented exit codes."""

import json
from dataclasses import replace

import pytest

from cleanclip.evidence import scans
from cleanclip.vocabulary.attack_options import SUITES, BadNetOptions, SIGOptions, kind_of
from cleanclip.vocabulary.errors import OptionsRejected
from cleanclip.vocabulary.found_attacks import (
    BOTH_SUITES,
    KINDS_FOUND,
    TARGET_OF_SCAN,
    audit_with,
    scans_first,
    section_of,
)
from cleanclip.vocabulary.recipe import AuditOptions, parse, to_json
from cleanclip.vocabulary.recommended import with_recommended
from cleanclip.vocabulary.report import load_json
from cleanclip.vocabulary.scan_report import dump_scan
from cleanclip.vocabulary.uar_recipe import UARRecipe
from sanitizer.__main__ import main
from sanitizer.audits.statistics import wilson
from sanitizer.cli.arguments import UsageError, audit_from, recipe_from, section_from
from sanitizer.cli.canonical import model_in
from sanitizer.cli.command_line import parser
from sanitizer.rendering.documents import pages
from tests.fixtures.audited import write_model
from tests.fixtures.scans import scan_and_null
from tests.fixtures.shards import make_labelled, make_pairs
from tests.integration.worker.stand_in_child import CLASSES, WAVE
from tools.reference import commands


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    write_model(folder / "checkpoint")
    (folder / "declared.json").write_text('{"num_heads_text": 2, "num_heads_vision": 4}')
    (folder / "recipe.json").write_text('{"epochs": 5, "batch_size": 8, "learning_rate": 1e-3}')
    make_pairs(folder / "pairs", 16)
    make_labelled(folder / "labelled", 12)
    return folder


def test_inspect_reads_an_upload_and_tells_what_it_is(inputs, capsys):
    upload = inputs / "checkpoint/model.safetensors"
    arguments = ["inspect", str(upload), "--declare", str(inputs / "declared.json")]
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["layout"] == "open_clip"
    assert main(arguments) == 0
    assert found["architecture_name"].split()[0] in capsys.readouterr().out


def test_inspect_refuses_a_file_that_is_no_checkpoint_in_one_sentence(inputs, capsys):
    assert main(["inspect", str(inputs / "recipe.json")]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "unknown_format" in captured.err
    assert "Traceback" not in captured.err


def test_a_name_with_an_emojis_code_is_printed_as_it_is(inputs, tmp_path, capsys):
    declared = str(tmp_path / "wave:x:6:0.275")
    assert main(["inspect", str(inputs / "checkpoint/model.safetensors"), "--declare", declared]) == 2
    assert "wave:x:6:0.275" in "".join(capsys.readouterr().err.split())


def test_a_scan_prints_the_names_of_its_patterns_as_they_are(inputs, tmp_path, capsys, monkeypatch):
    report, _ = scan_and_null()
    (first,) = report.hypotheses
    found = replace(
        report, hypotheses=(replace(first, trigger=replace(first.trigger, family=WAVE, pattern=None)),)
    )
    monkeypatch.setattr("sanitizer.pipeline.scan.scan", lambda *_, **__: found)
    typed = ["scan", str(inputs / "checkpoint"), "--labelled", str(inputs / "labelled")]
    assert main([*typed, "--declare", str(inputs / "declared.json")]) == 0
    shown = "".join(
        line.split("│")[1].strip() for line in capsys.readouterr().out.splitlines() if "│" in line
    )
    assert WAVE.name == "wave:x:6:0.196"
    assert WAVE.name in shown


def test_debug_shows_where_an_error_came_from(inputs, capsys):
    assert main(["inspect", str(inputs / "recipe.json"), "--debug"]) == 3
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("inspect", ()),
        ("audit", ("--target", "dog")),
        ("scan", ()),
        ("sanitize", ("--target", "dog", "--pairs", "{inputs}/pairs", "--out", "{out}")),
        ("vet", ("--pairs", "{inputs}/pairs", "--out", "{out}")),
        ("vet", ("--pairs", "{inputs}/pairs", "--out", "{out}", "--anchor", "{nowhere}")),
        ("scan", ("--anchor", "{nowhere}")),
        ("null build", ("--anchor", "{nowhere}", "--name", "one", "--out", "{out}")),
    ],
)
def test_a_checkpoint_that_is_not_there_is_refused_with_its_path(inputs, tmp_path, capsys, command, extra):
    nowhere = str(tmp_path / "nowhere.pt")
    checkpoint = str(inputs / "checkpoint") if "--anchor" in extra else nowhere
    typed = [one.format(inputs=inputs, out=tmp_path / "out", nowhere=nowhere) for one in extra]
    labelled = ["--labelled", str(inputs / "labelled")] if command not in ("inspect", "vet") else []
    assert main([*command.split(), checkpoint, *labelled, *typed]) == 3
    reported = " ".join(capsys.readouterr().err.split())
    assert "nowhere.pt" in reported
    assert "(not_found at " in reported


def test_the_scan_of_another_model_is_refused_before_anything_is_measured(inputs, tmp_path, capsys):
    report, _ = scan_and_null(with_null=False)
    (tmp_path / "scan.json").write_bytes(dump_scan(report))
    pairs, out = str(inputs / "pairs"), tmp_path / "out"
    for command in (["audit"], ["sanitize", "--pairs", pairs], ["sanitize", "--pairs", pairs, "--vet"]):
        typed = [*command, str(inputs / "checkpoint"), "--labelled", str(inputs / "labelled")]
        found = ["--target", "dog", "--attacks-from-scan", str(tmp_path / "scan.json"), "--out", str(out)]
        assert main([*typed, *found]) == 3
        reported = " ".join(capsys.readouterr().err.split())
        assert "The scan is of another model" in reported
        assert reported.endswith("(scan_of_another_model at audit.attacks_from_scan)")
        assert not [*out.rglob("*.json")]


def test_validate_counts_the_samples(inputs, capsys):
    assert main(["validate", str(inputs / "pairs"), "--kind", "pairs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_samples"] == 16
    assert main(["validate", str(inputs / "labelled"), "--kind", "labelled"]) == 0
    assert "classes" in capsys.readouterr().out
    assert main(["validate", str(inputs / "nowhere"), "--kind", "pairs"]) == 3


def test_audit_prints_a_table_or_the_report(inputs, capsys):
    arguments = [
        "audit",
        str(inputs / "checkpoint"),
        "--labelled",
        str(inputs / "labelled"),
        "--target",
        "dog",
    ]
    assert main([*arguments, "--attack", "badnet", "--seed", "4"]) == 0
    table = capsys.readouterr().out
    assert "ASR badnet" in table
    assert "Verdict: Nothing found with the 1 trigger tested: inconclusive." in " ".join(table.split())
    assert main([*arguments, "--attack", "badnet", "--attack", "sig", "--json"]) == 0
    report = load_json(capsys.readouterr().out)
    assert [attack.name for attack in report.before.attacks] == ["badnet", "sig"]
    assert main([*arguments, "--suite", "structured", "--json"]) == 0
    report = load_json(capsys.readouterr().out)
    assert [attack.name for attack in report.before.attacks] == [
        "badnet-stripes",
        "blended-stripes",
        "blended-triangles",
        "text_trigger",
    ]


def test_a_refusal_names_the_attack_that_is_meant(inputs, tmp_path, capsys):
    attacks = [{"attack": "sig"}, {"attack": "custom_patch", "image": "AAAA"}]
    (tmp_path / "audit.json").write_text(json.dumps({"target": "dog", "attacks": attacks}))
    sets = ("--labelled", str(inputs / "labelled"), "--audit", str(tmp_path / "audit.json"))
    assert main(["audit", str(inputs / "checkpoint"), *sets]) == 3
    said = " ".join(capsys.readouterr().err.split())
    assert said.endswith("(trigger_image_unreadable at audit.attacks.1)")


def test_sanitize_takes_a_recipe_file_changed_by_options_and_an_uninspected_upload(inputs, tmp_path, capsys):
    code = main(
        [
            *("sanitize", str(inputs / "checkpoint/model.safetensors")),
            *("--declare", str(inputs / "declared.json")),
            *("--pairs", str(inputs / "pairs"), "--labelled", str(inputs / "labelled")),
            *("--target", "dog", "--attack", "badnet", "--seed", "2"),
            *("--recipe", str(inputs / "recipe.json"), "--epochs", "1", "--lambda2", "0.5"),
            *("--out", str(tmp_path / "out"), "--layout", "as_uploaded", "--json"),
        ]
    )
    assert code == 0
    report = load_json(capsys.readouterr().out)
    assert (report.recipe.epochs, report.recipe.lambda2, report.recipe.learning_rate) == (1, 0.5, 1e-3)
    assert report.seed == 2
    assert (tmp_path / "out/model.safetensors").is_file()
    assert (tmp_path / "out/as_uploaded.safetensors").is_file()


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        (["--target", "dog", "--epochs", "0"], "epochs"),
        (["--target", "dog", "--lambda1", "0", "--lambda2", "0"], "nothing to train on"),
        (["--target", "dog", "--recipe", "/nowhere.json"], "cannot be read as JSON"),
        (["--target", "dog", "--suite", "paper", "--attack", "sig"], "not both"),
        (["--no-scan"], "--target"),
    ],
)
def test_options_that_make_no_sense_are_told_in_a_sentence(inputs, tmp_path, capsys, extra, sentence):
    code = main(
        [
            *("sanitize", str(inputs / "checkpoint"), "--out", str(tmp_path / "out")),
            *("--pairs", str(inputs / "pairs"), "--labelled", str(inputs / "labelled")),
            *extra,
        ]
    )
    assert code == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


PAR = ("--target", "dog", "--method", "par")


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        ((*PAR, "--trained-on", "pairs"), "par.trained_on: there is no such option; the options are "),
        (
            ("--target", "dog", "--recipe", "{recipe}"),
            "par.threshold: Input should be less than or equal to 4.",
        ),
        (
            ("--audit", "{audit}"),
            "attacks.0.sig.colour: there is no such option; the options are target, attack, amplitude,",
        ),
        (
            ("--target", "dog", "--policy", "{policy}"),
            "asr: there is no such option; the options are asr_at_most,",
        ),
        (
            ("--target", "dog", "--recipe", "{recipe}", "--method", "uar"),
            "recipe.json names par and --method",
        ),
    ],
)
def test_wrong_options_are_told_with_what_there_is(inputs, tmp_path, capsys, extra, sentence):
    contents = {
        "recipe": '{"method": "par", "threshold": 5}',
        "audit": '{"target": "dog", "attacks": [{"attack": "sig", "colour": 1}]}',
        "policy": '{"asr": 0.1}',
    }
    files = {name: tmp_path / f"{name}.json" for name in contents}
    for name, content in contents.items():
        files[name].write_text(content)
    data = ("--pairs", str(inputs / "pairs"), "--labelled", str(inputs / "labelled"))
    options = [one.format(**files) for one in extra]
    assert main(["sanitize", str(inputs / "checkpoint"), "--out", str(tmp_path), *data, *options]) == 2
    # A long path is wrapped in the middle of a word.
    assert "".join(sentence.split()) in "".join(capsys.readouterr().err.split())


def test_a_file_of_options_with_a_key_twice_is_refused(inputs, tmp_path, capsys):
    (tmp_path / "policy.json").write_text('{"asr_at_most": 0.05, "asr_at_most": 0.9}')
    typed = ["audit", str(inputs / "checkpoint"), "--labelled", str(inputs / "labelled"), "--target", "dog"]
    assert main([*typed, "--policy", str(tmp_path / "policy.json"), "--out", str(tmp_path / "out")]) == 2
    assert "occurs twice in one object" in capsys.readouterr().err


def options_of(*typed):
    return audit_from(parser().parse_args(["audit", "x", "--labelled", "y", *typed]))


def test_an_audit_file_is_changed_by_what_is_typed(tmp_path):
    (tmp_path / "audit.json").write_text('{"target": "apple", "gate": 0.4, "attacks": [{"attack": "sig"}]}')
    file = ("--audit", str(tmp_path / "audit.json"))
    assert options_of(*file).attacks == (SIGOptions(),)
    changed = options_of(*file, "--target", "dog", "--attack", "badnet")
    assert (changed.target, changed.gate, changed.attacks) == ("dog", 0.4, (BadNetOptions(),))
    assert options_of(*file, "--suite", "structured").attacks == SUITES["structured"]


def test_every_suite_and_every_attack_but_those_with_a_picture_can_be_typed(capsys):
    for suite, attacks in SUITES.items():
        assert options_of("--target", "dog", "--suite", suite).attacks == attacks
    names = ("badnet", "blended", "wanet", "sig", "label_consistent", "text_trigger")
    typed = options_of("--target", "dog", *(part for name in names for part in ("--attack", name)))
    assert tuple(attack.attack for attack in typed.attacks) == names
    with pytest.raises(SystemExit):
        options_of("--target", "dog", "--attack", "custom_patch")
    assert "text_trigger" in capsys.readouterr().err


def test_of_two_targets_neither_wins(capsys):
    with pytest.raises(SystemExit):
        options_of("--target", "dog", "--target", "cat")
    assert "--target is given twice" in capsys.readouterr().err


@pytest.mark.parametrize("seed", ["-1", "x", str(2**31)])
def test_a_seed_out_of_bounds_is_a_usage_error(inputs, capsys, seed):
    with pytest.raises(SystemExit) as caught:
        main(["audit", "x", "--labelled", "y", "--target", "z", "--seed", seed])
    assert caught.value.code == 2
    assert "whole number" in capsys.readouterr().err


def test_help_documents_the_exit_codes(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert all(f"  {code} " in text for code in (0, 1, 2, 3, 75))


@pytest.mark.parametrize("program", ["python -m sanitizer", "cleanclip"])
def test_help_names_the_attacks_that_an_audit_tries_unless_told(program):
    reported = [
        option.meaning
        for command in commands.everything()[program]
        for option in command.options
        if option.names.startswith("--attack ")
    ]
    tried = ", ".join(kind_of(attack) for attack in parse(AuditOptions, {"target": "x"}).attacks)
    assert len(reported) == 2
    for meaning in reported:
        assert meaning.rstrip(".").endswith(f"efault: {tried}")


def test_a_bug_is_one_line_and_exit_code_1(inputs, capsys, monkeypatch):
    def broken(*_, **__):
        raise KeyError("gone")

    monkeypatch.setattr("sanitizer.cli.commands.inspect", broken)
    assert main(["inspect", str(inputs / "recipe.json")]) == 1
    captured = capsys.readouterr()
    assert "KeyError" in captured.err
    assert "Traceback" not in captured.err


def test_an_audit_takes_what_a_scan_found_beside_what_is_named(tmp_path):
    report, _ = scan_and_null(with_null=False)
    path = tmp_path / "report.json"
    path.write_bytes(dump_scan(report))
    alone = options_of("--attacks-from-scan", str(path))
    assert alone.attacks == report.attacks()
    assert alone.target == report.hypotheses[0].target
    beside = options_of("--attacks-from-scan", str(path), "--suite", "structured", "--target", "other")
    assert beside.attacks == (*SUITES["structured"], *report.attacks())
    assert beside.target == "other"
    path.write_text("{}")
    with pytest.raises(UsageError, match="cannot be read as the report of a scan"):
        options_of("--attacks-from-scan", str(path))


def test_a_named_attack_that_the_scan_found_as_well_counts_as_named(tmp_path):
    report, _ = scan_and_null(with_null=False)
    (first,) = report.hypotheses
    wider = replace(first.trigger, family=replace(first.trigger.family, budget=0.5))
    report = replace(report, hypotheses=(first, replace(first, trigger=wider)))
    (tmp_path / "scan.json").write_bytes(dump_scan(report))
    named = {"target": "dog", "attacks": [{"attack": "sig"}, to_json(report.attacks()[0])]}
    (tmp_path / "audit.json").write_text(json.dumps(named))
    typed = ["--audit", str(tmp_path / "audit.json"), "--attacks-from-scan", str(tmp_path / "scan.json")]
    arguments = parser().parse_args(["audit", "checkpoint", "--labelled", "labelled", *typed])
    section = section_from(arguments, audit_from(arguments))
    assert section is not None
    assert section.num_known == 2
    works, controls = wilson(130, 170), wilson(165, 170)
    assert [section.judges(attack, works, 0.8) for attack in range(3)] == [True, True, False]
    assert section.judges(2, controls, 0.8), "a found pattern that controls the model is judged"


def test_a_cleaning_scans_first_where_nothing_of_a_trigger_is_named():
    assert scans_first(None, None, (), None)
    assert not scans_first(None, "banana", (), None)
    assert not scans_first(None, None, ("badnet",), None)
    assert not scans_first(False, None)
    assert scans_first(True, "banana")


def test_what_a_scan_found_gives_the_target_that_is_missing():
    report, _ = scan_and_null(with_null=False)
    ordered = AuditOptions(target=TARGET_OF_SCAN, attacks=BOTH_SUITES)
    found = audit_with(ordered, BOTH_SUITES, report, CLASSES)
    assert found.attacks == (*BOTH_SUITES, *report.attacks())
    assert found.target == report.hypotheses[0].target
    named = audit_with(replace(ordered, target="other"), BOTH_SUITES, report, CLASSES)
    assert named.target == "other"
    with pytest.raises(OptionsRejected, match="leads to a class of the labelled dataset"):
        audit_with(ordered, BOTH_SUITES, report, ["zebra"])
    [first] = report.hypotheses
    warp = next(one for one in report.options.families if one.family == "warp")
    warped = replace(first, trigger=replace(first.trigger, family=warp, pattern=None))  # no attack is like it
    without = audit_with(ordered, BOTH_SUITES, replace(report, hypotheses=(warped,)), CLASSES)
    assert (without.target, without.attacks) == (found.target, BOTH_SUITES)


def test_the_section_of_a_scan_that_looked_at_edited_images_says_so() -> None:
    report, _ = scan_and_null(with_null=False)
    looked_for = replace(report, options=replace(report.options, detectors=("collapse", "residual")))
    section = section_of(looked_for, report_sha256="0" * 64, attacks=(), num_known=0)
    assert section.sentence.startswith("The order names no triggers of its own; ")
    for attacks, says in (
        (BOTH_SUITES[:2], "names 2 triggers of its own; "),
        (BOTH_SUITES, "names no trigger beyond both suites (9 triggers), which were tried; "),
    ):
        reported = section_of(looked_for, report_sha256="0" * 64, attacks=attacks, num_known=len(attacks))
        assert says in reported.sentence
    assert section.families[-1] == "edits"
    assert "and other triggers that depend on what an image shows, were not looked for" in section.sentence


def test_a_wave_that_leads_images_to_one_class_is_shown_checked_and_an_attack() -> None:
    report, _ = scan_and_null(with_null=False)
    wave = SIGOptions(amplitude=WAVE.strength, frequency=6, target="apple")
    [first] = report.hypotheses
    trigger = replace(first.trigger, family=WAVE, pattern=None)
    reported = replace(report, hypotheses=(replace(first, detector="edits", trigger=trigger),))
    assert list(scans.check(reported)) == []
    assert all(b"wave:x:6:0.196" in page for page in pages(reported).values())
    audit = audit_with(AuditOptions(target="apple", attacks=()), (), reported, CLASSES)
    assert audit.attacks == (wave,)
    assert "sig" in KINDS_FOUND
    section = section_of(reported, report_sha256="0" * 64, attacks=audit.attacks, num_known=0)
    assert section.found[0].attack == 0


def test_options_that_are_not_given_are_recommended_for_the_model_as_in_the_service(inputs):
    model = model_in(inputs / "checkpoint")
    assert model is not None
    assert model[1] == "small"
    typed = ["sanitize", "x", "--pairs", "p", "--labelled", "l", "--target", "t", "--out", "o"]
    recipe, given = recipe_from(parser().parse_args([*typed, "--method", "uar", "--batch-size", "32"]))
    filled = with_recommended(recipe, given, model)
    assert isinstance(filled, UARRecipe)
    assert (filled.batch_size, filled.learning_rate) == (32, 5e-4)
    defaults, given = recipe_from(parser().parse_args([*typed, "--method", "uar", "--recipe", "defaults"]))
    assert with_recommended(defaults, given, model) == UARRecipe()
