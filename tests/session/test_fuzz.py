"""Whatever happens to a session, the promises hold: see `fuzzing`."""

from __future__ import annotations

import pytest
from fuzzing.kinds import KINDS
from support import thorough


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [1, *thorough(*range(2, 8))])
def test_whatever_happens_the_promises_hold(tmp_path, pyz, need, kind, seed):
    need("pty")
    need("dbus-daemon")
    with KINDS[kind](str(tmp_path / "host"), pyz, seed, 6.0) as episode:
        episode.run()
        faults = episode.faults()
        assert faults == [], "\n".join([*faults, *episode.story])
