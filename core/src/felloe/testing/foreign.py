"""Requests that are not a source's own to answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from felloe.request import parse_request
from felloe.values import Request

__all__ = ["foreign_to", "kind_of", "parsed"]

NOBODY = "felloe-contract-nobody"
# Direct references, by what may answer for them. A source is asked for its own kind, and has to leave the others alone.
FOREIGN: Mapping[str, Sequence[str]] = {
    "http": ["https://example.com/{name}-1.0.tar.gz", "http://example.com/{name}-1.0-py3-none-any.whl"],
    "git": [
        "git+https://example.com/{name}.git",
        "git+ssh://git@example.com/{name}@main",
        "git+file:///nowhere/{name}",
    ],
    "path": ["./{name}-1.0.tar.gz", "/nowhere/{name}-1.0-py3-none-any.whl", "file:///nowhere/{name}"],
    "others": ["hg+https://example.com/{name}", "felloe-contract+https://example.com/{name}.zip"],
}
SCHEMES = {"http": "http", "https": "http", "ssh": "git", "git": "git"}


def foreign_to(known: Request) -> Sequence[str]:
    """Direct references of all kinds but that of `known`, also with its name in front of them, and another name."""
    own = kind_of(known)
    templates = [text for kind, texts in FOREIGN.items() if kind != own for text in texts]
    named = [f"{known.name or NOBODY} @ {text}" for text in templates if "://" in text]
    return [*(text.format(name=known.name or NOBODY) for text in [*templates, *named]), NOBODY]


def kind_of(request: Request) -> str:
    """`name`, `path`, or which kind of direct reference it is."""
    if request.path is not None:
        return "path"
    if request.url is None:
        return "name"
    scheme = request.url.scheme
    return "git" if scheme.startswith("git+") else SCHEMES.get(scheme, scheme)


def parsed(request: Request | str) -> Request:
    return parse_request(request) if isinstance(request, str) else request
