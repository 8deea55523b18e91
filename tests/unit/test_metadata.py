"""METADATA, what an sdist proves without a build, and whether names agree."""

from __future__ import annotations

import contextlib
import json
from importlib.metadata import distributions

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.markers import Marker, default_environment
from packaging.metadata import parse_email
from packaging.requirements import Requirement

from felloe.errors import MetadataError
from felloe.metadata import (
    FIELDS,
    MULTIPLE_USE,
    check_identity,
    parse_metadata,
    proves,
    static_from_pkg_info,
    static_from_pyproject,
    static_metadata,
)
from felloe.values import Metadata

START = "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"
WHAT = "`demo-1.0-py3-none-any.whl`"


def parse(text: str | bytes) -> Metadata:
    return parse_metadata(text if isinstance(text, bytes) else text.encode(), what=WHAT)


def refusal(text: str | bytes) -> MetadataError:
    with pytest.raises(MetadataError) as caught:
        parse(text)
    assert caught.value.hint
    assert WHAT in str(caught.value)
    return caught.value


class TestParseMetadata:
    def test_all_kinds_of_fields(self):
        metadata = parse(
            START + "Summary: A demo\nKeywords: a,b c, d\nClassifier: One\nClassifier: Two\n"
            "Project-URL: Home, https://example.com/?a,b\nProject-URL: Home, https://example.com/2\n"
            'Requires-Dist: a>=1,<2 ; python_version<"4"\nRequires-Dist: b[x] @ https://example.com/b.zip\n'
            "Requires-Python: >=3.9\nProvides-Extra: Some_Extra\nImport-Name: demo\n"
            "Description-Content-Type: text/markdown\n\n# Demo\n\nRequires-Dist: not-a-field\n"
        )
        assert metadata.fields == {
            "metadata-version": "2.1",
            "name": "demo",
            "version": "1.0",
            "summary": "A demo",
            "description-content-type": "text/markdown",
            "keywords": "a,b c, d",
            "classifier": ["One", "Two"],
            "requires-dist": ['a>=1,<2 ; python_version<"4"', "b[x] @ https://example.com/b.zip"],
            "requires-python": ">=3.9",
            "project-url": ["Home, https://example.com/?a,b", "Home, https://example.com/2"],
            "provides-extra": ["Some_Extra"],
            "import-name": ["demo"],
        }

    def test_keys_are_in_the_order_of_the_specification(self):
        headers = START.splitlines(keepends=True) + [f"{field}: x\n" for field in FIELDS[3:]]
        assert list(parse("".join(reversed(headers))).fields) == list(FIELDS)

    @pytest.mark.parametrize("field", sorted(MULTIPLE_USE))
    def test_multiple_use_fields_are_lists(self, field: str):
        assert parse(f"{START}{field.title()}: x\n").fields[field] == ["x"]

    @pytest.mark.parametrize(
        ("headers", "field", "value"),
        [
            ("Summary: two\n        lines", "summary", "two lines"),
            ("Summary: two\r\n\tlines", "summary", "two lines"),
            ("Requires-Dist: a\n  >=1", "requires-dist", ["a >=1"]),
            ("License: First\n        second\n", "license", "First\n        second"),
            ("sUMMARY:x", "summary", "x"),
            ("Summary: caf\u00e9 \u2603", "summary", "caf\u00e9 \u2603"),
            ("Import-Name:", "import-name", []),
            ("Platform: \nPlatform: any", "platform", ["any"]),
            ("Summary: one\nSummary: two", "summary", "one"),
            ("Summary: =?utf-8?q?a?=", "summary", "=?utf-8?q?a?="),
        ],
    )
    def test_values(self, headers: str, field: str, value: str | list[str]):
        assert parse(START + headers + "\n").fields[field] == value

    @pytest.mark.parametrize(
        "headers", ["Summary:", "Description: x", "Made-Up: x", "Content-Type: multipart/mixed; boundary=x\n\n--x\n\n"]
    )
    def test_left_out(self, headers: str):
        assert set(parse(START + headers).fields) == {"metadata-version", "name", "version"}

    def test_line_ends(self):
        assert parse(START.replace("\n", "\r\n") + "\r\nbody") == parse(START) == parse(START.replace("\n", "\r"))

    def test_people_of_old_files_are_latin_1(self):
        assert parse(START.encode() + b"Author: J\xf6rg\n").fields["author"] == "J\u00f6rg"

    def test_broken_off_headers_are_what_other_tools_see(self):
        assert parse(START + "no header\nSummary: x\n").fields == parse(START).fields

    @pytest.mark.parametrize("field", ["Metadata-Version", "Name", "Version"])
    def test_required_once(self, field: str):
        without = "".join(line for line in START.splitlines(keepends=True) if not line.startswith(f"{field}:"))
        for text in (without, f"{without}{field}:\n", START + f"{field}: 2.0\n"):
            assert f"`{field.lower()}`" in str(refusal(text))

    @pytest.mark.parametrize("field", ["Name", "Version", "Requires-Dist", "Requires-Python", "Provides-Extra"])
    def test_what_is_relied_on_is_utf_8(self, field: str):
        kept = "".join(line for line in START.splitlines(keepends=True) if not line.startswith(f"{field}:"))
        assert refusal(kept.encode() + field.encode() + b": \xff\n").payload["field"] == field.lower()

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "\n" + START,
            "\ufeff" + START,
            START + "Requires-Python: >=3.8\nRequires-Python: >=3.9\n",
            START.replace("demo", "de mo"),
            START.replace("demo", "../demo"),
            START.replace("demo", "d\u00e9mo"),
            START.replace("2.1", "two"),
            START.replace("2.1", "2."),
            START.replace("2.1", "\u0662.1"),
            START.replace("2.1", "9" * 5000),
        ],
    )
    def test_refused(self, text: str):
        assert refusal(text).code == "invalid-metadata"

    @pytest.mark.parametrize("version", ["3.0", "3", "10.1"])
    def test_an_unknown_major_format_is_refused(self, version: str):
        assert f"`{version}`" in str(refusal(START.replace("2.1", version)))

    @pytest.mark.parametrize("version", ["1.0", "1.2", "2.0", "2.4", "2.99"])
    def test_any_minor_format_will_do(self, version: str):
        assert parse(START.replace("2.1", version)).fields["metadata-version"] == version

    def test_size(self):
        raw = START.encode() + b"\n" + b"x" * 100
        assert parse_metadata(raw, what=WHAT, max_bytes=len(raw)).name == "demo"
        with pytest.raises(MetadataError, match=f"longer than {len(raw) - 1} bytes"):
            parse_metadata(raw, what=WHAT, max_bytes=len(raw) - 1)

    @pytest.mark.timeout(30)  # what is quadratic here takes minutes
    @pytest.mark.parametrize(
        "headers",
        [
            "".join(f"h{number}:\n" for number in range(90_000)),
            "Summary: x\n" + " x\n" * 90_000,
            "Summary: " + "x" * 1_000_000,
            "Requires-Dist: a\n" * 90_000,
        ],
        ids=["names", "folds", "length", "values"],
    )
    def test_time_is_linear(self, headers: str):
        assert parse(START + headers).name == "demo"

    def test_number_of_lines(self):
        assert "lines" in str(refusal(START + "a:\n" * 100_000))

    @settings(deadline=None)
    @given(st.binary(max_size=400))
    def test_whatever_comes(self, tail: bytes):
        fields = {}
        with contextlib.suppress(MetadataError):
            fields = parse(START.encode() + tail).fields
        assert json.loads(json.dumps(fields, ensure_ascii=False).encode()) == fields

    @pytest.mark.oracle
    def test_agrees_with_packaging_about_everything_installed(self):
        texts = [text for dist in distributions() if (text := dist.read_text("METADATA"))]
        assert texts
        for text in texts:
            theirs = parse_email(text.encode())[0]
            ours = parse(text.encode())
            assert ours.name == theirs["name"]
            assert ours.version == theirs["version"]
            assert ours.requires_python == theirs.get("requires_python")
            assert list(ours.requires_dist) == theirs.get("requires_dist", [])
            assert list(ours.provides_extra) == theirs.get("provides_extra", [])
            assert ours.fields.get("classifier", []) == theirs.get("classifiers", [])
            links = [f"{label}, {url}" for label, url in theirs.get("project_urls", {}).items()]
            assert ours.fields.get("project-url", []) == links


