"""Random walks over the docket; `docket_walk` says what must hold.  Longer ones: tests/bench."""

from __future__ import annotations

import pytest
from docket_walk import SMALL, walk

from simple_clearance.docket.budget import Budget


def test_a_random_walk_keeps_every_promise(rounds):
    for seed in range(rounds(30)):
        requests, verdicts = walk(seed, 800)
        assert requests > 40 and verdicts > 30, "the walk must also get somewhere"


def test_a_random_walk_over_small_tables_keeps_every_promise(rounds):
    for seed in range(100, 100 + rounds(30)):
        walk(seed, 800, budget=Budget(SMALL))


@pytest.mark.parametrize("answer", ["allow", "deny", "skip"])
def test_a_random_walk_under_an_answer_keeps_every_promise(answer, rounds):
    for seed in range(rounds(10)):
        walk(seed, 600, answer=answer)
