"""Random walks of an operator; `prompt_walk` says what must hold.  Longer ones: tests/bench."""

from __future__ import annotations

import pytest
from prompt_walk import walk


def test_a_random_operator_keeps_every_promise(rounds):
    verdicts = [len(walk(seed, 400).ledger.verdicts) for seed in range(rounds(40))]
    assert sum(verdicts) > 10 * len(verdicts), "the walks must also get somewhere"


@pytest.mark.parametrize("dumb, colour, height", [(True, False, 24), (False, True, 6)])
def test_a_random_operator_on_another_terminal_keeps_every_promise(dumb, colour, height, rounds):
    for seed in range(20, 20 + rounds(10)):
        walk(seed, 300, dumb=dumb, colour=colour, height=height)
