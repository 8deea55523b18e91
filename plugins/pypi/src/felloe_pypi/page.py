"""A project's page of an index, and the distributions that it lists.

The simple repository API: PEP 503 (HTML), PEP 691 (JSON), PEP 592 (yanked), PEP 629 (version), PEP 658 and PEP 714
(metadata beside the file), PEP 700 (size, upload time). Nothing here does I/O.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import NoneType
from typing import TYPE_CHECKING

from attrs import field, frozen

from felloe.plugin import Dist, Json, Page, RequirementError, SourceError, Url

if TYPE_CHECKING:
    from felloe_pypi.html import Anchor, Document

__all__ = ["ACCEPT", "File", "dist_of", "links_of", "normalised", "parse_page"]

ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
JSON_TYPES = {"application/vnd.pypi.simple.v1+json", "application/vnd.pypi.simple.latest+json"}
HTML_TYPES = {"application/vnd.pypi.simple.v1+html", "application/vnd.pypi.simple.latest+html", "text/html"}
CHARSETS = {"iso-8859-1": "cp1252", "latin-1": "cp1252", "windows-1252": "cp1252"}  # as browsers; any other is UTF-8

AS_BROWSERS_DO = str.maketrans({" ": "%20", "\t": None, "\n": None, "\r": None})  # to an address in HTML

SDIST_SUFFIXES = (".tar.gz", ".zip", ".tar.bz2", ".tar.xz", ".tgz")
SUFFIXES = (".whl", *SDIST_SUFFIXES)
ALGORITHMS = {"md5", "sha1", "sha224", "sha256", "sha384", "sha512", "blake2b", "blake2s"}  # what a fragment may name

MAX_ADDRESS = 4096  # characters of a base, which every relative link repeats
MAX_FILES = 200_000
MAX_VALUES = 3_000_000  # in one JSON page: decoded, a value may take a hundred times its bytes
UNCOUNTED = 8 * 1024 * 1024  # bytes of a page too small to hold values enough to matter

SEPARATORS = re.compile(r"[-_.]+")
looks_like_version = re.compile(r"v?[0-9]", re.IGNORECASE).match
match_api_version = re.compile(r"([0-9]{1,9})(?:\.[0-9]+)*").fullmatch
is_web_address = re.compile(r"https?://[a-z0-9]", re.IGNORECASE).match
match_scheme = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE).match
is_hex = re.compile(r"[0-9a-f]+").fullmatch
is_sha256 = re.compile(r"[0-9a-f]{64}").fullmatch

HINT = "Look whether the URL is that of an index; if it is, tell whoever runs it."

Sidecar = bool | Mapping[str, str] | None


@frozen(kw_only=True)
class File:
    """One file that a page lists.

    `url` has no fragment. `hashes` maps algorithm to hex, both in lower case. `size` is in bytes, `upload_time` as the
    page has it (PEP 700: ISO 8601, UTC). `yanked` is the reason, True for none given. `metadata` says whether METADATA
    is served beside the file: its hashes, True for none declared, False for "it is not", None where the page is silent.
    """

    filename: str
    url: Url
    hashes: Mapping[str, str] = field(factory=dict)
    requires_python: str | None = None
    yanked: bool | str = False
    size: int | None = None
    upload_time: str | None = None
    metadata: Sidecar = None


def parse_page(page: Page, project: str) -> tuple[File, ...]:
    """The files of a project's page, in its order; of two with one name the first counts.

    Raises SourceError where the page is not an index page or not as it has to be (`invalid-index`), is that of another
    project (`name-mismatch`), has a major version above 1 (`unsupported-api-version`), or links to what a page of its
    scheme must not link to (`forbidden-link`).
    """
    media_type = _media_type(page)
    if media_type in JSON_TYPES:
        return _first_of_each_name(_json_files(page, project))
    if media_type in HTML_TYPES:
        document = _read_document(page)
        return _first_of_each_name(_html_files(page, document.base, document.anchors))
    raise _not_an_index_page(page, media_type)


def links_of(page: Page) -> tuple[File, ...]:
    """The wheels and sdists that any HTML page, or the listing of a folder, links to (`--find-links`).

    The rules are those of `parse_page`; links to anything else (a manual, `mailto:`) are passed over.
    """
    media_type = _media_type(page)
    if media_type not in HTML_TYPES:
        raise _not_an_index_page(page, media_type)
    document = _read_document(page)
    anchors = [anchor for anchor in document.anchors if _path_of(anchor.href).endswith(SUFFIXES)]
    return _first_of_each_name(_html_files(page, document.base, anchors))


def _first_of_each_name(files: Iterable[File]) -> tuple[File, ...]:
    first: dict[str, File] = {}
    for file in files:
        first.setdefault(file.filename, file)
    return tuple(first.values())


def _media_type(page: Page) -> str:
    return page.headers.get("content-type", "").partition(";")[0].strip().lower()


def _not_an_index_page(page: Page, media_type: str) -> SourceError:
    reason = f"its type is `{_shown(media_type)}`" if media_type else "it does not say its type"
    return _invalid(page, f"is not an index page: {reason}")


def _invalid(page: Page, problem: str) -> SourceError:
    return SourceError(f"`{page.url}` {problem}", hint=HINT, code="invalid-index")


def _check_version(page: Page, version: str) -> None:
    """PEP 629: a higher major version must not be read on, a higher minor one does not matter."""
    parts = match_api_version(version)
    if parts is None:
        raise _invalid(page, f"has the repository version `{_shown(version)}`, which is none")
    if int(parts[1]) > 1:
        raise SourceError(
            f"`{page.url}` has the repository version `{_shown(version)}`, and only 1 is understood",
            hint="Upgrade felloe, or use an index that serves version 1.",
            code="unsupported-api-version",
        )


class _Misfit(Exception):  # noqa: N818  # not yet an error: who catches it knows the page and the place
    """What stands at `key` of one file's entry is not what it has to be."""

    def __init__(self, key: str, problem: str, code: str = "invalid-index", hint: str = HINT) -> None:
        super().__init__(problem)
        self.key = key
        self.problem = problem
        self.code = code
        self.hint = hint

    def at(self, page: Page, place: str) -> SourceError:
        return SourceError(f"`{page.url}`: {place} {self.problem}", hint=self.hint, code=self.code)


