"""How a source is written, what is refused before anybody connects, and which hosts an operator allows."""

import pytest

from app.domain.errors import Conflict, InvalidInput
from app.domain.sources import (
    HubSource,
    SourceRules,
    StoreSource,
    WebSource,
    is_host_pattern,
    name_of,
    parse_source,
)
from app.domain.webhook_urls import ReachRules

RULES = SourceRules(
    reach=ReachRules(),
    hub_url="https://huggingface.co",
    allowed_hosts=("huggingface.co", "*.hf.co"),
    allowed_prefixes=("s3://models/{project}/", "s3://public/zoo/"),
)


@pytest.mark.parametrize(
    ("text", "source", "name"),
    [
        ("hf://openai/clip", HubSource(repo="openai/clip", revision="main", path=None), "clip"),
        ("hf://a/b@v1.0", HubSource(repo="a/b", revision="v1.0", path=None), "b"),
        (
            "hf://a/b@refs/pr/12/x/c.bin",
            HubSource(repo="a/b", revision="refs/pr/12", path="x/c.bin"),
            "c.bin",
        ),
        (
            f"hf://a/b@{'0' * 40}/m.safetensors",
            HubSource(repo="a/b", revision="0" * 40, path="m.safetensors"),
            "m.safetensors",
        ),
        ("s3://models/p/clip.pt", StoreSource(bucket="models", key="p/clip.pt"), "clip.pt"),
        (
            "https://example.org/a/clip.pt?x=/1",
            WebSource(url="https://example.org/a/clip.pt?x=/1"),
            "clip.pt",
        ),
        ("https://example.org/%2e%2e", WebSource(url="https://example.org/%2e%2e"), "_2e_2e"),
        ("https://example.org/", WebSource(url="https://example.org/"), "checkpoint"),
    ],
)
def test_a_source_says_where_one_file_is(text: str, source: object, name: str) -> None:
    assert parse_source(text) == source
    assert name_of(parse_source(text)) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "clip.pt",
        "hf://openai",
        "hf://openai/clip@",
        "hf://openai/clip@../x",
        "hf://openai/clip@a..b",
        "hf://../clip",
        "hf://openai/clip/../../etc/passwd",
        "hf://openai/clip//x",
        "hf://openai/clip/.hidden",
        "hf://openai/clip@main/x%2f..",
        "hf://openai/clip@main?x",
        "hf://datasets/openai/clip@main/" + "x" * 3000,
        "s3://models",
        "s3://models/",
        "s3://models/a/../b",
        "s3://mod..els/a",
        "s3://models/a//b",
        "ftp://example.org/a",
        "file:///etc/passwd",
        "hf://openai/clip\n",
        "https://exämple.org/",
    ],
)
def test_what_is_not_one_file_or_has_two_readings_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        parse_source(text)
    assert (refusal.value.code, refusal.value.pointer) == ("source_invalid", "/source")
    assert "hf://OWNER/NAME@REVISION" in refusal.value.remedy


@pytest.mark.parametrize(
    "text", ["hf://a/b", "https://cdn.hf.co/x", "s3://models/prj_1/a.pt", "s3://public/zoo/x/a.pt"]
)
def test_what_the_operator_allows_can_be_ordered(text: str) -> None:
    RULES.check(parse_source(text), project_id="prj_1", own_bucket="cleanclip")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("https://example.org/x", "source_not_allowed"),
        ("https://hf.co/x", "source_not_allowed"),
        ("https://evil-hf.co/x", "source_not_allowed"),
        ("https://huggingface.co.example.org/x", "source_not_allowed"),
        ("https://user:secret@huggingface.co/x", "source_invalid"),
        ("http://huggingface.co/x", "source_invalid"),
        ("https://169.254.169.254/latest", "source_invalid"),
        ("https://127.0.0.1/", "source_invalid"),
        ("s3://models/prj_2/a.pt", "source_not_allowed"),
        ("s3://models/prj_1", "source_not_allowed"),
        ("s3://cleanclip/uploads/prj_1/upl_1", "source_not_allowed"),
    ],
)
def test_everything_else_is_refused_before_anybody_connects(text: str, code: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        RULES.check(parse_source(text), project_id="prj_1", own_bucket="cleanclip")
    assert (refusal.value.code, refusal.value.pointer) == (code, "/source")


def test_without_a_host_nothing_is_fetched_from_any_server() -> None:
    off = SourceRules(reach=ReachRules(), hub_url="https://huggingface.co")
    for text in ("hf://a/b", "https://huggingface.co/x"):
        with pytest.raises(Conflict) as refusal:
            off.check(parse_source(text), project_id="prj_1", own_bucket=None)
        assert refusal.value.code == "sources_off"
        assert "CLEANCLIP_SOURCES__ALLOWED_HOSTS" in refusal.value.remedy


def test_a_hub_is_allowed_by_its_host_like_everybody_else() -> None:
    other = SourceRules(
        reach=ReachRules(), hub_url="https://hub.example.org", allowed_hosts=("huggingface.co",)
    )
    with pytest.raises(InvalidInput, match=r"hub\.example\.org"):
        other.check(parse_source("hf://a/b"), project_id="prj_1", own_bucket=None)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("huggingface.co", True),
        ("*.hf.co", True),
        ("localhost", True),
        ("*", False),
        ("*.", False),
        ("*.co", False),
        ("a.*.co", False),
        ("https://hf.co", False),
        ("HF.co", False),
        ("", False),
        ("a..b", False),
    ],
)
def test_a_pattern_of_hosts_is_a_name_or_all_below_one(text: str, is_one: bool) -> None:
    assert is_host_pattern(text) is is_one
