"""The site is built without a warning, shows what the pages say, and fetches nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tests.docs.blocks import ROOT, pages

COUNTED = {"li", "ol", "table", "tr", "pre", "blockquote", "h2", "h3"}
WRITTEN = [page for page in pages() if page.startswith("docs/") and "/reference/" not in page]


class Tags(HTMLParser):
    """Counts elements, and keeps what they load or lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] += tag in COUNTED
        names = dict(attrs)
        if tag in ("script", "img", "iframe", "source"):
            self.loaded.append(names.get("src") or "")
        if tag == "link" and names.get("rel") not in ("canonical", "next", "prev"):
            self.loaded.append(names.get("href") or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", "infra/docs_site/mkdocs.yml"]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    command += ["--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def html_of(site: Path, page: str) -> str:
    return (site / page.removeprefix("docs/")).with_suffix(".html").read_text(encoding="utf-8")


def test_every_page_shows_its_lists_tables_and_blocks(site: Path) -> None:
    """A list that one reader of Markdown finds and another takes for a paragraph is told here."""
    other = {}
    for page in WRITTEN:
        expected = Tags(MarkdownIt("commonmark").enable("table").render((ROOT / page).read_text(encoding="utf-8")))
        article = re.search(r"<article.*?</article>", html_of(site, page), re.DOTALL)
        assert article, page
        found = Tags(article[0])
        if expected.counts != found.counts:
            other[page] = (expected.counts, found.counts)
    assert not other


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        for address in Tags(page.read_text(encoding="utf-8")).loaded:
            assert not re.match(r"(https?:)?//", address), f"{page.name}: {address}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet.name


def test_the_reference_is_made_from_what_there_is(site: Path) -> None:
    andon, edge = (html_of(site, f"docs/reference/{name}.md") for name in ("andon", "andon-edge"))
    assert 'id="andon-label-studio-sync"' in andon
    assert 'id="andon-edge-run"' in edge
    client = html_of(site, "docs/reference/edge_client.md")
    for name in ("predict", "apredict", "submit", "flag", "report_outcome", "status"):
        assert f'id="edge_client.client.Client.{name}"' in client
    assert "chosen_share" in html_of(site, "docs/reference/policy-toml.md")


def test_search_finds_by_words(site: Path) -> None:
    index = (site / "search" / "search_index.json").read_text(encoding="utf-8")
    assert "inclusion probabilities" in index
    assert "andon enroll" in index
