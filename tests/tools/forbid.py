"""Runs a command that some system calls fail in, as a security module or a smaller kernel lets them fail.

forbid.py setns=EACCES socket,0=16,2=12=EPROTONOSUPPORT COMMAND ...

`,2=12`: only where its third argument is 12.  A filter of seccomp(2), which whatever it starts has, too.
"""

import ctypes
import errno
import os
import platform
import re
import struct
import sys

NUMBERS = {  # asm/unistd.h
    "x86_64": {"setns": 308, "socket": 41, "sendto": 44, "flock": 73, "fcntl": 72},
    "aarch64": {"setns": 268, "socket": 198, "sendto": 206, "flock": 32, "fcntl": 25},
}[platform.machine()]
RULE = re.compile(r"([a-z]+)((?:,\d=\d+)*)=(E[A-Z]+)")
LOAD, UNLESS, RETURN = 0x20, 0x15, 0x06  # linux/bpf_common.h: LD|W|ABS, JMP|JEQ|K, RET|K
ALLOW, ERRNO = 0x7FFF0000, 0x00050000  # linux/seccomp.h: SECCOMP_RET_*
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, FILTER = 22, 38, 2


def rule(text):
    """Instructions (code, jump if equal, jump if not, operand) that fall through where it does not apply."""
    name, arguments, error = RULE.fullmatch(text).groups()
    wanted = [(0, NUMBERS[name])]  # offsets in struct seccomp_data
    for argument in arguments.split(",")[1:]:
        index, value = map(int, argument.split("="))
        wanted.append((16 + 8 * index, value))
    found = []
    for at, (offset, value) in enumerate(wanted):
        found += [(LOAD, 0, 0, offset), (UNLESS, 0, 2 * (len(wanted) - at) - 1, value)]
    return [*found, (RETURN, 0, 0, ERRNO | getattr(errno, error))]


def main(words):
    rules = []
    while RULE.fullmatch(words[0]):
        rules += rule(words.pop(0))
    rules.append((RETURN, 0, 0, ALLOW))
    code = b"".join(struct.pack("=HBBI", *each) for each in rules)
    kept = ctypes.create_string_buffer(code)
    program = struct.pack("@HP", len(rules), ctypes.addressof(kept))
    libc = ctypes.CDLL(None, use_errno=True)
    for call in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, FILTER, program, 0, 0)):
        if libc.prctl(*call):
            sys.exit("prctl: " + os.strerror(ctypes.get_errno()))
    os.execvp(words[0], words)


main(sys.argv[1:])
