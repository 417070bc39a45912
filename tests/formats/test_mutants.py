"""A seeded share of what `tests/bench/bench_fuzz.py` runs by the million."""

from __future__ import annotations

import mutants


def test_every_parser_takes_mutated_real_bytes_or_raises_its_own_error(rounds):
    taken = dict(mutants.run(seed=7, number=rounds(2000)))
    assert set(taken) == {name for name, *_ in mutants.PARSERS}
    assert all(number > 0 for number in taken.values()), "some mutants must still mean something"
