"""The two clocks: a monotonic one for waiting, the wall's for showing.

`Now` is read once for each round of the loop and handed to the pure modules, so that
everything in one round happened at one time.
"""

from __future__ import annotations

import time

from ..base import timestamps
from ..base.moment import Now
from ..base.text import count

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def now() -> Now:
    return Now(time.monotonic(), time.time())


def is_ahead(stamp: str) -> bool:
    """Whether that time (RFC 3339) has yet to come: the clock was set back since it was written."""
    return timestamps.is_before(timestamps.stamp(time.time()), stamp)


class LocalClock:
    """What this machine's own clock shows; `base.moment.Clock`."""

    def time(self, wall: float) -> str:
        return time.strftime("%H:%M:%S", time.localtime(wall))

    def ago(self, then: float, wall: float) -> str:
        date = time.localtime(then)
        days = round((_noon(*time.localtime(wall)[:3]) - _noon(*date[:3])) / 86400)
        if days <= 0:
            return self.time(then)
        month = MONTHS[date.tm_mon - 1].capitalize()
        return "%d %s, %s ago" % (date.tm_mday, month, count(days, "day"))

    def since(self, stamp: str, wall: float) -> str:
        try:
            month, day = MONTHS.index(stamp[:3].lower()) + 1, int(stamp[4:6])
        except ValueError:
            return stamp[7:15]
        year = time.localtime(wall).tm_year
        if _noon(year, month, day) > wall + 1.5 * 86400:  # tomorrow at most: nothing is of the future
            year -= 1
        told = self.ago(_noon(year, month, day), wall)
        return told if "ago" in told else stamp[7:15]


def _noon(year: int, month: int, day: int) -> float:
    return time.mktime((year, month, day, 12, 0, 0, 0, 0, -1))
