"""What was lost is told at a bounded rate, whole."""

from __future__ import annotations

import pytest

from simple_clearance.base.moment import Now
from simple_clearance.docket.docket import Docket

ROUND = 0.01  # seconds


class Bench:
    def __init__(self):
        self.mono = 1000.0
        self.docket = Docket()
        self.told = []
        for name in ("c1", "c2"):
            self.docket.add_container(name, 18, {})

    @property
    def now(self):
        return Now(self.mono, 1_770_000_000.0 + self.mono)

    def round(self):
        self.mono += ROUND
        self.docket.tick(self.now)
        records = self.docket.take()
        self.told += records
        return [(one["container"], one["where"], one["count"]) for one in records if one["type"] == "lost"]


@pytest.fixture
def bench():
    return Bench()


def test_a_loss_is_told_at_once_and_summed_up_within_a_round(bench):
    bench.docket.lost("c1", 3, "kernel")
    bench.docket.lost("c1", 4, "kernel")
    bench.docket.lost("", 1, "link")
    assert bench.round() == [("c1", "kernel", 7), (None, "link", 1)]


def test_one_that_goes_on_is_a_line_a_second_and_nothing_of_it_is_missing(bench):
    lines = []
    for _ in range(1000):  # ten seconds
        bench.docket.lost("c1", 60, "table")
        lines += bench.round()
    assert len(lines) in (10, 11)
    bench.docket.close_all(bench.now)
    assert sum(count for _, _, count in [*lines, *bench.round()]) == 60_000
    assert bench.docket.counts["lost"] == 60_000


def test_each_container_and_each_place_has_a_second_of_its_own(bench):
    for container, where in (("c1", "kernel"), ("c2", "kernel"), ("c1", "reader")):
        bench.docket.lost(container, 1, where)
        assert bench.round() == [(container, where, 1)]


def test_it_wakes_up_for_what_waits_and_for_nothing_else(bench):
    bench.docket.lost("c1", 1, "kernel")
    bench.round()
    assert bench.docket.deadline() is None
    bench.docket.lost("c1", 2, "kernel")
    assert bench.round() == []
    bench.mono = bench.docket.deadline()
    assert bench.round() == [("c1", "kernel", 2)]
    assert bench.docket.deadline() is None


def test_what_waits_is_told_before_its_container_ends(bench):
    bench.docket.lost("c1", 1, "kernel")
    bench.round()
    bench.docket.lost("c1", 2, "kernel")
    bench.docket.stop("c1", bench.now)
    assert bench.round() == [("c1", "kernel", 2)]
    assert [record["type"] for record in bench.told] == ["lost", "lost", "container"]


def test_at_the_end_nothing_waits(bench):
    bench.docket.lost("c1", 1, "kernel")
    bench.docket.close_all(bench.now)
    assert bench.round() == [("c1", "kernel", 1)]
    bench.docket.lost("", 5, "stdout")
    assert bench.docket.take()[0]["count"] == 5
    bench.docket.lost("", 6, "stdout")
    assert bench.docket.take()[0]["count"] == 6
