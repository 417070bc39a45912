"""None of our verdicts is ever run while a hub is active, whenever it comes and however often."""

from __future__ import annotations

from soak import Soak

SECONDS = 15.0


def test_no_verdict_of_ours_is_begun_while_a_hub_is_active(tmp_path, pyz):
    with Soak(str(tmp_path), pyz, seed=1) as soak:
        soak.run(SECONDS)
        assert soak.faults() == []
        assert soak.violations() == []
        # and it was no idle exercise
        assert soak.starts > 3 * SECONDS and soak.verdicts > 5 * SECONDS and len(soak.ends(1)) > SECONDS / 2
