"""What an index page in HTML says: its anchors, its base and its version (PEP 503, PEP 629)."""

from __future__ import annotations

import codecs
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Anchor", "Document", "read_html"]

CHUNK = 256 * 1024  # bytes read at once
MAX_ANCHORS = 200_000
MAX_MARKUP = 1024 * 1024  # characters of one tag, comment or script


@frozen(kw_only=True)
class Anchor:
    """An `<a href>`: `attributes` have names in lower case and values without entities; `line` counts from 1."""

    href: str
    attributes: Mapping[str, str]
    line: int


@frozen(kw_only=True)
class Document:
    """`base` is the first `<base href>`, `version` the first `pypi:repository-version`, as written."""

    anchors: Sequence[Anchor]
    base: str | None
    version: str | None


def read_html(body: bytes, charset: str) -> Document:
    """The anchors of `body` in its order; markup that is still open at the end counts for nothing.

    What is not of the charset becomes U+FFFD, so that one odd name does not hide the others. Time is linear. Raises
    ValueError where there are more than 200,000 anchors, where a tag, comment or script is longer than 1 MiB, and where
    a character reference has thousands of digits.
    """
    reader = _Reader()
    chunks = (body[start : start + CHUNK] for start in range(0, len(body), CHUNK))
    for text in codecs.iterdecode(chunks, charset, errors="replace"):
        reader.feed(text)
        if len(reader.rawdata) > MAX_MARKUP:
            raise ValueError(f"the markup in line {reader.getpos()[0]} is longer than {MAX_MARKUP} characters")
    # Not closed: html.parser would try what is unfinished again from each of its places, in quadratic time.
    return Document(anchors=reader.anchors, base=reader.base, version=reader.version)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.anchors: list[Anchor] = []
        self.base: str | None = None
        self.version: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"a", "base", "meta"}:
            return
        attributes = {name: value or "" for name, value in reversed(attrs)}  # of two with one name the first counts
        match tag:
            case "a" if "href" in attributes:
                self._add_anchor(attributes)
            case "base" if self.base is None:
                self.base = attributes.get("href")
            case "meta" if self.version is None and attributes.get("name") == "pypi:repository-version":
                self.version = attributes.get("content")

    def _add_anchor(self, attributes: dict[str, str]) -> None:
        if len(self.anchors) == MAX_ANCHORS:
            raise ValueError(f"it has more than {MAX_ANCHORS} links")
        line, _column = self.getpos()
        self.anchors.append(Anchor(href=attributes.pop("href"), attributes=attributes, line=line))

    def parse_html_declaration(self, i: int) -> int:
        """As browsers do: `<!...>` says nothing. Some versions of html.parser fail on what they do not know there."""
        return self.parse_bogus_comment(i, report=False)
