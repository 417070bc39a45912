"""Tests the tests: takes one check out of a module at a time, and shows what no test minds.

    .venv/bin/python tests/mutate.py docket/rules hub  # a module, a room; or none: all of SUBJECTS
    .venv/bin/python tests/mutate.py docket --list     # the changes only, without a run

Each mutant is the module with one small change: a condition left out, a bound lifted, an escape left
out, a call (a lock, a close) or an early exit left out, an error not caught or not minded.  It is tried
in a copy of the checkout, with the tests that concern the module; a mutant that they all pass with is
a survivor, which wants a test, or a reason.  (`mutants.py` is something else: mutated input for parsers.)

A module takes minutes, so this runs by hand, and is no test itself.
"""

from __future__ import annotations

import argparse
import ast
import functools
import glob
import importlib
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from typing import Any, NamedTuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PACKAGE = "simple_clearance"

SCREEN = (
    "prompt/test_keyboard.py",
    "prompt/test_prompt.py",
    "prompt/test_prompt_walk.py",
    "prompt/test_questions.py",
)
LINES = tuple(reversed(SCREEN))
DOCKET = ("docket/*", *SCREEN)
HUB = (
    "hub/test_guard_looks.py",
    "hub/test_guard.py",
    "hub/test_hub.py",
    "hub/test_session_bus.py",
    "hub/test_hub_guard.py",
)
SUBJECTS = {
    "docket/docket": DOCKET,
    "docket/jobs": DOCKET,
    "docket/history": DOCKET,
    "docket/later": DOCKET,
    "docket/names": DOCKET,
    "docket/register": DOCKET,
    "docket/requests": DOCKET,
    "docket/proof": DOCKET,
    "docket/rules": DOCKET,
    "docket/shields": DOCKET,
    "docket/policy": ("docket/test_policy.py", "docket/test_rules.py", "sources/test_policyfile.py"),
    "prompt/prompt": SCREEN,
    "prompt/view": SCREEN,
    "prompt/asking": SCREEN,
    "prompt/lists": SCREEN,
    "prompt/groups": SCREEN,
    "prompt/questions": LINES,
    "prompt/details": LINES,
    "prompt/notices": LINES,
    "prompt/sentences": ("prompt/test_sentences.py", *LINES),
    "prompt/keyboard": SCREEN,
    "fronts/savedpolicy": ("fronts/test_savedpolicy.py",),
    "formats/addressbook": ("formats/test_addressbook.py", "formats/test_dnsmasq*"),
    "formats/dnsmasq": ("formats/test_dnsmasq*", "formats/test_mutants.py"),
    "containers/statedir": ("containers/test_statedir.py", "containers/test_podman.py"),
    "system/pidfd": ("reader/test_confinement.py", "reader/test_reader.py"),
    "system/follow": ("system/test_follow.py", "formats/test_dnsmasq*", "session/test_check.py"),
    "system/loop": ("system/test_loop.py",),
    "system/output": ("system/test_output.py", "reader/test_reader.py"),
    "reader/confinement": ("reader/test_confinement.py", "reader/test_reader.py"),
    "reader/tally": ("reader/test_tally.py", "reader/test_reader.py"),
    "runner": ("session/test_runner.py", "session/test_kill.py", "session/test_exit_codes.py"),
    "hub/hub": HUB,
    "hub/guard": (*HUB, "hub/test_appearing.py"),
    "sources/watched": ("sources/test_watched.py", "session/test_startup_errors.py"),
    "base/text": ("base/test_text.py", "prompt/test_questions.py"),
    "base/addresses": (
        "base/test_addresses.py",
        "formats/test_nflog.py",
        "docket/test_rules.py",
        "prompt/test_questions.py",
    ),
}
"""Modules, and which tests concern each, what is done quickest first."""

KINDS = ("check", "bound", "escape", "call", "exit", "handler")
ESCAPES = {"printable", "quoted", "quote", "clip_left", "clip_right", "folded"}
HUGE = "(1 << 40)"
ORDERED = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
EXITS = (ast.Raise, ast.Return, ast.Continue, ast.Break)


