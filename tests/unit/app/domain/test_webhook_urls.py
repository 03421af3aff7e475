"""Where webhooks may go: the form of an address, and which numbers are public."""

import pytest

from app.domain.errors import InvalidInput
from app.domain.webhook_urls import ReachRules

RULES = ReachRules()
DEVELOPMENT = ReachRules(allow_loopback=True)


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "authority"),
    [
        ("https://example.org", "example.org", 443, "/", "example.org"),
        ("https://Example.ORG:443/a?b=c", "example.org", 443, "/a?b=c", "example.org"),
        (
            "https://a-b.c_d.example.org:8443/x/",
            "a-b.c_d.example.org",
            8443,
            "/x/",
            "a-b.c_d.example.org:8443",
        ),
        ("https://xn--bcher-kva.example/?q", "xn--bcher-kva.example", 443, "/?q", "xn--bcher-kva.example"),
        ("https://8.8.8.8/", "8.8.8.8", 443, "/", "8.8.8.8"),
        ("https://[2606:4700::1111]:8443/", "2606:4700::1111", 8443, "/", "[2606:4700::1111]:8443"),
    ],
)
def test_https_to_a_public_host_is_taken_apart(
    url: str, host: str, port: int, path: str, authority: str
) -> None:
    target = RULES.check(url)
    assert (target.host, target.port, target.path, target.is_plain) == (host, port, path, False)
    assert target.authority == authority


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "ftp://example.org/",
        "file:///etc/passwd",
        "gopher://example.org/",
        "//example.org/",
        "example.org",
        "https://",
        "https:///path",
        "https://user@example.org/",
        "https://user:password@example.org/",
        "https://@example.org/",
        "https://example.org@127.0.0.1/",
        "https://example.org\\@127.0.0.1/",
        "https://example.org/#fragment",
        "https://example.org/#",
        "https://exa mple.org/",
        "https://example.org/\r\nX: y",
        "https://exam\tple.org/",
        "https://bücher.example/",
        "https://１２７.0.0.1/",
        "https://example.org./",
        "https://.example.org/",
        "https://-example.org/",
        f"https://{'a' * 64}.org/",
        f"https://{'a.' * 130}org/",
        "https://127.1/",
        "https://0x7f.0.0.1/",
        "https://0x7f000001/",
        "https://2130706433/",
        "https://0177.0.0.1/",
        "https://256.1.1.1/",
        "https://1.2.3.4.5/",
        "https://[::1/",
        "https://[fe80::1%25eth0]/",
        "https://[::g]/",
        "https://example.org:0/",
        "https://example.org:x/",
        "https://example.org:65536/",
        "https://example.org/" + "a" * 2048,
    ],
)
def test_what_is_no_https_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        RULES.check(url)
    assert refused.value.code == "webhook_url_invalid"
    assert refused.value.pointer == "/url"


NOT_PUBLIC = (
    *("0.0.0.0", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254"),
    *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1"),
    *("192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255"),
    *("240.0.0.1", "255.255.255.255", "168.63.129.16"),
    *("::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1"),
    *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1"),
    *("2002:7f00:1::1", "2002:a9fe:a9fe::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%1"),
    *("fec0::1", "ff02::1", "ff0e::1"),
)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_no_number_that_is_not_public_may_be_reached(address: str) -> None:
    assert not RULES.may_reach(address, is_plain=False)
    literal = f"[{address}]" if ":" in address else address
    with pytest.raises(InvalidInput):
        RULES.check(f"https://{literal}/")


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_public_numbers_may_be_reached_but_never_without_tls(address: str) -> None:
    assert RULES.may_reach(address, is_plain=False)
    for rules in (RULES, DEVELOPMENT):
        assert not rules.may_reach(address, is_plain=True)


@pytest.mark.parametrize("address", ["", "example.org", "127.1", "1.2.3", "::1::"])
def test_what_is_no_number_is_not_reached(address: str) -> None:
    assert not DEVELOPMENT.may_reach(address, is_plain=False)


@pytest.mark.parametrize(
    "url",
    ["https://example.org:80/", "https://example.org:22/", "https://localhost/", "https://postgres:5432/"],
)
def test_other_ports_and_names_of_the_house_are_refused(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        RULES.check(url)
    assert refused.value.code == "webhook_url_not_allowed"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/x", "http://localhost/x", "http://[::1]:81/x", "https://localhost:22/x"]
)
def test_in_development_this_machine_may_be_reached_by_http_too(url: str) -> None:
    assert DEVELOPMENT.check(url).path == "/x"
    with pytest.raises(InvalidInput):
        RULES.check(url)


def test_development_opens_this_machine_and_nothing_else() -> None:
    for address in NOT_PUBLIC:
        is_here = address in {"127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1"}
        assert DEVELOPMENT.may_reach(address, is_plain=True) is is_here, address
        assert DEVELOPMENT.may_reach(address, is_plain=False) is is_here, address
    for url in (
        "http://example.org/",
        "http://10.0.0.1/",
        "https://10.0.0.1/",
        "http://localhost.example.org/",
    ):
        with pytest.raises(InvalidInput):
            DEVELOPMENT.check(url)


def test_networks_of_the_operators_own_are_denied_too() -> None:
    rules = ReachRules(denied_networks=["8.8.8.0/24", "2606:4700::/32"])
    assert not rules.may_reach("8.8.8.8", is_plain=False)
    assert not rules.may_reach("::ffff:8.8.8.8", is_plain=False)
    assert not rules.may_reach("2606:4700:4700::1111", is_plain=False)
    assert rules.may_reach("1.1.1.1", is_plain=False)
    with pytest.raises(InvalidInput):
        rules.check("https://8.8.8.8/")
