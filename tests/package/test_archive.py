"""The archive: always the same bytes, small, and it runs on every Python found."""

from __future__ import annotations

import ast
import dis
import importlib.util
import marshal
import os
import stat
import subprocess
import sys
import time
import types
import zipfile
from pathlib import Path
from typing import Any, Iterator

import pytest
from support import ROOT, Python

BUILD = os.path.join(ROOT, "build_zipapp.py")
VERSION = importlib.import_module("simple_clearance").__version__


def run(*argv: str, **options: Any) -> tuple[int, str, str]:
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False, **options
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def builder() -> Any:
    spec = importlib.util.spec_from_file_location("build_zipapp", BUILD)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_two_builds_under_different_conditions_are_the_same(every_python: Python, tmp_path: Path) -> None:
    here, there = tmp_path / "here.pyz", tmp_path / "there" / "there.pyz"
    there.parent.mkdir()
    os.utime(os.path.join(ROOT, "simple_clearance", "__init__.py"))
    assert run(every_python.path, BUILD, "-o", str(here), cwd=ROOT)[0] == 0
    env = {
        "TZ": "Asia/Kathmandu",
        "LC_ALL": "C",
        "PYTHONHASHSEED": "4711",
        "PATH": os.defpath,
        "EXTRA": "x" * 5000,
    }
    umask = ["sh", "-c", 'umask 077; exec "$@"', "sh"]
    argv = [*umask, every_python.path, "-B", "-O", os.path.relpath(BUILD, there.parent), "-o", there.name]
    assert run(*argv, cwd=there.parent, env=env) == (0, "", "")
    assert here.read_bytes() == there.read_bytes()
    assert stat.S_IMODE(here.stat().st_mode) == stat.S_IMODE(there.stat().st_mode) == 0o755


def test_a_build_from_another_checkout_is_the_same(tmp_path: Path, pyz: str) -> None:
    for name in ("build_zipapp.py", "simple_clearance"):
        run("cp", "-r", os.path.join(ROOT, name), str(tmp_path))
    out = tmp_path / "out.pyz"
    assert run(sys.executable, str(tmp_path / "build_zipapp.py"), "-o", str(out))[0] == 0
    assert out.read_bytes() == Path(pyz).read_bytes()


def test_the_archive_is_small_whichever_python_builds_it(every_python: Python, tmp_path: Path) -> None:
    out = tmp_path / "out.pyz"
    assert run(every_python.path, "-I", "-W", "error", BUILD, "-o", str(out)) == (0, "", "")
    assert out.stat().st_size < 192 * 1024


def test_every_python_runs_every_build(every_python: Python, pythons: list[Python], tmp_path: Path) -> None:
    out = str(tmp_path / "out.pyz")
    assert run(every_python.path, BUILD, "-o", out)[0] == 0
    for python in pythons:
        argv = [python.path, "-I", "-W", "error", out]
        assert run(*argv, "--version") == (0, "simple-clearance %s\n" % VERSION, ""), python
        code, shown, told = run(*argv, "--help")
        assert (code, told) == (0, ""), python
        assert shown.startswith("usage: simple-clearance"), python
        assert "simple-clearance" in run(*argv)[2], python


def test_the_archive_is_executable_by_itself(pyz: str) -> None:
    assert run(pyz, "--version")[1] == "simple-clearance %s\n" % VERSION
    with open(pyz, "rb") as f:
        assert f.readline() == b"#!/usr/bin/env python3\n"


def test_the_checkout_runs_as_a_module_and_tells_the_same_version(every_python: Python) -> None:
    argv = [every_python.path, "-W", "error", "-B", "-m", "simple_clearance"]
    assert run(*argv, "--version", cwd=ROOT) == (0, "simple-clearance %s\n" % VERSION, "")


def test_an_old_python_is_told_so_in_one_line(old_python: Python, pyz: str, tmp_path: Path) -> None:
    out = tmp_path / "out.pyz"
    for argv, name in (([pyz, "c1"], "simple-clearance"), ([BUILD, "-o", str(out)], "build_zipapp.py")):
        code, shown, told = run(old_python.path, *argv)
        assert (code, shown) == (3, "")
        assert told == "%s: needs Python 3.8 or later, this is %d.%d\n" % (name, *old_python.version[:2])
    assert not out.exists()


