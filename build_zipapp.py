#!/usr/bin/env python3
"""Build the whole program as one executable file: `build_zipapp.py -o simple-clearance.pyz`.

A plain zipapp: the sources at its root, where any Python finds them, and in a folder for each version
(`cp311/`, `cp313/`, ...) the package again, compiled: for the Python that builds it, and for each
`--for PYTHON`.  `__main__.py` prefers that folder, since compiling takes most of a start.

The same sources and the same versions give the same bytes, whichever of them builds, and whatever the
folder, the clock, the umask, the locale or the hash seed; where zlib is the same, that is.

Any Python must be able to read this file, 2.7 too, to be told in one line that it is too old:
hence types in comments.
"""

import sys

if sys.version_info < (3, 8):
    sys.stderr.write("build_zipapp.py: needs Python 3.8 or later, this is %d.%d\n" % sys.version_info[:2])
    sys.exit(3)

import argparse
import io
import marshal
import os
import subprocess
import tempfile
import zipfile

PACKAGE = "simple_clearance"
SHEBANG = b"#!/usr/bin/env python3\n"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date that a zip file can hold

# Compiles the sources on stdin, and names the folder for them, as `__main__.py` will look for it.
# In a process of its own, since what marshal writes depends on which objects are shared, and that on
# all that ran before.  Without assertions and docstrings, as with -OO, and without what only a type checker
# reads, a tenth of it.  What it writes has the hash of the source in place of its time, and is not checked
# against it (PEP 552).
COMPILER = r"""
import sys
if sys.version_info < (3, 8):
    sys.exit("needs Python 3.8 or later, this is %d.%d" % sys.version_info[:2])
import ast, importlib.util, marshal

class Bare(ast.NodeTransformer):
    def visit_FunctionDef(self, node):
        self.generic_visit(node)
        node.returns = None
        return node
    def visit_arg(self, node):
        node.annotation = None
        return node
    def visit_AnnAssign(self, node):
        bare = ast.Assign([node.target], node.value) if node.value else ast.Pass()
        return ast.copy_location(bare, node)
    def visit_If(self, node):
        checked = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        return ast.copy_location(ast.Pass(), node) if checked else self.generic_visit(node)

compiled = {}
for path, source in sorted(marshal.load(sys.stdin.buffer).items()):
    try:
        tree = ast.fix_missing_locations(Bare().visit(ast.parse(source, path)))
        code = compile(tree, path, "exec", 0, True, 2)
    except SyntaxError as error:
        sys.exit("%s:%s: %s" % (path, error.lineno, error.msg))
    head = importlib.util.MAGIC_NUMBER + b"\1\0\0\0" + importlib.util.source_hash(source)
    compiled[path + "c"] = head + marshal.dumps(code)
marshal.dump(("cp%d%d" % sys.version_info[:2], compiled), sys.stdout.buffer, 2)
"""


class CannotBuild(Exception):
    """Why not, in one line."""


def package(root):  # type: (str) -> dict[str, bytes]
    """Path below `root` -> contents of each module and of each file that one reads."""
    found = {}
    for folder, _, names in os.walk(os.path.join(root, PACKAGE)):
        for name in names:
            if name.endswith((".py", ".jsonl", ".txt")):
                path = os.path.join(folder, name)
                with open(path, "rb") as f:
                    found[os.path.relpath(path, root)] = f.read()
    return found


def compiled(python, files):  # type: (str, dict[str, bytes]) -> tuple[str, dict[str, bytes]]
    """The folder for the version of `python`; path -> contents of the package as it stands in there."""
    sources = {path: data for path, data in files.items() if path.endswith(".py")}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["PYTHONHASHSEED"] = "0"  # it decides the order of sets in older Pythons
    environment["PYTHONNODEBUGRANGES"] = "1"  # columns, which only a whole traceback would show
    done = subprocess.run(
        [python, "-s", "-S", "-B", "-c", COMPILER],
        input=marshal.dumps(sources, 2),
        capture_output=True,
        env=environment,
        cwd="/",
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().split("\n")[-1]
        raise CannotBuild("%s: %s" % (python, said or "status %d" % done.returncode))
    folder, codes = marshal.loads(done.stdout)
    codes.update((path, data) for path, data in files.items() if path not in sources)
    return folder, codes


def archive(root, pythons):  # type: (str, list[str]) -> bytes
    """The whole file, the shebang line and then the zip, with forms compiled for these Pythons."""
    entry, files = os.path.join(PACKAGE, "__main__.py"), package(root)
    if entry not in files:
        raise CannotBuild("%s is not there" % os.path.join(root, entry))
    forms = [compiled(python, files) for python in pythons]
    folders = dict(reversed(forms))  # of two of the same version the first
    out = io.BytesIO(SHEBANG)
    out.seek(0, os.SEEK_END)
    with zipfile.ZipFile(out, "w") as z:
        add(z, "__main__.py", files[entry])  # compiled it would be there for one version alone
        for path in sorted(files):
            add(z, path, files[path])
        # Unpacking is a tenth of a start; with several versions the file would be too large.
        packed = len(folders) > 1
        for folder in sorted(folders):
            for path in sorted(folders[folder]):
                add(z, os.path.join(folder, path), folders[folder][path], packed)
    return out.getvalue()


def add(z, name, data, packed=True):  # type: (zipfile.ZipFile, str, bytes, bool) -> None
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.create_system = 3  # Unix, wherever it is built
    entry.external_attr = 0o100644 << 16
    z.writestr(entry, data, zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED, 9)


def save(path, data):  # type: (str, bytes) -> None
    """Whole or not at all, and executable whatever the umask."""
    folder = os.path.dirname(os.path.abspath(path))
    fd, temporary = tempfile.mkstemp(prefix=".", suffix=".pyz", dir=folder)
    try:
        with os.fdopen(fd, "wb") as f:
            f.write(data)
            os.fchmod(f.fileno(), 0o755)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def main():  # type: () -> int
    parser = argparse.ArgumentParser(description="Build simple-clearance as one executable file.")
    parser.add_argument("-o", "--output", metavar="FILE", required=True, help="the file to write")
    parser.add_argument(
        "--for",
        metavar="PYTHON",
        dest="others",
        action="append",
        default=[],
        help="another Python that it is to start quickly with; repeatable",
    )
    options = parser.parse_args()
    try:
        pythons = [sys.executable] + options.others
        save(options.output, archive(os.path.dirname(os.path.abspath(__file__)), pythons))
    except OSError as e:
        sys.stderr.write("build_zipapp.py: %s: %s\n" % (e.filename or options.output, e.strerror))
        return 1
    except CannotBuild as e:
        sys.stderr.write("build_zipapp.py: %s\n" % e)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
