"""What a process without requests shows to Prometheus."""

import signal
import urllib.request

import pytest
from prometheus_client import generate_latest

from app.domain.states import JobKind, JobPhase, JobState, phases_of
from app.local.processes import free_ports
from app.settings import MetricsSettings
from cleanclip.vocabulary.jobspec import EXIT_INTERRUPTED, EXIT_REFUSED, EXIT_SUCCEEDED
from cleanclip.vocabulary.progress import Advanced, PhaseFinished, PhaseStarted
from worker import metrics
from worker.confinement.outcome import Seen, exit_reason
from worker.tracker import Tracker


def value(name: str, **labels: str) -> float | None:
    return metrics.REGISTRY.get_sample_value(name, labels)


def test_every_count_is_there_with_a_zero_before_anything_happened() -> None:
    [port] = free_ports(1)
    metrics.start(MetricsSettings(port=port, host="127.0.0.1"), worker=True, sweeper=True, deliverer=True)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    shown = opener.open(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    for kind in JobKind:
        for outcome in metrics.OUTCOMES:
            assert f'cleanclip_attempts_total{{kind="{kind.value}",outcome="{outcome}"}}' in shown
        for phase in phases_of(kind):
            labels = f'kind="{kind.value}",phase="{phase.value}"'
            assert f"cleanclip_phase_duration_seconds_count{{{labels}}}" in shown
    for reason in metrics.EXIT_REASONS:
        assert f'cleanclip_child_exits_total{{reason="{reason}"}}' in shown
    for name in ("cleanclip_worker_busy 0.0", "cleanclip_sweeps_total 0.0", 'outcome="delivered"'):
        assert name in shown
    assert 'cleanclip_oldest_waiting_job_seconds{queue="cleanclip.light"} 0.0' in shown


@pytest.mark.parametrize(
    ("status", "ran_out", "reason"),
    [
        (EXIT_SUCCEEDED, True, "succeeded"),
        (EXIT_REFUSED, False, "refused"),
        (EXIT_INTERRUPTED, False, "interrupted"),
        (121, False, "crashed"),
        (-signal.SIGKILL, False, "killed"),
        (-signal.SIGKILL, True, "container_out_of_memory"),
        (-signal.SIGSEGV, False, "signal"),
        (1, False, "crashed"),
    ],
)
def test_a_childs_end_has_one_of_the_reasons(status: int, ran_out: bool, reason: str) -> None:
    assert exit_reason(Seen(status=status, container_ran_out=ran_out)) == reason
    assert exit_reason(Seen(status=status, was_set_up=False)) == "setup"
    assert reason in metrics.EXIT_REASONS


def test_phases_are_timed_and_the_rate_of_training_is_shown_while_it_lasts() -> None:
    kind, phase = JobKind.SANITIZE, JobPhase.FINETUNE
    labels = {"kind": kind.value, "phase": phase.value}
    before = value("cleanclip_phase_duration_seconds_count", **labels) or 0.0
    with metrics.busy():
        tracker = Tracker(kind)
        tracker.apply(PhaseStarted(phase=phase.value, total=2, unit="steps"))
        tracker.apply(Advanced(phase=phase.value, done=1, total=2, rate=64.5, rate_unit="pairs"))
        assert value("cleanclip_worker_busy") == 1
        assert value("cleanclip_training_pairs_per_second") == 64.5
        tracker.apply(PhaseFinished(phase=phase.value))
        tracker.apply(PhaseFinished(phase=phase.value))
    assert value("cleanclip_phase_duration_seconds_count", **labels) == before + 1
    assert value("cleanclip_worker_busy") == value("cleanclip_training_pairs_per_second") == 0


def test_how_an_attempt_left_its_job_is_counted() -> None:
    before = value("cleanclip_attempts_total", kind="audit", outcome="lost") or 0.0
    metrics.attempt_ended(JobKind.AUDIT, None)
    metrics.attempt_ended(JobKind.AUDIT, JobState.SUCCEEDED)
    assert value("cleanclip_attempts_total", kind="audit", outcome="lost") == before + 1
    assert b"job_0" not in generate_latest(metrics.REGISTRY)
