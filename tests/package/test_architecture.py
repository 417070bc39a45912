"""The pure modules stay pure, and nothing outside the standard library is imported."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

PACKAGE = Path(ROOT, "simple_clearance")
MODULES = {path.stem: path for path in sorted(PACKAGE.glob("*.py"))}

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


def imports(name: str, lazy: bool = True) -> set[str]:
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

    visit(ast.parse(MODULES[name].read_text()))
    return found


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_nothing_outside_the_standard_library(name: str) -> None:
    outside = {it for it in imports(name) if not it.startswith(".")} - set(sys.stdlib_module_names)
    assert outside <= {"simple_clearance"}, name


@pytest.mark.parametrize("name", sorted(PURE & set(MODULES)))
def test_a_pure_module_imports_only_values(name: str) -> None:
    assert not imports(name) & IMPURE


@pytest.mark.parametrize("name", sorted(PURE & set(MODULES)))
def test_a_pure_module_imports_no_edge_module(name: str) -> None:
    inner = {it[1:] for it in imports(name) if it.startswith(".")}
    impure = {it for it in inner if it in MODULES and imports(it) & (IMPURE - {"time"})}
    assert not impure


@pytest.mark.parametrize("name", MODULES)
def test_importing_a_module_imports_nothing_slow(name: str) -> None:
    assert not imports(name, lazy=False) & SLOW


def test_no_module_imports_itself_by_a_circle() -> None:
    graph = {name: {it[1:] for it in imports(name, lazy=False) if it.startswith(".")} for name in MODULES}
    left = dict(graph)
    while left:
        free = [name for name, inner in left.items() if not inner & set(left)]
        assert free, "a circle among %s" % sorted(left)
        for name in free:
            del left[name]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_says_what_it_is(name: str) -> None:
    assert ast.get_docstring(ast.parse(MODULES[name].read_text()))


@pytest.mark.parametrize("name", [name for name in MODULES if name != "__main__"])
def test_importing_a_module_does_nothing(name: str) -> None:
    """No output, no descriptor left open, no thread, no changed signal."""
    code = (
        "import os, signal, sys, threading; sys.path.insert(0, %r)\n"
        "def state(): return (sorted(os.listdir('/proc/self/fd')), threading.active_count(), os.getcwd(),"
        " [signal.getsignal(n) for n in range(1, 32)])\n"
        "before = state(); import simple_clearance.%s; assert state() == before, (before, state())"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-B", "-c", code % (ROOT, name)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        cwd=os.sep,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
