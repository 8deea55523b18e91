"""Requirements files: pip's format, the place of every mistake, and no secret in any of them."""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from felloe.config import Config
from felloe.errors import RequirementError
from felloe.format_control import FormatControl
from felloe.request import redacted
from felloe.requirements_file import FileOptions, RequirementsFile, read_constraints, read_requirements
from felloe.url import Url

A, B = "a" * 64, "b" * 64
ONLY_A = FormatControl().with_only_binary("a")


class Folder(NamedTuple):
    """A folder of requirements files, which are read from another current folder."""

    path: Path
    cwd: Path

    def write(self, **files: str | bytes) -> None:
        for name, content in files.items():
            file = self.path / f"{name}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())

    def read(self, content: str | bytes = "", **environ: str) -> RequirementsFile:
        if content:
            self.write(main=content)
        return read_requirements(self.path / "main.txt", environ=environ, cwd=self.cwd)

    def refuse(self, content: str | bytes = "", **environ: str) -> RequirementError:
        with pytest.raises(RequirementError) as caught:
            self.read(content, **environ)
        assert caught.value.hint
        return caught.value

    def place(self, line: int, column: int, name: str = "main") -> str:
        return f"{self.path / f'{name}.txt'}:{line}:{column}: "


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    (tmp_path / "files").mkdir()
    (tmp_path / "cwd").mkdir()
    return Folder(tmp_path / "files", tmp_path / "cwd")


def texts(file: RequirementsFile) -> list[str]:
    return [request.text for request in file.requirements]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("flask\nrich", ["flask", "rich"]),
        ("flask\r\nrich\r\n", ["flask", "rich"]),
        ("# a comment\n\n  \nflask # and another\n  # -r nothing.txt\n", ["flask"]),
        ("name @ https://example.com/a.zip#egg=name", ["name @ https://example.com/a.zip#egg=name"]),
        ("flask \\\n  >=1.0, \\\n  <2\nrich", ["flask   >=1.0,   <2", "rich"]),
        ("flask \\\n# a comment ends the line \\\nrich", ["flask", "rich"]),
        ("flask \\", ["flask"]),
        ("flask; python_version >= '3.8'\n", ["flask; python_version >= '3.8'"]),
        ("  flask==1.0  \n\trich\n", ["flask==1.0", "rich"]),
        ("-e ./a\n--editable=./b\n./c.whl\n", ["-e ./a", "--editable ./b", "./c.whl"]),
        ("\\\n\\\nflask", ["flask"]),
        ("", []),
        ("\\", []),
    ],
)
def test_lines_comments_and_continuations(folder: Folder, content: str, expected: list[str]) -> None:
    assert texts(folder.read(content or "\n")) == expected


def test_hashes_belong_to_their_line(folder: Folder) -> None:
    file = folder.read(f"flask==1.0 \\\n    --hash=sha256:{A} \\\n    --hash sha256:{B}\nrich\n")
    assert [request.hashes for request in file.requirements] == [{f"sha256:{A}", f"sha256:{B}"}, frozenset()]


def test_paths_of_distributions_start_from_the_current_folder(folder: Folder) -> None:
    folder.write(**{"sub/nested": "./b"})
    file = folder.read("-e ./a\n-r sub/nested.txt\nname @ file:c\n")
    assert [request.path for request in file.requirements] == [folder.cwd / name for name in "abc"]


def test_nested_files_are_found_beside_the_file_that_names_them(folder: Folder) -> None:
    folder.write(**{"sub/one": "-r two.txt\n-rdeeper/three.txt\n", "sub/two": "two", "sub/deeper/three": "three"})
    assert texts(folder.read("zero\n--requirement sub/one.txt\nfour")) == ["zero", "two", "three", "four"]


def test_a_nested_file_may_have_an_absolute_path(folder: Folder) -> None:
    folder.write(other="flask")
    assert texts(folder.read(f"-r '{folder.path / 'other.txt'}'")) == ["flask"]


def test_a_file_that_is_nested_twice_is_read_once(folder: Folder) -> None:
    folder.write(base="flask", one="-r base.txt", two="-r base.txt")
    assert texts(folder.read("-r one.txt\n-r two.txt\n")) == ["flask"]


