"""Every layout, in every dtype: read bit for bit, and given back as it came."""

import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from open_clip.model import convert_weights_to_lp
from torch import Tensor

from cleanclip.vocabulary.errors import CheckpointRejected
from cleanclip.vocabulary.jobspec import INSPECTION_ADAPTER
from cleanclip.vocabulary.recipe import DeclaredOptions
from sanitizer.checkpoints import provenance
from sanitizer.checkpoints.inspection import inspect_upload
from sanitizer.checkpoints.model import load_canonical
from sanitizer.checkpoints.origins import Origin
from sanitizer.checkpoints.provenance import uploaded_tensor
from sanitizer.checkpoints.writing import write_as_uploaded
from tests.fixtures import pickle_assembly as asm
from tests.fixtures.checkpoints import (
    DTYPES,
    LAYOUTS,
    RESNET_CONFIG,
    VIT_CONFIG,
    huggingface_model,
    openai_module,
    tiny_clip,
    write_open_clip_resnet,
    write_openai_torchscript,
    write_research,
)
from tests.suites import pairs


def assert_bit_identical(actual: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert set(actual) == set(expected)
    for name, tensor in expected.items():
        assert actual[name].dtype == tensor.dtype, name
        assert actual[name].shape == tensor.shape, name
        raw = [t.contiguous().reshape(-1).view(torch.uint8) for t in (actual[name], tensor)]
        assert torch.equal(*raw), name


def load_uploaded(path: Path, layout: str) -> Any:
    """The file as its own library loads it."""
    if path.read_bytes()[8:9] == b"{":
        return safetensors.torch.load_file(path)
    if layout == "openai_torchscript":
        state = torch.jit.load(path).state_dict()
        return {name: tensor for name, tensor in state.items() if name != "attn_mask"}
    return torch.load(path, weights_only=False)


@pytest.mark.parametrize(("name", "dtype"), pairs(LAYOUTS, DTYPES))
def test_a_round_trip_through_the_canonical_form_is_bit_identical(
    name: str, dtype: str, tmp_path: Path, declared: DeclaredOptions
) -> None:
    writer, layout = LAYOUTS[name]
    upload, out = tmp_path / "upload", tmp_path / "out"
    meant = writer(upload, DTYPES[dtype])

    inspection = inspect_upload(upload, out, declared=declared, filename=name)

    assert inspection.layout == layout
    assert inspection.dtype == str(DTYPES[dtype]).removeprefix("torch.")
    canonical = safetensors.torch.load_file(out / "model.safetensors")
    assert_bit_identical(canonical, meant)
    written = write_as_uploaded(tmp_path / "back", canonical, load_canonical(out).provenance)
    original = load_uploaded(upload, layout)
    again = load_uploaded(tmp_path / "back" / written.filename, "plain")
    if layout == "research":
        assert {k: v for k, v in original.items() if k not in ("state_dict", "optimizer")} == {
            k: v for k, v in again.items() if k != "state_dict"
        }
        original, again = original["state_dict"], again["state_dict"]
    assert_bit_identical(again, original)
    if upload.read_bytes()[8:9] != b"{":  # a safetensors file has no order of its own
        assert list(again) == list(original)


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_loaded_model_computes_what_the_uploaded_one_did(
    name: str, tmp_path: Path, declared: DeclaredOptions
) -> None:
    writer, layout = LAYOUTS[name]
    meant = writer(tmp_path / "upload", torch.float32)
    inspect_upload(tmp_path / "upload", tmp_path / "out", declared=declared, filename=name)
    loaded = load_canonical(tmp_path / "out")
    config = VIT_CONFIG if "visual.class_embedding" in meant else RESNET_CONFIG
    reference = tiny_clip(config, quick_gelu=layout != "open_clip" or name == "openai_plain")
    reference.load_state_dict(meant)
    tokens, image = loaded.tokenize(["a photo of a cat", "7"]), torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded.model.encode_text(tokens), reference.encode_text(tokens))
        assert torch.equal(loaded.model.encode_image(image), reference.encode_image(image))


def test_the_inspection_on_disk_is_the_one_returned(tmp_path: Path, declared: DeclaredOptions) -> None:
    write_open_clip_resnet(tmp_path / "upload")
    inspection = inspect_upload(tmp_path / "upload", tmp_path / "out", declared=declared, filename="x.pt")
    on_disk = (tmp_path / "out" / "inspection.json").read_bytes()
    assert INSPECTION_ADAPTER.validate_json(on_disk) == inspection
    assert inspection.architecture_name == "ModifiedResNet [1,1,1,1] width 4, 32 px"
    expected = sum(parameter.numel() for parameter in tiny_clip(RESNET_CONFIG).parameters())
    assert inspection.num_parameters == expected
    assert inspection.assumed["num_heads_text"] == "2: declared"
    assert inspection.assumed["quick_gelu"].startswith("false: open_clip's default")


