"""Times as text, in the form of RFC 3339: written in UTC, read with whatever offset they have.  Pure."""

from __future__ import annotations

_TIME = (
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(\.[0-9]+)?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))?\Z"
)
_DAY = 86_400
_EPOCH = 719_468  # days from 1 March of the year 0, where our count of days begins, to 1 January 1970
_CENTURIES = 146_097  # days of 400 years, after which the calendar repeats itself


FIRST, LAST = -62_135_596_800, 253_402_300_799
"""The years 1 to 9999, beyond which nothing that reads a time understands it."""


def stamp(wall: float) -> str:
    """UTC with milliseconds, `2026-01-31T17:32:05.123Z`, of `wall`, seconds since the epoch."""
    seconds, milliseconds = divmod(int(wall * 1000), 1000)
    days, seconds = divmod(seconds, _DAY)
    era, day = divmod(days + _EPOCH, _CENTURIES)
    year = (day - day // 1460 + day // 36_524 - day // (_CENTURIES - 1)) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153  # from March on, so that a leap day is the year's last
    day -= (153 * month + 2) // 5
    year += 400 * era + (month >= 10)
    month = month - 9 if month >= 10 else month + 3
    return "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ" % (
        year, month, day + 1, seconds // 3600, seconds // 60 % 60, seconds % 60, milliseconds,
    )  # fmt: skip


def seconds(text: str) -> float | None:
    """Seconds since the epoch of a time, UTC where it has no offset; None for any other text.

    None also for the year 1's first second, which is how podman says that it knows none.
    """
    import re  # which the reader, who only writes times, would have to wait for

    match = re.match(_TIME, text)
    if match is None:
        return None
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second <= 60):
        return None
    since_march = month - 3 if month >= 3 else month + 9
    year -= month < 3
    era, year = divmod(year, 400)
    days = era * _CENTURIES + 365 * year + year // 4 - year // 100 + (153 * since_march + 2) // 5 + day - 1
    fraction, sign, hours, minutes = match.groups()[6:]
    ahead = int(sign + "1") * (int(hours) * 3600 + int(minutes) * 60) if sign else 0
    whole = (days - _EPOCH) * _DAY + hour * 3600 + minute * 60 + second - ahead
    return whole + float(fraction or 0) if FIRST < whole <= LAST else None


def is_before(one: str, other: str) -> bool:
    """Whether a time is in an earlier second than another; False where that can't be told.

    By whole seconds, since many programs write no more.
    """
    first, second = seconds(one), seconds(other)
    return first is not None and second is not None and first // 1 < second // 1
