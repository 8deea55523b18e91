"""Where things lie in the cache: the paths of the design, and parts that are good file names on every system."""

from __future__ import annotations

import ntpath
import re
from pathlib import Path, PureWindowsPath
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from felloe.cache.layout import LONGEST_PART, Layout, digest, key_part
from felloe.values import CacheKey

ROOT = Path("/cache")
LAYOUT = Layout(ROOT)
SHA256 = "ab" + 62 * "0"

# Lone surrogates too: names of files, and escapes in JSON, may have them.
ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()), max_size=60)
HOSTILE_TEXT = st.text(alphabet="./\\%~ :conauxNUL1\x00\u00e9\ud800\udc80", max_size=12)
SUFFIXES = st.sampled_from(["", "", ".whl", ".tar.gz", ".", ". ", ".\u00e9", ".con"])
LONG_TEXT = st.builds(
    lambda text, times, suffix: text * times + suffix, st.text(min_size=1, max_size=20), st.integers(10, 60), SUFFIXES
)
FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f-\U0010ffff]')
is_reserved = getattr(ntpath, "isreserved", None) or (lambda name: PureWindowsPath(name).is_reserved())


def is_good_everywhere(part: str) -> bool:
    """On Linux, macOS and Windows, also in an archive or on a memory stick."""
    return (
        0 < len(part.encode()) <= LONGEST_PART
        and FORBIDDEN.search(part) is None
        and part[0] not in ". "
        and part[-1] not in ". "
        and not is_reserved(part)
        and not is_reserved(part + ".json")
    )


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (
            LAYOUT.entry("pypi", "", CacheKey(parts=("a-1.0.tar.gz",))),
            "built-wheel-metadata-v0/pypi/a-1.0.tar.gz/metadata.json",
        ),
        (
            LAYOUT.entry("index", "https://example.com/simple/", CacheKey(parts=("a-1.0.tar.gz",))),
            "built-wheel-metadata-v0/index/2a3cff4e803ff14b/a-1.0.tar.gz/metadata.json",
        ),
        (
            LAYOUT.entry("git", "", CacheKey(parts=("0123456789abcdef", "f" * 40))),
            f"built-wheel-metadata-v0/git/0123456789abcdef/{'f' * 40}/metadata.json",
        ),
        (
            LAYOUT.wheel_metadata("pypi", "", CacheKey(parts=("a-1.0-py3-none-any.whl",))),
            "wheel-metadata-v0/pypi/a-1.0-py3-none-any.whl.json",
        ),
        (
            LAYOUT.wheel_metadata("url", "", CacheKey(parts=("0123456789abcdef", "a.whl"))),
            "wheel-metadata-v0/url/0123456789abcdef/a.whl.json",
        ),
        (LAYOUT.archive(SHA256, "a-1.0.tar.gz"), f"archives-v0/ab/{SHA256}/a-1.0.tar.gz"),
        (LAYOUT.page("cdef"), "http-v0/cd/cdef"),
        (LAYOUT.memo("git", "", ("refs", "main")), "memo-v0/git/refs/main.json"),
        (LAYOUT.memo("acme", "https://example.com/", ("token",)), "memo-v0/acme/0f115db062b7c0dd/token.json"),
        (LAYOUT.kept("git", "", ("0123456789abcdef",)), "keep-v0/git/0123456789abcdef"),
        (LAYOUT.interpreter("0123456789abcdef"), "interpreters-v0/0123456789abcdef.json"),
        (LAYOUT.lock("entry-0123"), "locks/entry-0123.lock"),
        (LAYOUT.users, "locks/users"),
        (LAYOUT.scratch, "scratch"),
    ],
)
def test_paths(path, expected):
    assert path == ROOT / expected


@pytest.mark.parametrize("hostile", ["..", "../../etc", "/etc", "", ".", "a/../../..", "\x00", "con"])
def test_nothing_leads_out_of_its_bucket(hostile):
    for path in (
        LAYOUT.archive(hostile, "a.whl"),
        LAYOUT.archive(SHA256, hostile),
        LAYOUT.memo("git", "", (hostile, hostile)),
        LAYOUT.kept(hostile, "", (hostile,)),
        LAYOUT.entry(hostile, "", CacheKey(parts=("a",))),
    ):
        inside = path.relative_to(ROOT).parts
        assert all(is_good_everywhere(part) for part in inside[1:])
        assert not set(inside) & {"", ".", ".."}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("Django_allauth-0.51.0+local.1-py3-none-any.whl", "Django_allauth-0.51.0+local.1-py3-none-any.whl"),
        ("name ~v1=2,3@4!5", "name ~v1=2,3@4!5"),
        ("", "%"),
        ("%", "%25"),
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("...", "%2E.%2E"),
        (".hidden", "%2Ehidden"),
        ("name.", "name%2E"),
        ("name ", "name%20"),
        (" name", "%20name"),
        ("a/b", "a%2Fb"),
        ("a\\b", "a%5Cb"),
        ("C:name", "C%3Aname"),
        ("a\x00b", "a%00b"),
        ("a\nb", "a%0Ab"),
        ("\u00e9", "%C3%A9"),
        ("\udc80", "%ED%B2%80"),
        ("con", "%63on"),
        ("CON", "%43ON"),
        ("Nul.tar.gz", "%4Eul.tar.gz"),
        ("nul .txt", "%6Eul .txt"),
        ("com1", "%63om1"),
        ("lpt9.whl", "%6Cpt9.whl"),
        ("com10", "com10"),
        ("console", "console"),
        ("a.con", "a.con"),
    ],
)
def test_key_part(text, part):
    assert key_part(text) == part
    assert is_good_everywhere(part)


