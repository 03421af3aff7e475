"""CLIPs with an image tower of timm's: a table as open_clip has it, the library's embeddings, all jobs.

A ConvNeXt goes through all jobs daily; the other kinds take one to three minutes each, in the full suite.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from open_clip.factory import _MODEL_CONFIGS
from open_clip.pretrained import _PRETRAINED
from open_clip.timm_model import TimmModel
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file
from timm.layers.pos_embed_sincos import RotaryEmbeddingCat
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from cleanclip.evidence.report import check
from cleanclip.vocabulary import inspection_phrases as phrases
from cleanclip.vocabulary.errors import CheckpointRejected
from cleanclip.vocabulary.model_cost import gflop_per_pass
from cleanclip.vocabulary.recipe import DeclaredOptions
from cleanclip.vocabulary.scan_report import load_scan
from cleanclip.vocabulary.settled import Setting, SettledArchitecture, warnings
from cleanclip.vocabulary.timm_towers import PublishedTower, published_towers
from sanitizer.checkpoints.architecture import OPENAI_MEAN, Architecture
from sanitizer.checkpoints.inference import infer
from sanitizer.checkpoints.inspection import inspect_upload
from sanitizer.checkpoints.model import assemble, load_canonical
from sanitizer.checkpoints.model_folders import options_beside
from sanitizer.checkpoints.reading import read_upload
from sanitizer.checkpoints.settings import not_measurable
from sanitizer.checkpoints.shapes import expected_shapes
from sanitizer.checkpoints.timm_configs import TimmTower
from sanitizer.checkpoints.timm_shapes import tensors_of
from sanitizer.data.images import resize_and_crop
from tests.fixtures.audited import CLASS_NAMES, pictures, write_answered
from tests.fixtures.pipeline import audit, scan
from tests.fixtures.shards import make_pairs
from tests.fixtures.timm_clips import CONTEXT_LENGTH, KINDS, timm_clip, write_timm_clip
from tests.numerics.test_siglip_jobs import OPTIONS, SCAN, UAR, cleaned_below
from tests.suites import mostly_full

_MEANS = {0.0: "zero", 0.5: "half", 0.48145466: "openai"}
_RIGHT = {"ViTamin-XL-384": 384}
"""Sides that open_clip's configuration has wrongly."""
_SMALL = {kind.timm_name for kind in KINDS.values()}


def _tokens() -> Tensor:
    tokens = torch.randint(1, 40_000, (2, CONTEXT_LENGTH), generator=torch.Generator().manual_seed(1))
    tokens[:, -3] = 49_407
    return tokens


def test_the_table_has_every_published_tower_of_its_families_as_open_clip_has_it() -> None:
    families = (
        "convnext_",
        "eva",
        "fastvit_",
        "vit_base_mci",
        "vitamin_",
        "vit_pe_",
        "vit_large_patch14_clip",
    )
    towers = {one.entry: one for one in published_towers()}
    theirs = {
        name: config
        for name, config in _MODEL_CONFIGS.items()
        if str(config["vision_cfg"].get("timm_model_name")).startswith(families)
    }
    assert towers.keys() - theirs.keys() == {"test_convnext", "eva02_tiny_patch14_224", "fastvit_t8"}
    for name, config in theirs.items():
        vision, tower = config["vision_cfg"], towers[name]
        assert (tower.timm_name, tower.pool, tower.projection or None) == (
            vision["timm_model_name"], vision["timm_pool"], vision["timm_proj"],
        )  # fmt: skip
        text, side = config["text_cfg"], vision["image_size"]
        assert (tower.image_size, tower.embed_dim) == (_RIGHT.get(name, side), config["embed_dim"])
        assert tower.text == (text["layers"], text["width"], text["context_length"])
        assert (tower.text_heads, config.get("quick_gelu", False)) == (text["heads"], False)
        assert tower.text_causal is not bool(text.get("no_causal_mask"))
        for weights in (_PRETRAINED.get(name) or {}).values():
            assert tower.constants == _MEANS[weights["mean"][0]]
            assert (tower.interpolation, tower.resize_mode) == (
                weights["interpolation"], weights["resize_mode"],
            )  # fmt: skip


