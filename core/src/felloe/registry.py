"""What is installed: found by entry point, checked one by one. Sources are made into configured instances.

Extensions are loaded and checked by the same steps; see `felloe.extensions`.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pluggy
from attrs import evolve, field, frozen

from felloe.config import DEFAULT_INDEX, SourceSettings
from felloe.errors import ConfigError, FelloeError, PluginError
from felloe.hookspecs import API, ASYNCHRONOUS, EXTENSIONS, GROUP, REQUIRED, SourceSpec
from felloe.request import redacted

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from felloe.config import Config

__all__ = [
    "Hooks",
    "Instance",
    "Kind",
    "Registry",
    "failure_of",
    "hooks_of",
    "installed",
    "load_kinds",
    "load_registry",
    "not_kept",
    "told_by",
]

Factory = Callable[..., object]
Hooks = Mapping[str, pluggy.HookImpl]


@frozen(kw_only=True)
class Kind:
    """One installed plugin. `state` is `loaded`, `not configured`, `failed` (with a `reason`) or `disabled`.

    `not configured` is one that is loaded where no source of it is wanted. One that failed has a `factory` where it can
    be loaded, but does not keep the contract. The factory of an extension takes no arguments.
    """

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

    @property
    def is_extension(self) -> bool:
        return self.entry_point.group == EXTENSIONS

    def __str__(self) -> str:
        """As errors name it. Reads METADATA."""
        what = "extension" if self.is_extension else "source"
        return f"{what} `{self.name}` of {' '.join(self.distribution)}"


@frozen(kw_only=True)
class Instance:
    """One configured source: its hooks by name, and its address ("" where the cache needs none)."""

    name: str
    kind: Kind
    hooks: Hooks = field(repr=False)

    @property
    def title(self) -> str:
        return f"source `{self.name}`"

    @property
    def about(self) -> Mapping[str, str]:
        return {"source": self.name}

    @property
    def authors(self) -> str:
        return " ".join(self.kind.distribution)


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
        raise ConfigError(
            f"there is no source `{name}`", hint="; ".join([f"sources that are there: {known}", *self.failures])
        )


def load_registry(config: Config, found: Iterable[EntryPoint] | None = None) -> Registry:
    """Every installed source, each tried on its own: one that fails does not take the others with it.

    `found` are the entry points (default: those of the environment); those of extensions are left alone. With
    `config.strict` the first failure is raised, with what a plugin raised as it is, or as the cause.
    """
    sources = [each for each in (installed() if found is None else found) if each.group != EXTENSIONS]
    loaded = tuple(load_kinds(sources, config))
    wanted = tuple(_wanted(config, loaded))
    kinds = tuple(_without_sources(loaded, wanted, strict=config.strict))
    failures = [failure_of(kind) for kind in kinds if kind.state == "failed"]
    instances = []
    named: dict[str, SourceSettings] = {}
    for settings in wanted:
        try:
            _check_name(settings, named)
            instances.append(_make(settings, _kind_of(settings, kinds)))
        except FelloeError as error:
            if config.strict:
                raise
            failures.append(told_by(error))
    return Registry(instances=tuple(instances), kinds=kinds, failures=tuple(failures))


def told_by(error: BaseException) -> str:
    """What an exception out of a plugin says; one that is not ours with its type, and with the URLs in it redacted."""
    if isinstance(error, FelloeError):
        return f"{error} ({error.hint})" if error.hint else str(error)
    return redacted(f"{type(error).__name__}: {error}").removesuffix(": ")


def installed() -> tuple[EntryPoint, ...]:
    """The entry points of sources and of extensions, by one look at what is installed."""
    from importlib.metadata import entry_points

    found = entry_points()
    return (*found.select(group=GROUP), *found.select(group=EXTENSIONS))


def load_kinds(found: Iterable[EntryPoint], config: Config) -> Iterable[Kind]:
    """One for each entry point, imported unless it is disabled. With `config.strict` raises what importing raises."""
    by_name: dict[str, list[EntryPoint]] = defaultdict(list)
    for entry_point in sorted(found, key=lambda entry_point: (entry_point.name, entry_point.value)):
        by_name[entry_point.name].append(entry_point)
    for name, same in by_name.items():
        if name in config.disabled:
            yield from (Kind(name=name, entry_point=each, state="disabled") for each in same)
        elif len(same) > 1:
            yield from _load_none(name, same, strict=config.strict)
        else:
            yield _load_kind(same[0], strict=config.strict)


def _load_none(name: str, same: Sequence[EntryPoint], *, strict: bool) -> Iterable[Kind]:
    """Which of them is meant cannot be known, and a guess could send private names to the wrong one."""
    what = "extension" if same[0].group == EXTENSIONS else "kind"
    reason = f"{len(same)} distributions bring the {what} `{name}`; uninstall all but one"
    failed = [Kind(name=name, entry_point=each, state="failed", reason=reason) for each in same]
    failed.sort(key=lambda kind: kind.distribution)
    if strict:
        raise PluginError("; ".join(map(failure_of, failed)), hint="uninstall all but one")
    return failed


def _load_kind(entry_point: EntryPoint, *, strict: bool) -> Kind:
    try:
        found = entry_point.load()
        factory = found if entry_point.group == EXTENSIONS else _checked(found)
    except (Exception, SystemExit) as error:  # whatever a plugin raises while it is imported
        if strict:
            raise
        return Kind(name=entry_point.name, entry_point=entry_point, state="failed", reason=told_by(error))
    return Kind(name=entry_point.name, entry_point=entry_point, state="loaded", factory=factory)


def _checked(factory: Any) -> Factory:
    if not callable(factory):
        raise PluginError("its entry point is not a class", hint="tell its authors")
    api = getattr(factory, "api", None)
    if api != API:
        raise PluginError(
            f"it is written for version {api!r} of the plugin API, this felloe has {API}",
            hint="install a release of one of the two that fits the other",
        )
    return factory  # type: ignore[no-any-return]  # callable() tells mypy nothing of the parameters


def _wanted(config: Config, kinds: Sequence[Kind]) -> Iterable[SourceSettings]:
    """What is configured and not disabled, in its order, then the defaults of the kinds that are not configured.

    The default index is the last: a name that any index may know is asked of the public one when no other knows it.
    """
    yield from (settings for settings in config.sources if settings.kind not in config.disabled)
    configured = {settings.kind for settings in config.sources} | config.replaced_kinds
    for kind in sorted(kinds, key=lambda kind: kind.name == DEFAULT_INDEX):
        if kind.state == "loaded" and kind.name not in configured and getattr(kind.factory, "default", False):
            yield SourceSettings(name=kind.name, kind=kind.name, settings={}, origin="default")


def _without_sources(kinds: Iterable[Kind], wanted: Iterable[SourceSettings], *, strict: bool) -> Iterable[Kind]:
    """The kinds, where one that is loaded and of which no source is wanted is `not configured`, or `failed`."""
    names = {settings.kind for settings in wanted}
    for kind in kinds:
        yield kind if kind.state != "loaded" or kind.name in names else _without_source(kind, strict=strict)


def _without_source(kind: Kind, *, strict: bool) -> Kind:
    """Judged by its class, as no source of it will be: a name might be its own, if only it kept the contract."""
    try:
        _check_class(kind)
    except PluginError as error:
        if strict:
            raise
        return evolve(kind, state="failed", reason=error.payload["reason"])
    return evolve(kind, state="not configured")


def _kind_of(settings: SourceSettings, kinds: Sequence[Kind]) -> Kind:
    for kind in kinds:
        if kind.name == settings.kind:
            return kind
    raise ConfigError(
        f"{_place(settings, 'kind')}no installed plugin brings sources of kind `{settings.kind}`",
        hint="install it, or remove the setting; `felloe sources` lists what is installed",
    )


def _check_name(settings: SourceSettings, named: dict[str, SourceSettings]) -> None:
    """Adds it to `named`. Raises ConfigError where the name is there: a pin to it would have two meanings."""
    other = named.setdefault(settings.name, settings)
    if other is not settings:
        raise ConfigError(
            f"{_place(other, 'name')}two sources are named `{settings.name}`, one of them of kind `{settings.kind}`",
            hint="give each a name of its own; a default source has the name of its kind",
        )


def _place(settings: SourceSettings, key: str = "") -> str:
    """Where it is configured, as the beginning of a message."""
    return "".join(f"{part}: " for part in (settings.origin, key) if part)


def _make(settings: SourceSettings, kind: Kind) -> Instance:
    """The instance that `settings` describe, checked. Raises ConfigError or PluginError."""
    if kind.factory is None:
        raise PluginError(f"source `{settings.name}` is not there", hint=f"its kind `{kind.name}` cannot be loaded")
    try:
        source = kind.factory(settings.name, dict(settings.settings))
    except (FelloeError, TypeError, ValueError, KeyError) as error:
        reason = f"the settings of {_what(settings, kind)} will not do: {told_by(error)}"
        where = _place(settings, _key_named_by(error))
        raise ConfigError(f"{where}{reason}", hint=f"correct them, or {_how_to_disable(kind)}") from error
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"{_what(settings, kind)} cannot be made: {told_by(error)}", hint=_how_to_mend(kind)
        ) from error
    return Instance(name=settings.name, kind=kind, hooks=_source_hooks(source, kind))


def _key_named_by(error: Exception) -> str:
    """The setting that will not do, where the source says which: `ConfigError(..., key="url")`."""
    return str(error.payload.get("key", "")) if isinstance(error, FelloeError) else ""


def _what(settings: SourceSettings, kind: Kind) -> str:
    return f"source `{settings.name}` of {' '.join(kind.distribution)}"


def _check_class(kind: Kind) -> None:
    """Raises PluginError, as `_hooks_of`. What is not a class can only be judged by the sources that it makes."""
    if inspect.isclass(kind.factory):
        _source_hooks(_with_hooks_of(kind.factory, kind), kind)


def _with_hooks_of(cls: type, kind: Kind) -> object:
    """An object that has the hooks of an instance of `cls` and nothing else: no code of the plugin is run."""
    manager = pluggy.PluginManager("felloe")
    try:
        names = [name for name in dir(cls) if manager.parse_hookimpl_opts(cls, name) is not None]
        return type(cls.__name__, (), {name: inspect.getattr_static(cls, name) for name in names})()
    except Exception as error:  # before 1.7, pluggy asks for every value
        raise not_kept(kind, told_by(error)) from error


def _source_hooks(source: object, kind: Kind) -> Hooks:
    """As `hooks_of`; raises PluginError also where one is missing that a source needs."""
    hooks = hooks_of(source, kind, SourceSpec)
    if missing := [name for name in REQUIRED if name not in hooks]:
        raise not_kept(kind, f"it lacks the hook `{missing[0]}` (marked with @hookimpl)")
    return hooks


def hooks_of(plugin: object, kind: Kind, spec: type) -> Hooks:
    """Those of `spec` that `plugin` implements, as pluggy sees them. Raises PluginError where it or we refuse them."""
    found = _implementations(plugin, kind, spec)
    hooks = {name: implementation for name, implementation in found.items() if hasattr(spec, name)}
    # Not pluggy's own `check_pending`: its message shows the repr of the plugin, which may have its settings in it.
    if unknown := [name for name in found if name not in hooks and not found[name].optionalhook]:
        raise not_kept(kind, f"there is no hook `{unknown[0]}`")
    for name, implementation in hooks.items():
        _check_signature(kind, name, implementation)
    return hooks


def _implementations(plugin: object, kind: Kind, spec: type) -> Hooks:
    manager = pluggy.PluginManager("felloe")
    manager.add_hookspecs(spec)
    try:
        manager.register(plugin)
    except pluggy.PluginValidationError as error:
        raise not_kept(kind, str(error).strip().splitlines()[-1]) from error
    except Exception as error:  # to find hooks, pluggy asks for every name, before 1.7 also for every value
        raise not_kept(kind, told_by(error)) from error
    callers = manager.get_hookcallers(plugin) or ()
    return {caller.name: implementation for caller in callers for implementation in caller.get_hookimpls()}


def _check_signature(kind: Kind, name: str, implementation: pluggy.HookImpl) -> None:
    if implementation.wrapper or implementation.hookwrapper:
        raise not_kept(kind, f"`{name}` is a wrapper, and there is nothing to wrap: each plugin is called alone")
    for parameter in inspect.signature(implementation.function).parameters.values():
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD or parameter.default is not parameter.empty:
            why = "no defaults, `*` or `**`, pluggy would not fill it"
            raise not_kept(kind, f"`{name}` has the parameter `{parameter}`: {why}")
    if inspect.iscoroutinefunction(implementation.function) != (name in ASYNCHRONOUS):
        raise not_kept(kind, f"`{name}` has to be {'`async def`' if name in ASYNCHRONOUS else 'a plain function'}")


def not_kept(kind: Kind, reason: str) -> PluginError:
    return PluginError(f"{kind} does not keep the contract: {reason}", hint=_how_to_mend(kind), reason=reason)


def failure_of(kind: Kind) -> str:
    """Of one that failed: who, of which distribution, why, and how to do without."""
    fault = "cannot be loaded" if kind.factory is None else "does not keep the contract"
    return f"{kind} {fault}: {kind.reason} ({_how_to_mend(kind)})"


def _how_to_mend(kind: Kind) -> str:
    return f"mend or uninstall it, or {_how_to_disable(kind)}"


def _how_to_disable(kind: Kind) -> str:
    what = "it" if kind.is_extension else f"all sources of kind `{kind.name}`"
    return f"do without {what}: FELLOE_DISABLE={kind.name}"
