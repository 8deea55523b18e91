"""A URL never shows its secrets, and its digest is that of the place it names."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from felloe.errors import RequirementError
from felloe.url import Url
from felloe.values import Dist, Page, Request

SHOWN = [
    ("https://example.com/simple/", "https://example.com/simple/"),
    ("https://user:secret@example.com/simple/", "https://example.com/simple/"),
    ("https://secret@example.com/simple/", "https://example.com/simple/"),
    ("https://user:se@cret@example.com/simple/", "https://example.com/simple/"),
    ("https://user:secret@[::1]:8080/simple/", "https://[::1]:8080/simple/"),
    ("HTTPS://user:secret@EXAMPLE.com:443/Simple", "https://example.com/Simple"),
    ("https://example.com/a?token=secret", "https://example.com/a?token=****"),
    ("https://example.com/a?token=secret&sig=secret", "https://example.com/a?token=****&sig=****"),
    ("https://example.com/a?token=se=cret", "https://example.com/a?token=****"),
    ("https://example.com/a?token=", "https://example.com/a?token=****"),
    ("https://example.com/a?token=secret;more=secret", "https://example.com/a?token=****"),
    ("https://example.com/a?secret", "https://example.com/a?****"),
    ("https://example.com/a?=secret", "https://example.com/a?=****"),
    ("https://example.com/a?%zz=secret&&&%", "https://example.com/a?%zz=****&****"),
    ("https://example.com/a?tok\ud800en=secret", "https://example.com/a?tok\ud800en=****"),
    ("https://example.com/a?", "https://example.com/a"),
    ("https://example.com/a#secret", "https://example.com/a"),
    ("https://example.com/a?b=secret#secret", "https://example.com/a?b=****"),
    ("file:///srv/a%20b", "file:///srv/a%20b"),
    ("git+ssh://secret@example.com/a.git", "git+ssh://example.com/a.git"),
    ("git+file:///srv/a%20b?token=secret", "git+file:///srv/a%20b?token=****"),
    ("  https://example.com/a\n", "https://example.com/a"),
]
MALFORMED = [
    "",
    "example.com/a",
    "/simple/",
    "//user:secret@example.com/",
    "https:/user:secret@example.com/",
    "https:///a",
    "https://user:secret@/a",
    "https://:80/secret@a",
    "user:secret@example.com",
    "https://user:se/cret@example.com/",
    "https://user:se?cret@example.com/",
    "https://user:se#cret@example.com/",
    "https://user:secret@exa mple.com/",
    "https://user:secret@example.com/\x00",
    "https://user:secret@example.com/a\nb",
    "https://user:secret@[::1/",
    "https://user:secret@[nonsense]/",
    "https://user:secret@example.com:port/",
    "https://user:secret@example.com:99999/",
    "https://user:secret@example\u2100.com/",
    "https://[bad?token=secret",
    "http://a b://user:secret@example.com",
]


def without_context(error: BaseException) -> bool:
    """urllib's own error quotes the password: it must not come along."""
    return error.__context__ is None or error.__suppress_context__


@pytest.mark.parametrize(("text", "shown"), SHOWN)
def test_is_shown_without_secrets(text, shown):
    url = Url(text)

    assert (str(url), f"{url}", repr(url)) == (shown, shown, f"Url({shown!r})")


@pytest.mark.parametrize("value", [
    Page(url=Url("https://user:secret@example.com/?a=secret"), status=200, headers={}, body=b""),
    Request(text="name", specifier=None, url=Url("https://secret@example.com/")),
    Dist(source="s", kind="wheel", filename="f", locator={"url": Url("https://secret@example.com/?secret")}),
], ids=lambda value: type(value).__name__)  # fmt: skip
def test_is_shown_without_secrets_in_other_values(value):
    assert "example.com" in repr(value)
    assert "secret" not in repr(value)


def test_json_needs_its_redacted_form():
    with pytest.raises(TypeError) as caught:
        json.dumps({"url": Url("https://secret@example.com/")})

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", MALFORMED)
def test_what_is_no_url_is_an_error_without_secrets(text):
    with pytest.raises(RequirementError) as caught:
        Url(text)

    error = caught.value
    assert "is not a URL" in str(error)
    assert "secret" not in f"{error}{error.hint}{error.payload}{error.args}"
    assert "cret" not in str(error)
    assert without_context(error)


