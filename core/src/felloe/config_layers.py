"""Where settings are written: options, the environment, and the files of felloe, uv and pip.

Each place is one `Layer`, and all of them use felloe's names for what they say. Nothing is interpreted here: a layer
holds values as they were written, and `felloe.config` says what they mean and which of them counts.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from attrs import evolve, field, frozen

from felloe.errors import ConfigError

__all__ = ["Given", "Layer", "Machine", "find_layers", "items_of", "pip_files", "uv_files"]

Tool = Literal["felloe", "uv", "pip"]

MAX_FILE_BYTES = 2**20

VARIABLES = {
    "cache-dir": "FELLOE_CACHE_DIR",
    "index-url": "FELLOE_INDEX_URL",
    "extra-index-url": "FELLOE_EXTRA_INDEX_URL",
    "find-links": "FELLOE_FIND_LINKS",
    "python": "FELLOE_PYTHON",
    "offline": "FELLOE_OFFLINE",
    "disabled": "FELLOE_DISABLE",
    "strict": "FELLOE_STRICT",
    "cert": "SSL_CERT_FILE",
}

# The options of the command line whose names are not those of the keywords. What has no option is shown as a keyword.
OPTION_NAMES = {
    "refresh_packages": "--refresh-package",
    "constraints": "--constraint",
    "prereleases": "--pre",
    "config_settings": "--config-setting",
    "build_constraints": "--build-constraint",
    **{name: name for name in ("max_page_bytes", "max_metadata_bytes", "max_retry_seconds", "disabled", "strict")},
}

# A project's file may have come with somebody else's checkout: it cannot name a program to run, and it cannot switch
# off the source that keeps private names private.
NOT_IN_FILES = frozenset({"python", "disabled", "strict", "no-cache", "refresh", "refresh-packages", "constraints"})
LISTS = frozenset({"extra-index-url", "find-links", "index", "source"})

PIP_KEYS = ("index-url", "extra-index-url", "find-links", "no-index", "cert", "proxy")
PIP_SECTIONS = ("global", "download", "install")  # a later one outranks an earlier one, whichever file it is in

NO_KEYS = {"name": "", "url": ""}  # of what is a table here, and was a text where it was written
NAMED_INDEX = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)=(.+)", re.DOTALL)


@frozen(kw_only=True)
class Machine:
    """What the places of files depend on, apart from the environment; `prefix` is that of the running Python."""

    platform: str = sys.platform
    prefix: Path = Path(sys.prefix)
    etc: Path = Path("/etc")


@frozen
class Given:
    """A value as somebody wrote it, where that was, and the folder that a relative path in it starts from.

    `spelled` says how a key of a table is written there, where that is not how we have it; "" for one that is no key.
    """

    value: Any = field(repr=False)  # may hold a password
    origin: str
    base: Path
    spelled: Mapping[str, str] = field(factory=dict)

    def at(self, key: str) -> Given:
        """What a table has for `key` (None for nothing), and the place of that; of what is no table, itself."""
        if not isinstance(self.value, Mapping):
            return self
        written = self.spelled.get(key, key)
        return Given(self.value.get(key), f"{self.origin}: {written}" if written else self.origin, self.base)

    def error(self, message: str, *, hint: str) -> ConfigError:
        """What is wrong with it; the payload has the `origin`, by which the command line tells its own options."""
        return ConfigError(message, hint=hint, origin=self.origin)


@frozen(kw_only=True, eq=False)
class Layer:
    """What one place says. `settings` are single values by felloe's kebab-case name.

    An item of `indexes` and `links` (and the setting `index-url`) is a text, URL or path, or a table with `url` and
    perhaps `name`, `projects`, `missing`; an item of `sources` is a table. A default index of None is "no default
    index". Where `adds` is false, indexes and links give way to those of an earlier layer of the same tool; otherwise
    they are added to them. `warnings` are sentences on what stands there and does not count.
    """

    tool: Tool
    settings: Mapping[str, Given] = field(factory=dict)
    indexes: tuple[Given, ...] = ()
    links: tuple[Given, ...] = ()
    sources: tuple[Given, ...] = ()
    adds: bool = False
    warnings: tuple[str, ...] = ()


def find_layers(
    options: Mapping[str, Any], environ: Mapping[str, str], cwd: Path, machine: Machine | None = None
) -> tuple[Layer, ...]:
    """All places, the one that counts most first. `cwd` is absolute; options have the names of Python's keywords.

    Raises ConfigError for a file that cannot be read.
    """
    read_toml = functools.cache(_read_toml)  # one pyproject.toml may speak for felloe and for uv
    variables = {name: value for name, value in environ.items() if value.strip()}
    machine = machine or Machine()
    uv_names: set[str] = set()
    return (
        _option_layer(options, cwd),
        _felloe_environment(variables, cwd),
        *_felloe_file(cwd, read_toml),
        _uv_environment(variables, cwd, uv_names),
        _pip_environment(variables, cwd),
        *(_uv_table_layer(table, uv_names) for table in _uv_tables(variables, cwd, machine, read_toml)),
        *_pip_file_layer(variables, cwd, machine),
    )


# felloe


def _option_layer(options: Mapping[str, Any], cwd: Path) -> Layer:
    """None and an empty sequence are "not given": what a command line passes for an option left out."""
    given = {
        (name := key.replace("_", "-")): Given(value, OPTION_NAMES.get(key, f"--{name}"), cwd)
        for key, value in options.items()
        if value is not None and value not in ((), [])
    }
    return _felloe_layer(given)


def _felloe_environment(variables: Mapping[str, str], cwd: Path) -> Layer:
    given = {name: Given(variables[key], key, cwd) for name, key in VARIABLES.items() if key in variables}
    for name, separator in (("extra-index-url", None), ("find-links", None), ("disabled", ",")):
        if name in given:
            given[name] = _split(given[name], separator)
    return _felloe_layer(given)


def _felloe_layer(given: Mapping[str, Given]) -> Layer:
    """A layer of options or variables, in which an index may be `NAME=URL`."""
    settings = {name: value for name, value in given.items() if name not in LISTS}
    if "index-url" in settings:
        settings["index-url"] = _named(settings["index-url"])
    return Layer(
        tool="felloe",
        settings=settings,
        indexes=tuple(map(_named, items_of(given.get("extra-index-url")))),
        links=items_of(given.get("find-links")),
    )


def _felloe_file(cwd: Path, read_toml: TomlReader) -> Iterator[Layer]:
    table = _project_table("felloe", cwd, read_toml)
    if table is not None:
        yield Layer(
            tool="felloe",
            settings={key: table.given(key) for key in table.values if key not in NOT_IN_FILES | LISTS},
            indexes=(*items_of(table.get("extra-index-url")), *items_of(table.get("index"))),
            links=items_of(table.get("find-links")),
            sources=items_of(table.get("source")),
            adds=True,
            warnings=tuple(_not_read(key, table.given(key).origin) for key in table.values if key in NOT_IN_FILES),
        )


def _not_read(key: str, origin: str) -> str:
    instead = f"set {VARIABLES[key]}" if key in VARIABLES else "give it as an option"
    return f"`{origin}` is not read from a file, which may be somebody else's: {instead} instead"


# uv. `names` are those of the indexes so far: where uv finds a name again, the earlier index keeps it.


def _uv_environment(variables: Mapping[str, str], cwd: Path, names: set[str]) -> Layer:
    given = {name: Given(value, name, cwd) for name, value in variables.items() if name.startswith("UV_")}
    defaults = (*map(_named, items_of(given.get("UV_DEFAULT_INDEX"))), *items_of(given.get("UV_INDEX_URL")))
    indexes = (*map(_named, _words(given.get("UV_INDEX"))), *_words(given.get("UV_EXTRA_INDEX_URL")))
    entries = [*(_as_table(item, default=True) for item in defaults), *(_as_table(item) for item in indexes)]
    return _uv_layer(entries, _words(given.get("UV_FIND_LINKS"), ","), {}, names)


def _uv_table_layer(table: Table, names: set[str]) -> Layer:
    entries = [
        *items_of(table.get("index")),
        *(_as_table(item) for item in items_of(table.get("extra-index-url"))),
        *(_as_table(item, default=True) for item in items_of(table.get("index-url"))),
    ]
    keys = ("no-index", "http-proxy", "https-proxy", "no-proxy")
    settings = {key: table.given(key) for key in keys if key in table.values}
    return _uv_layer(entries, items_of(table.get("find-links")), settings, names)


def _uv_layer(
    entries: Iterable[Given], links: tuple[Given, ...], settings: Mapping[str, Given], names: set[str]
) -> Layer:
    """A layer of uv's index tables: `default`, `explicit` (asked for pinned names only), `format = "flat"`."""
    entries = [entry for entry in entries if _is_new(entry, names)]
    asked = [entry for entry in entries if not _says(entry, "explicit")]
    default = next((entry for entry in entries if _says(entry, "default")), None)
    return Layer(
        tool="uv",
        settings={**settings, **({} if default is None else {"index-url": _uv_default(default)})},
        indexes=tuple(_translated(entry) for entry in asked if not _says(entry, "default") and not _is_flat(entry)),
        links=(*links, *(_translated(entry) for entry in asked if _is_flat(entry))),
        adds=True,
    )


