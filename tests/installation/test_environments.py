"""Environments to build in: made of wheels, kept once, copied for each build. Real ones, with programs run in them."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import attrs
import pytest

from felloe.errors import ArchiveError, BuildError, CacheError, InterpreterError
from felloe.stepping import NotSteppable, step
from tests.fixtures.cache import everything
from tests.installation.conftest import Workshop, interpreter, make_venv, run

pytestmark = pytest.mark.anyio

SAYS = "import json, sys; print(json.dumps({}))"
PYTHONS = [f"python3.{minor}" for minor in (6, 8, 12, 13)]


def says(environment, expression, **options):
    """What it is for a Python in the environment."""
    return json.loads(run(environment, environment.python, "-c", SAYS.format(expression), **options))


def tool(workshop, **files):
    """A wheel with one of all: modules, a program, scripts, data and headers."""
    return workshop.wheel(
        "tool",
        files={
            "tool/__init__.py": "import sys\ndef main():\n    print('tool', sys.prefix, sys.argv[1:])\n",
            "tool/data.txt": "data",
            "tool-1.0.dist-info/entry_points.txt": "[console_scripts]\ntool = tool:main\n[x]\ny = z\n",
            "tool-1.0.data/scripts/script": "#!python\nimport tool\ntool.main()\n",
            "tool-1.0.data/scripts/shell": "#!/bin/sh\necho shell\n",
            "tool-1.0.data/data/share/tool.cfg": "cfg",
            "tool-1.0.data/headers/tool.h": "h",
            "tool-1.0.data/platlib/plat.py": "value = 1",
            **files,
        },
    )


async def test_a_wheel_is_installed(workshop):
    environment = await workshop.make(tool(workshop))
    root = environment.path

    site = f"lib/python{interpreter().markers['python_version']}/site-packages"
    assert run(environment, "tool", "a b") == f"tool {root} ['a b']\n"
    assert run(environment, "script") == f"tool {root} []\n"
    assert run(environment, "shell") == "shell\n"
    assert (root / "share" / "tool.cfg").read_text() == "cfg"
    assert [path.name for path in root.glob("include/site/python*/tool/*")] == ["tool.h"]
    assert says(environment, "[__import__('plat').value, __import__('tool').__file__]") == [
        1, f"{root}/{site}/tool/__init__.py"
    ]  # fmt: skip
    files = "sorted(str(f) for f in __import__('importlib.metadata').metadata.files('tool'))"
    missing = [path for path in says(environment, files) if not (root / site / path).exists()]
    assert missing == []


async def test_it_is_an_environment_of_its_own(workshop, tmp_path):
    """It finds the standard library and nothing else, whatever the user has."""
    home = tmp_path / "home"
    user = home / f".local/lib/python{interpreter().markers['python_version']}/site-packages"
    user.mkdir(parents=True)
    (user / "of_the_user.py").touch()
    environment = await workshop.make()

    path = says(environment, "[p for p in sys.path if p.endswith('-packages')]", env={"HOME": str(home)})
    assert [Path(each).parents[2] for each in path] == [environment.path]
    names = "[sys.prefix, sys.exec_prefix, sys.executable, __import__('sysconfig').get_path('scripts')]"
    root = str(environment.path)
    assert says(environment, names) == [root, root, f"{root}/bin/python", f"{root}/bin"]
    assert says(environment, "sys.base_prefix") != root
    assert environment.scripts == environment.path / "bin"
    for name in ("felloe", "pip", "anyio"):
        assert says(environment, f"__import__('importlib.util').util.find_spec('{name}')") is None


@pytest.mark.parametrize("name", PYTHONS)
async def test_other_pythons(workshop, name):
    python = interpreter(name)
    environment = await workshop.make(tool(workshop), python=python)

    assert run(environment, "tool") == f"tool {environment.path} []\n"
    assert run(environment, "script") == f"tool {environment.path} []\n"
    assert says(environment, "list(sys.version_info[:3])") == [int(part) for part in python.version.split(".")]


@pytest.mark.parametrize("options", [[], ["--copies"]])
async def test_a_python_that_is_in_an_environment(workshop, tmp_path, options):
    """What is installed there does not count; the environment is that of its base."""
    path = make_venv(interpreter().path, tmp_path / "venv", *options)
    (site,) = (tmp_path / "venv").glob("lib/*/site-packages")
    (site / "installed.py").touch()
    python = attrs.evolve(interpreter(), path=path)

    environment = await workshop.make(tool(workshop), python=python)

    assert run(environment, "tool") == f"tool {environment.path} []\n"
    assert says(environment, "__import__('importlib.util').util.find_spec('installed')") is None
    await workshop.make(tool(workshop))
    assert len(workshop.kept()) == 1


# Byte code


CACHED = "[[m.__cached__, open(m.__cached__, 'rb').read(8)[4]] for m in [__import__('tool')]]"


async def test_modules_are_compiled_and_the_source_is_not_compared(workshop):
    """PEP 552: flags 1 is a pyc with a hash that nobody checks."""
    environment = await workshop.make(tool(workshop))
    (pyc,) = environment.path.glob("lib/*/site-packages/tool/__pycache__/*.pyc")
    before = pyc.stat().st_mtime_ns, pyc.read_bytes()

    assert says(environment, CACHED) == [[str(pyc), 1]]
    assert (pyc.stat().st_mtime_ns, pyc.read_bytes()) == before
    (pyc.parent.parent / "__init__.py").write_text("raise Exception('not read')")
    assert says(environment, "__import__('tool').__name__") == "tool"


async def test_a_traceback_has_the_path_of_the_copy(workshop):
    environment = await workshop.make(tool(workshop))

    path = says(environment, "__import__('tool').main.__code__.co_filename")
    assert Path(path).is_relative_to(environment.path)


@pytest.mark.parametrize(
    "source", [b"print 'Python 2'", b"{{ template }}", b"\0", b"\xff", b"(" * 5000, b"x = '\\d'", b"1 is 1"]
)
async def test_what_does_not_compile_is_no_error(workshop, source):
    environment = await workshop.make(tool(workshop, **{"tool/a.py": source, "tool/b.py": b"b = 2"}))

    assert says(environment, "__import__('tool.b').b.b") == 2
    (site,) = environment.path.glob("lib/*/site-packages")
    assert (site / "tool" / "a.py").read_bytes() == source
    assert workshop.warnings() == []


async def test_compiled_once_for_each_form(workshop):
    wheel, other = tool(workshop), workshop.wheel("other")
    await workshop.make(wheel)
    (unpacked,) = workshop.root.glob(f"unpacked-v0/*/{wheel.sha256}")
    before = {path: path.stat().st_mtime_ns for path in unpacked.rglob("*")}

    await workshop.make(wheel, other)

    assert {path: path.stat().st_mtime_ns for path in unpacked.rglob("*")} == before
    assert len(list(filter(Path.is_dir, unpacked.iterdir()))) == 2
    await workshop.make(wheel, python=interpreter("python3.12"))
    assert len(list(filter(Path.is_dir, unpacked.iterdir()))) == 3
    assert {path: path.stat().st_mtime_ns for path in before if path != unpacked}.items() <= before.items()


# Kept, and copied


async def test_one_is_kept_for_all(workshop):
    wheels = [workshop.wheel(name) for name in ("a", "b", "c")]

    made = [await workshop.make(*order) for order in (wheels, wheels[::-1], [*wheels, wheels[0]])]

    assert len(workshop.kept()) == 1
    assert everything(made[0].path) == everything(made[1].path) == everything(made[2].path)
    await workshop.make(*wheels[:2])
    assert len(workshop.kept()) == 2


async def test_one_that_many_share_says_whether_somebody_wrote_in_it(workshop):
    wheel = tool(workshop)
    environment = await workshop.environments.get(interpreter(), [wheel])
    assert run(environment, "tool") == f"tool {environment.path} []\n"
    assert [environment.path, environment.wheels] == [*workshop.kept(), (wheel,)]
    stamp = workshop.environments.stamp(environment)
    assert workshop.environments.is_as_made(environment, stamp)

    (environment.path / "lib" / "new").touch()
    assert not workshop.environments.is_as_made(environment, stamp)
    again = await workshop.environments.get(interpreter(), [wheel])
    new = workshop.environments.stamp(environment)
    assert [again == environment, new == stamp] == [True, False]
    assert [workshop.environments.is_as_made(again, each) for each in (stamp, new, None)] == [False, True, False]
    assert not (environment.path / "lib" / "new").exists()


async def test_what_a_build_does_to_its_environment_harms_no_other(workshop):
    wheel = tool(workshop)
    first = await workshop.make(wheel)
    before = everything(workshop.root / "environments-v0"), everything(workshop.root / "unpacked-v0")
    untouched = everything((await workshop.make(wheel)).path)

    for path in list(first.path.rglob("*")):
        if path.is_file() and not path.is_symlink():
            path.chmod(0o777)
            with path.open("r+b") as file:
                file.write(b"harm")
    (first.path / "lib" / "new").touch()
    (first.path / "bin").chmod(0o500)

    assert (everything(workshop.root / "environments-v0"), everything(workshop.root / "unpacked-v0")) == before
    second = await workshop.make(wheel)
    assert everything(second.path) == untouched
    assert run(second, "tool") == f"tool {second.path} []\n"


async def test_it_can_be_moved(workshop, tmp_path):
    environment = await workshop.make(tool(workshop))
    moved = tmp_path / "with 'space'"
    environment.path.rename(moved)
    there = attrs.evolve(environment, path=moved, python=moved / "bin" / "python")

    assert run(there, "tool") == f"tool {moved} []\n"
    assert run(there, "script") == f"tool {moved} []\n"


async def test_nothing_in_it_names_the_cache(workshop):
    """But for byte code, whose paths Python corrects."""
    wheel = tool(workshop)
    environment = await workshop.make(wheel)

    contents = everything(environment.path)
    named = [path for path, content in contents.items() if str(workshop.root).encode() in _bytes(content)]
    assert named == []


def _bytes(content):
    return content if isinstance(content, bytes) else content.encode()


async def test_many_at_once(workshop):
    wheels = [tool(workshop), workshop.wheel("other", files={"other.py": "x = 1"})]
    made = []

    async def make():
        made.append(await workshop.make(*wheels))

    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(make)

    assert len({environment.path for environment in made}) == 8
    assert len(workshop.kept()) == 1
    assert len({json.dumps(sorted(everything(environment.path))) for environment in made}) == 1


async def test_two_caches_on_one_folder(workshop):
    """As two processes have it: each has its own run."""
    wheel = tool(workshop)
    with Workshop(workshop.root) as other, anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(workshop.make, wheel)
            group.start_soon(other.make, wheel)
        assert len(workshop.kept()) == 1


async def test_cancelled_it_leaves_nothing_half_made(workshop):
    wheel = tool(workshop, **{f"tool/m{number}.py": "x = 1\n" * 2000 for number in range(100)})
    into = workshop.run.folder()
    before = workshop.in_scratch()

    with anyio.move_on_after(0.1) as scope:
        await workshop.environments.make(interpreter(), [wheel], into)

    assert scope.cancelled_caught
    assert workshop.in_scratch() == before
    assert run(await workshop.make(wheel), "tool")


def test_making_is_work(workshop):
    with pytest.raises(NotSteppable):
        step(workshop.environments.make(interpreter(), [], workshop.root))
    assert not workshop.root.exists()


# Wheels that do not go together, or are none


async def test_of_two_that_bring_one_file_the_later_name_counts(workshop):
    for order in (1, -1):
        wheels = [workshop.wheel(name, files={"shared.py": f"name = '{name}'"}) for name in ("a", "b")]
        environment = await workshop.make(*wheels[::order])

        assert says(environment, "__import__('shared').name") == "b"


async def test_a_wheel_cannot_take_the_place_of_python(workshop):
    files = {
        "evil-1.0.data/data/pyvenv.cfg": "home = /nowhere\n",
        "evil-1.0.data/scripts/python": "#!/bin/sh\necho evil\n",
        "evil-1.0.dist-info/entry_points.txt": "[console_scripts]\npython3 = evil:main\n",
    }
    environment = await workshop.make(workshop.wheel("evil", files=files))

    assert says(environment, "sys.prefix") == str(environment.path)
    assert run(environment, "python3", "-c", "print(1)") == "1\n"


async def test_a_file_and_a_folder_of_one_path(workshop):
    wheels = [
        workshop.wheel("a", files={"a-1.0.data/data/share/x": ""}),
        workshop.wheel("b", files={"b-1.0.data/data/share/x/y": ""}),
    ]
    with pytest.raises(BuildError, match=r"`share/x/y` of `b-1.0-py3-none-any.whl` lies below `share/x`"):
        await workshop.make(*wheels)
    assert workshop.kept() == []


INFO = "bad-1.0.dist-info"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({f"{INFO}/WHEEL": None}, f"has no file `{INFO}/WHEEL`"),
        ({f"{INFO}/WHEEL": "Wheel-Version: 2.0\nRoot-Is-Purelib: true\n"}, "is of the wheel format 2.0"),
        ({f"{INFO}/entry_points.txt": "[console_scripts]\nx = y"}, "has an entry point that cannot be parsed: `x = y`"),
        ({f"{INFO}/entry_points.txt": "[console_scripts]\n../../x = y:z"}, "leads out of its folder: `../../x`"),
        ({"../outside": ""}, "leads out of its folder: `../outside`"),
        ({"bad-1.0.data/data/../../../outside": ""}, "leads out of its folder"),
        ({"bad-1.0.data/scripts//etc/../../../outside": ""}, "leads out of its folder"),
        ({"/outside": ""}, "holds an absolute path: `/outside`"),
        ({"bad-1.0.data/else/x": ""}, "holds a file that has no place to go to: `bad-1.0.data/else/x`"),
    ],
)
async def test_a_wheel_that_is_none(workshop, files, message):
    wheel = workshop.wheel("bad", files=files)
    into = workshop.run.folder()

    with pytest.raises(ArchiveError) as caught:
        await workshop.environments.make(interpreter(), [wheel], into)

    assert str(caught.value).startswith("`bad-1.0-py3-none-any.whl` ")
    assert message in str(caught.value)
    assert workshop.kept() == list(into.iterdir()) == list(workshop.root.parent.rglob("outside")) == []


async def test_bytes_that_are_no_archive(workshop):
    wheel = workshop.wheel("bad")
    wheel.path.write_bytes(b"no archive")

    with pytest.raises(ArchiveError, match="is no archive"):
        await workshop.make(wheel)
    assert list(workshop.root.glob("unpacked-v0/*/*")) == []


@pytest.mark.parametrize("length", [1100, 3600, 4000, 4090])
async def test_a_wheel_with_a_path_too_long_to_be_installed(workshop, length):
    """What can be unpacked, and what cannot: neither is a fault of the cache. It leaves nothing that disturbs."""
    path = "/".join(["folder" * 20] * (length // 121)).ljust(length, "x")
    wheel = workshop.wheel("tool", files={path: "x = 1"})

    for _ in range(2):
        with pytest.raises(ArchiveError, match=r"^`tool-1\.0-py3-none-any\.whl` holds a .*: `folderfolder"):
            await workshop.make(wheel)
    assert workshop.kept() == []
    assert [path for path in workshop.in_scratch() if "folderfolder" in path] == []
    assert run(await workshop.make(tool(workshop)), "shell") == "shell\n"


# Pythons that are gone, and caches that are damaged


async def test_a_python_that_is_gone(workshop, tmp_path):
    with pytest.raises(InterpreterError):
        await workshop.make(python=attrs.evolve(interpreter(), path=tmp_path / "gone"))


async def test_a_base_of_another_version(workshop):
    with pytest.raises(InterpreterError, match=r"is Python 3\.1\.4, and its base .* is "):
        await workshop.make(python=attrs.evolve(interpreter(), version="3.1.4"))


@pytest.mark.parametrize("bucket", ["environments-v0", "unpacked-v0"])
async def test_a_link_in_the_cache_is_not_followed(workshop, tmp_path, bucket):
    """Neither read nor written through, and replaced."""
    wheel = tool(workshop)
    await workshop.make(wheel)
    outside = tmp_path / "outside"
    (workshop.root / bucket).rename(outside)
    (workshop.root / bucket).symlink_to(outside)
    if bucket == "unpacked-v0":
        (workshop.root / "environments-v0").rename(tmp_path / "away")
    before = everything(outside)

    environment = await workshop.make(wheel)

    assert run(environment, "tool") == f"tool {environment.path} []\n"
    assert everything(outside) == before
    assert not (workshop.root / bucket).is_symlink()
    assert all("a folder on the way to it is a link" in message for message in workshop.warnings())


async def test_what_the_disk_refuses_is_told(workshop):
    wheel = tool(workshop)
    into = workshop.run.folder()
    (into / "bin").mkdir()  # in the way

    with pytest.raises(CacheError, match=r"cannot write to the cache `.*`: File exists"):
        await workshop.environments.make(interpreter(), [wheel], into)
