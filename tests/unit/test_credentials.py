"""Credentials: a secret goes to the scheme, host and port that it was given for, and nowhere else."""

from __future__ import annotations

import os

import pytest

from felloe.config import Config
from felloe.errors import ConfigError
from felloe.net.credentials import Credentials, netrc_file
from felloe.url import Url

FILE = "https://example.com/files/a-1.0.tar.gz"
INDEX = ("acme", Url("https://example.com/simple/"))


@pytest.fixture
def netrc(tmp_path):
    def write(text):
        (tmp_path / "netrc").write_bytes(text if isinstance(text, bytes) else text.encode())
        return tmp_path / "netrc"

    return write


def find(url, *, indexes=(), environ=None, netrc=None, redirected=False):
    credentials = Credentials([(name, Url(text)) for name, text in indexes], environ or {}, netrc)
    return credentials.find(Url(url), redirected=redirected)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://me:pw@example.com/x", ("me", "pw")),
        ("https://m%40e:p%2Fw@example.com/x", ("m@e", "p/w")),
        ("https://token@example.com/x", ("token", "")),
        ("https://:pw@example.com/x", ("", "pw")),
        ("https://@example.com/x", None),
        ("https://example.com/x", None),
        ("file:///srv/x", None),
    ],
)
def test_own_userinfo(url, expected):
    assert find(url) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://example.com/simple/a/", ("me", "pw")),
        ("https://example.com/files/a.whl", ("me", "pw")),
        ("https://EXAMPLE.com:443/files/a.whl", ("me", "pw")),
        ("https://example.com:8443/simple/a/", None),
        ("http://example.com/simple/a/", None),
        ("https://sub.example.com/simple/a/", None),
        ("https://example.com.evil.example/simple/", None),
        ("https://other:secret@example.com/simple/a/", ("other", "secret")),
    ],
)
def test_userinfo_of_an_index_of_the_same_origin(url, expected):
    assert find(url, indexes=[("acme", "https://me:pw@example.com/simple/")]) == expected


@pytest.mark.parametrize(
    ("path", "user"),
    [
        ("/a/simple/x/", "a"),
        ("/b/simple/x/", "b"),
        ("/b/deep/simple/x/", "deep"),
        ("/b/deeper/x/", "b"),
        ("/files/x.whl", "a"),  # none is nearer: the first that is configured
        ("/", "a"),
    ],
)
def test_the_index_that_shares_most_of_the_path(path, user):
    indexes = [(name, f"https://{name}:pw@example.com/{path}") for name, path in
               (("a", "a/simple/"), ("b", "b/simple"), ("deep", "b/deep/simple"))]  # fmt: skip
    assert find(f"https://example.com{path}", indexes=indexes) == (user, "pw")


@pytest.mark.parametrize(
    ("name", "environ", "expected"),
    [
        ("acme", {"FELLOE_INDEX_ACME_USERNAME": "u", "FELLOE_INDEX_ACME_PASSWORD": "p"}, ("u", "p")),
        ("acme", {"UV_INDEX_ACME_USERNAME": "u", "UV_INDEX_ACME_PASSWORD": "p"}, ("u", "p")),
        ("my-index.2", {"FELLOE_INDEX_MY_INDEX_2_USERNAME": "u"}, ("u", "")),
        ("grün", {"FELLOE_INDEX_GR_N_PASSWORD": "p"}, ("", "p")),
        ("acme", {"FELLOE_INDEX_OTHER_USERNAME": "u"}, None),
        ("acme", {"FELLOE_INDEX_ACME_USERNAME": ""}, None),
        (
            "acme",
            {"FELLOE_INDEX_ACME_USERNAME": "u", "FELLOE_INDEX_ACME_PASSWORD": "p",
             "UV_INDEX_ACME_USERNAME": "u2", "UV_INDEX_ACME_PASSWORD": "p2"},
            ("u", "p"),
        ),
    ],
)  # fmt: skip
def test_environment(name, environ, expected):
    assert find(FILE, indexes=[(name, "https://example.com/simple/")], environ=environ) == expected
    assert find("https://example.org/", indexes=[(name, "https://example.com/simple/")], environ=environ) is None