def _uv_default(entry: Given) -> Given:
    """The default index; None where the table takes PyPI's place without being an index that any name may be in."""
    return evolve(entry, value=None) if _says(entry, "explicit") or _is_flat(entry) else _translated(entry)


def _is_new(entry: Given, names: set[str]) -> bool:
    name = entry.value.get("name") if isinstance(entry.value, Mapping) else None
    if not isinstance(name, str):
        return True
    new = name not in names
    names.add(name)
    return new


def _says(entry: Given, key: str) -> bool:
    return isinstance(entry.value, Mapping) and entry.value.get(key) is True


def _is_flat(entry: Given) -> bool:
    return isinstance(entry.value, Mapping) and entry.value.get("format") == "flat"


def _translated(entry: Given) -> Given:
    """uv's table of an index with felloe's keys; what is no table stays what it is, for the reader to complain of."""
    if not isinstance(entry.value, Mapping):
        return entry
    keys = {"name": "name", "url": "url", "ignore-error-codes": "missing"}
    table = {ours: entry.value[theirs] for theirs, ours in keys.items() if theirs in entry.value}
    return evolve(entry, value=table, spelled={"missing": "ignore-error-codes", **entry.spelled})


def _uv_tables(variables: Mapping[str, str], cwd: Path, machine: Machine, read_toml: TomlReader) -> Iterator[Table]:
    """What uv would read: UV_CONFIG_FILE alone (ConfigError where it is no file), else project, user and system."""
    if variables.get("UV_NO_CONFIG", "0").lower() not in {"0", "false", "no", "off", "f", "n"}:
        return
    if "UV_CONFIG_FILE" in variables:
        path = cwd / variables["UV_CONFIG_FILE"]
        yield _required_table(path, cwd, read_toml)
        return
    if (project := _project_table("uv", cwd, read_toml)) is not None:
        yield project
    for paths in uv_files(variables, machine):
        found = (_table(path, (), cwd, read_toml) for path in paths)
        yield from [table for table in found if table is not None][:1]


