#!/usr/bin/env python3
"""Build the whole program as one executable file: `build_zipapp.py -o simple-clearance.pyz`.

The same sources and the same Python give the same bytes, whatever the folder, the clock, the
umask, the locale or the hash seed.  All modules lie in one entry, `sources`, and as many as there
is room for in another, compiled for this Python: `simple_clearance/archived.py` imports them from
there.  Both go without what only readers need (comments, docstrings, annotations), line by line, so
that a trace still names the line of the real source.

Any Python must be able to read this file, 2.7 too, to be told in one line that it is too old:
hence types in comments.
"""

import sys

if sys.version_info < (3, 8):
    sys.stderr.write("build_zipapp.py: needs Python 3.8 or later, this is %d.%d\n" % sys.version_info[:2])
    sys.exit(3)

import argparse
import ast
import importlib.util
import io
import marshal
import os
import subprocess
import tempfile
import tokenize
import zipfile

PACKAGE = "simple_clearance"
SHEBANG = b"#!/usr/bin/env python3\n"
LIMIT = 192 * 1024
EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date that a zip file can hold

# As `simple_clearance/archived.py` has it.
SOURCES = "sources"
COMPILED = "compiled-%s" % importlib.util.MAGIC_NUMBER.hex()

# What the interpreter imports by itself: entries of their own, each with its compiled form beside it.
BY_ZIPIMPORT = ("__main__", "__init__", "archived")

# The first to be compiled: what `--help` and the reader need, for then they need not unpack `sources`.
# Next what a session imports until it watches, those first where a byte saves the most time, and then
# the rest, the smallest first.
FIRST = (
    ("cli", "options", "errors", "text", "moment", "clocks")
    + ("reader", "nflog", "ipheader", "packetlog", "tally", "output", "netns", "addresses")
    + (
        "docket",
        "dnslog",
        "prompt",
        "screen",
        "layout",
        "session",
        "fleet",
        "dbuswire",
        "views",
        "lists",
        "hub",
        "hubplaces",
    )
    + (
        "source",
        "children",
        "happenings",
        "jsonlines",
        "readerline",
        "dbus",
        "notices",
        "coprocess",
        "watch",
        "container",
        "runner",
    )
    + ("proof", "keys", "requests", "follow", "bus", "register", "processes", "bridge")
    + ("shieldlog", "forgotten", "watched", "front", "rules", "guard", "terminal", "shields", "verdict")
    + ("painter", "names", "statedir", "audit", "loop", "groups")
)

# Compiles each source (name, length, bytes) on stdin and answers with length and bytes.  In a
# process of its own, since what marshal writes depends on which objects are shared, and that on
# all that ran before.  Without assertions, as with -OO, and without columns: since 3.12 each of them
# would make an entry of its own in the table of lines, a twentieth of the code.
COMPILER = """
import ast, marshal, sys
read, write = sys.stdin.buffer.read, sys.stdout.buffer.write
for line in sys.stdin.buffer:
    name, length = line.decode().rsplit(" ", 1)
    tree = ast.parse(read(int(length)))
    for node in ast.walk(tree):
        if hasattr(node, "lineno"):
            node.col_offset = node.end_col_offset = 0
    code = marshal.dumps(compile(tree, name, "exec", 0, True, 2))
    write(b"%d\\n" % len(code) + code)
"""


class CannotBuild(Exception):
    """Why not, in one line."""


def sources(root):  # type: (str) -> dict[str, bytes]
    """Name -> source of each module, and file name -> contents of what it reads."""
    folder = os.path.join(root, PACKAGE)
    found = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith((".py", ".jsonl")):
            with open(os.path.join(folder, name), "rb") as f:
                found[name] = f.read()
        if name.endswith(".py"):
            try:
                found[name[:-3]] = cut(found.pop(name))
            except SyntaxError as e:
                raise CannotBuild("%s:%s: %s" % (os.path.join(PACKAGE, name), e.lineno, e.msg))
    if "__main__" not in found:
        raise CannotBuild("%s has no __main__.py" % folder)
    return found


def cut(source):  # type: (bytes) -> bytes
    """This module without what only readers need; each statement stays on its line."""
    tree, starts = ast.parse(source), [0]
    for line in source.splitlines(True):
        starts.append(starts[-1] + len(line))
    cuts = []  # type: list[tuple[int, int, bytes]]

    def drop(start, end):  # type: (int, int) -> None
        while source[start - 1 : start] == b" ":  # back to the code before it, or the line's start
            start -= 1
        cuts.append((start, end, b""))

    def place(node):  # type: (ast.AST) -> tuple[int, int]
        first, last = node.lineno, node.end_lineno  # type: ignore[attr-defined]
        left, right = node.col_offset, node.end_col_offset  # type: ignore[attr-defined]
        return starts[first - 1] + left, starts[last - 1] + right

    for token in tokenize.tokenize(io.BytesIO(source).readline):
        if token.type == tokenize.COMMENT:
            at = starts[token.start[0] - 1] + len(token.line[: token.start[1]].encode())
            drop(at, at + len(token.string.encode()))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
            start, end = place(node.body[0])
            alone = len(node.body) == 1 and not isinstance(node, ast.Module)
            cuts.append((start, end, b"pass")) if alone else drop(start, end)
        if isinstance(node, ast.arg) and node.annotation:
            drop(place(node)[0] + len(node.arg.encode()), place(node.annotation)[1])
        # outside brackets a line can't end where it likes: what spans lines stays
        if isinstance(node, ast.FunctionDef) and node.returns:
            start, end = place(node.returns)
            start = source.rindex(b"->", 0, start)
            if b"\n" not in source[start:end]:
                drop(start, end)
        if isinstance(node, ast.AnnAssign) and node.value:
            start, end = place(node.target)[1], place(node.annotation)[1]
            if b"\n" not in source[start:end]:
                drop(start, end)
        if is_for_types(node):
            drop(*place(node))
    for start, end, instead in without_inner(cuts):
        source = source[:start] + instead + b"\n" * source.count(b"\n", start, end) + source[end:]
    return source


