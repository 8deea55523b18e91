"""Local paths: what a path tells, what belongs to a project's folder, and what a copy of it is."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from felloe.assembly import Database
from felloe.config import Config
from felloe.context import ItemContext, Owner
from felloe.errors import ConfigError, FelloeError, RequirementError, SourceChangedError, SourceError
from felloe.request import parse_request
from felloe.stepping import NotSteppable, step
from felloe.testing import Project, make_sdist, make_wheel
from felloe.values import Context, Dist, Entry, Fresh, Stale
from felloe_path import LocalPath, content, surroundings
from felloe_path.content import Content, Remembered, changed_files, content_of
from felloe_path.copying import copy_tree
from felloe_path.project import State, difference
from felloe_path.surroundings import changed_parts
from felloe_path.tree import listing_of
from tests.fixtures.cache import shared_folder
from tests.fixtures.writer import Writer, writing_meanwhile

pytestmark = pytest.mark.anyio

SDIST = "acme-1.0.tar.gz"
WHEEL = "acme-1.0-py3-none-any.whl"
PYPROJECT = '[project]\nname = "acme"\nversion = "1.0"\n'
SIGNATURE = "Signature: 8a477f597d28d172789f06886806bc55\n# a cache\n"
REPOSITORY = Path(__file__).parent.parent.parent


def nothing() -> None:
    """Nobody wants the work to end."""


class Scene:
    """A project's folder, and a context as the line makes one."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder = folder
        self.project = folder / "project"
        self.database = database
        self.source = LocalPath("path", {})
        write(self.project, {"pyproject.toml": PYPROJECT, "src/acme/__init__.py": "x = 1\n", "run": "#!/bin/sh\n"})
        (self.project / "run").chmod(0o755)
        (self.project / "empty").mkdir()
        (self.project / "here").symlink_to("src/acme")

    def context(self) -> ItemContext:
        return ItemContext(self.database.services, Owner("path", "path", ""), newer_than=None)

    async def find(self, text: str | None = None) -> Dist:
        with self.context() as ctx:
            (dist,) = await self.source.find(parse_request(text or str(self.project), cwd=self.folder), ctx)
        return dist

    async def error(self, text: str | None = None) -> FelloeError:
        """A refusal, which has to come at once."""
        with anyio.fail_after(10), pytest.raises(FelloeError) as raised:
            await self.find(text)
        assert raised.value.hint
        return raised.value

    async def content(self, text: str | None = None) -> str | None:
        return (await self.find(text)).content


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    config = Config(cache_dir=tmp_path / "cache", replaced_kinds=frozenset({"pypi"}))
    async with Database(config, sources=[]) as database:
        yield Scene(tmp_path, database)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of what is remembered is an hour ahead: every file has long been as it is."""
    real = content.time.time_ns
    monkeypatch.setattr(content, "time", SimpleNamespace(time_ns=lambda: real() + 3600 * 10**9))


def write(folder: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


def everything(folder: Path) -> dict[str, Any]:
    """All below a folder and the folder itself: bytes, and what stat says, but for the time of the last access."""
    found = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        status = path.lstat()
        held = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path)] = (status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, held)
    return found


def tree_content(folder: Path) -> str:
    return f"tree:{content_of(listing_of(str(folder.resolve()), nothing), Remembered(None), nothing).hexdigest()}"


# What a path tells


@pytest.mark.parametrize(
    ("text", "claimed"),
    [
        (f"./{SDIST}", True),
        (f"acme @ file:///{SDIST}", True),
        (".", True),
        ("-e .", True),
        ("/nowhere", True),
        ("acme", False),
        (f"https://example.com/{SDIST}", False),
        ("git+file:///acme", False),
    ],
)
def test_what_is_claimed(text: str, claimed: bool) -> None:
    assert (LocalPath("path", {}).claims(parse_request(text)) is not None) is claimed


def test_there_are_no_settings() -> None:
    with pytest.raises(ConfigError, match="no setting `root`") as raised:
        LocalPath("path", {"root": "s3cret"})
    assert "s3cret" not in repr(raised.value) + raised.value.hint


@pytest.mark.parametrize(
    ("filename", "name", "expected"),
    [
        (SDIST, "", ("sdist", SDIST, "acme", "1.0")),
        (SDIST, "acme @ ", ("sdist", SDIST, "acme", "1.0")),
        (SDIST, "Acme.App @ ", ("sdist", SDIST, "acme-app", None)),
        ("master.zip", "", ("sdist", "master.zip", None, None)),
        ("no-suffix", "", ("sdist", "no-suffix", None, None)),
        (WHEEL, "", ("wheel", WHEEL, "acme", "1.0")),
        (WHEEL, "acme @ ", ("wheel", WHEEL, "acme", "1.0")),
        ("Acme_App-1.0-2-py3-none-any.whl", "", ("wheel", "Acme_App-1.0-2-py3-none-any.whl", "acme-app", "1.0")),
        ("acme.whl", "", ("wheel", "acme.whl", None, None)),
        ("red\x1b[31m.zip", "", ("sdist", "red%1B%5B31m.zip", None, None)),
        ("bytes-\udcff.zip", "", ("sdist", "bytes-%FF.zip", None, None)),
    ],
)
async def test_what_a_file_tells(scene: Scene, filename: str, name: str, expected: tuple[str, ...]) -> None:
    file = scene.folder / filename
    file.write_bytes(b"content")
    digest = hashlib.sha256(b"content").hexdigest()
    request = parse_request(f"{name}./{filename}" if not name else f"{name}{file.as_uri()}", cwd=scene.folder)
    with scene.context() as ctx:
        (dist,) = await scene.source.find(request, ctx)

    assert (dist.kind, dist.filename, dist.name, dist.version) == expected
    assert (dist.content, dist.hashes, dist.size) == (f"sha256:{digest}", {"sha256": digest}, 7)
    assert dist.locator == {"path": str(file)}


async def test_a_wheel_of_another_project(scene: Scene) -> None:
    (scene.folder / WHEEL).touch()
    error = await scene.error(f"other @ {(scene.folder / WHEEL).as_uri()}")
    assert (type(error), error.code) == (RequirementError, "names-disagree")
    assert f"`{WHEEL}` is a wheel of `acme`" in str(error)


async def test_a_file_cannot_be_edited(scene: Scene) -> None:
    (scene.folder / "file").touch()
    assert "cannot be edited" in str(await scene.error("-e ./file"))


@pytest.mark.parametrize("name", ["gone", "project/gone/deeper", "project/pyproject.toml/below", "dangling"])
async def test_what_is_not_there(scene: Scene, name: str) -> None:
    (scene.folder / "dangling").symlink_to("nowhere")
    error = await scene.error(f"./{name}")
    assert (type(error), error.code) == (SourceError, "path-not-found")
    assert str(scene.folder / name) in str(error)


async def test_a_path_through_links_and_dots(scene: Scene) -> None:
    (scene.folder / "elsewhere").mkdir()
    (scene.folder / "elsewhere/link").symlink_to(scene.project / "src")
    direct = await scene.find()
    assert (direct.filename, direct.locator) == ("project", {"path": str(scene.project)})
    for text in ("./elsewhere/link/..", "./project/", "./project/src/..", f"file://{scene.project}"):
        assert await scene.find(text) == direct  # `..` of a link is the folder above its target


async def test_a_folder_tells(scene: Scene) -> None:
    dist = await scene.find(f"acme @ file://{scene.project}")
    assert (dist.kind, dist.name, dist.version, dist.editable, dist.scm) == ("tree", "acme", None, False, None)
    assert dist.content == tree_content(scene.project)
    assert dist.hashes == {}


@pytest.mark.parametrize("name", ["pyproject.toml", "setup.py", "setup.cfg"])
@pytest.mark.parametrize("subdirectory", ["", "libs/one"])
async def test_a_folder_without_a_project(scene: Scene, name: str, subdirectory: str) -> None:
    folder = scene.folder / "other"
    write(folder, {"README": "", "libs/one/README": ""})
    write(folder, {"libs/pyproject.toml" if subdirectory else "libs/one/pyproject.toml": ""})
    text = f"file://{folder}" + (f"#subdirectory={subdirectory}" if subdirectory else "")

    error = await scene.error(text)
    assert error.code == "no-project"
    assert str(folder / subdirectory) in str(error)

    (folder / subdirectory / name).touch()
    assert (await scene.find(text)).subdirectory == (subdirectory or None)


async def test_a_subdirectory_that_is_not_there(scene: Scene) -> None:
    assert (await scene.error(f"file://{scene.project}#subdirectory=gone")).code == "no-project"


async def test_a_subdirectory_that_leads_out(scene: Scene) -> None:
    write(scene.folder, {"outside/pyproject.toml": PYPROJECT})
    (scene.project / "link").symlink_to("../outside")
    error = await scene.error(f"file://{scene.project}#subdirectory=link")
    assert (type(error), error.code) == (RequirementError, "no-project")
    assert "leads out of" in str(error)


async def test_keys(scene: Scene) -> None:
    write(scene.folder, {"other/project/pyproject.toml": "", "project/one/setup.py": "", f"archives/{SDIST}": ""})
    texts = {
        "plain": "./project",
        "editable": "-e ./project",
        "inner": f"file://{scene.project}#subdirectory=one",
        "both": f"-e file://{scene.project}#subdirectory=one",
        "other": "./other/project",
        "file": f"./archives/{SDIST}",
        "inner file": f"file://{scene.folder}/archives/{SDIST}#subdirectory=one",
    }
    keys = {what: scene.source.cache_key(await scene.find(text)).parts for what, text in texts.items()}
    place = keys["plain"][0]
    assert keys["plain"] == (place, "project")
    assert keys["editable"] == (place, "editable", "project")
    assert keys["inner"] == (place, "subdirectory=one", "project")
    assert keys["both"] == (place, "editable", "subdirectory=one", "project")
    assert keys["other"][0] != place
    assert keys["file"][1:] == (SDIST,)
    assert keys["inner file"] == (keys["file"][0], "subdirectory=one", SDIST)
    assert len(place) == 16


async def test_editable_folders_that_are_equal(scene: Scene) -> None:
    shutil.copytree(scene.project, scene.folder / "twin", symlinks=True)
    plain = [await scene.content(text) for text in ("./project", "./twin")]
    editable = [await scene.content(text) for text in ("-e ./project", "-e ./twin")]
    assert plain[0] == plain[1]
    assert len({plain[0], *editable}) == 3


@pytest.mark.parametrize(
    ("found", "known", "code"),
    [
        (("tree:1", None), ("tree:1", None), ""),
        (("tree:1", "v1"), ("tree:1", "v1"), ""),
        (("tree:2", None), ("tree:1", None), "content-changed"),
        (("tree:1", "v2"), ("tree:1", "v1"), "scm-changed"),
        (("tree:1", None), ("tree:1", "v1"), "scm-changed"),
        (("sha256:2", None), (None, None), "content-changed"),
    ],
)
async def test_what_was_found_decides(
    found: tuple[str, str | None], known: tuple[str | None, str | None], code: str
) -> None:
    dist = Dist(source="path", kind="sdist", filename="acme", content=found[0], scm=found[1])
    validators = {"kept": 1, **({"scm": known[1]} if known[1] else {})}
    entry = Entry(content=known[0], validators=validators)
    verdict = await LocalPath("path", {}).check_freshness(dist, entry, cast(Context, None))
    if code:
        assert isinstance(verdict, Stale)
        assert verdict.code == code
        assert " -> " in verdict.evidence
    else:
        assert verdict == Fresh(validators=validators)


# The content of a folder


def add(path: str, text: str = "new\n") -> Callable[[Path], None]:
    return lambda project: write(project, {path: text})


CHANGES: dict[str, Callable[[Path], Any]] = {
    "a byte": add("src/acme/__init__.py", "x = 2\n"),
    "a new file": add("src/acme/new.py"),
    "a new empty file": add("src/acme/new.py", ""),
    "a new folder": lambda project: (project / "new").mkdir(),
    "a file is gone": lambda project: (project / "run").unlink(),
    "a folder is gone": lambda project: (project / "empty").rmdir(),
    "a file is renamed": lambda project: (project / "run").rename(project / "walk"),
    "a file is moved": lambda project: (project / "run").rename(project / "src/run"),
    "not executable": lambda project: (project / "run").chmod(0o644),
    "executable": lambda project: (project / "pyproject.toml").chmod(0o755),
    "a link leads elsewhere": lambda p: ((p / "here").unlink(), (p / "here").symlink_to("src")),
    "a link is gone": lambda project: (project / "here").unlink(),
    "a package called build": add("build/__init__.py"),
    "a package called dist": add("dist/__init__.py"),
    "a program called build": add("build", "#!/bin/sh\n"),
    "a folder called build below": add("src/build/x.py"),
    "a folder called dist below": add("src/dist/acme.whl"),
    "a hidden file": add(".hidden"),
    "a module of bytecode": add("src/acme/x.pyc"),
    "a tag that is none": add("tagged/CACHEDIR.TAG", "Signature: other"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.usefixtures("later")
async def test_what_changes_the_content(scene: Scene, change: Callable[[Path], Any]) -> None:
    before = await scene.content()
    change(scene.project)
    assert await scene.content() != before
    assert await scene.content() == tree_content(scene.project)


def touch(project: Path) -> None:
    for path in project.rglob("*"):
        os.utime(path, (1, 1), follow_symlinks=False)


SAME: dict[str, Callable[[Path], Any]] = {
    "touched": touch,
    "group may write": lambda project: (project / "run").chmod(0o775),
    "bytecode": add("src/acme/__pycache__/x.pyc"),
    "git": add(".git/HEAD"),
    "git of a work tree": add(".git"),
    "git deeper": add("src/acme/.git"),
    "mercurial": add(".hg/store"),
    "subversion": add("src/.svn/entries"),
    "a virtual environment": lambda p: write(p, {"any/pyvenv.cfg": "", "any/bin/python": ""}),
    "what was built": lambda p: write(p, {"dist/acme-1.0-py3-none-any.whl": "1", "dist/acme-1.0.tar.gz": "2"}),
    "anything in dist": add("dist/acme.py"),
    "an empty folder dist": lambda p: (p / "dist").mkdir(),
    "what a build left": add("build/lib/acme/__init__.py"),
    "a folder build elsewhere": lambda p: ((p.parent / "out").mkdir(), (p / "build").symlink_to("../out")),
    "what setuptools wrote": lambda p: write(p, {"acme.egg-info/PKG-INFO": "", "src/acme.egg-info/PKG-INFO": ""}),
    "bytecode beside its source": add("src/acme/__init__.pyc"),
    **{name: add(f"src/{name}/file") for name in (".bzr", ".jj", "_darcs", "CVS", ".tox", ".nox", ".eggs")},
    **{name: add(f"{name}/file") for name in (".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis")},
    "a cache": lambda p: write(p, {"src/any/CACHEDIR.TAG": SIGNATURE, "src/any/deep/file": ""}),
    "a virtual environment elsewhere": lambda p: (
        write(p.parent, {"venv/pyvenv.cfg": ""}),
        (p / ".venv").symlink_to("../venv"),
    ),
    "a FIFO in a cache": lambda p: (write(p, {"any/CACHEDIR.TAG": SIGNATURE}), os.mkfifo(p / "any/fifo")),
}


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
async def test_what_does_not_change_the_content(scene: Scene, change: Callable[[Path], Any]) -> None:
    before = await scene.content()
    change(scene.project)
    assert await scene.content() == before
    with scene.context() as ctx:
        fetched = await scene.source.fetch(await scene.find(), ctx)
        assert fetched.content == before
        assert names(fetched.path) == {"pyproject.toml", "src", "src/acme", "src/acme/__init__.py", "run", *RESTS}


RESTS = ("empty", "here")


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_the_tree_itself_is_never_left_out(tmp_path: Path) -> None:
    write(tmp_path, {"pyvenv.cfg": "", "CACHEDIR.TAG": SIGNATURE, "file": ""})
    listing = listing_of(str(tmp_path), nothing)
    assert [item.path for item in listing.items] == ["CACHEDIR.TAG", "file", "pyvenv.cfg"]


def test_names_and_what_is_held_do_not_run_together(tmp_path: Path) -> None:
    seen = set()
    trees = [{"a": "b", "c": ""}, {"a": "", "bc": ""}, {"ab": "", "c": ""}, {"a/b": "", "c": ""}]
    for number, files in enumerate(trees):
        write(tmp_path / str(number), files)
        seen.add(tree_content(tmp_path / str(number)))
    assert len(seen) == 4
    assert Content().hexdigest() not in seen


async def test_names_of_any_bytes(scene: Scene) -> None:
    before = await scene.content()
    name = os.fsdecode(b"latin-\xff.py")
    (scene.project / name).touch()
    (scene.project / "new\nline").symlink_to(name)
    after = await scene.content()
    assert after == await scene.content() != before
    with scene.context() as ctx:
        fetched = await scene.source.fetch(await scene.find(), ctx)
        assert (fetched.content, (fetched.path / name).exists()) == (after, True)


def test_a_path_may_be_very_deep(tmp_path: Path) -> None:
    """Deeper than Python calls functions; it is taken away again, as pytest could not."""
    folders = [str(tmp_path)]
    for _ in range(1200):
        folders.append(f"{folders[-1]}/d")
        os.mkdir(folders[-1])  # noqa: PTH102  # a Path of that many parts is slow
    try:
        assert len(listing_of(str(tmp_path), nothing).items) == 1200
    finally:
        for folder in folders[:0:-1]:
            os.rmdir(folder)  # noqa: PTH106


# What is remembered of files


def can_step(scene: Scene, text: str | None = None) -> bool:
    """Whether `find` answers without reading a file, without an event loop."""
    with scene.context() as ctx:
        try:
            step(scene.source.find(parse_request(text or str(scene.project), cwd=scene.folder), ctx))
        except NotSteppable:
            return False
    return True


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("text", ["./project", f"./{SDIST}", f"./{WHEEL}", "-e ./project"])
async def test_a_file_that_did_not_change_is_not_read_again(scene: Scene, text: str) -> None:
    for name in (SDIST, WHEEL):
        (scene.folder / name).write_bytes(b"content")
    assert not can_step(scene, text)
    await scene.find(text)
    assert can_step(scene, text)


async def test_a_file_that_changed_just_now_is_read_again(scene: Scene) -> None:
    await scene.find()
    assert not can_step(scene)


@pytest.mark.usefixtures("later")
async def test_a_file_of_the_present_is_read_again(scene: Scene) -> None:
    """It was written in the two seconds around the reading, as far as its times say."""
    now = content.time.time_ns()
    os.utime(scene.project / "run", ns=(now, now))
    await scene.find()
    assert not can_step(scene)
    os.utime(scene.project / "run", ns=(now + 10**11, now + 10**11))
    await scene.find()
    assert can_step(scene)


@pytest.mark.usefixtures("later")
async def test_a_byte_changed_with_the_time_set_back(scene: Scene) -> None:
    for path in ("pyproject.toml", "src/acme/__init__.py", "run"):
        before = await scene.content()
        file = scene.project / path
        status = file.stat()
        text = file.read_text()
        file.write_text(text.swapcase())
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert (file.stat().st_size, file.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
        assert await scene.content() != before


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("document", [None, [], "text", {"run": 1}, {"run": "no stamp"}, {"run": None, "gone": "1 2"}])
async def test_what_is_remembered_may_be_anything(scene: Scene, document: Any) -> None:
    content_id = await scene.content()
    with scene.context() as ctx:
        memo = ctx.memo(hashlib.sha256(os.fsencode(scene.project)).hexdigest()[:16])
        assert set(memo.get()) == {"pyproject.toml", "src/acme/__init__.py", "run"}
        memo.set(document)
    assert await scene.content() == content_id


@pytest.mark.usefixtures("later")
async def test_what_is_gone_is_forgotten(scene: Scene) -> None:
    await scene.find()
    (scene.project / "run").unlink()
    await scene.find()
    with scene.context() as ctx:
        memo = ctx.memo(hashlib.sha256(os.fsencode(scene.project)).hexdigest()[:16])
        assert "run" not in memo.get()


@pytest.mark.usefixtures("later")
def test_no_more_is_remembered_than_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "MOST_REMEMBERED", 3)
    write(tmp_path, {f"{number}.py": "" for number in range(5)})
    remembered = Remembered(None)
    first = content_of(listing_of(str(tmp_path), nothing), remembered, nothing).hexdigest()
    assert len(remembered.news()) == 3
    again = Remembered(remembered.news())
    assert content_of(listing_of(str(tmp_path), nothing), again, nothing).hexdigest() == first
    assert again.news() is None


# Links


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("src/acme", True),
        ("./src/../run", True),
        (".", True),
        ("here/__init__.py", True),
        ("nowhere", True),
        ("../nowhere", True),
        ("/nowhere/at/all", True),
        ("../LICENSE", False),
        ("../project/run", False),
        ("../shared", False),
        ("out/LICENSE", False),
        ("ABSOLUTE", False),
    ],
)
async def test_where_links_lead(scene: Scene, text: str, kept: bool) -> None:
    """One that stays in the tree, or leads nowhere, is kept; for any other stands what it leads to."""
    write(scene.folder, {"LICENSE": "MIT", "shared/LICENSE": "MIT", "shared/.git": "", "shared/run": ""})
    (scene.project / "out").symlink_to("../shared")
    link = scene.project / "link"
    link.symlink_to(str(scene.project / "run") if text == "ABSOLUTE" else text)

    before = await scene.find()
    with scene.context() as ctx:
        fetched = await scene.source.fetch(before, ctx)
        copy = fetched.path / "link"
        assert copy.is_symlink() is kept
        assert fetched.content == before.content == tree_content(scene.project)
        if kept:
            assert str(copy.readlink()) == str(link.readlink())
        elif copy.is_dir():
            assert names(copy) == {"LICENSE", "run"}
        else:
            assert copy.read_bytes() == link.read_bytes()


@pytest.mark.usefixtures("later")
async def test_what_a_link_leads_to_is_content(scene: Scene) -> None:
    write(scene.folder, {"LICENSE": "MIT", "shared/one.py": "1"})
    (scene.project / "LICENSE").symlink_to("../LICENSE")
    (scene.project / "shared").symlink_to(scene.folder / "shared")
    seen = [await scene.content()]
    write(scene.folder, {"LICENSE": "BSD"})
    seen.append(await scene.content())
    write(scene.folder, {"shared/two.py": "2"})
    seen.append(await scene.content())
    assert len(set(seen)) == 3


async def test_links_within_a_folder_outside_stay_links(scene: Scene) -> None:
    write(scene.folder, {"shared/one.py": "1", "other.py": "3"})
    (scene.folder / "shared/two.py").symlink_to("one.py")
    (scene.folder / "shared/three.py").symlink_to("../other.py")
    (scene.project / "shared").symlink_to("../shared")
    with scene.context() as ctx:
        copy = (await scene.source.fetch(await scene.find(), ctx)).path / "shared"
        assert (copy / "two.py").is_symlink()
        assert not (copy / "three.py").is_symlink()
        assert [(copy / f"{name}.py").read_text() for name in ("one", "two", "three")] == ["1", "1", "3"]


LOOPS: dict[str, dict[str, str]] = {
    "to itself": {"project/loop": "loop"},
    "to each other": {"project/one": "two", "project/two": "one"},
    "to the folder above": {"project/src/loop": "../.."},
    "to the root": {"project/loop": "/"},
    "to the project, absolute": {"project/loop": "PROJECT"},
    "through another folder": {"project/out": "../other", "other/back": "../project"},
    "between other folders": {"project/out": "../other", "other/next": "../third", "third/next": "../other"},
    "into a part of the project": {"project/src/out": "../../other", "other/back": "../project/src"},
}


@pytest.mark.parametrize("links", LOOPS.values(), ids=LOOPS)
async def test_links_that_lead_in_a_circle(scene: Scene, links: dict[str, str]) -> None:
    for path, text in links.items():
        (scene.folder / path).parent.mkdir(exist_ok=True)
        (scene.folder / path).symlink_to(text.replace("PROJECT", str(scene.project)))
    error = await scene.error()
    assert error.code == "link-loop"
    assert str(scene.folder) in str(error)


@pytest.mark.parametrize("text", ["./loop", "./loop/project"])
async def test_a_path_that_is_a_loop(scene: Scene, text: str) -> None:
    (scene.folder / "loop").symlink_to("loop")
    assert (await scene.error(text)).code == "link-loop"


# What is not opened


def fifo(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def link_to_a_fifo(path: Path) -> None:
    os.mkfifo(path.with_name("fifo.outside"))
    path.symlink_to("fifo.outside")


@pytest.mark.parametrize("make", [fifo, unix_socket, link_to_a_device, link_to_a_fifo])
@pytest.mark.parametrize("name", ["special", "special.tar.gz", WHEEL, "project/special", "project/src/pyproject.toml"])
async def test_what_is_no_file_is_refused_at_once(scene: Scene, make: Callable[[Path], None], name: str) -> None:
    make(scene.folder / name)
    error = await scene.error(None if name.startswith("project/") else f"./{name}")
    assert (type(error), error.code) == (SourceError, "special-file")
    assert str(scene.folder) in str(error)


@pytest.mark.parametrize("name", ["pyproject.toml", "setup.py"])
async def test_a_project_of_fifos_is_no_project(scene: Scene, name: str) -> None:
    (scene.folder / "fifos").mkdir()
    os.mkfifo(scene.folder / "fifos" / name)
    assert (await scene.error("./fifos")).code == "no-project"


NOBODY = """
import os, sys
import anyio._backends._asyncio, encodings.idna
from pathlib import Path
from felloe.errors import FelloeError
from felloe_path.content import Remembered, content_of
from felloe_path.reading import located
from felloe_path.tree import listing_of