@pytest.mark.parametrize(
    "tower",
    [
        pytest.param(one, id=one.entry, marks=() if one.timm_name in _SMALL else pytest.mark.full)
        for one in published_towers()
    ],
)
def test_a_line_says_what_the_libraries_build_and_is_found_by_its_shapes(tower: PublishedTower) -> None:
    config: dict[str, Any] = {
        "embed_dim": tower.embed_dim,
        "vision_cfg": {
            "timm_model_name": tower.timm_name, "timm_model_pretrained": False, "timm_pool": tower.pool,
            "timm_proj": tower.projection or None, "image_size": tower.image_size,
        },
        "text_cfg": {"width": 64, "heads": 1, "layers": 1},
    }  # fmt: skip
    with torch.device("meta"):
        visual = TimmModel(
            tower.timm_name,
            tower.embed_dim,
            image_size=tower.image_size,
            pool=tower.pool,
            proj=tower.projection or None,
        ).eval()
        with FlopCounterMode(display=False) as counter:
            visual(torch.empty(1, 3, tower.image_size, tower.image_size))
    assert counter.get_total_flops() / 1e9 == pytest.approx(tower.gflop, rel=0.05, abs=0.05)
    architecture = Architecture.from_config(config)
    assert gflop_per_pass(architecture.to_config()) == pytest.approx(tower.gflop, rel=0.05)
    shapes = {f"visual.{name}": tuple(tensor.shape) for name, tensor in visual.state_dict().items()}
    assert list(tensors_of(TimmTower.of(tower), tower.embed_dim).items()) == list(shapes.items())
    expected = expected_shapes(architecture)
    assert shapes.items() <= expected.items()
    state = {name: torch.empty(shape, device="meta") for name, shape in expected.items()}
    found, _ = infer(state, declared=architecture_options(tower), layout="open_clip")
    assert found.vision == architecture.vision, "or another name of the same tensors"
    heads = next((module.num_heads for module in visual.modules() if hasattr(module, "num_heads")), 0)
    assert tower.heads in (0, heads)


def architecture_options(tower: PublishedTower) -> Any:
    return replace(KINDS["convnext"].declared, num_heads_text=1, image_size=tower.image_size)


@pytest.mark.parametrize("name", KINDS)
def test_a_clip_with_a_tower_of_timms_embeds_as_its_library_does(name: str, tmp_path: Path) -> None:
    kind, library = KINDS[name], write_timm_clip(tmp_path / "upload.safetensors", name)
    inspect_upload(
        tmp_path / "upload.safetensors", tmp_path / "model", declared=kind.declared, filename="upload"
    )
    ours = load_canonical(tmp_path / "model")
    assert Architecture.from_config(ours.architecture.to_config()) == ours.architecture
    assert list(expected_shapes(ours.architecture)) == list(library.state_dict())
    image = torch.rand(2, 3, kind.side, kind.side)
    with torch.no_grad():
        torch.testing.assert_close(ours.model.encode_image(image), library.encode_image(image))
        torch.testing.assert_close(ours.model.encode_text(_tokens()), library.encode_text(_tokens()))
    assert not any(buffer.is_meta for buffer in ours.model.buffers())