@given(st.text(max_size=60))
def test_any_text_is_a_url_or_an_error(text):
    for candidate in (text, f"https://{text}", f"https://example.com/{text}", f"file:{text}"):
        try:
            url = Url(candidate)
        except RequirementError:
            continue
        assert str(url) == str(Url(str(url)))
        assert len(url.digest()) == 16
        assert url.scheme
        assert isinstance(url.filename, str)


@given(st.text(alphabet="abc/.:?#@[]%\\ \ud800\u2100", max_size=20))
def test_joining_anything_gives_a_url_or_an_error(reference):
    try:
        assert "secret" not in str(Url("https://secret@example.com/a/").join(reference))
    except RequirementError as error:
        assert "secret" not in str(error)  # noqa: PT017  # both ends are right


@pytest.mark.parametrize(
    ("text", "scheme", "host", "port", "path", "filename", "fragment", "userinfo"),
    [
        ("https://example.com", "https", "example.com", 443, "", "", "", None),
        ("http://example.com/a/b.whl", "http", "example.com", 80, "/a/b.whl", "b.whl", "", None),
        ("http://example.com:/a", "http", "example.com", 80, "/a", "a", "", None),
        ("http://example.com:0/a", "http", "example.com", 0, "/a", "a", "", None),
        ("HTTP://EXAMPLE.com:81/A/", "http", "example.com", 81, "/A/", "", "", None),
        ("https://u%40v:p%2Fw@example.com/a%20#c=d", "https", "example.com", 443, "/a%20", "a ", "c=d", ("u@v", "p/w")),
        ("https://u@example.com/", "https", "example.com", 443, "/", "", "", ("u", "")),
        ("https://:p@example.com/", "https", "example.com", 443, "/", "", "", ("", "p")),
        ("https://[2001:DB8::1]:444/a", "https", "2001:db8::1", 444, "/a", "a", "", None),
        ("file:///srv/a", "file", "", None, "/srv/a", "a", "", None),
        ("ssh://git@example.com/a", "ssh", "example.com", 22, "/a", "a", "", ("git", "")),
        ("git+file:///srv/a@v1", "git+file", "", None, "/srv/a@v1", "a@v1", "", None),
        ("git+ssh://git@example.com/a", "git+ssh", "example.com", None, "/a", "a", "", ("git", "")),
    ],
)  # fmt: skip
def test_parts(text, scheme, host, port, path, filename, fragment, userinfo):
    url = Url(text)

    assert (url.scheme, url.host, url.port, url.path) == (scheme, host, port, path)
    assert (url.filename, url.fragment, url.userinfo) == (filename, fragment, userinfo)
    assert url.origin == (scheme, host, port)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://example.com/a", "https://example.com:443/b?c#d", True),
        ("https://user:pw@EXAMPLE.com/a", "HTTPS://example.com/", True),
        ("https://example.com/", "http://example.com/", False),
        ("https://example.com/", "https://example.com:8443/", False),
        ("https://example.com/", "https://example.com:0/", False),
        ("https://example.com/", "https://www.example.com/", False),
        ("https://example.com/", "https://example.com.evil.example/", False),
        ("http://[::1]/", "http://[::1]:80/", True),
    ],
)
def test_origin(one, other, same):
    assert (Url(one).origin == Url(other).origin) is same


@pytest.mark.parametrize(
    ("text", "opened"),
    [
        ("https://user:pw@example.com/a?token=secret#sha256=1", "https://example.com/a?token=secret"),
        ("HTTPS://EXAMPLE.com:443/A", "https://example.com/A"),
        ("http://example.com:443/a", "http://example.com:443/a"),
        ("http://[::1]:80/a", "http://[::1]/a"),
        ("file:///srv/a%20b", "file:///srv/a%20b"),
    ],
)
def test_reveal_is_what_is_opened(text, opened):
    assert Url(text).reveal() == opened


