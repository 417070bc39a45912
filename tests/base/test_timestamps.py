"""Times as text, held against the standard library's own."""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone

import pytest

from simple_clearance.base.timestamps import is_before, seconds, stamp

FIRST, LAST = -62_135_596_800, 253_402_300_799  # the years 1 to 9999


@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00Z",  # Go's zero time, podman's word for none
        "0001-01-01T00:00:00.000000000Z",
        "0001-01-01T04:00:00+05:00",
        "0000-06-01T00:00:00Z",
        "9999-12-31T23:59:59-00:01",
    ],
)
def test_what_is_no_moment_of_the_years_that_are_written_is_none(text):
    assert seconds(text) is None
    assert not is_before(text, "2026-01-31T17:32:05Z") and not is_before("2026-01-31T17:32:05Z", text)


@pytest.mark.parametrize(
    "wall", [FIRST, LAST, 0, -1, 951_782_400, 951_868_799.999, 1_735_689_599, 4_107_542_400]
)
def test_a_stamp_is_utc_with_milliseconds(wall):
    assert (
        stamp(wall)
        == (datetime(1970, 1, 1) + timedelta(milliseconds=int(wall * 1000))).isoformat(
            timespec="milliseconds"
        )
        + "Z"
    )


def test_any_moment_is_written_as_it_is_read():
    rng = random.Random(1)
    for _ in range(5000):
        wall = rng.randrange(FIRST, LAST) + rng.randrange(1000) / 1000
        assert seconds(stamp(wall)) == pytest.approx(wall, abs=0.0011)


def test_an_offset_counts():
    rng = random.Random(2)
    for _ in range(2000):
        when = datetime(1, 1, 3, tzinfo=timezone.utc) + timedelta(
            seconds=rng.randrange(LAST - FIRST - 400_000)
        )
        there = when.astimezone(timezone(timedelta(minutes=rng.randrange(-1439, 1440))))
        assert seconds(there.isoformat()) == when.timestamp()


@pytest.mark.parametrize("text", [
    "", "now", "2026-01-31", "2026-01-31T17:32", "2026-13-31T17:32:05Z", "2026-01-00T17:32:05Z",
    "2026-01-31T24:00:00Z", "2026-01-31T17:60:05Z", "2026-01-31T17:32:05+0100", "2026-01-31T17:32:05Z ",
    "\u0662026-01-31T17:32:05Z",
])  # fmt: skip
def test_what_is_no_time_is_none(text):
    assert seconds(text) is None


def test_without_an_offset_it_is_utc():
    assert seconds("1970-01-01T00:00:40") == 40


def test_podmans_nanoseconds_are_read():
    assert seconds("2026-01-31T17:32:05.123456789+01:00") == pytest.approx(1_769_877_125.123, abs=0.001)


@pytest.mark.parametrize("one, other, before", [
    ("2026-01-31T17:32:05+00:00", "2026-01-31T17:32:06+00:00", True),
    ("2026-01-31T17:32:05+01:00", "2026-01-31T17:32:04+00:00", True),
    ("2026-01-31T17:32:05Z", "2026-01-31T17:32:05.900Z", False),
    ("2026-01-31T17:32:06Z", "2026-01-31T17:32:05Z", False),
    ("2026-01-31T17:32:06Z", "", False),
    ("", "2026-01-31T17:32:06Z", False),
])  # fmt: skip
def test_before_goes_by_whole_seconds_and_only_where_both_are_times(one, other, before):
    assert is_before(one, other) is before
