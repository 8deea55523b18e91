"""May a stored response be used, or does its server have to be asked? RFC 9111 for a private cache of GET responses.

Pure decisions: the clock is a parameter (`now`, seconds since the epoch), requests are sent by others. Names of header
fields are in lower case in every mapping, values of repeated fields are joined by ", ".

Where RFC 9111 leaves a choice, the careful answer is taken: nothing is guessed from the age of a file (no heuristic of
section 4.2.2), contradictory or unreadable freshness means expired, and a clock that jumps makes nothing fresher.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from attrs import field, frozen

if TYPE_CHECKING:
    from felloe.values import Json

__all__ = [
    "Conditional",
    "Response",
    "Usable",
    "confirmed",
    "decide",
    "difference",
    "nominated",
    "storable",
    "updated",
]

STORED = (
    "age",
    "cache-control",
    "content-type",
    "date",
    "etag",
    "expires",
    "last-modified",
    "pragma",
    "vary",
)
STORED_STATUSES = frozenset({200, 203, 404, 410})  # of those that need not say so (RFC 9110, section 15.1)
PRECONDITIONS = {"etag": "if-none-match", "last-modified": "if-modified-since"}
LONGEST_VALIDATOR = 1024  # servers refuse requests with much longer fields
NEGOTIATED = frozenset({"accept", "accept-charset", "accept-encoding", "accept-language", "user-agent"})
UNTOLD = "*"  # the field was sent; its value was not recorded
LONGEST_LIFETIME = 2**31  # what counts for anything longer (section 1.2.2)
END_OF_TIME = datetime.max.replace(tzinfo=UTC).timestamp()
DIRECTIVE = re.compile(
    r"""([!#$%&'*+\-.^_`|~0-9a-z]++)              # name, a token
        (?:[ \t]*=[ \t]*                          # white space is not allowed, and seen
            (?: "((?:[^"\\]|\\.)*+)" | ([^\s,"]*) )  # argument: quoted string or token
        )?""",
    re.VERBOSE,
)
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def _stored(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: headers[name] for name in STORED if name in headers}


@frozen(kw_only=True)
class Response:
    """What later decisions need of a response.

    `headers` keeps the fields in `STORED` and drops all others. `vary` has the request's fields that the response's
    Vary names, as they were sent (see `nominated`). `requested` and `received` are the instants at which the request
    was sent and the response came, in seconds since the epoch. `url` is the address after redirects; it is stored as
    it is given, so it has to come without secrets.
    """

    status: int
    headers: Mapping[str, str] = field(converter=_stored)
    vary: Mapping[str, str] = field(factory=dict)
    requested: float
    received: float
    url: str | None = None

    def to_json(self) -> dict[str, Json]:
        """A mapping of plain JSON values, from which `from_json` makes an equal response."""
        plain: dict[str, Json] = {
            "status": self.status,
            "headers": dict(self.headers),
            "vary": dict(self.vary),
            "requested": self.requested,
            "received": self.received,
        }
        return plain if self.url is None else {**plain, "url": self.url}

    @classmethod
    def from_json(cls, plain: Json) -> Response:
        """Raises ValueError where `plain` is not what `to_json` gives; unknown keys are ignored."""
        if not isinstance(plain, Mapping):
            raise ValueError(f"a stored response is an object, not `{plain!r:.40}`")
        url = plain.get("url")
        if not (url is None or isinstance(url, str)):
            raise ValueError(f"`{url!r:.40}` is not the address of a response")
        return cls(
            status=_read_status(plain.get("status")),
            headers=_read_fields(plain.get("headers")),
            vary=_read_fields(plain.get("vary")),
            requested=_read_instant(plain.get("requested")),
            received=_read_instant(plain.get("received")),
            url=url,
        )


def _read_status(value: Json) -> int:
    if type(value) is not int or not 100 <= value <= 599:
        raise ValueError(f"`{value!r:.40}` is not the status of a response")
    return value


def _read_fields(value: Json) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(text, str) for pair in value.items() for text in pair):
        raise ValueError(f"`{value!r:.40}` is not a mapping of header fields")
    return dict(value)


def _read_instant(value: Json) -> float:
    if type(value) not in {int, float} or not 0 <= value <= END_OF_TIME:
        raise ValueError(f"`{value!r:.40}` is not an instant in seconds since the epoch")
    return float(value)


@frozen
class Usable:
    """The stored response is fresh for `seconds` more (greater than 0): no request."""

    seconds: float


@frozen
class Conditional:
    """The server has to be asked, with `headers` added to the request; where there are none, it is a plain request.

    `reason` is one of `vary`, `refresh`, `no-cache`, `no-lifetime`, `expired`.
    """

    headers: Mapping[str, str]
    reason: str


def decide(
    response: Response,
    *,
    request_headers: Mapping[str, str],
    now: float,
    fallback: float = 0.0,
    newer_than: float | None = None,
) -> Usable | Conditional:
    """Whether `response` answers a request with `request_headers` at the instant `now` (section 4).

    `fallback` is the lifetime in seconds of a response that names neither a lifetime nor a validator. What was not
    received between `newer_than` and `now` is asked again. `immutable` (RFC 8246) adds nothing: it forbids asking
    within the lifetime, where nothing but `newer_than`, the user's own wish, asks.

    Where the stored response is of another representation (Vary), the request is a plain one: a 304 to its validators
    could be true of the wrong bytes.
    """
    compared = _compared(response, request_headers)
    if False in compared:
        return Conditional({}, "vary")
    preconditions = {PRECONDITIONS[name]: value for name, value in _validators(response).items()}
    if None in compared:
        return Conditional(preconditions, "vary")
    if newer_than is not None and not newer_than <= response.received <= now:
        return Conditional(preconditions, "refresh")
    if _forbids_reuse(response.headers):
        return Conditional(preconditions, "no-cache")
    lifetime = _lifetime(response, fallback)
    if lifetime is None:
        return Conditional(preconditions, "no-lifetime")
    left = lifetime - _age(response, now)
    return Usable(left) if left > 0 else Conditional(preconditions, "expired")


def storable(status: int, headers: Mapping[str, str]) -> bool:
    """Whether a response to a GET may be stored (section 3): whole, not forbidden, and of use later.

    That a page is not there (404, 410) is as good an answer as a page; `decide` says for how long.
    """
    return status in STORED_STATUSES and "no-store" not in _directives(headers.get("cache-control", ""))


def nominated(headers: Mapping[str, str], request_headers: Mapping[str, str]) -> dict[str, str]:
    """The fields of the request that the Vary in a response's `headers` names: a Response's `vary`.

    This is written to disk, so only fields of content negotiation have their values. Any other may be a secret
    (Authorization, Cookie): its value is `*`, which nobody can compare, and the server is asked each time it is sent.
    """
    names = sorted(_members(headers.get("vary", "")).intersection(request_headers))
    return {name: request_headers[name] if name in NEGOTIATED else UNTOLD for name in names}


def confirmed(stored: Response, not_modified: Response) -> bool:
    """Whether a 304 speaks of `stored` (section 4.3.4); where it does not, only a plain request helps."""
    for name, comparable in (("etag", _opaque), ("last-modified", str)):
        if name in not_modified.headers:
            return comparable(not_modified.headers[name]) == comparable(stored.headers.get(name, ""))
    return True


def updated(stored: Response, not_modified: Response) -> Response:
    """`stored` as a 304 that is `confirmed` freshens it (sections 3.2 and 4.3.4).

    The fields that describe the bytes remain. Age and Date are of the 304 alone: the old ones would count the time
    before it.
    """
    kept = {name: value for name, value in stored.headers.items() if name not in {"age", "date"}}
    newer = {name: value for name, value in not_modified.headers.items() if name != "content-type"}
    return Response(
        status=stored.status,
        headers=kept | newer,
        vary={**stored.vary, **not_modified.vary},
        requested=not_modified.requested,
        received=not_modified.received,
        url=stored.url if not_modified.url is None else not_modified.url,
    )


def difference(old: Response, new: Response) -> tuple[str, str]:
    """Code and evidence for a Stale, where `new` came with a body in place of `old`."""
    before, after = _validators(old), _validators(new)
    for name in PRECONDITIONS:
        if before.get(name) != after.get(name):
            return f"{name}-changed", f"{before.get(name, 'none')} -> {after.get(name, 'none')}"
    return "content-changed", "same validators" if after else "no validator"


def _compared(response: Response, request_headers: Mapping[str, str]) -> set[bool | None]:
    """Whether each field that Vary names is what it was (section 4.1); None where only the server can tell."""
    names = _members(response.headers.get("vary", ""))
    return {None if name == "*" else _same(response.vary.get(name), request_headers.get(name)) for name in names}


def _same(sent: str | None, now: str | None) -> bool | None:
    if sent == UNTOLD and now is not None:
        return None
    return _normal(sent) == _normal(now)


def _members(text: str) -> set[str]:
    return {member.strip().lower() for member in text.split(",")} - {""}


def _normal(value: str | None) -> list[str] | None:
    return value if value is None else [member.strip() for member in value.split(",")]


def _validators(response: Response) -> dict[str, str]:
    """ETag and Last-Modified, as far as they can be sent back."""
    found = {name: response.headers.get(name, "") for name in PRECONDITIONS}
    return {name: value for name, value in found.items() if _can_be_sent(value)}


def _can_be_sent(value: str) -> bool:
    return 0 < len(value) <= LONGEST_VALIDATOR and value.isascii() and value.isprintable()


def _opaque(etag: str) -> str:
    """What weak comparison compares (RFC 9110, section 8.8.3.2)."""
    return etag.removeprefix("W/")


def _forbids_reuse(headers: Mapping[str, str]) -> bool:
    """`no-cache`, also in its qualified form; a Pragma of old counts where there is no Cache-Control.

    `no-store` as well: of a distribution its validators are kept all the same.
    """
    return (
        not _directives(headers.get("cache-control", headers.get("pragma", "")))
        .keys()
        .isdisjoint({"no-cache", "no-store"})
    )


def _lifetime(response: Response, fallback: float) -> float | None:
    """In seconds from the response's Date (section 4.2.1), None where nothing says; what is not valid means 0."""
    ages = _directives(response.headers.get("cache-control", "")).get("max-age")
    if ages is not None:
        return (_seconds(*ages) or 0) if len(ages) == 1 else 0
    if "expires" in response.headers:
        expires = _instant(response.headers["expires"], near=response.received)
        return 0 if expires is None else expires - _dated(response)
    return None if fallback <= 0 or _validators(response) else fallback


