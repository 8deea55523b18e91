"""Ours beside hishel's state machine (both as private caches), on generated headers and clocks.

Two promises: ours never uses what hishel would not, whatever the headers are; and where both follow the same rules,
they give the same answer. They do not follow the same rules here, and exactly this is kept out of the second promise:

| | ours | hishel |
| --- | --- | --- |
| no lifetime, but Last-Modified | asks | the heuristic of section 4.2.2: a tenth of the age of the file |
| no lifetime, no validator | the caller's `fallback` counts (in both promises it is 0) | asks |
| `Age`, and the time a response took to come | count (section 4.2.3) | are not looked at |
| no Date that can be read | the age counts from the receipt | the age is always 0 |
| Date later than the receipt, a clock that was set back | the age counts from the receipt, either way | the age is 0 |
| a lifetime that cannot be read, or given twice | expired (section 4.2.1) | falls through, or the last one |
| a zone other than GMT | not a date (section 4.2) | a date, and its zone is not looked at |
| `no-cache="field"` | as `no-cache` | the field is not stored, the rest used |
| Pragma: no-cache in a response without Cache-Control | as `no-cache` | is not looked at |
| the request's own Cache-Control | is not looked at: `newer_than` says it | `no-cache` asks |
| a named field of Vary differs | a plain request: no 304 for other bytes | a conditional one |
| Vary names a field that may be a secret, and it is sent | its value is not recorded: asks | compared |
| white space in a field that Vary names | does not count (section 4.1) | counts |
| what is stored | 200; 203, 404, 410 with a lifetime | also others, and these without a lifetime |
| a 304 with a weak ETag | has to be the stored one's | Last-Modified decides |
| Age and Date after a 304 without them | are gone | those of before remain |

So the generated requests have no Cache-Control, and their fields are written without white space. Where ours is the
more generous one (the fallback; a Date of another zone; white space), the first promise leaves it out as well.
"""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from email.utils import formatdate
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hishel._core import _spec as spec
from hishel._core import models
from hishel._core._headers import Headers
from hypothesis import given, settings
from hypothesis import strategies as st

from felloe.freshness import Conditional, Response, Usable, confirmed, decide, nominated, storable, updated

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = pytest.mark.oracle

EPOCH = 1_700_000_000
URL = "https://example.com/simple/a/"
OPTIONS = spec.CacheOptions(shared=False, supported_methods=["GET"], allow_stale=False)

examples = settings(max_examples=500, derandomize=True, database=None, deadline=None)