class Mutant(NamedTuple):
    """One change: the bytes from `start` to `end` of a module's source become `text`."""

    module: str
    line: int
    kind: str
    start: int
    end: int
    text: str
    was: str

    def __str__(self) -> str:
        was = " ".join(self.was.split())
        was = was if len(was) < 80 else was[:77] + "..."
        return "%s/%s.py:%d: %s: %s -> %s" % (PACKAGE, self.module, self.line, self.kind, was, self.text)


class Finder(ast.NodeVisitor):
    """Collects the mutants of one module."""

    def __init__(self, module: str) -> None:
        self.module = module
        with open(os.path.join(ROOT, PACKAGE, module + ".py"), "rb") as file:
            self.source = file.read()
        self.starts = [0]
        for line in self.source.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.found: dict[tuple[int, int, str], Mutant] = {}
        self.visit(ast.parse(self.source))

    def span(self, first: Any, last: Any) -> tuple[int, int]:
        start, end = self.starts[first.lineno - 1], self.starts[last.end_lineno - 1]
        return start + first.col_offset, end + last.end_col_offset

    def within(self, node: Any) -> str:
        start, end = self.span(node, node)
        return self.source[start:end].decode()

    def add(self, kind: str, node: Any, text: str, last: Any = None) -> None:
        start, end = self.span(node, last or node)
        was = self.source[start:end].decode()
        if was != text:
            mutant = Mutant(self.module, node.lineno, kind, start, end, text, was)
            self.found.setdefault((start, end, text), mutant)

    def visit_If(self, node: ast.If) -> None:
        """Without a guard what it ends goes on; what stands under another condition always happens."""
        if "TYPE_CHECKING" not in ast.dump(node.test) and not isinstance(node.test, ast.BoolOp):
            self.add("check", node.test, str(not isinstance(node.body[-1], EXITS)))
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        for one in (node.body, node.orelse):
            self.add("check", node, "(%s)" % self.within(one))
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self.add("check", test, "True")
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        for value in node.values:
            self.add("check", value, str(isinstance(node.op, ast.And)))
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        for side in (node.left, *node.comparators):
            if _is_number(side) and side.value > 1 and isinstance(node.ops[0], ORDERED):
                self.add("bound", side, HUGE)
        self.generic_visit(node)

    def visit_Slice(self, node: ast.Slice) -> None:
        for end in (node.lower, node.upper):
            if end is not None:
                self.add("bound", end, "None")
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if node.col_offset == 0 and _is_number(node.value) and self.within(node.targets[0]).isupper():
            self.add("bound", node.value, HUGE)
            self.add("bound", node.value, "0")
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if name in ("min", "max") and len(node.args) > 1:
            for one in node.args:
                self.add("bound", node, "(%s)" % self.within(one))
        elif name in ESCAPES and node.args:
            self.add("escape", node, "(%s)" % self.within(node.args[0]))
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call) and "super()" not in self.within(node):
            self.add("call", node, "pass")
        self.generic_visit(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        for text in ("raise", "pass"):
            self.add("handler", node.body[0], text, node.body[-1])
        self.generic_visit(node)

    def generic_visit(self, node: ast.AST) -> None:
        for body in (getattr(node, "body", None), getattr(node, "orelse", None)):
            for statement in body if isinstance(body, list) else ():
                is_result = isinstance(node, ast.FunctionDef) and statement is node.body[-1]
                # the only statement below an `if` goes with its condition
                is_guarded = isinstance(node, ast.If) and body is node.body and len(body) == 1
                if isinstance(statement, EXITS) and not is_result and not is_guarded:
                    self.add("exit", statement, "pass")
        super().generic_visit(node)


def _is_number(node: Any) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


# --- trying them; everything below `prepare` runs in a worker, in its copy


def prepare(folders: Any) -> None:
    """What every run of tests needs is imported once; of the package, nothing."""
    os.chdir(folders.get())
    sys.path[:0] = [os.getcwd(), os.path.join(os.getcwd(), "tests")]
    os.environ["PYTHONPATH"] = os.getcwd()  # before the checkout that this Python may have installed
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False  # the tests are compiled once
    for name in ("pytest", "pyte", "support"):
        importlib.import_module(name)


def lives(limit: float, mutant: Mutant) -> bool:
    """Whether the tests of its module pass with a mutant; not when they take `limit` seconds."""
    path = os.path.join(PACKAGE, mutant.module + ".py")
    with open(path, "rb") as file:
        source = file.read()
    try:
        _write(path, source[: mutant.start] + mutant.text.encode() + source[mutant.end :])
        return passes(mutant.module, limit)
    finally:
        _write(path, source)


def _write(path: str, source: bytes) -> None:
    with open(path, "wb") as file:
        file.write(source)
    folder, name = os.path.split(path)
    for compiled in glob.glob(os.path.join(folder, "__pycache__", name[:-2] + "*")):
        os.unlink(compiled)  # Python tells a change by its second and the size


def passes(module: str, limit: float) -> bool:
    files: dict[str, None] = {}
    for pattern in SUBJECTS[module]:
        files.update(dict.fromkeys(sorted(glob.glob(os.path.join("tests", pattern)), key=os.path.getsize)))
    return all(_passes(path, limit) for path in files)


def _passes(path: str, limit: float) -> bool:
    child = os.fork()
    if not child:
        _run_tests(path)
    for number in (signal.SIGINT, signal.SIGKILL):  # the first lets pytest end what its tests have started
        until = time.monotonic() + limit
        while time.monotonic() < until:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                return status == 0
            time.sleep(0.05)
        os.killpg(child, number)
        limit = 30.0
    os.waitpid(child, 0)
    return False


def _run_tests(path: str) -> None:
    import pytest

    os.setsid()
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))  # a bound may be out
    for descriptor in (0, 1, 2):
        os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
    code = 1
    try:
        # not as an argument: then it would be more than the usual run has
        code = pytest.main(["-x", "-q", "-n0", "-p", "no:cacheprovider", "-o", "testpaths=" + path])
    finally:
        os._exit(code)


