"""What a build depended on besides its source, in three digests, and when one build serves a later request. Pure.

Digests decide; the inputs themselves, without secrets, are kept beside them to say what changed.

`settings` changes what any build gives. `interpreter` is the kind of Python it ran on: implementation, minor version,
ABI, platform and C library, which is what compiled code is for. `toolchain` is what compilers read, on which only a
wheel with compiled code depends.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from attrs import field, frozen

from felloe.build.variables import of_role
from felloe.errors import FelloeError
from felloe.request import parse_pep508, redacted
from felloe.values import Fingerprint

if TYPE_CHECKING:
    from felloe.build.record import Build
    from felloe.values import Interpreter, Json

__all__ = ["Difference", "Inputs", "differences", "fingerprint_of", "fits", "preference", "serves"]

LEADING_DIGITS = re.compile("[0-9]{1,18}")
# What the platform tags of an interpreter (PEP 600, 656; macOS) say of the system below it, with the release.
C_LIBRARY = re.compile("((?:many|musl)linux)_([0-9]{1,9})_([0-9]{1,9})_")
MACOS = re.compile("(macosx)_([0-9]{1,9})_([0-9]{1,9})_")
LONGEST_SHOWN = 1000  # characters of an input
# Words in the name or the value of an input, and how the tokens of well-known services begin.
MAY_BE_SECRET = re.compile(
    "token|secret|passw|passphrase|credential|auth|(key|pass|pwd)(?![a-z])|(?<![a-z])pat(?![a-z])"
    "|gh[oprsu]_|glpat-|pypi-|akia",
    re.IGNORECASE,
)


@frozen(kw_only=True)
class Inputs:
    """What a build depends on besides its source: config settings, build constraints, interpreter and variables.

    Of the variables `environ` those count that `felloe.build.variables` names, and what `also` names (see there).
    `extra_requires` are build requirements, and `extra_env` variables with their values, that a user adds to those of
    the project. `declared` are further inputs, by name, that a user says it depends on; None for what is not there.
    """

    settings: Mapping[str, Json]
    constraints: tuple[str, ...]
    interpreter: Interpreter
    environ: Mapping[str, str]
    also: tuple[str, ...] = ()
    extra_requires: tuple[str, ...] = ()
    extra_env: Mapping[str, str] = field(factory=dict)
    declared: Mapping[str, str | None] = field(factory=dict)

    @property
    def tables(self) -> dict[str, dict[str, Json]]:
        """What each of the three digests is made of."""
        environ = {name: value for name, value in self.environ.items() if name not in self.extra_env}
        more = {
            "variables": of_role("settings", environ, self.also),
            "extra-requires": sorted(map(_normal, self.extra_requires)),
            "extra-env": dict(self.extra_env),
            "declared": dict(self.declared),
        }
        return {
            "settings": {
                "settings": dict(self.settings),
                "constraints": sorted(map(_normal, self.constraints)),
                **{name: value for name, value in more.items() if value},
            },
            "interpreter": _interpreter(self.interpreter),
            "toolchain": of_role("toolchain", environ, self.also),
        }

    def shown(self) -> dict[str, str]:
        """Each input by its name, as text that may be stored and printed: what may be a secret is a digest."""
        tables = self.tables
        named = {
            **{f"settings.{name}": value for name, value in tables["settings"]["settings"].items()},
            **{f"declared.{name}": value for name, value in self.declared.items()},
            "build-constraints": ", ".join(tables["settings"]["constraints"]),
            "extra-requires": ", ".join(tables["settings"].get("extra-requires", ())),
            **{f"extra-env.{name}": value for name, value in self.extra_env.items()},
            **{f"interpreter.{name}": value for name, value in tables["interpreter"].items()},
            **{f"toolchain.{name}": value for name, value in tables["toolchain"].items()},
            **{f"backend.{name}": value for name, value in tables["settings"].get("variables", {}).items()},
        }
        there = {name: value for name, value in sorted(named.items()) if value is not None and value != ""}
        return {name: _shown(name, value) for name, value in there.items()}


def fingerprint_of(inputs: Inputs) -> Fingerprint:
    return Fingerprint(**{name: _digest(table) for name, table in inputs.tables.items()})


class Difference(NamedTuple):
    """One input that is another one now; None where there is none."""

    input: str
    old: str | None
    new: str | None

    def __str__(self) -> str:
        return f"{self.input}: {self.old or 'none'} -> {self.new or 'none'}"


def differences(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[Difference, ...]:
    """Between what `Inputs.shown` gave then and gives now, in the order of their names."""
    return tuple(
        Difference(name, old.get(name), new.get(name))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    )


def serves(build: Build, wanted: Fingerprint, interpreter: Interpreter, *, needs_wheel: bool, is_static: bool) -> bool:
    """Whether a build that was done answers now.

    Its settings have to be the same. A pure wheel of a source that proves its dependencies itself (`is_static`) is the
    same wherever it is built; any other is for the kind of interpreter that it was built on, and for its toolchain too
    where it has compiled code in it. So a wheel for `linux_x86_64`, a tag that says nothing of the C library, does not
    serve where that is another one.
    """
    if needs_wheel and build.wheel is None:
        return False
    if build.fingerprint.settings != wanted.settings or (build.wheel and not fits(build.wheel, interpreter)):
        return False
    is_pure = build.wheel is not None and build.wheel.endswith("-none-any.whl")
    if is_pure and is_static:
        return True
    is_same_toolchain = is_pure or build.wheel is None or build.fingerprint.toolchain == wanted.toolchain
    return build.fingerprint.interpreter == wanted.interpreter and is_same_toolchain


def preference(wheel: str | None, interpreter: Interpreter) -> tuple[int, int, str]:
    """A key that puts the best wheel first: by the interpreter's order of tags, then by build tag (PEP 427).

    What is no wheel comes last.
    """
    if wheel is None:
        return (len(interpreter.tags) + 1, 0, "")
    stem = wheel.removesuffix(".whl")
    order = {tag: number for number, tag in enumerate(interpreter.tags)}
    best = min((order.get(tag, len(order)) for tag in _tags(stem)), default=len(order))
    parts = stem.split("-")
    number, rest = _build_tag(parts[2]) if len(parts) == 6 else (-1, "")
    return (best, -number, rest)


def fits(wheel: str, interpreter: Interpreter) -> bool:
    """Whether one of the tags (PEP 425) in the name of a wheel is one of the interpreter's."""
    supported = frozenset(interpreter.tags)
    return any(tag in supported for tag in _tags(wheel.removesuffix(".whl")))


