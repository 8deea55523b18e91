"""Situations in which a cache of build results is right or wrong, one after the other, for any tool that has one.

    for ask in ROWS["a version file changes"](scene):
        ...  # have the tool answer `ask`, and compare with `clean_build(ask, ...)`

A row is a generator: between two questions it changes something, so each is answered before the next is taken. What is
asked is always a wheel: its files are the answer. What a clean build would say is found out by one, with `build`; there
is nothing to be installed for it. The backends are modules in the projects, and write each hook that is called of them
into the file that the variable `LC_TEST_HOOKS_CALLED` names.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import BadZipFile, ZipFile

from attrs import field, frozen
from build import BuildBackendException, ProjectBuilder

from felloe.testing import Behaviour, IndexServer, Project, Repository, make_sdist, make_wheel

__all__ = ["HOOKS", "ROWS", "Ask", "Files", "Scene", "answer_in", "clean_build", "judged", "places"]

HOOKS = "LC_TEST_HOOKS_CALLED"
ALWAYS_ASK = "no-cache"  # how servers here have their answers kept: every tool is to ask each time
# What installers add to the files of a wheel, or write anew.
OF_INSTALLERS = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_build.json", "uv_cache.json"})

Files = Mapping[str, bytes]  # of a wheel, by their paths; but for RECORD

BACKEND = """\
import os, pathlib, subprocess, sys, sysconfig, zipfile

PLATFORM = sysconfig.get_platform().replace("-", "_").replace(".", "_")


def called(hook):
    if "LC_TEST_HOOKS_CALLED" in os.environ:
        with open(os.environ["LC_TEST_HOOKS_CALLED"], "a") as file:
            file.write(hook + "\\n")


def read(path):
    return pathlib.Path(path).read_text().strip()


