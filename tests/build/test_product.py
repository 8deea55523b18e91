"""What a backend made, checked before it is believed: wheels that nobody could install are none."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from attrs import evolve

from felloe.build.builder import Builder, Workshop
from felloe.build.history import History
from felloe.build.plan import BuildOrder
from felloe.build.product import read_prepared, read_wheel
from felloe.config import Building, Limits
from felloe.errors import BuildError
from felloe.testing import Project, make_sdist, make_wheel
from felloe.values import BuildJob, Built, Dist, Fingerprint, Interpreter
from tests.fixtures.cache import Cache, everything

DEMO = Project("demo", "1.0")
INFO = "demo-1.0.dist-info"
GOOD = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"

# The file WHEEL (None: there is none), and what is said of it.
BAD = {
    "none": (None, f"has no file `{INFO}/WHEEL`, and a wheel has to have it"),
    "empty": ("", "has no good Wheel-Version in its file WHEEL: ``"),
    "no version": ("Generator: test\n", "has no good Wheel-Version"),
    "no number": ("Wheel-Version: one\n", "has no good Wheel-Version in its file WHEEL: `one`"),
    "later": ("Wheel-Version: 2.0\n", "is of the wheel format 2.0, and only 1.0 is known"),
    "much later": ("Wheel-Version: 10\n", "is of the wheel format 10"),
    "no text": (b"Wheel-Version: 1.0\xff\n", f"holds a file that is not UTF-8: `{INFO}/WHEEL`"),
    "too large": (GOOD.encode() + bytes(2**24), f"holds more than 16777216 bytes in `{INFO}/WHEEL`"),
}


def order_in(folder: Path) -> BuildOrder:
    """A build of DEMO, for a Python that takes pure wheels."""
    python = Interpreter(path=folder / "python", version="3.12.0", markers={}, tags=("py3-none-any",))
    return BuildOrder(
        build="b" * 32,
        what="`demo-1.0.tar.gz` of source `acme`",
        dist=Dist(source="acme", kind="sdist", filename="demo-1.0.tar.gz", name="demo", version="1.0"),
        archive=folder / "demo-1.0.tar.gz",
        interpreter=python,
        config_settings={},
        fingerprint=Fingerprint(settings="s", interpreter="i", toolchain="t"),
        goal="wheel",
    )


def nameless_in(folder: Path) -> BuildOrder:
    """A build of something whose name and version nobody knows yet."""
    order = order_in(folder)
    return evolve(order, dist=evolve(order.dist, name=None, version=None))


def refused(wheel: Path, folder: Path) -> BuildError:
    with pytest.raises(BuildError) as caught:
        read_wheel(wheel, order_in(folder))
    assert str(caught.value).isprintable()
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("text", [GOOD, "Wheel-Version: 1.9\n", "wheel-version:1\n", "Wheel-Version: 0.1\r\n"])
def test_formats_that_are_known(tmp_path: Path, text: str) -> None:
    wheel = make_wheel(tmp_path, DEMO, files={f"{INFO}/WHEEL": text})

    assert read_wheel(wheel, order_in(tmp_path)).name == "demo"


@pytest.mark.parametrize(("text", "said"), BAD.values(), ids=BAD)
def test_a_wheel_has_to_say_its_format(tmp_path: Path, text: str | bytes | None, said: str) -> None:
    error = refused(make_wheel(tmp_path, DEMO, files={f"{INFO}/WHEEL": text}), tmp_path)

    assert error.code == "bad-backend-output"
    assert "the build of `demo-1.0.tar.gz` of source `acme` made what cannot be used: `demo-1.0-py3" in str(error)
    assert said in str(error)


@pytest.mark.parametrize("again", [GOOD, "Wheel-Version: 2.0\n"])
def test_a_format_that_is_said_twice(tmp_path: Path, again: str) -> None:
    wheel = make_wheel(tmp_path, DEMO)
    with zipfile.ZipFile(wheel, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr(f"{INFO}/WHEEL", again)

    assert f"holds 2 files `{INFO}/WHEEL`" in str(refused(wheel, tmp_path))


def test_a_format_that_is_a_folder(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, DEMO, files={f"{INFO}/WHEEL": None})
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr(f"{INFO}/WHEEL/", "")

    assert f"has no file `{INFO}/WHEEL`" in str(refused(wheel, tmp_path))


# What a label says (name, version), what METADATA says, and whether they agree.
LABELS = [
    ("demo", "1.0", "demo", "1.0", True),
    ("Demo_App", "1.0", "demo.app", "1.0", True),
    ("demo", "1.0", "demo", "1", True),
    ("demo", "1.0.post1", "demo", "1.0-1", True),
    ("demo", "1.0rc1", "demo", "1.0-RC1", True),
    ("demo", "1.0+local.1", "demo", "1.0+Local-1", True),
    ("demo", "1.0", "evil", "1.0", False),
    ("demo", "1.0", "demo", "9.9", False),
    ("demo", "1.0", "demo", "1.0+local", False),
    ("demo", "1.0", "demo", "1.0.post1", False),
    ("demo", "1.0", "demo", "nightly", False),
]
# Folders may be labelled as older backends did.
OLD_LABELS = [
    ("demo", "1.0_1", "demo", "1.0.post1", True),
    ("demo", "1.0_local.1", "demo", "1.0+local.1", True),
    ("demo", "1.0_local_1", "demo", "1.0+local-1", True),
    ("demo-app", "1.0", "demo-app", "1.0", True),
    ("demo", "2004d", "demo", "2004d", True),
    ("demo", "nightly_1", "demo", "nightly-1", True),
    ("demo", "nightly", "demo", "weekly", False),
    ("", "1.0", "demo", "1.0", False),
]


def metadata_text(name: str, version: str) -> str:
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"


@pytest.mark.parametrize(("name", "version", "of_name", "of_version", "agree"), LABELS)
def test_a_wheel_is_named_after_its_metadata(
    tmp_path: Path, name: str, version: str, of_name: str, of_version: str, agree: bool
) -> None:
    wheel = make_wheel(tmp_path, Project(name, version, metadata=metadata_text(of_name, of_version)))
    order = nameless_in(tmp_path)

    if agree:
        assert read_wheel(wheel, order).version == of_version
        return
    with pytest.raises(BuildError) as caught:
        read_wheel(wheel, order)
    assert caught.value.code == "bad-backend-output"
    assert f"`{wheel.name}` holds the metadata of `{of_name} {of_version}`" in str(caught.value)


@pytest.mark.parametrize(("name", "version", "of_name", "of_version", "agree"), [*LABELS, *OLD_LABELS])
def test_prepared_metadata_lie_in_a_folder_that_is_named_after_them(
    tmp_path: Path, name: str, version: str, of_name: str, of_version: str, agree: bool
) -> None:
    info = tmp_path / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(metadata_text(of_name, of_version))

    if agree:
        assert read_prepared(info, nameless_in(tmp_path)).version == of_version
        return
    with pytest.raises(BuildError) as caught:
        read_prepared(info, nameless_in(tmp_path))
    assert caught.value.code == "bad-backend-output"
    assert f"`{info.name}` holds the metadata of `{of_name} {of_version}`" in str(caught.value)


class Elsewhere:
    """Gives a wheel for everything."""

    def __init__(self, wheel: Path) -> None:
        self.wheel = wheel

    def accepts(self, job: BuildJob) -> bool:
        return True

    async def build(self, job: BuildJob) -> Built:
        return Built(goal="wheel", wheel=self.wheel)

    def __str__(self) -> str:
        return "the farm"


@pytest.mark.anyio
async def test_what_was_built_elsewhere_has_to_say_it_too(tmp_path: Path) -> None:
    with Cache(tmp_path / "cache") as cache:
        workshop = Workshop(
            layout=cache.layout,
            run=cache.run,
            history=History(cache.layout, cache.store, cache.archives, cache.events.append),
            environments=None,
            resolutions=None,
            sources=(),
            limits=Limits(),
            report=cache.events.append,
            clock=lambda: 0.0,
        )
        given = make_wheel(cache.run.folder(), DEMO, files={f"{INFO}/WHEEL": None})

        order = order_in(tmp_path)
        make_sdist(tmp_path, DEMO)

        with pytest.raises(BuildError, match=f"has no file `{INFO}/WHEEL`") as caught:
            await Builder(workshop, Building()).build(order, None, Elsewhere(given))

        assert caught.value.code == "bad-backend-output"
        assert "the farm gave it as built elsewhere" in caught.value.hint
        assert [path for path in everything(cache.root) if path.startswith(("archives", "builds"))] == []
