"""Tables for RFC 9111: every row is a response, and what may be done with it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from felloe.freshness import (
    Conditional,
    Response,
    Usable,
    confirmed,
    decide,
    difference,
    nominated,
    storable,
    updated,
)

RECEIVED = 784111777.0  # the instant of DATE, RFC 9110's own example
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
HOUR_LATER = "Sun, 06 Nov 1994 09:49:37 GMT"
DAY_BEFORE = "Sat, 05 Nov 1994 08:49:37 GMT"
ETAG = {"if-none-match": '"a"'}


def response(headers: dict[str, str], **fields: Any) -> Response:
    return Response(**{"status": 200, "headers": headers, "requested": RECEIVED, "received": RECEIVED, **fields})


def after(seconds: float, headers: dict[str, str], **policy: Any) -> Usable | Conditional:
    """The decision, `seconds` after the response came."""
    return decide(response(headers), **{"request_headers": {}, "now": RECEIVED + seconds, **policy})


LIFETIMES = [
    # Cache-Control
    ({"cache-control": "max-age=60"}, 60),
    ({"cache-control": "MAX-AGE=60"}, 60),
    ({"cache-control": "public, max-age=60, must-revalidate"}, 60),
    ({"cache-control": "private,max-age=60"}, 60),
    ({"cache-control": 'max-age="60"'}, 60),
    ({"cache-control": "max-age = 60"}, 60),
    ({"cache-control": "max-age=60, max-age=60"}, 60),
    ({"cache-control": ", ,max-age=060,"}, 60),
    ({"cache-control": "max-age=60, s-maxage=5"}, 60),
    ({"cache-control": "max-age=60, immutable"}, 60),
    ({"cache-control": "max-age=60, pragma", "pragma": "no-cache"}, 60),
    ({"cache-control": 'ext="a, no-cache, \\"no-store", max-age=60'}, 60),
    ({"cache-control": "xmax-age=5, max-age-x=6, max-age=60"}, 60),
    ({"cache-control": "max-age=2147483648"}, 2**31),
    ({"cache-control": "max-age=99999999999"}, 2**31),
    ({"cache-control": "max-age=" + "9" * 5000}, 2**31),
    # max-age wins over Expires, even where it is the shorter one
    ({"cache-control": "max-age=60", "date": DATE, "expires": HOUR_LATER}, 60),
    # Expires, in the three formats of a date, counted from Date
    ({"date": DATE, "expires": HOUR_LATER}, 3600),
    ({"date": DATE, "expires": "Sunday, 06-Nov-94 09:49:37 GMT"}, 3600),
    ({"date": DATE, "expires": "Sun Nov  6 09:49:37 1994"}, 3600),
    ({"date": DATE, "expires": "sun, 06 NOV 1994 09:49:37 gmt"}, 3600),
    ({"date": DATE, "expires": "Sunday, 06-Nov-44 08:49:37 GMT"}, 1577923200),  # 50 years on: 2044
    ({"date": DATE, "expires": HOUR_LATER, "pragma": "public"}, 3600),
    # without a Date that can be read, from the receipt
    ({"expires": HOUR_LATER}, 3600),
    ({"date": "yesterday", "expires": HOUR_LATER}, 3600),
]

EXPIRED = [
    {"cache-control": "max-age=0"},
    {"cache-control": "max-age"},
    {"cache-control": "max-age="},
    {"cache-control": "max-age=-1"},
    {"cache-control": "max-age=+60"},
    {"cache-control": "max-age=6_0"},
    {"cache-control": "max-age=1.5"},
    {"cache-control": "max-age=٦٠"},  # digits, but not these
    {"cache-control": "max-age=60; immutable"},
    {"cache-control": 'max-age="60'},
    {"cache-control": "max-age=x", "date": DATE, "expires": HOUR_LATER},
    # contradictions: section 4.2.1 lets us take the first, or be careful
    {"cache-control": "max-age=60, max-age=0"},
    {"cache-control": "max-age=0, max-age=60"},
    {"date": DATE, "expires": f"{HOUR_LATER}, {HOUR_LATER}"},
    # not a date: in the past (section 5.3)
    {"expires": "0"},
    {"expires": "-1"},
    {"expires": ""},
    {"expires": "never"},
    {"expires": "Sun, 06 Nov 1994 09:49:37 EST"},
    {"expires": "Sun, 06 Nov 1994 09:49:37 +0000"},
    {"expires": "Sun, 31 Nov 1994 09:49:37 GMT"},
    {"expires": "Sun, 06 Foo 1994 09:49:37 GMT"},
    {"expires": "Sun, 06 Nov 99999 09:49:37 GMT"},
    {"expires": "Sun, 06 Nov 1994 25:49:37 GMT"},
    {"expires": "Sun, 06 Nov 1994 09:49 GMT"},
    {"expires": "Sunday, 06-Nov-45 08:49:37 GMT"},  # more than 50 years on: 1945
    {"date": DATE, "expires": DATE},
    {"date": HOUR_LATER, "expires": HOUR_LATER},
]


@pytest.mark.parametrize(("headers", "lifetime"), LIFETIMES)
def test_fresh_for_as_long_as_the_response_says(headers: dict[str, str], lifetime: int) -> None:
    assert after(0, headers) == Usable(lifetime)
    assert after(lifetime - 1, headers) == Usable(1)
    assert after(lifetime, headers) == Conditional({}, "expired")


@pytest.mark.parametrize("headers", EXPIRED)
def test_what_cannot_be_read_or_contradicts_itself_has_expired(headers: dict[str, str]) -> None:
    assert after(0, headers, fallback=600) == Conditional({}, "expired")


@pytest.mark.parametrize(
    "headers",
    [
        {"cache-control": "no-cache, max-age=60"},
        {"cache-control": "max-age=60, No-Cache"},
        {"cache-control": 'max-age=60, no-cache="set-cookie, x-foo"'},
        {"cache-control": "immutable, max-age=60, no-cache"},
        {"cache-control": 'ext="never closed, no-cache'},
        {"cache-control": "no-cache"},
        {"pragma": "no-cache", "expires": HOUR_LATER},
    ],
)
def test_no_cache_always_asks(headers: dict[str, str]) -> None:
    assert after(0, {**headers, "etag": '"a"'}) == Conditional(ETAG, "no-cache")


@pytest.mark.parametrize(
    ("headers", "age"),
    [
        ({}, 0),
        ({"age": "30"}, 30),
        ({"age": "30, 5"}, 30),
        ({"age": "-30"}, 0),
        ({"age": "old"}, 0),
        ({"date": "Sun, 06 Nov 1994 08:48:37 GMT"}, 60),  # apparent age
        ({"date": "Sun, 06 Nov 1994 08:48:37 GMT", "age": "30"}, 60),
        ({"date": "Sun, 06 Nov 1994 08:48:37 GMT", "age": "90"}, 90),
        ({"date": HOUR_LATER}, 0),  # their clock is ahead of ours
        ({"date": "now"}, 0),
    ],
)
def test_age_on_receipt(headers: dict[str, str], age: int) -> None:
    assert after(10, {"cache-control": "max-age=1000", **headers}) == Usable(990 - age)


@pytest.mark.parametrize(
    ("headers", "requested", "left"),
    [
        ({"age": "30"}, RECEIVED - 5, 65),  # the Age is of some moment after the request
        ({}, RECEIVED - 5, 95),
        ({"date": "Sun, 06 Nov 1994 08:49:27 GMT"}, RECEIVED - 5, 90),
        ({}, RECEIVED + 5, 100),  # the clock was set back in between
        ({"age": "30"}, RECEIVED + 5, 70),
    ],
)
def test_the_way_of_the_response_counts_as_age(headers: dict[str, str], requested: float, left: float) -> None:
    stored = response({"cache-control": "max-age=100", **headers}, requested=requested)
    assert decide(stored, request_headers={}, now=RECEIVED) == Usable(left)


@pytest.mark.parametrize(
    ("seconds", "decision"),
    [(-1, Usable(99)), (-99, Usable(1)), (-100, Conditional({}, "expired")), (-1e9, Conditional({}, "expired"))],
)
def test_a_clock_that_was_set_back_makes_nothing_fresher(seconds: float, decision: Usable | Conditional) -> None:
    assert after(seconds, {"cache-control": "max-age=100"}) == decision


@pytest.mark.parametrize(
    ("headers", "fallback", "decision"),
    [
        ({}, 0, Conditional({}, "no-lifetime")),
        ({}, 600, Usable(590)),
        ({}, 10, Conditional({}, "expired")),
        ({"cache-control": "public, immutable"}, 0, Conditional({}, "no-lifetime")),
        ({"cache-control": "s-maxage=600"}, 0, Conditional({}, "no-lifetime")),
        ({"date": DATE, "last-modified": DAY_BEFORE}, 0, Conditional({"if-modified-since": DAY_BEFORE}, "no-lifetime")),
        ({"last-modified": DAY_BEFORE}, 600, Conditional({"if-modified-since": DAY_BEFORE}, "no-lifetime")),
        ({"etag": '"a"'}, 600, Conditional(ETAG, "no-lifetime")),
        ({"cache-control": "max-age=20", "etag": '"a"'}, 600, Usable(10)),
        ({"cache-control": "max-age=5"}, 600, Conditional({}, "expired")),
        ({"cache-control": "no-cache"}, 600, Conditional({}, "no-cache")),
    ],
)
def test_only_the_fallback_makes_up_a_lifetime(
    headers: dict[str, str], fallback: float, decision: Usable | Conditional
) -> None:
    assert after(10, headers, fallback=fallback) == decision


@pytest.mark.parametrize(
    ("headers", "preconditions"),
    [
        ({"etag": '"a"'}, ETAG),
        ({"etag": 'W/"a"'}, {"if-none-match": 'W/"a"'}),
        ({"last-modified": DATE}, {"if-modified-since": DATE}),
        ({"etag": '"a"', "last-modified": DATE}, {**ETAG, "if-modified-since": DATE}),
        ({"etag": ""}, {}),
        ({"etag": '"ä"'}, {}),  # cannot be sent back as it came
        ({"etag": '"a\r\nauthorization: b"'}, {}),
        ({"etag": '"' + "a" * 5000 + '"'}, {}),
    ],
)
def test_the_validators_that_can_be_sent_are(headers: dict[str, str], preconditions: dict[str, str]) -> None:
    assert after(0, {"cache-control": "max-age=0", **headers}) == Conditional(preconditions, "expired")


@pytest.mark.parametrize(
    ("newer_than", "now", "decision"),
    [
        (None, RECEIVED, Usable(60)),
        (RECEIVED - 1, RECEIVED, Usable(60)),
        (RECEIVED, RECEIVED, Usable(60)),
        (RECEIVED + 1, RECEIVED + 2, Conditional(ETAG, "refresh")),
        (
            RECEIVED - 9,
            RECEIVED - 8,
            Conditional(ETAG, "refresh"),
        ),  # received in the future, which is: nobody knows when
    ],
)
def test_refresh_asks_for_what_came_before(
    newer_than: float | None, now: float, decision: Usable | Conditional
) -> None:
    stored = response({"cache-control": "max-age=60, immutable", "etag": '"a"'})
    asked = decide(stored, request_headers={}, now=now, newer_than=newer_than)
    assert asked == decision


FRESH = {"cache-control": "max-age=60", "etag": '"a"'}
HTML, JSON, TOKEN = {"accept": "text/html"}, {"accept": "application/json"}, {"authorization": "Bearer a"}


@pytest.mark.parametrize(
    ("vary", "sent", "sends", "decision"),
    [
        ("accept", HTML, HTML, Usable(60)),
        ("Accept", {"accept": "text/html, */*"}, {"accept": "text/html,*/* "}, Usable(60)),
        ("accept", {}, {}, Usable(60)),
        ("", HTML, JSON, Usable(60)),
        ("accept-language, ,accept-encoding", HTML, JSON, Usable(60)),
        ("cookie", {}, {}, Usable(60)),
        # another representation: its validators would bring a 304 for the wrong bytes
        ("accept", HTML, JSON, Conditional({}, "vary")),
        ("accept", HTML, {}, Conditional({}, "vary")),
        ("accept", {}, HTML, Conditional({}, "vary")),
        ("accept", {"accept": ""}, {}, Conditional({}, "vary")),
        ("authorization", {}, TOKEN, Conditional({}, "vary")),
        ("authorization", TOKEN, {}, Conditional({}, "vary")),
        ("accept-encoding, accept", HTML, JSON, Conditional({}, "vary")),
        ("*, accept", HTML, JSON, Conditional({}, "vary")),
        # the server alone can tell
        ("*", {}, {}, Conditional(ETAG, "vary")),
        ("accept, *", HTML, HTML, Conditional(ETAG, "vary")),
        ("authorization", TOKEN, TOKEN, Conditional(ETAG, "vary")),
    ],
)
def test_vary(vary: str, sent: dict[str, str], sends: dict[str, str], decision: Usable | Conditional) -> None:
    headers = {**FRESH, "vary": vary}
    stored = response(headers, vary=nominated(headers, sent))
    assert decide(stored, request_headers=sends, now=RECEIVED) == decision


@pytest.mark.parametrize(("sent", "decision"), [("1", Usable(60)), ("2", Conditional({}, "vary"))])
def test_vary_compares_whatever_was_recorded(sent: str, decision: Usable | Conditional) -> None:
    stored = response({**FRESH, "vary": "x-tenant"}, vary={"x-tenant": "1"})
    assert decide(stored, request_headers={"x-tenant": sent}, now=RECEIVED) == decision


def test_another_representation_is_the_first_reason() -> None:
    headers = {"cache-control": "no-cache", "etag": '"a"', "vary": "accept"}
    stored = response(headers, vary=nominated(headers, HTML))
    asked = decide(stored, request_headers=JSON, now=RECEIVED + 9, newer_than=RECEIVED + 5)
    assert asked == Conditional({}, "vary")


def test_secrets_are_not_recorded() -> None:
    sent = {
        "accept": "text/html",
        "authorization": "Basic c2VjcmV0",
        "cookie": "s=1",
        "x-token": "t",
        "user-agent": "f",
    }
    assert nominated({"vary": "Authorization, Cookie, X-Token, Accept, User-Agent, *"}, sent) == {
        "accept": "text/html",
        "authorization": "*",
        "cookie": "*",
        "user-agent": "f",
        "x-token": "*",
    }
    assert nominated({"vary": "cookie"}, TOKEN) == {}
    assert nominated({}, sent) == {}


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (200, {}, True),
        (200, {"cache-control": "private"}, True),
        (200, {"cache-control": "no-cache"}, True),
        (200, {"vary": "*"}, True),
        (200, {"cache-control": "max-age=60, NO-STORE"}, False),
        (200, {"cache-control": "no-store, must-understand"}, False),
        (200, {"cache-control": 'ext="never closed, no-store'}, False),
        (200, {"cache-control": 'ext="no-store"'}, True),
        (203, {}, True),
        (404, {}, True),
        (410, {"etag": '"a"'}, True),
        (203, {"cache-control": "no-store"}, False),
        (404, {"cache-control": "no-store"}, False),
        (404, {"expires": HOUR_LATER}, True),
        (410, {"cache-control": "max-age=60"}, True),
        (404, {"cache-control": "max-age=60, no-store"}, False),
        (206, {"cache-control": "max-age=60"}, False),
        (301, {"cache-control": "max-age=60"}, False),
        (304, {"cache-control": "max-age=60"}, False),
        (401, {"cache-control": "max-age=60"}, False),
        (403, {"cache-control": "max-age=60"}, False),
        (500, {"cache-control": "max-age=60"}, False),
    ],
)
def test_storable(status: int, headers: dict[str, str], expected: bool) -> None:
    assert storable(status, headers) is expected


OLD = {
    "age": "50",
    "cache-control": "max-age=60",
    "content-type": "text/html",
    "date": DATE,
    "etag": '"a"',
    "vary": "accept",
}


def test_a_304_freshens_what_is_stored() -> None:
    stored = response(OLD, vary=HTML, url="https://example.com/a")
    newer = {"cache-control": "max-age=5", "content-type": "text/plain", "date": HOUR_LATER, "last-modified": DATE}
    not_modified = response(newer, status=304, requested=RECEIVED + 3599, received=RECEIVED + 3600)
    fresh = updated(stored, not_modified)
    assert fresh == Response(
        status=200,
        headers={
            "cache-control": "max-age=5",
            "content-type": "text/html",
            "date": HOUR_LATER,
            "etag": '"a"',
            "last-modified": DATE,
            "vary": "accept",
        },
        vary=HTML,
        requested=RECEIVED + 3599,
        received=RECEIVED + 3600,
        url="https://example.com/a",
    )
    assert decide(fresh, request_headers=HTML, now=RECEIVED + 3600, newer_than=RECEIVED + 3600) == Usable(4)


def test_the_age_before_a_304_does_not_count() -> None:
    not_modified = response({}, status=304, requested=RECEIVED + 3600, received=RECEIVED + 3600)
    fresh = updated(response(OLD, vary=HTML), not_modified)
    assert decide(fresh, request_headers=HTML, now=RECEIVED + 3601) == Usable(59)


def test_a_304_may_name_more_that_varies_and_another_address() -> None:
    not_modified = response({"vary": "user-agent"}, status=304, vary={"user-agent": "f"}, url="https://example.com/b")
    fresh = updated(response(OLD, vary=HTML, url="https://example.com/a"), not_modified)
    assert (fresh.vary, fresh.url) == ({**HTML, "user-agent": "f"}, "https://example.com/b")
    assert decide(fresh, request_headers={"user-agent": "f"}, now=RECEIVED) == Usable(60)


@pytest.mark.parametrize(
    ("stored", "not_modified", "expected"),
    [
        ({"etag": '"a"'}, {"etag": '"a"'}, True),
        ({"etag": 'W/"a"'}, {"etag": '"a"'}, True),
        ({"etag": '"a"'}, {"etag": 'W/"a"'}, True),
        ({"etag": '"a"', "last-modified": DATE}, {"etag": '"a"', "last-modified": HOUR_LATER}, True),
        ({"last-modified": DATE}, {"last-modified": DATE}, True),
        ({"etag": '"a"'}, {}, True),
        ({}, {}, True),
        ({"etag": '"a"'}, {"etag": '"b"'}, False),
        ({"etag": '"a"', "last-modified": DATE}, {"etag": '"b"', "last-modified": DATE}, False),
        ({"last-modified": DATE}, {"etag": '"b"'}, False),
        ({"last-modified": DATE}, {"last-modified": HOUR_LATER}, False),
        ({}, {"last-modified": DATE}, False),
    ],
)
def test_a_304_has_to_speak_of_what_is_stored(
    stored: dict[str, str], not_modified: dict[str, str], expected: bool
) -> None:
    assert confirmed(response(stored), response(not_modified, status=304)) is expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"etag": '"a"'}, {"etag": '"b"'}, ("etag-changed", '"a" -> "b"')),
        ({"etag": '"a"', "last-modified": DATE}, {"etag": '"b"'}, ("etag-changed", '"a" -> "b"')),
        ({}, {"etag": '"b"'}, ("etag-changed", 'none -> "b"')),
        ({"etag": '"a"'}, {}, ("etag-changed", '"a" -> none')),
        ({"last-modified": DATE}, {"last-modified": HOUR_LATER}, ("last-modified-changed", f"{DATE} -> {HOUR_LATER}")),
        ({"etag": '"a"'}, {"etag": '"a"'}, ("content-changed", "same validators")),
        ({}, {}, ("content-changed", "no validator")),
        ({"etag": '"\x9b31m"'}, {}, ("content-changed", "no validator")),
    ],
)
def test_difference(old: dict[str, str], new: dict[str, str], expected: tuple[str, str]) -> None:
    assert difference(response(old), response(new)) == expected


def test_only_what_later_decisions_need_is_kept() -> None:
    stored = response({**OLD, "set-cookie": "session=secret", "server": "x"})
    assert stored.headers == OLD


@pytest.mark.parametrize("url", [None, "https://example.com/a"])
def test_json_there_and_back(url: str | None) -> None:
    stored = response(OLD, vary=HTML, requested=RECEIVED - 0.25, url=url)
    plain = json.loads(json.dumps(stored.to_json()))
    assert Response.from_json(plain) == stored
    assert Response.from_json({**plain, "from-a-later-release": [1]}) == stored


GOOD = response(OLD, vary=HTML).to_json()


@pytest.mark.parametrize(
    "plain",
    [
        None,
        [],
        "text",
        {},
        {**GOOD, "status": "200"},
        {**GOOD, "status": True},
        {**GOOD, "status": 99},
        {**GOOD, "headers": None},
        {**GOOD, "headers": {"etag": None}},
        {**GOOD, "vary": ["accept"]},
        {**GOOD, "vary": {"accept": 1}},
        {**GOOD, "requested": "now"},
        {**GOOD, "requested": False},
        {**GOOD, "received": -1},
        {**GOOD, "received": 10**400},
        {**GOOD, "received": float("nan")},
        {**GOOD, "received": float("inf")},
        {**GOOD, "url": 1},
        {name: value for name, value in GOOD.items() if name != "received"},
    ],
)
def test_malformed_json_is_a_value_error(plain: Any) -> None:
    with pytest.raises(ValueError, match="`"):
        Response.from_json(plain)


@pytest.mark.parametrize(
    "text",
    ['a="' * 30_000, 'a="\\' * 30_000, "a" + " " * 100_000, "a=" * 50_000, ("a" + " " * 300) * 300, '"' * 100_000],
)
@pytest.mark.timeout(20)
def test_hostile_fields_take_linear_time(text: str) -> None:
    headers = {"cache-control": text + ", no-cache", "date": text, "expires": text, "vary": text, "age": text}
    assert isinstance(after(0, headers), Conditional)
    assert storable(200, {"cache-control": f"{text}, no-store"}) is False


WARM = """
import sys
from felloe.freshness import Response, decide
headers = {"date": "Sun, 06 Nov 1994 08:49:37 GMT", "expires": "Sunday, 06-Nov-94 09:49:37 GMT"}
stored = Response(status=200, headers=headers, requested=784111777, received=784111777)
decide(stored, request_headers={}, now=784111778)
print(*sorted({name.partition(".")[0] for name in sys.modules} & {"email", "socket", "calendar", "locale", "httpx"}))
"""


def test_a_decision_loads_nothing_heavy() -> None:
    out = subprocess.run([sys.executable, "-c", WARM], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == ""
