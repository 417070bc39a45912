"""The file that this program runs from, where it is one: the archive.

The awkward fact: it may be replaced or removed while a session runs.  Each module is read from it
when it is first imported.  A session has imported all its modules before it asks anything
(tests/package holds it to that), so it needs nothing more of the file; the readers that it starts
later do.
"""

from __future__ import annotations

import os


def path() -> str:
    """Where the archive is, absolute; empty for a checkout or an installed package."""
    archive = getattr(__spec__.loader, "archive", "")
    return os.path.abspath(archive) if archive else ""


def stamp() -> tuple[int, ...]:
    """Another one than before: the archive is not the file any more that it was."""
    try:
        found = os.stat(path())
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