if os.getuid() == 0:
    os.setuid(65534)
try:
    path, _ = located(Path(sys.argv[1]))
    content_of(listing_of(str(path), lambda: None), Remembered(None), lambda: None)
except FelloeError as error:
    print(error.code, error)
"""


@pytest.mark.parametrize(
    ("asked", "closed", "named"),
    [
        ("project", "project/closed/file", "project/closed/file"),
        ("project", "project/closed", "project/closed"),
        ("project/closed", "project", "project/closed"),
        ("linked", "project/closed", "linked/link"),
    ],
)
def test_what_may_not_be_read(asked: str, closed: str, named: str) -> None:
    with shared_folder() as folder:
        write(folder, {"project/closed/file": "", "linked/pyproject.toml": ""})
        (folder / "linked/link").symlink_to("../project/closed/file")
        (folder / closed).chmod(0)
        done = subprocess.run(
            [sys.executable, "-c", NOBODY, str(folder / asked)],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout == f"unreadable `{folder / named}` cannot be read: Permission denied\n"


# Copies


async def test_a_copy_is_what_was_found(scene: Scene) -> None:
    os.utime(scene.project / "run", (86_400, 86_400))
    os.utime(scene.project / "pyproject.toml", ns=(0, 1_700_000_000_123_456_789))
    (scene.project / "src/acme/__init__.py").chmod(0o400)
    before = everything(scene.project)
    with scene.context() as ctx:
        dist = await scene.find()
        fetched = await scene.source.fetch(dist, ctx)
        again = await scene.source.fetch(dist, ctx)
        copy = fetched.path
        assert (fetched.content, fetched.scm, fetched.editable_root) == (dist.content, None, None)
        assert copy.is_relative_to(ctx.scratch)
        assert copy.name == "project"
        assert again.path != copy
        assert names(copy) == names(scene.project)
        assert tree_content(copy) == dist.content

        modes = [stat.S_IMODE((copy / name).stat().st_mode) for name in ("run", "src/acme/__init__.py")]
        umask = os.umask(0o022)
        os.umask(umask)
        assert modes == [0o755 & ~umask, 0o644 & ~umask]
        assert (copy / "pyproject.toml").stat().st_mtime_ns == 1_700_000_000_123_456_789
        assert (copy / "run").stat().st_mtime == 315_619_200
        assert str((copy / "here").readlink()) == "src/acme"
        (copy / "run").write_text("changed")
    assert everything(scene.project) == before


async def test_the_root_of_an_editable_tree(scene: Scene) -> None:
    (scene.folder / "link").symlink_to("project")
    with scene.context() as ctx:
        dist = await scene.find("-e ./link")
        fetched = await scene.source.fetch(dist, ctx)
    assert (fetched.editable_root, fetched.content) == (scene.project, dist.content)
    assert fetched.path != scene.project


@pytest.mark.parametrize("make", [make_sdist, make_wheel])
async def test_a_file_is_copied(scene: Scene, make: Any) -> None:
    file = make(scene.folder, Project("acme", "1.0"))
    before = everything(scene.folder / file.name)
    with scene.context() as ctx:
        fetched = await scene.source.fetch(await scene.find(f"./{file.name}"), ctx)
        assert fetched.path.is_relative_to(ctx.scratch)
        assert fetched.path.read_bytes() == file.read_bytes()
        assert not fetched.path.samefile(file)
    assert everything(scene.folder / file.name) == before


@pytest.mark.parametrize("name", [SDIST, "project"])
async def test_what_is_gone_when_it_is_fetched(scene: Scene, name: str) -> None:
    (scene.folder / SDIST).touch()
    dist = await scene.find(f"./{name}")
    (scene.folder / name).rename(scene.folder / "moved")
    with scene.context() as ctx, pytest.raises(SourceError) as raised:
        await scene.source.fetch(dist, ctx)
    assert raised.value.code == "path-not-found"


class Meanwhile:
    """Somebody who changes a tree in the middle: called between files, it does its work the `when`th time."""

    def __init__(self, when: int, work: Callable[[], Any]) -> None:
        self.calls = 0
        self.when = when
        self.work = work

    def __call__(self) -> None:
        self.calls += 1
        if self.calls == self.when:
            self.work()


def rewrite(project: Path) -> None:
    for path in project.rglob("*"):
        if path.is_file():
            path.write_text("rewritten")


MEANWHILE: dict[str, Callable[[Path], Any]] = {
    "files change": rewrite,
    "files vanish": lambda project: [path.unlink() for path in project.rglob("*") if path.is_file()],
    "folders vanish": lambda project: shutil.rmtree(project / "src"),
    "a file grows": lambda project: (project / "run").write_text("x" * 5_000_000),
}


@pytest.mark.parametrize("when", range(1, 12))
@pytest.mark.parametrize("work", MEANWHILE.values(), ids=MEANWHILE)
async def test_what_was_copied_is_what_is_hashed(scene: Scene, work: Callable[[Path], Any], when: int) -> None:
    somebody = Meanwhile(when, lambda: work(scene.project))
    copy = scene.folder / "copy"
    copied = copy_tree(str(scene.project), copy, somebody)
    assert f"tree:{copied.content.hexdigest()}" == tree_content(copy)


class States:
    """The states of a project one after the other: in each, all files hold its number."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.number = 0
        self.next()

    def next(self) -> None:
        self.number += 1
        write(self.project, dict.fromkeys(("a", "m", "z"), str(self.number)))

    def held(self, folder: Path) -> set[str]:
        return {(folder / name).read_text() for name in ("a", "m", "z")}