def test_many_files_that_nest_each_other_twice_take_no_longer(folder: Folder) -> None:
    folder.write(**{f"n{level}": f"-r n{level + 1}.txt\n-r ./n{level + 1}.txt\n" for level in range(40)}, n40="flask")
    assert texts(folder.read("-r n0.txt")) == ["flask"]


@pytest.mark.parametrize(
    ("files", "chain"),
    [
        ({"main": "-r main.txt"}, "main main"),
        ({"main": "flask\n-r one.txt", "one": "-c two.txt", "two": "-r main.txt"}, "main one two main"),
        ({"main": "-r one.txt", "one": "-r two.txt", "two": "-r one.txt"}, "one two one"),
    ],
)
def test_a_cycle_is_named(folder: Folder, files: Mapping[str, str], chain: str) -> None:
    folder.write(**files)
    names = " -> ".join(str(folder.path / f"{name}.txt") for name in chain.split())
    assert names in str(folder.refuse())


def test_a_cycle_through_a_symbolic_link_is_seen(folder: Folder) -> None:
    (folder.path / "again.txt").symlink_to("main.txt")
    assert "cycle" in str(folder.refuse("-r again.txt"))


def test_files_are_not_nested_without_end(folder: Folder) -> None:
    folder.write(**{f"n{level}": f"-r n{level + 1}.txt" for level in range(200)})
    assert "more than 50 files" in str(folder.refuse("-r n0.txt"))


def test_constraints_are_kept_apart(folder: Folder) -> None:
    folder.write(limits="Flask_X<2\n-c more.txt\n-r required.txt", more="rich<1", required="numpy")
    file = folder.read("flask\n-c limits.txt")
    assert texts(file) == ["flask", "numpy"]  # as in pip, what a constraints file requires is required
    assert [(each.name, str(each.specifier)) for each in file.constraints] == [("flask-x", "<2"), ("rich", "<1")]
    assert file.constraints[0].text == "Flask_X<2"


def test_a_file_of_constraints(folder: Folder) -> None:
    folder.write(main="flask<${VERSION}\n--pre\n-c more.txt", more="rich<1")
    file = read_constraints(folder.path / "main.txt", environ={"VERSION": "2"}, cwd=folder.cwd)
    assert [each.text for each in file.constraints] == ["flask<2", "rich<1"]
    assert (file.requirements, file.options) == ((), FileOptions(prereleases=True))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("-e ./a", "is editable"),
        ("./a.whl", "has no name"),
        ("flask[x]<2", "has extras"),
        (f"a<2 --hash=sha256:{A}", "has a hash"),
    ],
)
def test_what_cannot_be_a_constraint(folder: Folder, line: str, problem: str) -> None:
    folder.write(limits=f"rich<1\n{line}")
    error = folder.refuse("-c limits.txt")
    assert str(error).startswith(folder.place(2, 1, "limits"))
    assert problem in str(error)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("--index-url https://example.com/simple", {"index_url": "https://example.com/simple"}),
        ("-i https://example.com/1\n-i 'https://example.com/2'", {"index_url": "https://example.com/2"}),
        ("--index-url=https://u:p@example.com/", {"index_url": "https://u:p@example.com/"}),
        (
            "--extra-index-url https://a.example.com --extra-index-url=https://b.example.com",
            {"extra_index_urls": ("https://a.example.com", "https://b.example.com")},
        ),
        ("-f https://example.com/links.html", {"find_links": ("https://example.com/links.html",)}),
        ("--no-index", {"no_index": True}),
        ("--require-hashes\n--pre", {"require_hashes": True, "prereleases": True}),
        ("--no-binary Foo_Bar,baz", {"formats": FormatControl(no_binary=frozenset({"foo-bar", "baz"}))}),
        ("--no-binary :all:", {"formats": FormatControl().with_no_binary(":all:")}),
        ("--no-binary a --only-binary a", {"formats": ONLY_A}),
        # as short as they are clear
        ("--extra-index https://example.com", {"extra_index_urls": ("https://example.com",)}),
        ("--e=https://example.com", {"extra_index_urls": ("https://example.com",)}),
        ("--only a --no-i --require-h", {"formats": ONLY_A, "no_index": True, "require_hashes": True}),
        ("--pre", {"prereleases": True}),
        # of no meaning here
        ("--trusted-host example.com:80 --pre --trusted-host=a", {"prereleases": True}),
        ("--prefer-binary\n--use-feature=fast-deps", {}),
        ("flask", {}),
    ],
)
def test_options(folder: Folder, content: str, expected: dict[str, Any]) -> None:
    assert folder.read(content).options == FileOptions(**expected)


