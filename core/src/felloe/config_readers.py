"""Reading what somebody gave as a setting: each function takes a `Given` and raises ConfigError naming where it is."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from felloe.config_layers import Given, Layer
from felloe.format_control import ALL, NONE

__all__ = [
    "boolean",
    "check_table",
    "config_settings",
    "count",
    "first",
    "instant",
    "kinds",
    "names",
    "names_or_all",
    "normal_pattern",
    "normalised",
    "package_settings",
    "path",
    "pins",
    "python",
    "refuse",
    "seconds",
    "text",
    "texts",
    "values",
]


def first(layers: Iterable[Layer], name: str) -> Given | None:
    return next((layer.settings[name] for layer in layers if name in layer.settings), None)


def values(layers: Sequence[Layer], readers: Mapping[str, Callable[[Given], Any]]) -> dict[str, Any]:
    """Field to value, for the settings that somebody gave; the others keep the default of their class."""
    given = {name: first(layers, name) for name in readers}
    return {name.replace("-", "_"): readers[name](value) for name, value in given.items() if value is not None}


def refuse(given: Given, expected: str, value: object) -> NoReturn:
    raise given.error(f"`{given.origin}` has to be {expected}, not `{value!r:.80}`", hint="Correct the value.")


def check_table(given: Given, keys: Sequence[str]) -> None:
    """Refuses what is no table, and a key that is not known: passing over it would change what the others say."""
    if not isinstance(given.value, Mapping):
        refuse(given, "a table", given.value)
    for key in given.value:
        if key not in keys:
            raise given.error(f"`{given.at(key).origin}` is not known", hint=f"There are {', '.join(keys)}.")


def boolean(given: Given) -> bool:
    word = str(given.value).strip().lower() if isinstance(given.value, str | bool) else ""
    if word in {"1", "true", "yes", "on", "t", "y"}:
        return True
    if word in {"0", "false", "no", "off", "f", "n"}:
        return False
    refuse(given, "true or false", given.value)


def text(given: Given) -> str:
    if not isinstance(given.value, str) or not given.value.strip():
        refuse(given, "a text", given.value)
    return given.value.strip()


def texts(given: Given) -> tuple[str, ...]:
    items = given.value if isinstance(given.value, list | tuple) else [given.value]
    if not all(isinstance(item, str) for item in items):
        refuse(given, "a list of texts", given.value)
    return tuple(items)


def path(given: Given) -> Path:
    """Absolute, with links as they are: the python of a virtual environment is one."""
    if not isinstance(given.value, str | Path) or not str(given.value).strip():
        refuse(given, "a path", given.value)
    return given.base / given.value


def python(given: Given) -> Path:
    """A path, or the bare name of a program, which is looked up on PATH when it is asked."""
    absolute = path(given)
    return Path(str(given.value)) if Path(str(given.value)).name == str(given.value) else absolute


def seconds(given: Given) -> float:
    value = given.value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        refuse(given, "a number of seconds above 0", value)
    return float(value)


def count(given: Given) -> int:
    value = given.value
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        refuse(given, "a whole number above 0", value)
    return value


def kinds(given: Given) -> frozenset[str]:
    return frozenset(texts(given))


def names(given: Given) -> frozenset[str]:
    """Names of projects, normalised (PEP 503)."""
    return frozenset(normalised(given, name) for name in texts(given))


def names_or_all(given: Given) -> str:
    """Names with commas between them, `:all:` and `:none:`, as pip takes them; checked."""
    joined = ",".join(texts(given))
    for name in filter(None, map(str.strip, joined.split(","))):
        if name not in {ALL, NONE}:
            normalised(given, name)
    return joined


def normalised(given: Given, name: str) -> str:
    """The name of a project as PEP 503 has it."""
    from packaging.utils import InvalidName, canonicalize_name

    try:
        return canonicalize_name(name.strip(), validate=True)
    except InvalidName as error:
        raise given.error(
            f"`{given.origin}` has `{name:.80}`, which is no name of a project",
            hint="Names look like `django-allauth`.",
        ) from error


def instant(given: Given) -> float:
    """Seconds since the epoch. A date is the end of that day in UTC, so that it means the same on every machine."""
    from datetime import UTC, date, datetime, timedelta

    written = given.value.isoformat() if isinstance(given.value, date) else text(given)
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", written, re.ASCII):
            return (datetime.fromisoformat(written).replace(tzinfo=UTC) + timedelta(days=1)).timestamp()
        moment = datetime.fromisoformat(written)
        if moment.tzinfo is not None:
            return moment.timestamp()
    except (ValueError, OverflowError):
        pass  # refused below
    refuse(given, "a date (`2024-01-31`) or an instant with its offset (`2024-01-31T12:00:00Z`)", written)


def pins(given: Given) -> dict[str, str]:
    """Patterns are normalised like the names that they are compared with."""
    if not isinstance(given.value, dict) or not all(isinstance(name, str) for name in given.value.values()):
        refuse(given, 'a table of `"PATTERN" = "SOURCE"`', given.value)
    found: dict[str, str] = {}
    for pattern, source in given.value.items():
        if found.setdefault(normal_pattern(pattern), source) != source:
            raise given.error(f"`{given.origin}` pins `{pattern}` to two sources", hint="Keep one of the lines.")
    return found


def normal_pattern(pattern: str) -> str:
    """A name, or a pattern of names, as PEP 503 has it."""
    return re.sub(r"[-_.]+", "-", pattern).lower()


def config_settings(given: Given) -> dict[str, str | list[str]]:
    """Of a backend (PEP 517): `KEY=VALUE` each, or a table. A key given twice has a list, as with pip and build."""
    pairs = _pairs_of(given) if isinstance(given.value, dict) else [_pair(given, text) for text in texts(given)]
    return _collected(pairs)


def package_settings(given: Given) -> dict[str, dict[str, str | list[str]]]:
    """Config settings by name of the project: `NAME:KEY=VALUE` each, or a table of tables."""
    found: dict[str, list[tuple[str, str]]] = {}
    if isinstance(given.value, dict):
        for name, table in given.value.items():
            pairs = _pairs_of(Given(table, f"{given.origin}.{name}", given.base))
            found.setdefault(normalised(given, name), []).extend(pairs)
    else:
        for text in texts(given):
            name, colon, setting = text.partition(":")
            if not colon:
                refuse(given, "NAME:KEY=VALUE", text)
            found.setdefault(normalised(given, name), []).append(_pair(given, setting))
    return {name: _collected(pairs) for name, pairs in found.items()}


def _pair(given: Given, text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    if not key.strip():
        refuse(given, "KEY=VALUE", text)
    return key.strip(), value


def _pairs_of(given: Given) -> list[tuple[str, str]]:
    if not isinstance(given.value, dict):
        refuse(given, 'a table of `KEY = "VALUE"`', given.value)
    pairs = [
        (key, each) for key, value in given.value.items() for each in (value if isinstance(value, list) else [value])
    ]
    if not all(isinstance(value, str) for _, value in pairs):
        refuse(given, "a table of texts, or lists of texts", given.value)
    return pairs


def _collected(pairs: Iterable[tuple[str, str]]) -> dict[str, str | list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return {key: values[0] if len(values) == 1 else values for key, values in found.items()}
