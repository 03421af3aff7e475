"""What a text scan is refused for, when it is ordered and by its dry run."""

import json
from typing import Any

import httpx
import pytest

from app.domain.states import DatasetKind
from tests.browser import left_jobs
from tests.integration.api.service import Service, refused
from tests.integration.api.test_dry_run import become

PARTS = {
    "text_scan_tokenizer": "/checkpoint_id",
    "text_scan_too_few_classes": "/text_scan/dataset_id",
}


def order(service: Service, code: str) -> dict[str, Any]:
    """One that is refused for that alone."""
    checkpoint = service.checkpoint()
    names = ("zero", "one", "banana")
    if code == "text_scan_tokenizer":
        service.execute(
            "UPDATE checkpoints SET inspection = jsonb_set(inspection,"
            " '{architecture,model_cfg,text_cfg}', cast(:config AS jsonb)) WHERE id = :id",
            config=json.dumps({"hf_tokenizer_name": "timm/ViT-B-16-SigLIP"}),
            id=checkpoint,
        )
    else:
        names = ("zero", "Zero ", "one")
    labelled = service.dataset(DatasetKind.LABELLED, class_names=names)
    return {"kind": "text_scan", "checkpoint_id": checkpoint, "text_scan": {"dataset_id": labelled}}


@pytest.mark.parametrize(("code", "pointer"), PARTS.items())
def test_a_text_scan_is_refused_and_nothing_is_left(
    code: str, pointer: str, service: Service, api: httpx.Client
) -> None:
    body = order(service, code)
    with service.nothing_left_behind():
        refused(api.post("/v1/jobs", json=body), 422, code, pointer)
        [obstacle] = api.post("/v1/jobs/dry-run", json=body).json()["obstacles"]
        assert obstacle["code"] == code


def test_a_dry_run_after_a_text_scan_says_how_long_that_took(service: Service, api: httpx.Client) -> None:
    earlier = left_jobs.text_scanned(service)
    left_jobs.lasted(service, earlier, text_scan=400)
    job = api.get(f"/v1/jobs/{earlier}").json()
    part = {"dataset_id": job["text_scan"]["dataset_id"], "num_screen_texts": 8}
    body = {"kind": "text_scan", "checkpoint_id": job["checkpoint_id"], "text_scan": part}
    [_, scan, _] = api.post("/v1/jobs/dry-run", json=body).json()["phases"]
    assert (scan["name"], scan["unit"], scan["time"]["num_jobs"]) == ("text_scan", "texts", 1)
    assert scan["amount"] == 160 * (1 + 400 + 24) + 49_406 * 8
    shorter = scan["amount"] - 49_406 * 4 + 160  # of the earlier one, which measured a word
    assert scan["time"]["low_s"] == pytest.approx(400 * scan["amount"] / shorter, rel=0.01)
    assert "up to 100 images" in scan["does"]
    assert "every token of CLIP's vocabulary in 8 texts" in scan["does"]


def test_without_an_earlier_one_the_time_of_a_text_scan_is_an_estimate(
    service: Service, api: httpx.Client
) -> None:
    labelled = service.dataset(DatasetKind.LABELLED)
    body = {
        "kind": "text_scan",
        "checkpoint_id": service.checkpoint(),
        "text_scan": {"dataset_id": labelled},
    }
    become(service, body, "ViT-B/32")
    ahead = api.post("/v1/jobs/dry-run", json=body).json()
    time = ahead["phases"][1]["time"]
    assert time["num_jobs"] == 0
    assert 60 < time["low_s"] < time["high_s"]
    assert ahead["plan"] is not None