@pytest.mark.parametrize("text", ["./project", "-e ./project"])
@pytest.mark.parametrize("name", ["a", "m", "z"])
async def test_a_copy_is_of_one_state(scene: Scene, name: str, text: str) -> None:
    states = States(scene.project)
    with scene.context() as ctx:
        dist = await scene.find(text)
        with writing_meanwhile(Writer(ctx.scratch, name, states.next, most=1)) as writer:
            fetched = await scene.source.fetch(dist, ctx)
        assert (states.held(fetched.path), writer.copies) == ({"2"}, 2)
        assert fetched.content == await scene.content(text) != dist.content
        assert list(ctx.scratch.iterdir()) == [fetched.path.parent]


async def test_what_changed_since_it_was_found(scene: Scene) -> None:
    states = States(scene.project)
    dist = await scene.find()
    states.next()
    with scene.context() as ctx:
        fetched = await scene.source.fetch(dist, ctx)
        assert (states.held(fetched.path), fetched.content) == ({"2"}, await scene.content())


async def test_what_changes_all_the_time(scene: Scene) -> None:
    states = States(scene.project)
    with scene.context() as ctx:
        dist = await scene.find()
        writer = Writer(ctx.scratch, "m", states.next)
        with writing_meanwhile(writer), pytest.raises(SourceChangedError) as raised:
            await scene.source.fetch(dist, ctx)
        assert (writer.copies, list(ctx.scratch.iterdir())) == (3, [])
    assert (raised.value.code, bool(raised.value.hint)) == ("source-changed", True)
    assert f"`{scene.project}`" in str(raised.value)


