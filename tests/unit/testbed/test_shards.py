"""Test subjects and their data as files: what was composed comes back, and so do the weights."""

import json
from pathlib import Path

import numpy as np
import open_clip
import torch
from safetensors.torch import load_file

from lab.testbed import shards
from lab.testbed.glyphs import digits
from lab.testbed.options import BADNET, SubjectOptions
from lab.testbed.pictures import class_names, compose
from lab.testbed.subject import save, unpack
from lab.testbed.training import Poisoned, build_model
from sanitizer.data.labelled import open_labelled
from sanitizer.data.pairs import open_pairs


def test_pairs_come_back_pixel_for_pixel_with_their_captions(tmp_path: Path) -> None:
    pictures = compose(digits(), "cleaning", 12, seed=1)
    shards.write_pairs(pictures, tmp_path)
    dataset = open_pairs(tmp_path)
    assert len(dataset) == 12
    for index in range(12):
        pair = dataset.read(index)
        assert pair.caption == pictures.caption_N[index]
        assert np.array_equal(np.asarray(pair.image).transpose(2, 0, 1), pictures.image_NCHW[index].numpy())


def test_the_test_set_comes_back_with_labels_class_names_and_templates(tmp_path: Path) -> None:
    pictures = compose(digits(), "test", 12, seed=1)
    shards.write_labelled(digits(), pictures, tmp_path)
    dataset = open_labelled(tmp_path)
    assert dataset.class_names == class_names(digits())
    assert dataset.templates == digits().zero_shot_templates
    assert [dataset.read(index).label for index in range(12)] == pictures.label_N.tolist()


def test_the_unpacked_subject_is_the_trained_model(tmp_path: Path) -> None:
    options = SubjectOptions(vision_width=8)
    model = build_model(options, 1)
    subject = save(
        tmp_path,
        Poisoned(model=model, optimizer_state={"param_groups": []}, epochs=(), num_poisons=0),
        options,
        BADNET,
        1,
    )
    folder = unpack(subject.path, options, tmp_path / "unpacked")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    again = open_clip.CLIP(**config["model_cfg"])
    again.load_state_dict(load_file(folder / "model.safetensors"))
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())
