"""`felloe sources`: what is installed, and why something is not there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from felloe.testing import IndexServer
from tests.fixtures.plugins import SOURCE, Plugin, Site, changed, make_site
from tests.fixtures.program import Program

BROKEN = Plugin("felloe-broken", kinds={"broken": "broken:Source"}, modules={"broken": "import nothing_of_the_kind"})
GOOD = Plugin("felloe-good", version="1.5", kinds={"good": "good:Source"}, modules={"good": SOURCE})
OLD = Plugin("felloe-old", kinds={"old": "old:Source"}, modules={"old": changed("api = 1", "api = 7")})


@pytest.fixture
def site(tmp_path: Path, felloe: Program) -> Iterator[Site]:
    with make_site(tmp_path / "site") as site:
        felloe.environ["PYTHONPATH"] = str(site.folder)
        yield site


def test_what_is_installed(felloe: Program, index: IndexServer, site: Site) -> None:
    site.install(GOOD)

    human = felloe("sources")
    data = felloe("sources", "--json").document

    (good,) = [each for each in data["sources"] if each["kind"] == "good"]
    (ours,) = [each for each in data["sources"] if each["kind"] == "index"]
    assert (good["distribution"], good["version"], good["api"], good["state"]) == ("felloe-good", "1.5", 1, "loaded")
    assert {"claims", "find", "fetch", "cache_key", "check_freshness", "address"} <= set(good["hooks"])
    assert ours["address"] == ours["name"] == index.index_url
    assert "good: kind good, felloe-good 1.5, API 1\n  loaded\n  hooks: " in human.out
    assert data["failures"] == []
    assert index.requests == []


@pytest.mark.parametrize("default", ["True", "False"])
def test_one_that_breaks_the_contract_keeps_names_at_home(
    felloe: Program, index: IndexServer, site: Site, default: str
) -> None:
    code = changed("default = True", f"default = {default}").replace("def fetch", "def fetsh")
    site.install(Plugin("felloe-bad", kinds={"bad": "bad:Source"}, modules={"bad": code}))

    human = felloe("sources")
    data = felloe("sources", "--json").document
    refused = felloe("metadata", "acme", "--json", code=1)
    disabled = felloe("metadata", "acme", "--json", FELLOE_DISABLE="bad")

    (bad,) = [each for each in data["sources"] if each["kind"] == "bad"]
    (failure,) = data["failures"]
    assert bad["state"] == "failed"
    assert bad["reason"] in {"there is no hook `fetsh`", "no source of it could be made"}
    assert failure.startswith("source `bad` of felloe-bad 1.0 does not keep the contract: there is no hook `fetsh` (")
    assert f"  failed: {bad['reason']}\n" in human.out
    assert f"warning: {failure}\n" in human.err
    assert refused.codes == ["source-not-loaded"]
    assert disabled.results[0]["version"] == "2.0"


def test_one_that_is_not_configured(felloe: Program, site: Site) -> None:
    idle = changed("default = True", "default = False")
    site.install(Plugin("felloe-idle", kinds={"idle": "idle:Source"}, modules={"idle": idle}))

    human = felloe("sources")
    data = felloe("sources", "--json").document

    (row,) = [each for each in data["sources"] if each["kind"] == "idle"]
    assert (row["state"], row["reason"], row["hooks"], row["address"]) == ("not configured", "", [], "")
    assert "idle: kind idle, felloe-idle 1.0, API 1\n  not configured\n" in human.out
    assert data["failures"] == []


def test_one_whose_settings_will_not_do(felloe: Program, site: Site) -> None:
    code = changed("        self.settings = settings\n", "        settings['url']\n")
    site.install(Plugin("felloe-bad", kinds={"bad": "bad:Source"}, modules={"bad": code}))

    human = felloe("sources")
    data = felloe("sources", "--json").document

    (row,) = [each for each in data["sources"] if each["kind"] == "bad"]
    assert (row["state"], row["reason"]) == ("failed", "no source of it could be made")
    assert "KeyError: 'url' (correct them, or do without all sources of kind `bad`: FELLOE_DISABLE=bad)" in human.err


def test_a_broken_one_is_shown_with_its_reason_and_keeps_names_at_home(
    felloe: Program, index: IndexServer, site: Site
) -> None:
    site.install(BROKEN)
    site.install(OLD)

    human = felloe("sources")
    data = felloe("sources", "--json").document
    refused = felloe("metadata", "acme", "--json", code=1)
    disabled = felloe("metadata", "acme", "--json", FELLOE_DISABLE="broken,old")

    assert "warning: source `broken` of felloe-broken 1.0 cannot be loaded" in human.err
    assert "nothing_of_the_kind" in human.out
    states = {each["kind"]: (each["state"], each["reason"]) for each in data["sources"]}
    assert states["broken"][0] == states["old"][0] == "failed"
    assert "version 7" in states["old"][1]
    assert len(data["failures"]) == 2
    assert refused.codes == ["source-not-loaded"]
    assert "FELLOE_DISABLE=broken" in refused.results[0]["error"]["message"]
    assert disabled.results[0]["version"] == "2.0"


def test_a_disabled_one_is_shown_as_such(felloe: Program, site: Site) -> None:
    site.install(BROKEN)

    human = felloe("sources", FELLOE_DISABLE="broken")
    data = felloe("sources", "--json", FELLOE_DISABLE="broken").document

    assert "broken: kind broken, felloe-broken 1.0" in human.out
    assert human.err == ""
    assert [each["state"] for each in data["sources"] if each["kind"] == "broken"] == ["disabled"]


def test_strict_shows_where_it_broke(felloe: Program, site: Site) -> None:
    site.install(BROKEN)
    process = felloe.start("sources", FELLOE_STRICT="1")

    _, err = process.communicate(timeout=30)

    assert process.returncode == 1
    assert "Traceback" in err
    assert "ModuleNotFoundError: No module named 'nothing_of_the_kind'" in err


def test_a_password_in_an_address_is_not_shown(felloe: Program) -> None:
    address = "https://me:s3cr3t@example.com/simple/"

    human = felloe("sources", "--index-url", address)
    data = felloe("sources", "--extra-index-url", address, "--json")

    assert "https://example.com/simple/" in human.out
    felloe.assert_nowhere("s3cr3t", human, data)


LISTENS = """\
from felloe.plugin import hookimpl


