"""Whole sessions at random, for as long as you like.

    .venv/bin/python tests/bench/bench_sessions.py [SECONDS [FIRST_SEED]]

Each session is a `fuzzing` one with the next seed, of each kind in turn.  One that breaks a promise is
told with its seed and its story; it ends with 1 where there was one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.dirname(os.path.dirname(HERE))]

from fuzzing.kinds import KINDS  # noqa: E402 - found through the lines above
from support import ROOT  # noqa: E402


def main(seconds: float = 600.0, seed: float = 1.0) -> int:
    for number in (signal.SIGINT, signal.SIGHUP):  # ignored in a script's `&`, and so in each session
        signal.signal(number, signal.SIG_DFL)
    seed, first, verdicts, broken = int(seed), int(seed), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        archive = folder + "/simple-clearance.pyz"
        subprocess.run([sys.executable, ROOT + "/build_zipapp.py", "-o", archive], check=True)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            began = time.monotonic()
            kind = list(KINDS)[seed % len(KINDS)]
            with KINDS[kind]("%s/%d" % (folder, seed), archive, seed, 4.0 + seed % 4 * 4.0) as episode:
                try:
                    episode.run()
                    faults = episode.faults()
                except Exception:
                    faults = [traceback.format_exc()]
                verdicts += len(episode.host.verdicts())
                if faults:
                    broken += 1
                    print("seed %d:" % seed, *faults, *episode.story, sep="\n  ", flush=True)
                print(
                    "seed %d: %s, %.1f s, %d verdicts, %d destinations"
                    % (
                        seed,
                        kind,
                        time.monotonic() - began,
                        len(episode.host.verdicts()),
                        len(episode.sent),
                    ),
                    flush=True,
                )
            seed += 1
    print("%d sessions, %d verdicts, %d broke a promise" % (seed - first, verdicts, broken))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(*map(float, sys.argv[1:])))
