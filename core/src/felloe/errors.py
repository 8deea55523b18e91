"""What can go wrong, grouped by what the caller can do about it.

Every error says what happened and where (redacted), gives a hint on what to do, and carries a kebab-case `code` and a
JSON-able `payload` for programs. `str(error)` is the message alone.
"""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = [
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
]


REPORT = "report it to the authors of the plugin; `felloe sources` lists who brings it"


class FelloeError(Exception):
    """The base of every error that felloe raises on purpose.

    `hint` is one sentence on what to do ("" where there is none); `payload` is JSON-able detail.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, hint: str = "", code: str | None = None, **payload: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.payload = payload
        if code is not None:
            self.code = code  # type: ignore[misc]  # the class has the usual code, one error may be more exact

    def __str__(self) -> str:
        return self.message


class RequirementError(FelloeError):
    """A requirement, or a line of a requirements file, cannot be read or is not allowed."""

    code = "invalid-requirement"


class ConfigError(FelloeError):
    """A setting (file, environment variable, option) is wrong; the message names the file and the key."""

    code = "invalid-configuration"


class PluginError(FelloeError):
    """A source or plugin broke: it raised something that is not a FelloeError, or it could not be loaded."""

    code = "plugin-failed"


class ContractError(PluginError):
    """A hook gave back a value that the contract does not allow."""

    code = "contract-broken"


class SourceError(FelloeError):
    """No source can answer, or what a source was given (a page, a listing) is not what it has to be."""

    code = "source-failed"


class AmbiguousSourceError(SourceError):
    """Two sources claim one name with equal right."""

    code = "ambiguous-source"


class ProjectNotFound(SourceError):  # noqa: N818  # PEP 503 servers say "not found"; it is an answer as well
    """An index does not know the project: the only failure after which the next index may be asked."""

    code = "project-not-found"


class SourceChangedError(SourceError):
    """What was to be fetched changed again and again meanwhile: no copy of it would be of one state."""

    code = "source-changed"


class NoMatchError(FelloeError):
    """The source knows the project, but none of its distributions fits the requirement and the environment."""

    code = "no-matching-distribution"


class HashMismatchError(FelloeError):
    """Bytes do not have the sha256 that was promised or allowed."""

    code = "hash-mismatch"


class NetworkError(FelloeError):
    """A server could not be reached, took too long, or answered with an error; another try may help."""

    code = "network"


class OfflineError(NetworkError):
    """The answer needs the network, and `--offline` forbids it."""

    code = "offline"


class ArchiveError(FelloeError):
    """An archive is not one, is damaged, or holds what an archive must not hold."""

    code = "invalid-archive"


class MetadataError(FelloeError):
    """METADATA cannot be read, or disagrees with the distribution that it came with."""

    code = "invalid-metadata"


class BuildNeededError(FelloeError):
    """Only a build could answer, and a build is not possible or not allowed."""

    code = "build-needed"


class BuildError(FelloeError):
    """A build was tried and failed: its backend, its requirements, or what it made. The payload names the `log`."""

    code = "build-failed"


class BuildCycleError(BuildError):
    """A project is needed to build itself; the payload `chain` has the names of the builds, where they are ours."""

    code = "build-cycle"


class CacheError(FelloeError):
    """The cache cannot be read or written as it has to be (permissions, full disk)."""

    code = "cache"


class InterpreterError(FelloeError):
    """The interpreter asked about cannot be run, or is not one."""

    code = "invalid-interpreter"