def test_options_that_are_ignored_are_told_once(folder: Folder) -> None:
    folder.write(nested="rich\n --trusted-host one ")
    file = folder.read("--prefer-binary\n-r nested.txt\n--trusted two\n--use-feature ${X}\n--prefer-b", X="s3cr3t")
    assert [text.partition(": the ")[0].partition(": it ")[0] for text in file.warnings] == [
        f"{folder.place(1, 1)}`--prefer-binary` is ignored",
        f"{folder.place(2, 2, 'nested')}`--trusted-host` is ignored",
        f"{folder.place(4, 1)}`--use-feature` is ignored",
    ]
    assert "s3cr3t" not in repr(file)
    assert folder.read("flask\n--pre").warnings == ()


def test_options_of_nested_files_count(folder: Folder) -> None:
    folder.write(nested="--pre")
    assert folder.read("-r nested.txt").options.prereleases


def test_an_index_in_a_folder_starts_from_the_current_folder(folder: Folder) -> None:
    options = folder.read("-i './my index/../simple'").options
    assert options.index_url == f"{folder.cwd.as_uri()}/simple"


def test_find_links_start_from_the_file_where_they_are_there_and_else_from_the_current_folder(folder: Folder) -> None:
    (folder.path / "wheels").mkdir()
    options = folder.read("-f wheels\n-f others\n").options
    assert options.find_links == (f"{folder.path.as_uri()}/wheels", f"{folder.cwd.as_uri()}/others")


def test_options_show_no_password() -> None:
    options = FileOptions(index_url="https://u:secret@example.com", find_links=("https://u:secret@example.com",))
    assert "secret" not in repr(options)


@pytest.mark.parametrize(
    ("content", "environ", "expected"),
    [
        ("${NAME}==1.0", {"NAME": "flask"}, "flask"),
        ("${N_1}${N_2}", {"N_1": "fla", "N_2": "sk"}, "flask"),
        ("a @ https://example.com/${UNSET}", {}, "a"),
    ],
)
def test_variables_are_filled_in(folder: Folder, content: str, environ: dict[str, str], expected: str) -> None:
    (request,) = folder.read(content, **environ).requirements
    assert request.name == expected
    assert request.text == content


@pytest.mark.parametrize("name", ["${lower}", "$NAME", "${}", "${NAME-x}", "${EMPTY}", "${UNSET}", "%NAME%"])
def test_what_is_no_set_variable_stays_as_it_is(folder: Folder, name: str) -> None:
    (request,) = folder.read(f"./{name}", NAME="x", lower="x", EMPTY="").requirements
    assert request.path == folder.cwd / name


def test_a_value_is_not_filled_in_again(folder: Folder) -> None:
    (request,) = folder.read("./${ONE}${TWO}", ONE="${TWO}", TWO="x").requirements
    assert request.path == folder.cwd / "${TWO}x"


def test_a_secret_is_used_and_not_shown(folder: Folder) -> None:
    file = folder.read("name @ https://u:${TOKEN}@example.com/a.zip?k=${TOKEN}#egg=name", TOKEN="secret")
    (request,) = file.requirements
    assert request.url == Url("https://u:secret@example.com/a.zip?k=secret#egg=name")
    assert request.text == "name @ https://example.com/a.zip?****#egg=name"
    assert "secret" not in repr(file)


def test_a_constraint_is_complete_and_shown_as_it_is_written(folder: Folder) -> None:
    folder.write(limits='rich<1\nflask==1+${PW} ; python_version ~= "${PW}" # why')
    constraints = folder.read("-c limits.txt", PW="s3cr3t").constraints
    config = Config.load(cwd=folder.cwd, environ={}, constraints=[each.text for each in constraints])
    assert config.policy.constraints == ("rich<1", 'flask==1+s3cr3t ; python_version ~= "s3cr3t"')
    assert [*map(redacted, config.policy.constraints)] == ["rich<1", 'flask==1+${PW} ; python_version ~= "${PW}"']


def test_options_and_constraints_are_filled_in(folder: Folder) -> None:
    folder.write(limits="flask<${VERSION}")
    file = folder.read("-i https://${TOKEN}@example.com\n-c ${NAME}.txt", TOKEN="secret", NAME="limits", VERSION="2")
    assert file.options.index_url == "https://secret@example.com"
    assert [each.text for each in file.constraints] == ["flask<2"]


