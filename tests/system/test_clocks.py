"""The clock that people read, where this machine has one time zone or another."""

from __future__ import annotations

import os
import time

import pytest

from simple_clearance.system.clocks import LocalClock


@pytest.fixture(params=["UTC0", "IST-5:30", "EST5EDT,M3.2.0,M11.1.0", "NZST-12NZDT,M9.5.0,M4.1.0/3"])
def zone(request):
    before = os.environ.get("TZ")
    os.environ["TZ"] = request.param
    time.tzset()
    yield request.param
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


def at(*moment):
    """Seconds since the epoch of a local year, month, day, hour, minute, second."""
    return time.mktime((*moment, 0, 0, -1))


def test_a_time_of_day_is_the_local_one(zone):
    assert LocalClock().time(at(2026, 1, 31, 17, 32, 5)) == "17:32:05"


@pytest.mark.parametrize(
    "stamp, moment, told",
    [
        ("nov 27 17:32:03", (2026, 11, 27, 17, 32, 5), "17:32:03"),
        ("nov 27 00:00:00", (2026, 11, 27, 23, 59, 59), "00:00:00"),
        ("nov 26 23:59:59", (2026, 11, 27, 0, 0, 1), "26 Nov, 1 day ago"),
        ("nov 18 23:05:50", (2026, 11, 27, 17, 32, 5), "18 Nov, 9 days ago"),
        ("dec 31 23:59:59", (2027, 1, 1, 0, 0, 1), "31 Dec, 1 day ago"),
        ("mar  2 10:00:00", (2027, 2, 28, 12, 0, 0), "2 Mar, 363 days ago"),
        ("feb 28 10:00:00", (2028, 3, 1, 12, 0, 0), "28 Feb, 2 days ago"),
        ("mar 28 10:00:00", (2026, 4, 10, 12, 0, 0), "28 Mar, 13 days ago"),
        # what was looked up right behind the packet, at midnight
        ("nov 28 00:00:00", (2026, 11, 27, 23, 59, 59), "00:00:00"),
        ("jan  1 00:00:00", (2026, 12, 31, 23, 59, 59), "1 Jan, 364 days ago"),
        ("foo xx 10:00:00", (2026, 11, 27, 17, 32, 5), "10:00:00"),
    ],
)
def test_a_stamp_of_a_log_without_a_year_has_its_time_today_and_its_date_else(zone, stamp, moment, told):
    assert LocalClock().since(stamp, at(*moment)) == told
