"""A page of HTML as tests ask for it: strict about what browsers would silently mend."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser

_VOID = {"input", "link", "meta", "br", "img"}


class Element:
    """One element."""

    def __init__(self, tag: str, attributes: dict[str, str], parent: Element | None, page: list[Element]) -> None:
        self.tag, self.attributes, self.parent = tag, attributes, parent
        self.children: list[Element | str] = []
        #: All elements of the page in their order: those in this one are from `_first` to `_end`.
        self._page = page
        page.append(self)
        self._first = self._end = len(page)

    def __getitem__(self, name: str) -> str:
        return self.attributes[name]

    def get(self, name: str) -> str | None:
        """Give an attribute."""
        return self.attributes.get(name)

    def __iter__(self) -> Iterator[Element]:
        return iter(self._page[self._first : self._end])

    def close(self) -> None:
        """Take what has been read since it began for what is in it."""
        self._end = len(self._page)

    @property
    def classes(self) -> list[str]:
        """Give the classes."""
        return (self.get("class") or "").split()

    @property
    def text(self) -> str:
        """Give the text in it, white space made single; nobody sees <title> of a drawing."""
        return " ".join("".join(self._texts()).split())

    def _texts(self) -> Iterator[str]:
        for child in self.children:
            if isinstance(child, str):
                yield child
            elif child.tag != "title":
                yield from child._texts()

    def all(self, tag: str = "", **attributes: str) -> list[Element]:
        """Give the elements in it, by tag and attributes; `_` stands for `-` in a name, `class_` for one class."""
        return [each for each in self if (not tag or each.tag == tag) and each.fits(attributes)]

    def one(self, tag: str = "", **attributes: str) -> Element:
        """Give the only such element."""
        found = self.all(tag, **attributes)
        assert len(found) == 1, f"{len(found)} elements are {tag} {attributes}"
        return found[0]

    def fits(self, attributes: dict[str, str]) -> bool:
        """Say whether it has these attributes."""
        return all(
            value in self.classes if name == "class_" else self.get(name.replace("_", "-")) == value
            for name, value in attributes.items()
        )

    def rows(self) -> list[list[str]]:
        """Give the texts of a table's cells."""
        return [[cell.text for cell in row.children if isinstance(cell, Element)] for row in self.all("tr")]


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page: list[Element] = []
        self.root = Element("", {}, None, self.page)
        self.open = self.root

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), f"<{tag}> has an attribute twice: {names}"
        element = Element(tag, {name: value or "" for name, value in attrs}, self.open, self.page)
        self.open.children.append(element)
        if tag not in _VOID:
            self.open = element

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.tag == tag, f"</{tag}> closes <{self.open.tag}>, at {self.getpos()}"
        assert self.open.parent is not None
        self.open.close()
        self.open = self.open.parent

    def handle_data(self, data):
        self.open.children.append(data)


def parse(text: str) -> Element:
    """Parse a whole page; what is not closed, or closed twice, is an error."""
    parser = _Parser()
    parser.feed(text)
    parser.close()
    assert parser.open is parser.root, f"<{parser.open.tag}> is not closed"
    parser.root.close()
    return parser.root.one("html")
