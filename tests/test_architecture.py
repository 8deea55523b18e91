"""The rooms: what only one place may do, read from the code; and what a warm run may import, seen in a process."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
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

# Who writes in a folder that was handed to it, and why. Nothing else outside cache/ writes at all.
WRITES_WHERE_TOLD = {
    "assembly.py": "the temporary folder of --no-cache",
    "build/backend.py": "the log of a build",
    "build/builder.py": "folders in the scratch folder of a build",
    "build/history.py": "the log of a build",
    "build/product.py": "a copy in the scratch folder of a build",
    "cli/wheel.py": "the folder of -o",
    "context.py": "a folder of its own in scratch",
    "installation/files.py": "the folder into which an environment is installed or copied",
    "interpreter.py": "the file, in a temporary folder, in which another interpreter answers",
    "net/download.py": "a file in scratch",
    "net/tree.py": "the folder into which an archive is unpacked",
    "felloe_git/trees.py": "a checkout in scratch",
    "felloe_git/checkout.py": "a checkout in scratch",
    "felloe_git/database.py": "the bare repository in a folder that it keeps",
    "felloe_path/copying.py": "a copy in scratch",
    "felloe_path/repository.py": "the `.git` of a copy in scratch",
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
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield dotted(node.func), node


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def writes(path: Path) -> list[str]:
    """Calls that change the file system: by name, `open` and `os.open` by mode."""
    found = []
    for name, call in calls(path):
        last = name.rpartition(".")[2]
        mode = next((a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)), "")
        if last == "open" and re.fullmatch(r"[rwxab+t]+", mode) and set(mode) & set("wxa+"):
            found.append(f"open({mode!r})")
        elif last in WRITERS and isinstance(call.func, ast.Attribute) and not is_text_or_value(name, call):
            found.append(name)
    return found


def is_text_or_value(name: str, call: ast.Call) -> bool:
    """`text.replace(a, b)` takes two arguments, a path's `replace` one; `copy` of a mapping takes none."""
    last = name.rpartition(".")[2]
    return (last == "replace" and len(call.args) != 1 and not name.startswith("os.")) or (
        last == "copy" and not call.args
    )


def test_only_the_cache_writes_and_others_only_where_they_are_told() -> None:
    writers = {name: found for name, path in modules() if not name.startswith("cache/") and (found := writes(path))}

    assert set(writers) <= set(WRITES_WHERE_TOLD), writers


def test_only_net_opens_sockets() -> None:
    users = {name for name, path in modules() if imports(path) & SOCKETS}

    assert {name for name in users if not name.startswith("net/")} == set()
    assert users >= {"net/client.py"}


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
    assert users


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
    assert {name for name in users if not name.startswith("net/")} <= {"url.py", "request.py", "felloe_git/remote.py"}


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