def _interpreter(interpreter: Interpreter) -> dict[str, Json]:
    """What builds depend on of it; "" for what it has not. Its patch version changes no build, so it is not there."""
    return {
        "implementation": interpreter.markers.get("implementation_name", ""),
        "version": ".".join(interpreter.version.split(".")[:2]),
        "abi": interpreter.tags[0].split("-")[1] if interpreter.tags else "",
        "platform": interpreter.markers.get("sys_platform", ""),
        "machine": interpreter.markers.get("platform_machine", ""),
        "macos": _newest(MACOS, interpreter.tags),
        "libc": _newest(C_LIBRARY, interpreter.tags),
    }


@lru_cache(maxsize=64)  # there are a thousand tags, and every known build is compared with them
def _newest(system: re.Pattern[str], tags: tuple[str, ...]) -> str:
    """As `manylinux_2_36`: an interpreter has tags for every release up to its own."""
    platforms = {tag.rpartition("-")[2] for tag in tags}
    found = (match for platform in platforms if (match := system.match(platform)))
    best = max(found, key=lambda match: (int(match[2]), int(match[3])), default=None)
    return "_".join(best.groups()) if best else ""


def _normal(constraint: str) -> str:
    """However it is written. What cannot be read is refused where it is used."""
    try:
        return str(parse_pep508(constraint))
    except FelloeError:
        return constraint


def _tags(stem: str) -> Iterator[str]:
    pythons, abis, platforms = (part.split(".") for part in stem.rsplit("-", 3)[1:])
    return (f"{p}-{a}-{s}" for p in pythons for a in abis for s in platforms)


def _build_tag(text: str) -> tuple[int, str]:
    digits = LEADING_DIGITS.match(text)
    return (int(digits[0]), text[digits.end() :]) if digits else (-1, text)


def _shown(name: str, value: Json) -> str:
    """One that may be a secret as the beginning of its sha256: whether it changed is all that is asked."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    if MAY_BE_SECRET.search(name) or MAY_BE_SECRET.search(text) or len(text) > LONGEST_SHOWN:
        return f"sha256:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
    return redacted(text).encode("utf-8", "backslashreplace").decode()


def _digest(inputs: Mapping[str, Json]) -> str:
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()[:16]
