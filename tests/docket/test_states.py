"""Every way from state to state, by what really happens; no other is possible."""

from __future__ import annotations

import pytest
from docket_walk import SMALL, walk

from simple_clearance.docket.budget import Budget
from simple_clearance.docket.docket import Docket
from simple_clearance.docket.states import DONE, NEW, REQUEST, STILL_OPEN, VERDICT


def every_way(kind, table):
    return {(kind, state, cause) for state, causes in table.items() for cause in causes}


@pytest.mark.parametrize("table, first", [(REQUEST, NEW), (VERDICT, "queued")])
def test_every_state_is_reached_and_every_way_leads_to_a_state(table, first):
    reached = {first} | {after for causes in table.values() for after in causes.values()}
    assert reached == set(table)


def test_a_request_that_was_opened_is_closed_by_every_cause_that_does_not_keep_it_open():
    for state in STILL_OPEN:
        closing = {cause for cause, after in REQUEST[state].items() if after not in STILL_OPEN}
        assert closing >= {"applied", "covered", "dry-run", "stopped"}
    assert VERDICT[DONE] == {}


def test_walks_take_every_way_that_the_tables_have():
    taken = set()

    class Watched(Docket):
        def _move(self, request, cause, *more, **fields):
            taken.add(("request", request.state, cause))
            super()._move(request, cause, *more, **fields)

        def begin(self, job, now):
            taken.add(("verdict", job.state, "begins"))
            super().begin(job, now)

        def overdue(self, job, now):
            taken.add(("verdict", job.state, "overdue"))
            super().overdue(job, now)

        def call_off(self, jobs, now):
            taken.update(("verdict", job.state, "ends") for job in jobs if job.state == "queued")
            super().call_off(jobs, now)

        def finish(self, job, outcome, now):
            taken.add(("verdict", job.state, "ends"))
            super().finish(job, outcome, now)

    wanted = every_way("request", REQUEST) | every_way("verdict", VERDICT)
    for seed in range(60):
        walk(seed, 800, kind=Watched, budget=Budget(SMALL) if seed % 2 else None)
        if taken == wanted:
            break
    assert taken == wanted
