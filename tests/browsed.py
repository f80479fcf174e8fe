"""A report's page as a browser would see it, and a label that must not do anything there."""

from __future__ import annotations

from html.parser import HTMLParser

EVIL = "<script>alert(1)</script>"


class Page(HTMLParser):
    """What a browser would see: elements with their attributes, text, and whether all elements are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def ids(self, tag: str) -> list[str]:
        return [found["id"] or "" for name, found in self.elements if name == tag and "id" in found]
