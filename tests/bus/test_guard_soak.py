"""None of our verdicts is ever begun while a hub is active, whenever it comes and however often."""

from __future__ import annotations

from soak import Soak

SECONDS = 15.0


def test_no_verdict_of_ours_is_begun_while_a_hub_is_active(tmp_path, pyz):
    """Two hundred starts of a hub or so, and several times as many verdicts, on an idle machine."""
    with Soak(str(tmp_path), pyz, seed=1, lanes=6) as soak:
        soak.run(SECONDS)
        assert soak.faults() == []
        assert soak.violations() == []
        assert soak.starts > 40 and soak.verdicts > 20 and len(soak.ends(1)) > 10  # it was no idle exercise
