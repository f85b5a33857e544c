"""Look at pages as a browser does, without one: an HTML tree, links, and whether it is in order."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import httpx

VOID = {"meta", "link", "input", "br", "img"}
SVG_VOID = {"rect", "path", "use", "circle"}


@dataclass
class Element:
    """An element: its tag, attributes and children (elements and texts)."""

    tag: str
    attributes: dict[str, str]
    children: list[Any] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    def all(self, tag: str | None = None, **attributes: str) -> list[Element]:
        """Every element below, in order, with this tag and these attributes (``class_``: one of its classes)."""
        found = []
        for child in self.children:
            if isinstance(child, Element):
                if child._is(tag, attributes):
                    found.append(child)
                found += child.all(tag, **attributes)
        return found

    def one(self, tag: str | None = None, **attributes: str) -> Element:
        found = self.all(tag, **attributes)
        assert len(found) == 1, f"{len(found)} elements {tag} {attributes}"
        return found[0]

    def _is(self, tag: str | None, attributes: dict[str, str]) -> bool:
        if tag is not None and self.tag != tag:
            return False
        for name, value in attributes.items():
            if name == "class_":
                if value not in self.attributes.get("class", "").split():
                    return False
            elif self.attributes.get(name.replace("_", "-")) != value:
                return False
        return True

    def rows(self) -> list[list[str]]:
        """The texts of the cells of a table's body."""
        return [
            [cell.text.strip() for cell in row.children if isinstance(cell, Element)]
            for row in self.one("tbody").all("tr")
        ]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        assert len(element.attributes) == len(attrs), f"an attribute twice in <{tag}>"
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def read(text: str) -> Element:
    """Parse a page in which every element is closed where it must be."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert len(reader.open) == 1, f"<{reader.open[-1].tag}> is not closed"
    return reader.root


def faults(page: Element) -> list[str]:
    """What is wrong with a page: for browsers with a strict policy, for those who cannot see, and for keyboards."""
    found = []
    identifiers = [element.attributes["id"] for element in page.all() if "id" in element.attributes]
    found += [f"id {name} is there twice" for name in set(identifiers) if identifiers.count(name) > 1]
    for element in page.all():
        names = element.attributes
        found += [f"<{element.tag} {name}>" for name in names if name == "style" or name.startswith("on")]
        if element.tag == "style" or (element.tag == "script" and (element.text.strip() or "src" not in names)):
            found.append(f"inline <{element.tag}>")
        if element.tag == "svg" and names.get("aria-hidden") != "true" and not names.get("aria-label"):
            found.append("a picture without words")
        found += [
            f"{name}={names[name]}"
            for name in ("aria-labelledby", "for")
            if name in names and names[name] not in identifiers
        ]
        if element.tag == "table":
            head, body = element.all("thead"), element.one("tbody")
            wide = len(head[0].all("th")) if head else 2
            for row in body.all("tr"):
                cells = [cell for cell in row.children if isinstance(cell, Element)]
                span = sum(int(cell.attributes.get("colspan", "1")) for cell in cells)
                if span != wide:
                    found.append(f"a row of {span} cells below {wide} headings")
    for tag in ("main", "h1", "title", "header", "footer"):
        if len(page.all(tag)) != 1:
            found.append(f"{len(page.all(tag))} <{tag}>")
    if page.one("html").attributes.get("lang") != "en":
        found.append("no language")
    return found


class Browser:
    """Asks an application, without a network."""

    def __init__(self, app: Any, *, follow: bool = False) -> None:
        self._app, self._follow = app, follow

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.request("GET", path, **more)

    def request(self, verb: str, path: str, **more: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
                return await client.request(verb, path, follow_redirects=self._follow, **more)

        return asyncio.run(ask())
