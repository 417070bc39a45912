"""The random walks of docket and prompt, for as long as one likes; silent but for a line a minute.

    .venv/bin/python tests/bench/bench_walk.py [SECONDS [FIRST_SEED]]

A walk that breaks a promise ends it with the seed and the step; `prompt_walk.PromptWalk(seed)` walks
the same way again.
"""

from __future__ import annotations

import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.dirname(os.path.dirname(HERE))]

import docket_walk  # noqa: E402
import prompt_walk  # noqa: E402

from simple_clearance.docket.budget import Budget  # noqa: E402

STEPS = 3000


def walk(seed: int) -> int:
    """One walk of each kind; how many verdicts there were."""
    budget = Budget({} if seed % 3 else docket_walk.SMALL)
    answer = ("", "", "", "allow", "deny", "skip")[seed % 6]
    _, verdicts = docket_walk.walk(seed, STEPS, answer=answer, budget=budget)
    one = prompt_walk.walk(
        seed, STEPS, height=(24, 6, 50)[seed % 3], dumb=seed % 7 == 0, colour=seed % 5 == 0
    )
    return verdicts + len(one.ledger.verdicts)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    seed = first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    started = told = time.monotonic()
    verdicts = 0
    while time.monotonic() - started < seconds:
        try:
            verdicts += walk(seed)
        except BaseException:
            print("seed %d" % seed, file=sys.stderr)
            raise
        seed += 1
        if time.monotonic() - told > 60:
            told = time.monotonic()
            print("%d walks, %d verdicts" % (2 * (seed - first), verdicts), flush=True)
    print("%d walks of %d steps, %d verdicts: every promise kept" % (2 * (seed - first), STEPS, verdicts))


if __name__ == "__main__":
    main()