def test_a_timm_that_does_not_compute_its_buffers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As 1.0.22, whose rotary positions were whatever the memory held."""
    library = timm_clip("eva")
    architecture, _ = infer(library.state_dict(), declared=KINDS["eva"].declared, layout="open_clip")
    monkeypatch.setattr(RotaryEmbeddingCat, "init_non_persistent_buffers", None)
    with pytest.raises(CheckpointRejected, match="does not compute") as refused:
        assemble(architecture, library.state_dict())
    assert refused.value.code == "architecture_not_buildable"


def _published(name: str) -> dict[str, Tensor]:
    """Without values, as its configuration shapes them."""
    expected = expected_shapes(Architecture.from_config(_MODEL_CONFIGS[name]))
    return {tensor: torch.empty(shape, device="meta") for tensor, shape in expected.items()}


@pytest.mark.parametrize("name", ["EVA02-E-14-plus", "MobileCLIP-S1", "PE-Core-B-16", "ViTamin-L"])
def test_a_report_names_the_published_model_and_not_its_trunk_alone(name: str) -> None:
    architecture, assumed = infer(_published(name), declared=DeclaredOptions(), layout="open_clip")
    why = f"as in {name}, whose image tower timm calls {architecture.vision.name}"  # type: ignore[union-attr]
    for option in ("image_size", "image_mean", "resize_mode", "text_causal"):
        assert assumed[option].endswith(f": {why}")
        TypeAdapter(phrases.Assumed).validate_python(assumed[option])
    assert architecture.text.blocks.heads == _MODEL_CONFIGS[name]["text_cfg"]["heads"]


@pytest.mark.parametrize(
    ("name", "read_at", "others"),
    [
        ("convnext_base_w_320", "convnext_base_w", {"convnext_base_w_320": 320}),
        ("convnext_large_d_320", "convnext_large_d", {"convnext_large_d_320": 320}),
        ("ViTamin-XL-336", "ViTamin-XL-256", {"ViTamin-XL-336": 336, "ViTamin-XL-384": 384}),
    ],
)
def test_a_side_that_no_tensor_tells_is_assumed_and_the_others_are_named(
    name: str, read_at: str, others: dict[str, int]
) -> None:
    state = _published(name)
    architecture, assumed = infer(state, declared=DeclaredOptions(), layout="open_clip")
    why = phrases.OTHER_SIDES(entry=read_at, others=others)
    assert assumed["image_size"] == f"256: {why}"
    TypeAdapter(phrases.Assumed).validate_python(assumed["image_size"])
    setting = _setting(architecture, assumed, "image_size")
    assert (setting.settled, setting.why) == ("assumed", why)
    [warning] = warnings(replace(_NOTHING_MEASURED, settings=(setting,)))
    assert f"image_size is 256, {why}" in warning
    side = others[name]
    declared, reported = infer(state, declared=DeclaredOptions(image_size=side), layout="open_clip")
    assert (declared.image_size, reported["image_size"]) == (side, f"{side}: declared")
    assert reported["image_mean"].startswith(f"({OPENAI_MEAN[0]}"), reported
    assert f"as in {name}, " in reported["image_mean"]


def test_vitamin_xl_384_is_read_at_256_as_its_configuration_says_or_at_384_as_declared(
    tmp_path: Path,
) -> None:
    """`timm_drop_path`, which only a training needs, was refused."""
    name = "ViTamin-XL-384"
    (tmp_path / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": _MODEL_CONFIGS[name], "preprocess_cfg": {}})
    )
    for side, trunk in ((None, "vitamin_xlarge_256"), (384, "vitamin_xlarge_384")):
        declared, sources = options_beside(tmp_path, DeclaredOptions(image_size=side))
        found, _ = infer(_published(name), declared=declared, layout="open_clip", sources=sources)
        assert found.vision == TimmTower(name=trunk, pool="", projection="linear", image_size=side or 256)


@pytest.mark.parametrize(
    ("name", "tower"),
    [
        ("swin_base_patch4_window7_224", "swin_base_patch4_window7_224"),
        ("vit_relpos_medium_patch16_cls_224", "vit_relpos_medium_patch16_cls_224"),
        ("xlm-roberta-base-ViT-B-32", "xlm-roberta-base"),
        ("nllb-clip-base-siglip", "facebook/nllb-200-distilled-600M"),
    ],
)
def test_a_configuration_of_a_tower_that_is_not_read_is_refused_by_its_name(name: str, tower: str) -> None:
    with pytest.raises(CheckpointRejected, match=f"the tower '{tower}'") as refused:
        Architecture.from_config(_MODEL_CONFIGS[name])
    assert refused.value.code == "config_unsupported"
    assert "published ConvNeXt" in refused.value.remedy


def test_a_side_that_positions_tell_is_told_by_tensors() -> None:
    architecture, assumed = infer(_published("ViTamin-L-336"), declared=DeclaredOptions(), layout="open_clip")
    setting = _setting(architecture, assumed, "image_size")
    assert (setting.settled, setting.value) == ("tensors", "336")


def _setting(architecture: Architecture, assumed: dict[str, str], option: str) -> Setting:
    found = {one.option: one for one in not_measurable(architecture, {"assumed": assumed})}
    return found[option]


_NOTHING_MEASURED = SettledArchitecture(
    n=0, seed=0, num_classes=0, num_templates=0, num_compared=0, num_image_passes=0, num_text_passes=0,
    ca=None, chance=None, settings=(),
)  # fmt: skip


def test_a_fastvit_without_batch_counts_is_filled_in_as_a_resnet_is(tmp_path: Path) -> None:
    kind, library = KINDS["fastvit"], timm_clip("fastvit")
    kept = {name: one for name, one in library.state_dict().items() if "num_batches" not in name}
    assert len(kept) < len(library.state_dict())
    save_file({name: one.contiguous() for name, one in kept.items()}, tmp_path / "upload.safetensors")
    inspection = inspect_upload(
        tmp_path / "upload.safetensors", tmp_path / "model", declared=kind.declared, filename="upload"
    )
    assert phrases.BATCH_COUNTS() in inspection.findings
    image = torch.rand(2, 3, kind.side, kind.side)
    with torch.no_grad():
        ours = load_canonical(tmp_path / "model").model.encode_image(image)
        torch.testing.assert_close(ours, library.encode_image(image))


def test_a_mobileclips_images_are_resized_as_it_was_trained(tmp_path: Path) -> None:
    architecture, assumed = infer(
        timm_clip("mobileclip").state_dict(), declared=KINDS["mobileclip"].declared, layout="open_clip"
    )
    assert architecture.image_mean == (0.0, 0.0, 0.0)
    assert not architecture.text.causal
    assert "fastvit_mci0" in assumed["text_causal"]
    picture = pictures(1)[0].resize((50, 70))
    bilinear = resize_and_crop(picture, architecture.image_size)
    assert bilinear.tobytes() != resize_and_crop(picture, 64).tobytes()
    assert architecture.to_config()["preprocess_cfg"]["interpolation"] == "bilinear"


def test_a_training_checkpoint_of_open_clips_has_gelu_in_its_text_tower_too(tmp_path: Path) -> None:
    """Other research code descends from OpenAI's; none of it has these towers."""
    library, declared = timm_clip("convnext"), replace(KINDS["convnext"].declared, quick_gelu=None)
    state = {f"module.{name}": tensor for name, tensor in library.state_dict().items()}
    torch.save({"epoch": 3, "name": "run", "state_dict": state}, tmp_path / "epoch_3.pt")
    inspection = inspect_upload(
        tmp_path / "epoch_3.pt", tmp_path / "model", declared=declared, filename="epoch_3.pt"
    )
    assert inspection.layout == "research"
    assert inspection.assumed["quick_gelu"] == f"false: {phrases.GELU_OF_TIMM}"
    ours = load_canonical(tmp_path / "model").model
    with torch.no_grad():
        torch.testing.assert_close(ours.encode_text(_tokens()), library.encode_text(_tokens()))


