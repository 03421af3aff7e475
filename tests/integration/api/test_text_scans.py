"""What a text scan is refused for, when it is ordered and by its dry run."""

import json
from typing import Any

import httpx
import pytest

from app.domain.states import DatasetKind
from tests.integration.api.service import Service, refused

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
