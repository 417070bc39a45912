"""Which Unix sockets listen in our network namespace, as the kernel tells by sock_diag(7).

The awkward fact: /proc/net/unix tells it, too, but with the names as they are, newlines included:
whoever may bind a socket can put lines of his own there.  A kernel without CONFIG_UNIX_DIAG tells
nothing.
"""

from __future__ import annotations

import _socket
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

AF_NETLINK, NETLINK_SOCK_DIAG = 16, 4  # linux/socket.h, linux/netlink.h
SOCK_DIAG_BY_FAMILY = 20  # linux/sock_diag.h
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST_DUMP = 0x301
TCP_LISTEN = 10  # net/tcp_states.h
UDIAG_SHOW_NAME, UNIX_DIAG_NAME = 1, 0  # linux/unix_diag.h

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_REQUEST = struct.Struct("=BBHIIIQ")  # unix_diag_req: family, protocol, -, states, inode, show, cookie
_MESSAGE = struct.Struct("=BBBBIQ")  # unix_diag_msg: family, type, state, -, inode, cookie
_ATTRIBUTE = struct.Struct("=HH")  # nlattr: length, type
_ANSWER = 1 << 16  # bytes; the kernel sends 32 KiB at most


def unix_listeners() -> Iterator[tuple[str, int]]:
    """(path, inode) of each Unix socket that listens under a path; one without a file has none.

    The path is the one it was bound to: the file there may be gone, or another's by now.
    """
    request = _REQUEST.pack(_socket.AF_UNIX, 0, 0, 1 << TCP_LISTEN, 0, UDIAG_SHOW_NAME, 0)
    header = _HEADER.pack(_HEADER.size + len(request), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST_DUMP, 1, 0)
    try:
        kernel = _socket.socket(AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG)
    except OSError:
        return
    try:
        kernel.send(header + request)
        while True:
            data = kernel.recv(_ANSWER)
            for kind, body in _split(data, _HEADER):
                if kind in (NLMSG_DONE, NLMSG_ERROR):
                    return
                inode = _MESSAGE.unpack_from(body)[4]
                for attribute, name in _split(body[_MESSAGE.size :], _ATTRIBUTE):
                    if attribute == UNIX_DIAG_NAME and name[:1] == b"/":
                        yield os.fsdecode(name.rstrip(b"\0")), inode
            if not data:
                return
    except (OSError, struct.error):
        return
    finally:
        kernel.close()


def _split(data: bytes, header: struct.Struct) -> Iterator[tuple[int, bytes]]:
    """(type, payload) of each message or attribute, which are padded to 4 bytes."""
    at = 0
    while at + header.size <= len(data):
        length, kind = header.unpack_from(data, at)[:2]
        if length < header.size:
            return
        yield kind, data[at + header.size : at + length]
        at += length + 3 & ~3