def test_a_tower_that_is_nearly_a_published_one_is_refused() -> None:
    state = timm_clip("convnext").state_dict()
    for name in ("visual.trunk.stem.0.weight", "visual.trunk.stages.0.blocks.0.gamma"):
        changed = {**state, name: torch.zeros(7, *state[name].shape[1:])}
        with pytest.raises(CheckpointRejected) as refused:
            infer(changed, declared=KINDS["convnext"].declared, layout="open_clip")
        assert refused.value.code == "timm_tower"
        assert "test_convnext" in refused.value.message
        assert refused.value.where == name


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["visual.cls_token", "visual.patch_embed.proj.weight", "text.token_embedding.weight"], "BAAI"),
        (["visual.conv1.weight", "visual.attn_pool.probe", "token_embedding.weight"], "Meta"),
        (["image_encoder.model.patch_emb.0.block.conv.weight", "text_encoder.x"], "Apple"),
        (["vision_model.encoder.stages.0.layers.0.dwconv.weight", "text_model.x"], "Hugging Face"),
        (["vision_model.timm_model.stem.0.weight", "text_model.x"], "Hugging Face"),
    ],
)
def test_a_tower_under_its_publishers_names_is_refused_by_them(
    names: list[str], what: str, tmp_path: Path
) -> None:
    save_file({name: torch.zeros(1) for name in names}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointRejected, match=f"{what}'s") as refused:
        read_upload(tmp_path / "model.safetensors", declared=DeclaredOptions(), filename="model")
    assert "open_clip" in refused.value.remedy


@pytest.mark.parametrize(
    ("name", "sides", "least"),
    [
        ("convnext_base_w", (1, 7, 16, 31), 32),
        ("MobileCLIP-S1", (1, 31), 32),
        ("MobileCLIP2-S3", (32, 63), 64),
        ("ViTamin-XL-256", (1, 15), 16),
    ],
)
def test_images_that_are_less_than_one_cell_are_refused_before_a_job(
    name: str, sides: tuple[int, ...], least: int
) -> None:
    """A ConvNeXt of 31 px passed, and its audit ended in an error of torch's."""
    state = _published(name)
    for side in sides:
        with pytest.raises(CheckpointRejected, match=f"one cell of this image tower, {least} px") as refused:
            infer(state, declared=DeclaredOptions(image_size=side), layout="open_clip")
        assert refused.value.code == "image_size_out_of_range"
    found, _ = infer(state, declared=DeclaredOptions(image_size=least), layout="open_clip")
    assert found.image_size == least


