"""The settings of a source, as its class checks them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from felloe.errors import ConfigError

__all__ = ["refuse_unknown"]


def refuse_unknown(name: str, settings: Mapping[str, Any], known: Collection[str] = ()) -> None:
    """Raises ConfigError where `settings` of the source `name` have a key that is not `known`.

    It shows no values: these may be secrets.
    """
    if unknown := [key for key in settings if key not in known]:
        hint = f"it has {', '.join(f'`{key}`' for key in known)}" if known else "leave out all settings: it has none"
        what = " or ".join(f"`{key}`" for key in sorted(unknown))
        raise ConfigError(f"source `{name}` has no setting {what}", hint=hint, key=min(unknown))
