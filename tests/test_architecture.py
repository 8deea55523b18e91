"""The rooms: what only one place may do, read from the code; and what a warm run may import, seen in a process."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = ROOT / "core/src/felloe"
PLUGINS = sorted(ROOT.glob("plugins/*/src/*"))

WRITERS = frozenset(
    [
        "NamedTemporaryFile",
        "TemporaryDirectory",
        "chmod",
        "copy",
        "copy2",
        "copyfile",
        "copytree",
        "hardlink_to",
        "link",
        "makedirs",
        "mkdir",
        "mkstemp",
        "move",
        "rename",
        "replace",
        "rmdir",
        "rmtree",
        "symlink",
        "symlink_to",
        "touch",
        "unlink",
        "utime",
        "write_bytes",
        "write_text",
    ]
)
SOCKETS = {"socket", "ssl", "http.client", "urllib.request", "urllib3", "requests", "httpx", "httpcore"}
PROCESSES = {"subprocess", "multiprocessing", "os.system", "os.popen", "os.fork", "os.execv", "os.posix_spawn"}

CONNECTING = frozenset(
    [
        "connect_tcp",
        "connect_unix",
        "create_connection",
        "create_tcp_listener",
        "create_unix_listener",
        "create_udp_socket",
        "create_connected_udp_socket",
        "create_unix_datagram_socket",
        "open_connection",
        "open_tcp_stream",
        "open_unix_socket",
    ]
)
MODE = re.compile(r"[rwxab+t]+")
WRITING_MODULES = frozenset({"os", "shutil", "tempfile"})

# What costs more to import than a warm answer costs in all.
HEAVY = frozenset(
    [
        "anyio",
        "asyncio",
        "concurrent.futures",
        "distlib",
        "email.parser",
        "filelock",
        "http.client",
        "httpx",
        "importlib.metadata",
        "installer",
        "keyring",
        "multiprocessing",
        "packaging.metadata",
        "platformdirs",
        "resolvelib",
        "rich",
        "ssl",
        "stamina",
        "tarfile",
        "tomllib",
        "trio",
        "truststore",
        "urllib.request",
        "zipfile",
    ]
)
HEAVY_MODULES = {  # each is itself imported when first needed
    "cli/moving.py": {"rich"},
    "net/client.py": {"anyio", "httpx", "ssl", "stamina", "urllib.request"},
    "net/tar.py": {"tarfile"},
    "resolution/provider.py": {"resolvelib"},
}
LAZY = {  # what is imported in functions
    "assembly.py": {"anyio"},
    "blocking.py": {"anyio"},
    "build/backend.py": {"anyio"},
    "build/builder.py": {"anyio"},
    "build_requirements.py": {"anyio"},
    "cache/archives.py": {"anyio"},
    "cache/locks.py": {"anyio", "filelock"},
    "cache/temporary.py": {"filelock"},
    "cache/records.py": {"anyio"},
    "cli/program.py": {"importlib.metadata"},
    "command.py": {"anyio"},
    "config.py": {"platformdirs"},
    "config_layers.py": {"tomllib"},
    "entries.py": {"anyio"},
    "explaining.py": {"anyio"},
    "flights.py": {"anyio"},
    "installation/environments.py": {"anyio"},
    "installation/unpacked.py": {"anyio"},
    "installation/wheel.py": {"email.parser"},
    "metadata.py": {"email.parser", "tomllib"},
    "net/client.py": {"importlib.metadata", "truststore"},
    "net/download.py": {"anyio"},
    "net/keyring.py": {"anyio", "keyring"},
    "registry.py": {"importlib.metadata"},
    "resolution/resolve.py": {"anyio", "resolvelib"},
    "net/room.py": {"anyio"},
    "stepping.py": {"anyio"},
    "felloe_path/reading.py": {"anyio"},
    "felloe_path/declared.py": {"tomllib"},
    "felloe_pypi/__init__.py": {"distlib"},
}

# Who writes in a folder that was handed to it, and why. Nothing else outside cache/ writes at all.
WRITES_WHERE_TOLD = {
    "build/backend.py": "the log of a build",
    "build/builder.py": "folders in the scratch folder of a build",
    "build/history.py": "the log of a build",
    "build/product.py": "a copy in the scratch folder of a build",
    "build/worker.py": "the pipes and the log that are handed to it",
    "cli/wheel.py": "the folder of -o",
    "context.py": "a folder of its own in scratch",
    "installation/files.py": "the folder into which an environment is installed or copied",
    "interpreter.py": "the file, in a temporary folder, in which another interpreter answers",
    "net/download.py": "files in scratch",
    "net/tree.py": "the folder into which an archive is unpacked",
    "felloe_git/trees.py": "a checkout in scratch",
    "felloe_git/checkout.py": "a checkout in scratch",
    "felloe_git/database.py": "the bare repository in a folder that it keeps",
    "felloe_path/copying.py": "a copy in scratch",
    "felloe_path/repository.py": "the `.git` of a copy in scratch",
}


# Where errors are raised without a hint, and who gives them one.
HINTED_ELSEWHERE = {
    "net": "`naming`, which every archive is read in, says what to do with one that is damaged",
    "installation": "the same for a wheel",
}


def modules(*, testing: bool = False) -> Iterator[tuple[str, Path]]:
    """Every module of the core and the plugins, by a short name."""
    for folder in (CORE, *PLUGINS):
        for path in sorted(folder.rglob("*.py")):
            name = path.relative_to(folder).as_posix()
            if testing or not name.startswith("testing/"):
                yield (name if folder == CORE else f"{folder.name}/{name}"), path


def dotted(node: ast.expr) -> str:
    """`os.replace` of the expression that says so; "" for others."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}".lstrip(".")
    return ""


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every call, by the name that it has where it comes from: `shutil.copyfile`, however it was imported."""
    tree = ast.parse(path.read_text())
    origins = {local: origin for node in ast.walk(tree) for local, origin in imported_names(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            first, dot, rest = dotted(node.func).partition(".")
            yield f"{origins.get(first, first)}{dot}{rest}", node


def imported_names(node: ast.AST) -> Iterator[tuple[str, str]]:
    """The names that an import makes, and what each stands for."""
    if isinstance(node, ast.Import):
        yield from ((alias.asname or alias.name, alias.name) for alias in node.names if alias.asname)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield from ((alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names)


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def writes(path: Path) -> list[str]:
    """Calls that change the file system: by name, `open` and `fdopen` by mode, `os.open` by flags."""
    found = []
    assigned = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Assign)]
    constants = {dotted(node.targets[0]): node.value for node in assigned}
    for name, call in calls(path):
        module, _, last = name.rpartition(".")
        texts = [a.value for a in (*call.args, *(k.value for k in call.keywords)) if isinstance(a, ast.Constant)]
        mode = next((text for text in texts if isinstance(text, str) and MODE.fullmatch(text)), "")
        if name == "os.open":
            found += [name] if not is_only_read(call, constants) else []
        elif last in {"open", "fdopen"} and set(mode) & set("wxa+"):
            found.append(f"open({mode!r})")
        elif last in WRITERS and (isinstance(call.func, ast.Attribute) or module in WRITING_MODULES):
            found += [name] if not is_text_or_value(name, call) else []
    return found


def is_only_read(call: ast.Call, constants: Mapping[str, ast.expr]) -> bool:
    """Whether the flags of `os.open` say O_RDONLY, there or in a constant; a number and a variable may be anything."""
    flags = constants.get(dotted(call.args[1]), call.args[1])
    said = {node.attr for node in ast.walk(flags) if isinstance(node, ast.Attribute)}
    is_null = dotted(call.args[0]) == "os.devnull"
    return is_null or ("O_RDONLY" in said and not said & {"O_CREAT", "O_TRUNC", "O_APPEND", "O_WRONLY", "O_RDWR"})


def is_text_or_value(name: str, call: ast.Call) -> bool:
    """`text.replace(a, b)` takes two arguments, a path's `replace` one; `copy` of a mapping takes none."""
    last = name.rpartition(".")[2]
    return (last == "replace" and len(call.args) != 1 and not name.startswith("os.")) or (
        last == "copy" and not call.args
    )


