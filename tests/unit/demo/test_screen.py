"""What the demo prints where there is no terminal: one line for each thing that is finished, once."""

from datetime import UTC, datetime, timedelta
from io import StringIO

from rich.console import Console

from cleanclip.models import Job, Phase, Progress
from demo import screen
from lab.testbed.training import EpochFigures

START = datetime(2026, 1, 1, tzinfo=UTC)


def job(phase: str, states: dict[str, str], progress: Progress | None = None) -> Job:
    phases = tuple(
        Phase(name=name, state=state, started_at=START, finished_at=START + timedelta(seconds=2.5))
        for name, state in states.items()
    )
    return Job(
        id="job_1",
        kind="sanitize",
        state="running",
        phase=phase,
        phases=phases,
        progress=progress or Progress(),
    )


def test_each_finished_phase_is_told_once_with_its_time() -> None:
    output = StringIO()
    with screen.bars(Console(file=output, width=100)) as progress:
        bars = screen.JobBars(progress)
        bars(job("stage", {"stage": "running", "finetune": "pending"}))
        for _ in range(3):
            bars(job("finetune", {"stage": "succeeded", "finetune": "running"}))
        bars(job("finetune", {"stage": "succeeded", "finetune": "succeeded"}))
    lines = [line.strip() for line in output.getvalue().splitlines() if "done" in line]
    assert lines == ["Fetch what the job reads: done, 2.5 s", "Clean by fine-tuning: done, 2.5 s"]


def test_the_running_phase_shows_share_rate_loss_and_time_left() -> None:
    state = Progress(fraction=0.25, rate=150.4, rate_unit="pairs", eta_s=75.2, loss=1.234)
    with screen.bars(Console(file=StringIO())) as progress:
        screen.JobBars(progress)(job("finetune", {"stage": "succeeded", "finetune": "running"}, state))
        running = progress.tasks[-1]
    assert running.completed == 0.25
    assert running.fields["note"] == "150 pairs/s, loss 1.23, 1:15 left"


def test_every_epoch_of_the_poisoning_is_a_line() -> None:
    output = StringIO()
    with screen.bars(Console(file=output, width=100)) as progress:
        bar = screen.PoisonBar(progress, 128)
        bar.step(1, 10)
        bar.epoch(EpochFigures(epoch=3, loss=1.5, ca=0.5, asr=0.985, ca_noise=0.02))
    assert "epoch 3: loss 1.50, CA 50.0%, ASR 98.5%" in output.getvalue()
