"""METADATA of a wheel, and what an sdist alone proves, as `felloe.values.Metadata`.

The core metadata specification names the fields; here they are kebab-case keys in the order of the specification.
An sdist proves a field in its PKG-INFO (PEP 643) or in the `[project]` table of its pyproject.toml (PEP 621). What is
proven is true in every environment: `[]`, and None for `requires-python`, are proven to be empty; a key that is missing
is not proven.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from attrs import frozen

from felloe.errors import MetadataError
from felloe.values import Metadata, Rung

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from packaging.requirements import Requirement

__all__ = [
    "FIELDS",
    "MAX_BYTES",
    "MULTIPLE_USE",
    "check_identity",
    "load_pyproject",
    "parse_metadata",
    "proves",
    "static_from_pkg_info",
    "static_from_pyproject",
    "static_metadata",
]

FIELDS = (
    "metadata-version",
    "name",
    "version",
    "dynamic",
    "platform",
    "supported-platform",
    "summary",
    "description-content-type",
    "keywords",
    "author",
    "author-email",
    "maintainer",
    "maintainer-email",
    "license",
    "license-expression",
    "license-file",
    "classifier",
    "requires-dist",
    "requires-python",
    "requires-external",
    "project-url",
    "provides-extra",
    "import-name",
    "import-namespace",
    "provides-dist",
    "obsoletes-dist",
    "home-page",
    "download-url",
    "requires",
    "provides",
    "obsoletes",
)
MULTIPLE_USE = frozenset(
    {
        "dynamic",
        "platform",
        "supported-platform",
        "license-file",
        "classifier",
        "requires-dist",
        "requires-external",
        "project-url",
        "provides-extra",
        "import-name",
        "import-namespace",
        "provides-dist",
        "obsoletes-dist",
        "requires",
        "provides",
        "obsoletes",
    }
)
REQUIRED = ("metadata-version", "name", "version")
RESOLVED = ("requires-dist", "requires-python", "provides-extra")  # what a resolver needs besides name and version
EXACT = frozenset({*REQUIRED, *RESOLVED, "dynamic"})  # these are never guessed

MAX_BYTES = 16 * 1024 * 1024
MAX_HEADER_LINES = 100_000
# tomllib needs time and memory in the square of the length of a dotted key
MAX_PYPROJECT_BYTES = 128 * 1024
MAX_DOTS_IN_LINE = 200

_BLANK_LINE = re.compile(rb"\r?\n\r?\n|\r\r")
_FOLD = re.compile(r"[\r\n]+[ \t]*")
_NAME = re.compile(r"[A-Z0-9]([A-Z0-9._-]*[A-Z0-9])?", re.IGNORECASE | re.ASCII)
_FORMAT = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4})*")


# METADATA


def parse_metadata(raw: bytes, *, what: str, max_bytes: int = MAX_BYTES) -> Metadata:
    """METADATA or PKG-INFO as a value. `what` names the file for people, in backticks.

    Raises MetadataError where it is longer than `max_bytes`, of an unknown major format, or where a field that
    somebody relies on is missing, ambiguous or not UTF-8. Unknown fields and the description are left out.
    """
    return Metadata(_fields(_headers(raw, what, max_bytes), what))


@frozen
class _Headers:
    """Header values by field name. `whole` is False where a line that is none broke the headers off."""

    values: Mapping[str, list[bytes]]
    whole: bool


def _headers(raw: bytes, what: str, max_bytes: int) -> _Headers:
    # Neither email's parser of whole messages nor packaging's parse_email: on hostile input the one recurses into
    # the body, and the other takes time in the square of the number of headers.
    from email.parser import BytesHeaderParser

    if len(raw) > max_bytes:
        raise _broken(what, f"are longer than {max_bytes} bytes")
    block = _BLANK_LINE.split(raw, maxsplit=1)[0]
    if block.count(b"\n") + block.count(b"\r") > MAX_HEADER_LINES:
        raise _broken(what, f"have more than {MAX_HEADER_LINES} lines of headers")
    parsed = BytesHeaderParser().parsebytes(block)
    values: dict[str, list[bytes]] = {}
    for name, value in parsed.raw_items():
        values.setdefault(name.lower(), []).append(value.encode("ascii", "surrogateescape"))
    return _Headers(values, whole=not parsed.defects)


def _fields(headers: _Headers, what: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name in FIELDS:
        texts = [text for raw in headers.values.get(name, ()) if (text := _text(name, raw, what))]
        if name in MULTIPLE_USE and name in headers.values:
            fields[name] = texts
        elif texts:
            fields[name] = _only(name, texts, what)
    _check(fields, what)
    return fields


def _text(name: str, raw: bytes, what: str) -> str:
    """One value, unfolded; old files have names of people in Latin-1."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        if name in EXACT:
            raise _broken(what, f"have a field `{name}` that is not UTF-8", field=name) from error
        text = raw.decode("latin-1")
    return (text if name == "license" else _FOLD.sub(" ", text)).strip()