@pytest.mark.parametrize(
    "line",
    [
        "flask==${SECRET}",
        "${SECRET}",
        "./${SECRET}\0",
        "name @ https://${SECRET}:x/",
        "flask --hash=${SECRET}",
        "flask --${SECRET}",
        "--index-url ${SECRET}",
        "--index-url https://${SECRET}:x/",
        "--${SECRET}",
        "--no-binary ${SECRET}",
        "-r ${SECRET}.txt",
        "-r https://example.com/${SECRET}",
        "-i '${SECRET}",
        "--pre=${SECRET}",
    ],
)
def test_no_error_has_the_value_of_a_variable(folder: Folder, line: str) -> None:
    error = folder.refuse(f"rich\n {line}\n", SECRET="?sec:ret@!")
    assert str(error).startswith(folder.place(2, 2))
    assert "${SECRET}" in error.hint
    assert "sec:ret" not in f"{error!r} {error.hint} {error.payload}"
    assert error.__suppress_context__


@pytest.mark.parametrize("nested", ["flask=>1", "-r ../absent.txt"])
def test_no_error_in_a_nested_file_has_the_value_that_named_it(folder: Folder, nested: str) -> None:
    folder.write(**{"secret/nested": nested})
    error = folder.refuse("-r ${DIR}/nested.txt", DIR="secret")
    assert str(error).startswith("-r ${DIR}/nested.txt:1:")
    assert "secret" not in str(error)


def test_nor_has_one_in_a_file_that_is_nested_there(folder: Folder) -> None:
    folder.write(**{"secret/one": "-r two.txt", "secret/two": "flask=>1"})
    assert str(folder.refuse("-r ${DIR}/one.txt", DIR="secret")).startswith("-r two.txt:1:6: ")


@pytest.mark.parametrize(
    ("content", "line", "column", "problem"),
    [
        ("flask=>1", 1, 6, "expected"),
        ("rich\n\n  flask=>1", 3, 8, "expected"),
        ("flask>=1, \\\n  <2 \\\n  >3", 3, 3, "expected"),
        ("flask \\\n --bogus", 2, 2, "`--bogus`"),
        (f"flask \\\n --hash=sha256:{A} \\\n --hash=md5:12", 1, 1, "relied on"),
        ("  -e ./a.whl", 1, 3, "cannot be edited"),
        ("rich\n--bogus", 2, 1, "`--bogus` is not an option"),
        ("flask --config-settings='a=b'", 1, 7, "`--config-settings` at column 7 is not an option"),
        ("--no", 1, 1, "`--no` may mean `--no-binary` or `--no-index`"),
        ("--pr", 1, 1, "`--pr` may mean `--pre` or `--prefer-binary`"),
        ("--", 1, 1, "`--` is not an option"),
        ("-", 1, 1, "`-` is not an option"),
        ("--pre-", 1, 1, "`--pre-` is not an option"),
        ("--trusted-host", 1, 1, "`--trusted-host` needs a value"),
        ("--prefer-binary=yes", 1, 1, "`--prefer-binary` takes no value"),
        ("-x", 1, 1, "`-x` is not an option"),
        ("--pre flask", 1, 1, "`flask` is not an option"),
        ("--pre=1", 1, 1, "takes no value"),
        ("--pre=", 1, 1, "takes no value"),
        ("--index-url", 1, 1, "needs a value"),
        ("--index-url=", 1, 1, "needs a value"),
        ("-r", 1, 1, "needs a value"),
        ("--index-url 'https://example.com", 1, 1, "cannot be split"),
        ("--index-url https://example.com:port/", 1, 1, "is not a URL"),
        ("--no-binary !", 1, 1, "no name of a project"),
        ("-r absent.txt", 1, 1, "is not there"),
        ("-r .", 1, 1, "is not there, or is not a file"),
        ("-r https://example.com/base.txt", 1, 1, "only files can be nested"),
        ("-c file:///base.txt", 1, 1, "only files can be nested"),
        ("-r 'a\0b'", 1, 1, "NUL"),
        (f"-r {'a' * 5000}", 1, 1, "cannot be read"),
        (f"--pre {'--pre ' * 10_000}", 1, 1, "characters"),
        (f"flask{' ' * 40_000}>1", 1, 1, "characters"),
    ],
)
def test_a_mistake_has_its_place(folder: Folder, content: str, line: int, column: int, problem: str) -> None:
    error = folder.refuse(content)
    assert str(error).startswith(folder.place(line, column))
    assert problem in str(error)
    assert len(str(error)) < 6000
    place = {"file": str(folder.path / "main.txt"), "line": line, "column": column}
    assert {key: error.payload[key] for key in place} == place