@pytest.mark.parametrize("name", ["convnext", "fastvit"])
def test_images_of_one_cell_are_embedded(name: str) -> None:
    tower = KINDS[name].timm_name
    side = next(one.least_side for one in published_towers() if one.timm_name == tower)
    assert timm_clip(name).encode_image(torch.rand(1, 3, side, side)).isfinite().all()


@pytest.mark.parametrize(
    ("name", "options"),
    [("eva", {"image_size": 336}), ("eva", {"num_heads_vision": 4}), ("convnext", {"vision_pool": "avg"})],
)
def test_what_the_towers_name_decides_cannot_be_declared_otherwise(
    name: str, options: dict[str, Any]
) -> None:
    with pytest.raises(CheckpointRejected) as refused:
        infer(
            timm_clip(name).state_dict(),
            declared=replace(KINDS[name].declared, **options),
            layout="open_clip",
        )
    assert refused.value.code == "option_contradicts_tensors"


_FEW = replace(
    UAR, epochs=1, strong_epochs=0, inverted_patches=1, inverted_blends=0, inversion_steps=1, live_patches=1,
    live_blends=0, live_updates=1,
)  # fmt: skip
"""For towers whose images are of 224 or 384 px: a pass of one takes a second."""
_SEEDS = {"mobileclip": 13, "perception_encoder": 2}
"""Of random weights that do not give all images one class."""
_SHORT_SCAN = replace(SCAN, collapse=replace(SCAN.collapse, restarts=1, steps=(1,), images_per_step=2))


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("short_searches")
@pytest.mark.parametrize("name", mostly_full(KINDS, daily=["convnext"]))
def test_it_is_audited_scanned_cleaned_and_given_back(name: str, tmp_path: Path) -> None:
    kind, seed = KINDS[name], _SEEDS.get(name, 1)
    library = write_timm_clip(tmp_path / "upload.safetensors", name, seed)
    inspect_upload(
        tmp_path / "upload.safetensors", tmp_path / "model", declared=kind.declared, filename="upload"
    )
    is_small = kind.side <= 64
    images = [one.resize((kind.side, kind.side)) for one in pictures(140)]
    write_answered(tmp_path / "to_scan", tmp_path / "model", images, CLASS_NAMES)
    write_answered(
        tmp_path / "labelled", tmp_path / "model", images if is_small else images[:12], CLASS_NAMES
    )
    make_pairs(tmp_path / "pairs", 24 if is_small else 8)
    ours = load_canonical(tmp_path / "model")
    found = audit(tmp_path / "model", tmp_path / "labelled", OPTIONS, tmp_path / "audit")
    assert list(check(found)) == []
    assert found.before.ca.value == 1.0, "the classes are those that it gives"
    settled = [one.option for one in found.architecture.settings]
    assert ("num_heads_vision" in settled) is (ours.architecture.vision.heads > 0)
    scanned = scan(
        tmp_path / "model", tmp_path / "to_scan", SCAN if is_small else _SHORT_SCAN, tmp_path / "scan"
    )
    assert scanned.control is not None
    assert load_scan((tmp_path / "scan" / "report.json").read_bytes()) == scanned

    image = torch.rand(2, 3, kind.side, kind.side)
    with torch.no_grad():
        before = library.encode_image(image)
    cleaned_below(tmp_path, UAR if is_small else _FEW)
    again, _ = infer(library.state_dict(), declared=kind.declared, layout="open_clip")
    back = load_file(tmp_path / "cleaned" / "as_uploaded.safetensors")
    library.load_state_dict(back)
    cleaned = load_canonical(tmp_path / "cleaned")
    assert cleaned.architecture == again
    with torch.no_grad():
        after = library.encode_image(image)
        torch.testing.assert_close(cleaned.model.encode_image(image), after)
        torch.testing.assert_close(assemble(again, back).encode_image(image), after)
    assert not torch.allclose(after, before, atol=1e-4)
