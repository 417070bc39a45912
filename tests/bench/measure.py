"""What the benches share: the figures of a process, the bare interpreter to set them against, an archive.

CPU is user and system time.  MB are 2^20 bytes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zipfile
from typing import Iterable

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

_MEMORY = "print(next(line for line in open('/proc/self/status') if line.startswith('VmRSS')).split()[1])"


def clean(python: str, folder: str) -> str:
    """This Python as it is installed, in an empty virtual environment that is made in `folder`.

    Else the bare interpreter imports at its start what this machine has in its site-packages, which
    may take longer than all the rest.
    """
    path = os.path.join(folder, "python-" + version(python))
    subprocess.run([python, "-m", "venv", "--without-pip", path], check=True)
    return os.path.join(path, "bin", "python")


def version(python: str) -> str:
    """`3.12.1`."""
    done = subprocess.run([python, "-V"], stdout=subprocess.PIPE, check=True)
    return done.stdout.decode().split()[1]


def built(python: str, folder: str) -> str:
    """The path of an archive in `folder` that this Python has built."""
    path = os.path.join(folder, "simple-clearance-%s.pyz" % version(python))
    subprocess.run([python, os.path.join(ROOT, "build_zipapp.py"), "-o", path], check=True)
    return path


def of_sources(archive: str) -> str:
    """The path of the same archive as a version has it that it was not built for: without compiled forms."""
    path = archive + ".sources"
    with zipfile.ZipFile(archive) as whole, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as rest:
        for name in whole.namelist():
            if not name.startswith("cp"):
                rest.writestr(name, whole.read(name))
    return path


def cpu(argv: list[str]) -> float:
    """Milliseconds of CPU that one run takes, from exec to exit."""
    pid = os.posix_spawn(
        argv[0],
        argv,
        {"PATH": os.defpath, "LANG": "C.UTF-8"},
        file_actions=[(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in range(3)],
    )
    _, status, usage = os.wait4(pid, 0)
    if status:
        sys.exit("%s: status %d" % (" ".join(argv), status))
    return 1000 * (usage.ru_utime + usage.ru_stime)


def bare(python: str) -> list[str]:
    """The interpreter that does nothing, for `cpu`."""
    return [python, "-c", "pass"]


def bare_memory(python: str) -> float:
    """MB resident of the interpreter that does nothing."""
    done = subprocess.run([python, "-c", _MEMORY], stdout=subprocess.PIPE, check=True)
    return int(done.stdout) / 1024


def on_cpu(pid: int) -> float:
    """Milliseconds of CPU of a process of one thread (proc(5), schedstat); exact while it sleeps."""
    with open("/proc/%d/schedstat" % pid) as f:
        return int(f.read().split()[0]) / 1e6


def memory(pid: int, key: str = "VmRSS") -> float:
    """MB resident (proc(5), status); `VmHWM`: the most there ever were."""
    with open("/proc/%d/status" % pid) as f:
        return next(int(line.split()[1]) for line in f if line.startswith(key + ":")) / 1024


def shared_out(pid: int) -> float:
    """MB that are its own, and its part of what it shares with others (proc(5), smaps_rollup, Pss)."""
    with open("/proc/%d/smaps_rollup" % pid) as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Pss:")) / 1024


def private(pid: int) -> float:
    """MB resident that it shares with nobody."""
    with open("/proc/%d/smaps_rollup" % pid) as f:
        return sum(int(line.split()[1]) for line in f if line.startswith("Private_")) / 1024


def switches(pid: int) -> int:
    """How often it has been taken off a processor: once each time that it woke up, or more."""
    with open("/proc/%d/status" % pid) as f:
        return sum(int(line.split()[1]) for line in f if "_ctxt_switches:" in line)


def wake_ups(pids: Iterable[int], seconds: float) -> list[int]:
    """How often each of them woke up in this time."""
    before = {pid: switches(pid) for pid in pids}
    time.sleep(seconds)
    return [switches(pid) - number for pid, number in before.items()]


def percentile(values: Iterable[float], share: float) -> float:
    """The value that this share of them (0 to 1) does not exceed."""
    ordered = sorted(values)
    return ordered[int(share * (len(ordered) - 1))]