async def test_what_changes_and_does_not_count(scene: Scene) -> None:
    states = States(scene.project)
    exclude(scene.project, "/log")
    with scene.context() as ctx:
        dist = await scene.find()
        with writing_meanwhile(Writer(ctx.scratch, "m", lambda: write(scene.project, {"log": "more"}))):
            fetched = await scene.source.fetch(dist, ctx)
        assert (fetched.content, states.held(fetched.path)) == (dist.content, {"1"})


async def test_nobody_waits_any_more(scene: Scene) -> None:
    """Reading a terabyte of nothing would take an hour."""
    with (scene.project / "endless").open("wb") as file:
        try:
            file.truncate(2**40)
        except OSError:
            pytest.skip("the file system has no files of that size")
    with anyio.fail_after(20):
        with anyio.move_on_after(0.1) as scope:
            await scene.find()
    assert scope.cancelled_caught


async def test_copying_for_nobody(scene: Scene) -> None:
    dist = await scene.find()
    with anyio.CancelScope() as scope, scene.context() as ctx:
        scope.cancel()
        await scene.source.fetch(dist, ctx)
    assert scope.cancelled_caught


async def test_thousands_of_files_are_quick(scene: Scene) -> None:
    write(scene.project, {f"many/{number % 50}/{number}.py": str(number) for number in range(2000)})
    with anyio.fail_after(5), scene.context() as ctx:
        dist = await scene.find()
        assert (await scene.source.fetch(dist, ctx)).content == dist.content


async def test_a_cache_in_the_folder_is_no_part_of_it(tmp_path: Path) -> None:
    write(tmp_path, {"pyproject.toml": PYPROJECT})
    config = Config(cache_dir=tmp_path / "inside/cache", replaced_kinds=frozenset({"pypi"}))
    source = LocalPath("path", {})
    async with Database(config, sources=[]) as database:
        with ItemContext(database.services, Owner("path", "path", ""), newer_than=None) as ctx:
            (first,) = await source.find(parse_request(str(tmp_path)), ctx)
            assert ctx.scratch.is_dir()
            (before,) = await source.find(parse_request(str(tmp_path)), ctx)
            fetched = await source.fetch(before, ctx)
            assert fetched.content == before.content
            assert names(fetched.path) == {"pyproject.toml", "inside"}
    assert first.locator == before.locator