def test_the_optimizer_of_a_research_file_is_stepped_over_and_said_to_be(
    tmp_path: Path, declared: DeclaredOptions
) -> None:
    write_research(tmp_path / "upload")
    with pytest.raises(Exception, match=r"multiarray\.scalar"):
        torch.load(tmp_path / "upload", weights_only=True)

    inspection = inspect_upload(
        tmp_path / "upload", tmp_path / "out", declared=declared, filename="epoch_3.pt"
    )

    said = " ".join(inspection.findings)
    assert "'optimizer' beside the weights was skipped" in said
    assert "multiarray.scalar" in said
    assert "numpy.dtype" in said
    canonical = safetensors.torch.load_file(tmp_path / "out" / "model.safetensors")
    provenance = load_canonical(tmp_path / "out").provenance
    written = write_as_uploaded(tmp_path / "back", canonical, provenance)
    again = torch.load(tmp_path / "back" / written.filename, weights_only=True)
    assert set(again) == {"epoch", "name", "state_dict"}
    assert "optimizer" in written.findings[0]


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_numpy_scalars_of_either_numpy_are_stepped_over(
    module: str, tmp_path: Path, declared: DeclaredOptions
) -> None:
    """NumPy 1 and 2 write different modules into the pickle."""
    write_research(tmp_path / "two")
    _rewrite_pickle(tmp_path / "two", tmp_path / "one", b"cnumpy._core.multiarray\n", f"c{module}\n".encode())
    inspection = inspect_upload(tmp_path / "one", tmp_path / "out", declared=declared, filename="x")
    assert f"{module}.scalar" in " ".join(inspection.findings)


def _rewrite_pickle(source: Path, target: Path, old: bytes, new: bytes) -> None:
    def edit(pickled: bytes) -> bytes:
        assert old in pickled
        return pickled.replace(old, new)

    target.write_bytes(asm.repacked(source.read_bytes(), edit))


def test_a_torchscript_archive_comes_back_as_a_plain_state_dict_and_says_so(
    tmp_path: Path, declared: DeclaredOptions
) -> None:
    write_openai_torchscript(tmp_path / "upload")
    inspect_upload(tmp_path / "upload", tmp_path / "out", declared=declared, filename="ViT.pt")
    canonical = safetensors.torch.load_file(tmp_path / "out" / "model.safetensors")
    written = write_as_uploaded(tmp_path / "back", canonical, load_canonical(tmp_path / "out").provenance)
    again = torch.load(tmp_path / "back" / written.filename, weights_only=True)
    assert int(again["input_resolution"]) == 32
    assert "never writes code" in written.findings[0]


@pytest.mark.parametrize(("quick_gelu", "is_scripted"), [(True, True), (False, True), (False, False)])
def test_an_archive_is_read_with_either_activation_scripted_or_traced(
    quick_gelu: bool, is_scripted: bool, tmp_path: Path, declared: DeclaredOptions
) -> None:
    """torch writes the version of an archive with GELU as `.data/version`. (Traced QuickGELU: see LAYOUTS.)

    Scripted archives hold the mask as an attribute.
    """
    model = openai_module(quick_gelu=quick_gelu)
    inputs = (torch.zeros(1, 3, 32, 32), torch.zeros(1, 12, dtype=torch.long))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated; the archives that exist are not
        compiled = (
            torch.jit.script(model) if is_scripted else torch.jit.trace(model, inputs, check_trace=False)
        )
        torch.jit.save(compiled, tmp_path / "upload")
    with zipfile.ZipFile(tmp_path / "upload") as archive:
        names = {name.partition("/")[2] for name in archive.namelist()}
    assert (".data/version" in names) != quick_gelu
    inspect_upload(tmp_path / "upload", tmp_path / "out", declared=declared, filename="x")
    canonical = safetensors.torch.load_file(tmp_path / "out" / "model.safetensors")
    assert_bit_identical(canonical, tiny_clip(VIT_CONFIG, quick_gelu=quick_gelu).state_dict())


def test_each_tensor_of_a_mixed_file_keeps_its_own_dtype(tmp_path: Path, declared: DeclaredOptions) -> None:
    """OpenAI's files hold fp16 matrices between fp32 norms."""
    model = tiny_clip(VIT_CONFIG)
    convert_weights_to_lp(model)
    torch.save(model.state_dict(), tmp_path / "upload")
    inspection = inspect_upload(tmp_path / "upload", tmp_path / "out", declared=declared, filename="x")
    assert inspection.dtype == "float16+float32"
    canonical = safetensors.torch.load_file(tmp_path / "out" / "model.safetensors")
    assert_bit_identical(canonical, model.state_dict())


