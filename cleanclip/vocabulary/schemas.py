"""JSON Schemas of what can be asked and of what comes out, made of the dataclasses that read and write them.

Free of torch. docs/reference/schemas/ holds them as files; a test keeps those equal.
"""

import json
from typing import Any

from pydantic import TypeAdapter

from cleanclip.vocabulary.null_set import NullSet
from cleanclip.vocabulary.policy import Policy
from cleanclip.vocabulary.recipe import AuditOptions, DeclaredOptions, Recipe
from cleanclip.vocabulary.report import Report
from cleanclip.vocabulary.scan_options import ScanOptions
from cleanclip.vocabulary.scan_report import ScanReport
from cleanclip.vocabulary.text_scan_options import TextScanOptions
from cleanclip.vocabulary.text_scan_report import TextScanReport
from cleanclip.vocabulary.vet_options import VetOptions
from cleanclip.vocabulary.vet_report import VetReport

DOCUMENTS: dict[str, Any] = {
    "report": Report,
    "recipe": Recipe,
    "audit": AuditOptions,
    "policy": Policy,
    "declared": DeclaredOptions,
    "vet": VetOptions,
    "vet-report": VetReport,
    "scan": ScanOptions,
    "scan-report": ScanReport,
    "text-scan": TextScanOptions,
    "text-scan-report": TextScanReport,
    "null": NullSet,
}
"""Of each document, by its name, the type."""
NAMES = tuple(DOCUMENTS)
_WRITTEN = ("report", "vet-report", "scan-report", "text-scan-report")


def schema(name: str) -> str:
    """JSON Schema (2020-12) of one of `NAMES`: of reports as they are written, the rest as it is read."""
    adapter: TypeAdapter[Any] = TypeAdapter(DOCUMENTS[name])
    made = adapter.json_schema(mode="serialization" if name in _WRITTEN else "validation")
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": name, **made}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
