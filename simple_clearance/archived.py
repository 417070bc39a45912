"""Imports the package's modules from the archive, where two compressed entries hold them all.

`sources` serves any Python; `compiled-…`, beside it, only the version that built the archive: those
modules that there was room for.  That takes half the room of an entry for each module and a fraction
of the time.  zipimport, which knows only such entries, imports the package itself and this.

The awkward fact: the file may be replaced or removed while a session runs.  `compiled-…` is read
whole at the start, and `sources` once a module is not in it; a session has imported all its modules
before it asks anything (tests/package holds it to that), so it needs nothing more of the file.  The
processes that it starts later do: `replaced` is for whoever has to say why one of them failed.
"""

from __future__ import annotations

import marshal
import os
import sys
from _frozen_importlib_external import MAGIC_NUMBER  # importlib.util, where it is public, costs 3 ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import CodeType, ModuleType
    from zipimport import zipimporter

SOURCES = "sources"  # for each module: name, NUL, source, NUL
COMPILED = "compiled-%s" % MAGIC_NUMBER.hex()  # marshalled: name -> marshalled code


def serve(package: ModuleSpec) -> None:
    """From now on the modules of this package come from the archive that it came from itself."""
    sys.meta_path.insert(0, Importer(package))


def replaced() -> str:
    """The archive that this program runs from, if it is not the file any more that it was, else ""."""
    importer = next((finder for finder in sys.meta_path if isinstance(finder, Importer)), None)
    return importer.path if importer is not None and importer.is_replaced() else ""


class Importer:
    """Finds the modules of one package and loads them; for a trace it has their lines."""

    def __init__(self, package: ModuleSpec) -> None:
        self._package = package
        self._archive: zipimporter = package.loader  # type: ignore[assignment]
        self._sources: dict[bytes, bytes] = {}
        self._codes: dict[str, bytes] = {}
        self.path = os.path.abspath(self._archive.archive)
        self._stamp = self._look()
        try:
            self._codes = dict(marshal.loads(self._archive.get_data(COMPILED)))
        except Exception:  # OSError: built by another version; anything, zlib's own too: it is damaged
            pass

    def is_replaced(self) -> bool:
        return self._look() != self._stamp

    def _look(self) -> tuple[int, ...]:
        try:
            found = os.stat(self.path)
        except OSError:
            return ()
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        package, _, module = name.rpartition(".")
        if package != self._package.name or not (module in self._codes or self._source(name)):
            return None
        spec = type(self._package)(name, self, origin=self.get_filename(name))  # type: ignore[arg-type]
        spec.has_location = True  # it becomes `__file__`
        return spec

    def create_module(self, _spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(self.get_code(module.__name__), module.__dict__)

    def get_code(self, name: str) -> CodeType:
        code = self._codes.pop(name.rpartition(".")[2], None)  # nobody asks twice
        try:
            if code is not None:
                return marshal.loads(code)  # type: ignore[no-any-return]
        except (EOFError, ValueError, TypeError):
            pass  # damaged, but its source may not be
        source = self._source(name)
        if not source:
            raise ImportError("no module named %r" % name, name=name)
        return compile(source, self.get_filename(name), "exec", 0, True, 2)

    def get_source(self, name: str) -> str:
        return self._source(name).decode()

    def get_filename(self, name: str) -> str:
        return "%s/%s.py" % (self._archive.archive, name.replace(".", "/"))

    def is_package(self, _name: str) -> bool:
        return False

    def _source(self, name: str) -> bytes:
        """Empty where there is no such module; ImportError where there is no such archive any more."""
        if not self._sources:
            try:
                words = self._archive.get_data(SOURCES).split(b"\0")
            except Exception as error:  # OSError, ZipImportError, EOFError, zlib's own: damaged or replaced
                text = "%s is damaged, or was replaced or removed: %s" % (self.path, error)
                raise ImportError(text, name=name) from None
            self._sources = dict(zip(words[::2], words[1::2]))
        return self._sources.get(name.rpartition(".")[2].encode(), b"")
