"""Where and in which arithmetic: rules that are written down are rules that are kept."""

import os

import pytest
import torch

from cleanclip.vocabulary.errors import OptionsRejected
from sanitizer.training import device
from tests.fixtures.tiny_clips import tiny_clip

CPU = torch.device("cpu")


def test_a_device_that_is_not_there_is_refused_with_a_reason():
    if torch.cuda.is_available():
        pytest.skip("this machine has one")
    with pytest.raises(OptionsRejected) as caught:
        device.pick("cuda")
    assert caught.value.code == "device_absent"
    with pytest.raises(OptionsRejected) as caught:
        device.pick("abacus")
    assert caught.value.code == "unknown_device"
    assert device.pick("cpu") == CPU


def test_auto_keeps_float32_for_small_models_and_bf16_is_obeyed(monkeypatch):
    model = tiny_clip()
    monkeypatch.setattr(device, "cpu_has_bf16", lambda: True)
    assert device.towers_dtype("auto", CPU, model) == torch.float32
    assert device.towers_dtype("bf16", CPU, model) == torch.bfloat16
    assert device.towers_dtype("fp32", CPU, model) == torch.float32


def test_auto_takes_bf16_for_large_models_where_the_processor_has_it(monkeypatch):
    model = tiny_clip()
    monkeypatch.setattr(device, "LARGE_MODEL_PARAMETERS", device.num_tower_parameters(model))
    monkeypatch.setattr(device, "cpu_has_bf16", lambda: True)
    assert device.towers_dtype("auto", CPU, model) == torch.bfloat16
    monkeypatch.setattr(device, "cpu_has_bf16", lambda: False)
    assert device.towers_dtype("auto", CPU, model) == torch.float32


def test_the_token_table_does_not_make_a_model_large():
    model = tiny_clip()
    everything = sum(parameter.numel() for parameter in model.parameters())
    assert device.num_tower_parameters(model) == everything - model.token_embedding.weight.numel()


@pytest.mark.parametrize(
    ("cores", "is_small", "threads", "workers"),
    [
        (1, True, 1, 0),
        (2, True, 1, 1),
        (2, False, 2, 1),
        (4, True, 3, 1),
        (16, True, 4, 3),
        (16, False, 16, 3),
    ],
)
def test_cores_are_shared_between_arithmetic_and_loading(monkeypatch, cores, is_small, threads, workers):
    model = tiny_clip()
    monkeypatch.setattr(device, "num_granted_cores", lambda: cores)
    monkeypatch.setattr(device, "LARGE_MODEL_PARAMETERS", 10**9 if is_small else 0)
    before = torch.get_num_threads()
    try:
        assert device.share_cores(model, CPU) == workers
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_the_environment_may_grant_fewer_cores_but_not_more(monkeypatch):
    cores = len(os.sched_getaffinity(0))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert device.num_granted_cores() == cores
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert device.num_granted_cores() == 1
    for asked in ("100000", "0", "many", ""):
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
        assert device.num_granted_cores() == cores