# From the name of a file to its distribution


def dist_of(file: File, project: str, source: str) -> Dist | None:
    """The distribution that the name of `file` says it is; None where it is no wheel or sdist of `project`.

    `project` is normalised (PEP 503). Only the form is looked at: that the version starts as one does, no tags.
    """
    wheel = file.filename.endswith(".whl")
    version = _wheel_version(file.filename, project) if wheel else _sdist_version(file.filename, project)
    if version is None or not looks_like_version(version):
        return None
    sha256 = file.hashes.get("sha256")
    return Dist(
        source=source,
        kind="wheel" if wheel else "sdist",
        filename=file.filename,
        name=project,
        version=version,
        content=f"sha256:{sha256}" if sha256 else None,
        hashes=file.hashes,
        size=file.size,
        requires_python=file.requires_python,
        yanked=file.yanked,
        upload_time=file.upload_time,
        locator={"url": file.url, "metadata": file.metadata}
        if sha256
        else {"url": file.url, "metadata": file.metadata, "url-digest": file.url.digest()},
    )


def _wheel_version(filename: str, project: str) -> str | None:
    """PEP 427: name, version, perhaps a build tag, and three tags."""
    parts = filename.removesuffix(".whl").split("-")
    if len(parts) not in {5, 6} or "" in parts or not _same_name(parts[0], project):
        return None
    return parts[1]


