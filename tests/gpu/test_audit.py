"""On a CUDA device the triggers are those of the CPU, and an audit counts the same images."""

from pathlib import Path

import pytest
import torch

from cleanclip.vocabulary.attack_options import AttackOptions
from cleanclip.vocabulary.recipe import AuditOptions, AuditPrecision
from sanitizer.attacks.catalogue import build_trigger
from sanitizer.audits.audit import AuditResult, run_audit
from sanitizer.checkpoints.model import load_canonical
from sanitizer.data.labelled import open_labelled
from sanitizer.run import Run
from tests.fixtures.audited import write_labelled, write_model
from tests.fixtures.triggers import EVERY_ATTACK, random_images

PRECISIONS: tuple[AuditPrecision, ...] = ("fp32", "bf16")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("options", EVERY_ATTACK.values(), ids=list(EVERY_ATTACK))
def test_a_trigger_is_the_same_on_both_devices(options: AttackOptions) -> None:
    images, trigger = random_images(8, 64), build_trigger(options)
    on_cpu = trigger.apply(images, range(8), 3)
    on_gpu = trigger.apply(images.cuda(), range(8), 3).cpu()
    torch.testing.assert_close(on_gpu, on_cpu, rtol=0, atol=1e-7)


def audited(folder: Path, device: str, precision: AuditPrecision = "fp32") -> AuditResult:
    """Of the same model and images every time."""
    return run_audit(
        load_canonical(write_model(folder / "model")),
        open_labelled(write_labelled(folder / "labelled")),
        AuditOptions(target="cloud", attacks=tuple(EVERY_ATTACK.values()), precision=precision),
        Run(device=torch.device(device)),
        seed=1,
        phase="baseline_audit",
    )


def test_an_audit_counts_the_same_images_on_both_devices(tmp_path: Path) -> None:
    on_cpu, on_gpu = (audited(tmp_path / device, device) for device in ("cpu", "cuda"))
    assert on_gpu.figures == on_cpu.figures
    assert torch.equal(on_gpu.correct_N, on_cpu.correct_N)


def test_an_audit_in_bf16_on_cuda_counts_nearly_the_same_images(tmp_path: Path) -> None:
    in_fp32, in_bf16 = (audited(tmp_path / one, "cuda", one) for one in PRECISIONS)
    assert (in_fp32.correct_N != in_bf16.correct_N).sum() <= 4