def _required_table(path: Path, cwd: Path, read_toml: TomlReader) -> Table:
    table = _table(path, (), cwd, read_toml)
    if table is None:
        raise ConfigError(f"`UV_CONFIG_FILE` names `{path}`, which is no file", hint="Correct the variable.")
    return table


def uv_files(environ: Mapping[str, str], machine: Machine) -> tuple[tuple[Path, ...], ...]:
    """The files of the user and of the system, as alternatives: of each group the first that is there counts."""
    if machine.platform == "win32":
        return tuple(
            (Path(environ[variable]) / "uv/uv.toml",) for variable in ("APPDATA", "PROGRAMDATA") if variable in environ
        )
    user = _xdg_config_home(environ)
    system = tuple(folder / "uv/uv.toml" for folder in (*_xdg_config_dirs(environ, machine), machine.etc))
    return (system,) if user is None else ((user / "uv/uv.toml",), system)


# pip


def _pip_environment(variables: Mapping[str, str], cwd: Path) -> Layer:
    given = {}
    for key in PIP_KEYS:
        variable = "PIP_" + key.upper().replace("-", "_")
        if variable in variables:
            given[key] = Given(variables[variable], variable, cwd)
    return _pip_layer(given, variables)


def _pip_file_layer(variables: Mapping[str, str], cwd: Path, machine: Machine) -> Iterator[Layer]:
    """One layer of all files: a section outranks another one in whichever file, as pip has it."""
    found: dict[tuple[str, str], Given] = {}
    for path in pip_files(variables, cwd, machine):
        found.update(_read_ini(path, cwd))
    given = {
        key: found[section, key]
        for section in PIP_SECTIONS
        for key in PIP_KEYS
        if (section, key) in found and found[section, key].value.strip()
    }
    if given:
        yield _pip_layer(given, variables)


def _pip_layer(given: Mapping[str, Given], variables: Mapping[str, str]) -> Layer:
    settings = {key: given[key] for key in ("index-url", "no-index") if key in given}
    if "cert" in given:
        settings["cert"] = _expanded(given["cert"], variables)
    if "proxy" in given:
        settings["http-proxy"] = settings["https-proxy"] = given["proxy"]
    return Layer(
        tool="pip",
        settings=settings,
        indexes=_words(given.get("extra-index-url")),
        links=tuple(_expanded(item, variables) for item in _words(given.get("find-links"))),
    )


