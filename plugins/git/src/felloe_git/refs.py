"""What a repository lists (`git ls-remote`), and which commit a ref is. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Self

from attrs import frozen

from felloe.plugin import RequirementError, SourceError
from felloe_git.remote import is_commit

__all__ = ["Listing", "digest_of_tags", "may_be_commit"]

TAGS = "refs/tags/"
PEELED = "^{}"

may_be_commit = re.compile(r"[0-9a-f]{4,39}", re.IGNORECASE).fullmatch


@frozen
class Listing:
    """Object by name (`HEAD`, `refs/heads/main`, `refs/tags/v1`), and what annotated tags stand for (`...^{}`)."""

    objects: Mapping[str, str]

    @classmethod
    def of(cls, printed: bytes, shown: str) -> Self:
        """Raises SourceError where it is not what git prints of a repository with SHA-1 names."""
        pairs = [line.split("\t") for line in printed.decode("utf-8", "surrogateescape").split("\n") if line]
        if not all(len(pair) == 2 and is_commit(pair[0]) for pair in pairs):
            raise SourceError(
                f"`{shown}` does not list its refs as git does with 40 digits",
                hint="repositories with SHA-256 object names are not supported",
            )
        return cls({name: commit for commit, name in pairs})

    def commit(self, ref: str) -> str | None:
        """By its full name (`refs/...`, `HEAD`)."""
        return self.objects.get(ref + PEELED) or self.objects.get(ref)

    def resolve(self, ref: str, shown: str) -> str | None:
        """The full name of `ref`, None where there is none. Raises RequirementError where a branch and a tag differ."""
        names = [ref] if ref == "HEAD" or ref.startswith("refs/") else [f"refs/heads/{ref}", f"{TAGS}{ref}"]
        found = [name for name in names if self.commit(name)]
        if len({self.commit(name) for name in found}) > 1:
            raise RequirementError(
                f"`{ref}` is a branch and a tag of `{shown}`, of different commits",
                hint=f"write `{found[0]}` or `{found[1]}`",
                code="ambiguous-ref",
            )
        return found[0] if found else None

    def tags(self) -> str:
        names = sorted(name for name in self.objects if name.startswith(TAGS) and not name.endswith(PEELED))
        return digest_of_tags(f"{self.objects[name]} {name}" for name in names)


def digest_of_tags(lines: Iterable[str]) -> str:
    """16 hex digits over all tags; `lines` are `<object> <full name>`."""
    return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()[:16]
