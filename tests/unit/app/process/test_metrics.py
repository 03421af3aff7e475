"""What the API shows to Prometheus, and where."""

import httpx

from app.domain.states import JobKind, JobState
from app.live.metrics import Metrics
from app.live.metrics_port import serving


def test_every_kind_and_state_of_job_has_a_count_though_it_be_zero() -> None:
    shown = Metrics(lambda: {("audit", "queued"): 3}).render().decode()
    assert 'cleanclip_jobs{kind="audit",state="queued"} 3.0' in shown
    for kind in JobKind:
        for state in JobState:
            assert f'cleanclip_jobs{{kind="{kind.value}",state="{state.value}"}}' in shown


def test_metrics_have_a_port_of_their_own_that_answers_nothing_else() -> None:
    metrics = Metrics(dict)
    with serving(metrics.render, "127.0.0.1", 0) as port, httpx.Client(trust_env=False) as client:
        answer = client.get(f"http://127.0.0.1:{port}/metrics")
        assert answer.status_code == 200
        assert answer.text.count("# TYPE") == metrics.render().decode().count("# TYPE") > 5
        assert client.get(f"http://127.0.0.1:{port}/v1/jobs").status_code == 404