def test_what_an_old_python_must_read_has_nothing_new_in_it() -> None:
    """For machines without a Python 2: no annotations, no f-strings, no keyword-only arguments."""
    for path in (BUILD, os.path.join(ROOT, "simple_clearance", "__main__.py")):
        for node in ast.walk(ast.parse(Path(path).read_text())):
            assert not isinstance(
                node, (ast.AnnAssign, ast.JoinedStr, ast.NamedExpr, ast.AsyncFunctionDef, ast.YieldFrom)
            )
            if isinstance(node, ast.FunctionDef):
                assert node.returns is None
                assert not node.args.kwonlyargs
            if isinstance(node, ast.arg):
                assert node.annotation is None
            if isinstance(node, ast.Raise):
                assert node.cause is None


def test_what_help_and_the_reader_start_with_runs_from_its_compiled_form(
    every_python: Python, tmp_path: Path
) -> None:
    """In an archive whose sources are broken and whose compiled modules are not, the latter run."""
    out, broken = str(tmp_path / "out.pyz"), str(tmp_path / "broken.pyz")
    assert run(every_python.path, BUILD, "-o", out)[0] == 0
    with zipfile.ZipFile(out) as z, zipfile.ZipFile(broken, "w") as b:
        for entry in z.infolist():
            source = entry.filename.endswith(".py") or entry.filename == "sources"
            b.writestr(entry, b"1/0" if source else z.read(entry))
    assert run(every_python.path, "-I", broken, "--version") == (0, "simple-clearance %s\n" % VERSION, "")
    assert run(every_python.path, "-I", broken, "--help")[0] == 0
    code = "import sys; sys.path.insert(0, sys.argv[1]); import simple_clearance.reader"
    assert run(every_python.path, "-I", "-S", "-c", code, broken) == (0, "", "")
    assert (
        "No module named 'simple_clearance.replay'"
        in run(every_python.path, "-I", "-c", code.replace("reader", "replay"), broken)[2]
    ), "which is among the last to be compiled"


AS_A_LIBRARY = """
import importlib, linecache, os, pkgutil, sys, traceback
archive, names = sys.argv[1], sys.argv[2:]
sys.path.insert(0, archive)
from simple_clearance import ClearanceSession, run_simple_clearance, session
assert ClearanceSession is session.ClearanceSession
for name in names:
    module = importlib.import_module("simple_clearance." + name)
    assert module.__file__ == os.path.join(archive, "simple_clearance", name + ".py"), module.__file__
    assert module.__package__ == "simple_clearance" and module.__name__ == "simple_clearance." + name
    source = module.__loader__.get_source(module.__name__)
    assert compile(source, name, "exec") and linecache.getlines(module.__file__, vars(module))
assert pkgutil.get_data("simple_clearance", "demo.jsonl").startswith(b"{")
try:
    importlib.import_module("simple_clearance.nowhere")
except ImportError as error:
    assert error.name == "simple_clearance.nowhere", error
try:
    run_simple_clearance(state_dir=None, container="c1")
except TypeError as error:
    for frame in traceback.extract_tb(error.__traceback__):
        print(os.path.basename(frame.filename), frame.lineno, frame.line)
"""


def test_the_archive_is_a_library_too(every_python: Python, pythons: list[Python], tmp_path: Path) -> None:
    """Every module comes out of it, compiled or not, and a trace has the lines of the real source."""
    names = {path.stem for path in Path(ROOT, "simple_clearance").glob("*.py")}
    names -= {"__init__", "__main__", "archived"}  # zipimport's
    real = Path(ROOT, "simple_clearance", "cli.py").read_text().splitlines()
    out = str(tmp_path / "out.pyz")
    for builds in {every_python.path, pythons[0].path, pythons[-1].path}:
        assert run(builds, BUILD, "-o", out)[0] == 0
        argv = [every_python.path, "-W", "error", "-c", AS_A_LIBRARY, out, *sorted(names)]
        code, shown, told = run(*argv, cwd=tmp_path)
        assert (code, told) == (0, ""), told
        file, number, line = shown.splitlines()[-1].split(" ", 2)
        assert file == "cli.py" and line == real[int(number) - 1].strip(), shown


def test_a_compiled_module_has_the_lines_of_its_source(pyz: str) -> None:
    with zipfile.ZipFile(pyz) as z:
        codes = marshal.loads(z.read("compiled-" + importlib.util.MAGIC_NUMBER.hex()))
    assert len(codes) > 15
    for name, code in codes.items():
        source = builder().cut(Path(ROOT, "simple_clearance", name + ".py").read_bytes())
        plain = compile(source, name, "exec", dont_inherit=True, optimize=2)
        assert list(lines(marshal.loads(code))) == list(lines(plain)), name


