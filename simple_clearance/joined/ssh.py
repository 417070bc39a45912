"""`--host`: a session on another machine, over ssh, with nothing installed there.

The archive that this program runs from goes first over ssh's stdin, packed, and the answers follow.  There
a few lines read so many bytes, unpack them into a file that is in memory alone (memfd_create(2)), and become
the program in it.
The awkward fact: what that starts later has to find it, too.  So its path is the one below the session's own
process, which others of the same user may open as long as that runs.
"""

from __future__ import annotations

import re
import shlex
import zlib

from ..base.errors import CANNOT_START, USAGE, Refused
from ..system import archived
from .link import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

    from ..base.options import Options

HOST = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.+-]*@)?([A-Za-z0-9_][A-Za-z0-9_.:-]*)")
CONTAINER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")

KEEP_ALIVE = ("-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3", "-o", "ConnectTimeout=20")
"""A way that is gone is noticed within 45 seconds; of a quiet one these are the only bytes."""
PLAIN = ("-T", "-e", "none", "-o", "ForwardX11=no", "-o", "ForwardAgent=no", "-o", "PermitLocalCommand=no")
HINT = "without a terminal, ssh %s true has to ask nothing: a key or an agent, and a known host key"

BOOTSTRAP = """\
import os,sys,zlib
v=sys.version_info[:2]
if v<(3,8):sys.exit("simple-clearance: needs Python 3.8 or later, this is %d.%d"%v)
n,f,z=int(sys.argv[1]),os.memfd_create("simple-clearance"),zlib.decompressobj()
while n:
 d=os.read(0,min(n,1<<16))
 if not d:sys.exit("simple-clearance: the link ended before the program was there")
 n-=len(d)
 d=z.decompress(d)
 while d:d=d[os.write(f,d):]
os.set_inheritable(f,True)
os.execv(sys.executable,[sys.executable,"-I","-S","/proc/%d/fd/%d"%(os.getpid(),f)]+sys.argv[2:])
"""

# ssh asks in our foreground job, and stays in it: Ctrl-C and Ctrl-Z there are for us alone.
ASKING = ("sh", "-c", "trap '' INT QUIT TSTP; exec \"$@\"", "sh")


def sessions(options: Options, may_ask: bool) -> dict[str, Command]:
    """The sessions of `--host`, one for each machine, by its name.  Refused (2) for what is no host."""
    return _commands(options, ["--json", *_passed_on(options)], may_ask)


def checks(options: Options, may_ask: bool) -> dict[str, Command]:
    """The same for `--check`."""
    words = ["--check", *["--json"] * options.json, *["--ignore-hub"] * options.ignore_hub]
    return _commands(options, [*words, *_shield(options)], may_ask)


def _commands(options: Options, words: Sequence[str], may_ask: bool) -> dict[str, Command]:
    machines = _machines(options)
    archive = zlib.compress(program()) if machines else b""
    found = {}
    for name, (destination, containers) in machines.items():
        wanted = [*words, *(containers if containers != [""] else ["--all"])]
        asking = (*ASKING, *ssh(destination, wanted, len(archive), batch=False)) if may_ask else ()
        batch = ssh(destination, wanted, len(archive), batch=True)
        found[name] = Command(batch, archive, asking, HINT % destination, "ssh %s " % destination)
    return found


def _machines(options: Options) -> dict[str, tuple[str, list[str]]]:
    """By its name, what ssh calls a machine, and the containers there: "" alone for all of them."""
    machines: dict[str, tuple[str, list[str]]] = {}
    for text in options.hosts:
        destination, _, container = text.partition("/")
        found = HOST.fullmatch(destination)
        if found is None or text.endswith("/") or (container and CONTAINER.fullmatch(container) is None):
            raise Refused(USAGE, "--host %r: no such host" % text, "--host [USER@]HOST[/CONTAINER]")
        known, containers = machines.setdefault(found.group(1), (destination, []))
        all_of_it = "" in (container, *containers)
        if known != destination or container in containers or (containers and all_of_it):
            hint = "name a machine once, or each of its containers once"
            raise Refused(USAGE, "--host: %s is named twice" % found.group(1), hint)
        containers.append(container)
    return machines


def _passed_on(options: Options) -> list[str]:
    """What holds there, too."""
    words = ["--verdict-timeout", "%g" % options.verdict_timeout]
    words += ["--follow"] * options.follow + ["--take-over"] * options.take_over
    words += ["--ignore-hub"] * options.ignore_hub + ["--dry-run"] * (not options.decides)
    return words + _shield(options)


def _shield(options: Options) -> list[str]:
    return ["--shield", options.shield_command] if options.shield != ["terok-shield"] else []


def ssh(destination: str, words: Sequence[str], size: int, *, batch: bool) -> list[str]:
    """The command line that runs this program there with these words, once it has been read from stdin."""
    there = ["exec", "python3", "-I", "-S", "-c", BOOTSTRAP, str(size), *words]
    mode = ("-o", "BatchMode=yes") if batch else ()
    return ["ssh", *PLAIN, *KEEP_ALIVE, *mode, "--", destination, " ".join(map(shlex.quote, there))]


def program() -> bytes:
    """The archive: the file that we run from, or one made of this checkout."""
    path = archived.path()
    try:
        if path:
            with open(path, "rb") as file:
                return file.read()
        return archived.packed()
    except OSError as error:
        raise Refused(CANNOT_START, "%s: %s" % (path or "this checkout", error.strerror)) from None