def _expanded(given: Given, environ: Mapping[str, str]) -> Given:
    """pip takes a leading `~/` in a path for the home folder."""
    home = _home(environ)
    if home is None or not given.value.startswith("~/"):
        return given
    return evolve(given, value=str(home / given.value[2:]))


def pip_files(environ: Mapping[str, str], cwd: Path, machine: Machine) -> tuple[Path, ...]:
    """The files that pip would read, the one that counts most last: global, user (legacy, new), site, PIP_CONFIG_FILE.

    A PIP_CONFIG_FILE that is there takes the place of the user's files; as the null device it turns all files off.
    """
    own = environ.get("PIP_CONFIG_FILE")
    if own == os.devnull:
        return ()
    name = "pip.ini" if machine.platform == "win32" else "pip.conf"
    user = () if own and (cwd / own).exists() else _pip_user_folders(environ, machine)
    folders = (*_pip_global_folders(environ, machine), *user, machine.prefix)
    return (*(folder / name for folder in folders), *((cwd / own,) if own else ()))


def _pip_global_folders(environ: Mapping[str, str], machine: Machine) -> tuple[Path, ...]:
    if machine.platform == "win32":
        return (Path(environ["PROGRAMDATA"]) / "pip",) if "PROGRAMDATA" in environ else ()
    if machine.platform == "darwin":
        return (Path("/Library/Application Support/pip"),)
    return (*(folder / "pip" for folder in _xdg_config_dirs(environ, machine)), machine.etc)


def _pip_user_folders(environ: Mapping[str, str], machine: Machine) -> tuple[Path, ...]:
    home = _home(environ)
    if machine.platform == "win32":
        legacy = () if home is None else (home / "pip",)
        return (*legacy, Path(environ["APPDATA"]) / "pip") if "APPDATA" in environ else legacy
    legacy = () if home is None else (home / ".pip",)
    if machine.platform == "darwin":
        return legacy if home is None else (*legacy, _pip_macos_folder(home))
    user = _xdg_config_home(environ)
    return legacy if user is None else (*legacy, user / "pip")


def _pip_macos_folder(home: Path) -> Path:
    folder = home / "Library/Application Support/pip"
    return folder if folder.is_dir() else home / ".config/pip"


def _read_ini(path: Path, cwd: Path) -> dict[tuple[str, str], Given]:
    """The values of a file by section and name; {} where there is no file. Raises ConfigError with file and line."""
    text = _read_text(path)
    if text is None:
        return {}
    import configparser

    parser = configparser.RawConfigParser()
    parser.optionxform = _pip_key  # type: ignore[assignment]  # the documented way to have own keys
    try:
        parser.read_string(text)
    except configparser.Error as error:
        # The error quotes the line, which may hold a password: neither it nor its text may go on.
        line = getattr(error, "lineno", None) or next((number for number, _ in getattr(error, "errors", ())), None)
        where = f"`{path}`, line {line}," if line else f"`{path}`"
        raise ConfigError(f"{where} cannot be read as a configuration file of pip", hint="Correct the line.") from None
    return {
        (section, key): Given(value, f"{path} [{section}] {key}", cwd)
        for section in PIP_SECTIONS
        if parser.has_section(section)
        for key, value in parser.items(section)
    }


def _pip_key(name: str) -> str:
    return name.lower().replace("_", "-").removeprefix("--")


# Files


@frozen(kw_only=True)
class Table:
    """The table of one tool in a TOML file; `shown` is the file as errors name it, `header` is "" or `tool.NAME`."""

    path: Path
    shown: str
    header: str
    values: Mapping[str, Any] = field(repr=False)

    def get(self, key: str) -> Given | None:
        return self.given(key) if key in self.values else None

    def given(self, key: str) -> Given:
        """The value with its place as one would look for it: `FILE [[header.key]]`, `[header.key]`, `[header] key`."""
        value = self.values[key]
        dotted = f"{self.header}.{key}" if self.header else key
        if isinstance(value, list) and any(isinstance(item, dict) for item in value):
            place = f"[[{dotted}]]"
        elif isinstance(value, dict):
            place = f"[{dotted}]"
        else:
            place = f"[{self.header}] {key}" if self.header else key
        return Given(value, f"{self.shown} {place}", self.path.parent)


TomlReader = Callable[[Path, str], "dict[str, Any] | None"]


