"""What a dry run says on the page of a new job."""

import pytest

from app.services.estimates import Span
from app.web.kit.rendering import environment


@pytest.mark.parametrize(
    ("span", "said"),
    [
        (Span(low_s=3, high_s=85, num_jobs=1), "3 s to 1 min 25 s, by the one earlier job that recorded it"),
        (Span(low_s=13, high_s=13.2, num_jobs=1), "about 13 s, by the one earlier job that recorded it"),
        (Span(low_s=13, high_s=85, num_jobs=2), "13 s to 1 min 25 s, by 2 earlier jobs"),
        (None, "not known"),
    ],
)
def test_a_time_is_a_range_wherever_its_ends_differ(span: Span | None, said: str) -> None:
    macros = environment.get_template("new_job_ahead.html").make_module({"ahead": None})
    assert macros.span(span).strip() == said  # type: ignore[attr-defined]
