"""What the stand-ins share: the host's folder, a record of each call, and ways to misbehave.

In the folder: `control` (what the test wants), `containers/NAME.json` (as podman prints them),
`calls` (a line as a call begins, one as it ends).  Times are of the monotonic clock, which all
processes share.  Hundreds of tests start one, so it imports what it needs when it needs it, and
`control` and `calls` hold Python's literals, which take no module to read.
"""

import os
import sys
import time

FOLDER = sys.argv[1]


def control(section):
    try:
        with open(os.path.join(FOLDER, "control")) as f:
            return eval(f.read()).get(section, {})
    except FileNotFoundError:
        return {}


def texts():
    """What podman prints of each container, in the order of their names."""
    folder = os.path.join(FOLDER, "containers")
    found = []
    for name in sorted(os.listdir(folder)):
        if name.endswith(".json"):
            with open(os.path.join(folder, name)) as f:
                found.append(f.read())
    return found


def text(name):
    """The same of one, by its name or the beginning of its id; "" where there is none, None for several."""
    for start in ('"Name": "%s"', '"Id": "%s'):
        found = [it for it in texts() if name and start % name in it]
        if found:
            return found[0] if len(found) == 1 else None
    return ""


def read(text):
    """A container, from what podman prints of it."""
    return eval(text, {"true": True, "false": False, "null": None})


def tell(line):
    sys.stdout.flush()
    sys.stderr.buffer.write(line.encode() + b"\n")
    sys.stderr.buffer.flush()


def pause(wanted):
    """As long as is wanted: so many seconds (`delay`), and until there is a file of that name (`gate`)."""
    time.sleep(wanted.get("delay", 0))
    while wanted.get("gate") and not os.path.exists(wanted["gate"]):
        time.sleep(0.01)


def hang():
    while True:
        time.sleep(3600)


def chatter(megabytes=20):
    """More than anyone wants to keep, then success."""
    for _ in range(16 * megabytes):
        sys.stdout.write(("%s\n" % ("chatter " * 8)) * 1024)
    return 0


def _record(**what):
    line = ascii(dict(what, pid=os.getpid(), at=time.monotonic())).encode() + b"\n"
    fd = os.open(os.path.join(FOLDER, "calls"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, line)  # one write, so that lines of several processes don't mix
    os.close(fd)


def started(pid):
    """A child that outlives us: the host ends it with the test."""
    _record(child=pid)


def run(tool, main):
    words = sys.argv[2:]
    _record(tool=tool, argv=words)
    try:
        code = main(words)
        sys.stdout.flush()
    except BrokenPipeError:
        code = 1
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    _record(tool=tool, rc=code)
    sys.exit(code)
