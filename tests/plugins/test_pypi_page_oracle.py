"""The package pypi-simple reads the same pages, and both say the same."""

from __future__ import annotations

import html
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypi_simple import DistributionPackage, ProjectPage

from felloe.url import Url
from felloe.values import Page
from felloe_pypi.page import File, parse_page

pytestmark = pytest.mark.oracle

PAGE = "https://example.com/simple/foo-bar/"
BASES = ["", "https://example.org/files/", "../../mirror/", "/packages/"]
HEX = "0123456789abcdef"

sha256s = st.fixed_dictionaries({}, optional={"sha256": st.text(HEX, min_size=64, max_size=64)})
digests = sha256s | st.fixed_dictionaries({"md5": st.text(HEX, min_size=32, max_size=32)})
reasons = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=20)
versions = st.from_regex(r"[0-9]{1,2}(\.[0-9]{1,2}){0,2}(rc[0-9])?(\+[a-z0-9]{1,3})?", fullmatch=True)
specifiers = st.sampled_from([">=3.8", ">=3.8,<4", "!=3.9.*,>=3.6", "~=3.7", "==3.*"])
hrefs = st.sampled_from(["", "../", "../../f/", "/f/", "//files.example.com/a/b/", "https://files.example.com/c/"])


@st.composite
def filenames(draw: st.DrawFn) -> str:
    name = draw(st.sampled_from(["foo_bar", "Foo.Bar", "foo-bar"]))
    if draw(st.booleans()):
        return f"{name}-{draw(versions)}{draw(st.sampled_from(['.tar.gz', '.zip', '.exe']))}"
    return f"{name.replace('-', '_')}-{draw(versions)}-py3-none-any.whl"


@st.composite
def files(draw: st.DrawFn) -> dict[str, Any]:
    """A file as PEP 691 has it; what is not given is left out."""
    filename = draw(filenames())
    optional = {
        "requires-python": specifiers,
        "yanked": st.booleans() | reasons,
        "core-metadata": st.booleans() | digests,
    }
    return {
        "filename": filename,
        "url": draw(hrefs) + filename.replace("+", "%2B"),
        "hashes": draw(digests),
        **draw(st.fixed_dictionaries({}, optional=optional)),
    }


pages = st.lists(files(), max_size=6, unique_by=lambda file: file["filename"])
more = st.fixed_dictionaries(
    {},
    optional={
        "size": st.integers(min_value=0, max_value=2**40),
        "upload-time": st.datetimes().map(lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ").zfill(27)),
    },
)


@settings(derandomize=True, deadline=None)
@given(pages, st.data(), st.sampled_from(["1.0", "1.1"]))
def test_json_pages(listed: list[dict[str, Any]], data: st.DataObject, version: str) -> None:
    listed = [file | data.draw(more) for file in listed]
    page = {"meta": {"api-version": version}, "name": "foo-bar", "files": listed}
    theirs = ProjectPage.from_json_data(page, PAGE)
    agree(read(json.dumps(page), "application/vnd.pypi.simple.v1+json"), theirs)


@settings(derandomize=True, deadline=None)
@given(pages, st.sampled_from(BASES), st.sampled_from(["1.0", "1.1"]))
def test_html_pages(listed: list[dict[str, Any]], base: str, version: str) -> None:
    head = f'<base href="{base}">' if base else ""
    links = "".join(anchor_of(file) for file in listed)
    page = f'<!DOCTYPE html><head><meta name="pypi:repository-version" content="{version}">{head}</head>{links}'
    theirs = ProjectPage.from_html("foo-bar", page, PAGE)
    agree(read(page, "text/html"), theirs)


def anchor_of(file: dict[str, Any]) -> str:
    """The same file as PEP 503 has it."""
    fragment = "".join(f"#{algorithm}={digest}" for algorithm, digest in file["hashes"].items())
    attributes = {"href": file["url"] + fragment}
    if "requires-python" in file:
        attributes["data-requires-python"] = file["requires-python"]
    if file.get("yanked", False) is not False:
        attributes["data-yanked"] = "" if file["yanked"] is True else file["yanked"]
    if "core-metadata" in file:
        attributes["data-core-metadata"] = sidecar_of(file["core-metadata"])
    written = " ".join(f'{name}="{html.escape(value)}"' for name, value in attributes.items())
    return f"<a {written}>{html.escape(file['filename'])}</a><br>\n"


def sidecar_of(declared: bool | dict[str, str]) -> str:
    if isinstance(declared, dict):
        return "".join(f"{algorithm}={digest}" for algorithm, digest in declared.items()) or "true"
    return str(declared).lower()


def read(body: str, content_type: str) -> tuple[File, ...]:
    page = Page(url=Url(PAGE), status=200, headers={"content-type": content_type}, body=body.encode())
    return parse_page(page, "foo-bar")


def agree(ours: tuple[File, ...], theirs: ProjectPage) -> None:
    assert [our_view(file) for file in ours] == [their_view(package) for package in theirs.packages]


def our_view(file: File) -> dict[str, Any]:
    advertised = file.metadata is not None and file.metadata is not False
    return {
        "filename": file.filename,
        "url": file.url.reveal(),
        "hashes": file.hashes,
        "requires-python": file.requires_python,
        "yanked": file.yanked is not False,
        "reason": file.yanked if isinstance(file.yanked, str) else None,
        "sidecar": None if file.metadata is None else advertised,
        "sidecar-hashes": {} if not advertised or file.metadata is True else file.metadata,
        "size": file.size,
        "upload-time": file.upload_time,
    }


def their_view(package: DistributionPackage) -> dict[str, Any]:
    moment = package.upload_time
    return {
        "filename": package.filename,
        "url": package.url,
        "hashes": package.digests,
        "requires-python": package.requires_python,
        "yanked": package.is_yanked,
        "reason": package.yanked_reason or None,
        "sidecar": package.has_metadata,
        "sidecar-hashes": package.metadata_digests or {},
        "size": package.size,
        "upload-time": None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ").zfill(27),
    }