PKG_INFO = "Metadata-Version: 2.2\nName: demo\nVersion: 1.0\n"


def from_pkg_info(text: str) -> dict[str, object] | None:
    metadata = static_from_pkg_info(text.encode())
    return None if metadata is None else dict(metadata.fields)


class TestStaticFromPkgInfo:
    def test_absent_is_proven_empty(self):
        assert from_pkg_info(PKG_INFO) == {
            "metadata-version": "2.2",
            "name": "demo",
            "version": "1.0",
            "requires-dist": [],
            "requires-python": None,
            "provides-extra": [],
        }

    def test_what_is_there(self):
        fields = from_pkg_info(
            PKG_INFO + 'Requires-Dist: a; extra == "x"\nRequires-Python: >=3.8\nProvides-Extra: x\nSummary: S\n'
        )
        assert fields is not None
        assert fields["requires-dist"] == ['a; extra == "x"']
        assert fields["requires-python"] == ">=3.8"
        assert fields["provides-extra"] == ["x"]
        assert fields["summary"] == "S"

    @pytest.mark.parametrize("name", ["Requires-Dist", "requires-dist", "REQUIRES-DIST"])
    @pytest.mark.parametrize("also", ["", "Requires-Dist: a\n"])
    def test_dynamic_is_not_proven(self, name: str, also: str):
        metadata = static_from_pkg_info(f"{PKG_INFO}Dynamic: {name}\n{also}".encode())
        assert metadata is not None
        assert "requires-dist" not in metadata.fields
        assert "dynamic" not in metadata.fields
        assert not proves(metadata)

    def test_a_dynamic_version_is_not_proven(self):
        metadata = static_from_pkg_info(f"{PKG_INFO}Dynamic: Version\n".encode())
        assert metadata is not None
        assert "version" not in metadata.fields
        assert not proves(metadata)

    def test_a_dynamic_field_that_nobody_resolves_with_does_no_harm(self):
        metadata = static_from_pkg_info(f"{PKG_INFO}Dynamic: license-file\nLicense-File: LICENSE\n".encode())
        assert metadata is not None
        assert proves(metadata)
        assert "license-file" not in metadata.fields

    @pytest.mark.parametrize("version", ["2.2", "2.3", "2.10"])
    def test_formats_that_prove(self, version: str):
        assert from_pkg_info(PKG_INFO.replace("2.2", version)) is not None

    @pytest.mark.parametrize(
        "text",
        [
            PKG_INFO.replace("2.2", "2.1"),
            PKG_INFO.replace("2.2", "1.0"),
            PKG_INFO.replace("2.2", "3.0"),
            PKG_INFO.replace("2.2", "2"),
            PKG_INFO.replace("Name", "Nom"),
            PKG_INFO + "Dynamic: Name\n",
            PKG_INFO + "License: text\nmore text\nDynamic: Requires-Dist\n",
            PKG_INFO + "Requires-Python: >=3.8\nRequires-Python: >=3.9\n",
            "",
        ],
    )
    def test_no_proof(self, text: str):
        assert from_pkg_info(text) is None

    def test_too_long_is_no_proof(self):
        assert static_from_pkg_info(PKG_INFO.encode() + b"\n" + b"x" * 16 * 1024 * 1024) is None