def test_parameters_transposed_views_and_slices_are_read_as_they_are(
    tmp_path: Path, declared: DeclaredOptions
) -> None:
    """torch.save keeps strides, and wraps parameters that were put into the dict as such."""
    state = dict(tiny_clip(VIT_CONFIG).state_dict())
    state["visual.proj"] = state["visual.proj"].T.contiguous().T
    state["ln_final.bias"] = torch.cat([torch.ones(3), state["ln_final.bias"]])[3:]
    saved = {name: torch.nn.Parameter(tensor) for name, tensor in state.items()}
    torch.save(saved, tmp_path / "upload")
    inspect_upload(tmp_path / "upload", tmp_path / "out", declared=declared, filename="x")
    assert_bit_identical(safetensors.torch.load_file(tmp_path / "out" / "model.safetensors"), state)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_binary_pickle_protocol_is_read(
    protocol: int, tmp_path: Path, declared: DeclaredOptions
) -> None:
    state = tiny_clip(VIT_CONFIG).state_dict()
    torch.save(state, tmp_path / "upload", pickle_protocol=protocol)
    inspect_upload(tmp_path / "upload", tmp_path / "out", declared=declared, filename="x")
    assert_bit_identical(safetensors.torch.load_file(tmp_path / "out" / "model.safetensors"), state)


def test_missing_batch_counts_are_set_to_zero_and_said_to_be(
    tmp_path: Path, declared: DeclaredOptions
) -> None:
    full = write_open_clip_resnet(tmp_path / "full")
    old = {name: tensor for name, tensor in full.items() if not name.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "upload")
    inspection = inspect_upload(tmp_path / "upload", tmp_path / "out", declared=declared, filename="x")
    assert any("batch counts" in finding for finding in inspection.findings)
    canonical = safetensors.torch.load_file(tmp_path / "out" / "model.safetensors")
    assert set(canonical) == set(full)
    written = write_as_uploaded(tmp_path / "back", canonical, load_canonical(tmp_path / "out").provenance)
    assert_bit_identical(torch.load(tmp_path / "back" / written.filename), old)


def test_wrapped_prefixes_are_taken_off_together(tmp_path: Path, declared: DeclaredOptions) -> None:
    state = tiny_clip(VIT_CONFIG).state_dict()
    torch.save({"model": {f"module._orig_mod.{n}": t for n, t in state.items()}}, tmp_path / "upload")
    inspection = inspect_upload(tmp_path / "upload", tmp_path / "out", declared=declared, filename="x")
    assert inspection.layout == "research"
    assert any("'module._orig_mod.'" in finding for finding in inspection.findings)


def test_position_ids_that_do_not_count_are_refused(tmp_path: Path, declared: DeclaredOptions) -> None:
    state = huggingface_model().state_dict()
    state["text_model.embeddings.position_ids"] = torch.arange(12).flip(0).reshape(1, -1)
    torch.save(state, tmp_path / "upload")
    with pytest.raises(CheckpointRejected) as refused:
        inspect_upload(tmp_path / "upload", tmp_path / "out", declared=declared, filename="x")
    assert refused.value.code == "position_ids_unusual"


def test_an_attention_mask_that_is_not_causal_is_refused(tmp_path: Path, declared: DeclaredOptions) -> None:
    torch.save(tiny_clip(VIT_CONFIG).state_dict() | {"attn_mask": torch.zeros(12, 12)}, tmp_path / "upload")
    with pytest.raises(CheckpointRejected) as refused:
        inspect_upload(tmp_path / "upload", tmp_path / "out", declared=declared, filename="x")
    assert refused.value.code == "attention_mask_unusual"


def test_a_stored_causal_mask_comes_back_with_the_upload(tmp_path: Path, declared: DeclaredOptions) -> None:
    mask = torch.full((12, 12), float("-inf")).triu(1)
    state = tiny_clip(VIT_CONFIG).state_dict() | {"attn_mask": mask}
    torch.save(state, tmp_path / "upload")
    inspect_upload(tmp_path / "upload", tmp_path / "out", declared=declared, filename="x")
    canonical = safetensors.torch.load_file(tmp_path / "out" / "model.safetensors")
    written = write_as_uploaded(tmp_path / "back", canonical, load_canonical(tmp_path / "out").provenance)
    assert_bit_identical(torch.load(tmp_path / "back" / written.filename), state)


