"""An attack that a scan found is a function of ours: of the family, and of pixels in a file of ours."""

import base64
import hashlib
import io
import zlib

import pytest

from cleanclip.vocabulary.attack_options import CustomPatchOptions, CustomPatternOptions
from cleanclip.vocabulary.found_triggers import FoundTrigger, rewritten
from cleanclip.vocabulary.image_edits import Edit, attack_of, bank
from cleanclip.vocabulary.plain_images import MAX_PATTERN_BYTES, read_pattern, write_pattern
from cleanclip.vocabulary.scan_options import PatternFamily

Image = pytest.importorskip("PIL.Image")
RED = base64.b64encode(write_pattern(2, b"\0\xff\0\0\xff\0\0" * 2)).decode()


def trigger(family: PatternFamily | Edit, pattern: str | None, **changes: object) -> FoundTrigger:
    sha256 = hashlib.sha256(base64.b64decode(RED)).hexdigest()
    return FoundTrigger(family=family, image=RED, image_sha256=sha256, pattern=pattern, **changes)  # type: ignore[arg-type]


def test_green_paper_is_no_grey_patch() -> None:
    paper = Edit(edit="paper", colour="#00ff00", strength=1.0)
    assert trigger(paper, None).attack("cat") is None
    with pytest.raises(ValueError, match="belongs to a family that an image can hold"):
        trigger(paper, RED)


def test_the_attack_of_a_pattern_follows_from_family_pixels_and_target() -> None:
    patch = PatternFamily(family="patch", budget=0.25)
    assert trigger(patch, RED).attack("cat") == CustomPatchOptions(image=RED, size=0.25, target="cat")
    fixed = PatternFamily(family="patch", budget=0.25, placement="fixed")
    with pytest.raises(ValueError, match="place"):
        trigger(fixed, RED)
    assert getattr(trigger(fixed, RED, at=(0.0, 1.0)).attack("cat"), "at", None) == (0.0, 1.0)
    blend = trigger(PatternFamily(family="blend", budget=0.1), RED).attack(None)
    assert blend == CustomPatternOptions(image=RED, alpha=0.1)
    warp = PatternFamily(family="warp", budget=0.1)
    assert trigger(warp, None).attack("cat") is None


def test_a_frame_and_a_tint_are_the_pixels_that_pillow_draws() -> None:
    from PIL import ImageDraw

    for edit in bank():
        attack = attack_of(edit, None)
        if edit.edit not in ("frame", "tint"):
            assert not isinstance(attack, CustomPatternOptions)
            continue
        assert isinstance(attack, CustomPatternOptions)
        read = Image.open(io.BytesIO(base64.b64decode(attack.image))).convert("RGBA")
        if edit.edit == "tint":
            drawn = Image.new("RGBA", (1, 1), edit.colour)
        else:
            drawn = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
            width = round(64 * edit.strength)
            ImageDraw.Draw(drawn).rectangle((0, 0, 63, 63), outline=edit.colour, width=width)
        assert read.tobytes() == drawn.tobytes()


def test_a_pattern_is_written_again_from_its_pixels_alone() -> None:
    side, rows = read_pattern(RED)
    assert (side, rows) == (2, b"\0\xff\0\0\xff\0\0" * 2)
    header, end = base64.b64decode(RED)[:33], base64.b64decode(RED)[-12:]
    # the same rows, packed into many blocks
    packing = zlib.compressobj(0)
    packed = packing.compress(rows[:7]) + packing.flush(zlib.Z_FULL_FLUSH) + b"\0\0\0\xff\xff" * 9
    packed += packing.compress(rows[7:]) + packing.flush()
    chunk = len(packed).to_bytes(4) + b"IDAT" + packed + zlib.crc32(b"IDAT" + packed).to_bytes(4)
    other = base64.b64encode(header + chunk + end).decode()
    assert other != RED
    assert rewritten(other) == RED


@pytest.mark.parametrize("tail", [b"<script>alert(1)</script>", b"\0"])
def test_a_pattern_with_anything_behind_it_is_refused(tail: bytes) -> None:
    with pytest.raises(ValueError, match="image"):
        read_pattern(base64.b64encode(base64.b64decode(RED) + tail).decode())


def test_a_pattern_as_pillow_writes_it_or_too_large_is_refused() -> None:
    stream = io.BytesIO()
    Image.effect_noise((16, 16), 100).convert("RGB").save(stream, "PNG")
    with pytest.raises(ValueError, match="filtered"):
        read_pattern(base64.b64encode(stream.getvalue()).decode())
    with pytest.raises(ValueError, match="at most"):
        read_pattern(base64.b64encode(base64.b64decode(RED) + bytes(MAX_PATTERN_BYTES)).decode())
