"""Door 3, the tests of a source: distributions made in code, and an index on loopback that behaves as it is told.

    from felloe.testing import Behaviour, IndexServer, Project, make_wheel

    def test_a_server_that_is_busy_once(tmp_path):
        with IndexServer() as index:
            index.add(make_wheel(tmp_path, Project("acme", "1.0")))
            index.behave("/simple/acme/", Behaviour(statuses=[503]))
            ...  # ask a source whose address is index.index_url
            assert [request.status for request in index.requests] == [503, 200]

Nothing of these needs pytest. `SourceContract` does: the tests that every source has to pass, to be subclassed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from felloe.testing.artifacts import Project, make_sdist, make_wheel
from felloe.testing.git import GitRequest, GitServer, Repository
from felloe.testing.index import Behaviour, IndexServer, Listing, LoggedRequest, Reply

if TYPE_CHECKING:
    from felloe.testing.contract import SourceContract

__all__ = [
    "Behaviour",
    "GitRequest",
    "GitServer",
    "IndexServer",
    "Listing",
    "LoggedRequest",
    "Project",
    "Reply",
    "Repository",
    "SourceContract",
    "make_sdist",
    "make_wheel",
]


def __getattr__(name: str) -> Any:
    if name != "SourceContract":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from felloe.testing.contract import SourceContract

    return SourceContract
