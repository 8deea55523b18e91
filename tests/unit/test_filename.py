"""What the file name of a wheel or sdist tells whoever was led to it by a direct reference."""

from __future__ import annotations

import pytest

from felloe.errors import RequirementError
from felloe.filename import sdist_identity, wheel_identity
from felloe.request import parse_request

HOST = "https://example.com"
NOTHING = (None, None)


@pytest.mark.parametrize(
    ("filename", "identity"),
    [
        ("demo-1.0.tar.gz", ("demo", "1.0")),
        ("demo-1.0.zip", ("demo", "1.0")),
        ("Demo_App-1.0.post1.tar.gz", ("demo-app", "1.0.post1")),
        ("demo-app-2-1!1.0rc1+local.2.tar.gz", ("demo-app-2", "1!1.0rc1+local.2")),
        ("demo-01.00.tar.gz", ("demo", "01.00")),
        ("demo-v1.0.tar.gz", NOTHING),
        ("demo-1.0.tgz", NOTHING),
        ("demo-1.0.tar.bz2", NOTHING),
        ("demo-1.0.TAR.GZ", NOTHING),
        ("demo-main.zip", NOTHING),
        ("demo-.zip", NOTHING),
        ("demo- 1.0.zip", NOTHING),
        ("demo-1.0 .zip", NOTHING),
        ("-1.0.zip", NOTHING),
        ("two words-1.0.zip", NOTHING),
        ("../demo-1.0.zip", NOTHING),
        ("master.zip", NOTHING),
        ("v1.0.tar.gz", NOTHING),
        ("1.0.tar.gz", NOTHING),
        ("demo", NOTHING),
        ("", NOTHING),
    ],
)
def test_the_name_of_an_sdist(filename: str, identity: tuple[str, str]) -> None:
    assert sdist_identity(parse_request(f"{HOST}/download"), filename) == identity


@pytest.mark.parametrize(
    ("text", "identity"),
    [
        (f"{HOST}/demo-1.0.tar.gz", ("demo", "1.0")),
        (f"{HOST}/demo-1.0.tar.gz#egg=demo", ("demo", "1.0")),
        (f"Demo @ {HOST}/demo-1.0.tar.gz", ("demo", "1.0")),
        (f"other @ {HOST}/demo-1.0.tar.gz", NOTHING),
        (f"{HOST}/demo-1.0.tar.gz#subdirectory=app", NOTHING),
        (f"demo @ {HOST}/demo-1.0.tar.gz#subdirectory=app", NOTHING),
    ],
)
def test_whether_an_sdist_s_name_is_believed(text: str, identity: tuple[str, str]) -> None:
    """The name of an archive is not the word of whoever named the project, nor of a part of it."""
    assert sdist_identity(parse_request(text), "demo-1.0.tar.gz") == identity


@pytest.mark.parametrize(
    ("filename", "identity"),
    [
        ("Demo_App-1.0-py3-none-any.whl", ("demo-app", "1.0")),
        ("demo-1.0+local-2-py3-none-any.whl", ("demo", "1.0+local")),
        ("demo-1.0.whl", NOTHING),
        ("demo-1.0--py3-none-any.whl", NOTHING),
        (".whl", NOTHING),
    ],
)
def test_the_name_of_a_wheel(filename: str, identity: tuple[str, str]) -> None:
    assert wheel_identity(parse_request(f"{HOST}/download"), filename) == identity


def test_a_wheel_of_another_project() -> None:
    """No tag is named like a wheel."""
    with pytest.raises(RequirementError, match="is a wheel of `demo`") as raised:
        wheel_identity(parse_request(f"other @ {HOST}/x.whl"), "demo-1.0-py3-none-any.whl")

    assert (raised.value.code, bool(raised.value.hint)) == ("names-disagree", True)
