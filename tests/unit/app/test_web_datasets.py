"""The form of a dataset says the schema's bounds and faults; each reason for a skip is explained."""

import pytest
from pydantic import ValidationError

from app.domain.errors import InvalidInput, QuotaExceeded
from app.domain.states import DatasetKind
from app.web.data.dataset_form import FIELDS, DatasetForm, places_of, schema_of_field


def filled(**values: str) -> DatasetForm:
    form = DatasetForm.empty(kind="pairs")
    return DatasetForm(values={**form.values, "uri": "s3://data/pairs/", **values})


def faults(**values: str) -> dict[str, str]:
    form = filled(**values)
    with pytest.raises(ValidationError) as caught:
        form.registration()
    return dict(form.with_faults(caught.value).errors)


def test_a_filled_form_is_a_registration() -> None:
    wanted = filled(
        kind="labelled",
        class_names=" cat \r\n\r\ndog\r\n",
        templates="a photo of a {c}.",
        max_skipped_share="0.2",
    ).registration()
    assert wanted.kind is DatasetKind.LABELLED
    assert (wanted.class_names, wanted.templates) == (["cat", "dog"], ["a photo of a {c}."])
    assert (wanted.uri, wanted.upload_id, wanted.max_skipped_share) == ("s3://data/pairs/", None, 0.2)


def test_an_empty_share_is_the_schemas() -> None:
    assert (
        filled(max_skipped_share="").registration().max_skipped_share
        == schema_of_field("max_skipped_share")["default"]
    )


@pytest.mark.parametrize(
    ("values", "name", "said"),
    [
        ({"kind": ""}, "kind", "Choose"),
        ({"uri": ""}, "uri", "exactly one"),
        ({"upload_id": "upl_" + "0" * 26}, "uri", "exactly one"),
        ({"upload_id": "nonsense", "uri": ""}, "upload_id", "upl_"),
        ({"max_skipped_share": "a lot"}, "max_skipped_share", "from 0 to 1"),
        ({"max_skipped_share": "1.5"}, "max_skipped_share", "from 0 to 1"),
        ({"max_skipped_share": "nan"}, "max_skipped_share", "from 0 to 1"),
        ({"class_names": "a\nb"}, "class_names", "Pairs have no class names"),
        ({"kind": "labelled", "class_names": "a\na"}, "class_names", "once"),
        ({"kind": "labelled", "class_names": "a\nb\u202ec"}, "class_names", "Line 2"),
        ({"kind": "labelled", "templates": "a {c}\nno place"}, "templates", "Line 2"),
    ],
)
def test_a_fault_stands_beside_its_field(values: dict[str, str], name: str, said: str) -> None:
    found = faults(**values)
    assert list(found) == [name]
    assert said in found[name]


def test_several_faults_stand_each_beside_its_own_and_the_first_gets_the_focus() -> None:
    form = filled(kind="", max_skipped_share="7", class_names="{c} {0} {nothing}")
    with pytest.raises(ValidationError) as caught:
        form.registration()
    wrong = form.with_faults(caught.value)
    assert {"kind", "max_skipped_share"} <= set(wrong.errors)
    assert wrong.first_wrong == FIELDS[0]
    assert wrong.values == form.values


def test_a_refusal_stands_beside_the_field_it_names_or_above_all() -> None:
    beside = filled().refused_with(InvalidInput("c", "Nothing is there.", "Look.", pointer="/uri"))
    assert beside.errors == {"uri": "Nothing is there. Look."}
    above = filled().refused_with(QuotaExceeded("c", "Too many.", "Wait."))
    assert (above.errors, above.refused and above.refused.message) == ({}, "Too many.")


def test_a_projects_places_are_its_own_and_the_shared_ones() -> None:
    own, shared = places_of("prj_1", ["s3://data/of/{project}/", "s3://data/open/"])
    assert (own, shared) == (["s3://data/of/prj_1/"], ["s3://data/open/"])
