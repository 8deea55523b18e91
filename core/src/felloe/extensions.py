"""Extensions: what is installed in the group `felloe.plugins`. They bring no distributions, but lend a hand.

Those of others are imported at once: which of them listens to events cannot be known before. felloe's own listen to
none, and are imported when one of their hooks is asked for.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from felloe.dispatch import perform
from felloe.errors import ConfigError, ContractError, FelloeError, PluginError
from felloe.hookspecs import API, EXTENSIONS, ExtensionSpec
from felloe.progress import Event
from felloe.registry import Hooks, Kind, failure_of, hooks_of, load_kinds, not_kept, told_by

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from felloe.config import Config
    from felloe.url import Url

__all__ = ["Extension", "Extensions"]

BUILDER = ("accepts", "build")  # the hooks of a builder


@frozen(kw_only=True)
class Extension:
    """One installed extension, and its hooks by name: none where it is disabled or failed."""

    kind: Kind
    hooks: Hooks = field(factory=dict, repr=False)

    @property
    def title(self) -> str:
        return f"extension `{self.kind.name}`"

    @property
    def about(self) -> Mapping[str, str]:
        return {"extension": self.kind.name}

    @property
    def authors(self) -> str:
        return " ".join(self.kind.distribution)


class Extensions:
    """The extensions of one Database. Implements `felloe.progress.Reporter` by their hooks `report`.

    One that cannot be used does not take others with it; with `config.strict` it is raised.
    """

    def __init__(self, found: Iterable[EntryPoint], config: Config, tell: Callable[[Event], None]) -> None:
        """`found` are the entry points; those of sources are left alone. `tell` is given warnings."""
        mine = [each for each in found if each.group == EXTENSIONS]
        self._config = config
        self._tell = tell
        self._warned: set[tuple[str, str]] = set()
        self._own: Sequence[EntryPoint] = [each for each in mine if _is_own(each)]
        self._extensions = _load([each for each in mine if not _is_own(each)], config)
        self._listeners = [each for each in self._extensions if "report" in each.hooks]

    @property
    def failures(self) -> Sequence[str]:
        """Why extensions that should be there are not, of those imported so far: which, of what distribution, why."""
        return [failure_of(each.kind) for each in self._extensions if each.kind.state == "failed"]

    def all(self) -> Sequence[Extension]:
        """In the order of their names, felloe's own last: another's word counts more."""
        if self._own:
            own, self._own = _load(self._own, self._config), ()
            self._extensions = (*self._extensions, *own)
        return self._extensions

    def report(self, event: Event) -> None:
        """Hands `event` to all that listen. What one of them raises is told of once, and goes no further."""
        for extension in self._listeners:
            try:
                perform(extension.hooks, "report", event=event)
            except (Exception, SystemExit) as error:  # noqa: BLE001  # a run is not for it to end
                self._warn(extension, _failed(extension, "report", told_by(error)))

    async def credentials(self, url: Url) -> tuple[str, str] | None:
        """User name and password of the first that has any for `url`.

        One that fails is told of and passed over; with `config.strict` PluginError is raised. What it raises is shown
        where it is a FelloeError: any other may quote what it has read.
        """
        for extension in self._with("credentials"):
            try:
                if (pair := _pair(await perform(extension.hooks, "credentials", url=url))) is not None:
                    return pair
            except Exception as error:
                failure = _failed(extension, "credentials", *_own_words(error))
                if self._config.strict:
                    raise failure from error
                self._warn(extension, failure)
        return None

    def builder(self, name: str) -> Extension:
        """The one that a user chose to build in felloe's place.

        Raises ConfigError where there is none of that name: the build would silently be done by other means.
        """
        found = [each for each in self.all() if each.kind.name == name]
        chosen = next((each for each in found if "accepts" in each.hooks), None)
        if chosen is not None:
            return chosen
        known = ", ".join(f"`{each.kind.name}`" for each in self._with("accepts")) or "none"
        why = f": {found[0].kind.reason or found[0].kind.state}" if found else ""
        raise ConfigError(
            f"[tool.felloe.build] chooses the builder `{name}`, and there is none of that name{why}",
            hint=f"install or mend it, or correct the name; builders that are there: {known}",
        )

    def _with(self, hook: str) -> Sequence[Extension]:
        return [each for each in self.all() if hook in each.hooks]

    def _warn(self, extension: Extension, failure: PluginError) -> None:
        """Once for each hook: it may be called for every event."""
        once = (extension.kind.name, failure.payload["hook"])
        if once not in self._warned:
            self._warned.add(once)
            self._tell(Event(code="warning", message=f"{failure} ({failure.hint})"))


def _is_own(entry_point: EntryPoint) -> bool:
    return entry_point.module.partition(".")[0] == "felloe"


def _load(found: Iterable[EntryPoint], config: Config) -> Sequence[Extension]:
    return tuple(_made(kind, strict=config.strict) for kind in load_kinds(found, config))


def _made(kind: Kind, *, strict: bool) -> Extension:
    """The extension itself: what its entry point names, or an instance of it. Raises PluginError where `strict`."""
    if kind.state != "loaded":
        return Extension(kind=kind)
    try:
        return Extension(kind=kind, hooks=_hooks_of(_plugin_of(kind), kind))
    except PluginError as error:
        if strict:
            raise
        return Extension(kind=evolve(kind, state="failed", reason=error.payload["reason"]))


def _plugin_of(kind: Kind) -> object:
    if not inspect.isclass(kind.factory):
        return kind.factory
    try:
        return kind.factory()
    except (Exception, SystemExit) as error:
        raise not_kept(kind, f"it cannot be made: {told_by(error)}") from error


def _hooks_of(plugin: object, kind: Kind) -> Hooks:
    api = getattr(plugin, "api", API)
    if api != API:
        raise not_kept(kind, f"it is written for version {api!r} of the plugin API, this felloe has {API}")
    hooks = hooks_of(plugin, kind, ExtensionSpec)
    if not hooks:
        raise not_kept(kind, "it has no hook (marked with @hookimpl)")
    if len(missing := [name for name in BUILDER if name not in hooks]) == 1:
        raise not_kept(kind, f"a builder needs `accepts` and `build`, and it lacks `{missing[0]}`")
    return hooks


def _pair(answer: object) -> tuple[str, str] | None:
    """Raises ContractError, with nothing of the answer in it."""
    if answer is None:
        return None
    if isinstance(answer, tuple) and len(answer) == 2 and all(isinstance(each, str) for each in answer):
        return answer
    raise ContractError(f"it gave back {type(answer).__name__}, not a user name and a password", hint="")  # see _failed


def _own_words(error: Exception) -> tuple[str, str]:
    """What an error says that was meant to be read, and its hint; of any other its type alone."""
    return (error.message, error.hint) if isinstance(error, FelloeError) else (type(error).__name__, "")


def _failed(extension: Extension, hook: str, reason: str, hint: str = "") -> PluginError:
    hint = hint or f"report it to its authors, or do without it: FELLOE_DISABLE={extension.kind.name}"
    return PluginError(f"{extension.kind} failed in `{hook}`: {reason}", hint=hint, **extension.about, hook=hook)
