"""What authors of plugins import, and all they need: the hook marker, the values, the errors, and a few functions.

This module is stable: what is here stays.
"""

from __future__ import annotations

from felloe.cache.layout import key_part
from felloe.errors import (
    ArchiveError,
    BuildError,
    BuildNeededError,
    CacheError,
    ConfigError,
    FelloeError,
    HashMismatchError,
    MetadataError,
    NetworkError,
    OfflineError,
    ProjectNotFound,
    RequirementError,
    SourceChangedError,
    SourceError,
)
from felloe.filename import sdist_identity, wheel_identity
from felloe.hookspecs import hookimpl
from felloe.metadata import load_pyproject
from felloe.progress import Event
from felloe.request import redacted
from felloe.scm import asks_scm, check_repository, git_environ, scm_state
from felloe.settings import refuse_unknown
from felloe.stepping import is_stepping, must_not_step
from felloe.url import Url
from felloe.values import (
    BuildGoal,
    BuildJob,
    Built,
    CacheKey,
    Claim,
    Completed,
    Context,
    Dist,
    Entry,
    Environment,
    Fetched,
    Fingerprint,
    Frame,
    Fresh,
    Headers,
    Http,
    Interpreter,
    Json,
    Level,
    Login,
    Memo,
    Page,
    Provide,
    RawMetadata,
    Request,
    Source,
    Stack,
    Stale,
)

__all__ = [
    "ArchiveError",
    "BuildError",
    "BuildGoal",
    "BuildJob",
    "BuildNeededError",
    "Built",
    "CacheError",
    "CacheKey",
    "Claim",
    "Completed",
    "ConfigError",
    "Context",
    "Dist",
    "Entry",
    "Environment",
    "Event",
    "FelloeError",
    "Fetched",
    "Fingerprint",
    "Frame",
    "Fresh",
    "HashMismatchError",
    "Headers",
    "Http",
    "Interpreter",
    "Json",
    "Level",
    "Login",
    "Memo",
    "MetadataError",
    "NetworkError",
    "OfflineError",
    "Page",
    "ProjectNotFound",
    "Provide",
    "RawMetadata",
    "Request",
    "RequirementError",
    "Source",
    "SourceChangedError",
    "SourceError",
    "Stack",
    "Stale",
    "Url",
    "asks_scm",
    "check_repository",
    "git_environ",
    "hookimpl",
    "is_stepping",
    "key_part",
    "load_pyproject",
    "must_not_step",
    "redacted",
    "refuse_unknown",
    "scm_state",
    "sdist_identity",
    "wheel_identity",
]
