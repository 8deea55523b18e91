"""What strangers write, installed as they would install it: a source of its own, and an index with a password."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from felloe.testing import Behaviour, IndexServer, Project, make_sdist, make_wheel
from tests.fixtures.plugins import Plugin, Site, make_site

FOLDER = Path(__file__).parent / "third_party"
MEMORY, ACME = "felloe_memory_source", "felloe_acme_index"
KINDS = {MEMORY: {"memory": f"{MEMORY}:MemorySource"}, ACME: {"acme": f"{ACME}:Acme"}}
USER, PASSWORD = "reader", "p@ss w/o:r#d?%41&\u20ac+~'\""
COMMAND = "import sys; sys.argv = ['felloe', *{arguments!r}]; import felloe.cli; felloe.cli.main()"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with make_site(tmp_path / "site") as site:
        yield site


@pytest.fixture
def server(tmp_path: Path) -> Iterator[IndexServer]:
    with IndexServer() as server:
        yield server


def install(site: Site, module: str) -> None:
    code = (FOLDER / f"{module}.py").read_text()
    site.install(Plugin(module.replace("_", "-"), version="2.5", kinds=KINDS[module], modules={module: code}))


class Shell:
    """The command line where the plugins of `site` are installed."""

    def __init__(self, site: Site, **environ: str) -> None:
        self._site = site
        self.cache = site.folder.parent / "cache"
        self._environ = {"FELLOE_CACHE_DIR": str(self.cache), **environ}

    def felloe(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return self.python(COMMAND.format(arguments=arguments), **environ)

    def python(self, code: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return self._site.python(code, **{**self._environ, **environ})

    def json(self, *arguments: str) -> Any:
        done = self.felloe(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.mark.parametrize(("module", "limit"), [(MEMORY, 60), (ACME, 15)])
def test_it_is_short(module: str, limit: int) -> None:
    """Every line of the file counts."""
    assert len((FOLDER / f"{module}.py").read_text().splitlines()) <= limit


# A source of its own


@pytest.fixture
def memory(site: Site, server: IndexServer) -> Shell:
    """The index beside it must not be asked."""
    install(site, MEMORY)
    return Shell(site, FELLOE_INDEX_URL=server.index_url)


def test_it_is_found(memory: Shell) -> None:
    (source,) = [source for source in memory.json("sources")["sources"] if source["kind"] == "memory"]

    assert (source["distribution"], source["version"], source["state"]) == ("felloe-memory-source", "2.5", "loaded")
    assert set(source["hooks"]) == {"claims", "address", "find", "cache_key", "check_freshness", "fetch"}
    assert "felloe-memory-source 2.5" in memory.felloe("sources").stdout


def test_it_answers(memory: Shell, server: IndexServer) -> None:
    for cached in (False, True):
        (result,) = memory.json("metadata", "memory-box")["results"]
        assert (result["name"], result["version"], result["source"]) == ("memory-box", "1.1", "memory")
        assert (result["cached"], result["rung"]) == (cached, "wheel")
        assert result["metadata"]["requires-dist"] == ["zlib-ng>=0.6"]

    assert memory.json("metadata", "memory-box<1.1")["results"][0]["version"] == "1.0"
    assert server.paths == []


def test_it_gives_a_wheel(memory: Shell, tmp_path: Path) -> None:
    (result,) = memory.json("wheel", "memory-box", "-o", str(tmp_path / "wheels"))["results"]

    assert Path(result["path"]).is_file()
    assert Path(result["path"]).parent == tmp_path / "wheels"
    assert memory.json("metadata", "memory-box")["results"][0]["cached"] is True


def test_what_it_does_not_know_is_asked_of_nobody_else(memory: Shell, server: IndexServer, tmp_path: Path) -> None:
    server.add(make_wheel(tmp_path, Project("memory-lane", "1.0")))

    done = memory.felloe("metadata", "memory-lane")

    assert done.returncode == 1
    assert "`memory` does not remember `memory-lane`" in done.stderr
    assert server.paths == []


# An index with a password


def forms(secret: str) -> list[bytes]:
    """How it may be written down: as it is, quoted for a URL or for JSON, and as a server gets it."""
    plain = secret.encode()
    texts = [
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        repr(secret)[1:-1],
    ]
    texts += [json.dumps(secret, ensure_ascii=False)[1:-1], quote(secret, safe="").lower()]
    logins = [plain, f"{USER}:{secret}".encode(), f"{USER}:{quote(secret, safe='')}".encode()]
    encoded = [encode(login) for login in logins for encode in (base64.b64encode, base64.urlsafe_b64encode)]
    return [*(text.encode() for text in texts), *(text.rstrip(b"=") for text in encoded), plain[:6], plain[-6:]]


def assert_nowhere(where: str, data: bytes) -> None:
    for form in forms(PASSWORD):
        assert form not in data, where


def search(shell: Shell, *outputs: subprocess.CompletedProcess[str]) -> None:
    """Every byte that was printed or kept, and every name of a file."""
    for done in outputs:
        assert_nowhere("stdout", done.stdout.encode())
        assert_nowhere("stderr", done.stderr.encode())
    for path in shell.cache.rglob("*"):
        assert_nowhere("the name of a file", str(path.relative_to(shell.cache)).encode())
        if path.is_file():
            assert_nowhere(str(path), path.read_bytes())


@pytest.fixture
def acme(site: Site, server: IndexServer, tmp_path: Path) -> Shell:
    install(site, ACME)
    (tmp_path / "felloe.toml").write_text("max-retry-seconds = 0.1\n")
    server.behave("*", Behaviour(require_auth=(USER, PASSWORD), etag="auto", cache_control="max-age=600"))
    server.add(make_wheel(tmp_path, Project("acme-wheel", "1.0", padding=100_000)), sidecar=True)
    server.add(make_wheel(tmp_path, Project("acme-range", "1.0", padding=100_000)), hashes=False)
    server.add(make_sdist(tmp_path, Project("acme-sdist", "1.0")), hashes=False)
    server.add(make_sdist(tmp_path, Project("acme-forged", "1.0")), hashes={"sha256": "0" * 64})
    return Shell(site, ACME_INDEX=server.index_url, ACME_PASSWORD=PASSWORD, FELLOE_INDEX_URL=server.index_url)


NAMES = ("acme-wheel", "acme-range", "acme-sdist")


def test_the_search_would_find_it(acme: Shell, server: IndexServer) -> None:
    assert acme.felloe("metadata", "acme-wheel").returncode == 0
    (header,) = {request.headers["authorization"] for request in server.requests}

    for form in (PASSWORD, header, server.index_url.replace("://", f"://{USER}:{quote(PASSWORD, safe='')}@")):
        with pytest.raises(AssertionError):
            assert_nowhere("here", form.encode())


def test_the_password_is_not_kept_or_printed(acme: Shell, server: IndexServer, tmp_path: Path) -> None:
    commands = [
        ("wheel", "acme-wheel", "-v", "-o", str(tmp_path / "wheels")),
        ("sources",),
        ("sources", "--json"),
        ("metadata", *NAMES, "-v"),
        ("metadata", "acme-wheel", "-v", "--json", "--refresh"),
        ("metadata", "acme-nowhere", "acme-forged", "acme-wheel>2", "-v"),
        ("cache", "list"),
        ("metadata", *NAMES, "--offline", "-v"),
    ]

    done = [acme.felloe(*arguments) for arguments in commands]

    assert [each.returncode for each in done] == [0, 0, 0, 0, 0, 1, 0, 0], [each.stderr for each in done]
    assert {request.status for request in server.requests} == {200, 206, 304, 404}
    assert sum(path.is_file() for path in acme.cache.rglob("*")) > 10
    search(acme, *done)


def test_a_page_from_the_cache_leads_to_files_as_one_that_was_just_sent(acme: Shell, tmp_path: Path) -> None:
    assert acme.felloe("metadata", "acme-wheel").returncode == 0

    assert acme.felloe("wheel", "acme-wheel", "-o", str(tmp_path / "wheels")).returncode == 0


@pytest.mark.parametrize("status", [401, 403, 500])
def test_nor_where_it_is_refused(acme: Shell, server: IndexServer, status: int) -> None:
    server.behave("*", Behaviour(statuses=[status] * 9))

    done = [acme.felloe("metadata", "acme-wheel", "-v", *more, FELLOE_STRICT="1") for more in ((), ("--json",))]

    assert [each.returncode for each in done] == [1, 1]
    assert str(status) in done[0].stderr + done[1].stdout
    search(acme, *done)


def test_nor_where_nobody_answers_or_the_settings_are_wrong(acme: Shell) -> None:
    done = [
        acme.felloe("metadata", "acme-wheel", "-v", ACME_INDEX="http://127.0.0.1:9/simple/"),
        acme.felloe("metadata", "acme-wheel", "-v", ACME_INDEX="gopher://127.0.0.1/simple/"),
        acme.felloe("metadata", "acme-wheel", "-v", ACME_INDEX="http://127.0.0.1:port/simple/"),
        acme.felloe("sources", "-v", ACME_INDEX="http://127.0.0.1:port/simple/", FELLOE_STRICT="1"),
    ]

    assert [each.returncode for each in done[:3]] == [1, 1, 1], done
    search(acme, *done)


# As a program sees it: reprs of all that can be reached, errors with all they carry, and what every logger says.
LOUD = """\
import json, logging, sys, traceback
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr, format="%(name)s %(message)s %(args)s")
logging.getLogger().setLevel(logging.DEBUG)
from felloe import BlockingDatabase, Config