def is_for_types(node):  # type: (ast.AST) -> bool
    """Is this `TYPE_CHECKING = False`, or an `if TYPE_CHECKING:` without an `else`?"""
    if isinstance(node, ast.Assign):
        name, no = node.targets[0], isinstance(node.value, ast.Constant) and node.value.value is False
    elif isinstance(node, ast.If):
        name, no = node.test, not node.orelse
    else:
        return False
    return no and isinstance(name, ast.Name) and name.id == "TYPE_CHECKING"


def without_inner(cuts):  # type: (list[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]
    """From the last to the first, without those that lie inside another."""
    outer = []  # type: list[tuple[int, int, bytes]]
    for it in sorted(cuts, key=lambda it: (it[0], -it[1])):
        if not outer or it[0] >= outer[-1][1]:
            outer.append(it)
    return outer[::-1]


def path(module):  # type: (str) -> str
    """Where zipimport looks for it: the package's `__main__` is the archive's."""
    return "%s.py" % module if module == "__main__" else "%s/%s.py" % (PACKAGE, module)


def compiled(modules):  # type: (dict[str, bytes]) -> dict[str, bytes]
    """Name of each module -> its code, marshalled."""
    requests = b"".join(
        b"%s %d\n%s" % (path(name).encode(), len(text), text) for name, text in modules.items()
    )
    # -I would make it ignore the hash seed, which decides the order of sets in older Pythons
    environment = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C"}
    if "LD_LIBRARY_PATH" in os.environ:
        environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    argv = [sys.executable, "-s", "-S", "-X", "no_debug_ranges", "-c", COMPILER]
    done = subprocess.run(argv, input=requests, capture_output=True, env=environment, cwd="/", check=False)
    if done.returncode:
        raise CannotBuild(done.stderr.decode("utf-8", "replace").strip().split("\n")[-1])
    answers = io.BytesIO(done.stdout)
    return {name: answers.read(int(answers.readline())) for name in modules}


def pyc(source, code):  # type: (bytes, bytes) -> bytes
    """With the hash of the source instead of its time, and not to be checked against it (PEP 552)."""
    return importlib.util.MAGIC_NUMBER + b"\1\0\0\0" + importlib.util.source_hash(source) + code


def archive(found, codes, served):  # type: (dict[str, bytes], dict[str, bytes], list[str]) -> bytes
    """The whole file, the shebang line and then the zip, with these modules compiled."""
    out = io.BytesIO()
    out.write(SHEBANG)
    rest = dict(found)
    with zipfile.ZipFile(out, "w") as z:
        for name in BY_ZIPIMPORT:
            source = rest.pop(name)
            add(z, path(name) + "c", pyc(source, codes[name]))  # where zipimport looks first
            add(z, path(name), source)
        for name in [name for name in rest if "." in name]:
            add(z, "%s/%s" % (PACKAGE, name), rest.pop(name))
        add(z, COMPILED, marshal.dumps({name: codes[name] for name in served}, 2))
        add(z, SOURCES, b"\0".join(b"%s\0%s" % (name.encode(), rest[name]) for name in rest))
    return out.getvalue()


def fitting(found):  # type: (dict[str, bytes]) -> bytes
    """The archive with as many compiled modules as its limit leaves room for."""
    codes = compiled({name: source for name, source in found.items() if "." not in name})
    others = sorted(set(codes) - set(FIRST + BY_ZIPIMPORT), key=lambda name: (len(codes[name]), name))
    order = [name for name in FIRST if name in codes] + others
    data, most, over = archive(found, codes, []), 0, len(order) + 1
    if len(data) >= LIMIT:
        raise CannotBuild("%d bytes, and it has to stay under %d" % (len(data), LIMIT))
    while over - most > 1:
        n = (most + over) // 2
        larger = archive(found, codes, order[:n])
        if len(larger) < LIMIT:
            data, most = larger, n
        else:
            over = n
    return data


def add(z, name, data):  # type: (zipfile.ZipFile, str, bytes) -> None
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.create_system = 3  # Unix, wherever it is built
    entry.external_attr = 0o100644 << 16
    z.writestr(entry, data, zipfile.ZIP_DEFLATED, 9)


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
    options = parser.parse_args()
    try:
        save(options.output, fitting(sources(os.path.dirname(os.path.abspath(__file__)))))
    except OSError as e:
        sys.stderr.write("build_zipapp.py: %s: %s\n" % (e.filename or options.output, e.strerror))
        return 1
    except CannotBuild as e:
        sys.stderr.write("build_zipapp.py: %s\n" % e)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
