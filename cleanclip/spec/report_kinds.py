"""The reports that there are, one for each kind of job that customers order. Free of torch."""

from __future__ import annotations

from cleanclip.spec.report import Report
from cleanclip.spec.scan_report import ScanReport
from cleanclip.spec.vet_report import VetReport

AnyReport = Report | ScanReport | VetReport
