"""The two clocks: a monotonic one for waiting, the wall's for showing.

`Now` is read once for each round of the loop and handed to the pure modules, so that
everything in one round happened at one time.
"""

from __future__ import annotations

import time

from ..base.moment import Now
from ..base.text import count

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def now() -> Now:
    return Now(time.monotonic(), time.time())


class LocalClock:
    """What this machine's own clock shows; `base.moment.Clock`."""

    def time(self, wall: float) -> str:
        return time.strftime("%H:%M:%S", time.localtime(wall))

    def since(self, stamp: str, wall: float) -> str:
        year, this_month, today = time.localtime(wall)[:3]
        try:
            month, day = MONTHS.index(stamp[:3].lower()) + 1, int(stamp[4:6])
        except ValueError:
            return stamp[7:15]
        noon = _noon(year, this_month, today)
        days = round((noon - _noon(year, month, day)) / 86400)
        if days < -1:  # such a log tells no year, and nothing of the future
            days = round((noon - _noon(year - 1, month, day)) / 86400)
        if days <= 0:
            return stamp[7:15]
        return "%d %s, %s ago" % (day, stamp[:3].capitalize(), count(days, "day"))


def _noon(year: int, month: int, day: int) -> float:
    return time.mktime((year, month, day, 12, 0, 0, 0, 0, -1))
