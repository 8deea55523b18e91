"""Hashing bytes as they pass, and comparing with what was promised."""

from __future__ import annotations

import hashlib

import pytest

from felloe.errors import HashMismatchError
from felloe.hashing import CHUNK, KNOWN, Hashing, check_digests, digests_of_file

DATA = b"felloe" * 1000


def digests_of(*pieces, algorithms=()):
    hashing = Hashing(algorithms)
    for piece in pieces:
        hashing.update(piece)
    return hashing.digests()


@pytest.mark.parametrize("pieces", [[DATA], [DATA[:1], DATA[1:], b""], [bytes([byte]) for byte in DATA]])
def test_pieces_do_not_matter(pieces):
    assert digests_of(*pieces) == {"sha256": hashlib.sha256(DATA).hexdigest()}


@pytest.mark.parametrize("algorithm", sorted(KNOWN))
def test_every_algorithm_that_every_python_has(algorithm):
    digests = digests_of(DATA, algorithms=[algorithm])

    assert digests[algorithm] == hashlib.new(algorithm, DATA).hexdigest()
    assert set(digests) == {"sha256", algorithm}


@pytest.mark.parametrize("unknown", [["shake_128"], ["crc32", ""], ["SHA256"], ["sha256 "], ["../etc"]])
def test_unknown_algorithms_are_left_out(unknown):
    assert list(digests_of(DATA, algorithms=unknown)) == ["sha256"]


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1])
def test_file(tmp_path, size):
    (tmp_path / "file").write_bytes(b"x" * size)

    assert digests_of_file(tmp_path / "file", ["md5"]) == digests_of(b"x" * size, algorithms=["md5"])


def test_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        digests_of_file(tmp_path / "file")


@pytest.mark.parametrize(
    ("digests", "expected"),
    [
        ({"sha256": "a"}, {"sha256": "a"}),
        ({"sha256": "a", "md5": "b"}, {"md5": "b"}),
        ({"sha256": "a"}, {}),
        ({"sha256": "a"}, {"crc32": "of no meaning"}),
    ],
)
def test_agreeing_digests(digests, expected):
    assert check_digests("`a.whl`", digests, expected) is None


@pytest.mark.parametrize(
    ("digests", "expected", "named"),
    [
        ({"sha256": "a"}, {"sha256": "b"}, "sha256"),
        ({"sha256": "a", "md5": "c"}, {"sha256": "a", "md5": "d"}, "md5"),
        ({"sha256": "a", "md5": "c", "sha1": "e"}, {"sha256": "b", "sha1": "f", "md5": "d"}, "md5"),
        ({"sha256": "a"}, {"sha256": ""}, "sha256"),
    ],
)
def test_other_digests_are_an_error_that_says_both(digests, expected, named):
    with pytest.raises(HashMismatchError) as caught:
        check_digests("`a.whl`", digests, expected)

    error = caught.value
    assert str(error) == f"`a.whl` has the {named} `{digests[named]}`, not `{expected[named]}`"
    assert error.payload == {"file": "`a.whl`", "expected": expected[named], "actual": digests[named]}
    assert error.hint