def from_pyproject(text: str, filename_version: str | None = "1.0") -> dict[str, object] | None:
    metadata = static_from_pyproject(text.encode(), filename_version=filename_version)
    return None if metadata is None else dict(metadata.fields)


PROJECT = '[project]\nname = "Demo"\nversion = "1.0"\n'


class TestStaticFromPyproject:
    def test_absent_is_proven_empty(self):
        assert from_pyproject(PROJECT) == {
            "name": "Demo",
            "version": "1.0",
            "requires-dist": [],
            "requires-python": None,
            "provides-extra": [],
        }

    def test_everything(self):
        assert from_pyproject(
            PROJECT + 'description = "A demo"\nkeywords = ["a", "b"]\nlicense = "MIT"\nclassifiers = ["One"]\n'
            'requires-python = ">=3.9"\ndependencies = ["a>=1", "b; os_name == \'nt\'"]\n'
            'readme = "README.md"\nauthors = [{name = "A"}]\n'
            '[project.urls]\nHome = "https://example.com"\n'
            '[project.optional-dependencies]\nSome_Extra = ["c"]\nempty = []\n'
        ) == {
            "name": "Demo",
            "version": "1.0",
            "summary": "A demo",
            "keywords": "a,b",
            "license-expression": "MIT",
            "classifier": ["One"],
            "requires-dist": ["a>=1", "b; os_name == 'nt'", 'c; extra == "some-extra"'],
            "requires-python": ">=3.9",
            "project-url": ["Home, https://example.com"],
            "provides-extra": ["some-extra", "empty"],
        }

    @pytest.mark.parametrize(
        "text",
        [
            "c",
            "c[y]>=1,<2",
            "c; os_name == 'nt'",
            "c; os_name == 'nt' or python_version < '4'",
            "c; (os_name == 'nt' or os_name == 'posix') and python_version < '4'",
            "c @ https://example.com/c;d.zip ; os_name == 'nt' or os_name == 'posix'",
        ],
    )
    @pytest.mark.parametrize("os_name", ["nt", "posix"])
    @pytest.mark.parametrize("extra", ["x", "z", ""])
    def test_a_requirement_of_an_extra_keeps_its_own_condition(self, text: str, os_name: str, extra: str):
        fields = from_pyproject(f'{PROJECT}[project.optional-dependencies]\nx = ["{text}"]\n')
        assert fields is not None
        [combined] = fields["requires-dist"]  # type: ignore[misc]
        environment = {**default_environment(), "os_name": os_name, "extra": extra}
        written, found = Requirement(text), Requirement(combined)
        assert (found.name, found.extras, found.specifier, found.url) == (
            written.name, written.extras, written.specifier, written.url,
        )  # fmt: skip
        own = written.marker or Marker("python_version > '0'")
        assert found.marker is not None
        assert found.marker.evaluate(environment) == (own.evaluate(environment) and extra == "x")

    @pytest.mark.parametrize(
        ("dynamic", "missing"),
        [
            ("dependencies", {"requires-dist"}),
            ("Dependencies", {"requires-dist"}),
            ("optional-dependencies", {"requires-dist", "provides-extra"}),
            ("requires-python", {"requires-python"}),
            ("REQUIRES-PYTHON", {"requires-python"}),
            ("description", {"summary"}),
            ("scripts", set()),
        ],
    )
    def test_dynamic_is_not_proven(self, dynamic: str, missing: set[str]):
        known = {"name", "version", "summary", "requires-dist", "requires-python", "provides-extra"}
        fields = from_pyproject(f'{PROJECT}description = "A demo"\ndynamic = ["{dynamic}"]\n')
        assert fields is not None
        assert set(fields) == known - missing

    @pytest.mark.parametrize(("filename_version", "found"), [("1.5", "1.5"), (None, None)])
    def test_a_dynamic_version_is_that_of_the_file_name(self, filename_version: str | None, found: str | None):
        text = '[project]\nname = "demo"\ndynamic = ["version"]\n'
        metadata = static_from_pyproject(text.encode(), filename_version=filename_version)
        assert metadata is not None
        assert metadata.fields.get("version") == found
        assert proves(metadata) == (found is not None)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[build-system]\nrequires = []\n",
            "[tool.poetry]\nname = 'demo'\nversion = '1.0'\n",
            "[tool.flit.metadata]\nmodule = 'demo'\n",
            "project = 1",
            "[project",
            "[[project]]\nname = 'demo'\nversion = '1.0'\n",
            "[project]\nversion = '1.0'\n",
            "[project]\nname = 'demo'\n",
            "[project]\nname = 'de mo'\nversion = '1.0'\n",
            "[project]\nname = 1\nversion = '1.0'\n",
            "[project]\nname = 'demo'\nversion = 1.0\n",
            "[project]\nname = 'demo'\nversion = 'one'\n",
            "[project]\nversion = '1.0'\ndynamic = ['name']\n",
            PROJECT + "dynamic = 'version'\n",
            PROJECT + "dynamic = [1]\n",
            PROJECT + "dependencies = 'a'\n",
            PROJECT + "dependencies = [1]\n",
            PROJECT + "dependencies = ['a b c']\n",
            PROJECT + "dependencies = ['a; os_name == \"\\x\"']\n",
            PROJECT + "dependencies = ['a @ {root:uri}/a']\n",
            PROJECT + "dependencies = ['a @ file:///${PROJECT_ROOT}/a']\n",
            PROJECT + "requires-python = 'three'\n",
            PROJECT + "requires-python = 3\n",
            PROJECT + "description = 3\n",
            PROJECT + "keywords = 'a'\n",
            PROJECT + "optional-dependencies = []\n",
            PROJECT + "optional-dependencies = {x = 'a'}\n",
            PROJECT + "optional-dependencies = {'x y' = ['a']}\n",
            PROJECT + "optional-dependencies = {x_y = ['a'], x-y = ['b']}\n",
            PROJECT + "urls = {x = 1}\n",
        ],
    )
    def test_no_proof(self, text: str):
        assert from_pyproject(text) is None

    @pytest.mark.timeout(30)  # tomllib alone would take minutes, and gigabytes
    @pytest.mark.parametrize(
        "raw",
        [
            b"\xff",
            b"a = " + b"[" * 50_000,
            b"a = " + b"{a=" * 30_000,
            b"a." * 60_000 + b"b = 1",
            b"[" + b"a." * 60_000 + b"b]",
            PROJECT.encode() + b"dependencies = ['a; " + b"(" * 20_000 + b"']",
            PROJECT.encode() + b"x = " + b"9" * 5_000,
            PROJECT.encode() + b"#" * 200_000,
        ],
        ids=["bytes", "arrays", "tables", "key", "header", "marker", "digits", "size"],
    )
    def test_hostile(self, raw: bytes):
        assert static_from_pyproject(raw, filename_version="1.0") is None


