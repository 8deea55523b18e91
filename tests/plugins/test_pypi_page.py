"""Pages of an index: what is read from them, and what is refused."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from felloe.errors import SourceError
from felloe.url import Url
from felloe.values import Dist, Page
from felloe_pypi.page import ACCEPT, File, dist_of, links_of, parse_page

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "application/vnd.pypi.simple.v1+html"
PAGE = "https://example.com/simple/foo/"
SHA = "0123456789abcdef" * 4
OTHER_SHA = "f" * 64
WHEEL = "foo-1.0-py3-none-any.whl"
SDIST = "foo-1.0.tar.gz"


def page_of(body: str | bytes, content_type: str = "text/html", url: str = PAGE) -> Page:
    body = body.encode() if isinstance(body, str) else body
    return Page(url=Url(url), status=200, headers={"content-type": content_type}, body=body)


def json_page(*files: Any, url: str = PAGE, **top: Any) -> Page:
    data = {"meta": {"api-version": "1.1"}, "name": "foo", "files": list(files), **top}
    return page_of(json.dumps(data), JSON, url)


def entry(**keys: Any) -> dict[str, Any]:
    """A file of a JSON page; `requires_python` stands for `requires-python`, None leaves a key out."""
    whole = {"filename": SDIST, "url": f"https://files.example.com/{SDIST}", "hashes": {}, **keys}
    return {key.replace("_", "-"): value for key, value in whole.items() if value is not None}


def one_json(**keys: Any) -> File:
    (file,) = parse_page(json_page(entry(**keys)), "foo")
    return file


def one_html(attributes: str = f'href="{SDIST}"', *, head: str = "", url: str = PAGE) -> File:
    (file,) = parse_page(page_of(f"<html><head>{head}</head><a {attributes}>{SDIST}</a></html>", url=url), "foo")
    return file


def refused(page: Page, project: str = "foo") -> SourceError:
    with pytest.raises(SourceError) as caught:
        parse_page(page, project)
    assert caught.value.hint
    assert "Traceback" not in str(caught.value)
    return caught.value


def read_unless_refused(page: Page) -> tuple[File, ...]:
    with contextlib.suppress(SourceError):
        return parse_page(page, "foo")
    return ()


# The type of the page


def test_accept_prefers_json() -> None:
    qualities = [part.partition(";q=")[::2] for part in ACCEPT.split(", ")]
    assert qualities == [(JSON, ""), (HTML, "0.2"), ("text/html", "0.01")]


@pytest.mark.parametrize(
    "content_type",
    [
        JSON,
        "application/vnd.pypi.simple.latest+json",
        f"{JSON}; charset=utf-8",
        f"  {JSON.upper()} ;q=1",
    ],
)
def test_json_by_type(content_type: str) -> None:
    page = page_of(json_page(entry()).body, content_type)
    assert [file.filename for file in parse_page(page, "foo")] == [SDIST]


@pytest.mark.parametrize(
    "content_type",
    [HTML, "application/vnd.pypi.simple.latest+html", "text/html", "Text/HTML; charset=UTF-8", "text/html;charset=x"],
)
def test_html_by_type(content_type: str) -> None:
    assert [file.filename for file in parse_page(page_of(f"<a href={SDIST}>", content_type), "foo")] == [SDIST]


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/json", "application/vnd.pypi.simple.v2+json"])
@pytest.mark.parametrize("parse", [lambda page: parse_page(page, "foo"), links_of])
def test_other_types_are_refused(parse: Any, content_type: str) -> None:
    with pytest.raises(SourceError, match="is not an index page") as caught:
        parse(page_of("", content_type))
    assert caught.value.code == "invalid-index"


def test_no_type_at_all_is_refused() -> None:
    error = refused(Page(url=Url(PAGE), status=200, headers={}, body=b""))
    assert "does not say its type" in str(error)


def test_json_does_not_import_the_html_parser() -> None:
    code = "import sys, felloe_pypi.page; print('html.parser' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# JSON


def test_json_file_has_everything() -> None:
    file = one_json(
        hashes={"sha256": SHA},
        requires_python=">=3.11",
        yanked="broken",
        size=7,
        upload_time="2025-01-31T12:00:00.000000Z",
        core_metadata={"sha256": OTHER_SHA},
        gpg_sig=False,
        provenance=None,
    )
    assert file == File(
        filename=SDIST,
        url=Url(f"https://files.example.com/{SDIST}"),
        hashes={"sha256": SHA},
        requires_python=">=3.11",
        yanked="broken",
        size=7,
        upload_time="2025-01-31T12:00:00.000000Z",
        metadata={"sha256": OTHER_SHA},
    )


def test_json_file_may_be_silent() -> None:
    assert one_json() == File(filename=SDIST, url=Url(f"https://files.example.com/{SDIST}"))


def test_null_is_not_there() -> None:
    page = json_page(
        {**entry(), "requires-python": None, "yanked": None, "size": None, "upload-time": None, "core-metadata": None}
    )
    assert parse_page(page, "foo") == (one_json(),)


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ({}, None),
        ({"core_metadata": True}, True),
        ({"core_metadata": False}, False),
        ({"core_metadata": {}}, True),
        ({"core_metadata": {"SHA256": SHA.upper()}}, {"sha256": SHA}),
        ({"dist_info_metadata": True}, True),
        ({"dist_info_metadata": {"sha256": SHA}}, {"sha256": SHA}),
        ({"core_metadata": False, "dist_info_metadata": True}, False),
        ({"core_metadata": {"sha256": SHA}, "dist_info_metadata": {"sha256": OTHER_SHA}}, {"sha256": SHA}),
        ({"core_metadata": True, "dist_info_metadata": "nonsense that nobody asks for"}, True),
    ],
)
def test_json_sidecar(said: dict[str, Any], read: object) -> None:
    metadata = one_json(**said).metadata
    assert metadata == read
    assert type(metadata) is type(read)


@pytest.mark.parametrize(
    ("said", "read"), [(True, True), (False, False), ("", False), ("broken", "broken"), ("false", "false")]
)
def test_json_yanked(said: object, read: object) -> None:
    assert one_json(yanked=said).yanked is read or one_json(yanked=said).yanked == read


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ({}, {}),
        ({"SHA256": SHA.upper()}, {"sha256": SHA}),
        ({"sha256": SHA, "md5": "AB"}, {"sha256": SHA, "md5": "ab"}),
        ({"blake3": "12ff"}, {"blake3": "12ff"}),
    ],
)
def test_json_hashes(said: dict[str, str], read: dict[str, str]) -> None:
    assert one_json(hashes=said).hashes == read


@pytest.mark.parametrize(
    ("files", "place"),
    [
        ({}, "`files`"),
        (None, "`files`"),
        ([entry(), []], "`files[1]`"),
        ([None], "`files[0]`"),
        ([entry(), entry(), entry(), entry(url=5)], "`files[3].url`"),
        ([entry(), entry(url=None)], "`files[1].url`"),
        ([entry(url="")], "`files[0].url`"),
        ([entry(url="#sha256=ab")], "`files[0].url`"),
        ([entry(url="https://[::1/x")], "`files[0].url`"),
        ([entry(url="https://example.com:port/x")], "`files[0].url`"),
        ([entry(url="https://example.com/a b")], "`files[0].url`"),
        ([entry(url="http:///x")], "`files[0].url`"),
        ([entry(url="http://:80/x")], "`files[0].url`"),
        ([entry(url="fi\tle:///etc/passwd")], "`files[0].url`"),
        ([entry(filename=None)], "`files[0].filename`"),
        ([entry(filename=["x"])], "`files[0].filename`"),
        ([entry(filename="")], "`files[0].filename`"),
        ([entry(filename="..")], "`files[0].filename`"),
        ([entry(filename="../../foo-1.0.tar.gz")], "`files[0].filename`"),
        ([entry(filename="a\\foo-1.0.tar.gz")], "`files[0].filename`"),
        ([entry(filename="foo\0-1.0.tar.gz")], "`files[0].filename`"),
        ([entry(filename="foo\x1b[2J-1.0.tar.gz")], "`files[0].filename`"),
        ([entry(hashes=None)], "`files[0].hashes`"),
        ([entry(hashes="sha256=ab")], "`files[0].hashes`"),
        ([entry(hashes={"sha256": 5})], "`files[0].hashes`"),
        ([entry(hashes={"sha256": None})], "`files[0].hashes`"),
        ([entry(hashes={"sha256": SHA[1:]})], "`files[0].hashes`"),
        ([entry(hashes={"Sha256": "g" * 64})], "`files[0].hashes`"),
        ([entry(hashes={"md5": ""})], "`files[0].hashes`"),
        ([entry(hashes={"md5": 12})], "`files[0].hashes`"),
        ([entry(hashes={"sha256": SHA, "md5": "xyz"})], "`files[0].hashes`"),
        ([entry(requires_python=3)], "`files[0].requires-python`"),
        ([entry(yanked=0)], "`files[0].yanked`"),
        ([entry(size="7")], "`files[0].size`"),
        ([entry(size=True)], "`files[0].size`"),
        ([entry(size=7.5)], "`files[0].size`"),
        ([entry(size=-1)], "`files[0].size`"),
        ([entry(upload_time=0)], "`files[0].upload-time`"),
        ([entry(core_metadata="true")], "`files[0].core-metadata`"),
        ([entry(core_metadata={"sha256": "short"})], "`files[0].core-metadata`"),
        ([entry(dist_info_metadata=1)], "`files[0].core-metadata`"),
    ],
)
def test_json_of_another_form_is_refused_by_its_place(files: Any, place: str) -> None:
    error = refused(json_page(files=files))
    assert place in str(error)
    assert str(error).isprintable()
    assert error.code == "invalid-index"


def test_a_bad_hash_names_its_file() -> None:
    assert SDIST in str(refused(json_page(entry(hashes={"sha256": "x"}))))
    assert SDIST in str(refused(page_of(f"<a href='{SDIST}#sha256=x'>")))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"name": "foo", "files": [',
        b'{"name": "foo", "files": [], "size": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"name": "foo", "files": [], "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        rb'{"name": "foo", "files": [], "x": "\ud800"}',
        b'{"name": "foo", "files": [], "x": "\xed\xa0\x80"}',
        b'{"name": 5, "files": []}',
        b'{"files": []}',
        b'{"name": "foo"}',
        b'{"name": "foo", "files": [], "meta": []}',
        b'{"name": "foo", "files": [], "meta": {"api-version": 1}}',
        b"[" + b"[]," * 4_000_000 + b"[]]",
    ],
    ids=range(17),
)
def test_what_is_not_such_json_is_refused(body: bytes) -> None:
    assert refused(page_of(body, JSON)).code == "invalid-index"


def test_a_nested_hash_does_not_exhaust_the_stack() -> None:
    nested = '{"a":' * 800 + "1" + "}" * 800
    body = json_page(entry(hashes={"sha256": "HERE"})).body.decode().replace('"HERE"', nested)
    assert refused(page_of(body, JSON)).code == "invalid-index"


def test_json_may_have_a_byte_order_mark_and_escapes() -> None:
    page = page_of("\N{BYTE ORDER MARK}".encode() + json_page(entry(yanked="caf\xe9 \N{BICYCLE}")).body, JSON)
    assert rb"\u" in page.body
    assert parse_page(page, "foo")[0].yanked == "caf\xe9 \N{BICYCLE}"


@pytest.mark.parametrize("name", ["foo.bar", "Foo_Bar", "foo--bar", "foo-bar"])
def test_json_name_is_compared_normalised(name: str) -> None:
    assert parse_page(json_page(name=name), "foo-bar") == ()
    assert parse_page(json_page(name="foo-bar"), name) == ()


def test_the_page_of_another_project_is_refused() -> None:
    error = refused(json_page(name="bar"))
    assert error.code == "name-mismatch"
    assert "`bar`" in str(error)
    assert "`foo`" in str(error)


# The version of the API: PEP 629


def versioned(version: str, form: str) -> Page:
    if form == JSON:
        return json_page(meta={"api-version": version})
    return page_of(f'<meta name="pypi:repository-version" content="{version}"><meta name="x" content="9.0">', form)


@pytest.mark.parametrize("form", [JSON, HTML])
@pytest.mark.parametrize("version", ["1.0", "1.4", "1.99999", "1", "0.9"])
def test_versions_that_are_read(version: str, form: str) -> None:
    assert parse_page(versioned(version, form), "foo") == ()


@pytest.mark.parametrize("form", [JSON, HTML])
@pytest.mark.parametrize("version", ["2.0", "2", "10.1", "999999999.0"])
def test_a_higher_major_version_is_refused(version: str, form: str) -> None:
    error = refused(versioned(version, form))
    assert error.code == "unsupported-api-version"
    assert f"`{version}`" in str(error)
    assert "Upgrade" in error.hint


@pytest.mark.parametrize("form", [JSON, HTML])
@pytest.mark.parametrize("version", ["one", "1.x", "1.0 ", "\N{ARABIC-INDIC DIGIT ONE}.0", "9" * 5000, "-1.0"])
def test_a_version_that_is_none_is_refused(version: str, form: str) -> None:
    assert refused(versioned(version, form)).code == "invalid-index"


def test_json_without_meta_has_version_1() -> None:
    assert parse_page(page_of('{"name": "foo", "files": []}', JSON), "foo") == ()


# HTML


def test_html_file_has_everything() -> None:
    file = one_html(
        f'href="../../{WHEEL}#sha256={SHA}" data-requires-python="&gt;=3.11,&lt;4" data-yanked="broken &amp; sad"'
        f' data-core-metadata="sha256={OTHER_SHA}"'
    )
    assert file == File(
        filename=WHEEL,
        url=Url(f"https://example.com/{WHEEL}"),
        hashes={"sha256": SHA},
        requires_python=">=3.11,<4",
        yanked="broken & sad",
        metadata={"sha256": OTHER_SHA},
    )


def test_html_file_may_be_silent() -> None:
    assert one_html() == File(filename=SDIST, url=Url(PAGE + SDIST))


@pytest.mark.parametrize(
    ("attributes", "read"),
    [
        ("", False),
        ("data-yanked", True),
        ('data-yanked=""', True),
        ('data-yanked="broken"', "broken"),
        ('DATA-YANKED="Broken"', "Broken"),
    ],
)
def test_html_yanked(attributes: str, read: object) -> None:
    assert one_html(f"href={SDIST} {attributes}").yanked == read


@pytest.mark.parametrize(
    ("attributes", "read"),
    [
        ("", None),
        ('data-core-metadata="true"', True),
        ('Data-Core-Metadata="TRUE"', True),
        ('data-core-metadata="false"', False),
        ("data-core-metadata", None),
        ('data-core-metadata="nonsense"', None),
        (f'data-core-metadata="sha256={SHA}"', {"sha256": SHA}),
        (f'data-core-metadata="SHA256={SHA.upper()}"', {"sha256": SHA}),
        ('data-dist-info-metadata="true"', True),
        (f'data-dist-info-metadata="sha256={SHA}"', {"sha256": SHA}),
        (f'data-dist-info-metadata="sha256={OTHER_SHA}" data-core-metadata="sha256={SHA}"', {"sha256": SHA}),
        ('data-dist-info-metadata="true" data-core-metadata="false"', False),
    ],
)
def test_html_sidecar(attributes: str, read: object) -> None:
    metadata = one_html(f"href={SDIST} {attributes}").metadata
    assert metadata == read
    assert type(metadata) is type(read)


@pytest.mark.parametrize(
    ("fragment", "read"),
    [
        ("", {}),
        (f"#sha256={SHA}", {"sha256": SHA}),
        (f"#SHA256={SHA.upper()}", {"sha256": SHA}),
        ("#md5=ab", {"md5": "ab"}),
        ("#md5=", {}),
        ("#egg=foo-1.0", {}),
        (f"#egg=foo&sha256={SHA}&subdirectory=x", {"sha256": SHA}),
        ("#top", {}),
    ],
)
def test_html_fragment(fragment: str, read: dict[str, str]) -> None:
    file = one_html(f"href='{SDIST}{fragment}'")
    assert file.hashes == read
    assert file.url.fragment == ""


@pytest.mark.parametrize(
    ("href", "head", "url"),
    [
        ("foo-1.0.tar.gz", "", "https://example.com/simple/foo/foo-1.0.tar.gz"),
        ("/f/foo-1.0.tar.gz", "", "https://example.com/f/foo-1.0.tar.gz"),
        ("//files.example.com/foo-1.0.tar.gz", "", "https://files.example.com/foo-1.0.tar.gz"),
        ("HTTP://files.example.com/foo-1.0.tar.gz", "", "http://files.example.com/foo-1.0.tar.gz"),
        ("https:foo-1.0.tar.gz", "", "https://example.com/simple/foo/foo-1.0.tar.gz"),
        ("foo-1.0.tar.gz", '<base href="https://example.org/x/">', "https://example.org/x/foo-1.0.tar.gz"),
        ("foo-1.0.tar.gz", "<BASE HREF='../y/'><base href=z/>", "https://example.com/simple/y/foo-1.0.tar.gz"),
        ("foo-1.0.tar.gz", "<base target=x><base href=z/>", "https://example.com/simple/foo/z/foo-1.0.tar.gz"),
        ("x?a=1&amp;b=2", "", "https://example.com/simple/foo/x?a=1&b=2"),
        (" foo-1.0.tar.gz\n", "", "https://example.com/simple/foo/foo-1.0.tar.gz"),
        ("a copy.tar.gz", "", "https://example.com/simple/foo/a%20copy.tar.gz"),
        ("a\n\tb.tar.gz", "", "https://example.com/simple/foo/ab.tar.gz"),
    ],
)
def test_html_addresses(href: str, head: str, url: str) -> None:
    assert one_html(f'href="{href}"', head=head).url.reveal() == url


def test_a_base_counts_for_links_before_it() -> None:
    (file,) = parse_page(page_of(f"<a href={SDIST}></a><base href=https://example.org/>"), "foo")
    assert str(file.url) == f"https://example.org/{SDIST}"


def test_html_file_name_is_decoded() -> None:
    assert one_html('href="foo-1.0%2Blocal.tar.gz"').filename == "foo-1.0+local.tar.gz"


@pytest.mark.parametrize(
    "markup",
    [
        "<a>foo</a>",
        "<a name=x>foo</a>",
        '<a href="">foo</a>',
        '<a href="#top">foo</a>',
        '<a href="../">Parent</a>',
        '<a href="?C=N;O=D">Name</a>',
        '<a href="..%2f..%2ffoo-1.0.tar.gz">foo</a>',
        '<a href="%00.tar.gz">foo</a>',
        '<!-- <a href="foo-1.0.tar.gz"> -->',
        '<script>"<a href=foo-1.0.tar.gz>"</script>',
        '<link href="foo-1.0.tar.gz">',
    ],
)
def test_what_is_no_link_to_a_file(markup: str) -> None:
    assert parse_page(page_of(markup), "foo") == ()


def test_upper_case_and_sloppy_html() -> None:
    head = "<!DOCTYPE HTML><![if IE]><![nonsense[x]><!>"
    body = f"{head}<BODY><A HREF='{SDIST}' DATA-REQUIRES-PYTHON='>=3'>x<P><A href={WHEEL} /></TABLE>"
    files = parse_page(page_of(body), "foo")
    assert [(file.filename, file.requires_python) for file in files] == [(SDIST, ">=3"), (WHEEL, None)]


@pytest.mark.parametrize(
    ("content_type", "name"),
    [
        ("text/html", b"caf\xc3\xa9.zip"),
        ("text/html; charset=utf-8", b"caf\xc3\xa9.zip"),
        ('text/html; charset="ISO-8859-1"', b"caf\xe9.zip"),
        ("text/html; charset=windows-1252", b"caf\xe9.zip"),
    ],
)
def test_html_charset(content_type: str, name: bytes) -> None:
    (file,) = parse_page(page_of(b"<a href='" + name + b"'>", content_type), "foo")
    assert file.filename == "caf\xe9.zip"


@pytest.mark.parametrize("charset", ["utf-8", "punycode", "base64", "undefined", "unknown", "utf-16"])
def test_bytes_of_another_charset_spoil_one_name_only(charset: str) -> None:
    body = b"<a href='caf\xe9.zip'></a><a href='foo-1.0.tar.gz'></a>"
    files = parse_page(page_of(body, f"text/html; charset={charset}"), "foo")
    assert [file.filename for file in files] == ["caf\N{REPLACEMENT CHARACTER}.zip", SDIST]


def test_html_longer_than_what_is_read_at_once() -> None:
    names = [f"foo-1.{n}.tar.gz" for n in range(20_000)]
    body = "".join(f"<a href='{name}' data-requires-python='&gt;=3'>{name} \xe9</a>\n" for name in names)
    files = parse_page(page_of(body), "foo")
    assert [file.filename for file in files] == names
    assert {file.requires_python for file in files} == {">=3"}


@pytest.mark.parametrize(
    "body",
    [
        "<a href='foo.zip' title='&#" + "9" * 5000 + ";'>",
        "<a " + "b " * 1_000_000 + ">",
        "<!--x>" * 1_000_000,
        "<script>" + "</scrip>" * 1_000_000,
        "<a" * 1_000_000,
        "<a href='" * 300_000,
        "<a href=x>" * 200_001,
        "<base href='https://example.com/" + "x" * 5000 + "/'>",
        "<base href='https://[::1'>",
        "<a href='https://[::1/x'>",
        "<a href='https://:x/x'>",
        f"<a href='{SDIST}#sha256={SHA}0'>",
        f"<a href='{SDIST}#md5=xyz'>",
        f"<a href='{SDIST}' data-core-metadata='sha256=xyz'>",
    ],
    ids=range(14),
)
def test_hostile_html_is_refused(body: str) -> None:
    error = refused(page_of(body))
    assert error.code == "invalid-index"
    assert len(str(error)) < 500


@pytest.mark.parametrize(
    "tail",
    ["<!--x>" * 100_000, "<a" * 300_000, "<a href='" * 100_000, "&#" * 300_000, "<" * 1_000_000, "</" * 400_000, "<!"],
    ids=range(7),
)
def test_what_stays_open_at_the_end_counts_for_nothing(tail: str) -> None:
    files = parse_page(page_of(f"<a href='{SDIST}'></a>{tail}"), "foo")
    assert [file.filename for file in files] == [SDIST]


PIECES = (
    """< > </ /> <! <!-- --> <![ ]]> <? a href = ' " & # &#x 9 ; foo-1.zip <base <meta <script> </script> data-yanked"""
)
MARKUP = st.sampled_from([*PIECES.split(), "<a ", "<a href=", " ", "\0", "\xe9"])


