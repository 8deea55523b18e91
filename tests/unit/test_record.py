"""The document `metadata.json` as a value, and back."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from typing import Any

import pytest

from felloe.record import Record, based_on, refreshed, with_static, with_wheel
from felloe.url import Url
from felloe.values import Entry, Metadata

WHEEL = "django_allauth-0.51.0-py3-none-any.whl"
METADATA = {"metadata-version": "2.1", "name": "django-allauth", "version": "0.51.0"}
DOCUMENT: dict[str, Any] = {
    "source": {
        "kind": "pypi",
        "locator": {},
        "content": "sha256:aa",
        "verified": True,
        "digests": {"sha256": "aa"},
        "validators": {"etag": '"a"'},
        "fetched": "2026-01-31T12:00:00Z",
        "checked": "2026-01-31T12:00:00Z",
    },
    "static": {**METADATA, "metadata-version": "2.2", "requires-dist": [], "requires-python": None},
    "data": {WHEEL: METADATA},
    "builds": [{"build": "b", "fingerprint": {"settings": "s"}, "goal": "wheel", "size": 1, "rung": "wheel"}],
}
FULL: dict[str, Any] = {
    "source": {
        "kind": "git",
        "locator": {"url": "https://example.com/d\u00e9mo", "nested": [{"a": None}]},
        "content": None,
        "verified": False,
        "digests": {},
        "scm": "v1-0-gabc",
        "validators": {},
        "fetched": "",
        "checked": "",
        "later": [1, 2],
    },
    "static": {"name": "demo", "later": {"any": 1}},
    "static-rung": "pyproject",
    "data": {WHEEL: {**METADATA, "summary": "\u2603", "later": 1}},
    "rungs": {WHEEL: "sidecar"},
    "builds": [],
    "later": {"a": [True]},
}


def written(record: Record) -> str:
    return json.dumps(record.to_json(), indent=2, ensure_ascii=False)


@pytest.mark.parametrize("document", [DOCUMENT, FULL], ids=["design", "full"])
def test_round_trip_keeps_every_byte(document: dict[str, Any]):
    text = json.dumps(document, indent=2, ensure_ascii=False)
    assert written(Record.from_json(json.loads(text))) == text


def test_values():
    record = Record.from_json(FULL)
    assert record.kind == "git"
    assert record.entry == Entry(scm="v1-0-gabc", locator=FULL["source"]["locator"])
    assert record.static == Metadata(FULL["static"])
    assert (record.static_rung, record.rung_of(WHEEL)) == ("pyproject", "sidecar")
    assert record.data[WHEEL].version == "0.51.0"
    assert record.extra == {"later": {"a": [True]}}


def test_unknown_keys_come_last_and_stay():
    mixed = {"later": 1, "source": {"before": 2, **DOCUMENT["source"]}, "check": "8d3f01aa"}
    document = Record.from_json(mixed).to_json()
    assert list(document) == ["source", "data", "builds", "later"]
    assert list(document["source"])[-1] == "before"


def test_the_check_of_the_old_bytes_is_not_kept():
    assert "check" not in Record.from_json({**DOCUMENT, "check": "8d3f01aa"}).to_json()


def test_a_wheel_without_a_rung_was_read_as_a_wheel():
    assert Record.from_json(DOCUMENT).rung_of(WHEEL) == "wheel"


def test_a_url_is_written_redacted_at_any_depth():
    secret = Url("https://user:secret@example.com/demo?token=secret")
    entry = Entry(locator={"url": secret, "more": [{"url": secret}]}, validators={"url": secret})
    record = Record(kind="url", entry=entry)
    assert "secret" not in written(record)
    assert record.to_json()["source"]["locator"]["more"] == [{"url": "https://example.com/demo?token=****"}]


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a document."""
    if not isinstance(document, dict | list):
        return [path]
    items = document.items() if isinstance(document, dict) else enumerate(document)
    return [path, *(place for key, value in items for place in places(value, (*path, key)))]


def with_value(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    changed = copy.deepcopy(document)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


@pytest.mark.parametrize("document", [DOCUMENT, FULL], ids=["design", "full"])
@pytest.mark.parametrize("wrong", [None, True, 1, 1.5, "text", [], [1], ["a"], {}, {"a": 1}], ids=repr)
def test_a_wrong_type_anywhere_is_a_value_error_or_harmless(document: dict[str, Any], wrong: Any):
    for path in places(document):
        try:
            record = Record.from_json(with_value(document, path, wrong))
        except ValueError:
            continue
        assert Record.from_json(json.loads(written(record))) == record
        assert all(isinstance(metadata.version, str) for metadata in record.data.values())
        assert all(isinstance(text, str) for metadata in record.data.values() for text in metadata.requires_dist)


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        ((), []),
        (("source",), None),
        (("source", "kind"), None),
        (("source", "locator"), "text"),
        (("source", "content"), 1),
        (("source", "verified"), 1),
        (("source", "digests"), {"sha256": 1}),
        (("source", "validators"), None),
        (("source", "scm"), 1),
        (("source", "checked"), 1),
        (("static",), []),
        (("static", "name"), None),
        (("static", "requires-dist"), "a"),
        (("static", "requires-dist"), [1]),
        (("static", "provides-extra"), None),
        (("static", "requires-python"), 3),
        (("static", "summary"), None),
        (("static-rung",), 1),
        (("data",), []),
        (("data", WHEEL), None),
        (("data", WHEEL, "version"), None),
        (("data", WHEEL, "classifier"), {}),
        (("rungs",), {WHEEL: 1}),
        (("rungs",), []),
        (("builds",), {}),
        (("builds",), [1]),
    ],
    ids=repr,
)
def test_malformed(path: tuple[Any, ...], wrong: Any):
    with pytest.raises(ValueError, match=r"."):
        Record.from_json(with_value(DOCUMENT, path, wrong))


