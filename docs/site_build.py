"""Make the site of more than docs/: MkDocs calls the functions `on_...` while it builds (mkdocs.yml).

Pages link to files and folders of the repository. What is not a page of docs/ comes along as one: the site needs
nothing else. Diagrams are drawn here, so that who reads the site fetches no program for it.
"""  # noqa: INP001 - loaded by MkDocs, in no package

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
#: The target of a link, up to its anchor. What is in code matches, too, without a target: it is no link.
_LINK = re.compile(
    r"^(?P<fence>```|~~~).*?^(?P=fence)|`(?:[^`\n]|\n(?!\n))+`|(?<=\]\()(?P<target>[^)#\s]+)", re.DOTALL | re.MULTILINE
)
_MARKER = re.compile(r"(?:[-*+]|\d+[.)]) +(?=\S)")
#: Files that are shown as they are.
_PICTURES = {".png", ".svg"}
_LANGUAGES = {".py": "python", ".java": "java", ".json": "json", ".yml": "yaml", ".yaml": "yaml", ".toml": "toml"}
#: In front of a page that people find by the path of what it shows.
_NOT_SEARCHED = "---\nsearch:\n  exclude: true\n---\n"


# Places, which are paths in the repository, and the pages that show them


def target_of(link: str, place: str) -> str | None:
    """Return the place that a link of the file at a place leads to, or None if that is none of the repository."""
    if re.match(r"\w+:", link):
        return None
    target = posixpath.normpath(posixpath.join(posixpath.dirname(place), link))
    path = ROOT / target
    if target.startswith("..") or not path.exists():
        return None
    return f"{target}/README.md" if (path / "README.md").exists() else target


def page_of(place: str) -> str:
    """Return what shows a place on the site."""
    if place == "README.md":
        # The site begins with docs/index.md.
        return "overview.md"
    page = place.removeprefix("docs/")
    return page if Path(page).suffix in {".md", *_PICTURES} else f"{page}.md"


def links_of(place: str, text: str) -> set[str]:
    """Return the places that the text of a place links to."""
    targets = (target_of(match["target"], place) for match in _LINK.finditer(text) if match["target"])
    return {target for target in targets if target is not None}


def relinked(place: str, text: str) -> str:
    """Return a text whose links lead to pages; one that leads nowhere stays, for MkDocs to report."""
    folder = posixpath.dirname(page_of(place)) or "."

    def lead(match: re.Match[str]) -> str:
        target = target_of(match["target"], place) if match["target"] else None
        return match[0] if target is None else posixpath.relpath(page_of(target), folder)

    return _LINK.sub(lead, text)


def widened(text: str) -> str:
    """Return a text whose list items go on four columns in: the site asks for four, other Markdown for two or three."""
    lines: list[str] = []
    items: list[int] = []
    fence = ""
    for line in text.split("\n"):
        indent = len(line) - len(line.lstrip())
        while line and not fence and items and indent < items[-1]:
            items.pop()
        base = items[-1] if items else 0
        rest = line[base:]
        lines.append(" " * (4 * len(items)) + rest if rest else "")
        if rest.startswith(("```", "~~~")):
            fence = "" if fence else rest[:3]
        elif not fence and (marker := _MARKER.match(rest)):
            items.append(base + marker.end())
    return "\n".join(lines)


def shown(place: str) -> str:
    """Return the text of a page that shows a place."""
    path = ROOT / place
    if path.is_dir():
        names = sorted(each.name for each in path.iterdir() if not each.name.startswith((".", "_")))
        return f"# {place}\n\n" + "".join(f"- [{title_of(path / name)}]({path.name}/{name})\n" for name in names)
    text = path.read_text(encoding="utf-8")
    language = _LANGUAGES.get(path.suffix, "text")
    return text if path.suffix == ".md" else f"{_NOT_SEARCHED}# {place}\n\n````{language}\n{text}\n````\n"


def title_of(path: Path) -> str:
    """Return the title of a page, or the name of another file."""
    if path.suffix != ".md":
        return path.name
    return path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


# What MkDocs calls


def on_config(config: MkDocsConfig) -> None:
    """Name the pages of folders in the navigation, and draw diagrams."""
    config.nav = expanded(config.nav, set(named(config.nav)))
    fence = {"name": "mermaid", "class": "diagram", "format": draw}
    config.mdx_configs["pymdownx.superfences"] = {"custom_fences": [fence]}


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Bring what the navigation names and pages link to, and what that links to."""
    waiting = [f"docs/{file.src_uri}" for file in files.documentation_pages()]
    waiting += ["README.md", *(page for page in named(config.nav) if (ROOT / page).is_file())]
    known = set(waiting)
    while waiting:
        place = waiting.pop()
        page = page_of(place)
        if Path(page).suffix in _PICTURES:
            continue
        text = shown(place)
        if files.get_file_from_path(page) is None:
            files.append(brought(config, place, page, text))
        found = links_of(place, text) - known
        known |= found
        waiting += found


def brought(config: MkDocsConfig, place: str, page: str, text: str) -> File:
    """Make a page of a place outside docs/; what is no document has no place in the navigation."""
    level = InclusionLevel.INCLUDED if place.endswith(".md") or page in named(config.nav) else InclusionLevel.NOT_IN_NAV
    return File.generated(config, page, content=widened(relinked(place, text)), inclusion=level)


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Let the links of a page in docs/ lead to what was brought."""
    return markdown if page.file.generated_by else widened(relinked(f"docs/{page.file.src_uri}", markdown))


# Navigation and diagrams


def named(nav: Any) -> Iterator[str]:
    """Yield all that a navigation names."""
    if isinstance(nav, str):
        yield nav
    for entry in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from named(entry)


def expanded(nav: Any, already: set[str]) -> Any:
    """Return a navigation with the pages of FOLDER instead of `FOLDER/*`, but for those that are named already."""
    if isinstance(nav, dict):
        return {title: expanded(entry, already) for title, entry in nav.items()}
    if not isinstance(nav, list):
        return nav
    entries: list[Any] = []
    for entry in nav:
        if isinstance(entry, str) and entry.endswith("/*"):
            pages = sorted(path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").glob(f"{entry}.md"))
            entries += [page for page in pages if page not in already]
        else:
            entries.append(expanded(entry, already))
    return entries


def draw(source: str, *_: Any, **__: Any) -> str:
    """Draw a diagram; the names in it are its own, for a page may have several."""
    import mmdr  # noqa: PLC0415 - loaded where a diagram is drawn: it complains at the end of other processes

    name = f"diagram-{hashlib.sha256(source.encode()).hexdigest()[:8]}"
    svg = mmdr.render(source).svg().replace("merman", name).replace('style="', 'style="min-width:60rem;', 1)
    # Its lines are black; and on a small screen it is better moved than unreadable.
    return f'<div class="diagram" style="background:white;overflow-x:auto">{svg}</div>'