# git


def git(folder: Path, *arguments: str) -> str:
    """What git prints, with nobody's configuration."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    person = {f"GIT_{role}_{key}": "acme@example.com" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    fixed = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_OPTIONAL_LOCKS": "0"}
    done = subprocess.run(
        ["git", "-c", "protocol.file.allow=always", *arguments],
        cwd=folder,
        env={**environ, **person, **fixed},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


SCM = '[build-system]\nrequires = ["setuptools-scm"]\n[project]\nname = "acme"\ndynamic = ["version"]\n'


class Work(Scene):
    """Its project is at `inner` in a git repository, with a commit and a tag before it."""

    def __init__(self, folder: Path, database: Database) -> None:
        super().__init__(folder, database)
        self.top = self.project

    def begin(self, inner: str = "", *options: str) -> None:
        if inner:
            self.top = self.folder / "repository"
            self.top.mkdir()
            moved = self.top / inner
            moved.parent.mkdir(parents=True, exist_ok=True)
            self.project.rename(moved)
            self.project = moved
            write(self.top, {"LICENSE": "MIT", "other/setup.py": ""})
        write(self.project, {"pyproject.toml": SCM})
        git(self.top, "init", "--quiet", "-b", "main", *options)
        self.commit("v1.0")

    def commit(self, tag: str = "") -> None:
        git(self.top, "add", "--all")
        git(self.top, "commit", "--quiet", "--allow-empty", "-m", "change")
        if tag:
            git(self.top, "tag", tag)

    async def copy(self, check: Callable[[Path], Any], text: str | None = None) -> Any:
        """What `check` gives for the copy, which is what was found; nothing of the repository is written to."""
        before = self.held()
        dist = await self.find(text)
        with self.context() as ctx:
            fetched = await self.source.fetch(dist, ctx)
            assert (fetched.content, fetched.scm) == (dist.content, dist.scm)
            result = check(fetched.path)
        assert self.held() == before
        return result

    def held(self) -> dict[str, Any]:
        """All in the repository. Git itself sets the time of a shared index whenever it reads it."""
        return {path: held for path, held in everything(self.top).items() if "/sharedindex." not in path}


@pytest.fixture
async def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Work]:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    config = Config(cache_dir=tmp_path / "cache", replaced_kinds=frozenset({"pypi"}))
    async with Database(config, sources=[]) as database:
        yield Work(tmp_path, database)


def described(folder: Path) -> list[str]:
    """What version tools ask."""
    return [
        git(folder, "describe", "--dirty", "--tags", "--long", "--match", "*[0-9]*"),
        git(folder, "status", "--porcelain", "--untracked-files=no", "."),
        git(folder, "rev-parse", "--abbrev-ref", "HEAD"),
        git(folder, "rev-parse", "--show-prefix"),
        git(folder, "ls-files"),
        git(folder, "tag", "--merged"),
        git(folder, "log", "--format=%H %an %ad"),
    ]


def out_of_sight(work: Work) -> None:
    """Tracked, but no part of the tree."""
    write(work.project, {"venv/pyvenv.cfg": "", "venv/lib/x.py": "", "src/__pycache__/x.pyc": "x"})
    (work.project / "LICENSE").symlink_to("../LICENSE")
    (work.top.parent / "LICENSE").write_text("MIT")
    work.commit("v1.1")


def sparse(work: Work) -> None:
    write(work.top, {"unwanted/file": ""})
    work.commit()
    git(work.top, "sparse-checkout", "set", "--no-cone", "/*", "!/unwanted/")


def with_submodule(work: Work) -> None:
    other = work.folder / "submodule"
    write(other, {"file": "1"})
    git(other, "init", "--quiet")
    git(other, "add", ".")
    git(other, "commit", "--quiet", "-m", "one")
    git(work.top, "submodule", "--quiet", "add", str(other), "sub")
    work.commit("v1.2")


def with_line_ends(work: Work) -> None:
    git(work.top, "config", "core.autocrlf", "true")
    (work.project / "dos.txt").write_bytes(b"one\r\ntwo\r\n")
    work.commit()


def with_a_filter(work: Work) -> None:
    git(work.top, "config", "filter.up.clean", "tr a-z A-Z")
    write(work.project, {".gitattributes": "*.low filter=up\n", "x.low": "low\n"})
    work.commit()


REPOSITORIES: dict[str, Callable[[Work], Any]] = {
    "clean": lambda w: None,
    "detached": lambda w: git(w.top, "checkout", "--quiet", "--detach"),
    "on a branch": lambda w: git(w.top, "checkout", "--quiet", "-b", "feature/one"),
    "a commit later": lambda w: w.commit(),
    "annotated": lambda w: git(w.top, "tag", "-a", "-m", "two", "v2.0"),
    "packed": lambda w: (git(w.top, "pack-refs", "--all"), git(w.top, "gc", "--quiet")),
    "modified": lambda w: write(w.project, {"run": "changed"}),
    "not executable": lambda w: (w.project / "run").chmod(0o644),
    "deleted": lambda w: (w.project / "run").unlink(),
    "untracked": lambda w: write(w.project, {"new": ""}),
    "staged": lambda w: (write(w.project, {"new": ""}), git(w.top, "add", ".")),
    "unstaged by intent": lambda w: (write(w.project, {"new": ""}), git(w.top, "add", "-N", ".")),
    "removed from the index": lambda w: git(w.project, "rm", "--quiet", "--cached", "run"),
    "split index": lambda w: git(w.top, "update-index", "--split-index"),
    "untracked cache": lambda w: git(w.top, "update-index", "--force-untracked-cache"),
    "out of sight": out_of_sight,
    "sparse": sparse,
    "submodule": with_submodule,
    "line ends": with_line_ends,
    "filter": with_a_filter,
}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # what git says does not depend on the event loop
@pytest.mark.parametrize("inner", ["", "libs/acme"])
@pytest.mark.parametrize("change", REPOSITORIES.values(), ids=REPOSITORIES)
async def test_a_copy_tells_the_version(work: Work, change: Callable[[Work], Any], inner: str) -> None:
    work.begin(inner)
    change(work)
    assert await work.copy(described) == described(work.project)


async def test_the_names_of_folders_above_stay(work: Work) -> None:
    work.begin("libs/acme")
    assert (await work.copy(lambda copy: copy.parts[-3:])) == ("repository", "libs", "acme")


async def test_what_changed_beside_the_project_is_not_dirty(work: Work) -> None:
    work.begin("libs/acme")
    clean = described(work.project)
    write(work.top, {"LICENSE": "BSD"})
    assert described(work.top)[0].endswith("-dirty")
    assert await work.copy(described) == clean


async def test_a_repository_of_many_files(work: Work) -> None:
    work.begin("libs/acme")
    write(work.top, {f"other/{'long' * 50}/{number}": "" for number in range(600)})
    work.commit()
    assert await work.copy(described) == described(work.project)


async def test_a_repository_of_sha256(work: Work) -> None:
    work.begin("", "--object-format=sha256")
    assert await work.copy(described) == described(work.project)


async def test_a_linked_work_tree(work: Work) -> None:
    work.begin()
    git(work.top, "worktree", "add", "--quiet", str(work.folder / "linked"), "-b", "other")
    work.project = work.folder / "linked"
    write(work.project, {"new": ""})
    git(work.project, "add", "new")
    assert await work.copy(described) == described(work.project)


async def test_a_shallow_clone(work: Work) -> None:
    work.begin()
    work.commit()
    work.commit("v2.0")
    git(work.folder, "clone", "--quiet", "--depth=1", work.top.as_uri(), "shallow")
    work.project = work.folder / "shallow"
    assert await work.copy(described) == described(work.project)


async def test_a_repository_in_a_subdirectory(work: Work) -> None:
    """The tree that is asked for is larger than it."""
    work.begin("libs/acme")
    write(work.folder / "repository", {"setup.py": ""})
    inside = work.folder / "repository/libs/acme"
    git(inside, "init", "--quiet", "-b", "inner")
    git(inside, "add", ".")
    git(inside, "commit", "--quiet", "-m", "inner")
    git(inside, "tag", "v7.0")
    write(inside, {"run": "changed"})

    text = f"file://{work.top}#subdirectory=libs/acme"
    assert await work.copy(lambda copy: described(copy / "libs/acme"), text) == described(inside)


async def test_a_project_behind_a_link(work: Work) -> None:
    work.begin("libs/acme")
    (work.top / "link").symlink_to("libs/acme")
    text = f"file://{work.top}#subdirectory=link"
    assert (await work.copy(lambda copy: described(copy / "link"), text))[0] == described(work.project)[0]


@pytest.mark.parametrize("inner", ["", "libs/acme"])
async def test_a_project_that_asks_where_nobody_sees_it(work: Work, inner: str) -> None:
    """What its files do not say decides nothing, but is not kept from it."""
    work.begin(inner)
    write(work.project, {"pyproject.toml": PYPROJECT, "setup.py": "from tools.number import number\n"})
    write(work.project, {"tools/number.py": "import os\nnumber = os.popen('git ' + 'describe').read()\n"})
    work.commit("v2.0")
    before = await work.find()
    assert before.scm is None
    assert await work.copy(described) == described(work.project)
    git(work.top, "tag", "v3.0")
    assert await work.find() == before


async def test_all_references(work: Work) -> None:
    work.begin()
    git(work.top, "checkout", "--quiet", "-b", "other/branch")
    git(work.top, "commit", "--quiet", "--allow-empty", "-m", "other")
    git(work.top, "tag", "-a", "-m", "nine", "v9.0")
    git(work.top, "checkout", "--quiet", "main")
    git(work.top, "update-ref", "refs/remotes/origin/main", "HEAD")
    git(work.top, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
    git(work.top, "notes", "add", "-m", "note")

    def references(folder: Path) -> list[str]:
        listed = git(folder, "for-each-ref", "--format=%(objectname) %(*objectname) %(refname) %(symref)")
        return [listed, git(folder, "rev-parse", "--abbrev-ref", "origin/HEAD"), git(folder, "log", "--all", "--notes")]

    expected = references(work.top)
    assert expected[0].count("\n") == 6
    assert await work.copy(references) == expected


@pytest.mark.parametrize("prepare", ["nothing", "no commit", "broken", "elsewhere"])
async def test_where_there_is_no_repository(work: Work, prepare: str) -> None:
    write(work.project, {"pyproject.toml": SCM})
    if prepare == "no commit":
        git(work.project, "init", "--quiet")
    elif prepare == "elsewhere":
        work.begin()
        git(work.top, "config", "core.worktree", str(work.folder / "elsewhere"))
        (work.folder / "elsewhere").mkdir()
    elif prepare == "broken":
        write(work.project, {".git": "gitdir: nowhere"})
    assert (await work.find()).scm is None
    assert await work.copy(lambda copy: (copy / ".git").exists()) is False


STATES: dict[str, Callable[[Work], Any]] = {
    "a commit": lambda w: w.commit(),
    "a tag": lambda w: git(w.top, "tag", "v1.1"),
    "a tag is gone": lambda w: git(w.top, "tag", "-d", "v1.0"),
    "staged": lambda w: git(w.top, "add", "new"),
    "staged removal": lambda w: git(w.top, "rm", "--quiet", "--cached", "run"),
}


@pytest.mark.parametrize("change", STATES.values(), ids=STATES)
async def test_what_only_version_control_says(work: Work, change: Callable[[Work], Any]) -> None:
    work.begin()
    write(work.project, {"new": ""})
    before = await work.find()
    if change is STATES["a commit"]:
        (work.project / "new").unlink()
        before = await work.find()
    change(work)
    after = await work.find()
    assert after.content == before.content
    assert after.scm != before.scm


@pytest.mark.parametrize("change", ["commit", "tag"])
async def test_a_commit_while_a_copy_is_made(work: Work, change: str) -> None:
    work.begin()
    commit = work.commit if change == "commit" else lambda: git(work.top, "tag", "v2.0")
    with work.context() as ctx:
        dist = await work.find()
        with writing_meanwhile(Writer(ctx.scratch, "run", commit, most=1)) as writer:
            fetched = await work.source.fetch(dist, ctx)
        assert (writer.copies, fetched.content) == (2, dist.content)
        assert fetched.scm == (await work.find()).scm != dist.scm
        assert described(fetched.path) == described(work.project)


async def test_what_version_control_says_of_others_does_not_matter(work: Work) -> None:
    work.begin()
    before = await work.find()
    git(work.top, "checkout", "--quiet", "-b", "other")
    git(work.top, "commit", "--quiet", "--allow-empty", "-m", "other")
    git(work.top, "tag", "v9.0")
    git(work.top, "checkout", "--quiet", "main")
    assert await work.find() == before


@pytest.mark.parametrize("inner", ["", "libs/acme"])
@pytest.mark.parametrize("name", ["build", "dist"])
async def test_folders_for_products_that_are_tracked(work: Work, name: str, inner: str) -> None:
    """A clean checkout has them, so the project cannot be built without them."""
    write(work.project, {f"{name}/tool.py": "1"})
    work.begin(inner)
    before = await work.content()
    assert await work.copy(lambda copy: (copy / name / "tool.py").read_text()) == "1"
    write(work.project, {f"{name}/tool.py": "2"})
    assert await work.content() != before

    git(work.top, "rm", "-r", "--quiet", "--cached", ".")
    assert not await work.copy(lambda copy: (copy / name).exists())


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.usefixtures("later")
async def test_git_is_asked_once_what_it_tracks(work: Work, linked: bool) -> None:
    work.begin()
    write(work.project, {"pyproject.toml": PYPROJECT})
    if linked:
        git(work.top, "worktree", "add", "--quiet", str(work.folder / "linked"), "-b", "other")
        work.project = work.folder / "linked"
        write(work.project, {"pyproject.toml": PYPROJECT})
    write(work.project, {"dist/acme.whl": "1"})
    before = await work.content()
    assert can_step(work)
    git(work.project, "add", "dist")
    assert not can_step(work)
    assert await work.content() != before
    assert can_step(work)


async def test_products_of_a_project_in_a_subdirectory(scene: Scene) -> None:
    """Its own do not count, nor those of the folder that is asked for; those of others may be anything."""
    write(scene.project, {"libs/one/pyproject.toml": PYPROJECT})
    text = f"file://{scene.project}#subdirectory=libs/one"
    before = await scene.content(text)
    write(scene.project, {"libs/one/build/lib/x.py": "", "libs/one/dist/x.whl": "", "dist/x.whl": "", "build/x": ""})
    assert await scene.content(text) == before
    write(scene.project, {"libs/two/dist/x.whl": ""})
    assert await scene.content(text) != before


@pytest.mark.parametrize("name", ["post-index-change", "post-checkout", "reference-transaction", "fsmonitor"])
async def test_no_hook_of_git_runs(work: Work, name: str, tmp_path: Path) -> None:
    work.begin("libs/acme")
    hooks = tmp_path / "hooks"
    write(hooks, {name: f"#!/bin/sh\ntouch {tmp_path}/ran\n"})
    (hooks / name).chmod(0o755)
    configured = tmp_path / "config"
    configured.write_text(f'[core]\n\thooksPath = "{hooks}"\n\tfsmonitor = "{hooks}/fsmonitor"\n')
    with pytest.MonkeyPatch.context() as changed:
        changed.setenv("GIT_CONFIG_GLOBAL", str(configured))
        await work.copy(described)
    assert not (tmp_path / "ran").exists()


async def test_a_hook_of_git_that_runs_us(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says where its repository is, which is not that of the project."""
    work.begin()
    expected = await work.find()
    other = work.folder / "other"
    other.mkdir()
    git(other, "init", "--quiet")
    for name, path in (("DIR", ".git"), ("INDEX_FILE", ".git/index"), ("WORK_TREE", ".")):
        monkeypatch.setenv(f"GIT_{name}", str(other / path))
    assert await work.find() == expected
    assert await work.copy(lambda copy: git(copy, "describe", "--tags")) == "v1.0"


