"""The pure modules stay pure, and nothing outside the standard library is imported."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from pathlib import Path

from support import ROOT

PACKAGE = Path(ROOT, "simple_clearance")
MODULES = {path.stem: ast.parse(path.read_text()) for path in sorted(PACKAGE.glob("*.py"))}

# Bytes or values in, values out: these know no clock, no descriptor and no environment.
PURE = {
    "errors",
    "addresses",
    "nflog",
    "happenings",
    "jsonlines",
    "readerline",
    "dnslog",
    "dbus",
    "dbuswire",
    "policy",
    "audit",
    "docket",
    "verdict",
    "keys",
    "screen",
    "layout",
    "prompt",
}
IMPURE = {
    *("os", "sys", "time", "socket", "select", "selectors", "signal", "termios", "tty", "fcntl", "pty"),
    *(
        "subprocess",
        "threading",
        "asyncio",
        "ctypes",
        "io",
        "tempfile",
        "shutil",
        "pathlib",
        "datetime",
        "random",
    ),
}
# What an import of a module may cost in milliseconds is seen at each start: these cost the most.
SLOW = {"typing", "dataclasses", "logging", "pathlib", "contextlib", "shutil", "enum", "ipaddress", "asyncio"}
# A reader is started for each container, and has no need of these.
SLOW_FOR_READER = SLOW | {"re", "json", "argparse", "subprocess", "selectors", "datetime"}


@functools.lru_cache(maxsize=None)
def imports(name: str, lazy: bool = True) -> frozenset[str]:
    """Top-level names of what this module imports; its own package's modules as `.name`.

    Without `lazy` only what its import runs: not inside functions, nor under TYPE_CHECKING.
    """
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return
        if isinstance(node, (ast.FunctionDef, ast.Lambda)) and not lazy:
            return
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (
            node.level or (node.module or "").startswith("simple_clearance")
        ):
            module = (node.module or "").replace("simple_clearance", "").strip(".")
            found.update("." + it for it in ([module] if module else [alias.name for alias in node.names]))
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(MODULES[name])
    return frozenset(found)


def inner(name: str, lazy: bool = True) -> set[str]:
    """The modules of the package that this one imports."""
    return {it[1:] for it in imports(name, lazy) if it.startswith(".")} & set(MODULES)


def test_no_module_imports_anything_outside_the_standard_library() -> None:
    known = {*sys.stdlib_module_names, "simple_clearance"}
    outside = {name: {it for it in imports(name) if not it.startswith(".")} - known for name in MODULES}
    assert not {name: found for name, found in outside.items() if found}


def test_the_pure_modules_are_modules() -> None:
    assert not PURE - set(MODULES)


def test_no_pure_module_imports_more_than_values() -> None:
    impure = {name: imports(name) & IMPURE for name in PURE}
    assert not {name: found for name, found in impure.items() if found}


def test_no_pure_module_imports_an_edge_module() -> None:
    edges = {name for name in MODULES if imports(name) & (IMPURE - {"time"})}
    impure = {name: inner(name) & edges for name in PURE}
    assert not {name: found for name, found in impure.items() if found}


def test_importing_a_module_imports_nothing_slow() -> None:
    slow = {name: imports(name, lazy=False) & SLOW for name in MODULES}
    assert not {name: found for name, found in slow.items() if found}


def test_a_reader_starts_with_nothing_slow() -> None:
    needed, new = set(), {"cli", "reader"}
    while new:
        needed |= new
        new = {other for name in new for other in inner(name, lazy=False)} - needed
    slow = {name: imports(name, lazy=False) & SLOW_FOR_READER for name in needed}
    assert not {name: found for name, found in slow.items() if found}


def in_order() -> list[str]:
    """Each module after those that its import imports."""
    left = {name: inner(name, lazy=False) for name in MODULES}
    order: list[str] = []
    while left:
        free = [name for name, others in left.items() if not others & set(left)]
        assert free, "a circle among %s" % sorted(left)
        order += free
        for name in free:
            del left[name]
    return order


def test_no_module_imports_itself_by_a_circle() -> None:
    assert sorted(in_order()) == sorted(MODULES)


def test_each_module_says_what_it_is() -> None:
    assert not [name for name, tree in MODULES.items() if not ast.get_docstring(tree)]


# Each in a process of its own, all forked from one that has imported no more than this.
IMPORT_EACH = """
import os, signal, sys, threading, traceback
def state():
    return {
        "descriptors": sorted(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "folder": os.getcwd(),
        "signals": [signal.getsignal(n) for n in range(1, 32)],
    }
sys.path.insert(0, sys.argv[1])
for name in sys.argv[2:]:
    reading, writing = os.pipe()
    if not os.fork():
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        before = state()
        try:
            __import__("simple_clearance." + name)
        except BaseException:
            traceback.print_exc()
        for what, value in state().items():
            if value != before[what]:
                print(what, "before:", before[what], "after:", value)
        sys.exit(7)
    os.close(writing)
    with os.fdopen(reading) as said:
        for line in said:
            print(name + ": " + line, end="", flush=True)
    if os.wait()[1] >> 8 != 7:
        print(name + ": ended the process", flush=True)
"""


def test_importing_a_module_does_nothing(tmp_path: Path) -> None:
    """No output, no descriptor left open, no thread, no changed signal.  The first one named is at fault."""
    names = [name for name in in_order() if name != "__main__"]
    python = [sys.executable, "-I", "-W", "error", "-X", "pycache_prefix=%s" % tmp_path]
    done = subprocess.run(
        [*python, "-c", IMPORT_EACH, ROOT, *names],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        cwd="/",
    )
    assert done.stdout == b"" and done.returncode == 0, done.stdout.decode()