class TestStaticMetadata:
    DYNAMIC = (PKG_INFO + "Dynamic: Requires-Dist\n").encode()

    def test_nothing_is_known(self):
        assert static_metadata({}, filename_version="1.0") is None

    def test_pkg_info_that_proves_all_is_enough(self):
        members = {"PKG-INFO": PKG_INFO.encode(), "pyproject.toml": PROJECT.replace("1.0", "2.0").encode()}
        found = static_metadata(members, filename_version="1.0")
        assert found is not None
        assert (found[0].version, found[1]) == ("1.0", "pkg-info")

    def test_pyproject_completes_pkg_info(self):
        members = {"PKG-INFO": self.DYNAMIC, "pyproject.toml": f"{PROJECT}dependencies = ['a']\n".encode()}
        found = static_metadata(members, filename_version="1.0")
        assert found is not None
        assert (found[0].name, found[0].requires_dist, found[1]) == ("demo", ("a",), "pyproject")
        assert proves(found[0])

    def test_pyproject_alone(self):
        found = static_metadata({"pyproject.toml": PROJECT.encode()}, filename_version="1.0")
        assert found is not None
        assert (found[0].name, found[1]) == ("Demo", "pyproject")

    def test_a_part_is_better_than_nothing(self):
        found = static_metadata({"PKG-INFO": self.DYNAMIC, "pyproject.toml": b"["}, filename_version="1.0")
        assert found is not None
        assert (proves(found[0]), found[1]) == (False, "pkg-info")


