"""What every test may use: the checkout's places, this machine's Pythons, waiting for a condition."""

from __future__ import annotations

import gc
import glob
import os
import subprocess
import sys
import time
import zipfile
from types import FrameType
from typing import Any, Callable, Sequence, TypeVar

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOOLS = os.path.join(ROOT, "tests", "tools")
PATIENCE = 60.0
"""Seconds until what has to come counts as not coming: many times what it takes, on any machine."""

T = TypeVar("T")


# --- waiting


def eventually(condition: Callable[[], T], timeout: float = PATIENCE, what: str = "") -> T:
    """The first true value of `condition()`; AssertionError, naming `what`, after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError("not within %g s: %s" % (timeout, what or condition))
        time.sleep(0.01)


def comes_to_rest(pids: Sequence[int], seconds: float = 1.5) -> None:
    """Waits until these processes have slept that long without waking; AssertionError when they never do.

    A tick that is due within that time would be seen in each try.
    """

    def switches() -> list[str]:
        found = []
        for pid in pids:
            with open("/proc/%d/status" % pid) as status:
                found += [line for line in status if "ctxt_switches" in line]
        return found

    def rests() -> bool:
        before = switches()
        time.sleep(seconds)
        return switches() == before

    eventually(rests, what="%g s without waking" % seconds)


# --- work that grows


def grows_evenly(prepare: Callable[[int], Callable[[], object]], number: int) -> bool:
    """Whether work that is prepared for a number runs eight times the lines for eight times that, not 64.

    Lines of Python are counted, not seconds, so that it is the same on any machine. What one built-in does
    (a list that is searched) counts as its line alone: that is for the benchmarks.
    """

    def cost(size: int) -> int:
        return lines_run(prepare(size))

    return cost(8 * number) < 12 * cost(number)


def lines_run(work: Callable[[], object]) -> int:
    """How many lines of Python that runs, each turn of a loop counted anew.

    Not those of who wants to be told of a collection of garbage, which Hypothesis does.
    """
    count = 0

    def trace(_frame: FrameType, event: str, _arg: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before, collects = sys.gettrace(), gc.isenabled()
    gc.disable()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
        if collects:
            gc.enable()
    return count


# --- which tests run


def thorough(*values: object) -> list[Any]:
    """Parameters that the usual run leaves out."""
    return [pytest.param(value, marks=pytest.mark.thorough) for value in values]


# --- the archive


def with_a_fault(pyz: str, path: str, module: str, code: str) -> str:
    """The archive again at `path`, with `code` at the end of `module` (room/name) and nothing compiled."""
    with zipfile.ZipFile(pyz) as good, zipfile.ZipFile(path, "w") as bad:
        for item in good.infolist():
            data = good.read(item)
            if item.filename == "simple_clearance/%s.py" % module:
                data += code.encode()
            if not item.filename.startswith("cp"):
                bad.writestr(item, data)
    return path


# --- the Pythons of this machine


class Python:
    """An interpreter: `path`, `version` as a tuple of three, `name` as `3.12.1`."""

    __slots__ = ("name", "path", "version")

    def __init__(self, path: str, version: tuple[int, ...]) -> None:
        self.path = path
        self.version = version
        self.name = ".".join(map(str, version))

    def __repr__(self) -> str:
        return "Python %s at %s" % (self.name, self.path)


# Python 2 too.  Of a virtual environment it names the interpreter below.
_ASK = (
    "import os, sys; print('%d.%d.%d' % sys.version_info[:3]);"
    "print(os.path.realpath(getattr(sys, '_base_executable', None) or sys.executable))"
)


def find_pythons() -> list[Python]:
    """Every CPython here, oldest first: pyenv's, and what PATH has; each once."""
    roots = [os.environ.get("PYENV_ROOT", ""), os.path.expanduser("~/.pyenv")]
    found = [sys.executable]
    for root in filter(None, roots):
        found += glob.glob(os.path.join(root, "versions", "*", "bin", "python"))
    for folder in [*os.environ.get("PATH", os.defpath).split(":"), "/usr/bin"]:
        if not folder.endswith("/shims"):  # they only stand for those already found
            found += glob.glob(os.path.join(folder, "python[23]")) + glob.glob(
                os.path.join(folder, "python[23].[0-9]*[0-9]")
            )
    pythons: dict[str, Python] = {}
    for path in dict.fromkeys(map(os.path.abspath, found)):
        try:
            done = subprocess.run(
                [path, "-c", _ASK],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=PATIENCE,
                check=True,
            )
            version, real = done.stdout.decode().split("\n")[:2]
        except (OSError, subprocess.SubprocessError, ValueError):
            continue
        # Below a virtual environment `realpath` may already be the base; the same file counts once.
        pythons.setdefault(real, Python(real, tuple(map(int, version.split(".")))))
    return sorted(pythons.values(), key=lambda python: (python.version, python.path))


def is_running(python: Python) -> bool:
    """Is it the one that runs the tests, by itself or below their virtual environment?"""
    return python.path == os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def _of_this_machine() -> list[Python]:
    """Each is started once for a run, not once for each of its workers: they inherit what was found."""
    if _FOUND not in os.environ:
        lines = ["%s %s" % (python.name, python.path) for python in find_pythons()]
        os.environ[_FOUND] = "\n".join(lines)
    found = [line.split(" ", 1) for line in os.environ[_FOUND].splitlines()]
    return [Python(path, tuple(map(int, name.split(".")))) for name, path in found]


_FOUND = "SIMPLE_CLEARANCE_TESTS_FOUND_PYTHONS"
ALL_PYTHONS = _of_this_machine()
PYTHONS = [python for python in ALL_PYTHONS if python.version >= (3, 8)]
OLD_PYTHONS = [python for python in ALL_PYTHONS if python.version < (3, 8)]
SOME_PYTHONS = list(dict.fromkeys([*filter(is_running, PYTHONS), PYTHONS[0], PYTHONS[-1]]))
"""The one that runs the tests, the oldest and the newest: what differs differs there."""