def test_only_the_cache_writes_and_others_only_where_they_are_told() -> None:
    writers = {name: found for name, path in modules() if not name.startswith("cache/") and (found := writes(path))}

    assert set(writers) == set(WRITES_WHERE_TOLD), writers


@pytest.mark.parametrize(
    ("code", "is_found"),
    [
        ("from shutil import copyfile\ncopyfile(a, b)", True),
        ("from os import replace as move\nmove(a, b)", True),
        ("import os as o\no.unlink(a)", True),
        ("import os\nos.open(a, os.O_WRONLY | os.O_CREAT)", True),
        ("import os\nos.open(a, 65)", True),
        ("import os\nos.open(a, flags)", True),
        ("import os\nNEW = os.O_RDWR | os.O_CREAT\nos.open(a, NEW)", True),
        ("import os\nREAD = os.O_RDONLY\nos.open(a, READ)", False),
        ("import os\nos.open(a, os.O_RDONLY | os.O_NOFOLLOW)", False),
        ("import os\nos.fdopen(a, mode='wb')", True),
        ("open(a, 'x')", True),
        ("path.open('rb')", False),
        ("text.replace(a, b)", False),
        ("path.replace(a)", True),
        ("values.copy()", False),
    ],
)
def test_what_counts_as_writing(tmp_path: Path, code: str, is_found: bool) -> None:
    (tmp_path / "module.py").write_text(code)

    assert bool(writes(tmp_path / "module.py")) == is_found


