"""Requirements in every form that people write, and what is said of those that are none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from felloe.errors import RequirementError
from felloe.request import Expanded, matches_environment, parse_hash, parse_pep508, parse_request, redacted
from felloe.url import Url
from felloe.values import Interpreter, Request

HERE = Path("/work folder")
A, B = "a" * 64, "b" * 64
SHA256 = f"sha256:{A}"


def parse(text: str, **options: Any) -> Request:
    return parse_request(text, cwd=HERE, **options)


def refuse(text: str, **options: Any) -> RequirementError:
    with pytest.raises(RequirementError) as caught:
        parse(text, **options)
    assert caught.value.hint
    return caught.value


def interpreter(**markers: str) -> Interpreter:
    everything = {name: str(value) for name, value in default_environment().items()} | markers
    return Interpreter(path=Path("/python"), version="3.11.4", tags=(), markers=everything)


@pytest.mark.parametrize(
    "text",
    [
        "flask",
        "Flask",
        "zope.interface",
        "a__b.-c",
        "flask==1.0",
        "flask ~= 1.0 , != 1.0.3",
        "flask (>=1.0)",
        "flask===1.0-custom",
        "flask[async]",
        "flask [ Async , dot.env ] >= 2 ; python_version >= '3.8' and (os_name == 'nt' or extra == 'x')",
        "flask;sys_platform=='linux'",
        "name @ https://example.com/name-1.0.zip",
        "name[extra] @ https://example.com/name-1.0.zip ; os_name == 'nt'",
        "name@https://example.com/a;b/name-1.0.zip",
        "name @ git+https://example.com/name.git@main",
        "  padded >= 1  ",
    ],
)
def test_pep_508_is_read_as_packaging_reads_it(text: str) -> None:
    request, oracle = parse(text), Requirement(text)
    assert request.name == canonicalize_name(oracle.name)
    assert request.extras == {canonicalize_name(extra) for extra in oracle.extras}
    assert (request.specifier, request.marker) == (oracle.specifier, oracle.marker)
    assert request.url == (Url(oracle.url) if oracle.url else None)
    assert request.text == text.strip()
    assert (request.path, request.subdirectory, request.editable, request.hashes) == (None, None, False, frozenset())


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("./folder", "/work folder/folder"),
        (".", "/work folder"),
        ("..", "/work folder/.."),
        ("../next", "/work folder/../next"),
        ("folder/", "/work folder/folder"),
        ("a/b", "/work folder/a/b"),
        ("/absolute/folder", "/absolute/folder"),
        (".hidden", "/work folder/.hidden"),
        ("C++/folder", "/work folder/C++/folder"),
        ("name-1.0-py3-none-any.whl", "/work folder/name-1.0-py3-none-any.whl"),
        ("name-1.0.tar.gz", "/work folder/name-1.0.tar.gz"),
        ("name-1.0.TGZ", "/work folder/name-1.0.TGZ"),
        ("name.tar.bz2", "/work folder/name.tar.bz2"),
        ("name.tar.xz", "/work folder/name.tar.xz"),
        ("main.zip", "/work folder/main.zip"),
        ("a folder/b c", "/work folder/a folder/b c"),
        ("file:///absolute/a%20b", "/absolute/a b"),
        ("file://localhost/absolute", "/absolute"),
        ("file:relative/folder", "/work folder/relative/folder"),
        ("name @ file:///absolute/name-1.0.zip", "/absolute/name-1.0.zip"),
        ("name @ ./folder", "/work folder/folder"),
        ("-e .", "/work folder"),
        ("-e folder", "/work folder/folder"),
        ("-e./folder", "/work folder/folder"),
        ("--editable ./folder", "/work folder/folder"),
        ("--editable=./folder", "/work folder/folder"),
        ("-e name @ file:///absolute/folder", "/absolute/folder"),
    ],
)
def test_a_path_is_absolute_and_starts_from_the_current_folder(text: str, path: str) -> None:
    request = parse(text)
    assert request.path == Path(path)
    assert request.url is None
    assert request.specifier == SpecifierSet()
    assert request.editable is text.startswith("-")
    assert request.name == ("name" if "name @" in text else None)


def test_a_path_starts_from_the_folder_of_the_process_by_default() -> None:
    assert parse_request("./folder").path == Path.cwd() / "folder"


def test_a_current_folder_that_is_gone_is_an_error_for_relative_paths_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert parse_request("/absolute/folder").path == Path("/absolute/folder")
    assert parse_request("flask").name == "flask"
    with pytest.raises(RequirementError, match="which is gone"):
        parse_request("./folder")


@pytest.mark.parametrize(
    ("text", "extras"),
    [
        ("./folder[extra]", {"extra"}),
        (".[a, B_c]", {"a", "b-c"}),
        ("./name-1.0-py3-none-any.whl[x]", {"x"}),
        ("name.zip[x]", {"x"}),
        ("-e .[]", set()),
        ("git+https://example.com/a.git#egg=name[one,two]", {"one", "two"}),
        ("name[one] @ https://example.com/a.zip#egg=name[two]", {"one", "two"}),
    ],
)
def test_extras_of_what_has_no_name(text: str, extras: set[str]) -> None:
    assert parse(text).extras == extras


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("https://example.com/master.zip", {"url": Url("https://example.com/master.zip")}),
        ("git+ssh://git@example.com/a.git@v1", {"url": Url("git+ssh://git@example.com/a.git@v1")}),
        ("git+https://example.com/a.git#subdirectory=a/./b/", {"subdirectory": "a/b"}),
        ("https://example.com/a.zip#subdirectory=.", {"subdirectory": None}),
        ("https://example.com/a.zip#subdirectory=a%20b&egg=Na.me", {"subdirectory": "a b", "name": "na-me"}),
        (f"https://example.com/a.zip#sha256={A.upper()}", {"hashes": {SHA256}}),
        (f"file:///a.zip#sha256={A}&subdirectory=b", {"hashes": {SHA256}, "subdirectory": "b"}),
        (f"name @ https://example.com/a.zip#sha512={'c' * 128}", {"hashes": {f"sha512:{'c' * 128}"}}),
        ("-e git+https://example.com/a.git#egg=name", {"editable": True, "name": "name"}),
        ("-e name @ git+https://example.com/a.git", {"editable": True, "name": "name"}),
        ("s3://bucket/key#version=2", {"url": Url("s3://bucket/key#version=2"), "name": None}),
    ],
)
def test_urls_and_what_their_fragments_say(text: str, fields: dict[str, Any]) -> None:
    request = parse(text)
    assert {key: getattr(request, key) for key in fields} == fields


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com/a.zip ; os_name == 'nt'",
        "https://example.com/a.zip; os_name == 'nt'",
        "./a.zip ; os_name == 'nt'",
        "./a.zip;os_name == 'nt'",
        "a.zip; os_name == 'nt'",
        "-e ./a ; os_name == 'nt'",
    ],
)
def test_a_marker_may_follow_a_url_or_a_path(text: str) -> None:
    request = parse(text)
    assert str(request.marker) == 'os_name == "nt"'
    assert (request.path or Path(request.url.path if request.url else "")).name in {"a", "a.zip"}


def test_a_semicolon_without_a_blank_belongs_to_the_url() -> None:
    assert parse("https://example.com/a;b.zip").url == Url("https://example.com/a;b.zip")


@pytest.mark.parametrize(
    ("text", "hashes"),
    [
        (f"flask==1.0 --hash=sha256:{A}", {SHA256}),
        (f"flask==1.0 --hash sha256:{A.upper()}  --hash=SHA256:{B} ", {SHA256, f"sha256:{B}"}),
        (f"flask==1.0 ; os_name == 'nt' --hash=sha384:{'c' * 96}", {f"sha384:{'c' * 96}"}),
        (f"./a.zip --hash=sha256:{A}", {SHA256}),
        (f"https://example.com/a.zip\t--hash=sha256:{A}", {SHA256}),
        (f"https://example.com/a.zip#sha256={A} --hash=sha256:{A} --hash=sha256:{B}", {SHA256}),
        (f"https://example.com/a.zip#sha256={A} --hash=sha512:{'c' * 128}", {SHA256, f"sha512:{'c' * 128}"}),
    ],
)
def test_hash_options_are_obeyed_and_are_no_part_of_the_text(text: str, hashes: set[str]) -> None:
    request = parse(text)
    assert request.hashes == hashes
    assert request.text == text.partition("--hash")[0].strip()


@pytest.mark.parametrize("quote", ["'", '"'])
def test_a_hash_may_be_in_quotes(quote: str) -> None:
    request = parse(f"flask --hash={quote}sha256:{A}{quote} --hash {quote}sha256:{B}{quote}")
    assert request.hashes == {SHA256, f"sha256:{B}"}


@pytest.mark.parametrize("hash_", [f"'sha256:{A}", f"sha256:{A}'", f"'sha256:{A}\"", "''", "'"])
def test_half_a_quote_is_no_hash(hash_: str) -> None:
    assert "is not a hash" in str(refuse(f"flask --hash={hash_}"))


@pytest.mark.parametrize("option", ["--config-settings", "--config-setting", "--config-s", "-C"])
@pytest.mark.parametrize("value", ["=a=b", " a=b", "='a=b c'"])
def test_where_config_settings_belong_is_told(option: str, value: str) -> None:
    error = refuse(f"flask --hash={SHA256} {option}{value}")
    assert f"`{option}` at column {len(SHA256) + 15} is not an option" in str(error)
    assert "`--config-settings-package NAME:KEY=VALUE`" in error.hint


def test_hashes_given_beside_the_text_count_like_those_in_it() -> None:
    assert parse(f"flask --hash={SHA256}", hashes=[f"SHA256:{B}"]).hashes == {SHA256, f"sha256:{B}"}
    assert "is not a hash" in str(refuse("flask", hashes=["sha256:12"]))


@pytest.mark.parametrize(
    "text", [f"md5:{'a' * 32}", f"sha1:{'a' * 40}", "sha256", "", f"shake_128:{A}", "sha256:12", f"sha256:{'g' * 64}"]
)
def test_only_strong_and_whole_hashes_are_accepted(text: str) -> None:
    with pytest.raises(RequirementError, match="is not a hash") as caught:
        parse_hash(text)
    assert "sha256" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "expected", "column"),
    [
        ("flask=>1", "semicolon", 6),
        ("flask=1", "semicolon", 6),
        ("flask >=1.0 <2", "comma", 13),
        ("flask[", "RIGHT_BRACKET", 7),
        ("flask; bogus == '1'", "marker variable", 8),
        ("flask; python_version", "marker operator", 22),
        ("flask>=1.0.*", "suffix", 12),
        ("  flask=>1", "semicolon", 8),
        ("name @ https://example.com/a b", "semicolon", 30),
        ("-e name @ https://example.com/a b", "semicolon", 33),
        ("./a.zip ; os_name = 'nt'", "marker operator", 19),
        ("!", "package name", 1),
        ("", "package name", 1),
        ("-e", "package name", 3),
        ("--no-deps", "not an option", 1),
        ("-extra-index-url https://example.com/", "not an option", 1),
        ("-e -x", "not an option", 4),
        ("flask --no-deps", "not an option", 7),
        ("flask -x", "not an option", 7),
        (f"flask --hash={SHA256} trailing", "not an option", 13 + len(SHA256) + 2),
    ],
)
def test_a_mistake_is_shown_with_its_column(text: str, expected: str, column: int) -> None:
    error = refuse(text)
    assert expected in str(error)
    assert f"at column {column}" in str(error)
    assert error.payload["column"] == column


def test_a_caret_points_at_the_mistake() -> None:
    assert str(refuse("flask=>1")).splitlines()[1:] == ["    flask=>1", "         ^"]


def test_a_caret_points_at_the_mistake_when_a_secret_is_left_out() -> None:
    lines = str(refuse("name @ https://user:secret@example.com/a x")).splitlines()
    assert lines[1] == "    name @ https://example.com/a x"
    assert lines[2].index("^") == lines[1].index(" x") + 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a @ file:///x#egg=b", "is called `a` and `b`"),
        ("https://example.com/a#egg=!", "is not a name"),
        ("./folder[a b]", "is not a name"),
        ("https://example.com/a#subdirectory=../b", "is not inside"),
        ("https://example.com/a#subdirectory=/b", "is not inside"),
        ("https://example.com/a#subdirectory=b%00", "is not inside"),
        ("https://example.com/a#subdirectory=b%5C..%5Cc", "is not inside"),
        ("https://example.com/a#md5=" + "a" * 32, "can be relied on"),
        ("https://example.com:port/a", "is not an absolute URL"),
        ("https://example.com/a b", "is not an absolute URL"),
        ("git+example.com:a/b.git", "is not an absolute URL"),
        ("git+git@example.com://a/b.git", "is not an absolute URL"),
        ("name @ reader@example.com:a/b.git", "is not an absolute URL"),
        ("file://elsewhere/share", "on another host"),
        ("file:///a%00b", "is not an absolute path"),
        ("./a\0b", "is not an absolute path"),
        ("-e ./a.zip", "cannot be edited"),
        ("-e https://example.com/folder", "cannot be edited"),
        (f"-e ./a --hash={SHA256}", "has a hash"),
        (f"git+https://example.com/a.git --hash={SHA256}", "has a hash"),
        (f"https://example.com/a.zip#sha256={A} --hash=sha256:{B}", "one hash in its URL and another"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, problem: str) -> None:
    assert problem in str(refuse(text))


@pytest.mark.parametrize("text", ["git+example.com:a/b.git", "git@example.com:", "name @ example.com:a/b.git"])
def test_the_form_for_git_over_ssh_is_suggested(text: str) -> None:
    assert "git+ssh://" in refuse(text).hint


def test_others_require_no_repository_in_the_form_of_scp() -> None:
    error = refuse("name @ git@example.com:a/b.git", origin="dependency")
    assert "is not an absolute URL" in str(error)
    assert "git+ssh://" in error.hint


@pytest.mark.parametrize(
    ("text", "shown", "url"),
    [
        ("git@example.com:a/b.git", "git+ssh://example.com/a/b.git", "git+ssh://git@example.com/a/b.git"),
        ("git+git@example.com:a@v1", "git+ssh://example.com/a@v1", "git+ssh://git@example.com/a@v1"),
        ("git+reader@example.com:/srv/a", "git+ssh://example.com/srv/a", "git+ssh://reader@example.com/srv/a"),
        ("git@example.com:22/a", "git+ssh://example.com/22/a", "git+ssh://git@example.com/22/a"),
        ("git@[::1]:~/a", "git+ssh://[::1]/~/a", "git+ssh://git@[::1]/~/a"),
        ("-e git@example.com:a#egg=b", "-e git+ssh://example.com/a#egg=b", "git+ssh://git@example.com/a#egg=b"),
        (
            "name @ git@example.com:a ; os_name == 'nt'",
            "name @ git+ssh://example.com/a ; os_name == 'nt'",
            "git+ssh://git@example.com/a",
        ),
    ],
)
def test_the_form_of_scp_is_a_url_of_ssh(text: str, shown: str, url: str) -> None:
    request = parse(text)
    assert (request.text, request.url) == (shown, Url(url))
    assert parse(request.text.replace("://", "://git@")).url is not None


@pytest.mark.parametrize("text", ["git@https://example.com/a.zip", "git @ https://example.com/a.zip", "git==1.0"])
def test_git_is_a_name_too(text: str) -> None:
    assert parse(text).name == "git"


@pytest.mark.parametrize("text", ["./folder", "-e .", "/folder", "./a.zip", "https://example.com/a.zip", "a --hash=b"])
@pytest.mark.parametrize("origin", ["dependency", "build"])
def test_what_others_require_is_pep_508_alone(text: str, origin: str) -> None:
    assert "is not a requirement" in str(refuse(text, origin=origin))


@pytest.mark.parametrize("text", ["a @ ./folder", "a @ folder", "a @ file:relative"])
def test_what_others_require_names_no_relative_path(text: str) -> None:
    assert "absolute" in str(refuse(text, origin="dependency"))


def test_what_others_require_keeps_its_origin() -> None:
    request = parse("a @ file:///folder ; os_name == 'a -b'", origin="dependency")
    assert (request.origin, request.path) == ("dependency", Path("/folder"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("name @ https://user:secret@example.com/a.zip", "name @ https://example.com/a.zip"),
        ("https://secret@example.com/a.zip?token=secret#egg=a", "https://example.com/a.zip?****#egg=a"),
        ("git+https://secret@example.com/a@v1#subdirectory=b&k=secret", "git+https://example.com/a@v1#subdirectory=b"),
        ("-e git+https://secret@example.com/a#egg=b", "-e git+https://example.com/a#egg=b"),
        (
            "name @ https://secret@example.com/a.zip ; os_name == 'nt'",
            "name @ https://example.com/a.zip ; os_name == 'nt'",
        ),
    ],
)
def test_a_secret_is_not_in_the_text_but_in_the_url(text: str, shown: str) -> None:
    request = parse(text)
    assert request.text == shown
    assert "secret" not in repr(request)
    assert request.url is not None
    assert request.url.userinfo is not None


@pytest.mark.parametrize(
    "text",
    [
        "name @ https://user:secret@example.com/a x",
        "name @ https://user:se/secret@example.com/a x",
        "https://user:sec?ret:secret@example.com:port/",
        "https://user:sec#ret:secret@example.com/ x",
        "https://user:secret",
        "a @ https://user:" + "secret" * 300 + "@example.com/ x",
        "a @ https://x?https://user:secret@example.com/ x",
        "https://user:secret@example.com/a#sha256=1",
        "https://user:secret@example.com/a.zip --bogus",
        "file://user:secret@/folder",
        "https://user:secret with-blank@example.com/",
        "name @ https://user:1 secret@example.com/a",
        "name @ https://user:secret @ more@example.com/a x",
        "https:/user:secret@example.com/a",
        "https:user:secret@example.com/a",
        "git+user:secret@example.com:a/b.git",
        "name @ git+user:secret@example.com:a/b.git",
        "user:secret@example.com/simple",
        "//user:secret@example.com/a.zip",
        "-x https://user:secret@example.com/",
    ],
)
def test_an_error_shows_no_secret(text: str) -> None:
    error = refuse(text)
    assert "secret" not in f"{error} {error.hint} {error.payload}"
    assert error.__cause__ is None or "secret" not in str(error.__cause__)


@pytest.mark.parametrize(
    "text",
    [
        "a @ https://[::1]:80/x@v1, user@example.com",
        "git+file:///folder@v1",
        "file:///user@home/a:b@c/d",
        "git+https://example.com/a.git@v1#subdirectory=b",
    ],
)
def test_redacting_leaves_the_rest_alone(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a==" + "1" * 30_000, "1000 digits"),
        ("a" * 40_000, "40000 characters"),
        ("./" + "a" * 40_000, "40002 characters"),
        ("a;" + "(" * 30_000, "is nested "),
        ("./a;" + "(" * 30_000, "is nested "),
        ("a" + " " * 30_000 + "!", "expected"),
        ("a\n==1", "expected"),
        ("a; os_name == '\\x'", "invalid quoted string"),
    ],
)
def test_hostile_texts_get_a_short_answer(text: str, problem: str) -> None:
    message = str(refuse(text))
    assert problem in message
    assert len(message) < 1000
    assert message.replace("\n", "").isprintable()


@pytest.mark.parametrize("text", ["[" * 30_000, "a" + "\t" * 30_000 + "x@", "-" + "@" * 30_000, "a;" * 10_000])
def test_repetition_is_read_in_one_go(text: str) -> None:
    with pytest.raises(RequirementError) as caught:
        parse(f"{text} !")
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("text", ["://" * 10_000, "./-e" * 8_000, "./[" * 10_000, "./" + " " * 30_000 + "]"])
def test_a_long_path_is_a_path(text: str) -> None:
    assert parse(text).path is not None


def test_pep_508_is_parsed_once_for_each_text() -> None:
    assert parse_pep508("memoised>=1") is parse_pep508("memoised>=1")


def test_a_long_text_is_parsed_and_not_kept() -> None:
    text = "long" + ",".join([">=1"] * 1000)
    assert parse_pep508(text) == Requirement(text)
    assert parse_pep508(text) is not parse_pep508(text)


@pytest.mark.parametrize(
    ("marker", "markers", "matches"),
    [
        ("python_version < '3'", {"python_version": "2.7"}, True),
        ("python_version < '3'", {"python_version": "3.15"}, False),
        ("python_version < '3.9'", {"python_version": "3.10"}, False),
        ("sys_platform == 'win32' or os_name == 'x'", {"os_name": "x"}, True),
        ("python_full_version >= '3.15'", {"python_full_version": "3.15.0+"}, True),
        ("extra == 'test'", {}, False),
        ("extra != 'test'", {}, True),
    ],
)
def test_a_marker_is_evaluated_for_the_interpreter_asked_about(
    marker: str, markers: dict[str, str], matches: bool
) -> None:
    assert matches_environment(parse(f"flask; {marker}"), interpreter(**markers)) is matches


def test_without_a_marker_every_environment_matches() -> None:
    assert matches_environment(parse("flask"), interpreter())


@pytest.mark.parametrize("marker", ["os_name ~= 'b'", "'x' in extras", "'a' == 'b'"])
def test_a_marker_without_a_meaning_is_an_error(marker: str) -> None:
    with pytest.raises(RequirementError, match="has no meaning"):
        matches_environment(parse(f"flask; {marker}"), interpreter())


def test_an_error_of_a_marker_shows_it_as_the_text_does() -> None:
    request = evolve(parse('flask; python_version ~= "s3cr3t"'), text='flask; python_version ~= "${PW}"')
    with pytest.raises(RequirementError) as caught:
        matches_environment(request, interpreter())
    assert str(caught.value) == 'the marker of `flask; python_version ~= "${PW}"` has no meaning'
    assert caught.value.__suppress_context__


def test_a_text_with_values_is_shown_as_it_was_written() -> None:
    text = Expanded("a==1+s3cr3t", written="a==1+${PW}")
    assert (text, parse_pep508(text)) == ("a==1+s3cr3t", Requirement("a==1+s3cr3t"))
    assert redacted(text) == "a==1+${PW}"
    assert redacted(Expanded("", written="a @ https://me:pw@example.com/${A}")) == "a @ https://example.com/${A}"


@pytest.mark.skipif(os.name != "nt", reason="a backslash separates on Windows alone")
def test_windows_paths() -> None:
    assert parse_request("C:\\folder").path == Path("C:/folder")
    assert parse_request("file:///C:/folder").path == Path("C:/folder")