@pytest.mark.parametrize("text", ["a" * 151, "\u4e2d" * 100, "\ud800" * 100, "." * 500, " " * 500, "con." + "x" * 500])
def test_what_is_too_long_keeps_its_start_and_gets_a_digest(text):
    part = key_part(text)

    assert is_good_everywhere(part)
    assert len(part) <= LONGEST_PART
    assert re.fullmatch(r"[^%].*%\.\.[0-9a-f]{16}|%[0-9A-F]{2}.*%\.\.[0-9a-f]{16}", part)
    assert part != key_part(text + "b")


@pytest.mark.parametrize(
    ("text", "suffix"),
    [
        (f"{'a' * 200}-1.0-py3-none-any.whl", ".whl"),
        (f"{'a' * 200}-1.0.tar.gz", ".tar.gz"),
        (f"{'a' * 200}-1.0.tar.bz2", ".tar.bz2"),
        (f"{'a' * 200}-1.0.tgz", ".tgz"),
        (f"{'a' * 200}-1.0.zip", ".zip"),
        (f"{'a' * 200}-1.0.ZIP", ".ZIP"),
        (f"con.{'a' * 200}.whl", ".whl"),
        (60 * "\u4e2d" + ".whl", ".whl"),
        (f"a-1.0-py3-none-{'.'.join(100 * ['any'])}.whl", ".whl"),
        # what is none, or ends in what a file name must not end in, is no suffix
        (f"{'a' * 200}.", ""),
        (f"{'a' * 200}.whl ", ""),
        (f"{'a' * 200}.whl\n", ""),
        (f"{'a' * 200}.\u4e2d", ""),
        (f"a.{'b' * 200}", ""),
    ],
)
def test_what_is_too_long_keeps_its_suffix(text, suffix):
    part = key_part(text)

    assert re.search(r"%\.\.[0-9a-f]{16}(.*)$", part)[1] == suffix
    assert is_good_everywhere(part)
    assert part == key_part(text)
    assert part != key_part(f"b{text}")


def test_the_longest_that_is_unchanged():
    assert key_part("a" * LONGEST_PART) == "a" * LONGEST_PART


@given(ANY_TEXT | HOSTILE_TEXT | LONG_TEXT)
@example("aux")
def test_key_part_is_a_good_file_name(text):
    assert is_good_everywhere(key_part(text))
    CacheKey(parts=(key_part(text),))


@given(ANY_TEXT | HOSTILE_TEXT)
def test_what_is_short_can_be_read_back(text):
    """Nothing that has an inverse gives one part for two texts."""
    part = key_part(text)

    assert "%.." in part or part == "%" or unquote(part, errors="surrogatepass") == text
    assert (part == "%") is (text == "")


@given(LONG_TEXT, LONG_TEXT)
@example("a" * 140 + "\u00e9" * 9, "a" * 140 + "\udcc3\udca9" * 9)
@example("x" * 200, "x" * 201)
def test_long_texts_stay_apart(one, other):
    assert (key_part(one) == key_part(other)) is (one == other)


@given(st.lists(HOSTILE_TEXT, min_size=2, max_size=6, unique=True))
def test_texts_stay_apart(texts):
    assert len({key_part(text) for text in texts}) == len(texts)


@pytest.mark.parametrize(
    ("one", "other"), [("A", "a"), ("\u00e9", "e\u0301"), ("\udcc3\udca9", "\u00e9"), ("\u212b", "\u00c5")]
)
def test_case_and_forms_of_unicode_are_kept_apart(one, other):
    assert key_part(one) != key_part(other)
    assert digest(one) != digest(other)


@pytest.mark.parametrize("text", ["", "https://example.com/", "\ud800\udcff", "\u4e2d" * 1000])
def test_digest(text):
    assert re.fullmatch("[0-9a-f]{16}", digest(text))