@settings(derandomize=True, deadline=None, max_examples=500)
@given(st.lists(MARKUP, max_size=60).map("".join))
def test_any_markup_is_read_or_refused(body: str) -> None:
    assert all(isinstance(file, File) for file in read_unless_refused(page_of(body)))


KEYS = st.sampled_from(["filename", "url", "hashes", "sha256", "size", "yanked", "core-metadata", "x"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS | st.sampled_from([SDIST, SHA, "http:"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=10,
)


@settings(derandomize=True, deadline=None, max_examples=500)
@given(st.dictionaries(KEYS, VALUES, max_size=8))
def test_any_json_is_read_or_refused(keys: dict[str, Any]) -> None:
    assert all(isinstance(file.url, Url) for file in read_unless_refused(json_page({**entry(), **keys})))


# Where links may lead: charter line 13


def linking(href: str, form: str, url: str) -> Page:
    return json_page(entry(url=href), url=url) if form == JSON else page_of(f"<a href='{href}'>", url=url)


@pytest.mark.parametrize("form", [JSON, HTML])
@pytest.mark.parametrize(
    ("href", "url", "shown"),
    [
        ("file:///etc/passwd", PAGE, "file:///etc/passwd"),
        ("FILE:///etc/passwd", PAGE, "file:///etc/passwd"),
        ("file:/etc/passwd", PAGE, "file:///etc/passwd"),
        ("file://example.com/x", "http://example.com/simple/foo/", "file://example.com/x"),
        ("ftp://example.com/x", PAGE, "ftp://example.com/x"),
        ("ftp://user:pw@example.com/x?token=1", PAGE, "ftp://example.com/x?token=****"),
        ("git+https://example.com/x", PAGE, "git+https://example.com/x"),
        ("data:application/zip,foo-1.0.zip", PAGE, "data:..."),
        ("JavaScript:alert(1)", PAGE, "JavaScript:..."),
        ("ftp://example.com/x", "file:///srv/simple/foo/", "ftp://example.com/x"),
    ],
)
def test_forbidden_links(href: str, url: str, shown: str, form: str) -> None:
    error = refused(linking(href, form, url))
    assert error.code == "forbidden-link"
    assert f"`{shown}`" in str(error)


def test_a_scheme_that_only_browsers_see_is_forbidden() -> None:
    assert refused(page_of("<a href='fi\tle:///etc/passwd'>")).code == "forbidden-link"


@pytest.mark.parametrize("form", [JSON, HTML])
@pytest.mark.parametrize(
    ("href", "url"),
    [
        ("https://example.org/foo-1.0.tar.gz", "http://example.com/simple/foo/"),
        ("http://example.org/foo-1.0.tar.gz", PAGE),
        ("https://example.org/foo-1.0.tar.gz", "file:///srv/simple/foo/"),
        ("http://[::1]:8080/foo-1.0.tar.gz", PAGE),
        ("file:///srv/files/foo-1.0.tar.gz", "file:///srv/simple/foo/"),
    ],
)
def test_allowed_links(href: str, url: str, form: str) -> None:
    (file,) = parse_page(linking(href, form, url), "foo")
    assert str(file.url) == href


def test_relative_links_of_a_folder() -> None:
    (file,) = parse_page(page_of(f"<a href='../../f/{SDIST}'>", url="file:///srv/simple/foo/index.html"), "foo")
    assert str(file.url) == f"file:///srv/f/{SDIST}"


def test_a_base_does_not_loosen_the_rule() -> None:
    error = refused(page_of(f"<base href='file:///srv/'><a href='{SDIST}'>"))
    assert error.code == "forbidden-link"


def test_errors_show_no_secret() -> None:
    error = refused(linking("ftp://user:hunter2@example.com/x?token=hunter2", JSON, "https://u:hunter2@example.com/"))
    assert "hunter2" not in str(error)
    assert "hunter2" not in str(refused(linking("https://user:hunter2@[::1", HTML, PAGE)))


@pytest.mark.parametrize("form", [JSON, HTML])
def test_userinfo_stays_with_its_origin(form: str) -> None:
    url = "https://user:secret@example.com/simple/foo/"
    (own,) = parse_page(linking(f"../../{SDIST}", form, url), "foo")
    (other,) = parse_page(linking(f"https://files.example.com/{SDIST}", form, url), "foo")
    assert own.url.userinfo == ("user", "secret")
    assert other.url.userinfo is None


# Two files of one name


@pytest.mark.parametrize("second", [SHA, OTHER_SHA])
def test_of_two_with_one_name_the_first_counts(second: str) -> None:
    files = (
        entry(hashes={"sha256": SHA}),
        entry(filename=WHEEL),
        entry(hashes={"sha256": second}, url=f"https://example.org/{SDIST}"),
    )
    first, wheel = parse_page(json_page(*files), "foo")
    assert (first.filename, first.hashes, first.url.host) == (SDIST, {"sha256": SHA}, "files.example.com")
    assert wheel.filename == WHEEL


# --find-links


def test_links_of_any_page() -> None:
    body = f"""
    <p>Wheels of <a href="mailto:me@example.com">mine</a>, see the <a href="manual 2.pdf">manual</a>
    <a href="file:///etc/passwd">and this</a> <a href="javascript:void(0)">or that</a> <a href="../">up</a>
    <a href="foo-1.0.tar.gz#sha256={SHA}">foo</a>, <a href="sub/bar-2-py3-none-any.whl?download=1">bar</a>
    """
    files = links_of(page_of(body, url="https://example.com/wheels.html"))
    assert [file.filename for file in files] == ["foo-1.0.tar.gz", "bar-2-py3-none-any.whl"]
    assert files[0].hashes == {"sha256": SHA}
    assert files[1].url.path == "/sub/bar-2-py3-none-any.whl"


def test_links_of_a_folder() -> None:
    body = "<a href='a.txt'>a.txt</a><a href='foo%2Bx-1.0.zip'>foo+x-1.0.zip</a><a href='sub/'>sub/</a>"
    (file,) = links_of(page_of(body, url="file:///srv/wheels/"))
    assert (file.filename, str(file.url)) == ("foo+x-1.0.zip", "file:///srv/wheels/foo%2Bx-1.0.zip")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("<a href='file:///srv/foo-1.0.tar.gz'>", "forbidden-link"),
        ("<meta name='pypi:repository-version' content='2.0'>", "unsupported-api-version"),
        ("<a href='foo-1.0.tar.gz#sha256=x'>", "invalid-index"),
    ],
)
def test_links_of_keeps_the_rules(body: str, code: str) -> None:
    with pytest.raises(SourceError) as caught:
        links_of(page_of(body))
    assert caught.value.code == code


# From a file's name to a distribution


def file_of(filename: str, **fields: Any) -> File:
    return File(filename=filename, url=Url("https://example.com/x"), **fields)


@pytest.mark.parametrize(
    ("filename", "project", "kind", "version"),
    [
        ("foo-1.0-py3-none-any.whl", "foo", "wheel", "1.0"),
        ("Foo_Bar-1.0-py2.py3-none-any.whl", "foo-bar", "wheel", "1.0"),
        ("foo.bar-1.0-py3-none-any.whl", "foo-bar", "wheel", "1.0"),
        ("foo__bar-1.0-py3-none-any.whl", "foo-bar", "wheel", "1.0"),
        ("foo-1.0-1-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", "foo", "wheel", "1.0"),
        ("foo-1!1.0+a.b-py3-none-any.whl", "foo", "wheel", "1!1.0+a.b"),
        ("foo-1.0.tar.gz", "foo", "sdist", "1.0"),
        ("foo-1.0.zip", "foo", "sdist", "1.0"),
        ("foo-1.0.tar.bz2", "foo", "sdist", "1.0"),
        ("foo-1.0.tar.xz", "foo", "sdist", "1.0"),
        ("foo-1.0.tgz", "foo", "sdist", "1.0"),
        ("foo-bar-1.0.tar.gz", "foo-bar", "sdist", "1.0"),
        ("foo.bar-1.0.zip", "foo-bar", "sdist", "1.0"),
        ("foo_bar-1.0.tar.gz", "foo-bar", "sdist", "1.0"),
        ("FOO--Bar-1.0.tar.gz", "foo-bar", "sdist", "1.0"),
        ("foo-2-1.0.tar.gz", "foo-2", "sdist", "1.0"),
        ("foo-1.0-1.tar.gz", "foo", "sdist", "1.0-1"),
        ("foo-v1.0rc1.tar.gz", "foo", "sdist", "v1.0rc1"),
    ],
)
def test_dist_of(filename: str, project: str, kind: str, version: str) -> None:
    dist = dist_of(file_of(filename), project, "pypi")
    assert dist is not None
    assert (dist.source, dist.kind, dist.name, dist.version, dist.filename) == (
        "pypi",
        kind,
        project,
        version,
        filename,
    )


@pytest.mark.parametrize(
    ("filename", "project"),
    [
        ("foo-1.0.win32.exe", "foo"),
        ("foo-1.0-py3.11.egg", "foo"),
        ("foo-1.0-1.noarch.rpm", "foo"),
        ("foo-1.0.msi", "foo"),
        ("foo-1.0.tar.gz.asc", "foo"),
        ("foo-1.0-py3-none-any.whl.metadata", "foo"),
        ("foo-1.0.tar.Z", "foo"),
        ("foo-1.0", "foo"),
        ("foo.tar.gz", "foo"),
        ("foo-.tar.gz", "foo"),
        ("-1.0.tar.gz", "foo"),
        (".tar.gz", "foo"),
        (".whl", "foo"),
        ("foo-1.0.whl", "foo"),
        ("foo-1.0-none-any.whl", "foo"),
        ("foo-1.0-1-2-py3-none-any.whl", "foo"),
        ("foo--py3-none-any.whl", "foo"),
        ("foo-1.0-py3--any.whl", "foo"),
        ("bar-1.0-py3-none-any.whl", "foo"),
        ("bar-1.0.tar.gz", "foo"),
        ("foo-bar-1.0.tar.gz", "foo"),
        ("foobar-1.0.tar.gz", "foo"),
        ("foo-1.0.tar.gz", "foo-bar"),
        ("foo-latest.tar.gz", "foo"),
        ("foo-dev-py3-none-any.whl", "foo"),
        ("foo-\N{ARABIC-INDIC DIGIT ONE}.0.tar.gz", "foo"),
        ("-" * 1_000_000 + ".tar.gz", "foo"),
        ("-" * 1_000_000 + ".whl", "foo"),
    ],
    ids=lambda value: value[:40],
)
def test_no_dist_of(filename: str, project: str) -> None:
    assert dist_of(file_of(filename), project, "pypi") is None


def test_dist_of_keeps_what_the_page_says() -> None:
    file = file_of(
        WHEEL,
        hashes={"sha256": SHA, "md5": "ab"},
        requires_python=">=3.11",
        yanked="broken",
        size=7,
        upload_time="2025-01-31T12:00:00Z",
        metadata={"sha256": OTHER_SHA},
    )
    assert dist_of(file, "foo", "acme") == Dist(
        source="acme",
        kind="wheel",
        filename=WHEEL,
        name="foo",
        version="1.0",
        content=f"sha256:{SHA}",
        hashes={"sha256": SHA, "md5": "ab"},
        size=7,
        requires_python=">=3.11",
        yanked="broken",
        upload_time="2025-01-31T12:00:00Z",
        locator={"url": file.url, "metadata": {"sha256": OTHER_SHA}},
    )


@pytest.mark.parametrize("hashes", [{}, {"md5": "ab"}])
def test_without_sha256_only_the_bytes_can_tell(hashes: dict[str, str]) -> None:
    dist = dist_of(file_of(SDIST, hashes=hashes), "foo", "pypi")
    assert dist is not None
    assert dist.content is None
    assert dist.hashes == hashes
    assert dist.locator["metadata"] is None
