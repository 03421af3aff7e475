"""From the wire's dataset to the use case's registration."""

from app.domain.states import DatasetKind
from app.schemas.datasets import DatasetIn
from app.services.datasets import Registration


def registration_of(body: DatasetIn) -> Registration:
    """What is asked of the use case."""
    return Registration(
        kind=DatasetKind(body.kind),
        name=body.name,
        uri=body.uri,
        upload_id=body.upload_id,
        class_names=body.class_names,
        templates=body.templates,
        max_skipped_share=body.max_skipped_share,
    )