def test_a_mistake_in_a_nested_file_has_that_place_alone(folder: Folder) -> None:
    folder.write(nested="rich\nflask=>1")
    message = str(folder.refuse("-r nested.txt"))
    assert message.startswith(folder.place(2, 6, "nested"))
    assert "main.txt" not in message


@pytest.mark.parametrize("line", ["--index-url user:secret@example.com/simple", "--index-url https://u:se/cret@h:x/"])
def test_a_url_that_is_none_is_not_shown(folder: Folder, line: str) -> None:
    assert "cret" not in str(folder.refuse(line))


@pytest.mark.parametrize(
    "content",
    [
        codecs.BOM_UTF8 + "./ü".encode(),
        codecs.BOM_UTF16_LE + "./ü".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "./ü".encode("utf-16-be"),
        codecs.BOM_UTF32_LE + "./ü".encode("utf-32-le"),
        codecs.BOM_UTF32_BE + "./ü".encode("utf-32-be"),
        "./ü".encode(),
        "# -*- coding: latin-1 -*-\n./ü".encode("latin-1"),
        "#!/x\n# vim: set fileencoding=cp1252 :\n./ü".encode("cp1252"),
    ],
)
def test_encodings(folder: Folder, content: bytes) -> None:
    assert texts(folder.read(content)) == ["./ü"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"flask\n\xfc\n", "main.txt:2: the file is not utf-8"),
        (b"#\n#\n# coding: latin-1\n\xfc\n", "main.txt:4: the file is not utf-8"),
        (b"# coding: ascii\n\xfc\n", "main.txt:2: the file is not ascii"),
        (b"# coding: klingon\n", "`klingon`, which is not known"),
        (b"# coding: hex\n", "`hex`, which is not known"),
    ],
)
def test_bytes_that_are_no_text(folder: Folder, content: bytes, problem: str) -> None:
    assert problem in str(folder.refuse(content))


def test_a_file_that_is_not_there(folder: Folder) -> None:
    assert str(folder.path / "main.txt") in str(folder.refuse())


def test_a_url_is_not_read_and_shows_no_secret() -> None:
    with pytest.raises(RequirementError, match="is not there") as caught:
        read_requirements("https://user:secret@example.com/requirements.txt", environ={})
    assert "secret" not in str(caught.value)


def test_there_are_only_so_many_requirements(folder: Folder) -> None:
    assert "more than 100000 requirements" in str(folder.refuse("a\n" * 100_001))


def test_a_long_line_with_a_variable_gets_a_short_answer(folder: Folder) -> None:
    assert len(str(folder.refuse("a=>${X}" + "x" * 100_000, X="1"))) < 1000


def test_a_huge_file_is_not_read(folder: Folder) -> None:
    with (folder.path / "main.txt").open("wb") as file:
        file.truncate(17 * 2**20)
    assert "has more than" in str(folder.refuse())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
def test_a_fifo_is_not_opened(folder: Folder) -> None:
    os.mkfifo(folder.path / "main.txt")
    assert "is not a file" in str(folder.refuse())


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(folder: Folder) -> None:
    folder.write(main="flask")
    (folder.path / "main.txt").chmod(0)
    assert "cannot be read" in str(folder.refuse())


def standard_input(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_standard_input(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder.cwd / "nested.txt").write_text("rich")
    standard_input(monkeypatch, b"flask\n-r nested.txt\n./a")
    file = read_requirements("-", environ={}, cwd=folder.cwd)
    assert texts(file) == ["flask", "rich", "./a"]
    assert file.requirements[2].path == folder.cwd / "a"


def test_a_mistake_in_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    standard_input(monkeypatch, b"flask=>1")
    with pytest.raises(RequirementError, match=r"^<stdin>:1:6: "):
        read_requirements(Path("-"), environ={})


def test_without_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(RequirementError, match="no standard input"):
        read_requirements("-", environ={})
