"""The stages of a container under watch: where they lead, and what a container is in each."""

from __future__ import annotations

import pytest

from simple_clearance.sources.stages import ENDING, FOUND, GOES_ON, OVER, STAGES, STARTING, WATCHED
from simple_clearance.sources.watched import Watched


def test_every_stage_is_reached_and_every_way_leads_to_a_stage():
    reached = {FOUND} | {after for causes in STAGES.values() for after in causes.values()}
    assert reached == set(STAGES)


def test_what_is_over_stays_so_and_nothing_that_has_ended_goes_on():
    assert STAGES[OVER] == {}
    assert not set(GOES_ON) & {after for each in (ENDING, OVER) for after in STAGES[each].values()}


def test_only_what_was_watched_has_last_words():
    assert [stage for stage, causes in STAGES.items() if ENDING in causes.values()] == [WATCHED]


def test_one_is_found_watched_and_ends_and_no_other_way_is_possible():
    one = Watched("c1")
    for cause, stage in (("begun", STARTING), ("listens", WATCHED), ("ended", ENDING), ("had all", OVER)):
        assert one.goes_on is (stage != OVER)
        one.move(cause)
        assert one.stage == stage
        with pytest.raises(KeyError):
            one.move(cause)
    assert not one.goes_on
