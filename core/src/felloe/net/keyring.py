"""Credentials from the keyring of the system, by the library `keyring`: the extra `felloe-core[keyring]`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from felloe.errors import PluginError
from felloe.hookspecs import hookimpl

if TYPE_CHECKING:
    from felloe.url import Url

__all__ = ["Keyring"]


class Keyring:
    """An extension; where the library is not there, it has no answer."""

    # On wherever the library can be imported, as by pip (`--keyring-provider auto`), for who installs it beside us
    # means it. uv wants to be told, as it would run a program of that name, whosever it is, before the first request;
    # we only ask after a 401, where all that could follow is an error. FELLOE_DISABLE=keyring turns it off.

    def __init__(self) -> None:
        self._is_usable = True

    @hookimpl
    async def credentials(self, url: Url) -> tuple[str, str] | None:
        """Looked up on a thread, for a backend may wait for somebody to unlock it.

        Raises PluginError where the backend fails, and asks it no more then.
        """
        from anyio.to_thread import run_sync

        if not self._is_usable:
            return None
        try:
            # Who cancels does not wait for an answer that may never come.
            return await run_sync(_look_up, url, abandon_on_cancel=True)
        except Exception as error:  # whatever a backend raises
            self._is_usable = False
            hint = "look at it with `keyring --list-backends`, or do without it: FELLOE_DISABLE=keyring"
            raise PluginError(f"the keyring cannot be read: {type(error).__name__}: {error}", hint=hint) from error


def _look_up(url: Url) -> tuple[str, str] | None:
    """By the URL of the index, then by host and port alone, as pip does."""
    try:
        import keyring
    except ModuleNotFoundError as error:
        if error.name == "keyring":
            return None
        raise
    user = url.userinfo[0] if url.userinfo else None
    index = url.as_directory().reveal()
    for service in (index, index.split("/")[2]):
        if (found := keyring.get_credential(service, user)) is not None:
            return found.username, found.password
    return None