def _sdist_version(filename: str, project: str) -> str | None:
    """PEP 625, and the older ways to write the name."""
    for suffix in SDIST_SUFFIXES:
        if filename.endswith(suffix):
            return _version_after_name(filename.removesuffix(suffix), project)
    return None


def _version_after_name(stem: str, project: str) -> str | None:
    """Name and version may both have dashes; where the name has two in a row, the version must have none."""
    end = len(project)
    if stem[end : end + 1] == "-" and _same_name(stem[:end], project):
        return stem[end + 1 :]
    name, _, version = stem.rpartition("-")
    return version if _same_name(name, project) else None


def _same_name(name: str, project: str) -> bool:
    return name == project or normalised(name) == project


def normalised(name: str) -> str:
    """The name of a project, or a pattern of names, as PEP 503 has it."""
    return SEPARATORS.sub("-", name).lower()


# JSON (PEP 691). A page may list thousands of files and is read on every run: types are checked a column at a time.


def _json_files(page: Page, project: str) -> Iterator[File]:
    data = _typed(page, "the page", _decode_json(page), dict)
    meta = _typed(page, "`meta`", data.get("meta", {}), dict)
    _check_version(page, _typed(page, "`meta.api-version`", meta.get("api-version", "1.0"), str))
    _check_name(page, _typed(page, "`name`", data.get("name"), str), project)
    links = _Links.of(page)
    # What is decoded is let go as soon as its values are in columns.
    for index, row in enumerate(_json_rows(page, _typed(page, "`files`", data.pop("files", None), list))):
        try:
            yield _json_file(links, row)
        except _Misfit as misfit:
            raise misfit.at(page, f"`files[{index}].{misfit.key}`") from misfit


def _decode_json(page: Page) -> Json:
    body = page.body
    if len(body) > UNCOUNTED and sum(body.count(mark) for mark in (b"[", b"{", b",")) > MAX_VALUES:
        raise _invalid(page, f"has more than {MAX_VALUES} values")
    try:
        data = json.loads(body.decode("utf-8-sig"))
        if b"\\u" in body:
            json.dumps(data, ensure_ascii=False).encode()  # raises where half a surrogate pair was escaped
    except (ValueError, RecursionError) as error:
        raise _invalid(page, f"is not JSON: {_shown(str(error))}") from error
    return data


def _typed(page: Page, place: str, value: Json, *kinds: type) -> Json:
    """`value`, which was decoded from JSON: its type is exactly one of a few."""
    if type(value) not in kinds:
        expected = " or ".join(KINDS[kind] for kind in kinds if kind is not NoneType)
        raise _invalid(page, f"is not an index page: {place} has to be {expected}, but is {KINDS[type(value)]}")
    return value


KINDS: dict[type, str] = {
    dict: "an object",
    list: "an array",
    str: "a string",
    int: "a whole number",
    float: "a fraction",
    bool: "true or false",
    NoneType: "missing",
}


def _check_name(page: Page, name: str, project: str) -> None:
    if normalised(name) != normalised(project):
        raise SourceError(
            f"`{page.url}` is the page of `{_shown(name)}`, not of `{project}`", hint=HINT, code="name-mismatch"
        )


def _json_rows(page: Page, entries: Sequence[Json]) -> Iterator[tuple[Json, ...]]:
    """Of each entry what a File needs, in the order of its fields."""
    if len(entries) > MAX_FILES:
        raise _invalid(page, f"lists more than {MAX_FILES} files")
    _check_each(page, "`files[{}]`", entries, dict)
    return zip(
        _column(page, entries, "filename", str),
        _column(page, entries, "url", str),
        _column(page, entries, "hashes", dict),
        _column(page, entries, "requires-python", str, NoneType),
        _column(page, entries, "yanked", bool, str, NoneType),
        _column(page, entries, "size", int, NoneType),
        _column(page, entries, "upload-time", str, NoneType),
        _sidecar_column(page, entries),
        strict=True,
    )


