"""The kit is honest: of a source that keeps the contract it finds nothing wrong, and of each fault what it is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from attrs import frozen

SOURCE = """\
import json

from felloe.plugin import (
    CacheKey, Claim, Fetched, Fresh, Level, ProjectNotFound, Dist, RawMetadata, Stale, Url, hookimpl, key_part,
)


class Acme:
    api = 1

    def __init__(self, name, settings):
        self.name, self.url, self.token = name, Url(settings["url"]), settings["token"]

    @hookimpl
    def claims(self, request):
        if request.url is None and request.path is None and request.name.startswith("acme"):
            return Claim(level=Level.NAMESPACE, reason="names that begin with acme")
        return None

    @hookimpl
    def address(self):
        return str(self.url)

    @hookimpl
    async def find(self, request, ctx):
        page = await ctx.http.get(self.url)
        files = json.loads(page.body).get(request.name)
        if files is None:
            raise ProjectNotFound(f"`{self.name}` has no `{request.name}`")
        return [self.dist(request.name, file) for file in files]

    def dist(self, name, file):
        return Dist(
            source=self.name,
            kind="wheel",
            name=name,
            version=file["version"],
            filename=file["filename"],
            hashes={"sha256": file["sha256"]},
            locator={"url": self.url.join("/files/" + file["filename"])},
        )

    @hookimpl
    def cache_key(self, dist):
        return CacheKey(parts=(key_part(dist.filename),))

    @hookimpl
    async def check_freshness(self, dist, entry, ctx):
        if entry.digests.get("sha256") == dist.hashes["sha256"]:
            return Fresh(validators=entry.validators)
        return Stale(code="hash-changed", evidence=f"{entry.content} -> {dist.hashes['sha256']}")

    @hookimpl
    async def fetch(self, dist, ctx):
        return await ctx.download(dist.locator["url"], dist.filename)
"""

KIT = """\
import hashlib, json

import pytest
from acme import Acme

from felloe.testing import Behaviour, IndexServer, Project, SourceContract, make_wheel


class TestAcme(SourceContract):
    lists_many = True
    secrets = ("t0k3n",)

    @pytest.fixture(autouse=True)
    def server(self, tmp_path):
        with IndexServer() as self.index:
            self.folder, self.files = tmp_path, []
            self.index.behave("*", Behaviour(etag="auto"))
            for version in ("1.0", "1.1", "1.2"):
                self.add(Project("acme", version))
            yield

    def add(self, project):
        file = make_wheel(self.folder, project)
        self.index.add(file)
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        listed = [each for each in self.files if each["version"] != project.version]
        self.files = [*listed, {"filename": file.name, "version": project.version, "sha256": sha256}]
        self.index.static("/acme.json", json.dumps({"acme": self.files}).encode())

    def source(self):
        return Acme("acme", {"url": f"{self.index.url}/acme.json?token=t0k3n", "token": "t0k3n"})

    def known_request(self):
        return "acme"

    def unknown_request(self):
        return "acme-of-nobody"

    def mutate(self):
        self.add(Project("acme", "1.2", requires_dist=["new"]))
"""


@frozen
class Fault:
    """One part of the source replaced, the test that has to fail, and words that its message has to have."""

    what: str
    old: str
    new: str
    test: str
    says: Sequence[str]

    def plant(self) -> str:
        assert SOURCE.count(self.old) == 1, self.what
        return SOURCE.replace(self.old, self.new)


CLAIMING = '        if request.url is None and request.path is None and request.name.startswith("acme"):\n'
ASKING = "        page = await ctx.http.get(self.url)\n"
FOUND = "        return [self.dist(request.name, file) for file in files]\n"
KEY = "CacheKey(parts=(key_part(dist.filename),))"
COMPARED = '        if entry.digests.get("sha256") == dist.hashes["sha256"]:\n'
FETCHED = '        return await ctx.download(dist.locator["url"], dist.filename)\n'
OTHER_METADATA = """
    @hookimpl
    async def metadata(self, dist, ctx):
        text = f"Metadata-Version: 2.1\\nName: acme\\nVersion: {dist.version}\\nRequires-Dist: guessed\\n"
        return RawMetadata(bytes=text.encode(), rung="sidecar")
