"""Every kind of job, by its name. A kind that is added has a file beside this one and a line here."""

from collections.abc import Mapping

from cleanclip.kinds.audit import AUDIT
from cleanclip.kinds.inspect import INSPECT
from cleanclip.kinds.kind import Kind
from cleanclip.kinds.sanitize import SANITIZE
from cleanclip.kinds.scan import SCAN
from cleanclip.kinds.text_scan import TEXT_SCAN
from cleanclip.kinds.validate import VALIDATE
from cleanclip.kinds.vet import VET

KINDS: Mapping[str, Kind] = {
    kind.name: kind for kind in (INSPECT, VALIDATE, SANITIZE, AUDIT, SCAN, TEXT_SCAN, VET)
}
PUBLIC: Mapping[str, Kind] = {name: kind for name, kind in KINDS.items() if kind.is_public}
"""Those that customers order and list."""
