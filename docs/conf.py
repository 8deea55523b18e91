"""Sphinx: `python -m sphinx -W -b html docs OUTPUT`. Nothing is read from the network."""

from __future__ import annotations

import re
from importlib.metadata import version as version_of
from typing import TYPE_CHECKING, Any

import felloe

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "felloe"
author = "The felloe developers"
version = release = version_of("felloe")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = f"felloe {version}"
html_show_copyright = html_show_sphinx = False
html_copy_source = html_show_sourcelink = False
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 100

ONE_BACKTICK = re.compile(r"(?<!`)`([^`]+)`(?!`)")
NO_DEFAULT = re.compile(r"= ?(NOTHING|<[^<>]+>)")


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-docstring", as_rst)
    app.connect("autodoc-process-signature", without_machinery)
    app.connect("autodoc-skip-member", is_told_elsewhere)


def as_rst(_app: Sphinx, _what: str, _name: str, _object: object, _options: object, lines: list[str]) -> None:
    """Docstrings are written to be read where they stand: names in single backticks, examples indented."""
    paragraphs = "\n".join(lines).split("\n\n")
    indented = [paragraph.startswith("    ") for paragraph in paragraphs]
    for number, paragraph in enumerate(paragraphs):
        if not indented[number]:
            paragraphs[number] = ONE_BACKTICK.sub(r"``\1``", paragraph)
        elif not indented[number - 1]:
            paragraphs[number] = f".. code-block:: python\n\n{paragraph}"
    lines[:] = "\n\n".join(paragraphs).split("\n")


def without_machinery(
    _app: Sphinx, what: str, _name: str, value: Any, _options: object, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """A protocol is not called, and a default that is made for each call has no text."""
    if what == "class" and getattr(value, "_is_protocol", False):
        return "", returns
    return signature and NO_DEFAULT.sub("= ...", signature), returns


def is_told_elsewhere(app: Sphinx, what: str, name: str, value: object, _skip: object, _options: object) -> bool | None:
    """What `felloe.plugin` has from `felloe`, and the fields of values, which are in their signature."""
    if what == "module" and app.env.temp_data.get("autodoc:module") == "felloe.plugin":
        return name in felloe.__all__ or None
    return repr(value) == "SLOTS_ATTR" or None
