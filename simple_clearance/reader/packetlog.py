"""The packet log of the network namespace that this process is in: the netlink socket.

Owns the socket and the count of what the kernel could not deliver; what the bytes mean is in
`formats/nflog`.  The awkward fact: a second listener is refused with the errno of a missing
capability, so only the kernel's own table tells the two apart.
"""

from __future__ import annotations

import errno
import os
import socket

from ..base.errors import AS_WHOM, CANNOT_START, FORBIDDEN, Refused
from ..base.text import printable
from ..formats import forking, nflog
from ..system import processes

SO_RCVBUFFORCE = 33  # asm-generic/socket.h: not in Python

NOT_THERE = (errno.EINVAL, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT)
"""What the kernel answers without nfnetlink_log; without nfnetlink; without netlink."""

RECEIVE_BUFFER = 16 << 20  # bytes the kernel keeps for us where it may; a stock limit is 0.2 MB
DATAGRAM = 1 << 18  # NLBUFSIZ as the kernel's allocator rounds it up, with room


class GroupHeld(Refused):
    """The process `pid` holds the NFLOG group."""

    def __init__(self, pid: int, message: str, *hints: str) -> None:
        super().__init__(CANNOT_START, message, *hints)
        self.pid = pid


class PacketLog:
    """The netlink socket, bound to the NFLOG group of the namespace that this process is in."""

    def __init__(self) -> None:
        try:
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, nflog.NETLINK_NETFILTER
            )
        except OSError as problem:
            raise _no_nflog("netlink socket", problem) from problem
        self._sequence = nflog.Sequence()
        self._early: list[bytes] = []
        self._overrun = self._told_ahead = 0
        self.missing = 0
        self._enlarge()
        self._bind()

    def close(self) -> None:
        """Gives the group back."""
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def _enlarge(self) -> None:
        for option in (SO_RCVBUFFORCE, socket.SO_RCVBUF):
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, option, RECEIVE_BUFFER)
                return
            except OSError:
                pass  # the first is for the host's root alone; what overruns is counted either way

    def _bind(self) -> None:
        try:
            self._socket.sendto(nflog.bind_request(), (0, 0))
            answer = self._acknowledgement()
        except OSError as problem:
            raise _no_nflog("nflog bind", problem) from problem
        holder = group_holder() if answer in (errno.EPERM, errno.EBUSY) else None
        if holder is not None:
            raise _taken(holder)
        if answer:
            raise _no_nflog("nflog bind", OSError(answer, os.strerror(answer)))

    def _acknowledgement(self) -> int:
        """The kernel's answer, an errno or 0.  It is there by now, perhaps behind packets, or was dropped."""
        while True:
            try:
                datagram, sender = self._socket.recvfrom(DATAGRAM, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return 0 if group_holder() == self._socket.getsockname()[0] else errno.ENOBUFS
            except OSError as problem:
                if problem.errno != errno.ENOBUFS:  # netlink(7): the buffer was full, which is only a loss
                    raise
                self._overrun = 1
                continue
            answer = nflog.acknowledged(datagram)
            if sender[0] == 0 and answer is not None:
                return answer
            if sender[0] == 0:
                self._early.append(datagram)

    def receive(self) -> nflog.Batch | None:
        """The next datagram's packets, None when there is none; what was lost before it is in `missing`."""
        while True:
            if self._early:
                return self._counted(nflog.parse(self._early.pop(0)))
            try:
                datagram, sender = self._socket.recvfrom(DATAGRAM, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return None
            except InterruptedError:
                continue
            except OSError as problem:
                if problem.errno != errno.ENOBUFS:  # netlink(7): the buffer was full
                    raise
                self._overrun = 1
                continue
            if sender[0] == 0:  # from the kernel, not from a process that found our address
                return self._counted(nflog.parse(datagram))

    def _counted(self, batch: nflog.Batch) -> nflog.Batch:
        missing = self._sequence.missing(batch)
        if missing:
            self.missing += max(0, missing - self._told_ahead)
            self._overrun = self._told_ahead = 0
        return batch

    def take_missing(self) -> int:
        """How many packets the kernel dropped since the last call.

        Right after an overrun the numbers don't show it yet: then it is 1, put right later.
        """
        if self._overrun and not self.missing:
            self.missing = 1
            self._told_ahead += 1
        self._overrun = 0
        missing, self.missing = self.missing, 0
        return missing

    @property
    def lossy(self) -> bool:
        return bool(self.missing or self._overrun)


def group_holder() -> int | None:
    """The port id (normally the pid) of whoever holds the group in this process's namespace; None if free.

    From nfnetlink_log's table in /proc/net: group, portid, queue length, copy mode, …
    """
    try:
        with open("/proc/self/net/netfilter/nfnetlink_log") as table:
            for line in table:
                columns = line.split()
                if len(columns) > 1 and columns[0] == str(nflog.GROUP):
                    return int(columns[1])
    except (OSError, ValueError):
        pass  # then nobody can tell it from a missing permission
    return None


def _taken(holder: int) -> Refused:
    if processes.owner(holder) < 0:  # in another pid namespace, or gone by now
        return Refused(
            CANNOT_START,
            "NFLOG group %d is held by port id %d" % (nflog.GROUP, holder),
            "end the other program that reads this container's packet log",
        )
    hints = [
        "see what it is with ps -fp %d; one program at a time can read a container's packet log" % holder
    ]
    if {b"--as-reader", forking.ROLE.encode()} & set(processes.words(holder)):
        hints.append("it belongs to another session of simple-clearance: answer there, or end that one first")
    name = printable(processes.name(holder))
    return GroupHeld(holder, "NFLOG group %d is held by pid %d (%s)" % (nflog.GROUP, holder, name), *hints)


def _no_nflog(operation: str, problem: OSError) -> Refused:
    text = f"{operation}: {problem.strerror}"
    if problem.errno in (errno.EPERM, errno.EACCES):
        return Refused(CANNOT_START, text, AS_WHOM, FORBIDDEN)
    if problem.errno in NOT_THERE:
        text = "this kernel has no packet log: " + text
    return Refused(CANNOT_START, text, "load it with modprobe nfnetlink_log, as root")
