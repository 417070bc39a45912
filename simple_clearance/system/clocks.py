"""The two clocks: a monotonic one for waiting, the wall's for showing.

`Now` is read once for each round of the loop and handed to the pure modules, so that
everything in one round happened at one time.
"""

from __future__ import annotations

import time

from ..base.moment import Now


def now() -> Now:
    return Now(time.monotonic(), time.time())


def clock(wall: float) -> str:
    """Local time of day, `17:32:05`, of `wall` (seconds since the epoch)."""
    return time.strftime("%H:%M:%S", time.localtime(wall))
