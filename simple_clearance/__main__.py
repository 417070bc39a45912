"""The command, for `python3 -m simple_clearance` and as the archive's own `__main__.py`.

Any Python must be able to read this file, 2.7 too, so that one that is too old says so in a line.
`--version` is answered here: it is what scripts ask first, and needs none of the rest.
"""

import os
import sys


def main():  # type: () -> None
    if sys.version_info < (3, 8):
        version = "%d.%d" % sys.version_info[:2]
        sys.stderr.write("simple-clearance: needs Python 3.8 or later, this is %s\n" % version)
        sys.exit(3)
    if sys.argv[1:] == ["--version"] and sys.stdout:
        from simple_clearance import __version__

        try:
            os.write(1, ("simple-clearance %s\n" % __version__).encode("ascii"))
            return
        except OSError:
            pass  # the command line says why
    try:
        from simple_clearance.cli import script
    except ImportError as error:  # a damaged archive
        sys.stderr.write("simple-clearance: %s\n" % error)
        sys.exit(3)
    sys.exit(script())


if __name__ == "__main__":
    main()
