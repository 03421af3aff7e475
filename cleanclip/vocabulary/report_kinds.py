"""The reports that there are, one for each kind of job that customers order. Free of torch."""

from __future__ import annotations

from cleanclip.vocabulary.report import Report
from cleanclip.vocabulary.scan_report import ScanReport
from cleanclip.vocabulary.vet_report import VetReport

AnyReport = Report | ScanReport | VetReport
