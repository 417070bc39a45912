"""The archive: always the same bytes, and every Python found runs it, compiled or not."""

from __future__ import annotations

import ast
import importlib.util
import io
import marshal
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, Callable

import pytest
from support import PYTHONS, ROOT, Python, is_running

from simple_clearance import arguments
from simple_clearance.system import archived

BUILD = os.path.join(ROOT, "build_zipapp.py")
PACKAGE = Path(ROOT, "simple_clearance")
NAMES = sorted(str(path.relative_to(PACKAGE).with_suffix("")) for path in PACKAGE.rglob("*.py"))
VERSION = importlib.import_module("simple_clearance").__version__
SAYS_ITS_VERSION = 0, "simple-clearance %s\n" % VERSION, ""


def run(*argv: str, **options: Any) -> tuple[int, str, str]:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False, **options)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def for_others() -> list[str]:
    return [word for python in PYTHONS if not is_running(python) for word in ("--for", python.path)]


@pytest.fixture(scope="module")
def broad(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of an archive with forms compiled for every Python found."""
    path = str(tmp_path_factory.mktemp("broad") / "simple-clearance.pyz")
    assert run(sys.executable, BUILD, "-o", path, *for_others()) == (0, "", "")
    return path


@pytest.fixture
def archive(every_python: Python, request: pytest.FixtureRequest) -> str:
    """The path of an archive with forms compiled for `every_python`."""
    path: str = request.getfixturevalue("pyz" if is_running(every_python) else "broad")
    return path


def folder(python: Python) -> str:
    return "cp%d%d/" % python.version[:2]


def changed(archive: str, path: Path, change: Callable[[str, bytes], bytes | None]) -> str:
    """The archive again, at `path`, each entry as `change(name, data)` has it, or without it."""
    with zipfile.ZipFile(archive) as good, zipfile.ZipFile(path, "w") as other:
        for name in good.namelist():
            data = change(name, good.read(name))
            if data is not None:
                other.writestr(name, data)
    return str(path)


@pytest.fixture(scope="module")
def uncompiled(pyz: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of an archive with the sources alone."""
    path = tmp_path_factory.mktemp("uncompiled") / "simple-clearance.pyz"
    return changed(pyz, path, lambda name, data: None if name.endswith(".pyc") else data)


# --- the build


@pytest.mark.parametrize(
    "built, others",
    [
        pytest.param("pyz", ["--for", sys.executable], id="for this Python"),
        pytest.param("broad", for_others(), id="for all", marks=pytest.mark.thorough),
    ],
)
def test_a_build_under_other_conditions_is_the_same(
    request: pytest.FixtureRequest, tmp_path: Path, built: str, others: list[str]
) -> None:
    """Another checkout, with other times and what a run leaves behind, and all else that may differ."""
    archive = Path(request.getfixturevalue(built))
    shutil.copy(BUILD, tmp_path)
    shutil.copytree(PACKAGE, tmp_path / PACKAGE.name, copy_function=shutil.copyfile)
    (tmp_path / PACKAGE.name / "__pycache__").mkdir(exist_ok=True)
    (tmp_path / PACKAGE.name / "__pycache__" / "cli.pyc").write_bytes(b"left behind")
    env = {
        "TZ": "Asia/Kathmandu",
        "LC_ALL": "C",
        "PYTHONHASHSEED": "4711",
        "PATH": os.defpath,
        "EXTRA": "x" * 5000,
    }
    umask = ["sh", "-c", 'umask 077; exec "$@"', "sh"]
    python = [sys.executable, "-B", "-O", "-W", "error"]
    (tmp_path / "there").mkdir()
    argv = [*umask, *python, "../build_zipapp.py", "-o", "there.pyz", *others]
    assert run(*argv, cwd=tmp_path / "there", env=env) == (0, "", "")
    there = tmp_path / "there" / "there.pyz"
    assert there.read_bytes() == archive.read_bytes()
    assert stat.S_IMODE(there.stat().st_mode) == stat.S_IMODE(archive.stat().st_mode) == 0o755


@pytest.mark.thorough
@pytest.mark.parametrize("builder", [PYTHONS[0], PYTHONS[-1]], ids=lambda python: python.name)
def test_any_of_its_versions_builds_the_same(broad: str, tmp_path: Path, builder: Python) -> None:
    """Whichever Python builds it, and in whatever order the others are named."""
    path = tmp_path / "other.pyz"
    versions = {python.version[:2]: python for python in PYTHONS}
    running = next(python for python in PYTHONS if is_running(python))
    versions[running.version[:2]] = running  # what two of one version compile to may differ
    others = [word for one in reversed(list(versions.values())) for word in ("--for", one.path)]
    assert run(builder.path, BUILD, "-o", str(path), *others) == (0, "", "")
    assert path.read_bytes() == Path(broad).read_bytes()


def test_it_holds_the_package_as_it_is_and_a_folder_for_each_version(
    every_python: Python, archive: str
) -> None:
    modules = {"simple_clearance/%s.py" % name for name in NAMES}
    data = ["simple_clearance/demo/demo.jsonl"]
    data += ["simple_clearance/manual/%s.txt" % topic for topic in arguments.TOPICS]
    with zipfile.ZipFile(archive) as z:
        found = {name for name in z.namelist() if name.startswith(folder(every_python))}
        assert found == {folder(every_python) + name for name in [*data, *(it + "c" for it in modules)]}
        others = {name for name in z.namelist() if not name.startswith("cp")}
        assert others == {"__main__.py", *data, *modules}
        assert all(z.read(name) == Path(ROOT, name).read_bytes() for name in [*data, *modules])
        assert {item.date_time[0] for item in z.infolist()} == {1980}


def test_one_that_a_checkout_makes_of_itself_has_all_but_the_compiled_forms(pyz: str) -> None:
    """Which goes to other machines."""
    with zipfile.ZipFile(pyz) as built, zipfile.ZipFile(io.BytesIO(archived.packed())) as made:
        names = {name for name in built.namelist() if not name.startswith("cp")}
        assert set(made.namelist()) == names
        assert all(made.read(name) == built.read(name) for name in names)


def test_it_is_under_2_mb_and_each_further_version_adds_less_than_half_of_one(pyz: str, broad: str) -> None:
    versions = {python.version[:2] for python in PYTHONS}
    assert os.path.getsize(pyz) < 2_000_000
    assert os.path.getsize(broad) < 2_000_000 + 500_000 * (len(versions) - 1)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A checkout whose package is next to nothing."""
    shutil.copy(BUILD, tmp_path)
    (tmp_path / "simple_clearance").mkdir()
    (tmp_path / "simple_clearance" / "__main__.py").write_text("")
    return tmp_path


def test_a_failed_build_says_why_and_leaves_what_was_there(tiny: Path) -> None:
    def built(*words: str) -> str:
        code, shown, told = run(sys.executable, str(tiny / "build_zipapp.py"), *words)
        assert (code, shown, told.count("\n")) == (1, "", 1)
        return told

    out = tiny / "out.pyz"
    out.write_bytes(b"the old one")
    lost = "build_zipapp.py: /no/python: No such file or directory\n"
    assert built("-o", str(out), "--for", "/no/python") == lost
    assert built("-o", str(out), "--for", "false") == "build_zipapp.py: false: status 1\n"
    assert built("-o", str(tiny / "nowhere" / "out.pyz")).endswith(": No such file or directory\n")
    (tiny / "simple_clearance" / "chaff.py").write_text("fine = 1\ndef broken(:\n")
    broken = "build_zipapp.py: %s: simple_clearance/chaff.py:2: " % sys.executable
    assert built("-o", str(out)).startswith(broken)
    (tiny / "simple_clearance" / "__main__.py").unlink()
    absent = "build_zipapp.py: %s is not there\n" % (tiny / "simple_clearance" / "__main__.py")
    assert built("-o", str(out)) == absent
    assert out.read_bytes() == b"the old one"
    assert sorted(p.name for p in tiny.iterdir()) == ["build_zipapp.py", "out.pyz", "simple_clearance"]


# --- it runs


@pytest.mark.parametrize("form", ["compiled", "sources"])
def test_every_python_runs_it(every_python: Python, archive: str, uncompiled: str, form: str) -> None:
    argv = [every_python.path, "-I", "-W", "error", archive if form == "compiled" else uncompiled]
    assert run(*argv, "--version") == SAYS_ITS_VERSION
    code, shown, told = run(*argv, "--help")
    assert (code, told) == (0, "") and shown.startswith("usage: simple-clearance")
    code, shown, told = run(*argv)
    assert (code, shown) == (2, "") and told.startswith("simple-clearance: ")


def test_it_is_executable_by_itself(pyz: str, tmp_path: Path) -> None:
    (tmp_path / "python3").symlink_to(sys.executable)
    env = {"PATH": "%s:%s" % (tmp_path, os.defpath)}
    assert run(pyz, "--version", env=env) == SAYS_ITS_VERSION


COMPILED = """
import importlib, os, runpy, sys
archive, *names = sys.argv[1:]
sys.argv[1:] = ["--version"]
runpy.run_path(archive, run_name="__main__")
sys.path.insert(1, archive)
for name in names:
    module = importlib.import_module("simple_clearance." + name.replace("/", "."))
    assert module.__file__ == os.path.join(sys.path[0], "simple_clearance", name + ".pyc"), module.__file__
    assert module.__doc__ is None, "it is not as with -OO"
from simple_clearance.demo.tape import lines
assert list(lines())
from simple_clearance.system.archived import own_command
assert own_command()[-1] == archive
code = own_command.__code__
print(code.co_filename, code.co_firstlineno)
"""


def test_every_module_runs_from_its_compiled_form(every_python: Python, archive: str, tmp_path: Path) -> None:
    """In an archive whose sources are broken and whose compiled modules are not.  Each knows its lines."""

    def without_sources(name: str, data: bytes) -> bytes:
        return b"1/0" if name.startswith("simple_clearance/") else data

    broken = changed(archive, tmp_path / "broken.pyz", without_sources)
    code, shown, told = run(every_python.path, "-I", "-W", "error", "-c", COMPILED, broken, *NAMES)
    assert (code, told) == (0, ""), told
    lines = (PACKAGE / "system/archived.py").read_text().splitlines()
    number = lines.index("def own_command() -> list[str]:") + 1
    assert shown == "%ssimple_clearance/system/archived.py %d\n" % (SAYS_ITS_VERSION[1], number)


LIBRARY = """
import importlib, os, sys, traceback
archive, *names = sys.argv[1:]
sys.path.insert(0, archive)
from simple_clearance import ClearanceSession, run_simple_clearance, session
assert ClearanceSession is session.ClearanceSession
for name in names:
    module = importlib.import_module("simple_clearance." + name.replace("/", "."))
    assert module.__file__ == os.path.join(archive, "simple_clearance", name + ".py"), module.__file__
from simple_clearance.demo.tape import lines
assert list(lines())
from simple_clearance.system.archived import own_command
assert own_command()[-1] == archive
try:
    run_simple_clearance(state_dir=None, container="c1")
except TypeError as error:
    for frame in traceback.extract_tb(error.__traceback__):
        print(os.path.basename(frame.filename), frame.lineno, frame.line)
"""


def test_it_is_a_library_too(every_python: Python, archive: str, tmp_path: Path) -> None:
    """Every module comes out of it, from its source, and a trace shows the lines."""
    argv = [every_python.path, "-I", "-W", "error", "-c", LIBRARY, archive, *NAMES]
    code, shown, told = run(*argv, cwd=tmp_path)
    assert (code, told) == (0, ""), told
    file, number, line = shown.splitlines()[-1].split(" ", 2)
    real = (PACKAGE / file).read_text().splitlines()
    assert file == "cli.py" and line == real[int(number) - 1].strip(), shown


def test_the_checkout_runs_as_a_module(every_python: Python) -> None:
    argv = [every_python.path, "-W", "error", "-B", "-m", "simple_clearance"]
    assert run(*argv, "--version", cwd=ROOT) == SAYS_ITS_VERSION


def test_an_old_python_is_told_so_in_one_line(old_python: Python, pyz: str, tiny: Path) -> None:
    build = [str(tiny / "build_zipapp.py"), "-o", str(tiny / "out.pyz")]
    is_old = "needs Python 3.8 or later, this is %d.%d\n" % old_python.version[:2]
    assert run(old_python.path, pyz, "c1") == (3, "", "simple-clearance: " + is_old)
    assert run(old_python.path, *build) == (3, "", "build_zipapp.py: " + is_old)
    build = [sys.executable, *build, "--for", old_python.path]
    assert run(*build) == (1, "", "build_zipapp.py: %s: %s" % (old_python.path, is_old))
    assert not (tiny / "out.pyz").exists()


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


# --- it is not what it was


def pyc(code: bytes, magic: bytes = importlib.util.MAGIC_NUMBER) -> bytes:
    return magic + b"\1\0\0\0" + bytes(8) + code


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\0", id="half a header"),
        pytest.param(pyc(marshal.dumps(compile("1/0", "", "exec")), b"\0\0\r\n"), id="of another kind"),
        pytest.param(pyc(b""), id="no code"),
        pytest.param(pyc(b"(\xff"), id="not marshalled"),
        pytest.param(pyc(marshal.dumps(7)), id="not code"),
    ],
)
def test_where_the_compiled_form_is_none_the_sources_run(pyz: str, tmp_path: Path, form: bytes) -> None:
    compiled = "cp%d%d/simple_clearance/__init__.pyc" % sys.version_info[:2]
    damaged = changed(pyz, tmp_path / "damaged.pyz", lambda name, data: form if name == compiled else data)
    assert run(sys.executable, "-W", "error", damaged, "--version") == SAYS_ITS_VERSION


def test_what_was_compiled_by_another_python_does_not_run(
    every_python: Python, archive: str, tmp_path: Path
) -> None:
    """As for a pre-release, whose version says the same as the release's."""

    def another(name: str, data: bytes) -> bytes:
        return pyc(data[16:], b"\0\0\r\n") if name.endswith(".pyc") else data

    mixed = changed(archive, tmp_path / "mixed.pyz", another)
    code, shown, told = run(every_python.path, "-W", "error", mixed, "--help")
    assert (code, told) == (0, "") and shown.startswith("usage: simple-clearance")


WHICHEVER = ("cli", "base/options", "session", "prompt/questions.py", "prompt/questions")


@pytest.mark.parametrize("module", WHICHEVER)
def test_one_whose_bytes_have_changed_says_so_in_a_line(
    every_python: Python, archive: str, uncompiled: str, tmp_path: Path, module: str
) -> None:
    """Whichever module it is, and whoever imports it, compiled or not."""
    compiled = not module.endswith(".py")
    entry = "simple_clearance/" + module
    if compiled:
        entry = folder(every_python) + entry + ".pyc"
    path = shutil.copy(archive if compiled else uncompiled, tmp_path / "damaged.pyz")
    with zipfile.ZipFile(path) as z:
        item = z.getinfo(entry)
    with open(path, "r+b") as file:
        file.seek(item.header_offset + 30 + len(item.filename) + 10)
        file.write(b"\xff" * (item.compress_size - 20))
    code, shown, told = run(every_python.path, "-W", "error", path, "--replay", os.devnull, "--json")
    assert (code, shown) == (3, "")
    assert told.startswith("simple-clearance: %s is damaged, or was replaced or removed: " % path)
    assert told.count("\n") == 1


WHILE_IT_STARTS = {
    "cli": None,  # a role's module, before it does anything
    "arguments": None,
    "check": {"run"},
    "demo/demo": None,
    "reader/reader": None,
    "sources/fleet": {"start_replay"},
    "joined/links": {"join"},
    "session": {"_load_policy", "_open_records", "_piped_front", "_greet", "_save_policy"},
}


def test_a_session_imports_all_its_modules_before_it_asks_anything() -> None:
    """Its file may be another one later."""
    late = []
    for module in NAMES:
        if module in WHILE_IT_STARTS and WHILE_IT_STARTS[module] is None:
            continue
        for function in ast.walk(ast.parse((PACKAGE / (module + ".py")).read_text())):
            if not isinstance(function, ast.FunctionDef) or function.name in WHILE_IT_STARTS.get(module, ()):
                continue
            for node in ast.walk(function):
                if isinstance(node, ast.ImportFrom) and node.level:
                    late.append((module, function.name, node.module))
    assert [one for one in late if one[0] != "__init__"] == []


# --- the command line that it begins with


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("--version", "c1")], ids=" ".join)
def test_a_stdout_that_takes_nothing_is_told(
    every_python: Python, archive: str, words: tuple[str, ...]
) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [every_python.path, archive, *words], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (5, b"simple-clearance: stdout: No space left on device\n")


def test_names_alone_need_no_parser_and_mean_the_same() -> None:
    assert repr(arguments.parse(["c1", "c2"])) == repr(arguments.parse(["--", "c1", "c2"]))
    code = "import sys; from simple_clearance.arguments import parse; parse(['c1'])"
    code += "; print('argparse' in sys.modules)"
    assert run(sys.executable, "-c", code, cwd=ROOT) == (0, "False\n", "")
