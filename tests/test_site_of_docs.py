"""The site of the documents: all links resolve, nothing comes from elsewhere, pages are what they are without it."""

import importlib.util
import os
import re
import subprocess
import sys
from html import unescape
from os.path import normpath
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parent.parent


def load_hooks():
    spec = importlib.util.spec_from_file_location("docs_site_build", ROOT / "docs" / "site_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hooks = load_hooks()


def build(config: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--config-file", str(config), "--site-dir", str(site)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "NO_COLOR": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Give the site, built as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    built = build(ROOT / "mkdocs.yml", folder)
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, str]:
    """Give the text of each page; that of a missing page has addresses which only a server knows."""
    return {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html") if path.name != "404.html"}


# The site


def addresses(page: str) -> list[str]:
    return [unescape(found) for found in re.findall(r'\s(?:href|src)="?([^"\s>]+)', page)]


def test_every_link_and_anchor_resolves(site, pages):
    named = {str(path): set(re.findall(r'\s(?:id|name)="?([^"\s>]+)', text)) for path, text in pages.items()}
    there = {str(path) for path in (site, *site.rglob("*"))}
    broken = []
    for path, text in pages.items():
        # A page has hundreds of links, and most of them more than once.
        for address in set(addresses(text)):
            file, anchor = urldefrag(address)
            if urlsplit(file).scheme:
                continue
            target = normpath(path.parent / unquote(file)) if file else str(path)
            if target not in there or (anchor and unquote(anchor) not in named[target]):
                broken.append((path.relative_to(site).as_posix(), address))
    assert broken == []


def test_nothing_is_fetched_from_elsewhere(site, pages):
    loads = r"<(?:script|link|img|iframe|source|video|object)\b[^>]*?(?:src|href|data)=\"?(?:https?:)?//[^\s>]*"
    assert [found for text in pages.values() for found in re.findall(loads, text)] == []
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert re.findall(r"url\([\"']?(?:https?:)?//[^)]*|@import[^;]*", styles) == []
    # The theme's program would fetch another one for a diagram that is not drawn yet.
    assert [path for path, text in pages.items() if 'class="mermaid"' in text] == []


def test_every_diagram_is_drawn(pages):
    drawn = {path.name: len(re.findall(r'<div class="diagram"[^>]*><svg', text)) for path, text in pages.items()}
    assert {name: count for name, count in drawn.items() if count} == {
        "overview.html": 1,
        "architecture.html": 1,
        "statuses.html": 2,
    }


DIAGRAM = re.compile(r"^```mermaid.*?^```", re.DOTALL | re.MULTILINE)
KINDS = ("h1", "h2", "h3", "h4", "ul", "ol", "li", "pre", "table", "tr", "blockquote")


def shape(html: str) -> dict[str, int]:
    return {kind: len(re.findall(rf"<{kind}[ >]", html)) for kind in KINDS}


def test_every_page_has_the_lists_tables_and_code_that_it_has_elsewhere(site, pages):
    markdown = MarkdownIt("commonmark").enable("table")
    documents = [
        path.relative_to(ROOT)
        for folder, pattern in (("docs", "**/*.md"), ("ops", "**/*.md"), (".", "*.md"))
        for path in (ROOT / folder).glob(pattern)
    ]
    differing = {}
    for document in documents:
        page = site / re.sub(r"README\.md$", "index.md", hooks.page_of(document.as_posix())).replace(".md", ".html")
        text = DIAGRAM.sub("", (ROOT / document).read_text(encoding="utf-8"))
        expected = shape(markdown.render(text))
        found = shape(re.search(r"<article[^>]*>(.*?)</article>", pages[page], re.DOTALL)[1])
        if found != expected:
            differing[document.as_posix()] = {
                kind: (expected[kind], found[kind]) for kind in KINDS if found[kind] != expected[kind]
            }
    assert differing == {}


# What is not accepted


FAULTS = {
    "[a](missing.md)": "'missing.md', but the target is not found",
    "[a](#missing)": "'#missing', but there is no such anchor",
    "[a](other.md#missing)": "'other.md#missing', but the doc 'other.md' does not contain an anchor",
    "![a](missing.png)": "'missing.png', but the target is not found",
    "[a](/other.md)": "absolute link '/other.md'",
}


def test_a_site_with_a_fault_is_not_built(tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    for name, text in {"index": "\n\n".join(FAULTS), "other": "", "left_out": ""}.items():
        (docs / f"{name}.md").write_text(f"# {name}\n\n{text}\n", encoding="utf-8")
    config = tmp_path / "mkdocs.yml"
    inherited = f"INHERIT: {ROOT / 'mkdocs.yml'}\ndocs_dir: docs\nhooks: []\n"
    config.write_text(f"{inherited}nav: [index.md, other.md, nowhere.md]\n", encoding="utf-8")
    built = build(config, tmp_path / "site")
    assert built.returncode == 1
    faults = [*FAULTS.values(), "left_out.md", "'nowhere.md' is included in the 'nav' configuration"]
    assert [fault for fault in faults if fault not in built.stderr] == []
    assert len(re.findall("^WARNING ", built.stderr, re.MULTILINE)) == len(faults)


# Links and lists


@pytest.mark.parametrize(
    ("place", "link", "page"),
    [
        ("docs/events.md", "links.md", "links.md"),
        ("docs/events.md", "../CONTRIBUTING.md", "CONTRIBUTING.md"),
        ("docs/links.md", "../schemas/link.json", "schemas/link.json.md"),
        ("docs/runbooks/DeliveryLagRising.md", "../events.md", "../events.md"),
        ("README.md", "docs/adr/", "adr.md"),
        ("README.md", "docs/images/overview.png", "images/overview.png"),
        ("ops/README.md", "../docs/runbooks/", "../runbooks.md"),
        ("ops/README.md", "kubernetes", "kubernetes/README.md"),
        ("docs/events.md", "https://example.org/a.md", "https://example.org/a.md"),
        ("docs/events.md", "missing.md", "missing.md"),
    ],
)
def test_a_link_leads_to_the_page_that_shows_its_file(place, link, page):
    assert hooks.relinked(place, f"[a]({link}#b)") == f"[a]({page}#b)"


@pytest.mark.parametrize("code", ["`[a](../README.md)`", "```\n[a](../README.md)\n```"])
def test_a_link_in_code_is_none(code):
    assert hooks.relinked("docs/events.md", f"x\n\n{code}\n") == f"x\n\n{code}\n"


@pytest.mark.parametrize(
    ("text", "wide"),
    [
        ("- a\n  b\n\n  c\n\nd", "- a\n    b\n\n    c\n\nd"),
        ("1. a\n\n       code\n\n2. b", "1. a\n\n        code\n\n2. b"),
        ("- a\n  - b\n    c\n- d", "- a\n    - b\n        c\n- d"),
        ("10. a\n\n    ```\n    - x\n      y\n    ```\n", "10. a\n\n    ```\n    - x\n      y\n    ```\n"),
        ("```\n- a\n  b\n```\n  c", "```\n- a\n  b\n```\n  c"),
        ("    - code\n      more", "    - code\n      more"),
    ],
    ids=["paragraphs", "code", "nested", "fence-in-item", "fence", "code-alone"],
)
def test_items_of_lists_go_on_four_columns_in(text, wide):
    assert hooks.widened(text) == wide


def test_the_pages_of_a_folder_are_named_but_those_that_are_named_already():
    nav = [{"Providers": ["providers/README.md", "providers/*"]}]
    [section] = hooks.expanded(nav, {"providers/README.md"})
    assert section["Providers"][0] == "providers/README.md"
    assert "providers/twilio.md" in section["Providers"]
    assert section["Providers"].count("providers/README.md") == 1
