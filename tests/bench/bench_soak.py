"""A hub that comes and goes under sessions with waiting questions, for as long as you like.

    .venv/bin/python tests/bench/bench_soak.py [SECONDS [LANES [SEED]]]

Ends with 1 where a verdict of ours was begun while a hub was active, or anything else went wrong.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
sys.path.insert(0, os.path.join(sys.path[0], os.pardir))
from soak import Soak
from support import ROOT


def main(seconds: float = 120.0, lanes: float = 6, seed: float = 0) -> int:
    seed = int(seed or time.time())
    with tempfile.TemporaryDirectory() as folder:
        archive = folder + "/simple-clearance.pyz"
        subprocess.run([sys.executable, ROOT + "/build_zipapp.py", "-o", archive], check=True)
        with Soak(folder + "/lanes", archive, seed, int(lanes)) as soak:
            until = time.monotonic() + seconds
            soak.run(lambda: time.monotonic() > until)
            faults, violations = soak.faults(), soak.violations()
            print(
                "seed %d: %d starts of a hub, %d sessions, %d of them ended by it, %d verdicts"
                % (
                    seed,
                    soak.starts,
                    sum(len(lane.ends) for lane in soak.lanes),
                    len(soak.ends(1)),
                    soak.verdicts,
                )
            )
    for fault in faults:
        print("fault:", fault)
    for late in violations:
        print("a verdict was begun %.3f s after a hub listened" % late)
    return 1 if faults or violations else 0


if __name__ == "__main__":
    sys.exit(main(*map(float, sys.argv[1:])))
