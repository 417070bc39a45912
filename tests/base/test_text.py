"""Text that is safe to show.

The invariant: whatever goes in, printable ASCII comes out, never more columns than asked for,
and of what is too long the right end stays.
"""

from __future__ import annotations

import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_clearance.base.text import clip_left, clip_middle, clip_right, count, printable, seconds


@pytest.mark.parametrize(
    "value, shown",
    [
        pytest.param("www.example.com", "www.example.com", id="plain"),
        pytest.param("", "", id="nothing"),
        pytest.param("a b~", "a b~", id="the ends of ASCII"),
        pytest.param("\x1b[2J\x07", "\\x1b[2J\\x07", id="an escape sequence"),
        pytest.param("a\r\nallow: a", "a\\x0d\\x0aallow: a", id="a line of its own"),
        pytest.param("\x7f\x80\x9b\xff", "\\x7f\\x80\\x9b\\xff", id="DEL and C1"),
        pytest.param("\u202ecba", "\\u202ecba", id="right to left"),
        pytest.param("\u0430pple", "\\u0430pple", id="another script's letter"),
        pytest.param("\ud800", "\\ud800", id="half a surrogate"),
        pytest.param("\U0001f600", "\\U0001f600", id="beyond 16 bits"),
        pytest.param(b"\x1bA\xe9", "\\x1bA\\xe9", id="bytes"),
        pytest.param(bytearray(b"ok"), "ok", id="a bytearray"),
        pytest.param(None, "None", id="not text at all"),
    ],
)
def test_everything_that_could_paint_is_escaped(value, shown):
    assert printable(value) == shown


@given(st.one_of(st.text(), st.binary()), st.integers(0, 300))
def test_printable_ascii_comes_out_no_wider_than_asked_for(value, limit):
    shown = printable(value, limit)
    assert all(" " <= character <= "~" for character in shown)
    if limit:
        assert len(shown) <= limit
        assert printable(value).endswith(shown if len(shown) < limit or limit < 3 else shown[2:])


def test_the_last_labels_of_a_long_name_stay():
    name = "www.bank.example." + "x" * 60 + ".login.evil.example"
    assert printable(name, 24) == "..xxx.login.evil.example"


def test_ten_megabytes_cost_no_more_than_what_is_shown():
    value = "\x1b" * 10_000_000 + "end"
    tracemalloc.start()
    try:
        assert printable(value, 20) == r"..x1b\x1b\x1b\x1bend"
        assert tracemalloc.get_traced_memory()[1] < 10_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("width", range(1, 12))
def test_clipping_is_marked_where_there_is_room_for_the_mark(width):
    assert clip_left("abcdefghij", width) == (
        "abcdefghij"
        if width >= 10
        else (".." + "abcdefghij"[12 - width :] if width > 2 else "abcdefghij"[-width:])
    )
    assert clip_right("abcdefghij", width) == (
        "abcdefghij"
        if width >= 10
        else ("abcdefghij"[: width - 2] + ".." if width > 2 else "abcdefghij"[:width])
    )
    for clip in (clip_left, clip_middle, clip_right):
        assert len(clip("abcdefghij", width)) == min(10, width)


def test_what_is_clipped_in_the_middle_keeps_both_ends():
    assert clip_middle("abcdefghij", 8) == "abc..hij" and clip_middle("abcdefghij", 7) == "abc..ij"
    assert clip_middle("abcdefghij", 10) == "abcdefghij"


def test_numbers_are_written_as_people_say_them():
    assert [count(1, "try", "tries"), count(4, "try", "tries"), count(0, "name")] == [
        "1 try",
        "4 tries",
        "0 names",
    ]
    assert [seconds(s) for s in (0.0, 0.34, 9.9, 30, 179, 180, 3600)] == [
        *("0.0 s", "0.3 s", "9.9 s", "30 s", "179 s", "3 min", "60 min"),
    ]


def test_random_bytes_as_names_dossiers_and_errors_never_paint(rounds):
    rng = random.Random(5)
    for _ in range(rounds(2000)):
        data = bytes(rng.randrange(256) for _ in range(rng.randrange(60)))
        for limit in (0, 1, 2, 3, 20):
            assert printable(data, limit).isascii()
            assert printable(data, limit).isprintable()
