"""Fuzzes every parser with mutated real bytes: `bench_fuzz.py [INPUTS [SEED]]`.

Ten million inputs in all, unless told otherwise.  It ends with the first input that raises anything but
the parser's own error, and shows it.
"""

from __future__ import annotations

import os
import sys
import time

sys.path[:0] = [
    os.path.join(os.path.dirname(os.path.abspath(__file__)), *up) for up in (("..",), ("..", ".."))
]

import mutants  # noqa: E402 - found through the lines above


def main(words: list[str]) -> None:
    number = (int(words[0]) if words else 10_000_000) // len(mutants.PARSERS)
    seed = int(words[1]) if len(words) > 1 else 1
    start = time.monotonic()
    for name, taken in mutants.run(seed, number):
        passed = time.monotonic() - start
        print("%-10s %9d inputs, %5.1f %% taken, %6.1f s" % (name, number, 100.0 * taken / number, passed))
        sys.stdout.flush()
        start = time.monotonic()


if __name__ == "__main__":
    main(sys.argv[1:])
