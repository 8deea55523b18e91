"""Extensions: what is installed in the group `felloe.plugins`. They bring no distributions, but lend a hand.

Those of others are imported at once: which of them listens to events cannot be known before. felloe's own listen to
none, and are imported when one of their hooks is asked for.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from felloe.dispatch import is_wheel_name
from felloe.errors import ContractError, FelloeError, PluginError
from felloe.hookspecs import API, EXTENSIONS, ExtensionSpec
from felloe.progress import Event
from felloe.registry import Hooks, Kind, failure_of, hooks_of, load_kinds, not_kept, told_by

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from felloe.config import Config
    from felloe.url import Url
    from felloe.values import Dist, Interpreter, Json

__all__ = ["Extension", "Extensions", "OtherBuilder"]


@frozen(kw_only=True)
class Extension:
    """One installed extension, and its hooks by name: none where it is disabled or failed."""

    kind: Kind
    hooks: Hooks = field(factory=dict, repr=False)


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
                _call(extension, "report", event=event)
            except (Exception, SystemExit) as error:  # noqa: BLE001  # a run is not for it to end
                self._warn(extension, _failed(extension, "report", told_by(error)))

    async def credentials(self, url: Url) -> tuple[str, str] | None:
        """User name and password of the first that has any for `url`.

        One that fails is told of and passed over; with `config.strict` PluginError is raised. What it raises is shown
        where it is a FelloeError: any other may quote what it has read.
        """
        for extension in self._with("credentials"):
            try:
                if (pair := _pair(await _call(extension, "credentials", url=url))) is not None:
                    return pair
            except Exception as error:
                failure = _failed(extension, "credentials", *_own_words(error))
                if self._config.strict:
                    raise failure from error
                self._warn(extension, failure)
        return None

    def builders(self) -> Sequence[OtherBuilder]:
        """Those that may build in felloe's place, in the order in which they are asked."""
        return [OtherBuilder(each) for each in self._with("builder")]

    def _with(self, hook: str) -> Sequence[Extension]:
        return [each for each in self.all() if hook in each.hooks]

    def _warn(self, extension: Extension, failure: PluginError) -> None:
        """Once for each hook: it may be called for every event."""
        once = (extension.kind.name, failure.payload["hook"])
        if once not in self._warned:
            self._warned.add(once)
            self._tell(Event(code="warning", message=f"{failure} ({failure.hint})"))


class OtherBuilder:
    """An extension that builds. Implements `felloe.build.builder.Other`."""

    def __init__(self, extension: Extension) -> None:
        self._extension = extension

    def __str__(self) -> str:
        return str(self._extension.kind)

    async def build(
        self, dist: Dist, source: Path, interpreter: Interpreter, settings: Mapping[str, Json], scratch: Path
    ) -> Path | None:
        """See `ExtensionSpec.builder`. Raises what it raises, as PluginError where that is not ours."""
        given = {"dist": dist, "source": source, "interpreter": interpreter, "settings": settings, "scratch": scratch}
        try:
            wheel = await _call(self._extension, "builder", **given)
        except FelloeError:
            raise
        except Exception as error:
            raise _failed(self._extension, "builder", told_by(error)) from error
        if wheel is not None:
            _check_wheel(self._extension, wheel, scratch)
        return wheel  # type: ignore[no-any-return]  # it was checked


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
    return hooks


def _call(extension: Extension, hook: str, **arguments: Any) -> Any:
    implementation = extension.hooks[hook]
    return implementation.function(*(arguments[name] for name in implementation.argnames))


def _pair(answer: object) -> tuple[str, str] | None:
    """Raises ContractError, with nothing of the answer in it."""
    if answer is None:
        return None
    if isinstance(answer, tuple) and len(answer) == 2 and all(isinstance(each, str) for each in answer):
        return answer
    raise ContractError(f"it gave back {type(answer).__name__}, not a user name and a password")


def _check_wheel(extension: Extension, wheel: object, scratch: Path) -> None:
    """Raises ContractError where it is not a file that the extension was free to make."""
    reason = None
    if not isinstance(wheel, Path):
        reason = f"it gave back {type(wheel).__name__}, not Path"
    elif wheel.is_symlink() or not wheel.resolve().is_relative_to(scratch.resolve()):
        reason = "it gave back a path that is a link, or outside the scratch folder"
    elif not is_wheel_name(wheel.name):
        reason = f"it gave back `{wheel.name}`, which is not the name of a wheel"
    if reason is not None:
        raise _failed(extension, "builder", reason, error=ContractError)


def _own_words(error: Exception) -> tuple[str, str]:
    """What an error says that was meant to be read, and its hint; of any other its type alone."""
    return (error.message, error.hint) if isinstance(error, FelloeError) else (type(error).__name__, "")


def _failed(
    extension: Extension, hook: str, reason: str, hint: str = "", *, error: type[PluginError] = PluginError
) -> PluginError:
    hint = hint or f"report it to its authors, or do without it: FELLOE_DISABLE={extension.kind.name}"
    return error(f"{extension.kind} failed in `{hook}`: {reason}", hint=hint, extension=extension.kind.name, hook=hook)