def _column(page: Page, entries: Sequence[dict[str, Json]], key: str, *kinds: type) -> list[Json]:
    values = [entry.get(key) for entry in entries]
    _check_each(page, f"`files[{{}}].{key}`", values, *kinds)
    return values


def _sidecar_column(page: Page, entries: Sequence[dict[str, Json]]) -> list[Json]:
    """PEP 714: the older key counts only where the newer one is missing."""
    values = [
        sidecar if (sidecar := entry.get("core-metadata")) is not None else entry.get("dist-info-metadata")
        for entry in entries
    ]
    _check_each(page, "`files[{}].core-metadata`", values, bool, dict, NoneType)
    return values


def _check_each(page: Page, place: str, values: Sequence[Json], *kinds: type) -> None:
    if not set(kinds).issuperset(map(type, values)):
        for index, value in enumerate(values):
            _typed(page, place.format(index), value, *kinds)


def _json_file(links: _Links, row: tuple[Json, ...]) -> File:
    """Raises _Misfit where a value of the right type will not do."""
    filename, href, hashes, requires_python, yanked, size, upload_time, sidecar = row
    if not _is_filename(filename):
        raise _Misfit("filename", f"is not the name of a file: `{_shown(filename)}`")
    if size is not None and size < 0:
        raise _Misfit("size", f"is below zero for `{filename}`")
    return File(
        filename=filename,
        url=links.resolve(href),
        hashes=_hashes("hashes", hashes, filename),
        requires_python=requires_python or None,
        yanked=yanked or False,  # PEP 691: yanked is what is truthy
        size=size,
        upload_time=upload_time,
        metadata=(_hashes("core-metadata", sidecar, filename) or True) if type(sidecar) is dict else sidecar,
    )


def _is_filename(text: str) -> bool:
    return text not in {"", ".", ".."} and "/" not in text and "\\" not in text and text.isprintable()


def _hashes(key: str, declared: dict[str, Json], filename: str) -> dict[str, str]:
    """In lower case. Raises _Misfit where one is not hex, or a sha256 not of 64 digits."""
    sha256 = declared.get("sha256")
    if type(sha256) is str and len(declared) == 1 and is_sha256(sha256):
        return declared  # as nearly all are
    for algorithm, digest in declared.items():
        is_digest = is_sha256 if algorithm.lower() == "sha256" else is_hex
        if type(digest) is not str or not is_digest(digest.lower()):
            actual = _shown(digest) if type(digest) is str else KINDS[type(digest)]
            raise _Misfit(key, f"declares a {_shown(algorithm)} of `{filename}` that is none: `{actual}`")
    return {algorithm.lower(): digest.lower() for algorithm, digest in declared.items()}


# HTML (PEP 503)


def _read_document(page: Page) -> Document:
    from felloe_pypi.html import read_html  # most indexes serve JSON

    try:
        document = read_html(page.body, _charset(page))
    except ValueError as error:
        raise _invalid(page, f"cannot be read as HTML: {_shown(str(error))}") from error
    _check_version(page, document.version or "1.0")
    return document


def _charset(page: Page) -> str:
    declared = re.search(r"charset=[\"']?([\w.:-]+)", page.headers.get("content-type", ""), re.IGNORECASE)
    return CHARSETS.get(declared[1].lower(), "utf-8") if declared else "utf-8"


def _html_files(page: Page, base: str | None, anchors: Iterable[Anchor]) -> Iterator[File]:
    links = _Links.of(page, base)
    for anchor in anchors:
        try:
            file = _html_file(links, anchor)
        except _Misfit as misfit:
            raise misfit.at(page, f"the {misfit.key} of the link in line {anchor.line}") from misfit
        if file is not None:
            yield file