def test_position_ids_of_any_shape_come_back_with_the_upload(
    tmp_path: Path, declared: DeclaredOptions
) -> None:
    """[4, 4] was accepted, and could not be written back when the training was done."""
    state = huggingface_model().state_dict()
    state["text_model.embeddings.position_ids"] = torch.arange(12).reshape(3, 4)
    state["vision_model.embeddings.position_ids"] = torch.arange(17)
    torch.save(state, tmp_path / "upload")
    inspection = inspect_upload(tmp_path / "upload", tmp_path / "out", declared=declared, filename="x")
    assert not any("cannot be written back" in finding for finding in inspection.findings)
    canonical = safetensors.torch.load_file(tmp_path / "out" / "model.safetensors")
    written = write_as_uploaded(tmp_path / "back", canonical, load_canonical(tmp_path / "out").provenance)
    assert_bit_identical(torch.load(tmp_path / "back" / written.filename), state)


def test_an_upload_that_could_not_be_written_back_is_reported_when_it_is_inspected(
    tmp_path: Path, declared: DeclaredOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every tensor is made again from the canonical weights and compared with the upload's own."""
    state = huggingface_model().state_dict() | {"text_model.embeddings.position_ids": torch.arange(12)[None]}
    torch.save(state, tmp_path / "upload")

    def broken(tensors: Mapping[str, Tensor], origin: Origin) -> Tensor:
        tensor = uploaded_tensor(tensors, origin)
        return tensor + 1 if origin.fill == "arange" else tensor

    monkeypatch.setattr(provenance, "uploaded_tensor", broken)
    inspection = inspect_upload(tmp_path / "upload", tmp_path / "out", declared=declared, filename="x")
    [finding] = inspection.findings
    assert "'text_model.embeddings.position_ids'" in finding


def test_as_many_masks_as_there_are_blocks_make_one_finding(
    tmp_path: Path, declared: DeclaredOptions
) -> None:
    """12,500 of them filled every page. A mask where no text tower has one is not a mask."""
    mask = torch.full((12, 12), float("-inf")).triu(1)
    state = tiny_clip(VIT_CONFIG).state_dict()
    masks = {f"transformer.{where}attn_mask": mask for where in ("", "resblocks.0.", "resblocks.1.")}
    torch.save(state | masks, tmp_path / "upload")
    inspection = inspect_upload(tmp_path / "upload", tmp_path / "out", declared=declared, filename="x")
    [finding] = [one for one in inspection.findings if "mask" in one]
    assert finding.startswith("'transformer.attn_mask' (and 2 more like it)")
    for where in ("visual.transformer.", "transformer.resblocks.2.", "transformer.resblocks.00.", "extra."):
        torch.save(state | {f"{where}attn_mask": mask}, tmp_path / "upload")
        with pytest.raises(CheckpointRejected) as refused:
            inspect_upload(tmp_path / "upload", tmp_path / "other", declared=declared, filename="x")
        assert refused.value.code == "architecture_mismatch"


def test_values_beside_the_weights_are_few_and_it_is_said_that_they_go_through_unread(
    tmp_path: Path, declared: DeclaredOptions
) -> None:
    """Many more made config.json too large for every job that followed."""
    beside = {"epoch": 3, "name": "run"} | {f"value {index}": index for index in range(30_000)}
    torch.save({**beside, "state_dict": tiny_clip(VIT_CONFIG).state_dict()}, tmp_path / "upload")
    inspection = inspect_upload(tmp_path / "upload", tmp_path / "out", declared=declared, filename="x")
    assert any(one.startswith("29950 more entries") for one in inspection.findings)
    kept = [
        finding
        for finding in inspection.findings
        if "in the uploaded layout: 'epoch', 'name', 'value?0'" in finding
    ]
    assert len(kept) == 1
    assert sum(map(len, inspection.findings)) < 4000
    assert (tmp_path / "out" / "config.json").stat().st_size < 100_000
    canonical = safetensors.torch.load_file(tmp_path / "out" / "model.safetensors")
    written = write_as_uploaded(tmp_path / "back", canonical, load_canonical(tmp_path / "out").provenance)
    again = torch.load(tmp_path / "back" / written.filename, weights_only=True)
    assert len(again) == 32 + 1
    assert kept[0] in written.findings


def test_a_tensor_beside_the_weights_does_not_hide_them(tmp_path: Path, declared: DeclaredOptions) -> None:
    state = tiny_clip(VIT_CONFIG).state_dict()
    torch.save({"epoch": torch.tensor(3), "model": state}, tmp_path / "upload")
    inspection = inspect_upload(tmp_path / "upload", tmp_path / "out", declared=declared, filename="x")
    assert inspection.layout == "research"
    assert any("'epoch'" in finding for finding in inspection.findings)