def lines(code: types.CodeType) -> Iterator[tuple[str, list[tuple[int, int]]]]:
    yield code.co_name, list(dis.findlinestarts(code))
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from lines(inner)


WHILE_IT_STARTS = {
    "cli": None,  # a role's module, before it does anything
    "demo": None,
    "reader": None,
    "fleet": {"start_replay"},
    "session": {"_load_policy", "_open_records", "_piped_front", "_greet"},
}


def test_a_session_imports_all_its_modules_before_it_asks_anything() -> None:
    """Its file may be another one later.  What every front has imported may be imported again."""
    late = []
    for path in sorted(Path(ROOT, "simple_clearance").glob("*.py")):
        module = path.stem
        if module in WHILE_IT_STARTS and WHILE_IT_STARTS[module] is None:
            continue
        for function in ast.walk(ast.parse(path.read_text())):
            if not isinstance(function, ast.FunctionDef) or function.name in WHILE_IT_STARTS.get(module, ()):
                continue
            for node in ast.walk(function):
                if isinstance(node, ast.ImportFrom) and node.level:
                    late.append((module, function.name, node.module))
    assert [one for one in late if one[0] != "__init__"] == [("session", "_commands", "notices")]


def rebuilt(pyz: str, path: Path, **entries: bytes) -> str:
    """The archive with other bytes in `sources`, `compiled` or the raw bytes of an entry."""
    with zipfile.ZipFile(pyz) as good, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bad:
        for item in good.infolist():
            data = entries.get(item.filename.partition("-")[0], good.read(item))
            bad.writestr(item.filename, data)
    return str(path)


def broken(path: str, entry: str) -> str:
    """The same file, with other bytes where the compressed ones of that entry are."""
    with zipfile.ZipFile(path) as z:
        (item,) = [item for item in z.infolist() if item.filename.partition("-")[0] == entry]
    with open(path, "r+b") as file:
        file.seek(item.header_offset + 30 + len(item.filename) + 10)
        file.write(b"\xff" * (item.compress_size - 20))
    return path


@pytest.mark.parametrize("compiled", [b"", b"\0", b"(\xff", marshal.dumps(7), marshal.dumps({"cli": b"x"})])
def test_a_damaged_compiled_form_leaves_the_sources(
    every_python: Python, tmp_path: Path, compiled: bytes
) -> None:
    out = str(tmp_path / "out.pyz")
    assert run(every_python.path, BUILD, "-o", out)[0] == 0
    damaged = rebuilt(out, tmp_path / "damaged.pyz", compiled=compiled)
    code, shown, told = run(every_python.path, "-W", "error", damaged, "--help")
    assert (code, told) == (0, "") and shown.startswith("usage: ")


def test_an_archive_whose_bytes_have_changed_says_so_in_a_line(every_python: Python, tmp_path: Path) -> None:
    out = str(tmp_path / "out.pyz")
    assert run(every_python.path, BUILD, "-o", out)[0] == 0
    assert run(every_python.path, "-W", "error", broken(out, "compiled"), "--help")[0] == 0
    code, shown, told = run(every_python.path, "-W", "error", broken(out, "sources"), "--help")
    assert (code, shown) == (3, "")
    assert told.startswith("simple-clearance: %s is damaged, or was replaced or removed: " % out)
    assert told.count("\n") == 1


def test_what_is_not_in_the_archive_is_no_empty_module(pyz: str) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from simple_clearance import cli;"
        "cli.__loader__.get_code('simple_clearance.nowhere')"
    )
    assert (
        "ImportError: no module named 'simple_clearance.nowhere'" in run(sys.executable, "-c", code, pyz)[2]
    )


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("--version", "c1")], ids=" ".join)
def test_a_stdout_that_takes_nothing_is_told(every_python: Python, pyz: str, words: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [every_python.path, pyz, *words], stdout=full, stderr=subprocess.PIPE, timeout=30, check=False
        )
    assert (done.returncode, done.stderr) == (5, b"simple-clearance: stdout: No space left on device\n")