async def test_passwords_of_a_repository_stay_in_it(work: Work) -> None:
    work.begin()
    git(work.top, "remote", "add", "origin", "https://reader:s3cret@example.com/acme.git")
    git(work.top, "config", "http.extraHeader", "Authorization: s3cret")
    assert "s3cret" not in await work.copy(lambda copy: (copy / ".git/config").read_text())


# What a project declares


def declare(project: Path, *keys: str, table: str = "uv") -> None:
    write(project, {"pyproject.toml": f"{PYPROJECT}[tool.{table}]\ncache-keys = [{', '.join(keys)}]\n"})


async def found_and_copied(scene: Scene, text: str | None = None) -> Dist:
    """What a copy says of itself has to be what was found."""
    dist, _ = await with_declared(scene, text)
    return dist


async def with_declared(scene: Scene, text: str | None = None) -> tuple[Dist, Any]:
    """What was found and copied, and the state of what is declared, as far as it is not in the tree."""
    dist = await scene.find(text)
    with scene.context() as ctx:
        fetched = await scene.source.fetch(dist, ctx)
    assert (fetched.content, fetched.scm) == (dist.content, dist.scm)
    return dist, fetched.validators.get("declared")


async def declared(scene: Scene, text: str | None = None) -> Any:
    return (await with_declared(scene, text))[1]