def _age(response: Response, now: float) -> float:
    """In seconds, section 4.2.3. Where the clock was set back, the distance to `received` counts all the same."""
    apparent = response.received - _dated(response)
    delay = max(0.0, response.received - response.requested)
    told = _seconds(response.headers.get("age", "").partition(",")[0].strip()) or 0
    return max(apparent, told + delay) + abs(now - response.received)


def _dated(response: Response) -> float:
    """The instant that the response names as its origin; where it names none, that of its receipt."""
    date = _instant(response.headers.get("date", ""), near=response.received)
    return response.received if date is None else date


def _directives(text: str) -> dict[str, set[str]]:
    """Directives and all arguments of each ("" for none). What follows a quote that is never closed counts as well."""
    found: dict[str, set[str]] = {}
    for name, quoted, token in DIRECTIVE.findall(text.lower()):
        found.setdefault(name, set()).add(quoted or token)
    return found


def _seconds(text: str) -> int | None:
    """delta-seconds (section 1.2.2), None where it is not one."""
    if not (text.isascii() and text.isdigit()):
        return None
    digits = text.lstrip("0") or "0"
    return LONGEST_LIFETIME if len(digits) > 10 else min(int(digits), LONGEST_LIFETIME)


def _instant(text: str, *, near: float) -> float | None:
    """An HTTP-date in any of its three formats (RFC 9110, section 5.6.7), None where it is not one.

    Two digits of a year mean the one at most 50 years after `near`. (email.utils would bring in the socket module, and
    takes other zones than GMT.)
    """
    match re.sub("[,:-]", " ", text.lower()).split():
        case [_, day, month, year, hour, minute, second, "gmt"] | [_, month, day, hour, minute, second, year]:
            numbers = (year, day, hour, minute, second)
        case _:
            return None
    if month not in MONTHS or not all(re.fullmatch("[0-9]{1,4}", number) for number in numbers):
        return None
    try:
        date = (_full_year(year, near), MONTHS.index(month) + 1, int(day))
        return datetime(*date, int(hour), int(minute), int(second), tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _full_year(year: str, near: float) -> int:
    if len(year) != 2:
        return int(year)
    this_year = datetime.fromtimestamp(near, UTC).year
    return this_year + (int(year) - this_year + 49) % 100 - 49
