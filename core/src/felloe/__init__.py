"""felloe, a distribution database: the metadata and the wheel of a requirement, from wherever it lives.

This is the door for resolvers and tools. Names are imported when they are first asked for. Authors of plugins use
`felloe.plugin`, their tests `felloe.testing`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from felloe.assembly import Database
    from felloe.blocking import BlockingDatabase
    from felloe.config import Config
    from felloe.errors import (
        AmbiguousSourceError,
        ArchiveError,
        BuildCycleError,
        BuildError,
        BuildNeededError,
        CacheError,
        ConfigError,
        ContractError,
        FelloeError,
        HashMismatchError,
        InterpreterError,
        MetadataError,
        NetworkError,
        NoMatchError,
        OfflineError,
        PluginError,
        ProjectNotFound,
        RequirementError,
        SourceChangedError,
        SourceError,
    )
    from felloe.explain import Explanation
    from felloe.progress import Event, Reporter
    from felloe.request import parse_pep508, parse_request
    from felloe.url import Url
    from felloe.values import Answer, Dist, Interpreter, Metadata, Outcome, Request, Wheel

_MODULES = {
    "felloe.assembly": ["Database"],
    "felloe.blocking": ["BlockingDatabase"],
    "felloe.config": ["Config"],
    "felloe.errors": [
        "AmbiguousSourceError",
        "ArchiveError",
        "BuildCycleError",
        "BuildError",
        "BuildNeededError",
        "CacheError",
        "ConfigError",
        "ContractError",
        "FelloeError",
        "HashMismatchError",
        "InterpreterError",
        "MetadataError",
        "NetworkError",
        "NoMatchError",
        "OfflineError",
        "PluginError",
        "ProjectNotFound",
        "RequirementError",
        "SourceChangedError",
        "SourceError",
    ],
    "felloe.explain": ["Explanation"],
    "felloe.progress": ["Event", "Reporter"],
    "felloe.request": ["parse_pep508", "parse_request"],
    "felloe.url": ["Url"],
    "felloe.values": ["Answer", "Dist", "Interpreter", "Metadata", "Outcome", "Request", "Wheel"],
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "AmbiguousSourceError",
    "Answer",
    "ArchiveError",
    "BlockingDatabase",
    "BuildCycleError",
    "BuildError",
    "BuildNeededError",
    "CacheError",
    "Config",
    "ConfigError",
    "ContractError",
    "Database",
    "Dist",
    "Event",
    "Explanation",
    "FelloeError",
    "HashMismatchError",
    "Interpreter",
    "InterpreterError",
    "Metadata",
    "MetadataError",
    "NetworkError",
    "NoMatchError",
    "OfflineError",
    "Outcome",
    "PluginError",
    "ProjectNotFound",
    "Reporter",
    "Request",
    "RequirementError",
    "SourceChangedError",
    "SourceError",
    "Url",
    "Wheel",
    "parse_pep508",
    "parse_request",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
