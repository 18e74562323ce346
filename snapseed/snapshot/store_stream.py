"""Read an object of a bucket in ranges: the pieces that are asked for, or all of it, ahead of the reader and hashed.

In the second case, no byte is read twice, so what was read is what was hashed.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

from snapseed.snapshot.manifest import LFS_POINTER, StoredFile

# The end of a file, where the footer is, comes first. It also has all of a small file.
TAIL_BYTES = 1 << 18
# Large enough to make the time to the first byte negligible; a few at once fill the line.
_BLOCK_BYTES = 4 << 20
_AHEAD = 3
# Blocks that may be kept out of order: a longer footer. Files that snapseed writes have their chunks in order.
_MOST_OUT_OF_ORDER = 8

Fetch = Callable[[int, int], memoryview]


class PieceReader(io.RawIOBase):
    """A file of `size` bytes, of which `tail` is the end; `fetch(start, end)` gets a range of it."""

    def __init__(self, fetch: Fetch, size: int, tail: memoryview) -> None:
        """Nothing is read yet."""
        self._fetch, self._size, self._tail = fetch, size, tail
        self._body = size - len(tail)
        self._position = self._window_start = 0
        self._window = memoryview(b"")

    def readable(self) -> bool:
        """Yes, and seekable too."""
        return True

    seekable = readable

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position; nothing is read yet."""
        self._position = offset + (0, self._position, self._size)[whence]
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def read(self, size: int = -1) -> bytes:
        """All that was asked for, up to the end."""
        end = self._size if size < 0 else min(self._size, self._position + size)
        pieces = []
        while self._position < end:
            inside = self._position - self._body
            piece = self._tail[inside : end - self._body] if inside >= 0 else self._piece(self._position, end)
            pieces.append(piece)
            self._position += len(piece)
        return b"".join(pieces)

    def _piece(self, start: int, end: int) -> memoryview:
        """What follows `start`, up to `end` or the end of what was fetched."""
        if not self._window_start <= start < self._window_start + len(self._window):
            last = min(max(end, start + TAIL_BYTES), self._body)
            self._window, self._window_start = self._fetch(start, last), start
        return self._window[start - self._window_start : end - self._window_start]


class WholeReader(PieceReader):
    """A file that is read from beginning to end, and what comes before `drop_before` is freed.

    Raises `ValueError` if it is read in another order.
    """

    def __init__(self, fetch: Fetch, size: int, tail: memoryview, *, block_bytes: int = _BLOCK_BYTES) -> None:
        """Blocks are fetched from the first read on."""
        super().__init__(fetch, size, tail)
        self._blocks: dict[int, Future[memoryview]] = {}
        self._block_bytes, self._count = block_bytes, -(-self._body // block_bytes)
        self._asked = self._hashed = 0
        self._digest = hashlib.sha256()
        self._threads = ThreadPoolExecutor(_AHEAD, thread_name_prefix="read ahead")

    def drop_before(self, position: int) -> None:
        """Free what comes before this position."""
        first = min(position // self._block_bytes, self._count)
        while self._hashed < first:
            self._digest.update(self._block(self._hashed))
            self._hashed += 1
        for number in [number for number in self._blocks if number < first]:
            del self._blocks[number]

    def digest(self) -> str:
        """Read what is left, and give the SHA-256 of the whole file."""
        for number in range(self._hashed, self._count):
            self.drop_before((number + 1) * self._block_bytes)
        self._digest.update(self._tail)
        return self._digest.hexdigest()

    def close(self) -> None:
        """Stop reading ahead."""
        self._threads.shutdown(cancel_futures=True)
        self._blocks.clear()
        super().close()

    def _piece(self, start: int, end: int) -> memoryview:
        """What follows `start`, up to `end` or the end of its block."""
        number, offset = divmod(start, self._block_bytes)
        return self._block(number)[offset : offset + end - start]

    def _block(self, number: int) -> memoryview:
        """A block, and the next ones are asked for. Raises `ValueError` if it was freed."""
        if number <= self._asked + _AHEAD:
            for each in range(self._asked, min(number + _AHEAD + 1, self._count)):
                self._ask(each)
                self._asked = each + 1
        elif sum(each > self._asked for each in self._blocks) < _MOST_OUT_OF_ORDER:
            self._ask(number)
        if number not in self._blocks:
            raise ValueError("the chunks are not in the order of the file")
        return self._blocks[number].result()

    def _ask(self, number: int) -> None:
        """Have a block fetched, once."""
        if number not in self._blocks:
            start = number * self._block_bytes
            self._blocks[number] = self._threads.submit(self._fetch, start, min(start + self._block_bytes, self._body))


def digest_problem(stream: BinaryIO | WholeReader, file: StoredFile) -> str | None:
    """What is wrong with the SHA-256 of what is left in the stream, in words."""
    if isinstance(stream, WholeReader):
        found = stream.digest()
    else:
        digest, left = hashlib.sha256(), file.bytes
        while left and (data := stream.read(min(left, 1 << 20))):
            digest.update(data)
            left -= len(data)
        found = digest.hexdigest()
    return None if found == file.sha256 else f"altered: SHA-256 is {found}, expected {file.sha256}"


def length_problem(stream: BinaryIO, file: StoredFile) -> str | None:
    """What is wrong with the length of a file that was just opened, in words."""
    if stream.read(len(LFS_POINTER)) == LFS_POINTER:
        return "only a Git LFS pointer, not the data; run `git lfs pull`"
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    return None if size == file.bytes else f"has {size} bytes, expected {file.bytes}: truncated or altered"
