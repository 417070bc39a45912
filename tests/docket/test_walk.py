"""Random walks over the docket; `docket_walk` says what must hold.  Longer ones: tests/bench."""

from __future__ import annotations

import pytest
from docket_walk import small_tables, walk


@pytest.mark.parametrize("seed", range(10))
def test_a_random_walk_keeps_every_promise(seed):
    requests, verdicts = walk(seed, 800)
    assert requests > 40 and verdicts > 30, "the walk must also get somewhere"


@pytest.mark.parametrize("seed", range(100, 108))
def test_a_random_walk_over_small_tables_keeps_every_promise(seed, monkeypatch):
    small_tables(monkeypatch)
    walk(seed, 800)


@pytest.mark.parametrize("answer", ["allow", "deny", "skip"])
def test_a_random_walk_under_an_answer_keeps_every_promise(answer, monkeypatch):
    for seed in range(3):
        walk(seed, 600, answer=answer)
