"""Local paths along the whole line: read and built once, again where they changed, and never touched themselves."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from felloe import Answer, BlockingDatabase, Database, Wheel
from felloe.config import Policy
from felloe.errors import ArchiveError, BuildError, FelloeError, MetadataError, NoMatchError, RequirementError
from felloe.hookspecs import GROUP
from felloe.testing import Project, make_sdist, make_wheel
from felloe_path import content
from tests.fixtures.line import Told, config_of, files_below
from tests.fixtures.projects import HOOKS, buildable, hooks_called, project_tree
from tests.fixtures.writer import Writer, writing_meanwhile

pytestmark = pytest.mark.anyio

SDIST = "acme-1.0.tar.gz"
WHEEL = "acme-1.0-py3-none-any.whl"
PATH_SOURCE = EntryPoint(name="path", value="felloe_path:LocalPath", group=GROUP)
PREPARED = ["acme get_requires", "acme prepare"]
BUILT = ["acme get_requires", "acme wheel"]
STATIC = '[project]\nname = "acme"\nversion = "1.0"\ndependencies = ["zlib-ng>=0.5"]\n'


class Scene:
    """A folder `acme` with a project, and a cache; each question is a run of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = folder / "acme"
        self.cache = folder / "cache"
        self.hooks_file = folder / "hooks"
        self.told = Told()

    @asynccontextmanager
    async def database(self, **options: Any) -> AsyncIterator[Database]:
        self.told = Told()
        config = config_of(self.cache, **options)
        async with Database(config, reporter=self.told, sources=[PATH_SOURCE]) as database:
            yield database

    async def metadata(self, text: str = "./acme", **options: Any) -> Answer:
        async with self.database(**options) as database:
            return await database.metadata(text)

    async def wheel(self, text: str = "./acme", **options: Any) -> Wheel:
        async with self.database(**options) as database:
            return await database.wheel(text)

    async def error(self, text: str = "./acme", ask: str = "metadata", **options: Any) -> FelloeError:
        with anyio.fail_after(30), pytest.raises(FelloeError) as raised:
            await (self.wheel if ask == "wheel" else self.metadata)(text, **options)
        assert files_below(self.cache, "scratch") == []
        return raised.value

    def hooks(self) -> list[str]:
        """What backends did since the last time."""
        called = hooks_called(self.hooks_file)
        self.hooks_file.unlink(missing_ok=True)
        return called

    def add_project(self, **options: Any) -> None:
        """A project with files of all sorts beside those of its backend."""
        project_tree(self.project, "acme", requires_dist="['zlib-ng>=0.5']", **options)
        (self.project / "src/deep").mkdir(parents=True, exist_ok=True)
        (self.project / "src/deep/module.py").write_text("x = 1\n")
        (self.project / "empty").touch()
        (self.project / "run").write_text("#!/bin/sh\n")
        (self.project / "run").chmod(0o755)
        (self.project / "here").symlink_to("src/deep")
        (self.folder / "LICENSE").write_text("MIT")
        (self.project / "LICENSE").symlink_to("../LICENSE")


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    scene = Scene(tmp_path)
    monkeypatch.setenv(HOOKS, str(scene.hooks_file))
    monkeypatch.chdir(tmp_path)
    return scene


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of what is remembered is an hour ahead: every file has long been as it is."""
    real = content.time.time_ns
    monkeypatch.setattr(content, "time", SimpleNamespace(time_ns=lambda: real() + 3600 * 10**9))


def everything(folder: Path) -> dict[str, Any]:
    """All below a folder and the folder itself: bytes, and what stat says, but for the time of the last access."""
    found = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        status = path.lstat()
        held = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path)] = (status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, held)
    return found


def regular_files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]


FORMS = ["./{}", "{here}/{}", "file://{here}/{}", "acme @ file://{here}/{}", "../{parent}/{}"]


def written(form: str, name: str, here: Path) -> str:
    return form.format(name, here=here, parent=here.name)


# Files


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("filename", [SDIST, "master.zip", "archive"])
async def test_an_sdist_by_its_path(scene: Scene, form: str, filename: str) -> None:
    project = Project("acme", "1.0", requires_dist=["zlib-ng"])
    make_sdist(scene.folder / "made", project, format=".zip").rename(scene.folder / filename)
    if form == "./{}" and filename == "archive":
        form = "./../{parent}/{}"
    text = written(form, filename, scene.folder)

    answer = await scene.metadata(text)
    assert (answer.rung, answer.cached, answer.metadata.requires_dist) == ("pkg-info", False, ("zlib-ng",))
    assert (answer.dist.name, answer.dist.version, answer.dist.filename) == ("acme", "1.0", filename)

    again = await scene.metadata(text, offline=True)
    assert (again.cached, again.metadata) == (True, answer.metadata)


@pytest.mark.parametrize("form", FORMS)
async def test_a_wheel_by_its_path(scene: Scene, form: str) -> None:
    file = make_wheel(scene.folder, Project("acme", "1.0"))
    text = written(form, WHEEL, scene.folder)
    before = everything(file)

    answer, wheel = await scene.metadata(text), await scene.wheel(text)
    assert (answer.rung, answer.cached, answer.wheel) == ("wheel", False, WHEEL)
    assert (wheel.filename, wheel.cached) == (WHEEL, True)
    assert wheel.path.read_bytes() == file.read_bytes()
    assert not wheel.path.samefile(file)
    assert (await scene.metadata(text)).cached
    assert everything(file) == before


async def test_an_sdist_is_built_once_wherever_it_lies(scene: Scene) -> None:
    file = buildable(scene.folder, "acme")
    assert (await scene.wheel(f"./{SDIST}")).cached is False
    assert scene.hooks() == BUILT

    shutil.copy(file, scene.folder / "renamed.tgz")
    (scene.folder / "link.tar.gz").symlink_to(SDIST)
    for name in (SDIST, "renamed.tgz", "link.tar.gz"):
        assert (await scene.wheel(f"./{name}")).filename == WHEEL
    assert scene.hooks() == []


@pytest.mark.usefixtures("later")
async def test_new_bytes_of_a_file_with_its_times_set_back(scene: Scene) -> None:
    made = {
        name: make_wheel(scene.folder / name, Project("acme", "1.0", requires_dist=[name])).read_bytes()
        for name in ("one", "two", "six", "ten", "red", "sea")
    }
    first, second = next([a, b] for a in made for b in made if a < b and len(made[a]) == len(made[b]))
    file = scene.folder / WHEEL
    file.write_bytes(made[first])
    await scene.wheel(f"./{WHEEL}")
    status = file.stat()
    with file.open("r+b") as stream:
        stream.write(made[second])
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (await scene.metadata(f"./{WHEEL}")).metadata.requires_dist == (second,)
    assert (await scene.wheel(f"./{WHEEL}")).metadata.requires_dist == (second,)


@pytest.mark.parametrize("filename", [SDIST, WHEEL])
@pytest.mark.parametrize("required", [True, False])
async def test_hashes_of_files(scene: Scene, filename: str, required: bool) -> None:
    make = make_wheel if filename == WHEEL else make_sdist
    make(scene.folder, Project("acme", "1.0"))
    policy = Policy(require_hashes=required)
    async with scene.database() as database:
        (dist,) = await database.find(f"./{filename}")
    right, wrong = dist.hashes["sha256"], "0" * 64

    assert (await scene.metadata(f"./{filename} --hash=sha256:{right}", policy=policy)).metadata.version == "1.0"
    error = await scene.error(f"./{filename} --hash=sha256:{wrong}", policy=policy)
    assert (type(error), error.code) == (NoMatchError, "no-matching-distribution")


@pytest.mark.parametrize("filename", ["acme.zip", "acme-1.0.tar.gz", WHEEL])
async def test_what_is_no_archive(scene: Scene, filename: str) -> None:
    (scene.folder / filename).write_bytes(b"<!DOCTYPE html>" * 100)
    for ask in ("metadata", "wheel"):
        error = await scene.error(f"./{filename}", ask)
        assert isinstance(error, ArchiveError)
        assert filename in str(error)


# Folders


@pytest.mark.parametrize("form", FORMS)
async def test_a_folder_by_its_path(scene: Scene, form: str) -> None:
    scene.add_project()
    before = everything(scene.project)
    text = written(form, "acme", scene.folder)

    answer = await scene.metadata(text)
    assert (answer.rung, answer.cached, answer.metadata.requires_dist) == ("prepare", False, ("zlib-ng>=0.5",))
    assert scene.hooks() == PREPARED

    wheel = await scene.wheel(text)
    assert (wheel.filename, wheel.cached, scene.hooks()) == (WHEEL, False, BUILT)

    assert ((await scene.metadata(text)).cached, (await scene.wheel(text)).cached) == (True, True)
    assert scene.hooks() == []
    assert everything(scene.project) == before
    assert files_below(scene.cache, "scratch") == []


async def test_a_folder_that_proves_its_metadata_is_not_built(scene: Scene) -> None:
    scene.add_project()
    (scene.project / "pyproject.toml").write_text(STATIC)
    answer = await scene.metadata()
    assert (answer.rung, answer.metadata.requires_dist, scene.hooks()) == ("pyproject", ("zlib-ng>=0.5",), [])
    assert (await scene.metadata()).cached


async def test_a_link_to_a_folder_is_the_folder(scene: Scene) -> None:
    scene.add_project()
    (scene.folder / "link").symlink_to("acme")
    await scene.wheel()
    scene.hooks()
    assert (await scene.wheel("./link")).cached
    assert scene.hooks() == []


@pytest.mark.usefixtures("later")
async def test_touching_every_file_runs_no_hook(scene: Scene) -> None:
    scene.add_project()
    await scene.wheel()
    scene.hooks()
    for path in scene.project.rglob("*"):
        os.utime(path)
    assert (await scene.wheel()).cached
    assert (await scene.metadata()).cached
    assert scene.hooks() == []


@pytest.mark.usefixtures("later")
async def test_one_byte_of_any_file_with_its_time_set_back(scene: Scene) -> None:
    scene.add_project()
    (scene.project / "data").write_bytes(b"0")
    await scene.wheel()
    scene.hooks()
    files = [path for path in regular_files(scene.project) if path.suffix != ".toml" and path.stat().st_size]
    assert len(files) == 4
    for file in files:
        status = file.stat()
        text = file.read_bytes()
        file.write_bytes(text[:-1] + (b"#" if text[-1:] != b"#" else b"0"))
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert (file.stat().st_size, file.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
        assert not (await scene.wheel()).cached, file
        assert scene.hooks() == BUILT


async def test_a_byte_changed_at_once(scene: Scene) -> None:
    """In the same instant, as far as times tell."""
    scene.add_project()
    module = scene.project / "src/deep/module.py"
    for number in (1, 2, 3):
        module.write_text(f"x = {number}\n")
        os.utime(module, (1_700_000_000, 1_700_000_000))
        assert not (await scene.wheel()).cached
        assert scene.hooks() == BUILT


def package(folder: Path) -> None:
    folder.mkdir()
    (folder / "__init__.py").touch()


CHANGES: dict[str, Callable[[Scene], Any]] = {
    "a file is gone": lambda scene: (scene.project / "empty").unlink(),
    "a file is new": lambda scene: (scene.project / "src/new.py").touch(),
    "a file is renamed": lambda scene: (scene.project / "empty").rename(scene.project / "void"),
    "a file is executable": lambda scene: (scene.project / "empty").chmod(0o755),
    "a folder is new": lambda scene: (scene.project / "new").mkdir(),
    "a package called build is new": lambda scene: package(scene.project / "build"),
    "what a link leads to": lambda scene: (scene.folder / "LICENSE").write_text("BSD"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.usefixtures("later")
async def test_what_has_changed_is_built_again(scene: Scene, change: Callable[[Scene], Any]) -> None:
    scene.add_project()
    first = await scene.wheel()
    change(scene)
    second = await scene.wheel()
    assert (second.cached, first.dist.content != second.dist.content) == (False, True)
    assert scene.hooks() == BUILT * 2
    assert "content-changed" in " ".join(scene.told.messages("stale"))


@pytest.mark.usefixtures("later")
async def test_what_changed_back_is_known(scene: Scene) -> None:
    scene.add_project()
    first = await scene.wheel()
    (scene.project / "empty").write_text("not")
    await scene.wheel()
    (scene.project / "empty").write_text("")
    scene.hooks()
    assert (await scene.wheel()).sha256 == first.sha256
    assert scene.hooks() == []


async def test_a_folder_with_another_project_in_it(scene: Scene) -> None:
    scene.add_project()
    project_tree(scene.project / "libs/inner", "inner")
    text = f"file://{scene.project}#subdirectory=libs/inner"
    assert (await scene.wheel(text)).filename == "inner-1.0-py3-none-any.whl"
    assert (await scene.wheel()).filename == WHEEL
    assert (await scene.wheel(text)).cached
    assert scene.hooks() == ["inner get_requires", "inner wheel", *BUILT]


async def test_a_subdirectory_that_leads_outside(scene: Scene) -> None:
    scene.add_project()
    project_tree(scene.folder / "outside", "outside")
    assert isinstance(await scene.error(f"file://{scene.project}#subdirectory=../outside"), RequirementError)


async def test_a_backend_may_do_what_it_likes_with_its_copy(scene: Scene) -> None:
    code = "open('made', 'w').close(); open('empty', 'w').write('x'); os.chmod('run', 0o600); os.unlink('here')"
    scene.add_project(code=code)
    before = everything(scene.project)
    await scene.wheel()
    assert everything(scene.project) == before
    assert (await scene.wheel()).cached


TWO = "['one>=' + open('a').read(), 'two>=' + open('z').read()]"


@pytest.mark.parametrize("most", [1, 2, None])
async def test_an_edit_while_the_folder_is_copied(scene: Scene, most: int | None) -> None:
    """It gives the answer of the new state or none, never one of both states."""
    number = 0

    def edit() -> None:
        nonlocal number
        number += 1
        for name in ("a", "z"):
            (scene.project / name).write_text(str(number))

    project_tree(scene.project, "acme", requires_dist=TWO)
    edit()
    with writing_meanwhile(Writer(scene.cache, "z", edit, most)) as writer:
        if most is None:
            assert (await scene.error()).code == "source-changed"
            assert (writer.copies, scene.hooks()) == (3, [])
        else:
            answer = await scene.metadata()
            assert answer.metadata.requires_dist == (f"one>={number}", f"two>={number}")
            assert (writer.copies, scene.hooks(), (await scene.metadata()).cached) == (most + 1, PREPARED, True)


async def test_callers_at_once_share_one_copy(scene: Scene) -> None:
    scene.add_project()
    async with scene.database() as database, anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(database.wheel, "./acme")
    assert scene.hooks() == BUILT


@pytest.mark.usefixtures("later")
def test_a_warm_answer_needs_no_event_loop(scene: Scene) -> None:
    scene.add_project()
    config = config_of(scene.cache)
    with BlockingDatabase(config, sources=[PATH_SOURCE]) as database:
        database.metadata("./acme")
    (scene.project / "pyproject.toml").write_text(STATIC)  # asks for no version control: no program has to be run
    for is_cold in (True, False):
        with BlockingDatabase(config, sources=[PATH_SOURCE]) as database:
            assert database.metadata("./acme").cached is not is_cold
            assert (database._portal is None) is not is_cold


async def test_the_verdict_names_what_is_declared_and_changed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.add_project()
    with (scene.project / "pyproject.toml").open("a") as file:
        file.write('[tool.felloe]\ncache-keys = [{ env = "ACME_FLAVOUR" }, { env = "OTHER" }, "../LICENSE"]\n')
    await scene.wheel()
    monkeypatch.setenv("ACME_FLAVOUR", "pa55-w0rd")
    assert not (await scene.wheel()).cached
    (message,) = scene.told.messages("stale")
    assert "declared-changed: env:ACME_FLAVOUR=none -> env:ACME_FLAVOUR=" in message
    assert "OTHER" not in message
    for path in files_below(scene.cache):
        assert b"pa55-w0rd" not in (scene.cache / path).read_bytes()

    monkeypatch.delenv("ACME_FLAVOUR")
    scene.hooks()
    await scene.wheel()
    assert scene.hooks() == []


# Editable


async def test_an_editable_wheel_is_built_in_place(scene: Scene) -> None:
    scene.add_project()
    answer, wheel = await scene.metadata("-e ./acme"), await scene.wheel("-e ./acme")
    assert (answer.rung, answer.metadata.requires_dist, wheel.filename) == ("prepare", ("zlib-ng>=0.5",), WHEEL)
    assert [hook for hook in scene.hooks() if "editable in" in hook] == [f"acme editable in {scene.project}"]
    assert ((await scene.metadata("-e ./acme")).cached, (await scene.wheel("-e ./acme")).cached) == (True, True)
    assert scene.hooks() == []


async def test_metadata_of_an_editable_project_are_prepared_in_the_copy(scene: Scene) -> None:
    scene.add_project()
    before = everything(scene.project)
    await scene.metadata("-e ./acme")
    assert everything(scene.project) == before


async def test_equal_folders_have_their_own_editable_wheels(scene: Scene) -> None:
    scene.add_project()
    shutil.copytree(scene.project, scene.folder / "twin", symlinks=True)
    for name in ("acme", "twin", "acme", "twin"):
        await scene.wheel(f"-e ./{name}")
    places = [hook.removeprefix("acme editable in ") for hook in scene.hooks() if "editable in" in hook]
    assert places == [str(scene.folder / name) for name in ("acme", "twin")]

    await scene.wheel("./acme")
    await scene.wheel("./twin")
    assert [hook for hook in scene.hooks() if hook in {"acme wheel", "acme get_requires"}] == BUILT


async def test_an_editable_project_in_a_subdirectory(scene: Scene) -> None:
    scene.add_project()
    project_tree(scene.project / "libs/inner", "inner")
    await scene.wheel(f"-e file://{scene.project}#subdirectory=libs/inner")
    assert f"inner editable in {scene.project}/libs/inner" in scene.hooks()


async def test_what_setuptools_writes_beside_an_editable_project_builds_nothing_again(scene: Scene) -> None:
    code = "os.makedirs('acme.egg-info', exist_ok=True); open('acme.egg-info/SOURCES.txt', 'a').write('setup.py')"
    scene.add_project(code=code)
    for is_known in (False, True, True):
        assert (await scene.wheel("-e ./acme")).cached is is_known
        assert (await scene.metadata("-e ./acme")).cached
    assert (scene.project / "acme.egg-info/SOURCES.txt").read_text() == "setup.py"


@pytest.mark.parametrize("text", [f"-e ./{SDIST}", "-e ./file"])
async def test_a_file_cannot_be_edited(scene: Scene, text: str) -> None:
    (scene.folder / "file").touch()
    (scene.folder / SDIST).touch()
    error = await scene.error(text)
    assert (type(error), "cannot be edited" in str(error)) == (RequirementError, True)


# Bad input


@pytest.mark.parametrize("warm", ["", "metadata", "wheel"])
@pytest.mark.parametrize("ask", ["metadata", "wheel"])
@pytest.mark.parametrize("what", ["folder", "editable", "sdist"])
async def test_a_name_that_differs(scene: Scene, what: str, ask: str, warm: str) -> None:
    scene.add_project()
    buildable(scene.folder, "acme")
    place = f"file://{scene.folder}/{SDIST if what == 'sdist' else 'acme'}"
    if warm:
        bare = f"-e {place}" if what == "editable" else place
        await (scene.wheel if warm == "wheel" else scene.metadata)(bare)
    text = f"-e {place}#egg=other" if what == "editable" else f"other @ {place}"
    error = await scene.error(text, ask)
    assert isinstance(error, MetadataError | BuildError)
    assert "is for `other`, but its metadata are for `acme`" in str(error)


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("ask", ["metadata", "wheel"])
async def test_a_wheel_whose_metadata_are_of_another_project(scene: Scene, ask: str, warm: bool) -> None:
    lying = Project("acme", "1.0", metadata="Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    make_wheel(scene.folder, lying)
    if warm:
        await scene.error(f"./{WHEEL}")
    error = await scene.error(f"./{WHEEL}", ask)
    assert (type(error), error.code) == (MetadataError, "names-disagree")


@pytest.mark.parametrize("made", ["fifo", "fifo of git", "device", "loop", "no project", "nothing", "hashes"])
async def test_what_is_refused_at_once(scene: Scene, made: str) -> None:
    scene.add_project()
    text, code = "./acme", "special-file"
    if made == "fifo":
        os.mkfifo(scene.project / "src/fifo")
    elif made == "fifo of git":
        (scene.project / "pyproject.toml").write_text('[build-system]\nrequires = ["setuptools-scm"]\n')
        (scene.project / ".git").mkdir()
        os.mkfifo(scene.project / ".git/HEAD")
    elif made == "device":
        (scene.project / "zero").symlink_to("/dev/zero")
    elif made == "loop":
        (scene.project / "src/loop").symlink_to(scene.folder)
        code = "link-loop"
    elif made == "no project":
        text, code = "./acme/src", "no-project"
    elif made == "nothing":
        text, code = "./nothing", "path-not-found"
    else:
        text, code = f"./acme --hash=sha256:{'0' * 64}", "no-matching-distribution"
    for ask in ("metadata", "wheel"):
        error = await scene.error(text, ask)
        assert (error.code, bool(error.hint)) == (code, True)
        assert "acme" in str(error) or "nothing" in str(error)
    assert scene.hooks() == []