def _project_table(tool: str, cwd: Path, read_toml: TomlReader) -> Table | None:
    """The nearest `TOOL.toml`, or pyproject.toml with a table `[tool.TOOL]`, from `cwd` upwards.

    A `TOOL.toml` may be written as a pyproject.toml, with that table, so that what is moved from one to the other
    means the same.
    """
    own, both = f"{tool}.toml", ("tool", tool)
    for folder in (cwd, *cwd.parents):
        for name, keys in ((own, both), (own, ()), ("pyproject.toml", both)):
            table = _table(folder / name, keys, cwd, read_toml)
            if table is not None:
                return table
    return None


def _table(path: Path, keys: tuple[str, ...], cwd: Path, read_toml: TomlReader) -> Table | None:
    shown = str(path.relative_to(cwd)) if path.is_relative_to(cwd) else str(path)
    values: Any = read_toml(path, shown)
    for depth, key in enumerate(keys, 1):
        values = None if values is None else values.get(key)
        if values is not None and not isinstance(values, dict):
            wrong = ".".join(keys[:depth])
            raise ConfigError(f"`{wrong}` in `{shown}` is not a table", hint=f"Write `[{'.'.join(keys)}]`.")
    return None if values is None else Table(path=path, shown=shown, header=".".join(keys), values=values)


def _read_toml(path: Path, shown: str) -> dict[str, Any] | None:
    """The file's top table; None where there is no file, or nothing of interest in it. Raises ConfigError."""
    text = _read_text(path)
    if text is None or (path.name == "pyproject.toml" and not re.search(r"\b(felloe|uv)\b", text)):
        return None  # most projects have no setting for us: they need no parser
    import tomllib

    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigError(f"`{shown}` is not valid TOML: {reason}", hint="Correct the file.") from error


def _read_text(path: Path) -> str | None:
    """The text of a small regular file; None where there is none to be seen. Raises ConfigError for any other."""
    try:
        if not path.is_file():  # never opens a FIFO or a device
            return None
    except (OSError, ValueError):  # a folder of somebody else's, a path that cannot be one
        return None
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"`{path}` cannot be read: {error.strerror}", hint="Make it readable.") from error
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"`{path}` has more than {MAX_FILE_BYTES} bytes", hint="A configuration file is smaller.")
    try:
        return data.decode("utf-8-sig")  # editors on Windows put a byte order mark in front
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"`{path}`, line {line}, is not UTF-8", hint="Save the file as UTF-8.") from error


def _home(environ: Mapping[str, str]) -> Path | None:
    home = environ.get("HOME") or environ.get("USERPROFILE")
    return Path(home) if home else None


def _xdg_config_home(environ: Mapping[str, str]) -> Path | None:
    if environ.get("XDG_CONFIG_HOME"):
        return Path(environ["XDG_CONFIG_HOME"])
    home = _home(environ)
    return None if home is None else home / ".config"


def _xdg_config_dirs(environ: Mapping[str, str], machine: Machine) -> tuple[Path, ...]:
    folders = [Path(text) for text in environ.get("XDG_CONFIG_DIRS", "").split(os.pathsep) if text]
    return tuple(folders) or (machine.etc / "xdg",)


# Values that are lists, or names with a URL


def items_of(given: Given | None) -> tuple[Given, ...]:
    """Each of a list, where the list is; a single value is a list of one."""
    if given is None:
        return ()
    values = given.value if isinstance(given.value, list | tuple) else (given.value,)
    return tuple(
        Given(value, _place(given.origin, value, number), given.base) for number, value in enumerate(values, 1)
    )


def _place(origin: str, value: object, number: int) -> str:
    """Of a table, `origin` and its name, or where it has none which one it is of those there, counted from 1."""
    if not isinstance(value, Mapping):
        return origin
    name = value.get("name")
    return f"{origin} {name}" if isinstance(name, str) and name else f"{origin} #{number}"


def _split(given: Given, separator: str | None = None) -> Given:
    """A text as a list: of words, or of what stands between separators."""
    parts = [part.strip() for part in given.value.split(separator)]
    return evolve(given, value=[part for part in parts if part])


def _words(given: Given | None, separator: str | None = None) -> tuple[Given, ...]:
    return () if given is None else items_of(_split(given, separator))


def _named(given: Given) -> Given:
    """`NAME=URL` as a table; anything else as it is."""
    match = NAMED_INDEX.fullmatch(given.value) if isinstance(given.value, str) else None
    if match is None:
        return given
    return Given({"name": match[1], "url": match[2]}, f"{given.origin} {match[1]}", given.base, NO_KEYS)


def _as_table(given: Given, *, default: bool = False) -> Given:
    if isinstance(given.value, Mapping):
        return evolve(given, value={**given.value, "default": default})
    return evolve(given, value={"url": given.value, "default": default}, spelled=NO_KEYS)
