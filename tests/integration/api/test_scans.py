"""Scans are ordered like other jobs; the null that judges one is chosen when it is ordered, and must fit."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from app.cli.main import main
from app.db.models.assets import NullSet as NullRow
from app.domain.errors import Conflict, InvalidInput
from app.domain.states import DatasetKind
from app.schemas.jobs import JobOut
from app.services import nulls
from cleanclip.vocabulary.attack_options import SIGOptions
from cleanclip.vocabulary.null_set import NullSet, dump_null, names_sha256, sealed
from cleanclip.vocabulary.recipe import to_json
from cleanclip.vocabulary.scan_cost import NUM_EDITS
from cleanclip.vocabulary.scan_options import ScanOptions
from cleanclip.vocabulary.scan_report import ScanReport
from tests.browser import left_jobs as left
from tests.fixtures.scans import a_null
from tests.integration.api.service import INSPECTION, Service, refused
from tests.integration.api.test_vettings import anchor
from tests.integration.worker.stand_in_child import WAVE

NAMES = ("zero", "one", "banana")
_ARCHITECTURE: Any = INSPECTION["architecture"]


def fitting(**changes: Any) -> NullSet:
    values: dict[str, Any] = {
        "images_sha256": "1" * 64,
        "architecture": _ARCHITECTURE,
        "name": "small models",
    }
    return a_null(changes.pop("options", ScanOptions()), changes.pop("names", NAMES), **(values | changes))


@pytest.fixture
def added(service: Service) -> Iterator[NullRow]:
    """A null that fits, as an operator adds it."""
    row = nulls.add(service.database, service.store, dump_null(fitting()), account="me@here")
    yield row
    nulls.remove(service.database, service.store, row.id)


OF_A_BASE = sealed(replace(fitting(name="of a base"), fine_tunes_of="B/32"))


def scan_order(service: Service, *, num_samples: int = 300, **scan: Any) -> dict[str, Any]:
    labelled = service.dataset(DatasetKind.LABELLED)
    service.execute(
        "UPDATE datasets SET summary = jsonb_set(summary, '{num_samples}', to_jsonb(cast(:n AS int)))"
        " WHERE id = :id",
        n=num_samples,
        id=labelled,
    )
    return {"kind": "scan", "checkpoint_id": service.checkpoint(), "scan": {"dataset_id": labelled} | scan}


def ordered(api: httpx.Client, order: dict[str, Any]) -> dict[str, Any]:
    answer = api.post("/v1/jobs", json=order)
    assert answer.status_code == 202, answer.text
    JobOut.model_validate_json(answer.content)
    job: dict[str, Any] = answer.json()
    return job


def test_a_scan_is_judged_by_the_null_that_fits_and_keeps_it(
    service: Service, api: httpx.Client, added: NullRow
) -> None:
    order = scan_order(service)
    job = ordered(api, order)
    assert [phase["name"] for phase in job["phases"]] == ["stage", "scan", "publish"]
    null = {"id": added.id, "name": "small models", "sha256": fitting().sha256}
    assert job["scan"]["null"] == null | {"chosen": "by_auto"}
    assert (job["audit"], job["policy"], job["recipe"]) == (None, None, None)
    by_name = ordered(api, scan_order(service, null="small models"))["scan"]["null"]
    assert by_name == null | {"chosen": "by_name"}
    assert ordered(api, scan_order(service, null="none"))["scan"]["null"] is None
    listed = api.get("/v1/jobs", params={"kind": "scan", "limit": 1}).json()["data"]
    assert [one["kind"] for one in listed] == ["scan"]


def test_auto_takes_a_signed_null_then_the_larger_one_and_no_later_one_for_being_later(
    service: Service, api: httpx.Client, added: NullRow
) -> None:
    rows = []

    def add(null: NullSet, **values: Any) -> str:
        rows.append(nulls.add(service.database, service.store, dump_null(null), account="me@here", **values))
        return str(rows[-1].id)

    def taken() -> str:
        return str(ordered(api, scan_order(service))["scan"]["null"]["id"])

    try:
        add(fitting(name="later"))
        of_a_base = add(OF_A_BASE, signing_key_sha256="a" * 64)
        assert taken() == added.id, "only the customer knows whether his model is a fine-tune of that base"
        named = ordered(api, scan_order(service, null="of a base"))["scan"]["null"]
        assert (named["id"], named["chosen"]) == (of_a_base, "by_name")
        assert api.get(f"/v1/nulls/{of_a_base}").json()["fine_tunes_of"] == "B/32"
        few = fitting(name="few")
        signed = add(sealed(replace(few, models=few.models[:9])), signing_key_sha256="a" * 64)
        assert taken() == signed
        more = add(fitting(name="signed, more"), signing_key_sha256="a" * 64)
        assert taken() == more
    finally:
        for row in rows:
            nulls.remove(service.database, service.store, row.id)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        (
            {"architecture": {"model_cfg": {"embed_dim": 65}, "preprocess_cfg": {}}},
            "architecture. Architectures: model_cfg.embed_dim 65 in the null and 64 in the scan.",
        ),
        (
            {"names": ("zero", "banana", "one")},
            "class list. Class lists: SHA-256 "
            f"{names_sha256(('zero', 'banana', 'one'))[:12]}… in the null and SHA-256 "
            f"{names_sha256(NAMES)[:12]}… in the scan.",
        ),
        (
            {"images_sha256": "2" * 64},
            "image set. Image sets: SHA-256 222222222222… in the null and SHA-256 111111111111… in the scan.",
        ),
        (
            {"options": ScanOptions(num_images=128)},
            "options. Options that differ: num_images 128 in the null and 256 in the scan.",
        ),
        (
            {"seed": 1},
            "seed. Seeds: 1 in the null and 0 in the scan.",
        ),
    ],
)
def test_a_null_of_something_else_is_refused_with_what_differs_and_both_values(
    service: Service, api: httpx.Client, changes: dict[str, Any], what: str
) -> None:
    row = nulls.add(service.database, service.store, dump_null(fitting(**changes)), account="me@here")
    try:
        assert ordered(api, scan_order(service))["scan"]["null"] is None, "none fits by itself"
        answer = api.post("/v1/jobs", json=scan_order(service, null="small models"))
        reported = refused(answer, 422, "null_does_not_fit", "/scan/null")
        assert "'small models'" in reported["detail"]
        assert reported["detail"].endswith(f": {what}")
    finally:
        nulls.remove(service.database, service.store, row.id)


def test_what_cannot_be_scanned_is_refused_before_anything_is_queued(
    service: Service, api: httpx.Client
) -> None:
    unknown = scan_order(service, null="nobody's")
    few = scan_order(service, num_samples=127)
    alone = scan_order(service)
    service.execute(
        'UPDATE datasets SET summary = summary || \'{"class_names": ["zero"]}\'::jsonb WHERE id = :id',
        id=alone["scan"]["dataset_id"],
    )
    of_one = scan_order(service)
    service.execute(
        "UPDATE datasets SET summary = summary || cast(:reported AS jsonb) WHERE id = :id",
        reported='{"images_per_class": [300, 0, 0]}',
        id=of_one["scan"]["dataset_id"],
    )
    both = scan_order(service, class_names="none", vocabulary=False, detectors=["collapse"])
    twice = scan_order(service, further_classes=["apple", "banana"])
    hasty = scan_order(service, collapse={"restarts": 0})
    nameless = scan_order(service, templates=["a photo of a {c}.", "a photo"])
    audit = {"dataset_id": nameless["scan"]["dataset_id"], "target": "zero", "templates": ["a photo"]}
    audited = {"kind": "audit", "checkpoint_id": nameless["checkpoint_id"], "audit": audit}
    cleaned = {
        "kind": "sanitize",
        "checkpoint_id": nameless["checkpoint_id"],
        "dataset_id": service.dataset(DatasetKind.PAIRS),
        "audit": {"dataset_id": nameless["scan"]["dataset_id"]},
        "scan": {"class_names": "none", "detectors": ["collapse"]},
    }
    pairs = scan_order(service)
    pairs["scan"]["dataset_id"] = service.dataset(DatasetKind.PAIRS)
    with service.nothing_left_behind():
        refused(api.post("/v1/jobs", json=unknown), 404, "null_not_found", "/scan/null")
        refused(api.post("/v1/jobs", json=few), 422, "scan_too_few_images", "/scan/dataset_id")
        refused(api.post("/v1/jobs", json=alone), 422, "scan_too_few_classes", "/scan/further_classes")
        refused(api.post("/v1/jobs", json=of_one), 422, "scan_one_class", "/scan/dataset_id")
        refused(api.post("/v1/jobs", json=twice), 422, "scan_class_repeated", "/scan/further_classes")
        refused(api.post("/v1/jobs", json=hasty), 422, "invalid_request", "/scan/collapse/restarts")
        refused(api.post("/v1/jobs", json=both), 422, "invalid_request")
        refused(api.post("/v1/jobs", json=nameless), 422, "bad_template", "/scan/templates/1")
        refused(api.post("/v1/jobs", json=audited), 422, "bad_template", "/audit/templates/0")
        for order in (nameless, audited):
            ahead = api.post("/v1/jobs/dry-run", json=order).json()
            assert [one["code"] for one in ahead["obstacles"]] == ["bad_template"]
        refused(api.post("/v1/jobs", json=cleaned), 422, "invalid_request", "/audit/target")
        refused(api.post("/v1/jobs", json=pairs), 422, "dataset_wrong_kind", "/scan/dataset_id")


ALL = ("collapse", "edits", "residual")


def test_a_scan_names_an_anchor_and_the_null_was_measured_with_it(
    service: Service, api: httpx.Client
) -> None:
    known = anchor(service)
    named = {"detectors": list(ALL), "anchor_checkpoint_id": known}
    null = fitting(options=ScanOptions(detectors=ALL), anchor_sha256="5" * 64)
    row = nulls.add(service.database, service.store, dump_null(null), account="me@here")
    try:
        shown = api.get(f"/v1/nulls/{row.id}").json()
        assert shown["anchor_sha256"] == "5" * 64
        order = scan_order(service, **named)
        job = ordered(api, order)
        assert job["scan"]["null"]["id"] == row.id
        defaults = api.get("/v1/methods").json()["scan"]["defaults"]
        assert job["scan"] == defaults | order["scan"] | {"null": job["scan"]["null"]}
        unknown = anchor(service, weights="6")
        other = scan_order(service, null="small models", **named | {"anchor_checkpoint_id": unknown})
        reported = refused(api.post("/v1/jobs", json=other), 422, "null_does_not_fit", "/scan/null")
        assert "differs in: anchor." in reported["detail"]
        other["scan"]["null"] = "auto"
        assert ordered(api, other)["scan"]["null"] is None
    finally:
        nulls.remove(service.database, service.store, row.id)
    refused(api.delete(f"/v1/checkpoints/{known}"), 409, "checkpoint_in_use")


def test_an_anchor_that_cannot_be_used_is_refused(service: Service, api: httpx.Client) -> None:
    def order(detectors: str, anchor: str | None = None) -> dict[str, Any]:
        return scan_order(service, detectors=detectors.split(), anchor_checkpoint_id=anchor)

    same, other, unknown = service.checkpoint(), anchor(service), "ckpt_" + "0" * 26
    tower = {"embed_dim": 64, "vision_cfg": {"image_size": 32}, "text_cfg": {"vocab_size": 49408}}
    suspect = service.checkpoint()
    words = anchor(service, architecture={"model_cfg": tower | {"text_cfg": {"vocab_size": 32000}}})
    service.execute(
        "UPDATE checkpoints SET inspection = inspection || cast(:reported AS jsonb) WHERE id = :id",
        reported=json.dumps({"architecture": {"model_cfg": tower}}),
        id=suspect,
    )
    theirs = service.checkpoint(project_id=service.theirs.project_id)
    cases = (
        (order("residual"), 422, "scan_anchor_missing", "detectors"),
        (order("collapse", anchor=other), 422, "scan_anchor_unused", "anchor_checkpoint_id"),
        (order("residual", anchor=same), 422, "anchor_is_the_suspect", "anchor_checkpoint_id"),
        (
            order("residual", anchor=words) | {"checkpoint_id": suspect},
            *(422, "anchor_tokenizer", "anchor_checkpoint_id"),
        ),
        (order("residual", anchor=unknown), 404, "checkpoint_not_found", "anchor_checkpoint_id"),
        (order("residual", anchor=theirs), 404, "checkpoint_not_found", "anchor_checkpoint_id"),
    )
    with service.nothing_left_behind():
        for body, status, code, field in cases:
            refused(api.post("/v1/jobs", json=body), status, code, f"/scan/{field}")
            ahead = api.post("/v1/jobs/dry-run", json=body)
            if status == 404:
                refused(ahead, status, code, f"/scan/{field}")
                continue
            found = [(one["code"], one["pointer"]) for one in ahead.json()["obstacles"]]
            assert found == [(code, f"/scan/{field}")]
    assert ordered(api, order("residual", anchor=other))["scan"]["anchor_checkpoint_id"] == other


def test_a_dry_run_counts_what_an_anchor_costs(service: Service, api: httpx.Client) -> None:
    def passes(**scan: Any) -> int:
        found = api.post("/v1/jobs/dry-run", json=scan_order(service, **scan)).json()
        assert found["obstacles"] == []
        amount: int = {one["name"]: one for one in found["phases"]}["scan"]["amount"]
        return amount

    assert passes(detectors=["residual"], anchor_checkpoint_id=anchor(service)) == math.ceil(
        (200 + 300 + 100 + 2 * NUM_EDITS * 192) / 3
    )
    assert passes() - passes(detectors=["collapse"]) == pytest.approx(NUM_EDITS * 192 / 3, abs=1)


def test_a_dry_run_tells_the_cost_and_whether_there_will_be_a_p_value(
    service: Service, api: httpx.Client, added: NullRow
) -> None:
    order = scan_order(service)
    with service.nothing_left_behind():
        found = api.post("/v1/jobs/dry-run", json=order).json()
        other = api.post("/v1/jobs/dry-run", json=order | {"seed": 5}).json()
    phases = {one["name"]: one for one in found["phases"]}
    assert phases["scan"]["unit"] == "passes"
    assert 10_000 < phases["scan"]["amount"] < 1_000_000
    assert (found["obstacles"], found["warnings"]) == ([], [])
    assert [one for one in other["warnings"] if "no p-value" in one], other["warnings"]
    assert api.post("/v1/jobs/dry-run", json={"kind": "scan", "scan": {}}).status_code == 200


def test_every_project_reads_the_nulls_and_nobody_changes_one(
    service: Service, api: httpx.Client, added: NullRow
) -> None:
    [one] = api.get("/v1/nulls").json()["data"]
    assert service.store.head(added.object_key).size_bytes == one["size_bytes"]
    assert one == service.theirs.http.get(f"/v1/nulls/{added.id}").json()
    assert (one["name"], one["num_models"], one["smallest_p"]) == ("small models", 19, 1 / 20)
    assert one["options"] == to_json(ScanOptions())
    refused(api.get("/v1/nulls/null_" + "0" * 26), 404, "null_not_found")
    refused(api.post("/v1/nulls", json={}), 405, "method_not_allowed")


def test_an_operator_adds_a_null_once_and_no_damaged_one(service: Service, added: NullRow) -> None:
    kept = service.store.read_bytes(added.object_key, max_bytes=10**7)
    assert kept == dump_null(fitting())
    with service.nothing_left_behind():
        with pytest.raises(Conflict, match="already"):
            nulls.add(service.database, service.store, kept, account="me@here")
        for code, data in (
            ("null_unreadable", b"{"),
            ("null_version", kept.replace(b'"version": 1', b'"version": 2')),
            ("null_damaged", kept.replace(b"Stand-ins.", b"Others.")),
            ("null_name_invalid", dump_null(fitting(name="auto"))),
        ):
            with pytest.raises(InvalidInput) as refusal:
                nulls.add(service.database, service.store, data, account="me@here")
            assert refusal.value.code == code


def test_the_digest_that_operators_see_is_the_one_of_the_api_and_of_reports(
    service: Service,
    added: NullRow,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CLEANCLIP_DATABASE__URL", database_url)
    assert main(["nulls", "--json"]) == 0
    [listed] = [json.loads(line) for line in capsys.readouterr().out.splitlines() if added.id in line]
    assert listed["sha256"] == fitting().sha256 != added.sha256


def test_a_removed_null_judges_nothing_any_more(service: Service, api: httpx.Client) -> None:
    row = nulls.add(service.database, service.store, dump_null(fitting()), account="me@here")
    nulls.remove(service.database, service.store, row.id)
    assert api.get("/v1/nulls").json()["data"] == []
    assert [*service.store.list_prefix("nulls/")] == []
    refused(api.post("/v1/jobs", json=scan_order(service, null="small models")), 404, "null_not_found")


def found_by(service: Service, scan_id: str, **audit: Any) -> dict[str, Any]:
    """An order of an audit with what that scan found."""
    scan = service.ours.http.get(f"/v1/jobs/{scan_id}").json()
    return {
        "kind": "audit",
        "checkpoint_id": scan["checkpoint_id"],
        "audit": {
            "dataset_id": scan["scan"]["dataset_id"],
            "target": "banana",
            "attacks_from_scan": scan_id,
        }
        | audit,
    }


def test_what_a_scan_found_is_audited_and_stays_in_the_job_when_the_scan_is_gone(
    service: Service, api: httpx.Client
) -> None:
    scan_id = left.scanned(service)
    order = found_by(service, scan_id)
    job = api.post("/v1/jobs", json=order, headers={"Idempotency-Key": "found"}).json()
    [attack] = job["audit"]["attacks"]
    assert (attack["attack"], attack["target"], attack["size"]) == ("custom_patch", "apple", 0.25)
    assert job["audit"]["attacks_from_scan"] == scan_id
    beside = ordered(api, found_by(service, scan_id, suite="structured"))["audit"]["attacks"]
    assert [one["attack"] for one in beside] == [
        *("badnet", "blended", "blended", "text_trigger"),
        "custom_patch",
    ]
    twice = found_by(service, scan_id, attacks=job["audit"]["attacks"])
    refused(api.post("/v1/jobs", json=twice), 422, "scan_found_no_attack", "/audit/attacks_from_scan")
    ahead = api.post("/v1/jobs/dry-run", json=order).json()
    assert ahead["obstacles"] == []
    assert "1 trigger" in next(one["does"] for one in ahead["phases"] if one["name"] == "baseline_audit")
    assert api.delete(f"/v1/jobs/{scan_id}").status_code == 202
    again = api.post("/v1/jobs", json=order, headers={"Idempotency-Key": "found"})
    assert (again.status_code, again.json()) == (202, job)
    assert api.get(f"/v1/jobs/{job['id']}").json()["audit"]["attacks"] == [attack]


def test_a_wave_that_a_scan_found_is_audited_as_sig(service: Service, api: httpx.Client) -> None:
    wave = SIGOptions(amplitude=WAVE.strength, frequency=6, target="apple")

    def of_wave(report: ScanReport) -> ScanReport:
        [first] = report.hypotheses
        trigger = replace(first.trigger, family=WAVE, pattern=None)
        found = replace(first, detector="edits", trigger=trigger, statistic=0.9, null_figures=None)
        return replace(report, hypotheses=(found,))

    scan_id = left.scanned(service, change=of_wave)
    order = found_by(service, scan_id)
    [attack] = ordered(api, order)["audit"]["attacks"]
    assert attack == to_json(wave)
    [shown] = api.get(f"/v1/jobs/{scan_id}").json()["result"]["scan"]["hypotheses"]
    assert (shown["detector"], shown["family"]) == ("edits", "wave:x:6:0.196")
    order["audit"]["suite"] = "paper"
    assert [one["attack"] for one in ordered(api, order)["audit"]["attacks"]].count("sig") == 2


def test_what_no_scan_of_this_model_found_is_no_attack(service: Service, api: httpx.Client) -> None:
    scan_id = left.scanned(service)
    order = found_by(service, scan_id)
    waiting = ordered(api, scan_order(service))["id"]
    audit = ordered(api, found_by(service, scan_id))["id"]

    def without_attack(report: ScanReport) -> ScanReport:
        [found] = report.hypotheses
        warp = next(one for one in report.options.families if one.family == "warp")
        trigger = replace(found.trigger, family=warp, pattern=None)
        return replace(report, hypotheses=(replace(found, trigger=trigger),))

    nothing = left.scanned(service, change=without_attack)
    elsewhere = found_by(service, scan_id, dataset_id=service.dataset(DatasetKind.LABELLED))
    another = order | {"checkpoint_id": service.checkpoint()}
    with service.nothing_left_behind():
        for other, status, code in (
            ("job_01k0000000000000000000000a", 404, "job_not_found"),
            (waiting, 409, "job_not_finished"),
            (audit, 422, "job_is_no_scan"),
            (nothing, 422, "scan_found_no_attack"),
        ):
            body = order | {"audit": order["audit"] | {"attacks_from_scan": other}}
            refused(api.post("/v1/jobs", json=body), status, code, "/audit/attacks_from_scan")
        for body, code in ((elsewhere, "scan_found_no_attack"), (another, "scan_of_another_model")):
            refused(api.post("/v1/jobs", json=body), 422, code, "/audit/attacks_from_scan")
            ahead = api.post("/v1/jobs/dry-run", json=body).json()
            assert [one["code"] for one in ahead["obstacles"]] == [code]
        theirs = service.theirs.http.post("/v1/jobs", json=order)
        refused(theirs, 404, "job_not_found", "/audit/attacks_from_scan")


def cleaning_order(service: Service, *, num_samples: int = 300, **changes: Any) -> dict[str, Any]:
    """Of a cleaning whose audit names nothing but its dataset."""
    scan = scan_order(service, num_samples=num_samples)
    return {
        "kind": "sanitize",
        "checkpoint_id": scan["checkpoint_id"],
        "dataset_id": service.dataset(DatasetKind.PAIRS),
        "recipe": {"epochs": 1, "batch_size": 16},
        "audit": dict(scan["scan"]),
    } | changes


def test_a_cleaning_that_names_no_trigger_scans_first(
    service: Service, api: httpx.Client, added: NullRow
) -> None:
    order = cleaning_order(service)
    ahead = api.post("/v1/jobs/dry-run", json=order).json()
    assert ahead["obstacles"] == []
    assert any("scans the model first" in one for one in ahead["warnings"])
    phases = {one["name"]: one for one in ahead["phases"]}
    assert list(phases)[:3] == ["stage", "scan", "baseline_audit"]
    assert 10_000 < phases["scan"]["amount"] < 1_000_000
    assert "8 triggers, and up to 5 that the scan finds" in phases["baseline_audit"]["does"]
    job = ordered(api, order)
    assert (job["audit"]["target"], len(job["audit"]["attacks"])) == (None, 9)
    assert job["scan"]["null"]["name"] == added.name
    assert [one["name"] for one in job["phases"]][:2] == ["stage", "scan"]


def test_a_scan_that_is_ordered_stands_beside_what_is_named(service: Service, api: httpx.Client) -> None:
    order = cleaning_order(service, scan={"null": "none", "significance": 0.01})
    order["audit"] |= {"target": "banana", "attacks": [{"attack": "badnet"}]}
    limited = order | {"policy": {"asr_at_most": 0.2, "asr_at_most_for": {"custom_patch": 0.25}}}
    job = ordered(api, limited)
    assert job["audit"]["target"] == "banana"
    assert [one["attack"] for one in job["audit"]["attacks"]] == ["badnet"]
    assert (job["scan"]["null"], job["scan"]["significance"]) == (None, 0.01)
    unscanned = limited | {"scan": False}
    refused(
        api.post("/v1/jobs", json=unscanned),
        422,
        "policy_limits_untried",
        "/policy/asr_at_most_for/custom_patch",
    )
    assert ordered(api, order | {"scan": False})["scan"] is None


def test_an_order_that_nothing_gives_a_target_is_refused(service: Service, api: httpx.Client) -> None:
    order = cleaning_order(service)
    audit = {"kind": "audit", "checkpoint_id": order["checkpoint_id"], "audit": order["audit"]}
    named = order | {"audit": order["audit"] | {"attacks": [{"attack": "badnet"}]}}
    two = order | {"audit": order["audit"] | {"attacks_from_scan": "job_01k0000000000000000000000a"}}
    few = cleaning_order(service, num_samples=100)
    with service.nothing_left_behind():
        for body in (order | {"scan": False}, audit, named):
            assert _pointers(api.post("/v1/jobs", json=body)) == ["/audit/target"]
            assert _pointers(api.post("/v1/jobs/dry-run", json=body)) == ["/audit/target"]
        assert _pointers(api.post("/v1/jobs", json=two | {"scan": True})) == ["/scan"]
        refused(api.post("/v1/jobs", json=few), 422, "scan_too_few_images", "/audit/dataset_id")


def _pointers(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 422, answer.text
    return [one["pointer"] for one in answer.json()["errors"]]


def test_what_a_scan_found_gives_the_target_of_an_order_without_one(
    service: Service, api: httpx.Client
) -> None:
    order = found_by(service, left.scanned(service))
    del order["audit"]["target"]
    assert ordered(api, order)["audit"]["target"] == "apple"