NETRC = "machine Example.com login me password pw\nmachine other.example.com\n  login you\n  password secret\n"


@pytest.mark.parametrize(
    ("url", "redirected", "expected"),
    [
        ("https://example.com/x", False, ("me", "pw")),
        ("https://example.com/x", True, ("me", "pw")),
        ("http://example.com/x", False, ("me", "pw")),
        ("http://example.com/x", True, None),
        ("https://other.example.com/x", False, ("you", "secret")),
        ("https://third.example.com/x", False, None),
        ("ftp://example.com/x", False, None),
    ],
)
def test_netrc(netrc, url, redirected, expected):
    assert find(url, netrc=netrc(NETRC), redirected=redirected) == expected


def test_a_netrc_default_names_no_host(netrc):
    assert find(FILE, netrc=netrc("default login me password pw\n")) is None


class TestUserWithoutPassword:
    """The first place says who, a later one may say the password of the same user."""

    def test_from_netrc(self, netrc):
        assert find("https://me@example.com/", netrc=netrc(NETRC)) == ("me", "pw")

    def test_not_of_another_user(self, netrc):
        assert find("https://you@example.com/", netrc=netrc(NETRC)) == ("you", "")

    def test_from_the_environment(self):
        indexes = [("acme", "https://me@example.com/simple/")]
        assert find(FILE, indexes=indexes, environ={"FELLOE_INDEX_ACME_PASSWORD": "p"}) == ("me", "p")

    def test_a_password_needs_no_netrc(self, netrc):
        assert find("https://me:own@example.com/", netrc=netrc("broken")) == ("me", "own")


class TestNetrcFile:
    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("hunter2", 1),
            ("machine example.com login me password pw\nmachine a hunter2 b\n", 2),
        ],
    )
    def test_a_broken_one_is_named_without_its_content(self, netrc, text, line):
        path = netrc(text)
        with pytest.raises(ConfigError) as caught:
            find(FILE, netrc=path)
        assert f"`{path}`, near line {line}, " in str(caught.value)
        assert "hunter2" not in str(caught.value) + caught.value.hint
        assert caught.value.__suppress_context__

    def test_one_that_is_too_large(self, netrc):
        with pytest.raises(ConfigError, match="has more than 1048576 bytes"):
            find(FILE, netrc=netrc("#" * (2**20 + 1)))

    @pytest.mark.skipif(os.name == "nt", reason="needs FIFOs")
    def test_a_fifo_is_never_opened(self, tmp_path):
        os.mkfifo(tmp_path / "netrc")
        assert find(FILE, netrc=tmp_path / "netrc") is None

    def test_one_that_is_not_there(self, tmp_path):
        assert find(FILE, netrc=tmp_path / "gone") is None

    def test_which(self, tmp_path):
        home = {"HOME": str(tmp_path)}
        assert netrc_file({}) is None
        assert netrc_file(home) is None
        (tmp_path / "_netrc").touch()
        assert netrc_file(home) == tmp_path / "_netrc"
        (tmp_path / ".netrc").touch()
        assert netrc_file(home) == tmp_path / ".netrc"
        assert netrc_file({**home, "NETRC": str(tmp_path / "own")}) == tmp_path / "own"


def test_of_a_config(tmp_path, netrc):
    environ = {
        "HOME": str(tmp_path),
        "NETRC": str(netrc(NETRC)),
        "FELLOE_CACHE_DIR": "c",
        "FELLOE_INDEX_URL": "acme=https://index.example.com/simple",
        "FELLOE_INDEX_ACME_USERNAME": "token",
    }
    credentials = Credentials.of(Config.load(environ=environ, cwd=tmp_path))
    assert credentials.find(Url("https://index.example.com/simple/x/")) == ("token", "")
    assert credentials.find(Url("https://other.example.com/")) == ("you", "secret")


def test_nothing_is_shown():
    credentials = Credentials([INDEX], {"FELLOE_INDEX_ACME_PASSWORD": "hunter2"}, None)
    assert credentials.find(INDEX[1]) == ("", "hunter2")
    assert "hunter2" not in repr(credentials) + str(credentials)