@pytest.mark.parametrize("key", ["source", "data"])
def test_missing(key: str):
    document = {name: value for name, value in DOCUMENT.items() if name != key}
    if key == "source":
        with pytest.raises(ValueError, match="kind"):
            Record.from_json(document)
    else:
        assert Record.from_json(document).data == {}


OTHER = "other-1.0-py3-none-any.whl"
NEWER: dict[str, Any] = {
    **FULL,
    "source": DOCUMENT["source"],
    "static": {"name": "demo", "version": 2},
    "static-rung": "oracle",
    "data": {OTHER: {**METADATA, "version": ["1.0"]}, WHEEL: METADATA},
    "rungs": {OTHER: "oracle", WHEEL: "range"},
}


def test_what_a_later_release_had_by_a_rung_of_its_own_is_not_read_and_kept():
    record = Record.from_json(NEWER)

    assert (record.static, record.static_rung, list(record.data)) == (None, None, [WHEEL])
    assert record.rung_of(WHEEL) == "range"
    assert record.to_json() == NEWER
    changed = based_on(record, "pypi", record.entry)
    assert with_wheel(changed, "third.whl", Metadata(METADATA), "wheel").to_json() == {
        **NEWER,
        "data": {**NEWER["data"], "third.whl": METADATA},
        "rungs": {**NEWER["rungs"], "third.whl": "wheel"},
    }


def test_what_is_known_here_takes_the_place_of_what_is_not():
    record = with_static(Record.from_json(NEWER), Metadata({"name": "demo"}), "pkg-info")
    document = with_wheel(record, OTHER, Metadata(METADATA), "wheel").to_json()

    assert (document["static"], document["static-rung"]) == ({"name": "demo"}, "pkg-info")
    assert document["data"] == {OTHER: METADATA, WHEEL: METADATA}
    assert document["rungs"] == {OTHER: "wheel", WHEEL: "range"}


def test_static_is_replaced():
    record = with_static(Record.from_json(FULL), Metadata({"name": "demo", "version": "1"}), "pkg-info")
    assert record.to_json()["static"] == {"name": "demo", "version": "1"}
    assert record.to_json()["static-rung"] == "pkg-info"


def test_a_wheel_is_written_once():
    empty = Record(kind="pypi", entry=Entry())
    first = with_wheel(empty, "a.whl", Metadata({"name": "a", "version": "1"}), "sidecar")
    second = with_wheel(first, "a.whl", Metadata({"name": "a", "version": "2"}), "wheel")
    third = with_wheel(second, "b.whl", Metadata({"name": "a", "version": "1"}), "range")
    assert second == first
    assert {name: (data.version, third.rung_of(name)) for name, data in third.data.items()} == {
        "a.whl": ("1", "sidecar"),
        "b.whl": ("1", "range"),
    }
    assert empty.data == {}


class TestBasedOn:
    OLD = Record.from_json(DOCUMENT)

    def test_the_same_content_keeps_what_is_known(self):
        record = based_on(self.OLD, "pypi", Entry(content="sha256:aa", checked="later"))
        assert (record.data, record.static, record.builds) == (self.OLD.data, self.OLD.static, self.OLD.builds)
        assert record.entry.checked == "later"
        assert (record.entry.verified, record.entry.digests) == (True, {"sha256": "aa"})

    @pytest.mark.parametrize("content", ["sha256:bb", None])
    def test_other_content_starts_anew(self, content: str | None):
        entry = Entry(content=content)
        assert based_on(self.OLD, "pypi", entry) == Record(kind="pypi", entry=entry)

    def test_nothing_was_known(self):
        entry = Entry(content="sha256:aa")
        assert based_on(None, "pypi", entry) == Record(kind="pypi", entry=entry)


class TestRefreshed:
    CHECKED = Record.from_json(DOCUMENT)
    ENTRY = Entry(content="sha256:aa", checked="later")

    def test_what_others_added_meanwhile_stays(self):
        more = with_wheel(self.CHECKED, "more.whl", Metadata({"name": "a", "version": "1"}), "wheel")
        record = refreshed(more, self.CHECKED, self.ENTRY)
        assert set(record.data) == {WHEEL, "more.whl"}
        assert record.entry == self.ENTRY

    @pytest.mark.parametrize("old", [None, Record(kind="pypi", entry=Entry(content="sha256:bb"))])
    def test_what_was_checked_is_what_counts(self, old: Record | None):
        record = refreshed(old, self.CHECKED, self.ENTRY)
        assert (record.data, record.entry) == (self.CHECKED.data, self.ENTRY)


def test_the_warm_path_is_light():
    program = (
        "import sys; import felloe.record\n"
        "heavy = {'email', 'email.parser', 'packaging.metadata', 'packaging.tags', 'tomllib', 'subprocess', 'httpx'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
