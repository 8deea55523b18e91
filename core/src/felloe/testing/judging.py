"""What `SourceContract` finds wrong, in words: which promise is broken, and what the author has to change."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, quote_plus

import pytest
from attrs import asdict

from felloe.errors import ContractError, FelloeError, HashMismatchError, PluginError
from felloe.values import Answer, Dist, Fetched

__all__ = [
    "broken",
    "check_content",
    "check_same",
    "comes_back",
    "content_of",
    "differ",
    "first_difference",
    "lines_run",
    "secrets_in",
    "shown",
    "telling",
    "text_of",
    "whole",
]

CONTENT_IDS = ("git:", "tree:")


def broken(promise: str, change: str) -> NoReturn:
    """Fails the test."""
    failure = pytest.fail.Exception(f"{promise}\nWhat to change: {change}", pytrace=False)
    raise failure from None  # what led here is in the words


@contextmanager
def telling(what: str) -> Iterator[None]:
    """What the source raises, `what` of it being called, becomes a failure."""
    try:
        yield
    except FelloeError as error:
        hook = f"`{error.payload['hook']}`" if "hook" in error.payload else what
        broken(f"{type(error).__name__}: {error}", _remedy(error, hook))


def _remedy(error: FelloeError, hook: str) -> str:
    if isinstance(error, HashMismatchError):
        return "declare in `Dist.hashes` and `Dist.content` what is true of the bytes that `fetch` brings"
    if isinstance(error, ContractError):
        return f"give from {hook} what its docstring in felloe.plugin.Source says"
    if isinstance(error, PluginError):
        return f"let {hook} raise a FelloeError (of felloe.plugin) for what can go wrong, and nothing else"
    return f"let {hook} answer for `known_request` ({error.hint or 'it has to be something that it has'})"


# Answers


def differ(one: Answer, other: Answer) -> bool:
    """Whether two answers are of different files or states; where one does not know its content, that says nothing."""
    contents = {one.dist.content, other.dist.content} - {None}
    same = (one.metadata.fields, one.dist.filename) == (other.metadata.fields, other.dist.filename)
    return not same or len(contents) > 1


def shown(answer: Answer) -> str:
    """The file or state that an answer is of."""
    return f"`{answer.dist.filename}` {answer.dist.version or ''} ({answer.dist.content or 'content not known'})"


def check_same(answers: Sequence[Answer | FelloeError]) -> None:
    """Of callers who asked at the same time."""
    for answer in answers:
        if isinstance(answer, FelloeError):
            raise answer
    first, *others = [answer for answer in answers if isinstance(answer, Answer)]
    if any(differ(first, other) for other in others):
        broken("callers at the same time get different answers", "keep nothing of one call where another one sees it")


# Dists and their bytes


def first_difference(some: Sequence[Dist], others: Sequence[Dist]) -> str:
    """Which field of the first pair that differs, and how."""
    for one, other in zip(some, others, strict=False):
        before, after = (asdict(dist, recurse=False) for dist in (one, other))
        for field in before:
            if before[field] != after[field]:
                return f"`{field}` of `{one.filename}` is {before[field]!r}, then {after[field]!r}"
    return f"{len(some)} of them, then {len(others)}"


def content_of(dist: Dist, fetched: Fetched) -> str | None:
    """The content id of what was fetched."""
    return fetched.content if dist.kind == "tree" else f"sha256:{_digest('sha256', fetched.path)}"


def check_content(dist: Dist, fetched: Fetched) -> None:
    """What was fetched is what was declared."""
    if dist.kind == "tree":
        _check_tree(dist, fetched)
        return
    if not fetched.path.is_file():
        broken(f"`fetch` gives no file for `{dist.filename}`", "write it below `ctx.scratch` before you return")
    for algorithm, digest in [*dist.hashes.items(), *_as_hashes(dist.content), *_as_hashes(fetched.content)]:
        if (actual := _digest(algorithm, fetched.path)) != digest.lower():
            broken(
                f"the {algorithm} of `{dist.filename}` is {actual}, and {digest} is declared",
                "declare in `Dist.hashes`, `Dist.content` and `Fetched.content` what upstream says of these bytes",
            )
    if dist.size is not None and fetched.path.stat().st_size != dist.size:
        broken(f"`{dist.filename}` has {fetched.path.stat().st_size} bytes, not {dist.size}", "correct `Dist.size`")


def _check_tree(dist: Dist, fetched: Fetched) -> None:
    if not fetched.path.is_dir():
        broken(f"`fetch` gives no folder for the tree `{dist.filename}`", "give the root of the tree as `Fetched.path`")
    if fetched.content is None or not fetched.content.startswith(CONTENT_IDS):
        broken(f"the content id of a tree is {fetched.content!r}", "give `git:...` or `tree:...` as `Fetched.content`")
    if dist.content not in {None, fetched.content}:
        broken(
            f"`fetch` brings {fetched.content}, and `find` declares {dist.content}",
            "let `fetch` bring just the state that `find` has found",
        )


def _as_hashes(content: str | None) -> Sequence[tuple[str, str]]:
    algorithm, _, digest = (content or "").partition(":")
    return [(algorithm, digest)] if algorithm == "sha256" else []


def _digest(algorithm: str, path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


# Secrets, and how long things take


def secrets_in(*texts: str, secrets: Sequence[str]) -> bool:
    """Whether one of them is there, as it is or quoted."""
    forms = {form for secret in secrets for form in (secret, quote(secret, safe=""), quote_plus(secret))}
    return any(form in text for form in forms for text in texts)


def whole(error: BaseException | None) -> str:
    """All that an error and those behind it show."""
    if error is None:
        return ""
    told = [str(error), repr(error), repr(vars(error)), whole(error.__cause__)]
    return "\n".join([*told, whole(error.__context__) if error.__context__ is not error.__cause__ else ""])


def text_of(path: Path) -> str:
    """The content of a file, whatever it is; "" where there is none to be read."""
    return path.read_bytes().decode(errors="replace") if path.is_file() else ""


def lines_run(call: Callable[[], Any]) -> int:
    """How many lines of Python it runs: unlike the time that it takes, the same on every machine."""
    count = 0

    def trace(_frame: object, event: str, _argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


def comes_back(values: Any) -> bool:
    """Whether JSON keeps it as it is."""
    return bool(json.loads(json.dumps(values)) == values)
