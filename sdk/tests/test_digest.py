import hashlib
import struct

import pytest

from runyard.copying import copied
from runyard.digests import is_of_file, of_file
from runyard.hashing import Hashing
from runyard.protocol.digest import LARGE, PIECE


def by_hand(content):
    """The digest as the records in homes have it, written down a second time."""
    if len(content) < 8 * 1024 * 1024:
        return hashlib.sha256(content).hexdigest()
    return hashlib.blake2b(preimage(content), digest_size=32, person=b"runyard pieces 1").hexdigest()


def preimage(content):
    pieces = [content[start : start + 1024 * 1024] for start in range(0, len(content), 1024 * 1024)]
    return struct.pack("<Q", len(content)) + b"".join(hashlib.sha256(piece).digest() for piece in pieces)


def content_of(size):
    return (b"".join(struct.pack("<Q", number * 2654435761) for number in range(PIECE // 8)) * (size // PIECE + 1))[
        :size
    ]


def file_with(folder, content):
    path = folder / "file"
    path.write_bytes(content)
    return str(path)


def streamed(content, step):
    hashing = Hashing(len(content))
    for start in range(0, len(content), step):
        hashing.add(memoryview(content)[start : start + step])
    return hashing.digest()


@pytest.mark.parametrize("size", [0, 1, PIECE, LARGE - 1, LARGE, LARGE + 1, LARGE + PIECE, LARGE + PIECE + 7])
def test_a_content_has_one_digest_whoever_makes_it(tmp_path, size):
    content = content_of(size)
    path = file_with(tmp_path, content)
    assert of_file(path) == by_hand(content)
    assert {streamed(content, step) for step in (PIECE, 300_000, 3 * PIECE + 1)} == {by_hand(content)}


def test_the_name_of_a_large_content_is_fixed_for_ever(tmp_path):
    expected = "ec295861539564311115ca4767f4b78256e0b784d1c998778c1e5850a01ce77b"
    assert of_file(file_with(tmp_path, bytes(LARGE + 5))) == expected


def test_what_the_name_of_a_large_content_is_made_of_has_another_name(tmp_path):
    content = content_of(LARGE)
    assert of_file(file_with(tmp_path, preimage(content))) != by_hand(content)


def test_a_large_file_goes_by_the_sha256_of_before_too_and_a_small_one_by_nothing_else(tmp_path):
    content = content_of(LARGE)
    path = file_with(tmp_path, content)
    assert is_of_file(by_hand(content), path)
    assert is_of_file(hashlib.sha256(content).hexdigest(), path)
    assert not is_of_file(hashlib.sha256(content[1:]).hexdigest(), path)
    small = file_with(tmp_path, content[:-1])
    assert is_of_file(hashlib.sha256(content[:-1]).hexdigest(), small)
    assert not is_of_file(
        hashlib.blake2b(preimage(content[:-1]), digest_size=32, person=b"runyard pieces 1").hexdigest(), small
    )


# Bytes that come


def test_each_buffer_is_given_back_once_it_is_hashed():
    content, given_back = content_of(LARGE), []
    hashing = Hashing(len(content))
    for start in range(0, len(content), PIECE):
        buffer = bytearray(content[start : start + PIECE])

        def release(buffer=buffer):
            buffer[:] = bytes(len(buffer))  # as who reads the next bytes into it
            given_back.append(buffer)

        hashing.add(memoryview(buffer), release)
    assert hashing.digest() == by_hand(content)
    assert len(given_back) == LARGE // PIECE


@pytest.mark.parametrize("came", [0, LARGE - 1, LARGE + 1, LARGE + PIECE])
def test_what_is_not_what_was_announced_has_no_digest(came):
    hashing = Hashing(LARGE)
    hashing.add(memoryview(content_of(came)))
    assert hashing.digest() is None


def test_a_large_content_that_was_not_announced_has_no_digest():
    hashing = Hashing(0)
    hashing.add(memoryview(content_of(LARGE)))
    assert hashing.digest() is None


# Files that change


class Written:
    """What a copy wrote, and something that happens at its first write."""

    def __init__(self, then=lambda: None):
        self.bytes, self._then, self.moved = bytearray(), then, 0

    def __call__(self, view, offset):
        if len(self.bytes) < offset + len(view):
            self.bytes.extend(bytes(offset + len(view) - len(self.bytes)))
        self.bytes[offset : offset + len(view)] = view
        then, self._then = self._then, lambda: None
        then()

    def count(self, moved):
        self.moved += moved


@pytest.mark.parametrize("size", [3 * PIECE, LARGE, 2 * LARGE + 3])
def test_a_copy_has_the_bytes_that_were_hashed(tmp_path, size):
    content, written = content_of(size), Written()
    with open(file_with(tmp_path, content), "rb") as source:
        assert copied(source.fileno(), written, written.count) == (by_hand(content), size)
    assert (bytes(written.bytes), written.moved) == (content, size)


@pytest.mark.parametrize("left", [LARGE + 5, LARGE - 5, 0])
def test_a_file_that_gets_shorter_while_it_is_copied_is_begun_anew(tmp_path, left):
    content = content_of(4 * LARGE)
    path = file_with(tmp_path, content)
    with open(path, "r+b") as source:
        written = Written(lambda: source.truncate(left))
        assert copied(source.fileno(), written, written.count) == (by_hand(content[:left]), left)
    assert (bytes(written.bytes[:left]), written.moved) == (content[:left], left)


def test_a_file_that_grows_while_it_is_copied_is_taken_as_long_as_it_was(tmp_path):
    content = content_of(LARGE)
    with open(file_with(tmp_path, content), "r+b", buffering=0) as source:

        def grow():
            source.seek(0, 2)
            source.write(b"more")

        assert copied(source.fileno(), Written(grow)) == (by_hand(content), LARGE)


def test_no_more_is_read_than_asked_for(tmp_path):
    content = content_of(2 * LARGE)
    with open(file_with(tmp_path, content), "rb") as source:
        assert copied(source.fileno(), most_bytes=LARGE + 1) == (by_hand(content[: LARGE + 1]), LARGE + 1)
        assert copied(source.fileno(), most_bytes=1) == (by_hand(content[:1]), 1)


def test_a_copy_that_cannot_be_written_ends_all_its_threads_and_says_why(tmp_path):
    def full(_view, offset):
        if offset:
            raise OSError(28, "No space left on device")

    with open(file_with(tmp_path, content_of(2 * LARGE)), "rb") as source:
        with pytest.raises(OSError, match="No space left"):
            copied(source.fileno(), full)
    assert hashers() == []


# Systems


def hashers():
    import threading

    return [thread for thread in threading.enumerate() if thread.name == "runyard-hash"]


def test_a_system_that_reads_at_no_offset_hashes_the_same(tmp_path, monkeypatch):
    content = content_of(LARGE + 9)
    monkeypatch.delattr("os.preadv")
    assert of_file(file_with(tmp_path, content)) == by_hand(content)


def test_who_may_start_no_thread_hashes_without(tmp_path, monkeypatch):
    def refused(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Thread.start", refused)
    content = content_of(LARGE + 9)
    assert of_file(file_with(tmp_path, content)) == by_hand(content)
    assert streamed(content, PIECE) == by_hand(content)