@hookimpl
def report(event):
    pass
"""


def test_extensions_have_a_section(felloe: Program, index: IndexServer, site: Site) -> None:
    """A broken one is told of, and keeps nothing at home."""
    site.install(Plugin("felloe-ear", version="1.5", extensions={"ear": "ear"}, modules={"ear": LISTENS}))
    site.install(Plugin("felloe-mute", extensions={"mute": "mute:Mute"}, modules={"mute": "import nothing_like_it"}))

    human = felloe("sources")
    data = felloe("sources", "--json").document
    answer = felloe("metadata", "acme", "--json")
    disabled = felloe("sources", FELLOE_DISABLE="mute")

    rows = {row["name"]: row for row in data["extensions"]}
    assert (rows["ear"]["distribution"], rows["ear"]["version"], rows["ear"]["state"]) == (
        "felloe-ear",
        "1.5",
        "loaded",
    )
    assert rows["ear"]["hooks"] == ["report"]
    assert rows["mute"]["state"] == "failed"
    assert "\nextensions\near: felloe-ear 1.5, API 1\n  loaded\n  hooks: report\n" in human.out
    assert "mute: felloe-mute 1.0, API 1\n  failed: ModuleNotFoundError: No module named" in human.out
    (failure,) = data["failures"]
    assert failure.startswith("extension `mute` of felloe-mute 1.0 cannot be loaded: ")
    assert f"warning: {failure}\n" in human.err
    assert human.err.count(failure) == 1
    assert answer.results[0]["version"] == "2.0"
    assert "warning: extension `mute`" in answer.err
    assert "mute: felloe-mute 1.0, API 1\n  disabled\n" in disabled.out
    assert disabled.err == ""


def test_a_broken_extension_is_raised_where_that_is_wanted(felloe: Program, site: Site) -> None:
    site.install(Plugin("felloe-mute", extensions={"mute": "mute:Mute"}, modules={"mute": "import nothing_like_it"}))
    process = felloe.start("sources", FELLOE_STRICT="1")

    _, err = process.communicate(timeout=30)

    assert process.returncode == 1
    assert "ModuleNotFoundError: No module named 'nothing_like_it'" in err