def test_names_alone_need_no_parser_and_mean_the_same() -> None:
    cli = importlib.import_module("simple_clearance.cli")
    assert repr(cli.parse(["c1", "c2"])) == repr(cli.parse(["--", "c1", "c2"]))
    code = "import sys; from simple_clearance import cli; cli.parse(['c1']); print('argparse' in sys.modules)"
    assert run(sys.executable, "-c", code, cwd=ROOT) == (0, "False\n", "")


def test_a_failed_build_says_why_and_leaves_what_was_there(tmp_path: Path) -> None:
    code, _, told = run(sys.executable, BUILD, "-o", str(tmp_path / "nowhere" / "out.pyz"))
    assert code == 1
    assert told.count("\n") == 1 and "No such file or directory" in told
    for name in ("build_zipapp.py", "simple_clearance"):
        run("cp", "-r", os.path.join(ROOT, name), str(tmp_path))
    out = tmp_path / "out.pyz"
    out.write_bytes(b"the old one")
    chaff = "\n".join("v%d = %r" % (i, os.urandom(20).hex()) for i in range(8000))
    (tmp_path / "simple_clearance" / "chaff.py").write_text(chaff)
    code, _, told = run(sys.executable, str(tmp_path / "build_zipapp.py"), "-o", str(out))
    assert code == 1
    assert told.count("\n") == 1 and told.endswith("bytes, and it has to stay under 196608\n")
    (tmp_path / "simple_clearance" / "chaff.py").write_text("def broken(:\n")
    code, _, told = run(sys.executable, str(tmp_path / "build_zipapp.py"), "-o", str(out))
    assert code == 1
    assert told.count("\n") == 1 and "chaff.py" in told
    assert out.read_bytes() == b"the old one"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["build_zipapp.py", "out.pyz", "simple_clearance"]


# --- what only readers need is left out, and nothing else


class Bare(ast.NodeTransformer):
    """A tree without docstrings, annotations and imports for types, the plain way."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.body(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self.body(node)

    def visit_Module(self, node: ast.Module) -> ast.AST:
        return self.body(node)

    def body(self, node: Any) -> Any:
        if ast.get_docstring(node):
            node.body = node.body[1:] or ([] if isinstance(node, ast.Module) else [ast.Pass()])
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is None:
            return node
        return self.generic_visit(ast.Assign(targets=[node.target], value=node.value))

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        return None if ast.unparse(node) == "TYPE_CHECKING = False" else node

    def visit_If(self, node: ast.If) -> ast.AST | None:
        if ast.unparse(node.test) == "TYPE_CHECKING" and not node.orelse:
            return None
        return self.generic_visit(node)


TRICKY = '''
"""A module.  # no comment"""
from __future__ import annotations
TYPE_CHECKING = False
if TYPE_CHECKING:
    from x import (y,
       z)  # for types

class A(Exception):
    """Only a docstring."""

class B:
    """One."""
    __slots__ = ("a",)
    kept: int
    a: "dict[str, # not a comment" = "# neither"   # but this is

def f(a, b: int = 3, *c: str, d: "x -> y" = lambda e: 0, **g: object) -> dict[str, list[int]]:
    r"""Doc
       of more lines."""
    "not the docstring"
    x: dict[str, int] = {}
    for i in a: print(i)   # trailing
    return (  # inside
        1 +

        2)

def h(
    self, other: B,
) -> None:  # after
    "é: not ASCII"
    y = "é"; self.z: int = 3  # é
'''


def modules() -> list[Any]:
    folder = Path(ROOT, "simple_clearance")
    return [pytest.param(path.read_text(), id=path.name) for path in sorted(folder.glob("*.py"))]


@pytest.mark.parametrize("source", [pytest.param(TRICKY, id="tricky"), *modules()])
def test_a_module_in_the_archive_is_the_module_without_its_notes(source: str) -> None:
    cut = builder().cut(source.encode())
    bare = ast.fix_missing_locations(Bare().visit(ast.parse(source)))
    assert ast.unparse(ast.parse(cut)) == ast.unparse(bare)
    assert cut.count(b"\n") == source.count("\n")
    lines = [node.lineno for node in ast.walk(bare) if isinstance(node, ast.Return)]
    assert lines == [node.lineno for node in ast.walk(ast.parse(cut)) if isinstance(node, ast.Return)]


def test_the_build_is_quick(tmp_path: Path) -> None:
    began = time.monotonic()
    assert run(sys.executable, BUILD, "-o", str(tmp_path / "out.pyz"))[0] == 0
    assert time.monotonic() - began < 10
