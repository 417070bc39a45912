"""The file that this program runs from, where it is one: the archive.

The awkward fact: it may be replaced or removed while a session runs.  Each module is read from it
when it is first imported.  A session has imported all its modules before it asks anything
(tests/package holds it to that), and so has what forks its readers: neither needs the file any more.
"""

from __future__ import annotations

import os
import sys


def path() -> str:
    """Where the archive is, absolute; empty for a checkout or an installed package."""
    archive = getattr(__spec__.loader, "archive", "")
    return os.path.abspath(archive) if archive else ""


def own_command() -> list[str]:
    """The command line that runs this program in another role: the same archive, or the same checkout."""
    start = [sys.executable or "python3", "-I", "-S"]
    archive = path()
    if archive:
        return [*start, archive]
    home = os.path.abspath(os.path.join(os.path.dirname(__file__), os.pardir, os.pardir))
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); from simple_clearance.__main__ import main; main()"
    )
    return [*start, "-c", code, home]


def packed() -> bytes:
    """An archive of this checkout or package, with all that a build puts there but the compiled forms."""
    import io
    import zipfile

    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(os.path.join(home, "__main__.py"), "__main__.py")
        for folder, _, names in os.walk(home):
            for name in names:
                if name.endswith((".py", ".jsonl", ".txt")):
                    path = os.path.join(folder, name)
                    archive.write(path, os.path.relpath(path, os.path.dirname(home)))
    return out.getvalue()