class Telling:
    def report(self, event):
        print("event", repr(event), event.message, event.data)

config = Config.load()
names = sys.argv[1:] or ["acme-wheel", "acme-range", "acme-sdist", "acme-nowhere", "acme-forged", "acme-wheel>2"]
with BlockingDatabase(config, reporter=Telling()) as database:
    print(repr(config), repr(database), repr(database.database.registry))
    for instance in database.database.registry.instances:
        print(repr(instance), instance.hooks)
    for name in names:
        try:
            dists = database.find(name)
            answer = database.metadata(dists[0])
            print(repr(dists), repr(answer), str(answer), answer.dist.locator, json.dumps(answer.metadata.fields))
            print(repr(database.wheel(dists[0])))
        except Exception as error:
            print(type(error).__name__, repr(error), str(error), vars(error))
            traceback.print_exception(error)
            seen = error
            while seen := seen.__cause__ or seen.__context__:
                print(repr(seen), vars(seen))
    for outcome in database.metadata_many(names):
        print(repr(outcome))
"""


@pytest.mark.parametrize("password", ["right", "refused"])
def test_nor_shown_to_a_program(acme: Shell, server: IndexServer, password: str) -> None:
    if password == "refused":
        server.behave("*", Behaviour(require_auth=(USER, "another one")))

    done = acme.python(LOUD)

    assert done.returncode == 0, done.stderr
    assert ("acme_wheel-1.0-py3-none-any.whl" in done.stdout) == (password == "right")
    assert "httpcore" in done.stderr  # the loggers did speak
    assert any("authorization" in request.headers for request in server.requests)
    search(acme, done)


def test_the_cache_answers_whoever_has_another_password(acme: Shell, server: IndexServer) -> None:
    """The address in the cache is without the login: a new password is not another index."""
    assert acme.felloe("metadata", "acme-wheel").returncode == 0
    server.clear()

    (result,) = json.loads(acme.felloe("metadata", "acme-wheel", "--json", ACME_PASSWORD="new").stdout)["results"]

    assert result["cached"] is True
    assert server.paths == []
    shutil.rmtree(acme.cache)
    assert acme.felloe("metadata", "acme-wheel", ACME_PASSWORD="new").returncode == 1