class TestCheckIdentity:
    METADATA = Metadata({"name": "Django_Allauth", "version": "1.0.0"})

    @pytest.mark.parametrize("name", [None, "Django_Allauth", "django-allauth", "django.allauth"])
    @pytest.mark.parametrize("version", [None, "1.0.0", "1.0", "1", "v1.0"])
    def test_agree(self, name: str | None, version: str | None):
        assert check_identity(self.METADATA, name=name, version=version, what=WHAT) is None  # type: ignore[func-returns-value]

    @pytest.mark.parametrize(
        ("name", "version", "both"),
        [
            ("django", None, ("`django`", "`Django_Allauth`")),
            ("django", "1.0", ("`django`", "`Django_Allauth`")),
            (None, "1.0.1", ("`1.0.1`", "`1.0.0`")),
            (None, "1.0+local", ("`1.0+local`", "`1.0.0`")),
            (None, "one", ("`one`", "`1.0.0`")),
            (None, "9" * 5000, ("9", "`1.0.0`")),
        ],
    )
    def test_disagree(self, name: str | None, version: str | None, both: tuple[str, str]):
        with pytest.raises(MetadataError) as caught:
            check_identity(self.METADATA, name=name, version=version, what=WHAT)
        assert caught.value.code == "names-disagree"
        assert caught.value.hint
        assert all(text in str(caught.value) for text in (WHAT, *both))

    def test_versions_that_are_none_are_compared_as_text(self):
        old = Metadata({"name": "demo", "version": "2004d"})
        assert check_identity(old, name="demo", version="2004d", what=WHAT) is None  # type: ignore[func-returns-value]

    def test_a_version_that_is_not_proven_is_not_compared(self):
        unproven = Metadata({"name": "demo"})
        assert check_identity(unproven, name="demo", version="1.0", what=WHAT) is None  # type: ignore[func-returns-value]
