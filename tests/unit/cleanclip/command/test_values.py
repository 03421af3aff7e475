"""Values as they are typed, numbers as they are shown."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from cleanclip.command.formats import size, span, table
from cleanclip.command.session import show_transfer
from cleanclip.command.values import (
    attack,
    declared,
    json_object,
    pairs,
    readable_file,
    text_pairs,
    trigger,
    value_of,
)
from cleanclip.errors import Unreadable
from cleanclip.transfer import TransferProgress
from cleanclip.vocabulary.progress import rate_words


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("12", 12),
        ("0.5", 0.5),
        ("null", None),
        ("[1, 2]", [1, 2]),
        ("0.5,0.25,0.25", [0.5, 0.25, 0.25]),
        ("avg", "avg"),
        ("a,b", "a,b"),
        ('"12"', "12"),
        ("", ""),
    ],
)
def test_a_value_is_what_it_looks_like(text: str, value: Any) -> None:
    assert value_of(text) == value


def test_an_equals_sign_in_a_value_is_kept() -> None:
    assert text_pairs(["a=b=c"], "--metadata") == {"a": "b=c"}
    assert pairs(["a=1", "b=x"], "--set") == {"a": 1, "b": "x"}


@pytest.mark.parametrize("text", ["a", "=b", " =b"])
def test_what_is_no_pair_is_a_usage_error_that_names_the_option(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="--set"):
        pairs([text], "--set")


def test_an_attack_is_a_name_with_options() -> None:
    assert attack("badnet") == {"attack": "badnet"}
    assert attack("wanet:control_points=null,strength=1") == {
        "attack": "wanet",
        "control_points": None,
        "strength": 1,
    }
    with pytest.raises(typer.BadParameter):
        attack(":size=1")


@pytest.mark.parametrize("words", ["123", "true", "null", "1e5", "0.5", "[1, 2]", "Watermarked"])
def test_a_triggers_words_stay_words(words: str) -> None:
    given = attack(f"text_trigger:text={words},size=1,target={words}")
    assert given == {"attack": "text_trigger", "text": words, "size": 1, "target": words}
    assert attack('text_trigger:text="123"')["text"] == "123"


@pytest.mark.parametrize("name", ["mark.png", "my,mark.png", "a,b,c", ",", "a=b,c.png"])
def test_a_comma_in_a_files_name_is_part_of_it(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"image")
    patch = {"attack": "custom_patch", "image": base64.b64encode(b"image").decode()}
    assert trigger(f"{tmp_path / name}") == patch
    assert trigger(f"{tmp_path / name},size=0.1,at=[0,1]") == patch | {"size": 0.1, "at": [0, 1]}


def test_a_file_without_a_picture_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    with pytest.raises(typer.BadParameter, match="is empty"):
        trigger(f"{tmp_path / 'empty.png'},size=0.1")
    with pytest.raises(Unreadable, match="cannot be read"):
        trigger(str(tmp_path))


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ("openai/clip-vit-base-patch32", "give hf://openai/clip-vit-base-patch32"),
        ("hf://openai/clip-vit-base-patch32", "download it first"),
        ("https://example.org/clip.pt", "download it first"),
        ("s3://models/clip.pt", "download it first"),
    ],
)
def test_a_file_that_is_elsewhere_is_named_with_how_to_fetch_it(given: str, remedy: str) -> None:
    with pytest.raises(Unreadable, match=re.escape(remedy)):
        readable_file(Path(given))


def test_a_file_that_is_missing_here_is_said_to_be_so() -> None:
    with pytest.raises(Unreadable, match=r"No such file or directory\.$"):
        readable_file(Path("/nowhere/clip.pt"))


def test_a_file_of_options_with_a_key_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "policy.json").write_text('{"asr_at_most": 0.05, "asr_at_most": 0.9}')
    with pytest.raises(Unreadable, match="the key 'asr_at_most' occurs twice in one object"):
        json_object(tmp_path / "policy.json", "--policy")


def test_numbers_are_shown_short() -> None:
    assert [size(n) for n in (0, 999, 1500, 2.5e9, 3e15)] == ["0 B", "999 B", "1.5 kB", "2.5 GB", "3000.0 TB"]
    assert [span(s) for s in (0, 42, 725, 12000)] == ["0:00", "0:42", "12:05", "3:20:00"]
    assert rate_words(1234.5, "pairs") == "1,234 pairs/s"
    assert rate_words(12.345, "images") == "12.3 images/s"
    assert rate_words(0.0456, "images") == "0.0456 images/s"
    assert rate_words(4.66e-05, "images") == "under 0.01 images/s"


@pytest.mark.parametrize(
    ("bytes_per_s", "shown"), [(46.6, "47 B/s"), (4.66e4, "46.6 kB/s"), (2e8, "200.0 MB/s")]
)
def test_the_rate_of_a_transfer_is_shown_in_a_unit_that_fits(bytes_per_s: float, shown: str) -> None:
    class Line:
        def show(self, _name: str, text: str) -> None:
            self.text = text

    line = Line()
    done = TransferProgress(done_bytes=1, total_bytes=9, rate_bytes_per_s=bytes_per_s, eta_s=None)
    show_transfer(line, "clip.pt", done)  # type: ignore[arg-type]
    assert line.text.endswith(f"  {shown}")


def test_columns_are_aligned() -> None:
    assert table(("A", "BB"), [("xxx", 1), ("y", 22)]) == "A    BB\nxxx  1\ny    22"


def test_weights_of_a_job_are_declared_as_the_config_beside_them_says(tmp_path: Path) -> None:
    weights, config = tmp_path / "model.safetensors", tmp_path / "config.json"
    assert declared(None, weights) == {}
    config.write_text(
        json.dumps({"checkpoint": {"declared": {"quick_gelu": False, "num_heads_vision": 8, "x": None}}})
    )
    assert declared(None, weights) == {"quick_gelu": False, "num_heads_vision": 8}
    assert declared(["quick_gelu=true"], weights) == {"quick_gelu": True, "num_heads_vision": 8}
    assert declared(None, tmp_path / "other.safetensors") == {}, "only the name that a job gives"
    for text in ("{}", "[1]", "{", '{"checkpoint": {"declared": 3}}', "[" * 100_000):
        config.write_text(text)
        assert declared(None, weights) == {}
