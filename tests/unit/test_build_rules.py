"""What a file says of builds by project: which may be done, on what they depend, and what that is just now."""

from __future__ import annotations

import hashlib
import os
import tomllib
from pathlib import Path
from typing import Any

import pytest

from felloe.build.declared import MOST_BYTES, declared_values
from felloe.build_rules import AllowedBuild, DeclaredInput, allowed_builds, declared_inputs, line_to_allow
from felloe.config_layers import Given
from felloe.errors import ConfigError

PLACE = "felloe.toml [build]: allow"
HEX = "0123456789abcdef" * 4


def given(value: Any, base: Path = Path("/project")) -> Given:
    return Given(value, PLACE, base)


# What may be built


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"name": "Acme_App"}, AllowedBuild(name="acme-app")),
        ({"name": "acme", "sha256": HEX.upper()}, AllowedBuild(name="acme", content=f"sha256:{HEX}")),
        ({"name": "acme", "content": "git:abc"}, AllowedBuild(name="acme", content="git:abc")),
    ],
)
def test_an_item(table: dict[str, str], expected: AllowedBuild) -> None:
    assert allowed_builds(given([table])) == (expected,)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("acme", f"`{PLACE}` has to be a list of tables"),
        ({"name": "acme"}, f"`{PLACE}` has to be a list of tables"),
        (["acme"], f"`{PLACE}` has to be a table, not `'acme'`"),
        ([{"name": "a"}, {}], f"`{PLACE} #2: name` has to be a text"),
        ([{"name": "?"}], f"`{PLACE} ?: name` has `?`, which is no name"),
        ([{"name": "a", "sha256": "12"}], f"`{PLACE} a: sha256` has to be a sha256"),
        ([{"name": "a", "sha256": HEX[1:] + "g"}], f"`{PLACE} a: sha256` has to be a sha256"),
        ([{"name": "a", "sha256": 1}], f"`{PLACE} a: sha256` has to be a sha256"),
        ([{"name": "a", "content": "abc"}], f"`{PLACE} a: content` has to be a content id"),
        ([{"name": "a", "content": 1}], f"`{PLACE} a: content` has to be a content id"),
        ([{"name": "a", "sha256": HEX, "content": "git:abc"}], f"`{PLACE} a` has a `sha256` and a `content`"),
        ([{"name": "a", "sha265": HEX}], f"`{PLACE} a: sha265` is not known"),
    ],
)
def test_what_is_wrong_with_a_list(value: Any, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        allowed_builds(given(value))
    assert str(caught.value).startswith(told)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("item", "name", "content", "covers"),
    [
        (AllowedBuild(name="acme"), "acme", "tree:1", True),
        (AllowedBuild(name="acme"), "acme", None, True),
        (AllowedBuild(name="acme"), "other", "tree:1", False),
        (AllowedBuild(name="acme"), None, "tree:1", False),
        (AllowedBuild(name="acme", content="tree:1"), "acme", "tree:1", True),
        (AllowedBuild(name="acme", content="tree:1"), "acme", "tree:2", False),
        (AllowedBuild(name="acme", content="tree:1"), "acme", None, False),
        (AllowedBuild(name="acme", content="tree:1"), None, "tree:1", False),
    ],
)
def test_what_an_item_covers(item: AllowedBuild, name: str | None, content: str | None, covers: bool) -> None:
    assert item.covers(name, content) is covers


@pytest.mark.parametrize("content", [None, f"sha256:{HEX}", "git:abc", "tree:abc"])
def test_the_line_to_add_covers_what_it_is_for(content: str | None) -> None:
    line = line_to_allow("acme", content)

    (item,) = allowed_builds(given(tomllib.loads(f"allow = [{line}]")["allow"]))

    assert item.covers("acme", content)
    assert item.covers("acme", "sha256:other") == (content in {None, "tree:abc"})


# On what builds depend


def test_declared_inputs() -> None:
    table = {
        "Acme": {"files": ["vendor/acme.cfg"], "env": ["ACME_HOME"]},
        "acme": {"files": "/etc/acme.cfg"},
        "other": {},
    }

    assert declared_inputs(given(table)) == {
        "acme": (
            DeclaredInput(text="env:ACME_HOME"),
            DeclaredInput(text="file:vendor/acme.cfg", path=Path("/project/vendor/acme.cfg")),
            DeclaredInput(text="file:/etc/acme.cfg", path=Path("/etc/acme.cfg")),
        ),
        "other": (),
    }


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ([], f"`{PLACE}` has to be a table"),
        ({"?": []}, f"`{PLACE}` has `?`, which is no name"),
        ({"acme": ["env:A"]}, f"`{PLACE}: acme` has to be a table"),
        ({"acme": {"file": ["a"]}}, f"`{PLACE}: acme: file` is not known"),
        ({"acme": {"env": [1]}}, f"`{PLACE}: acme: env` has to be a list of texts"),
        *(
            ({"acme": {"env": [odd]}}, f"`{PLACE}: acme: env` has to be a list of names of variables")
            for odd in ("", "A=b", "A\0", "A_*")
        ),
        *(({"acme": {"files": [odd]}}, f"`{PLACE}: acme: files` has to be a list of paths") for odd in ("", "\0")),
    ],
)
def test_what_is_wrong_with_inputs(value: Any, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        declared_inputs(given(value))
    assert str(caught.value).startswith(told)
    assert caught.value.hint


def values(folder: Path, *texts: str, **environ: str) -> dict[str, str | None]:
    kinds = {"env": "env", "file": "files"}
    table: dict[str, list[str]] = {"env": [], "files": []}
    for text in texts:
        kind, _, rest = text.partition(":")
        table[kinds[kind]].append(rest)
    return declared_values(declared_inputs(given({"acme": table}, folder))["acme"], environ)


def test_values(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"contents")
    (tmp_path / "link").symlink_to("file")
    digest = f"sha256:{hashlib.sha256(b'contents').hexdigest()}"

    found = values(
        tmp_path, "env:A", "env:B", "env:C", "file:file", "file:link", "file:none", "file:file/x", A="1", B=""
    )

    assert found == {
        "env:A": "1",
        "env:B": "",
        "env:C": None,
        "file:file": digest,
        "file:link": digest,
        "file:none": "absent",
        "file:file/x": "absent",
    }


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _too_large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1)


REFUSED = {
    "FIFO": (_fifo, "is no regular file"),
    "folder": (Path.mkdir, "is no regular file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "is no regular file"),
    "link to itself": (lambda path: path.symlink_to(path.name), "cannot be read"),
    "too large": (_too_large, f"has more than {MOST_BYTES} bytes"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_read(tmp_path: Path, kind: str) -> None:
    make, told = REFUSED[kind]
    make(tmp_path / "file")
    with pytest.raises(ConfigError, match=told) as caught:
        values(tmp_path, "file:file")
    assert "`file:file`" in str(caught.value)
    assert caught.value.hint
