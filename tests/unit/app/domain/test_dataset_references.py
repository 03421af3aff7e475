"""References to datasets: what they mean, and everything that could mean two things refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.dataset_references import check_allowed, parse_reference
from app.domain.errors import InvalidInput

ALLOWED = ("s3://data/clean/", "s3://shared/")
OURS = "prj_01k0000000000000000000000a"
THEIRS = "prj_01k0000000000000000000000b"


def test_a_folder_means_every_tar_below_it() -> None:
    reference = parse_reference("s3://data/clean/pairs/")
    assert (reference.bucket, reference.prefix, reference.keys) == ("data", "clean/pairs/", None)
    assert reference.holds("clean/pairs/a.tar", is_labelled=False)
    assert reference.holds("clean/pairs/deeper/a.tar", is_labelled=False)
    assert not reference.holds("clean/pairs/readme.txt", is_labelled=False)
    assert not reference.holds("clean/pairs-2/a.tar", is_labelled=False)


def test_a_labelled_folder_has_its_side_files() -> None:
    reference = parse_reference("s3://data/test/")
    assert reference.holds("test/classnames.txt", is_labelled=True)
    assert not reference.holds("test/classnames.txt", is_labelled=False)
    assert not reference.holds("test/deeper/classnames.txt", is_labelled=True)


def test_a_range_names_its_shards_with_leading_zeros() -> None:
    reference = parse_reference("s3://data/p/x-{008..011}.tar")
    assert reference.keys == ("p/x-008.tar", "p/x-009.tar", "p/x-010.tar", "p/x-011.tar")
    assert reference.prefix == "p/"
    assert reference.holds("p/x-009.tar", is_labelled=False)
    assert not reference.holds("p/x-012.tar", is_labelled=False)


def test_a_single_shard_is_a_reference() -> None:
    assert parse_reference("s3://data/p/x.tar").keys == ("p/x.tar",)


def test_a_range_of_a_billion_is_counted_and_not_built() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_reference("s3://data/p/x-{0..999999999}.tar")
    assert caught.value.code == "dataset_too_many_shards"


@pytest.mark.parametrize(
    "uri",
    [
        "s3://data/a/../b/",
        "s3://data/../b/",
        "s3://data/a/./b/",
        "s3://data/.hidden/",
        "s3://data//a/",
        "s3://data/a%2e%2e/",
        "s3://data/a/{1..2}/",
        "s3://data/a-{1..2}-{3..4}.tar",
        "s3://data/a-{2..1}.tar",
        "s3://data/a-{001..5}.tar",
        "s3://DATA/a/",
        "s3://da..ta/a/",
        "s3://data",
        "s3://data/",
        "s3:/data/a/",
        "gs://data/a/",
        "",
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(uri: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_reference(uri)
    assert caught.value.code == "dataset_uri_invalid"
    assert caught.value.pointer == "/uri"


@pytest.mark.parametrize("uri", ["s3://data/clean/x/", "s3://data/clean/x.tar", "s3://shared/any/where/"])
def test_what_lies_below_an_allowed_prefix_is_allowed(uri: str) -> None:
    check_allowed(parse_reference(uri), ALLOWED, project_id=OURS)


@pytest.mark.parametrize(
    "uri", ["s3://data/cleaner/x/", "s3://data/x.tar", "s3://shared-not/x/", "s3://dat/a/"]
)
def test_what_lies_elsewhere_is_not(uri: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_allowed(parse_reference(uri), ALLOWED, project_id=OURS)
    assert caught.value.code == "dataset_uri_not_allowed"


@pytest.mark.parametrize("end", ["", "pairs/", "pairs/a-{0..9}.tar"])
def test_a_prefix_with_the_project_in_it_is_each_projects_own(end: str) -> None:
    reference = parse_reference(f"s3://data/of/{OURS}/{end}")
    check_allowed(reference, ["s3://data/of/{project}/"], project_id=OURS)
    with pytest.raises(InvalidInput) as caught:
        check_allowed(reference, ["s3://data/of/{project}/"], project_id=THEIRS)
    assert caught.value.code == "dataset_uri_not_allowed"


@pytest.mark.parametrize(
    "uri", ["s3://data/of/", f"s3://data/of/{OURS}x/", f"s3://data/{OURS}/", "s3://data/of/x/"]
)
def test_nothing_beside_or_above_the_own_folder_is_allowed(uri: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_allowed(parse_reference(uri), ["s3://data/of/{project}/"], project_id=OURS)
    assert caught.value.code == "dataset_uri_not_allowed"


@given(st.text(alphabet="s3:/data.%{}~\\ ?#@x\n0", max_size=40))
def test_no_text_leads_outside_the_allowed_place(text: str) -> None:
    try:
        reference = parse_reference(f"s3://data/clean/{text}")
        check_allowed(reference, ["s3://data/clean/"], project_id=OURS)
    except InvalidInput:
        return
    for key in (*(reference.keys or ()), reference.prefix):
        assert key.startswith("clean/")
        assert ".." not in key.split("/")
        assert "//" not in key


@pytest.mark.parametrize("uri", ["s3://data", "s3://data/"])
def test_a_whole_bucket_is_refused_in_words_of_its_own(uri: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_reference(uri)
    assert "names a whole bucket" in caught.value.message
    assert "s3://data/prefix/" in caught.value.remedy