def test_only_net_opens_sockets() -> None:
    users = {
        name
        for name, path in modules()
        if imports(path) & SOCKETS or any(called.rpartition(".")[2] in CONNECTING for called, _ in calls(path))
    }

    assert users == {"net/client.py"}


def test_only_few_start_processes() -> None:
    users = {
        name
        for name, path in modules()
        if imports(path) & PROCESSES
        or any(called in PROCESSES or called.endswith(("run_process", "open_process")) for called, _ in calls(path))
    }

    assert users == {"build/backend.py", "build/worker.py", "command.py", "interpreter.py"}


def test_only_few_call_a_hook() -> None:
    users = {
        name
        for name, path in modules()
        for called, _ in calls(path)
        if ".hook." in called or called.endswith("implementation.function")
    }

    assert users == {"dispatch.py"}


def test_only_the_command_line_prints() -> None:
    users = {
        name
        for name, path in modules()
        for called, _ in calls(path)
        if called in {"print", "click.echo", "sys.stdout.write", "sys.stderr.write"} or called.endswith("basicConfig")
    }

    assert {name for name in users if not name.startswith("cli/")} == set()
    assert users >= {"cli/output.py", "cli/metadata.py"}


def test_heavy_libraries_are_imported_when_first_needed() -> None:
    """Those at the top of a module, where it is itself imported late, and those in functions."""
    at_top: dict[str, set[str]] = {}
    late: dict[str, set[str]] = {}
    for name, path in modules():
        tree = ast.parse(path.read_text())
        top = {library for node in tree.body for library in heavy(node)}
        everywhere = {library for node in ast.walk(without_types(tree)) for library in heavy(node)}
        at_top |= {name: top} if top else {}
        late |= {name: everywhere - top} if everywhere - top else {}

    assert at_top == HEAVY_MODULES
    assert late == LAZY


def heavy(node: ast.AST) -> set[str]:
    """Which of the heavy libraries an import is of."""
    names = {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
    if isinstance(node, ast.ImportFrom) and node.module:
        names = {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {library for library in HEAVY for name in names if name == library or name.startswith(f"{library}.")}


def without_types(tree: ast.Module) -> ast.Module:
    """What is imported for annotations alone is not imported."""
    tree.body = [
        node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
    ]
    return tree


@pytest.mark.parametrize("secret", ["reveal", "userinfo"])
def test_only_few_see_the_secrets_of_a_url(secret: str) -> None:
    users = {
        name
        for name, path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == secret
    }

    # A requirement is refused for having userinfo in a `file:` URL: it is only asked whether there is any. The program
    # `git` has to know the address and the login, and gets the login by its environment alone.
    expected = {
        "reveal": {"url.py", "felloe_git/remote.py"},
        "userinfo": {"url.py", "request.py", "felloe_git/remote.py"},
    }
    assert {name for name in users if not name.startswith("net/")} == expected[secret]


def test_every_error_says_what_to_do() -> None:
    errors = {node.name for node in ast.parse((CORE / "errors.py").read_text()).body if isinstance(node, ast.ClassDef)}
    bare = [
        f"{name}:{call.lineno} {called}"
        for name, path in modules()
        for called, call in calls(path)
        if called in errors
        and not any(keyword.arg in {"hint", None} for keyword in call.keywords)
        and not (called == "ArchiveError" and name.partition("/")[0] in HINTED_ELSEWHERE)
    ]

    assert bare == []


def test_a_plugin_imports_the_one_door() -> None:
    foreign = {
        (name, imported)
        for name, path in modules()
        if name.startswith("felloe_")
        for imported in imports(path)
        if imported.startswith("felloe.") and not imported.startswith("felloe.plugin")
    }

    assert foreign == set()


def test_all_distributions_have_one_version() -> None:
    versions = {
        match[1]
        for path in [ROOT / "pyproject.toml", ROOT / "core/pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml")]
        if (match := re.search(r'^version = "(.+)"$', path.read_text(), re.MULTILINE))
    }

    assert len(versions) == 1


def test_no_registry_is_named() -> None:
    hosts = re.compile("|".join((r"py{}\.org".format("pi"), r"python{}\.org".format("hosted"))))
    named = [
        path
        for path in ROOT.rglob("*")
        if path.suffix in {".py", ".md", ".toml", ".yml"}
        and ".venv" not in path.parts
        and hosts.search(path.read_text())
    ]

    assert named == []
