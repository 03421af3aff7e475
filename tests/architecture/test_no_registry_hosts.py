"""Where packages and images come from is the machine's own business: no file of ours names such a host."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_HOSTS = [  # in two pieces, because this file is looked at as well
    f"{name}.{end}"
    for end, names in {
        "org": "pypi pythonhosted deb.debian security.debian ftp.debian snapshot.debian registry.npmjs "
        "conda.anaconda rubygems proxy.golang download.pytorch repo.maven.apache",
        "com": "archive.ubuntu security.ubuntu ports.ubuntu registry.yarnpkg hub.docker download.docker "
        "mcr.microsoft",
        "io": "index.docker registry-1.docker auth.docker ghcr gcr quay nvcr registry.k8s crates jfrog",
        "dev": "pkg",
    }.items()
    for name in names.split()
]
_PULLED = "docker.io" + "/"  # without the slash it is Debian's name of a package
_HOST = re.compile(
    rf"(?<![A-Za-z0-9-])(?:{'|'.join(map(re.escape, _HOSTS))})(?![A-Za-z0-9-])"
    rf"|{re.escape(_PULLED)}(?=[a-z])"
    r"|https?://[A-Za-z0-9.-]*(?:mirror|registry|artifactory|nexus|pypi|devpi)[A-Za-z0-9.-]*\.[a-z]{2,}"
)


def hosts_in(text: str) -> list[str]:
    return [match[0] for match in _HOST.finditer(text)]


def test_no_tracked_file_names_the_host_of_a_registry_or_a_mirror() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    paths = [ROOT / name for name in listed.decode().split("\0") if name]
    assert len(paths) > 1000
    texts = {path: path.read_bytes().decode("utf-8", "replace") for path in paths if path.is_file()}
    found = {str(path.relative_to(ROOT)): hosts for path, text in texts.items() if (hosts := hosts_in(text))}
    assert found == {}


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("mirror=${{MIRROR:-http://deb.debian.{}/debian}}", "org"),
        ("--index-url https://pypi.{}/simple", "org"),
        ("files.pythonhosted.{}", "org"),
        ("FROM ghcr.{}/owner/name", "io"),
        ("docker pull docker.{}/library/python", "io"),
        ("https://download.pytorch.{}/whl/cpu", "org"),
        ("http://pack.mirror-of.{}/debian", "example"),
    ],
)
def test_such_hosts_are_found(text: str, end: str) -> None:
    assert hosts_in(text.format(end))


def test_the_name_of_a_package_and_links_of_the_docs_are_none() -> None:
    assert not hosts_in(
        "packages=(docker.io iptables) https://arxiv.org/abs/2303.03323 https://github.com/a/b"
    )
