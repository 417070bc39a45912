"""Who may import whom, by folder; and an import that does nothing but define."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from pathlib import Path

from support import ROOT

PACKAGE = Path(ROOT, "simple_clearance")
FRONT_DOOR = "the front door"  # the modules that lie in no room

# Each room, and the other rooms that its modules may import, imports for types included.
MAY_IMPORT: dict[str, set[str]] = {
    "base": set(),
    "formats": {"base"},
    "system": {"base"},
    "docket": {"base"},
    "prompt": {"base", "docket"},
    "reader": {"base", "system", "formats"},
    "containers": {"base", "system"},
    "hub": {"base", "system", "formats"},
    "fronts": {"base", "system", "docket", "prompt"},
    "sources": {"base", "system", "formats", "docket", "containers", "hub"},
    "joined": {"base", "system", "formats", "docket"},
}
EVERYWHERE = {"demo", FRONT_DOOR}  # these may import every room

# Bytes or values in, values out: these rooms know no clock, no descriptor and no environment.
PURE = {"base", "formats", "docket", "prompt"}
IMPURE = {
    *("os", "sys", "io", "time", "datetime", "random", "socket", "select", "selectors", "fcntl", "signal"),
    *("termios", "tty", "pty", "subprocess", "threading", "asyncio", "ctypes"),
    *("tempfile", "shutil", "pathlib"),
}
# What an import of a module may cost in milliseconds is seen at each start: these cost the most.
SLOW = {"typing", "dataclasses", "logging", "pathlib", "contextlib", "shutil", "enum", "ipaddress", "asyncio"}
# A reader is started for each container, and has no need of these.
SLOW_FOR_READER = SLOW | {"re", "json", "argparse", "subprocess", "selectors", "datetime"}


def dotted(path: Path) -> str:
    """`docket.rules`, as the package names it; a room itself for its `__init__`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {dotted(path): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}
ROOMS = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}


def room(name: str) -> str:
    first = name.partition(".")[0]
    return first if first in ROOMS else FRONT_DOOR


@functools.lru_cache(maxsize=None)
def imports(name: str, lazy: bool = True, types: bool = True) -> frozenset[str]:
    """What this module imports: its own package's modules as `.room.name`, of others the top-level name.

    Without `lazy` not inside functions, without `types` not under TYPE_CHECKING.
    """
    found: set[str] = set()
    here = name.split(".")[:-1] if name not in ROOMS else [name]

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            if not types:
                return
        elif isinstance(node, (ast.FunctionDef, ast.Lambda)) and not lazy:
            return
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = here[: len(here) - node.level + 1] + (node.module.split(".") if node.module else [])
            for alias in node.names:
                inside = ".".join([*base, alias.name])
                found.add("." + (inside if inside in MODULES else ".".join(base) or "__init__"))
        elif isinstance(node, ast.ImportFrom):
            outside, _, inside = (node.module or "").partition(".")
            found.add("." + (inside or "__init__") if outside == PACKAGE.name else outside)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(MODULES[name])
    return frozenset(found)


def inner(name: str, lazy: bool = True, types: bool = True) -> set[str]:
    """The other modules of the package that this one imports."""
    return {it[1:] for it in imports(name, lazy, types) if it.startswith(".")} & set(MODULES) - {name}


def test_every_room_is_in_the_table() -> None:
    assert set(MAY_IMPORT) | EVERYWHERE - {FRONT_DOOR} == ROOMS
    assert ROOMS >= PURE


def test_a_module_imports_only_the_rooms_that_its_own_may() -> None:
    trespassing = {
        name: {other for other in inner(name) if room(other) not in {room(name), *MAY_IMPORT[room(name)]}}
        for name in MODULES
        if room(name) not in EVERYWHERE
    }
    assert not {name: others for name, others in trespassing.items() if others}


def test_no_module_imports_anything_outside_the_standard_library() -> None:
    known = {*sys.stdlib_module_names, PACKAGE.name}
    outside = {name: {it for it in imports(name) if not it.startswith(".")} - known for name in MODULES}
    assert not {name: found for name, found in outside.items() if found}


def test_no_module_imports_a_private_one_whose_names_may_change() -> None:
    private = {name: {it for it in imports(name) if it.startswith("_")} - {"__future__"} for name in MODULES}
    assert not {name: found for name, found in private.items() if found}


def test_a_pure_room_knows_no_clock_no_descriptor_and_no_environment() -> None:
    impure = {name: imports(name) & IMPURE for name in MODULES if room(name) in PURE}
    assert not {name: found for name, found in impure.items() if found}


def test_importing_a_module_imports_nothing_slow() -> None:
    slow = {name: imports(name, lazy=False, types=False) & SLOW for name in MODULES}
    assert not {name: found for name, found in slow.items() if found}


def test_a_reader_starts_with_nothing_slow() -> None:
    needed, new = set(), {"cli", "reader.reader"}
    while new:
        needed |= new
        new = {other for name in new for other in inner(name, lazy=False, types=False)} - needed
    slow = {name: imports(name, lazy=False, types=False) & SLOW_FOR_READER for name in needed}
    assert not {name: found for name, found in slow.items() if found}


def in_order() -> list[str]:
    """Each module after those that it imports, for types or later, too."""
    left = {name: inner(name) for name in MODULES if name not in ROOMS | {"__init__"}}
    order = ["__init__", *sorted(ROOMS)]
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