@pytest.mark.parametrize("table", ["felloe", "uv"])
async def test_a_declared_variable(scene: Scene, monkeypatch: pytest.MonkeyPatch, table: str) -> None:
    declare(scene.project, '{ env = "ACME_FLAVOUR" }', '{ env = "A B" }', table=table)
    monkeypatch.setenv("A B", "")
    digest = hashlib.sha256(b"pa55-w0rd").hexdigest()[:16]
    empty = hashlib.sha256(b"").hexdigest()[:16]
    before = await with_declared(scene)
    assert before[1] == f"env:A%20B={empty} env:ACME_FLAVOUR=none"
    monkeypatch.setenv("ACME_FLAVOUR", "pa55-w0rd")
    after = await with_declared(scene)
    assert after[1] == f"env:A%20B={empty} env:ACME_FLAVOUR={digest}"
    assert (before[0].content == after[0].content, before[0].scm, after[0].scm) == (False, None, None)


async def test_the_table_of_felloe_speaks_alone(scene: Scene) -> None:
    tables = '[tool.uv]\ncache-keys = [{ env = "OF_UV" }]\n[tool.felloe]\ncache-keys = [{ env = "OF_FELLOE" }]\n'
    write(scene.project, {"pyproject.toml": PYPROJECT + tables})
    assert await declared(scene) == "env:OF_FELLOE=none"


OUTSIDE: dict[str, tuple[str, Callable[[Scene], Any]]] = {
    "a file": ("../shared/one.h", lambda scene: write(scene.folder, {"shared/one.h": "2"})),
    "a file that is gone": ("../shared/one.h", lambda scene: (scene.folder / "shared/one.h").unlink()),
    "a file that is new": ("../shared/new.h", lambda scene: write(scene.folder, {"shared/new.h": ""})),
    "a file that a pattern means": ("../shared/*.h", lambda scene: write(scene.folder, {"shared/one.h": "2"})),
    "a file more": ("../shared/**", lambda scene: write(scene.folder, {"shared/in/.new": ""})),
    "a file less": ("../shared/?ne.h", lambda scene: (scene.folder / "shared/one.h").unlink()),
    "a link": ("../link.h", lambda scene: write(scene.folder, {"shared/one.h": "2"})),
    "what is no content": (".git/HEAD", lambda scene: write(scene.project, {".git/HEAD": "new"})),
}


@pytest.mark.parametrize(("path", "change"), OUTSIDE.values(), ids=OUTSIDE)
@pytest.mark.parametrize("form", ['{{ file = "{}" }}', '"{}"'])
async def test_declared_files_elsewhere(scene: Scene, form: str, path: str, change: Callable[[Scene], Any]) -> None:
    write(scene.folder, {"shared/one.h": "1", "other/two.h": "2"})
    (scene.folder / "link.h").symlink_to("shared/one.h")
    declare(scene.project, form.format(path))
    before = await with_declared(scene)
    write(scene.folder, {"other/two.h": "3"})
    assert await scene.find() == before[0]
    change(scene)
    after = await with_declared(scene)
    assert after[0].content != before[0].content
    assert before[1].partition("=")[0] == after[1].partition("=")[0] == f"file:{path}"
    assert before[1] != after[1]


@pytest.mark.parametrize("path", ["src/acme/__init__.py", "**/*.py", "../project/run", "src/../*"])
async def test_declared_files_of_the_folder_count_by_their_content(scene: Scene, path: str) -> None:
    declare(scene.project, f'"{path}"', '{ dir = "src" }', '{ dir = "." }')
    assert await declared(scene) is None


LEFT_OUT: dict[str, tuple[str, str, bool]] = {
    "a product": ("dist/x.whl", "dist/x.whl", True),
    "a pattern for products": ("dist/*.whl", "dist/x.whl", True),
    "all that was built": ("build/**", "build/lib/x.so", True),
    "of a virtual environment": (".venv/marker", ".venv/marker", True),
    "a commit": (".git/HEAD", ".git/HEAD", True),
    "what is excluded": ("data/one.json", "data/one.json", True),
    "a pattern for what is excluded": ("data/*.json", "data/one.json", True),
    "a pattern for files that are excluded": ("src/**/*.tmp", "src/acme/a.tmp", True),
    "bytecode": ("src/**", "src/acme/__pycache__/x.pyc", False),
    "bytecode beside its source": ("src/**", "src/acme/__init__.pyc", False),
    "modules of a virtual environment": ("**/*.py", ".venv/lib/x.py", False),
    "data of all sorts": ("**/*.json", "data/one.json", False),
}


@pytest.mark.parametrize(("key", "path", "counts"), LEFT_OUT.values(), ids=LEFT_OUT)
async def test_declared_files_that_are_left_out(scene: Scene, key: str, path: str, counts: bool) -> None:
    """They count where they are meant; a wildcard does not mean what changes by itself."""
    write(scene.project, {".venv/pyvenv.cfg": "", path: "1"})
    text = f"{PYPROJECT}[tool.felloe]\nexclude = ['data', '*.tmp']\ncache-keys = ['{key}']\n"
    write(scene.project, {"pyproject.toml": text})
    before = await with_declared(scene)
    write(scene.project, {path: "2"})
    after = await with_declared(scene)
    assert (after[0].content != before[0].content, after[1] != before[1]) == (counts, counts)
    (scene.project / path).unlink()
    gone = await with_declared(scene)
    assert (gone[0].content != after[0].content) is counts
    assert not counts or gone[1] == f"file:{key}=none"


async def test_what_a_subdirectory_declares_of_its_folder(scene: Scene) -> None:
    declare(scene.project / "inner", '"../run"', '"../../shared"')
    write(scene.folder, {"shared": "1"})
    digest = hashlib.sha256(b"1").hexdigest()[:16]
    assert await declared(scene, f"file://{scene.project}#subdirectory=inner") == f"file:../../shared={digest}"


async def test_a_declared_folder_elsewhere(scene: Scene) -> None:
    declare(scene.project, '{ dir = "../lib" }', '"../lib"')
    assert await declared(scene) == "dir:../lib=none file:../lib=none"
    write(scene.folder, {"lib/a": ""})
    assert await declared(scene) == "dir:../lib=there file:../lib=folder"


@pytest.mark.usefixtures("later")
async def test_declared_files_that_did_not_change_are_not_read_again(scene: Scene) -> None:
    write(scene.folder, {"shared/one.h": "1"})
    declare(scene.project, '"../shared/*"', '"../shared/one.h"')
    assert not can_step(scene)
    await scene.find()
    assert can_step(scene)
    write(scene.folder, {"shared/one.h": "2"})
    assert not can_step(scene)


@pytest.mark.parametrize(
    "key", ["{ git = true }", "{ git = { commit = true } }", "{ git = { commit = false, tags = true } }"]
)
async def test_declared_version_control(work: Work, key: str) -> None:
    work.begin()
    declare(work.project, key)
    work.commit()
    before = await with_declared(work)
    assert await work.copy(lambda copy: (copy / ".git").exists())
    git(work.top, "tag", "v9.0")
    after = await with_declared(work)
    assert after[0].content != before[0].content
    gone, come = changed_parts(before[1], after[1])
    assert [each.partition("=")[0] for each in [*gone, *come]] == ["git", "git"]


@pytest.mark.parametrize("key", ["{ git = false }", "{ git = { commit = false } }", "{ git = {} }"])
async def test_version_control_that_is_declared_not_to_count(work: Work, key: str) -> None:
    work.begin()
    declare(work.project, key)
    assert ((await found_and_copied(work)).scm, await declared(work)) == (None, None)


async def test_version_control_and_variables(work: Work) -> None:
    work.begin()
    write(work.project, {"pyproject.toml": f'{SCM}[tool.felloe]\ncache-keys = [{{ env = "ACME_FLAVOUR" }}]\n'})
    work.commit()
    dist, variable = await with_declared(work)
    described, tags = str(dist.scm).split(" ")
    assert (described[:7], tags[:5], variable) == ("v1.0-1-", "tags:", "env:ACME_FLAVOUR=none")


BAD_KEYS = [
    ("7", "cache-keys"),
    ('{ env = "NAME" }', "cache-keys"),
    ("[7]", "cache-keys[0]"),
    ('["a", ""]', "cache-keys[1]"),
    ('["a\\u0000"]', "cache-keys[0]"),
    ("[{}]", "cache-keys[0]"),
    ('[{ file = "a", env = "A" }]', "cache-keys[0]"),
    ("[{ file = 7 }]", "cache-keys[0]"),
    ('[{ env = "" }]', "cache-keys[0]"),
    ('[{ env = "A=B" }]', "cache-keys[0]"),
    ('[{ dir = "" }]', "cache-keys[0]"),
    ('[{ git = "yes" }]', "cache-keys[0]"),
    ("[{ git = { branch = true } }]", "cache-keys[0]"),
    ("[{ git = { commit = 1 } }]", "cache-keys[0]"),
    ('[{ enviroment = "A" }]', "cache-keys[0]"),
]


