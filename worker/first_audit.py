"""The audit before cleaning, read as soon as a job's process has made it, and shown before the job has ended.

The library keeps it beside the training states. It is read once an attempt, held against order, input and
itself as a report is, judged here, and recorded as preliminary: nobody signs it, and no second audit confirms
it. The report of the same attempt must then say the same.
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from app.logs import get_logger
from cleanclip.vocabulary.audit_figures import AuditFigures
from cleanclip.vocabulary.jobspec import STATE_PATH
from cleanclip.vocabulary.recipe import to_json
from cleanclip.vocabulary.settled import SettledArchitecture
from worker.confinement.child_json import TooLarge, fit_for_a_row, read_regular
from worker.failures import outputs_rejected
from worker.ledger import Ledger
from worker.publishing.checking import check_first_audit
from worker.publishing.shown import shown_figures
from worker.publishing.verdicts import verdict_before_cleaning
from worker.staging.stage import Staged
from worker.training_states import BESIDE

_MAX_BYTES = 8 * 1024 * 1024
"""Some 700,000 images, of each of which the file says its class, and 20 attacks, of which it says two bits an
image. To read it takes at most eight times that memory. A larger one is not shown before the report is."""
_LOG = get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class KeptAudit:
    """Of the file (`sanitizer.pipeline.baseline`) what is reported."""

    figures: AuditFigures
    settled: SettledArchitecture


_KEPT = TypeAdapter(KeptAudit)


class FirstAudit:
    """Of one attempt at a cleaning. `figures`: what was recorded, once it was."""

    def __init__(self, ledger: Ledger, staged: Staged, job_folder: Path) -> None:
        self._ledger = ledger
        self._staged = staged
        self._path = job_folder / STATE_PATH / BESIDE
        self._is_read = False
        self.figures: AuditFigures | None = None

    def look(self) -> None:
        """Record it once it is there. Raises AttemptFailed (`outputs_rejected`), Stopped."""
        spec, known = self._staged.judged, self._staged.known
        if self._is_read or known is None or spec is None or spec.recipe is None:
            return
        kept = self._read()
        if kept is None:
            return
        verdict = check_first_audit(kept.figures, kept.settled, spec, known)
        result = {
            "preliminary": True,
            "before": shown_figures(kept.figures),
            "before_verdict": to_json(verdict),
            "architecture": to_json(kept.settled),
        }
        try:
            fit_for_a_row(result)
        except ValueError as error:
            raise outputs_rejected(
                f"the figures of its first audit are more than a job has: {error}"
            ) from error
        self._ledger.record_first_audit(result, verdict_before_cleaning(kept.figures, verdict))
        self.figures = kept.figures

    def _read(self) -> KeptAudit | None:
        try:
            raw = read_regular(self._path, _MAX_BYTES)
        except FileNotFoundError:
            return None
        except TooLarge:
            self._is_read = True
            _LOG.info("first_audit_not_shown")
            return None
        except (OSError, ValueError) as error:
            raise outputs_rejected("its first audit is not a small regular file") from error
        self._is_read = True
        try:
            return _KEPT.validate_json(raw)
        except ValidationError as error:
            raise outputs_rejected("its first audit cannot be read") from error