def _only(name: str, texts: list[str], what: str) -> str:
    if len(texts) > 1 and name in EXACT:
        raise _broken(what, f"have the field `{name}` {len(texts)} times", field=name)
    return texts[0]


def _check(fields: Mapping[str, Any], what: str) -> None:
    for name in REQUIRED:
        if name not in fields:
            raise _broken(what, f"have no field `{name}`", field=name)
    if not _NAME.fullmatch(fields["name"]):
        raise _broken(what, f"have `{fields['name']}` for a name", field="name")
    _check_format(fields["metadata-version"], what)


def _check_format(version: str, what: str) -> None:
    """A minor version only adds to what is known, a major one may change it."""
    if not _FORMAT.fullmatch(version):
        raise _broken(what, f"have `{version}` for a metadata version", field="metadata-version")
    if _format(version) >= (3,):
        message = f"the metadata of {what} are of version `{version}`, and felloe knows those below 3"
        raise MetadataError(message, hint="Choose an older version, or try a newer felloe.", what=what)


def _broken(what: str, how: str, **payload: str) -> MetadataError:
    hint = "The file is broken: choose another version or file, or tell its author."
    return MetadataError(f"the metadata of {what} {how}", hint=hint, what=what, **payload)


def _format(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


# What an sdist proves


def proves(metadata: Metadata) -> bool:
    """Whether an sdist's static metadata answer a resolver without a build."""
    return all(name in metadata.fields for name in ("name", "version", *RESOLVED))


def static_metadata(
    members: Mapping[str, bytes], *, filename_version: str | None, max_bytes: int = MAX_BYTES
) -> tuple[Metadata, Rung] | None:
    """What an sdist's `PKG-INFO` and `pyproject.toml` (`members`) prove together, and the rung that completed it.

    A field that PKG-INFO proves is not asked of pyproject.toml. None where neither proves anything.
    """
    pkg_info = static_from_pkg_info(members["PKG-INFO"], max_bytes) if "PKG-INFO" in members else None
    if pkg_info is not None and proves(pkg_info):
        return pkg_info, "pkg-info"
    pyproject = members.get("pyproject.toml")
    project = None if pyproject is None else static_from_pyproject(pyproject, filename_version=filename_version)
    if project is None:
        return None if pkg_info is None else (pkg_info, "pkg-info")
    fields = {**project.fields, **(pkg_info.fields if pkg_info else {})}
    return Metadata(_ordered(fields)), "pyproject"


def static_from_pkg_info(raw: bytes, max_bytes: int = MAX_BYTES) -> Metadata | None:
    """What the PKG-INFO of an sdist proves (PEP 643): from format 2.2 on, every field that is not in `Dynamic`.

    `Dynamic` is compared without regard to case. None where it proves nothing, also because it is broken.
    """
    try:
        headers = _headers(raw, "PKG-INFO", max_bytes)
        fields = _fields(headers, "PKG-INFO")
    except MetadataError:
        return None
    dynamic = {"dynamic", *(name.lower() for name in fields.get("dynamic", ()))}
    if not headers.whole or _format(fields["metadata-version"]) < (2, 2) or "name" in dynamic:
        return None
    empty: dict[str, Any] = {"requires-dist": [], "requires-python": None, "provides-extra": []}
    known = {**empty, **fields}
    return Metadata(_ordered({name: value for name, value in known.items() if name not in dynamic}))


def static_from_pyproject(raw: bytes, *, filename_version: str | None) -> Metadata | None:
    """What the `[project]` table of an sdist's pyproject.toml proves (PEP 621): every field that is not in `dynamic`.

    A dynamic version is `filename_version`, that of the sdist's file name, where there is one. None where there is no
    such table, or where it is not as PEP 621 wants it: a build would tell.
    """
    try:
        project = _project(raw)
        return None if project is None else Metadata(_ordered(_proven(project, filename_version)))
    except (ValueError, RecursionError):
        return None


def _ordered(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: fields[name] for name in FIELDS if name in fields}


# pyproject.toml: what is not as PEP 621 wants it is a ValueError, as it is for tomllib and packaging


def _project(raw: bytes) -> dict[str, Any] | None:
    document = load_pyproject(raw)
    return _table(document["project"]) if "project" in document else None


def load_pyproject(raw: bytes) -> dict[str, Any]:
    """The document of a pyproject.toml that nobody vouches for. Raises ValueError, also where it is too long."""
    import tomllib

    if len(raw) > MAX_PYPROJECT_BYTES or any(line.count(b".") > MAX_DOTS_IN_LINE for line in raw.split(b"\n")):
        raise ValueError("pyproject.toml is too long to be read safely")
    try:
        return tomllib.loads(raw.decode())
    except RecursionError as error:
        raise ValueError("pyproject.toml is nested too deeply") from error


def _proven(project: Mapping[str, Any], filename_version: str | None) -> dict[str, Any]:
    dynamic = frozenset(name.lower() for name in _texts(project.get("dynamic", [])))
    static = {key: value for key, value in project.items() if key not in dynamic}
    fields = {"name": _name(static.get("name")), **_description(static)}
    if "version" not in dynamic:
        fields["version"] = _version(static.get("version"))
    elif filename_version is not None:
        fields["version"] = filename_version
    if "requires-python" not in dynamic:
        fields["requires-python"] = _requires_python(static.get("requires-python"))
    if "optional-dependencies" not in dynamic:
        extras = _extras(static)
        fields["provides-extra"] = list(extras)
        if "dependencies" not in dynamic:
            fields["requires-dist"] = [*_dependencies(static), *_conditional(extras)]
    return fields


def _description(static: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that nobody resolves with, as far as every backend writes them alike."""
    fields: dict[str, Any] = {}
    if "description" in static:
        fields["summary"] = _string(static["description"])
    if "keywords" in static:
        fields["keywords"] = ",".join(_texts(static["keywords"]))
    if isinstance(static.get("license"), str):
        fields["license-expression"] = static["license"]
    if "classifiers" in static:
        fields["classifier"] = _texts(static["classifiers"])
    if "urls" in static:
        fields["project-url"] = [f"{label}, {_string(url)}" for label, url in _table(static["urls"]).items()]
    return fields


def _name(value: object) -> str:
    if not _NAME.fullmatch(_string(value)):
        raise ValueError(f"{value!r} is not a name")
    return str(value)


def _version(value: object) -> str:
    from packaging.version import Version

    Version(_string(value))
    return str(value)


def _requires_python(value: object) -> str | None:
    from packaging.specifiers import SpecifierSet

    if value is None:
        return None
    SpecifierSet(_string(value))
    return str(value)


def _extras(static: Mapping[str, Any]) -> dict[str, list[str]]:
    """The requirements of each extra, by normalised name (PEP 685)."""
    from packaging.utils import canonicalize_name

    table = _table(static.get("optional-dependencies", {}))
    extras = {str(canonicalize_name(_name(extra))): _texts(texts) for extra, texts in table.items()}
    if len(extras) < len(table):
        raise ValueError("two extras have one name")
    return extras


def _dependencies(static: Mapping[str, Any]) -> list[str]:
    texts = _texts(static.get("dependencies", []))
    for text in texts:
        _requirement(text)
    return texts


def _conditional(extras: Mapping[str, Iterable[str]]) -> list[str]:
    return [_for_extra(text, extra) for extra, texts in extras.items() for text in texts]


def _for_extra(text: str, extra: str) -> str:
    from packaging.markers import Marker

    requirement = _requirement(text)
    condition = f'extra == "{extra}"'
    requirement.marker = Marker(f"({requirement.marker}) and {condition}" if requirement.marker else condition)
    return str(requirement)


def _requirement(text: str) -> Requirement:
    from packaging.requirements import Requirement

    if "{" in text:
        raise ValueError(f"{text!r} is a template: hatchling and pdm fill in paths and variables")
    return Requirement(text)


def _table(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} is not a table")
    return value


def _texts(value: object) -> list[str]:
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is not an array")
    return [_string(item) for item in value]


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a string")
    return value


# Identity


MISLABELLED = "The file is mislabelled: choose another version or file, or tell its author."
NAMED_AFTER_ANYTHING = "Where a file is named after something else than its project, write `NAME @ URL`."


def check_identity(metadata: Metadata, *, name: str | None, version: str | None, what: str) -> None:
    """Names have to agree as PEP 503 normalises them, versions as PEP 440 compares them; None is not compared.

    A version that the metadata do not prove is not compared either. Raises MetadataError (`names-disagree`).
    """
    if name is not None and not _same_name(name, metadata.name):
        _disagree(what, f"is for `{name}`", f"for `{metadata.name}`", hint=f"{MISLABELLED} {NAMED_AFTER_ANYTHING}")
    found = metadata.fields.get("version")
    if version is not None and found is not None and not _same_version(version, found):
        _disagree(what, f"is version `{version}`", f"for version `{found}`")


def _disagree(what: str, expected: str, found: str, *, hint: str = MISLABELLED) -> None:
    raise MetadataError(
        f"{what} {expected}, but its metadata are {found}",
        hint=hint,
        code="names-disagree",
        what=what,
    )


def _same_name(one: str, other: str) -> bool:
    from packaging.utils import canonicalize_name

    return one == other or canonicalize_name(one) == canonicalize_name(other)


def _same_version(one: str, other: str) -> bool:
    from packaging.version import Version

    try:
        return one == other or Version(one) == Version(other)
    except ValueError:
        return False