@pytest.mark.parametrize("table", ["felloe", "uv"])
@pytest.mark.parametrize(("keys", "named"), BAD_KEYS)
async def test_what_is_no_key_is_named(scene: Scene, keys: str, named: str, table: str) -> None:
    write(scene.project, {"pyproject.toml": f"{PYPROJECT}[tool.{table}]\ncache-keys = {keys}\n"})
    error = await scene.error()
    assert isinstance(error, ConfigError)
    assert f"`tool.{table}.{named}` of `{scene.project}/pyproject.toml`" in str(error)


@pytest.mark.parametrize(
    "text",
    ["cache-keys = [", "cache-keys = 1", "[tool]\nuv = 1 # cache-keys", "tool = 1 # cache-keys", "# cache-keys \xff"],
)
async def test_what_declares_nothing(scene: Scene, text: str) -> None:
    (scene.project / "pyproject.toml").write_bytes(text.encode("latin-1"))
    assert await declared(scene) is None


async def test_a_declared_fifo_is_not_opened(scene: Scene) -> None:
    fifo(scene.folder / "fifo")
    declare(scene.project, '"../*"')
    await scene.find()
    declare(scene.project, '"../fifo"')
    assert (await scene.error()).code == "special-file"


async def test_a_pattern_for_too_many_files(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "MOST_FILES", 3)
    write(scene.folder, {f"shared/{number}": "" for number in range(4)})
    declare(scene.project, '"../shared/*"')
    error = await scene.error()
    assert (error.code, "`../shared/*`" in str(error)) == ("too-large", True)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (("t", "A=1", {}), ("t", "A=2", {}), ("declared-changed", "A=1 -> A=2")),
        (("t", "A=1 B=1", {"f": "1"}), ("t", "A=1 B=2 C=3", {"f": "1"}), ("declared-changed", "B=1 -> B=2 C=3")),
        (("t", "A=1", {"f": "1"}), ("u", "A=1", {"f": "2"}), ("content-changed", "f=1 -> f=2")),
        (("t", "A=1", {"f": "1"}), ("u", "A=2", {"f": "2"}), ("content-changed", "f=1 A=1 -> f=2 A=2")),
        (("t", "", {"f": "1"}), ("u", "A=2", {"f": "2"}), ("content-changed", "f=1 -> f=2 A=2")),
        (("t", "A=1", {"f": "1"}), ("u", "", {"f": "2"}), ("content-changed", "f=1 A=1 -> f=2")),
        (("t", "A=1", {}), ("u", "A=1", {}), None),
        (("t", "", {"f": "1"}), ("u", "", {"f": "1"}), None),
    ],
)
def test_what_changed_is_named(old: Any, new: Any, told: tuple[str, str] | None) -> None:
    before, after = (State(tree=tree, declared=said, files=files) for tree, said, files in (old, new))
    assert before.content != after.content
    assert difference(before.validators(), after) == told


@pytest.mark.parametrize("validators", [{}, {"files": 1, "declared": 2, "tree": []}, {"files": {}, "declared": None}])
def test_what_was_remembered_may_be_anything(validators: dict[str, Any]) -> None:
    assert difference(validators, State(tree="t", files={"f": "1"})) is None


# What a project leaves out


def exclude(project: Path, *globs: str) -> None:
    write(project, {"pyproject.toml": f"{PYPROJECT}[tool.felloe]\nexclude = {list(globs)}\n"})


FILES = ("a.tmp", "src/b.tmp", "data/one/c.txt", "data/d.txt", "src/data/e.txt", "src/acme/f.txt")
EXCLUDED: dict[str, tuple[str, ...]] = {
    "*.tmp": ("a.tmp", "src/b.tmp"),
    "/*.tmp": ("a.tmp",),
    "src/*.tmp": ("src/b.tmp",),
    "**/*.tmp": ("a.tmp", "src/b.tmp"),
    "data": ("data/one/c.txt", "data/d.txt", "src/data/e.txt"),
    "data/": ("data/one/c.txt", "data/d.txt", "src/data/e.txt"),
    "/data": ("data/one/c.txt", "data/d.txt"),
    "data/**": ("data/one/c.txt", "data/d.txt"),
    "data/*/c.txt": ("data/one/c.txt",),
    "**/data/*.txt": ("data/d.txt", "src/data/e.txt"),
    "src/**/[e-f].txt": ("src/data/e.txt", "src/acme/f.txt"),
    "[!a-e].???": ("src/acme/f.txt",),
    "src[!x]*": (),
    "nothing": (),
    "[": (),
    "*": FILES,
    "**": FILES,
}


@pytest.mark.parametrize("inner", ["", "libs/one"])
@pytest.mark.parametrize(("glob", "left_out"), EXCLUDED.items())
async def test_what_a_project_leaves_out(scene: Scene, glob: str, left_out: tuple[str, ...], inner: str) -> None:
    project = scene.project / inner
    write(project, {"setup.py": "", "setup.cfg": ""})
    write(project, dict.fromkeys(FILES, "1"))
    exclude(project, "never", glob)
    text = f"file://{scene.project}" + (f"#subdirectory={inner}" if inner else "")
    before = await found_and_copied(scene, text)
    with scene.context() as ctx:
        copy = (await scene.source.fetch(before, ctx)).path / inner
        assert {name for name in FILES if not (copy / name).exists()} == set(left_out)
        assert names(copy) >= {"pyproject.toml", "setup.py", "setup.cfg"}
    for name in FILES:
        write(project, {name: "2"})
        assert (await scene.content(text) == before.content) is (name in left_out), name
        write(project, {name: "1"})


async def test_what_one_project_leaves_out_counts_for_another(scene: Scene) -> None:
    exclude(scene.project / "one", "*.tmp")
    exclude(scene.project / "two", "*.txt")
    text = f"file://{scene.project}#subdirectory=one"
    before = await scene.content(text)
    write(scene.project, {"one/a.tmp": "", "two/a.txt": ""})
    (scene.project / "two/a.txt").unlink()
    assert await scene.content(text) == before
    write(scene.project, {"a.tmp": ""})
    assert await scene.content(text) != before


async def test_what_is_left_out_is_not_missed_by_git(work: Work) -> None:
    write(work.project, {"data/one": "1", "a.tmp": "1"})
    work.begin()
    write(work.project, {"pyproject.toml": f'{SCM}[tool.felloe]\nexclude = ["data", "*.tmp"]\n'})
    work.commit("v1.1")
    assert await work.copy(described) == described(work.project)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ('"*.tmp"', "exclude"),
        ("[7]", "exclude[0]"),
        ('["a", ""]', "exclude[1]"),
        ('["/"]', "exclude[0]"),
        ('["!a"]', "exclude[0]"),
        ('["a\\u0000"]', "exclude[0]"),
        ('["../a"]', "exclude[0]"),
        ('["a//b"]', "exclude[0]"),
        ('["[z-a]"]', "exclude[0]"),
        ("[{ file = 'a' }]", "exclude[0]"),
    ],
)
async def test_what_is_no_pattern_is_named(scene: Scene, value: str, named: str) -> None:
    write(scene.project, {"pyproject.toml": f"{PYPROJECT}[tool.felloe]\nexclude = {value}\n"})
    error = await scene.error()
    assert isinstance(error, ConfigError)
    assert f"`tool.felloe.{named}` of `{scene.project}/pyproject.toml`" in str(error)


@pytest.mark.parametrize(
    "text", ["[tool]\nfelloe = 1 # exclude", '[tool.ruff]\nexclude = ["src"] # felloe', "exclude felloe"]
)
async def test_what_leaves_nothing_out(scene: Scene, text: str) -> None:
    write(scene.project, {"pyproject.toml": text})
    with scene.context() as ctx:
        assert names((await scene.source.fetch(await scene.find(), ctx)).path) == names(scene.project)


# Which files have changed


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ({"a": "1", "b": "2"}, {"a": "1", "b": "3"}, (["b=2"], ["b=3"])),
        ({"a": "1"}, {"a": "1", "b": "3"}, ([], ["b=3"])),
        ({"a": "1", "b": "2"}, {"b": "2"}, (["a=1"], [])),
        ({"a": "1"}, {"b": "1"}, (["a=1"], ["b=1"])),
        (
            {"a": "1"},
            {**{f"b{n}": "1" for n in range(6)}, "a": "1"},
            (["and 1 more"], ["b0=1", "b1=1", "b2=1", "b3=1", "b4=1", "and 1 more"]),
        ),
        ({}, {"a": "1"}, None),
        ({"a": "1"}, {}, None),
    ],
)
def test_which_files_have_changed(old: dict[str, str], new: dict[str, str], told: tuple[Any, Any] | None) -> None:
    assert changed_files(old, new) == told


def test_of_a_large_tree_no_file_is_remembered_by_itself(tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / f"file{number}").touch()
    assert len(content_of(listing_of(str(tmp_path), nothing), Remembered(None), nothing).files) == 1000
    (tmp_path / "one more").touch()
    assert content_of(listing_of(str(tmp_path), nothing), Remembered(None), nothing).files == {}
