"""What a child is told, of any kind of job and of the service's own steps, as JSON. Free of torch."""

from typing import Annotated, Any, Union

from pydantic import Field, TypeAdapter

from cleanclip.kinds.catalogue import KINDS
from cleanclip.vocabulary.jobspec import GiveBackSpec, JobSpec, PagesSpec, RecheckSpec, WithholdSpec

_SPECS = (*(kind.spec for kind in KINDS.values()), PagesSpec, GiveBackSpec, WithholdSpec, RecheckSpec)
_ANY: Any = Annotated[Union[_SPECS], Field(discriminator="kind")]  # noqa: UP007 - made from a tuple
SPEC_ADAPTER: TypeAdapter[JobSpec] = TypeAdapter(_ANY)
