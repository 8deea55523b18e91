"""The installed sources: found by entry point, checked one by one, made into configured instances."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import pluggy
from attrs import field, frozen

from felloe.config import SourceSettings
from felloe.errors import ConfigError, FelloeError, PluginError
from felloe.hookspecs import API, ASYNCHRONOUS, GROUP, REQUIRED, SourceSpec

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from felloe.config import Config

__all__ = ["Instance", "Kind", "Registry", "load_registry"]

Factory = Callable[[str, Mapping[str, Any]], object]


@frozen(kw_only=True)
class Kind:
    """One installed plugin. `state` is `loaded`, `failed` (with a `reason`) or `disabled`."""

    name: str
    entry_point: EntryPoint
    state: str
    reason: str = ""
    factory: Factory | None = None

    @property
    def distribution(self) -> tuple[str, str]:
        """Name and version of the distribution that brings it. Reads its METADATA: for listings and errors only."""
        dist = self.entry_point.dist
        return (dist.name, dist.version) if dist else ("?", "?")


@frozen(kw_only=True)
class Instance:
    """One configured source: its hooks by name, and its address ("" where the cache needs none)."""

    name: str
    kind: Kind
    hooks: Mapping[str, pluggy.HookImpl] = field(repr=False)


@frozen(kw_only=True)
class Registry:
    """Instances in the order in which they are asked, and all installed kinds."""

    instances: tuple[Instance, ...]
    kinds: tuple[Kind, ...]
    failures: tuple[str, ...]
    """Why sources that should be there are not: each names the source, its distribution and the reason."""

    def instance(self, name: str) -> Instance:
        """Raises ConfigError where no source has that name."""
        for instance in self.instances:
            if instance.name == name:
                return instance
        known = ", ".join(f"`{instance.name}`" for instance in self.instances) or "none"
        raise ConfigError(f"there is no source `{name}`", hint=f"sources that are there: {known}")


def load_registry(config: Config, found: Iterable[EntryPoint] | None = None) -> Registry:
    """Every installed source, each tried on its own: one that fails does not take the others with it.

    `found` are the entry points (default: those of the environment). With `config.strict` the first failure is raised
    as it is.
    """
    kinds = tuple(_load_kinds(_entry_points() if found is None else found, config))
    failures = [_failure(kind) for kind in kinds if kind.state == "failed"]
    instances = []
    for settings in _wanted(config, kinds):
        try:
            instances.append(_make(settings, _kind_of(settings, kinds)))
        except FelloeError as error:
            if config.strict:
                raise
            failures.append(f"{error} ({error.hint})" if error.hint else str(error))
    return Registry(instances=tuple(instances), kinds=kinds, failures=tuple(failures))


def _entry_points() -> Iterable[EntryPoint]:
    from importlib.metadata import entry_points

    return entry_points(group=GROUP)


def _load_kinds(found: Iterable[EntryPoint], config: Config) -> Iterable[Kind]:
    by_name: dict[str, list[EntryPoint]] = defaultdict(list)
    for entry_point in sorted(found, key=lambda entry_point: (entry_point.name, entry_point.value)):
        by_name[entry_point.name].append(entry_point)
    for name, same in by_name.items():
        if name in config.disabled:
            yield from (Kind(name=name, entry_point=each, state="disabled") for each in same)
        elif len(same) > 1:
            reason = f"{len(same)} distributions bring the kind `{name}`; uninstall all but one"
            yield from (Kind(name=name, entry_point=each, state="failed", reason=reason) for each in same)
        else:
            yield _load_kind(same[0], strict=config.strict)


def _load_kind(entry_point: EntryPoint, *, strict: bool) -> Kind:
    try:
        factory = _checked(entry_point.load())
    except Exception as error:  # whatever a plugin raises while it is imported
        if strict:
            raise
        reason = str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"
        return Kind(name=entry_point.name, entry_point=entry_point, state="failed", reason=reason)
    return Kind(name=entry_point.name, entry_point=entry_point, state="loaded", factory=factory)


def _checked(factory: Any) -> Factory:
    if not callable(factory):
        raise PluginError("its entry point is not a class")
    api = getattr(factory, "api", None)
    if api != API:
        raise PluginError(f"it is written for version {api!r} of the plugin API, this felloe has {API}")
    return factory  # type: ignore[no-any-return]  # callable() tells mypy nothing of the parameters


def _wanted(config: Config, kinds: Sequence[Kind]) -> Iterable[SourceSettings]:
    """What is configured, in its order, then the defaults of the kinds that are not."""
    yield from config.sources
    configured = {settings.kind for settings in config.sources} | config.replaced_kinds
    for kind in kinds:
        if kind.state == "loaded" and kind.name not in configured and getattr(kind.factory, "default", False):
            yield SourceSettings(name=kind.name, kind=kind.name, settings={}, origin="default")


def _kind_of(settings: SourceSettings, kinds: Sequence[Kind]) -> Kind:
    for kind in kinds:
        if kind.name == settings.kind:
            return kind
    raise ConfigError(
        f"{settings.origin}: no installed plugin brings sources of kind `{settings.kind}`",
        hint="install it, or remove the setting; `felloe sources` lists what is installed",
    )


def _make(settings: SourceSettings, kind: Kind) -> Instance:
    """The instance that `settings` describe, checked. Raises ConfigError or PluginError."""
    if kind.factory is None:
        raise PluginError(f"source `{settings.name}` is not there: its kind `{kind.name}` is {kind.state}")
    try:
        source = kind.factory(settings.name, settings.settings)
    except FelloeError:
        raise
    except (TypeError, ValueError, KeyError) as error:
        raise ConfigError(
            f"{settings.origin}: the settings of source `{settings.name}` will not do: {error}"
        ) from error
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise PluginError(f"source `{settings.name}` of kind `{kind.name}` could not be made: {reason}") from error
    return Instance(name=settings.name, kind=kind, hooks=_hooks_of(source, kind))


def _hooks_of(source: object, kind: Kind) -> Mapping[str, pluggy.HookImpl]:
    """The hooks that `source` implements, as pluggy sees them. Raises PluginError where pluggy or we refuse them."""
    manager = pluggy.PluginManager("felloe")
    manager.add_hookspecs(SourceSpec)
    try:
        manager.register(source)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        _refuse(kind, str(error).strip().splitlines()[-1])
    hooks = {
        caller.name: implementation
        for caller in manager.get_hookcallers(source) or ()
        for implementation in caller.get_hookimpls()
    }
    if missing := [name for name in REQUIRED if name not in hooks]:
        _refuse(kind, f"it lacks the hook `{missing[0]}` (marked with @hookimpl)")
    for name, implementation in hooks.items():
        _check_signature(kind, name, implementation)
    return hooks


def _check_signature(kind: Kind, name: str, implementation: pluggy.HookImpl) -> None:
    parameters = inspect.signature(implementation.function).parameters.values()
    for parameter in parameters:
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD or parameter.default is not parameter.empty:
            _refuse(
                kind, f"`{name}` has the parameter `{parameter}`: no defaults, `*` or `**`, pluggy would not fill it"
            )
    if inspect.iscoroutinefunction(implementation.function) != (name in ASYNCHRONOUS):
        _refuse(kind, f"`{name}` has to be {'`async def`' if name in ASYNCHRONOUS else 'a plain function'}")


def _refuse(kind: Kind, reason: str) -> NoReturn:
    distribution, version = kind.distribution
    raise PluginError(
        f"source `{kind.name}` of {distribution} {version} does not keep the contract: {reason}",
        hint=_how_to_disable(kind.name),
    )


def _failure(kind: Kind) -> str:
    distribution, version = kind.distribution
    return (
        f"source `{kind.name}` of {distribution} {version} cannot be loaded: {kind.reason}"
        f" ({_how_to_disable(kind.name)})"
    )


def _how_to_disable(name: str) -> str:
    return f"uninstall it, mend it, or set FELLOE_DISABLE={name}"