class Asked:
    """Answers as an extension would; `gives` is what it has, by the URL it is asked about as it is shown."""

    def __init__(self, gives):
        self.gives = gives
        self.about = []

    async def __call__(self, url):
        self.about.append((str(url), url.userinfo))
        return self.gives.get(str(url))


@pytest.mark.anyio
class TestExtensions:
    @pytest.mark.parametrize(
        ("url", "indexes", "about"),
        [
            ("https://example.com/f/a.whl?sig=hunter2#x", [], ("https://example.com/", None)),
            ("https://example.com:8443/f/a.whl", [], ("https://example.com:8443/", None)),
            ("https://[::1]/f/a.whl", [], ("https://[::1]/", None)),
            ("https://me@example.com/f/a.whl", [], ("https://example.com/", ("me", ""))),
            ("https://m%40e@example.com/f/a.whl", [], ("https://example.com/", ("m@e", ""))),
            ("https://example.com/f/a.whl", ["https://example.com/simple"], ("https://example.com/simple", None)),
            ("https://example.com/x", ["https://me@example.com/a?key=hunter2"], ("https://example.com/a", ("me", ""))),
            ("https://example.com/b/x", ["https://example.com/a", "https://example.com/b"],
             ("https://example.com/b", None)),
            ("https://example.com/f/a.whl", ["https://example.org/simple"], ("https://example.com/", None)),
        ],
    )  # fmt: skip
    async def test_what_they_are_asked_about(self, url, indexes, about):
        asked = Asked({about[0]: ("me", "pw")})
        credentials = Credentials([(index, Url(index)) for index in indexes], {}, None, asked)

        assert await credentials.ask(Url(url), None)

        assert asked.about == [about]
        assert credentials.known(Url(url)) == ("me", "pw")
        assert credentials.known(Url("https://example.net/f")) is None
        assert credentials.known(Url("http://example.com/f")) is None

    @pytest.mark.parametrize(
        "url",
        ["https://me:own@example.com/", "https://:own@example.com/", "https://named.example/x"],
    )
    async def test_whom_somebody_has_named_with_a_password_is_not_asked_for(self, url):
        asked = Asked({})
        environ = {"FELLOE_INDEX_NAMED_USERNAME": "me", "FELLOE_INDEX_NAMED_PASSWORD": "own"}
        credentials = Credentials([("named", Url("https://named.example/simple"))], environ, None, asked)
        known = credentials.known(Url(url))

        assert not await credentials.ask(Url(url), known)
        assert asked.about == []

    async def test_a_netrc_that_is_refused_is_not_the_last_word(self, netrc):
        asked = Asked({"https://example.com/": ("other", "new")})
        credentials = Credentials((), {}, netrc(NETRC), asked)
        assert credentials.known(Url(FILE)) == ("me", "pw")

        assert await credentials.ask(Url(FILE), ("me", "pw"))

        assert credentials.known(Url(FILE)) == ("other", "new")
        assert credentials.find(Url(FILE)) == ("me", "pw")  # what is written down is what pages are kept for

    @pytest.mark.parametrize("answer", [("me", "pw"), None])
    async def test_once_a_run(self, answer):
        asked = Asked({"https://example.com/": answer})
        credentials = Credentials((), {}, None, asked)

        assert await credentials.ask(Url(FILE), None) is (answer is not None)
        assert not await credentials.ask(Url("https://example.com/other"), answer)
        assert len(asked.about) == 1

    async def test_by_a_redirect_only_where_nobody_can_listen(self):
        asked = Asked({"https://example.com/": ("me", "pw")})
        credentials = Credentials((), {}, None, asked)

        assert not await credentials.ask(Url("http://example.com/"), None, redirected=True)
        assert await credentials.ask(Url("https://example.com/"), None, redirected=True)
        assert asked.about == [("https://example.com/", None)]

    async def test_nothing_is_shown(self):
        credentials = Credentials((), {}, None, Asked({"https://example.com/": ("me", "hunter2")}))
        await credentials.ask(Url(FILE), None)
        assert "hunter2" not in repr(credentials) + str(credentials)
