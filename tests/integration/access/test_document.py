"""The running API keeps what its own OpenAPI document promises, whatever it is asked."""

import io
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from app.services import nulls
from app.settings import Settings
from cleanclip.vocabulary.null_set import dump_null
from cleanclip.vocabulary.scan_options import ScanOptions
from lab.drills import openapi
from lab.drills.openapi import Explored
from tests.fixtures.scans import a_null
from tests.integration.access.furnished import seeds, served


@pytest.fixture(scope="module")
def explored(service_settings: Settings, service_log: io.StringIO) -> Iterator[Explored]:
    with served(service_settings) as (service, own):
        null = a_null(ScanOptions(), ("zero", "one", "banana"), images_sha256="1" * 64)
        row = nulls.add(service.database, service.store, dump_null(null), account="me@here")
        ours = replace(own, ids={**own.ids, "null": (row.id,)})
        found = openapi.explore(service.url, own.tenant.key, seeds(ours), max_examples=3, seed=20, quick=True)
        documented = httpx.get(f"{service.url}/v1/openapi.json", timeout=60).json()["paths"]
        labels = {f"{method.upper()} {path}" for path, item in documented.items() for method in item}
        assert found.operations == labels, "every operation was called"
        nulls.remove(service.database, service.store, row.id)
        yield found


def test_no_500_and_every_answer_as_documented(explored: Explored) -> None:
    print(f"\n{explored.num_cases} cases for {len(explored.operations)} operations")
    assert not explored.failures, "\n\n".join(explored.failures.values())


def test_every_operation_is_reached_beyond_404(explored: Explored) -> None:
    assert {name for name in explored.operations if not explored.reached(name)} == set()
    assert explored.num_cases > 400


def test_an_answer_that_is_not_as_documented_is_found(
    service_settings: Settings, service_log: io.StringIO
) -> None:
    with served(service_settings) as (service, own):
        app = service.app
        promise = app.openapi()
        usage = promise["paths"]["/v1/usage"]["get"]["responses"]["200"]["content"]
        usage["application/json"]["schema"] = {"type": "object", "required": ["never_sent"]}
        promise["paths"] = {"/v1/usage": promise["paths"]["/v1/usage"]}
        found = openapi.explore(service.url, own.tenant.key, seeds(own), max_examples=1, seed=1, quick=True)
    assert [check for _, check, _ in found.failures] == ["response_schema_conformance"]
