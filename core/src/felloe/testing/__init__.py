"""Door 3, the tests of a source: distributions made in code, and an index on loopback that behaves as it is told.

    from felloe.testing import Behaviour, IndexServer, Project, make_wheel

    def test_a_server_that_is_busy_once(tmp_path):
        with IndexServer() as index:
            index.add(make_wheel(tmp_path, Project("acme", "1.0")))
            index.behave("/simple/acme/", Behaviour(statuses=[503]))
            ...  # ask a source whose address is index.index_url
            assert [request.status for request in index.requests] == [503, 200]

Nothing here needs pytest.
"""

from __future__ import annotations

from felloe.testing.artifacts import Project, make_sdist, make_wheel
from felloe.testing.index import Behaviour, IndexServer, Listing, LoggedRequest, Reply

__all__ = [
    "Behaviour",
    "IndexServer",
    "Listing",
    "LoggedRequest",
    "Project",
    "Reply",
    "make_sdist",
    "make_wheel",
]