@contextmanager
def clock(now: float) -> Iterator[None]:
    """hishel reads the clock itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spec, "time", SimpleNamespace(time=lambda: now))
        yield


def theirs(stored: Response, sent: Mapping[str, str]) -> models.Entry:
    request = models.Request("GET", URL, Headers(dict(sent)))
    return models.Entry(uuid.UUID(int=1), request, models.Response(stored.status, Headers(dict(stored.headers))))


def their_decision(stored: Response, sent: Mapping[str, str], sends: Mapping[str, str], now: float) -> spec.AnyState:
    with clock(now):
        request = models.Request("GET", URL, Headers(dict(sends)))
        return spec.IdleClient(options=OPTIONS).next(request, [theirs(stored, sent)])


def preconditions(state: spec.AnyState) -> dict[str, str]:
    assert isinstance(state, spec.NeedRevalidation)
    names = ("if-none-match", "if-modified-since")
    return {name: state.request.headers[name] for name in names if name in state.request.headers}


def http_dates(first: int, last: int) -> st.SearchStrategy[str]:
    return st.integers(EPOCH + first, EPOCH + last).map(lambda instant: formatdate(instant, usegmt=True))


def some(**fields: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, str]]:
    """A mapping of some of these header fields."""
    return st.fixed_dictionaries({}, optional={name.replace("_", "-"): values for name, values in fields.items()})


def joined(members: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(members, max_size=4, unique=True).map(", ".join)


# What both read in the same way

PLAIN = ("public", "private", "must-revalidate", "immutable", "No-Cache", "s-maxage=5", "ext=a", 'ext="a, no-cache"')
MAX_AGE = st.sampled_from(["max-age={}", "Max-Age={}", 'max-age="{}"'])


@st.composite
def cache_controls(draw: st.DrawFn) -> str:
    members = draw(st.lists(st.sampled_from(PLAIN), max_size=3, unique=True))
    if draw(st.booleans()):
        members.append(draw(MAX_AGE).format(draw(st.integers(0, 4000))))
    return ", ".join(draw(st.permutations(members)))


ETAGS = st.sampled_from(['"a"', 'W/"a"', '"b"', '""'])
VARIES = joined(st.sampled_from(["Accept", "accept-language", "Accept-Encoding", "*"]))
REQUESTS = some(accept=st.sampled_from(["text/html", "*/*"]), accept_language=st.sampled_from(["de", "de,en"]))


@st.composite
def agreed(draw: st.DrawFn) -> dict[str, str]:
    """Headers with a Date that is not after the receipt, and a lifetime wherever there is Last-Modified."""
    headers = draw(some(cache_control=cache_controls(), etag=ETAGS, vary=VARIES))
    headers["date"] = draw(http_dates(-1000, 0))
    if draw(st.booleans()):
        headers["expires"] = draw(http_dates(-4000, 4000) | st.sampled_from(["0", "-1", "never", ""]))
    if "expires" in headers or "max-age" in headers.get("cache-control", "").lower():
        headers |= draw(some(last_modified=http_dates(-9999, 0)))
    return headers


# What servers send

ODD_DATES = st.sampled_from(["", "0", "-1", "now", "Tuesday, 14-Nov-23 23:13:20 GMT", "Tue Nov 14 23:13:20 2023"])
DATES = http_dates(-100_000, 100_000) | ODD_DATES
ELSEWHERE = st.just("Tue, 14 Nov 2023 22:13:20 +0500")
ARGUMENTS = st.integers(-5, 4000).map(str) | st.sampled_from(["", "x", '"60"', '"60', "1.5", "+60", "6_0", "9" * 30])
ODD_MEMBERS = st.builds(
    "{}={}".format, st.sampled_from(["max-age", "MAX-AGE", "s-maxage", "no-cache", "ext"]), ARGUMENTS
)
ANY_CACHE_CONTROL = joined(st.sampled_from([*PLAIN, 'no-cache="a, b"', "no-store", "max-age"]) | ODD_MEMBERS)
ANY_HEADERS = some(
    cache_control=ANY_CACHE_CONTROL | st.text(st.sampled_from('max-age=0 60, no-cache"\\;'), max_size=30),
    expires=DATES | ELSEWHERE,
    date=DATES,
    age=ARGUMENTS,
    etag=ETAGS,
    last_modified=DATES | ELSEWHERE,
    pragma=st.just("no-cache"),
    vary=VARIES | st.sampled_from(["Authorization", "cookie, accept"]),
)
ANY_REQUESTS = some(accept=st.sampled_from(["a", "b"]), authorization=st.sampled_from(["a", "b"]))
INSTANTS = st.floats(EPOCH - 10_000, EPOCH + 10_000)


@examples
@given(headers=agreed(), sent=REQUESTS, sends=REQUESTS, seconds=st.floats(0, 9000))
def test_the_same_decision_where_the_rules_are_the_same(
    headers: dict[str, str], sent: dict[str, str], sends: dict[str, str], seconds: float
) -> None:
    stored = Response(
        status=200, headers=headers, vary=nominated(headers, sent), requested=float(EPOCH), received=float(EPOCH)
    )
    decision = decide(stored, request_headers=sends, now=EPOCH + seconds)
    state = their_decision(stored, sent, sends, EPOCH + seconds)
    assert isinstance(decision, Usable) == isinstance(state, spec.FromCache)
    if isinstance(decision, Conditional) and (decision.reason != "vary" or decision.headers):
        assert decision.headers == preconditions(state)


@examples
@given(headers=ANY_HEADERS, sent=ANY_REQUESTS, sends=ANY_REQUESTS, requested=INSTANTS, received=INSTANTS, now=INSTANTS)
def test_never_used_where_hishel_would_ask(
    headers: dict[str, str],
    sent: dict[str, str],
    sends: dict[str, str],
    requested: float,
    received: float,
    now: float,
) -> None:
    stored = Response(
        status=200, headers=headers, vary=nominated(headers, sent), requested=requested, received=received
    )
    if isinstance(decide(stored, request_headers=sends, now=now), Usable):
        assert isinstance(their_decision(stored, sent, sends, now), spec.FromCache)


@examples
@given(seconds=st.integers(1, 3000), headers=agreed(), now=st.floats(0, 9000))
def test_seconds_are_those_until_hishel_would_ask(seconds: int, headers: dict[str, str], now: float) -> None:
    stored = Response(status=200, headers=headers, requested=float(EPOCH), received=float(EPOCH))
    decision = decide(stored, request_headers={}, now=EPOCH + now)
    if isinstance(decision, Usable):
        end = EPOCH + now + decision.seconds
        assert isinstance(their_decision(stored, {}, {}, end - 0.001), spec.FromCache)
        assert isinstance(their_decision(stored, {}, {}, end + seconds), spec.NeedRevalidation)


def hishel_stores(status: int, headers: Mapping[str, str]) -> bool:
    miss = spec.CacheMiss(options=OPTIONS, request=models.Request("GET", URL))
    return isinstance(miss.next(models.Response(status, Headers(dict(headers)))), spec.StoreAndUse)


@examples
@given(status=st.sampled_from([200, 203, 204, 206, 301, 304, 404, 410, 500]), headers=ANY_HEADERS)
def test_never_stored_where_hishel_would_not(status: int, headers: dict[str, str]) -> None:
    assert hishel_stores(status, headers) or not storable(status, headers)


@examples
@given(headers=agreed(), forbids=st.sampled_from(["", ", no-store", ", No-Store"]))
def test_the_same_200s_are_stored(headers: dict[str, str], forbids: str) -> None:
    headers["cache-control"] = headers.get("cache-control", "") + forbids
    assert storable(200, headers) == hishel_stores(200, headers)


@examples
@given(
    headers=agreed(),
    fields=some(cache_control=cache_controls(), etag=st.sampled_from(['"a"', '"b"']), expires=http_dates(0, 9000)),
    modified=some(last_modified=http_dates(-2, 0)),
    date=http_dates(0, 100),
)
def test_a_304_updates_as_hishel_does(
    headers: dict[str, str], fields: dict[str, str], modified: dict[str, str], date: str
) -> None:
    stored = Response(status=200, headers=headers, requested=float(EPOCH), received=float(EPOCH))
    told = {**fields, **modified, "date": date, "content-type": "text/plain"}
    not_modified = Response(status=304, headers=told, requested=float(EPOCH), received=float(EPOCH))
    asking = spec.NeedRevalidation(
        request=models.Request("GET", URL),
        original_request=models.Request("GET", URL),
        revalidating_entries=[theirs(stored, {})],
        options=OPTIONS,
    )
    state = asking.next(models.Response(304, Headers(told)))
    assert confirmed(stored, not_modified) == isinstance(state, spec.NeedToBeUpdated)
    if isinstance(state, spec.NeedToBeUpdated):
        headers_after = state.updating_entries[0].response.headers
        assert updated(stored, not_modified).headers == {name: headers_after[name] for name in headers_after}