"""

FAULTS = [
    Fault(
        "a hook that is not async",
        "async def find(self, request, ctx):\n        page = await",
        "def find(self, request, ctx):\n        page =",
        "felloe_can_call_its_hooks",
        ["`find` has to be `async def`"],
    ),
    Fault(
        "a hook with a parameter that there is not",
        "def cache_key(self, dist)",
        "def cache_key(self, distribution)",
        "felloe_can_call_its_hooks",
        ["`cache_key` takes `distribution`"],
    ),
    Fault(
        "claims reads a file",
        CLAIMING,
        f"        open(__file__).close()\n{CLAIMING}",
        "claims_is_pure_and_quick",
        ["`claims` did open(", "without I/O"],
    ),
    Fault(
        "claims looks up a host",
        CLAIMING,
        f"        import socket; socket.getaddrinfo('127.0.0.1', 80)\n{CLAIMING}",
        "claims_is_pure_and_quick",
        ["`claims` did socket.getaddrinfo(", "without I/O"],
    ),
    Fault(
        "claims depends on chance",
        'Claim(level=Level.NAMESPACE, reason="names that begin with acme")',
        "Claim(level=Level.NAMESPACE, reason=f\"acme {id(object())} {__import__('random').random()}\")",
        "claims_is_pure_and_quick",
        ["now this, now that", "by request and settings alone"],
    ),
    Fault(
        "claims every name",
        ' and request.name.startswith("acme"):',
        ":",
        "foreign_requests_are_not_claimed",
        ["`felloe-contract-nobody`", "Level.FALLBACK"],
    ),
    Fault(
        "claims direct references of its names",
        "if request.url is None and request.path is None and request.name.startswith",
        'if (request.name or "").startswith',
        "foreign_requests_are_not_claimed",
        ["`acme @ https://example.com", "look at `request.url`"],
    ),
    Fault(
        "claims nothing",
        'return Claim(level=Level.NAMESPACE, reason="names that begin with acme")',
        "return None",
        "its_own_requests_are_claimed",
        ["`acme` of `known_request` is not claimed", "let `claims` claim it"],
    ),
    Fault(
        "the address shows the token",
        "return str(self.url)",
        "return self.url.reveal()",
        "the_address_is_stable_and_shows_no_secret",
        ["`address` shows a secret", "`str` of a `Url`"],
    ),
    Fault(
        "imports ssl",
        "import json\n",
        "import json, ssl\n",
        "its_module_imports_nothing_heavy",
        ["loads ssl", "inside the function"],
    ),
    Fault(
        "find gives another order each time",
        FOUND,
        "        import random\n        random.shuffle(files)\n" + FOUND,
        "find_is_stable",
        ["in another order", "sort them"],
    ),
    Fault(
        "find puts a time into a Dist",
        'locator={"url":',
        'locator={"at": __import__("time").time(), "url":',
        "find_is_stable",
        ["`locator` of `acme-1.0-py3-none-any.whl`", "put nothing in a Dist that changes"],
    ),
    Fault(
        "cache keys are of the moment",
        KEY,
        'CacheKey(parts=(key_part(dist.filename), __import__("uuid").uuid4().hex))',
        "equal_dists_have_equal_keys_and_others_have_others",
        ["now this, now that", "out of the Dist alone"],
    ),
    Fault(
        "two Dists have one cache key",
        KEY,
        "CacheKey(parts=(dist.name,))",
        "equal_dists_have_equal_keys_and_others_have_others",
        ["same for different Dists", "`filename`", "put into the key"],
    ),
    Fault(
        "a locator that JSON has not",
        'locator={"url":',
        'locator={"parts": {1, 2}, "url":',
        "what_is_stored_can_be_written_as_json",
        ["`locator` that cannot be written as JSON", "give from `find`"],
    ),
    Fault(
        "validators that come back otherwise",
        FETCHED,
        '        path = ctx.scratch / "file"\n        path.write_bytes(await ctx.http.read(dist.locator["url"],'
        ' max_bytes=99999))\n        return Fetched(path=path, validators={"seen": (1, 2)})\n',
        "what_is_stored_can_be_written_as_json",
        ["`validators` come back otherwise", "lists for tuples"],
    ),
    Fault(
        "a short cut that guesses",
        KEY + "\n",
        KEY + "\n" + OTHER_METADATA,
        "it_answers",
        ["`metadata` tells other things than the file", "give None from `metadata`"],
    ),
    Fault(
        "KeyError for what is unknown",
        ".get(request.name)\n",
        "[request.name]\n",
        "what_it_does_not_have_is_an_error_that_says_so",
        ["breaks `find`", "KeyError", "raise ProjectNotFound"],
    ),
    Fault(
        "an unknown name is an error of its own",
        "raise ProjectNotFound(",
        "from felloe.plugin import SourceError\n            raise SourceError(",
        "what_it_does_not_have_is_an_error_that_says_so",
        ["raises SourceError for an unknown name", "raise ProjectNotFound"],
    ),
    Fault(
        "fetches on each call",
        COMPARED,
        "        if False:\n",
        "a_second_run_fetches_and_builds_nothing",
        ["a second run", "`check_freshness`", "hash-changed"],
    ),
    Fault(
        "is always fresh",
        COMPARED,
        "        if True:\n",
        "after_a_change_the_old_answer_is_never_given",
        ["the old answer is given", "compare in `check_freshness`"],
    ),
    Fault(
        "refresh is not obeyed",
        ASKING + "        files = json.loads(page.body).get(request.name)\n",
        '        memo = ctx.memo("listing")\n        if memo.get() is None:\n            memo.set(json.loads((await'
        " ctx.http.get(self.url)).body))\n        files = memo.get().get(request.name)\n",
        "refresh_is_obeyed",
        ["with `--refresh` the old answer", "`ctx.newer_than`"],
    ),
    Fault(
        "every caller has a cache key",
        KEY,
        'CacheKey(parts=(key_part(dist.filename), __import__("uuid").uuid4().hex))',
        "twenty_callers_cause_one_fetch",
        ["20 callers at once cause", "the same `cache_key`"],
    ),
    Fault(
        "asks by a socket of its own",
        ASKING,
        f"        import socket; socket.create_connection((self.url.host, self.url.port)).close()\n{ASKING}",
        "offline_it_asks_no_server",
        ["offline, it calls socket.", "`ctx.http`"],
    ),
    Fault(
        "fetches to another place",
        FETCHED,
        "        import tempfile, pathlib\n        path = pathlib.Path(tempfile.mkdtemp(), dist.filename)\n"
        '        path.write_bytes(await ctx.http.read(dist.locator["url"], max_bytes=99999))\n'
        "        return Fetched(path=path)\n",
        "fetch_stays_in_scratch_and_its_content_is_true",
        ["outside the scratch folder", "give from `fetch`"],
    ),
    Fault(
        "leaves a file where the user stands",
        FETCHED,
        '        open("acme.log", "a").close()\n' + FETCHED,
        "fetch_stays_in_scratch_and_its_content_is_true",
        ["acme.log` is left outside", "write in `ctx.scratch` alone"],
    ),
    Fault(
        "declares other bytes",
        'hashes={"sha256": file["sha256"]}',
        'hashes={"sha256": file["sha256"][::-1]}',
        "fetch_stays_in_scratch_and_its_content_is_true",
        ["the sha256 of `acme-1.2", "declare in `Dist.hashes`"],
    ),
    Fault(
        "says of its bytes what is not so",
        FETCHED,
        FETCHED.replace("return", "file =") + '        return Fetched(path=file.path, content="sha256:" + 64 * "0")\n',
        "fetch_stays_in_scratch_and_its_content_is_true",
        ["is declared", "`Fetched.content`"],
    ),
    Fault(
        "a file is left elsewhere where it is cancelled",
        FETCHED,
        f"        try:\n    {FETCHED}        except BaseException:\n            open(__file__ + '.part', 'w').close()\n"
        "            raise\n",
        "cancelled_in_the_middle_nothing_is_left",
        [".part` is left outside", "write in `ctx.scratch` alone"],
    ),
    Fault(
        "a cancellation is swallowed",
        FETCHED,
        f'        try:\n    {FETCHED}        except BaseException:\n            path = ctx.scratch / "none"\n'
        "            path.touch()\n            return Fetched(path=path)\n",
        "cancelled_in_the_middle_nothing_is_left",
        ["a cancellation is swallowed", "catch Exception in hooks"],
    ),
    Fault(
        "is in use for good after a cancellation",
        FETCHED,
        "        if getattr(self, 'busy', False):\n            raise ProjectNotFound('busy')\n"
        "        self.busy = True\n"
        + FETCHED.replace("return", "file =")
        + "        self.busy = False\n        return file\n",
        "cancelled_in_the_middle_nothing_is_left",
        ["ProjectNotFound: busy", "answer for `known_request`"],
    ),
    Fault(
        "a token in the locator",
        'locator={"url":',
        'locator={"token": self.token, "url":',
        "no_secret_is_left_anywhere",
        ["a secret is in the Dists", "keep addresses as `Url`"],
    ),
    Fault(
        "a token in an error",
        "has no `{request.name}`",
        "has no `{request.name}` for {self.token}",
        "no_secret_is_left_anywhere",
        ["a secret is in the error for `acme-of-nobody`"],
    ),
    Fault(
        "a token in the log",
        ASKING,
        f"        import logging; logging.getLogger('acme').debug('token %s', self.token)\n{ASKING}",
        "no_secret_is_left_anywhere",
        ["a secret is in the log"],
    ),
    Fault(
        "a token in the cache",
        ASKING,
        f'{ASKING}        ctx.memo("login").set(self.token)\n',
        "no_secret_is_left_anywhere",
        ["a secret is in the file `login.json` of the cache"],
    ),
]


def run_kit(folder: Path, sources: Sequence[str], *options: str) -> ET.ElementTree:
    """Runs the kit on these sources, without any plugin of pytest; gives its report."""
    for number, source in enumerate(sources):
        folder.joinpath(f"acme{number}.py").write_text(source)
        folder.joinpath(f"test_acme{number}.py").write_text(
            KIT.replace("from acme import", f"from acme{number} import")
        )
    report = folder / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *options]
    environ = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    where = [f"--rootdir={folder}", f"--basetemp={folder / 'tmp'}"]
    done = subprocess.run([*command, *where], cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    return ET.parse(report)


@pytest.fixture(scope="session")
def found(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """What the tests that have to fail say, each of its own fault."""
    folder = tmp_path_factory.mktemp("faults")
    tests = [f"test_acme{number}.py::TestAcme::test_{fault.test}" for number, fault in enumerate(FAULTS)]
    report = run_kit(folder, [fault.plant() for fault in FAULTS], "-k", "not trio", *tests)
    messages = {
        case.get("classname", "").partition(".")[0]: "".join(failure.text or "" for failure in case.iter("failure"))
        for case in report.iter("testcase")
    }
    return {fault.what: messages[f"test_acme{number}"] for number, fault in enumerate(FAULTS)}


def test_nothing_is_wrong_with_a_good_source(tmp_path: Path) -> None:
    report = run_kit(tmp_path, [SOURCE], "-W", "error")

    outcomes = {case.get("name", ""): [each.tag for each in case] for case in report.iter("testcase")}
    assert {f"test_{fault.test}" for fault in FAULTS} <= {test.partition("[")[0] for test in outcomes}
    assert all(outcome == [] for outcome in outcomes.values()), outcomes


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.what)
def test_a_fault_is_found(found: Mapping[str, str], fault: Fault) -> None:
    message = found[fault.what]

    assert "What to change: " in message
    for words in fault.says:
        assert words in message
