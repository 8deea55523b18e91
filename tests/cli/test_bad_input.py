"""Bad input: an error that says what, where and what to do; no traceback, and nothing left behind.

That no run prints a traceback or leaves something half-made is checked by `Program` itself.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from packaging.requirements import InvalidRequirement, Requirement

from felloe.testing import Behaviour, IndexServer, Project, make_sdist, make_wheel
from tests.fixtures.program import Program

JSON = "application/vnd.pypi.simple.v1+json"
ESCAPE = "../" * 8 + "tmp/escaped"


def page(version: str, *files: Mapping[str, object]) -> bytes:
    return json.dumps({"meta": {"api-version": version}, "name": "odd", "files": files}).encode()


def file(url: str) -> Mapping[str, object]:
    return {"filename": "odd-1.0-py3-none-any.whl", "url": url, "hashes": {}}


def answers_all(felloe: Program, expected: Mapping[str, str]) -> None:
    """Asks for all of it in one run, as metadata, and compares the codes of the errors."""
    result = felloe("metadata", *expected, "--json", code=1)

    assert dict(zip(expected, result.codes, strict=True)) == dict(expected)
    for each in result.results:
        assert each["error"]["message"], each
        assert each["error"]["hint"], each


def is_requirement(text: str) -> bool:
    """For this release of packaging: from 26.4 on, `===` needs something behind it."""
    try:
        Requirement(text)
    except InvalidRequirement:
        return False
    return True


def test_requirements_that_name_nothing(felloe: Program, index: IndexServer) -> None:
    index.add(make_wheel(felloe.home, Project("future", "1.0", requires_python=">=99")), requires_python=">=99")
    index.add(make_wheel(felloe.home, Project("foreign", "1.0"), tags="cp27-cp27m-win32"))
    index.add(make_wheel(felloe.home, Project("yanked", "1.0")), yanked="broken")

    answers_all(
        felloe,
        {
            "nothing-here": "project-not-found",
            "acme==9": "no-matching-distribution",
            "future": "no-matching-distribution",
            "foreign": "no-matching-distribution",
            "yanked": "no-matching-distribution",
            "acme ===nope": "no-matching-distribution",
            "acme ===": "no-matching-distribution" if is_requirement("acme ===") else "invalid-requirement",
            "acme=1": "invalid-requirement",
            "": "invalid-requirement",
            "acme[": "invalid-requirement",
            f"acme=={'9' * 5000}": "invalid-requirement",
            "ssh://example.com/acme-1.0.tar.gz": "no-source",
            "hg+https://example.com/acme": "no-source",
            "acme @ file:///acme-1.0.tar.gz": "path-not-found",
        },
    )


def test_a_requirement_that_does_not_parse_is_shown_with_the_place(felloe: Program) -> None:
    result = felloe("metadata", "acme >> 1", code=1)

    shown, *excerpt = result.err.splitlines()
    assert "at column 6" in shown
    assert excerpt[:2] == ["    acme >> 1", "         ^"]
    assert excerpt[2].startswith("  hint: ")


def test_pages_that_are_not_of_an_index(felloe: Program, index: IndexServer) -> None:
    index.page("no-json", b"{not json", JSON)
    index.page("not-utf8", b"\xff\xfe" * 50, JSON)
    index.page("a-list", b"[1]", JSON)
    index.page("version-2", page("2.0", file("odd-1.0-py3-none-any.whl")), JSON)
    index.page("a-picture", b"\x89PNG", "image/png")
    index.page("text", b"hello", "text/plain")

    answers_all(
        felloe,
        {
            **dict.fromkeys(["no-json", "not-utf8", "a-list", "a-picture", "text"], "invalid-index"),
            "version-2": "unsupported-api-version",
        },
    )


def test_an_http_index_leads_to_no_file_of_this_machine(felloe: Program, index: IndexServer) -> None:
    wheel = make_wheel(felloe.home, Project("odd", "1.0"))
    index.page("odd", page("1.0", file(wheel.as_uri())), JSON)

    answers_all(felloe, {"odd": "forbidden-link"})


def test_archives_that_are_none_or_are_hostile(felloe: Program, index: IndexServer, tmp_path: Path) -> None:
    def add(name: str, make: Callable[..., Path], **made: object) -> Path:
        path = make(tmp_path / "bad", Project(name, "1.0", padding=20_000), **made)
        index.add(path, hashes=False)
        return path

    def spoil(path: Path, content: bytes) -> None:
        path.write_bytes(content)
        index.add(path, hashes=False)

    spoil(add("no-zip", make_wheel), b"this is no zip file" * 100)
    spoil(add("no-tar", make_sdist), b"this is no tar file" * 100)
    spoil(add("empty", make_sdist), b"")
    whole = add("torn", make_sdist)
    spoil(whole, whole.read_bytes()[:-9000])
    add("escaping", make_sdist, files={ESCAPE: b"out"})
    add("no-info", make_wheel, files={"no_info-1.0.dist-info/METADATA": None})

    answers_all(
        felloe,
        {
            "no-zip": "invalid-archive",
            "no-tar": "invalid-archive",
            "empty": "invalid-archive",
            "torn": "invalid-archive",
            "escaping": "invalid-archive",
            "no-info": "invalid-archive",
        },
    )
    assert not Path("/tmp/escaped").exists()


def test_metadata_that_disagrees_or_cannot_be_read(felloe: Program, index: IndexServer, tmp_path: Path) -> None:
    def text(name: str, version: str) -> str:
        return f"Metadata-Version: 2.2\nName: {name}\nVersion: {version}\n"

    for name, metadata in (("misnamed", text("other", "1.0")), ("misversioned", text("misversioned", "2.0"))):
        index.add(make_wheel(tmp_path, Project(name, "1.0", metadata=metadata)), sidecar=True)
    index.add(make_sdist(tmp_path, Project("lying", "1.0", metadata=text("truthful", "1.0"))))
    index.add(make_wheel(tmp_path, Project("garbage", "1.0", metadata="\0\0\0")), sidecar=True)

    answers_all(
        felloe,
        {**dict.fromkeys(["misnamed", "misversioned", "lying"], "names-disagree"), "garbage": "invalid-metadata"},
    )
    assert [path.name for path in felloe.cache.rglob("*.json") if "-v0/index/" in path.as_posix()] == []


@pytest.mark.parametrize("status", [401, 403, 400, 500])
def test_a_refusing_index_is_an_error_and_the_next_is_not_asked(
    felloe: Program, index: IndexServer, status: int
) -> None:
    felloe.write("felloe.toml", "max-retry-seconds = 0.01")
    with IndexServer() as refusing:
        refusing.behave("*", Behaviour(statuses=[status] * 50))
        extra = ["--extra-index-url", refusing.index_url]
        result = felloe("metadata", "acme", *extra, "--timeout", "5", "--json", code=1)
        asked = [request.status for request in refusing.requests]

    assert result.codes == [f"http-{status}"]
    assert str(status) in result.results[0]["error"]["message"]
    assert result.results[0]["error"]["hint"]
    assert set(asked) == {status}
    assert index.requests == []


def test_no_network_and_a_silent_server(felloe: Program, index: IndexServer) -> None:
    felloe.write("felloe.toml", "max-retry-seconds = 0.01")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)  # takes connections and never answers
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/simple/"
        mute = felloe("metadata", "acme", "--extra-index-url", address, "--timeout", "0.1", "--json", code=1)
    dead = felloe("metadata", "acme", "--extra-index-url", address, "--json", code=1)

    assert mute.codes == ["timeout"]
    assert dead.codes == ["unreachable"]
    assert all(each["error"]["hint"] for each in [*mute.results, *dead.results])
    assert index.requests == []


@pytest.mark.parametrize(
    ("options", "name"),
    [
        pytest.param(["--index-url", "me:s3cr3t@example.com"], "--index-url", id="no URL"),
        pytest.param(["--extra-index-url", "ftp://example.com"], "--extra-index-url", id="scheme"),
        pytest.param(["--exclude-newer", "soon"], "--exclude-newer", id="date"),
        pytest.param(["--no-binary", "not a name"], "--no-binary", id="name"),
    ],
)
def test_settings_that_will_not_do(felloe: Program, index: IndexServer, options: list[str], name: str) -> None:
    result = felloe("metadata", "acme", *options, code=2)

    assert f"`{name}`" in result.err
    assert "\n  hint: " in result.err
    assert "s3cr3t" not in result.err
    assert (result.out, index.requests) == ("", [])


def test_a_folder_of_links_that_is_not_there(felloe: Program, index: IndexServer) -> None:
    result = felloe("metadata", "acme", "--find-links", "nowhere", "--json")

    assert "is not there" in result.err
    assert f"{felloe.cwd.as_uri()}/nowhere" in result.err
    assert result.results[0]["version"] == "2.0"


def test_a_misspelt_setting_of_an_index(felloe: Program, index: IndexServer) -> None:
    felloe.write("felloe.toml", "[[index]]", f'name = "ours"\nurl = "{index.index_url}"', 'project = ["acme"]')

    result = felloe("metadata", "acme", code=1)

    for word in ("felloe.toml [[index]] ours", "`project`", "`projects`"):
        assert word in result.err
    assert index.requests == []


def test_a_setting_that_is_not_read_from_a_file(felloe: Program) -> None:
    felloe.write("felloe.toml", 'constraints = ["acme<2"]')

    assert felloe("metadata", "acme", "-q").err == ""
    told = felloe("metadata", "acme").err
    assert told.startswith("felloe: warning: `felloe.toml constraints` is not read from a file")
    assert told.count("\n") == 1


def test_certificates_that_are_not_there(felloe: Program) -> None:
    address = "https://127.0.0.1:9/simple/"
    felloe.write("pip.conf", "[global]", "cert = nothing.pem")
    ask = ["metadata", "acme", "--index-url", address, "--json"]

    option = felloe(*ask, "--cert", "nothing.pem", code=1).results[0]["error"]
    file = felloe(*ask, code=1, PIP_CONFIG_FILE="pip.conf").results[0]["error"]
    folder = felloe(*ask, code=1, SSL_CERT_FILE="nothing.pem").results[0]["error"]

    for error, origin in ((option, "--cert"), (file, "pip.conf [global] cert"), (folder, "SSL_CERT_FILE")):
        assert origin in error["hint"]
        assert "nothing.pem" in error["message"]