def git(*arguments):
    done = subprocess.run(("git",) + arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return done.stdout.decode().strip()


def stem():
    return "{name}-%s" % ({version})


def texts(settings):
    fields = ["Metadata-Version: 2.1", "Name: {name}", "Version: %s" % ({version})]
    fields += ["Requires-Dist: " + each for each in ({requires})]
    return "\\n".join(fields) + "\\n", "\\n".join(map(str, ({inputs})))


def get_requires_for_build_wheel(config_settings=None):
    called("get_requires")
    return []


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    called("prepare")
    folder = pathlib.Path(metadata_directory, stem() + ".dist-info")
    folder.mkdir()
    (folder / "METADATA").write_text(texts(config_settings)[0])
    return folder.name


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    called("wheel")
    return write(wheel_directory, config_settings, [])


def get_requires_for_build_editable(config_settings=None):
    called("get_requires_editable")
    return []


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    called("editable")
    return write(wheel_directory, config_settings, [("{name}.pth", os.getcwd() + "/src\\n")])


def write(wheel_directory, settings, further):
    {code}
    tag, info = {tag}, stem() + ".dist-info"
    metadata, inputs = texts(settings)
    contents = [("{name}_inputs.txt", "inputs of {name}: " + inputs), (info + "/METADATA", metadata)]
    contents += [(info + "/WHEEL", "Wheel-Version: 1.0\\nGenerator: b\\nRoot-Is-Purelib: true\\nTag: %s\\n" % tag)]
    contents += further
    if not further:
        files = sorted(path for path in pathlib.Path("src").rglob("*") if path.is_file())
        contents += [(path.relative_to("src").as_posix(), path.read_text()) for path in files]
    contents += [(info + "/RECORD", "".join(name + ",,\\n" for name, _ in contents + [(info + "/RECORD", "")]))]
    filename = stem() + "-" + tag + ".whl"
    with zipfile.ZipFile(os.path.join(wheel_directory, filename), "w") as wheel:
        for name, text in contents:
            wheel.writestr(name, text)
    return filename
"""
PLAIN = {"version": "'1.0'", "requires": "[]", "inputs": "[]", "tag": "'py3-none-any'", "code": "pass"}
VERSION_FILE = "read('src/acme/__init__.py').split('\"')[1]"
OF_THE_PYTHON = "'py%d%d' % sys.version_info[:2]"
COMPILED = "'cp{0}{1}-cp{0}{1}-'.format(*sys.version_info) + PLATFORM"


@frozen(kw_only=True)
class Ask:
    """A wheel of `text`, a line of requirements.txt: PEP 508, or `-e PATH`.

    `source` is what a clean build would build: a project's folder, or an sdist; `wheel` the file that is the answer
    where nothing is to be built; neither where it has to be refused. `builds` is how many builds are needed, by one
    who remembers all that went before; None where that is open. `beside` are wheels that the build requires. `passed`
    are the variables of `environ` that a tool has to be told to give to backends, if it gives them to these at all.
    So many processes ask `at_once`.
    """

    text: str
    source: Path | None = None
    wheel: Path | None = None
    builds: int | None
    index: IndexServer
    python: Path
    settings: Mapping[str, str] = field(factory=dict)
    constraints: Sequence[str] = ()
    environ: Mapping[str, str] = field(factory=dict)
    passed: Sequence[str] = ()
    beside: Sequence[Path] = ()
    at_once: int = 1

    @property
    def editable(self) -> Path | None:
        return Path(self.text.removeprefix("-e ")) if self.text.startswith("-e ") else None


@frozen(kw_only=True)
class Scene:
    """An empty folder, the cache of the tool, two indexes, the interpreter asked about and others."""

    folder: Path
    cache: Path
    index: IndexServer
    second: IndexServer
    python: Path
    others: Sequence[Path] = ()

    @property
    def tree(self) -> Path:
        return self.folder / "acme"

    def project(self, **says: str) -> Path:
        """The project acme as a folder, with one module in it; `says` as by `files_of`."""
        write(self.tree, {"src/acme/__init__.py": '__version__ = "1.0"\n', **files_of(**says)})
        return self.tree

    def sdist(self, name: str = "acme", **says: str) -> Path:
        """An sdist that proves nothing of its dependencies, listed by the index."""
        sdist = make_sdist(self.folder, Project(name, "1.0", dynamic=["Requires-Dist"]), files=files_of(name, **says))
        self.index.behave("/simple/*", Behaviour(etag="auto", cache_control=ALWAYS_ASK))
        self.index.add(sdist)
        return sdist

    def repository(self, **says: str) -> Repository:
        repository = Repository(self.folder / "repository.git")
        repository.commit({"src/acme/__init__.py": '__version__ = "1.0"\n', **files_of(**says)})
        return repository

    def clone(self, repository: Repository, name: str = "clone", ref: str = "main") -> Path:
        """A work tree of its own, at what `ref` is now."""
        folder = self.folder / name
        run_git("clone", "--quiet", repository.file_url, str(folder))
        run_git("-C", str(folder), "checkout", "--quiet", ref)
        return folder

    def damage(self, text: bytes) -> None:
        """Flips one bit of `text` wherever a file of the tool's cache has it."""
        for path in self.cache.rglob("*"):
            if path.is_file() and not path.is_symlink() and text in (old := path.read_bytes()):
                path.chmod(0o644)
                path.write_bytes(old.replace(text, bytes([text[0] ^ 1]) + text[1:]))

    def ask(self, text: str, source: Path | None = None, *, builds: int | None, **options: object) -> Ask:
        given = {"index": self.index, "python": self.python, **options}
        return Ask(text=text, source=source, builds=builds, **given)


def files_of(name: str = "acme", *, needs: str = "[]", pyproject: str = "", **says: str) -> dict[str, str]:
    """Of a project with a backend of its own.

    `says` are `version`, `requires` (Requires-Dist), `inputs` (what it puts in the wheel) and `tag`: expressions of
    Python that the backend evaluates while it builds (`settings` are the config settings); and `code`, which it runs.
    `needs` is `build-system.requires`; `pyproject` are further lines of pyproject.toml.
    """
    backend = BACKEND
    for key, value in {"name": name, **PLAIN, **says}.items():
        backend = backend.replace(f"{{{key}}}", value)
    system = f'[build-system]\nrequires = {needs}\nbuild-backend = "b"\nbackend-path = ["."]\n'
    return {"pyproject.toml": system + pyproject, "b.py": backend}


# The rows

Row = Callable[[Scene], Iterator[Ask]]
ROWS: dict[str, Row] = {}


def row(name: str) -> Callable[[Row], Row]:
    def add(function: Row) -> Row:
        ROWS[name] = function
        return function

    return add


@row("nothing changes, of a folder")
def _(scene: Scene) -> Iterator[Ask]:
    tree = scene.project()
    yield scene.ask(of(tree), tree, builds=1)
    yield scene.ask(of(tree), tree, builds=0)


@row("nothing changes, of an sdist in an index")
def _(scene: Scene) -> Iterator[Ask]:
    sdist = scene.sdist()
    yield scene.ask("acme", sdist, builds=1)
    yield scene.ask("acme", sdist, builds=0)


@row("a version file changes, and back")
def _(scene: Scene) -> Iterator[Ask]:
    tree = scene.project(version=VERSION_FILE)
    yield scene.ask(of(tree), tree, builds=1)
    write(tree, {"src/acme/__init__.py": '__version__ = "2.0"\n'})
    yield scene.ask(of(tree), tree, builds=1)
    write(tree, {"src/acme/__init__.py": '__version__ = "1.0"\n'})
    yield scene.ask(of(tree), tree, builds=0)


@row("`touch pyproject.toml`")
def _(scene: Scene) -> Iterator[Ask]:
    tree = scene.project()
    yield scene.ask(of(tree), tree, builds=1)
    (tree / "pyproject.toml").touch()
    yield scene.ask(of(tree), tree, builds=0)


@row("a byte is edited, and the time set back")
def _(scene: Scene) -> Iterator[Ask]:
    tree = scene.project()
    yield scene.ask(of(tree), tree, builds=1)
    module = tree / "src/acme/__init__.py"
    status = module.stat()
    module.write_text('__version__ = "3.0"\n')
    os.utime(module, ns=(status.st_atime_ns, status.st_mtime_ns))
    yield scene.ask(of(tree), tree, builds=1)


@row("a file is deleted")
def _(scene: Scene) -> Iterator[Ask]:
    tree = scene.project()
    write(tree, {"src/acme/more.py": ""})
    yield scene.ask(of(tree), tree, builds=1)
    (tree / "src/acme/more.py").unlink()
    yield scene.ask(of(tree), tree, builds=1)


@row("a file is new")
def _(scene: Scene) -> Iterator[Ask]:
    tree = scene.project()
    yield scene.ask(of(tree), tree, builds=1)
    write(tree, {"src/acme/more.py": ""})
    yield scene.ask(of(tree), tree, builds=1)


@row("another `-C`, and back")
def _(scene: Scene) -> Iterator[Ask]:
    sdist = scene.sdist(inputs="sorted((settings or {}).items())")
    yield scene.ask("acme", sdist, builds=1)
    yield scene.ask("acme", sdist, settings={"speed": "fast"}, builds=1)
    yield scene.ask("acme", sdist, builds=0)


@row("another build constraint, and back")
def _(scene: Scene) -> Iterator[Ask]:
    needed = {
        version: make_wheel(scene.folder, Project("needed", version), files={"needed.py": f"V = '{version}'\n"})
        for version in ("1.0", "2.0")
    }
    for wheel in needed.values():
        scene.index.add(wheel)
    sdist = scene.sdist(inputs="[__import__('needed').V]", needs='["needed"]')
    yield scene.ask("acme", sdist, beside=[needed["2.0"]], builds=1)
    yield scene.ask("acme", sdist, beside=[needed["1.0"]], constraints=["needed<2"], builds=1)
    yield scene.ask("acme", sdist, beside=[needed["2.0"]], builds=0)


@row("other CFLAGS for compiled code, and back")
def _(scene: Scene) -> Iterator[Ask]:
    sdist = scene.sdist(inputs="[os.environ.get('CFLAGS')]", tag=COMPILED)
    yield scene.ask("acme", sdist, environ={"CFLAGS": "-O1"}, builds=1)
    yield scene.ask("acme", sdist, environ={"CFLAGS": "-O2"}, builds=1)
    yield scene.ask("acme", sdist, environ={"CFLAGS": "-O1"}, builds=0)


@row("other CFLAGS for a pure wheel")
def _(scene: Scene) -> Iterator[Ask]:
    sdist = scene.sdist()
    yield scene.ask("acme", sdist, environ={"CFLAGS": "-O1"}, builds=1)
    yield scene.ask("acme", sdist, environ={"CFLAGS": "-O2"}, builds=0)


@row("Requires-Dist depends on the Python, built by another before")
def _(scene: Scene) -> Iterator[Ask]:
    sdist = scene.sdist(requires=f"[{OF_THE_PYTHON}]")
    pythons = [*scene.others, scene.python]
    for python in pythons:
        yield scene.ask("acme", sdist, python=python, builds=1)
    for python in pythons:
        yield scene.ask("acme", sdist, python=python, builds=0)


@row("one sdist by index, second index, URL and path")
def _(scene: Scene) -> Iterator[Ask]:
    sdist = scene.sdist()
    scene.second.add(sdist)
    yield scene.ask("acme", sdist, builds=1)
    yield scene.ask("acme", sdist, index=scene.second, builds=0)
    yield scene.ask(f"acme @ {scene.second.url}/files/{sdist.name}", sdist, builds=0)
    yield scene.ask(f"acme @ {sdist.as_uri()}", sdist, builds=0)


@row("new bytes under the same file name in an index")
def _(scene: Scene) -> Iterator[Ask]:
    for text in ("old", "new"):
        sdist = scene.sdist(inputs=f"['{text}']")
        yield scene.ask("acme", sdist, builds=1)


@row("new bytes at a URL")
def _(scene: Scene) -> Iterator[Ask]:
    for text in ("old", "new"):
        sdist = scene.sdist(inputs=f"['{text}']")
        yield scene.ask(served(scene, sdist, text), sdist, builds=1)


@row("the same bytes at a URL, with a new ETag")
def _(scene: Scene) -> Iterator[Ask]:
    sdist = scene.sdist()
    for etag, builds in (("old", 1), ("new", 0)):
        yield scene.ask(served(scene, sdist, etag), sdist, builds=builds)


@row("a branch of a git repository moves")
def _(scene: Scene) -> Iterator[Ask]:
    repository = scene.repository()
    asked = f"acme @ git+{repository.file_url}@main"
    yield scene.ask(asked, scene.clone(repository, "old"), builds=1)
    repository.commit({"src/acme/more.py": ""})
    yield scene.ask(asked, scene.clone(repository, "new"), builds=1)


@row("back to a commit, with its repository gone")
def _(scene: Scene) -> Iterator[Ask]:
    repository = scene.repository()
    old, first = scene.clone(repository, "old"), repository.commit_of("main")
    yield scene.ask(f"acme @ git+{repository.file_url}@{first}", old, builds=1)
    repository.commit({"src/acme/more.py": ""})
    yield scene.ask(f"acme @ git+{repository.file_url}@main", scene.clone(repository, "new"), builds=1)
    repository.delete()
    yield scene.ask(f"acme @ git+{repository.file_url}@{first}", old, builds=0)


OF_TAG = "git('describe', '--tags', '--abbrev=0').replace('v', '') or '0.1'"


@row("a tag is put on the same commit of a git repository later")
def _(scene: Scene) -> Iterator[Ask]:
    repository = scene.repository(version=OF_TAG)
    asked = f"acme @ git+{repository.file_url}@main"
    yield scene.ask(asked, scene.clone(repository, "old"), builds=1)
    repository.tag("v1.0")
    yield scene.ask(asked, scene.clone(repository, "new"), builds=1)
    yield scene.ask(asked, scene.clone(repository, "same"), builds=0)


@row("a tag is put on the same commit of a folder later")
def _(scene: Scene) -> Iterator[Ask]:
    tree = scene.clone(scene.repository(version=OF_TAG))
    yield scene.ask(of(tree), tree, builds=1)
    run_git("-C", str(tree), "tag", "v1.0")
    yield scene.ask(of(tree), tree, builds=1)


@row("two subdirectories of one archive")
def _(scene: Scene) -> Iterator[Ask]:
    names = ("one", "two")
    trees = {name: files_of(name) for name in names}
    files = {f"{name}/{path}": text for name, each in trees.items() for path, text in each.items()}
    archive = make_sdist(scene.folder, Project("both", "1.0"), files=files)
    for name, text in trees.items():
        write(scene.folder / name, text)
    url = served(scene, archive, "a").removeprefix("acme @ ")
    for builds in (1, 0):
        for name in names:
            yield scene.ask(f"{name} @ {url}#subdirectory={name}", scene.folder / name, builds=builds)


@row("two subdirectories of one commit")
def _(scene: Scene) -> Iterator[Ask]:
    repository = Repository(scene.folder / "repository.git")
    for name in ("one", "two"):
        repository.commit({f"{name}/{path}": text for path, text in files_of(name).items()})
    clone = scene.clone(repository)
    for builds in (1, 0):
        for name in ("one", "two"):
            asked = f"{name} @ git+{repository.file_url}@main#subdirectory={name}"
            yield scene.ask(asked, clone / name, builds=builds)


@row("an editable and a plain build of one project")
def _(scene: Scene) -> Iterator[Ask]:
    tree = scene.project()
    for builds in (1, 0):
        yield scene.ask(f"-e {tree}", tree, builds=builds)
        yield scene.ask(of(tree), tree, builds=builds)


@row("a build that failed is asked for again")
def _(scene: Scene) -> Iterator[Ask]:
    sdist = scene.sdist(code="raise SystemExit('this cannot be built')")
    yield scene.ask("acme", sdist, builds=1)
    yield scene.ask("acme", sdist, builds=0)


@row("two processes ask for one sdist at once")
def _(scene: Scene) -> Iterator[Ask]:
    sdist = scene.sdist(code="import time; time.sleep(1)")
    yield scene.ask("acme", sdist, builds=1, at_once=2)


@row("build requirements in a cycle")
def _(scene: Scene) -> Iterator[Ask]:
    scene.sdist(needs='["needed"]')
    scene.sdist("needed", needs='["acme"]')
    yield scene.ask("acme", builds=0)


@row("one bit of what the cache keeps is flipped")
def _(scene: Scene) -> Iterator[Ask]:
    sdist = scene.sdist(inputs="['whole']")
    yield scene.ask("acme", sdist, builds=1)
    scene.damage(b"inputs of acme: whole")
    yield scene.ask("acme", sdist, builds=None)


@row("several wheels fit: the best tags, then the greatest build tag")
def _(scene: Scene) -> Iterator[Ask]:
    scene.index.behave("/simple/*", Behaviour(etag="auto", cache_control=ALWAYS_ASK))
    tag = "cp{}{}-none-any".format(*version_of(scene.python))
    for tags, build in (("py3-none-any", "7"), (tag, None), (tag, "2"), (tag, "10"), ("py2.py3-none-any", "11")):
        files = {"acme.py": f"name = '{tags} {build}'\n"}
        wheel = make_wheel(scene.folder, Project("acme", "1.0"), tags=tags, build=build, files=files)
        scene.index.add(wheel)
        if (tags, build) == (tag, "10"):
            best = wheel
    yield scene.ask("acme", wheel=best, builds=0)


@row("an sdist whose metadata are of another project")
def _(scene: Scene) -> Iterator[Ask]:
    files = files_of("other")
    scene.sdist()
    lying = make_sdist(scene.folder, Project("acme", "1.0", metadata_version="1.2"), files=files)
    scene.index.add(lying)
    yield scene.ask("acme", builds=1)
    yield scene.ask("acme", builds=None)


@row("a declared variable changes, and back (cache-keys)")
def _(scene: Scene) -> Iterator[Ask]:
    keys = '[tool.uv]\ncache-keys = [{ file = "**/*.py" }, { env = "ACME_FLAVOUR" }]\n'
    tree = scene.project(inputs="[os.environ.get('ACME_FLAVOUR')]", pyproject=keys)
    for flavour, builds in (("sweet", 1), ("sour", 1), ("sweet", 0)):
        environ = {"ACME_FLAVOUR": flavour}
        yield scene.ask(of(tree), tree, environ=environ, passed=["ACME_FLAVOUR"], builds=builds)


@row("a declared file outside of the folder changes (cache-keys)")
def _(scene: Scene) -> Iterator[Ask]:
    shared = scene.folder / "shared.txt"
    keys = '[tool.uv]\ncache-keys = [{ file = "pyproject.toml" }, { file = "../shared.txt" }]\n'
    tree = scene.project(inputs=f"[read({str(shared)!r})]", pyproject=keys)
    for text in ("one", "two"):
        shared.write_text(text)
        yield scene.ask(of(tree), tree, builds=1)


@row("an empty commit, which is declared (cache-keys)")
def _(scene: Scene) -> Iterator[Ask]:
    keys = "[tool.uv]\ncache-keys = [{ git = { commit = true, tags = true } }]\n"
    tree = scene.clone(scene.repository(inputs="[git('rev-parse', 'HEAD')]", pyproject=keys))
    yield scene.ask(of(tree), tree, builds=1)
    person = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    run_git("-C", str(tree), *person, "commit", "--quiet", "--allow-empty", "-m", "empty")
    yield scene.ask(of(tree), tree, builds=1)


def of(tree: Path) -> str:
    """A requirement for acme in this folder."""
    return f"acme @ {tree.as_uri()}"


def served(scene: Scene, sdist: Path, etag: str) -> str:
    """A requirement for acme by the URL at which the bytes of `sdist` are, from now on with this ETag."""
    path = f"/direct/{sdist.name}"
    scene.index.static(path, sdist.read_bytes())
    scene.index.behave(path, Behaviour(etag=f'"{etag}"', cache_control=ALWAYS_ASK))
    return f"acme @ {scene.index.url}{path}"


# The truth, and what tools say


def clean_build(ask: Ask, environ: Mapping[str, str]) -> Files | None:
    """What a clean build gives; None where there is nothing that may be given. Nothing of it is kept."""
    if ask.wheel is not None:
        return files_in(ask.wheel)
    if ask.source is None:
        return None
    with TemporaryDirectory() as folder:
        tree = ask.editable or unpacked(ask.source, Path(folder, "source"))
        beside = os.pathsep.join(map(str, ask.beside))
        given = {**environ, **ask.environ, "PYTHONPATH": beside, "PYTHONDONTWRITEBYTECODE": "1"}
        builder = ProjectBuilder(tree, python_executable=str(ask.python), runner=partial(run_hook, given))
        kind = "editable" if ask.editable else "wheel"
        try:
            return files_in(Path(builder.build(kind, folder, ask.settings)))
        except BuildBackendException as error:
            if not isinstance(error.exception, subprocess.CalledProcessError):
                raise
            return None


def run_hook(
    given: Mapping[str, str],
    cmd: Sequence[str],
    cwd: str | None = None,
    extra_environ: Mapping[str, str] | None = None,
) -> None:
    environ = {key: value for key, value in {**given, **(extra_environ or {})}.items() if key != HOOKS}
    subprocess.run(cmd, cwd=cwd, env=environ, capture_output=True, check=True)


def unpacked(source: Path, into: Path) -> Path:
    if source.is_dir():
        shutil.copytree(source, into, symlinks=True)
        return into
    shutil.unpack_archive(source, into, **({"filter": "data"} if source.suffix == ".gz" else {}))
    return next(into.iterdir())


def answer_in(folder: Path) -> Files | None:
    """Of the wheel in `folder`, or what was installed there; None where there is nothing."""
    for wheel in folder.glob("*.whl"):
        try:
            return files_in(wheel)
        except BadZipFile as error:
            return {f"what cannot be read ({error})": b""}
    site = next(folder.rglob("site-packages"), folder)
    paths = (path for path in site.rglob("*") if path.is_file() and path.name != ".lock")
    return only_of_wheel({path.relative_to(site).as_posix(): path.read_bytes() for path in paths}) or None


def files_in(wheel: Path) -> Files:
    with ZipFile(wheel) as archive:
        return only_of_wheel({name: archive.read(name) for name in archive.namelist()})


def only_of_wheel(files: Files) -> Files:
    return {path: held for path, held in files.items() if path.rpartition("/")[2] not in OF_INSTALLERS}


def judged(ask: Ask, said: Files | None, truths: Sequence[Files | None], hooks: Sequence[str]) -> str:
    """`right`, `built again` (right, but needlessly so), `fails` (there is an answer), `stale` (an old one), `wrong`.

    `truths` are what clean builds gave for the questions so far; the last is that of `ask`.
    """
    *before, truth = truths
    if said is None and truth is not None:
        return "fails"
    if said != truth:
        return "stale" if said in before else "wrong"
    builds = sum(hook in {"wheel", "editable"} for hook in hooks)
    if ask.builds is not None and (builds > ask.builds or (hooks and not ask.builds)):
        return "built again"
    return "right"


def write(folder: Path, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


def version_of(python: Path) -> tuple[str, str]:
    told = subprocess.check_output([python, "-c", "import sys; print(*sys.version_info[:2])"], text=True)
    major, minor = told.split()
    return major, minor


def run_git(*arguments: str) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    subprocess.run(["git", *arguments], env=environ, check=True)


@contextmanager
def places(folder: Path, python: Path, others: Sequence[Path] = ()) -> Iterator[Scene]:
    """A Scene in `folder`, whose servers run until its end."""
    (folder / "scene").mkdir()
    with IndexServer() as index, IndexServer() as second:
        yield Scene(
            folder=folder / "scene",
            cache=folder / "cache",
            index=index,
            second=second,
            python=python,
            others=others,
        )
