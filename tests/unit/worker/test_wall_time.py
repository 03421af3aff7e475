"""How long a job's process may take: by its rows, and by no word of its own."""

from types import SimpleNamespace
from typing import Any

import pytest

from cleanclip.kinds.catalogue import KINDS
from cleanclip.kinds.text_scan import TextScanSpec
from cleanclip.vocabulary.attack_options import BadNetOptions
from cleanclip.vocabulary.jobspec import AuditSpec, InspectSpec, JobSpec, SanitizeSpec, ScanSpec, VetSpec
from cleanclip.vocabulary.model_cost import gflop_per_pass
from cleanclip.vocabulary.recipe import AuditOptions, CleanCLIPRecipe
from cleanclip.vocabulary.scan_options import ScanOptions
from cleanclip.vocabulary.text_scan_options import TextScanOptions
from cleanclip.vocabulary.uar_recipe import UARRecipe
from cleanclip.vocabulary.vet_options import VetOptions
from worker.wall_time import FLOOR_S, wall_limit_s

AUDIT = AuditOptions(target="banana", attacks=(BadNetOptions(),))
SIZES = {"labelled": 1000, "pairs": 6400, "training": 6400, "trusted": 100}
B_32 = {"image_size": 224, "patch_size": 32, "width": 768, "layers": 12}
RN50 = {"image_size": 224, "patch_size": None, "width": 64, "layers": [3, 4, 6, 3]}
L_14_336 = {"image_size": 336, "patch_size": 14, "width": 1024, "layers": 24}


def staged(spec: JobSpec, sizes: dict[str, int | None], vision: Any = B_32) -> Any:
    return SimpleNamespace(
        spec=spec,
        known=SimpleNamespace(config={"model_cfg": {"vision_cfg": vision}}),
        datasets=[{"role": role, "num_samples": number} for role, number in sizes.items()],
        received=[SimpleNamespace(size_bytes=10**6)],
    )


SPECS: dict[str, JobSpec] = {
    "audit": AuditSpec(audit=AUDIT),
    "scan": ScanSpec(scan=ScanOptions()),
    "text_scan": TextScanSpec(text_scan=TextScanOptions()),
    "vet": VetSpec(data_kind="pairs", vet=VetOptions()),
    "cleanclip": SanitizeSpec(recipe=CleanCLIPRecipe(), audit=AUDIT),
    "uar": SanitizeSpec(recipe=UARRecipe(), audit=AUDIT),
}


@pytest.mark.parametrize("kind", SPECS)
def test_each_kind_has_a_limit_that_grows_with_its_rows_and_is_never_below_the_floor(kind: str) -> None:
    """By its inputs; a text scan's by the texts of its options, and by images up to as many as those say."""
    few, many = ({role: n * number for role, number in SIZES.items()} for n in (0, 100))
    low = wall_limit_s(staged(SPECS[kind], dict(few)), uses_cuda=False, factor=1.0)
    high = wall_limit_s(staged(SPECS[kind], dict(many)), uses_cuda=False, factor=1.0)
    assert low is not None
    assert high is not None
    assert FLOOR_S <= low < high


def test_every_kind_that_customers_order_has_a_limit_by_its_rows() -> None:
    ordered = {name for name, kind in KINDS.items() if kind.is_public}
    assert {spec.kind for spec in SPECS.values()} == ordered


def test_a_job_of_an_hour_is_ended_within_days_and_not_within_a_day() -> None:
    """1,000 images with a trigger, 10 epochs on 6,400 pairs, a search: hours on cores, minutes on a GPU."""
    job = staged(SPECS["cleanclip"], dict(SIZES))
    on_cores = wall_limit_s(job, uses_cuda=False, factor=1.0)
    on_gpu = wall_limit_s(job, uses_cuda=True, factor=1.0)
    assert on_cores is not None
    assert on_gpu is not None
    assert 2 * 86_400 < on_cores < 60 * 86_400
    assert 2 * 3600 < on_gpu < 2 * 86_400


def test_the_operator_scales_it() -> None:
    job = staged(SPECS["audit"], dict(SIZES))
    once, twice = (wall_limit_s(job, uses_cuda=True, factor=factor) for factor in (1.0, 2.0))
    assert (once or 0) * 2 == twice


def test_a_set_whose_samples_were_not_counted_has_as_many_as_fit_into_its_bytes() -> None:
    unknown = wall_limit_s(staged(SPECS["audit"], {"labelled": None}), uses_cuda=False, factor=1.0)
    counted = wall_limit_s(staged(SPECS["audit"], {"labelled": 10**6 // 1024}), uses_cuda=False, factor=1.0)
    assert unknown == counted


def test_the_service_own_kinds_have_limits_of_their_own() -> None:
    assert KINDS["inspect"].most_passes(InspectSpec(filename="x"), SIZES) == 0
    assert wall_limit_s(SimpleNamespace(known=None), uses_cuda=False, factor=1.0) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(("vision", "published"), [(B_32, 8.8), (RN50, 12.2), (L_14_336, 382.0)])
def test_the_work_of_a_pass_is_near_what_is_published(vision: dict[str, Any], published: float) -> None:
    config = {"model_cfg": {"vision_cfg": vision}}
    assert gflop_per_pass(config) == pytest.approx(published, rel=0.2)
