"""Class embeddings are made once for equal text towers, and again for anything that they follow from."""

import pytest
import torch

from sanitizer.audits import class_memory
from sanitizer.audits.class_memory import ClassMemory
from sanitizer.audits.zero_shot import class_embeddings
from sanitizer.checkpoints.model import LoadedCheckpoint
from tests.fixtures.audited import CLASS_NAMES, TEMPLATES

CPU = torch.device("cpu")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[LoadedCheckpoint]:
    """The checkpoints that class embeddings were computed for."""
    asked: list[LoadedCheckpoint] = []

    def counted(checkpoint, *arguments, **options):  # type: ignore[no-untyped-def]
        asked.append(checkpoint)
        return class_embeddings(checkpoint, *arguments, **options)

    monkeypatch.setattr(class_memory, "class_embeddings", counted)
    return asked


@torch.no_grad()
def test_a_changed_image_tower_and_logit_scale_leave_them_as_they_are(
    checkpoint: LoadedCheckpoint, made: list[LoadedCheckpoint]
) -> None:
    memory, reported = ClassMemory(), []
    first = memory.embeddings(checkpoint, CLASS_NAMES, TEMPLATES, CPU)
    checkpoint.model.visual.conv1.weight += 1
    checkpoint.model.logit_scale += 1
    again = memory.embeddings(checkpoint, CLASS_NAMES, TEMPLATES, CPU, after_classes=reported.append)
    assert torch.equal(first, again)
    assert torch.equal(again, class_embeddings(checkpoint, CLASS_NAMES, TEMPLATES, CPU))
    assert len(made) == 1
    assert reported == [len(CLASS_NAMES)]


@torch.no_grad()
@pytest.mark.parametrize(
    "name",
    [
        "token_embedding.weight",
        "positional_embedding",
        "text_projection",
        "transformer.resblocks.1.ln_2.bias",
    ],
)
def test_one_changed_number_of_the_text_tower_makes_them_anew(
    checkpoint: LoadedCheckpoint, made: list[LoadedCheckpoint], name: str
) -> None:
    memory = ClassMemory()
    memory.embeddings(checkpoint, CLASS_NAMES, TEMPLATES, CPU)
    checkpoint.model.state_dict()[name].view(-1)[3] += 0.5
    again = memory.embeddings(checkpoint, CLASS_NAMES, TEMPLATES, CPU)
    assert len(made) == 2
    assert torch.equal(again, class_embeddings(checkpoint, CLASS_NAMES, TEMPLATES, CPU))


@torch.no_grad()
def test_other_names_and_templates_make_them_anew(
    checkpoint: LoadedCheckpoint, made: list[LoadedCheckpoint]
) -> None:
    memory = ClassMemory()
    memory.embeddings(checkpoint, CLASS_NAMES, TEMPLATES, CPU)
    memory.embeddings(checkpoint, CLASS_NAMES[1:], TEMPLATES, CPU)
    memory.embeddings(checkpoint, CLASS_NAMES, TEMPLATES[1:], CPU)
    assert len(made) == 3


@torch.no_grad()
def test_those_of_one_precision_are_not_given_for_the_other(
    checkpoint: LoadedCheckpoint, made: list[LoadedCheckpoint]
) -> None:
    memory = ClassMemory()
    in_fp32 = memory.embeddings(checkpoint, CLASS_NAMES, TEMPLATES, CPU)
    in_bf16 = memory.embeddings(checkpoint, CLASS_NAMES, TEMPLATES, CPU, precision="bf16")
    assert len(made) == 2
    assert not torch.equal(in_bf16, in_fp32)
