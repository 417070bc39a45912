"""No verdict of ours is begun after a look that finds a hub, whenever it comes and however often."""

from __future__ import annotations

from soak import Soak


def test_no_verdict_of_ours_is_begun_while_a_hub_is_active(tmp_path, pyz, rounds):
    starts, verdicts, ended_by_it = rounds(40), rounds(300), rounds(30)
    with Soak(str(tmp_path), pyz, seed=1, lanes=2) as soak:
        soak.run(
            lambda: soak.starts >= starts and soak.verdicts >= verdicts and len(soak.ends(1)) >= ended_by_it
        )
        assert soak.faults() == []
        assert soak.violations() == []