def run(pool: Any, module: str, found: list[Mutant]) -> None:
    began = time.monotonic()
    if not pool.apply(passes, (module, 3600.0)):
        raise SystemExit("the tests of %s don't pass as it is: %s" % (module, " ".join(SUBJECTS[module])))
    limit = 60 + 5 * (time.monotonic() - began)
    survivors = 0
    for mutant, alive in zip(found, pool.imap(functools.partial(lives, limit), found)):
        survivors += alive
        if alive:
            print(mutant, flush=True)
    print("%s: %d mutants, %d killed" % (module, len(found), len(found) - survivors), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Which checks could be left out without a test minding?")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="of: " + " ".join(SUBJECTS))
    parser.add_argument("--list", action="store_true", help="show the mutants, run nothing")
    parser.add_argument("--kinds", default=",".join(KINDS), help="default: %(default)s")
    parser.add_argument("--lines", default="1-1000000", metavar="FIRST-LAST", help="only what is in these")
    parser.add_argument("-j", type=int, default=2, metavar="N", help="how many at a time (%(default)s)")
    given = parser.parse_args()
    modules = [name for name in SUBJECTS if {name, name.partition("/")[0]} & set(given.modules or SUBJECTS)]
    first, last = map(int, given.lines.split("-"))
    with tempfile.TemporaryDirectory(prefix="mutate.") as scratch:
        folders: Any = multiprocessing.Queue()
        for number in range(0 if given.list else given.j):
            folder = os.path.join(scratch, str(number))
            skip = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info")
            shutil.copytree(ROOT, folder, ignore=skip)
            folders.put(folder)
        with multiprocessing.Pool(given.j, None if given.list else prepare, (folders,)) as pool:
            for module in modules:
                every = sorted(Finder(module).found.values(), key=lambda one: (one.line, one.start, -one.end))
                found = [one for one in every if one.kind in given.kinds and first <= one.line <= last]
                if given.list:
                    print(*found, "%s: %d mutants" % (module, len(found)), sep="\n")
                else:
                    run(pool, module, found)


if __name__ == "__main__":
    main()