def _html_file(links: _Links, anchor: Anchor) -> File | None:
    """None where the link is not to a file: a folder, a place on the page. Raises _Misfit."""
    address, _, fragment = anchor.href.strip().translate(AS_BROWSERS_DO).partition("#")
    if not address:
        return None
    url = links.resolve(address)
    filename = url.filename
    if not _is_filename(filename):
        return None
    yanked = anchor.attributes.get("data-yanked")
    return File(
        filename=filename,
        url=url,
        hashes=_hashes("fragment", _declared_hashes(fragment), filename),
        requires_python=anchor.attributes.get("data-requires-python") or None,
        yanked=yanked is not None and (yanked or True),
        metadata=_html_sidecar(anchor.attributes, filename),
    )


def _declared_hashes(text: str) -> dict[str, Json]:
    """`sha256=...`, also beside what else old pages write into a fragment (`egg=...&md5=...`)."""
    pairs = (pair.partition("=") for pair in text.split("&"))
    return {name: value for name, _, value in pairs if value and name.lower() in ALGORITHMS}


def _html_sidecar(attributes: Mapping[str, str], filename: str) -> Sidecar:
    """PEP 714: the newer attribute is preferred. PEP 658: it has a hash, or `true` where there is none."""
    key = "data-core-metadata" if "data-core-metadata" in attributes else "data-dist-info-metadata"
    value = attributes.get(key, "")
    if value.lower() in {"true", "false"}:
        return value.lower() == "true"
    return _hashes(key, _declared_hashes(value), filename) or None


def _path_of(href: str) -> str:
    return re.split(r"[?#]", href.strip(), maxsplit=1)[0]


# Links


@frozen(kw_only=True)
class _Links:
    """Where the links of a page lead, and the schemes that they may have."""

    base: Url
    schemes: frozenset[str]

    @classmethod
    def of(cls, page: Page, base: str | None = None) -> _Links:
        """`base` is as HTML has it. Raises SourceError where it is not a URL, or a monster."""
        try:
            url = page.url if base is None else page.url.join(base.strip())
        except (RequirementError, ValueError) as error:
            raise _invalid(page, "has a base that is not a URL") from error
        if len(str(url)) > MAX_ADDRESS:
            raise _invalid(page, f"has a base of more than {MAX_ADDRESS} characters")
        return cls(base=url, schemes=frozenset({"http", "https"} | ({"file"} & {page.url.scheme})))

    def resolve(self, href: str) -> Url:
        """Raises _Misfit where `href` is not a URL, or one that this page must not link to."""
        address = href.partition("#")[0]
        if not address:
            raise _Misfit("url", "is empty")
        try:
            url = self.base.join(address)
        except (RequirementError, ValueError) as error:
            raise self._unreadable(address) from error
        if not is_web_address(address):  # which is good on any page
            self._check(url)
        return url

    def _check(self, url: Url) -> None:
        if url.scheme not in self.schemes:
            raise self._forbidden(str(url))
        if url.scheme != "file" and not url.host:
            raise _Misfit("url", f"has no host: `{_shown(str(url))}`")

    def _unreadable(self, address: str) -> _Misfit:
        """Of `javascript:...` and the like only the scheme is shown: where it has a secret, nobody knows."""
        scheme = match_scheme(address)
        if scheme and scheme[1].lower() not in self.schemes:
            return self._forbidden(f"{scheme[1]}:...")
        return _Misfit("url", "is not a URL")

    def _forbidden(self, shown: str) -> _Misfit:
        allowed = ", ".join(sorted(self.schemes))
        return _Misfit(
            "url",
            f"leads to `{_shown(shown)}`, and this page may link to {allowed} only",
            code="forbidden-link",
            hint="Do not use this index before whoever runs it has explained that link.",
        )


def _shown(text: str) -> str:
    """For a message: what is long is cut, what would not print is escaped."""
    start = text if len(text) <= 200 else f"{text[:200]}..."
    return start if start.isprintable() else ascii(start)[1:-1]
