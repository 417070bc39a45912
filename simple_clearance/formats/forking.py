"""What the session and the forkserver of its readers tell each other, in packets on a socket between them.

session -> forkserver   number, START, the container's name; with it the reader's socket and the namespace
session -> forkserver   number, a signal for the reader of that number
forkserver -> session   number, what the reader ended with, the end of what it said on its stderr
"""

from __future__ import annotations

from struct import Struct

ROLE = "--as-forkserver"

START = 0  # where another request has the number of a signal
PASSED = 2  # descriptors that come with START
MOST_NAME = 1 << 14  # bytes
MOST_SAID = 1 << 13  # bytes

_REQUEST = Struct("=II")
_ENDED = Struct("=Ii")

REQUEST_SIZE = _REQUEST.size + MOST_NAME  # bytes at most
ENDED_SIZE = _ENDED.size + MOST_SAID


def request(number: int, what: int, name: bytes = b"") -> bytes:
    return _REQUEST.pack(number, what) + name


def parse_request(data: bytes | bytearray | memoryview) -> tuple[int, int]:
    """The number, and START or a signal.  The name comes after the first `NAME_AT` bytes."""
    number, what = _REQUEST.unpack_from(data)
    return number, what


NAME_AT = _REQUEST.size


def ended(number: int, status: int, said: bytes) -> bytes:
    """`status` is an exit code, or minus a signal."""
    return _ENDED.pack(number, status) + said[-MOST_SAID:]


def parse_ended(data: bytes) -> tuple[int, int, bytes]:
    number, status = _ENDED.unpack_from(data)
    return number, status, data[_ENDED.size :]