@pytest.mark.parametrize(
    ("reference", "target"),
    [
        ("b", "https://example.com/simple/a/b"),
        ("../../files/b.whl#sha256=1", "https://example.com/files/b.whl#sha256=1"),
        ("/files/b.whl?token=1", "https://example.com/files/b.whl?token=1"),
        ("//cdn.example.com/b.whl", "https://cdn.example.com/b.whl"),
        ("https://cdn.example.com/b.whl", "https://cdn.example.com/b.whl"),
        ("?page=2", "https://example.com/simple/a/?page=2"),
        ("", "https://example.com/simple/a/"),
        ("../../../../b", "https://example.com/b"),
    ],
)
def test_join(reference, target):
    joined = Url("https://example.com/simple/a/").join(reference)

    assert (joined, joined.fragment) == (Url(target), Url(target).fragment)


@pytest.mark.parametrize(
    ("reference", "userinfo"),
    [
        ("b.whl", ("me", "p@w")),
        ("/b.whl", ("me", "p@w")),
        ("https://example.com/b.whl", ("me", "p@w")),
        ("https://EXAMPLE.com:443/b.whl", ("me", "p@w")),
        ("https://you@example.com/b.whl", ("you", "")),
        ("https://example.com:8443/b.whl", None),
        ("http://example.com/b.whl", None),
        ("//example.org/b.whl", None),
        ("https://example.com@example.org/b.whl", ("example.com", "")),
    ],
)
def test_join_passes_userinfo_on_to_the_same_origin_only(reference, userinfo):
    joined = Url("https://me:p%40w@example.com/simple/a/").join(reference)

    assert joined.userinfo == userinfo


@pytest.mark.parametrize(
    "reference",
    [
        "https://user:secret@exa\u2100mple.com/",
        "https://user:secret@[::1/",
        "//user:secret@[nonsense]/",
        "https://user:secret@example.com:port/",
        "mailto:secret@example.com",
        "javascript:secret@example.com",
    ],
)
def test_join_with_what_is_no_url_is_an_error_without_secrets(reference):
    with pytest.raises(RequirementError) as caught:
        Url("https://example.com/").join(reference)

    assert "secret" not in str(caught.value)
    assert without_context(caught.value)


CANONICAL = "https://example.com/simple/?a=1"


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("https://example.com:443/simple/?a=1", True),
        ("https://EXAMPLE.com/simple/?a=1", True),
        ("HTTPS://example.com/simple/?a=1", True),
        ("https://user:secret@example.com/simple/?a=1", True),
        ("https://example.com/simple/?a=1#fragment", True),
        ("https://example.com/simple/?a=2", False),
        ("https://example.com/simple/", False),
        ("https://example.com/Simple/?a=1", False),
        ("https://example.com:444/simple/?a=1", False),
        ("https://example.com:0/simple/?a=1", False),
        ("http://example.com:443/simple/?a=1", False),
        ("https://example.org/simple/?a=1", False),
    ],
)
def test_digest_is_that_of_the_place(text, same):
    assert (Url(text).digest() == Url(CANONICAL).digest()) is same


@pytest.mark.parametrize("text", ["https://example.com/\ud800\udcff", "https://example.com/\u00e9"])
def test_digest_of_any_characters(text):
    assert len(Url(text).digest()) == 16


def test_digest_keeps_what_is_no_utf_8_apart():
    # Read as bytes, the two surrogates are the other one's letter.
    assert Url("https://example.com/\udcc3\udca9").digest() != Url("https://example.com/\u00e9").digest()


def test_derived_addresses():
    url = Url("https://user@example.com/a?b=1#c")

    assert url.without_fragment() == Url("https://user@example.com/a?b=1")
    assert url.as_directory() == Url("https://user@example.com/a/?b=1")
    assert url.as_directory().as_directory() == url.as_directory()
    assert url.with_suffix(".metadata") == Url("https://user@example.com/a.metadata?b=1")


def test_is_a_value():
    url = Url("https://user:pw@example.com/a")

    assert url == Url(url) == copy.copy(url)
    assert hash(url) == hash(Url(url))
    assert url != Url("https://example.com/a")
    assert url != "https://user:pw@example.com/a"
