"""Policies over the client, against the running service."""

import pytest

from app.domain.states import DatasetKind
from cleanclip.errors import NotFound
from cleanclip.sync.client import Client
from tests.integration.cleanclip.served import Served


def test_a_policy_is_kept_ordered_with_and_deleted(served: Served, client: Client) -> None:
    kept = client.policies.put("release", {"asr_at_most": 0.1, "asr_at_most_for": {"sig": 0.2}})
    assert client.policies.get("release") == kept
    assert "release" in [one.name for one in client.policies.list(limit=100).data]
    job = client.jobs.create(
        kind="audit",
        checkpoint_id=served.accepted_checkpoint(),
        audit={"dataset_id": served.ready_dataset(DatasetKind.LABELLED), "target": "banana"},
        policy_name="release",
    )
    assert job.policy == kept.policy
    assert job.policy_source == {"given": "kept", "name": "release", "sha256": kept.sha256}
    client.policies.delete("release")
    with pytest.raises(NotFound):
        client.policies.get("release")
    assert client.jobs.get(job.id).policy == kept.policy
