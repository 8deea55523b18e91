"""Wheels or sdists, project by project: `--no-binary` and `--only-binary`, put together as pip does."""

from __future__ import annotations

from attrs import evolve, frozen

__all__ = ["ALL", "NONE", "FormatControl"]

ALL = ":all:"
NONE = ":none:"


@frozen(kw_only=True)
class FormatControl:
    """What one place says. Names are normalised, and outrank `:all:`, which is every name.

    `:none:` among them says that nothing of what a lesser place says for that option holds. What was said last counts:
    no name is in both.
    """

    no_binary: frozenset[str] = frozenset()
    only_binary: frozenset[str] = frozenset()

    def with_no_binary(self, value: str) -> FormatControl:
        """And then `--no-binary` with that value, names with commas between them."""
        no, only = _said(value, self.no_binary, self.only_binary)
        return evolve(self, no_binary=no, only_binary=only)

    def with_only_binary(self, value: str) -> FormatControl:
        """And then `--only-binary` with that value."""
        only, no = _said(value, self.only_binary, self.no_binary)
        return evolve(self, no_binary=no, only_binary=only)

    def over(self, lesser: FormatControl) -> FormatControl:
        """Both, where this one counts more."""
        return FormatControl(
            no_binary=_over(self.no_binary, self.only_binary, lesser.no_binary),
            only_binary=_over(self.only_binary, self.no_binary, lesser.only_binary),
        )


def _said(value: str, chosen: frozenset[str], other: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
    """What the option makes of its names, and of those of its opposite."""
    for word in filter(None, map(str.strip, value.split(","))):
        match word:
            case ":all:":
                chosen, other = frozenset({ALL}), frozenset({NONE})
            case ":none:":
                chosen = frozenset({NONE})
            case name:
                from packaging.utils import canonicalize_name  # few ask for it

                normal = canonicalize_name(name)
                chosen, other = chosen | {normal}, other - {normal}
    return chosen, other


def _over(mine: frozenset[str], opposite: frozenset[str], lesser: frozenset[str]) -> frozenset[str]:
    forgets = NONE in mine or ALL in mine | opposite
    return mine if forgets else mine | (lesser - (opposite - {NONE}))
