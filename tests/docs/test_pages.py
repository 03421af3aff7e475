"""Pages as text: every block says what it is, and what is meant for programs is what it says."""

import ast
import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.docs.blocks import RUN, SHOWN, Block, blocks, pages
from tools import make_site

ALL = [block for path in pages() for block in blocks(path)]


def test_no_block_is_overlooked() -> None:
    fences = sum(len(re.findall(r"^ *```", path.read_text(encoding="utf-8"), re.M)) for path in pages())
    assert fences == 2 * len(ALL), "a block that is indented, or not closed"
    assert len([block for block in ALL if block.is_run]) > 25


@pytest.mark.parametrize("block", ALL, ids=str)
def test_each_block_says_what_it_is_and_why_it_is_not_run(block: Block) -> None:
    assert block.language in RUN + SHOWN
    if block.no_run is not None:
        assert block.language in RUN, "only what could run needs a reason"
        assert len(block.no_run) >= 5


@pytest.mark.parametrize("block", [one for one in ALL if one.language in (*RUN, "json", "yaml")], ids=str)
def test_each_block_can_be_read_by_its_own_programs(block: Block) -> None:
    if block.language == "python":
        ast.parse(block.code)
    elif block.language == "json":
        json.loads(block.code)
    elif block.language == "yaml":
        yaml.safe_load(block.code)
    else:
        checked = subprocess.run(
            ["bash", "-n"], input=block.code, text=True, capture_output=True, check=False
        )
        assert checked.returncode == 0, checked.stderr


ANSWERS = ("docs/reproduction.md", "docs/scanning.md", "docs/uar.md", "docs/verification.md")
"""Pages that answer on one screen; tables and lists are on pages of their own."""


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_of_one_screen_stays_one(name: str) -> None:
    lines = (make_site.ROOT / name).read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    assert max(map(len, lines)) <= 110


SHOWN_ONCE = re.compile(r"cleanclip (?:keys (?:create|rotate)|webhooks (?:create|rotate-secret))\b")


def test_what_is_shown_once_is_kept_where_only_its_owner_reads_it() -> None:
    lines = [
        (f"{block}: {line}", line, block.code.partition(line)[0] + line.partition("cleanclip")[0])
        for block in ALL
        if block.language == "bash"
        for line in block.code.splitlines()
        if SHOWN_ONCE.search(line)
    ]
    assert len(lines) >= 3
    for place, line, before in lines:
        assert "/dev/null" not in line, f"thrown away: {place}"
        assert ">" not in line or "umask 077" in before, f"others on the machine can read it: {place}"


def test_blocks_that_are_not_run_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    reported = [f"{block}: {block.no_run}" for block in ALL if block.no_run is not None]
    with capsys.disabled():
        print("\n" + "\n".join(["Blocks of the documentation that are not run:", *reported]))
    assert len(reported) <= 17, "more and more of the documentation is not run"


class TestTheSite:
    """What `make docs` builds, here in folders of the test's own."""

    @pytest.fixture(autouse=True)
    def _own_folders(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(make_site, "COPY", tmp_path / "copy")
        monkeypatch.setattr(make_site, "PAGES", tmp_path / "copy" / "docs")
        monkeypatch.setattr(make_site, "SITE", tmp_path / "site")

    def test_it_is_built_with_every_link_alive_and_loads_nothing_from_another_host(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert make_site.main() == 0, capsys.readouterr().err
        built = list((tmp_path / "site").rglob("*.html"))
        assert len(built) > 90
        for page in built:
            text = page.read_text(encoding="utf-8")
            for tag in re.findall(r"<(?:script|link|img|iframe|source|video|object|embed)\b[^>]*>", text):
                assert not re.search(r"""(?:src|href|data)=["']?(?:https?:)?//""", tag), f"{page.name}: {tag}"
            # What would make the theme's script load a library from elsewhere:
            assert not re.search(r'class="[^"]*\b(?:mermaid|glightbox|pyodide)\b', text), page.name
        for sheet in (tmp_path / "site").rglob("*.css"):
            assert not re.search(r"url\(['\"]?(?:https?:)?//|@import", sheet.read_text(encoding="utf-8")), (
                sheet
            )

    def test_the_copies_of_pages_lead_out_of_them_nowhere(self) -> None:
        make_site.copy()
        for page in make_site.PAGES.rglob("*.md"):
            for link in make_site.links(page.read_text(encoding="utf-8")):
                assert (page.parent / link.partition("#")[0]).resolve().is_relative_to(make_site.PAGES), page

    def test_a_link_to_nothing_is_found(self) -> None:
        with pytest.raises(make_site.DeadLink, match=r"client\.md links to gone\.md"):
            make_site.for_the_site("See [this](gone.md).", make_site.DOCS / "how-to" / "client.md")

    def test_code_and_other_hosts_are_left_alone_and_sources_are_words(self) -> None:
        block = "```text\n[d](gone.md)\n```\n"
        text = f"[a](https://a.org) [b](../../tools/make_site.py) [c](../../SECURITY.md#x)\n{block}"
        made = make_site.for_the_site(text, make_site.DOCS / "how-to" / "client.md")
        assert made == f"[a](https://a.org) b [c](../security.md#x)\n{block}"

    def test_a_page_that_the_menu_lacks_is_found(self) -> None:
        make_site.copy()
        (make_site.PAGES / "new.md").write_text("# New\n", encoding="utf-8")
        with pytest.raises(make_site.DeadLink, match=r"new\.md"):
            make_site.menu()
        (make_site.PAGES / "new.md").unlink()
        assert "decisions/0001-" in make_site.menu()


@pytest.mark.parametrize("name", ["README.md", "SECURITY.md", "CONTRIBUTING.md"])
def test_links_of_the_root_lead_to_files(name: str) -> None:
    path = make_site.ROOT / name
    dead = [
        link
        for link in make_site.links(path.read_text(encoding="utf-8"))
        if not (make_site.ROOT / link.partition("#")[0]).exists()
    ]
    assert dead == []
