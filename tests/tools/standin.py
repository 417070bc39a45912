"""What the stand-ins share: the host's folder, a record of each call, and ways to misbehave.

In the folder: `control.json` (what the test wants), `containers/NAME.json` (as podman prints them),
`calls.jsonl` (a line as a call begins, one as it ends).  Times are of the monotonic clock, which
all processes share.
"""

import json
import os
import sys
import time

FOLDER = sys.argv[1]


def _load(path):
    try:
        with open(path) as f:
            return json.load(f)
    except FileNotFoundError:
        return {}


def control(section):
    return _load(os.path.join(FOLDER, "control.json")).get(section, {})


def containers():
    folder = os.path.join(FOLDER, "containers")
    return [
        _load(os.path.join(folder, name)) for name in sorted(os.listdir(folder)) if name.endswith(".json")
    ]


def container(name):
    """By its name or the beginning of its id."""
    named = [it for it in containers() if it["Name"] == name]
    return (named or [it for it in containers() if name and it["Id"].startswith(name)] or [None])[0]


def tell(line):
    sys.stdout.flush()
    sys.stderr.buffer.write(line.encode() + b"\n")
    sys.stderr.buffer.flush()


def pause(section):
    time.sleep(control(section).get("delay", 0))


def hang():
    while True:
        time.sleep(3600)


def chatter(megabytes=20):
    """More than anyone wants to keep, then success."""
    for _ in range(16 * megabytes):
        sys.stdout.write(("%s\n" % ("chatter " * 8)) * 1024)
    return 0


def _record(**what):
    line = (json.dumps(dict(what, pid=os.getpid(), at=time.monotonic())) + "\n").encode()
    fd = os.open(os.path.join(FOLDER, "calls.jsonl"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
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
