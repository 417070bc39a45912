"""The command, for `python3 -m simple_clearance` and as the archive's own `__main__.py`.

Any Python must be able to read this file, 2.7 too, so that one that is too old says so in a line.
`--version` is answered here: it is what scripts ask first, and needs none of the rest.  Nothing that takes
a while comes before `main`, which has words for a Ctrl-C.
"""

import os
import sys


def main():  # type: () -> None
    if sys.version_info < (3, 8):
        version = "%d.%d" % sys.version_info[:2]
        sys.stderr.write("simple-clearance: needs Python 3.8 or later, this is %s\n" % version)
        sys.exit(3)
    archive = getattr(__spec__ and __spec__.loader, "archive", "")
    try:
        if archive:
            prefer_compiled(archive)
        if sys.argv[1:] == ["--version"] and sys.stdout:
            from simple_clearance import __version__

            try:
                os.write(1, ("simple-clearance %s\n" % __version__).encode("ascii"))
                return
            except OSError:
                pass  # the command line says why
        from simple_clearance.cli import script

        code = script()
    except KeyboardInterrupt:  # the command line, once it is there, has the same words
        sys.stderr.write("simple-clearance: stopped before anything was watched\n")
        code = 3
    except Exception as error:
        import errno

        where = sys.exc_info()[2]
        while where and where.tb_next:
            where = where.tb_next
        if getattr(error, "errno", 0) in (errno.EMFILE, errno.ENFILE):
            more = "hint: allow it more open files: ulimit -n 1024, LimitNOFILE=1024 in a unit"
            error = ImportError("too many open files\n%s" % more)
        elif where and where.tb_frame.f_globals.get("__name__") == "zipimport":
            error = ImportError("%s is damaged, or was replaced or removed: %s" % (archive, error))
        if not isinstance(error, ImportError):
            raise
        sys.stderr.write("simple-clearance: %s\n" % error)
        code = 3
    sys.exit(code)


def prefer_compiled(archive):  # type: (str) -> None
    """What was compiled for this version of Python comes first, where the archive has it."""
    import zipimport

    folder = "%s/cp%d%d" % ((archive,) + sys.version_info[:2])
    try:
        zipimport.zipimporter(folder).get_code("simple_clearance")
    except Exception:  # there is none, it is for another kind of this version, or damaged
        return
    sys.path.insert(0, folder)


if __name__ == "__main__":
    main()
