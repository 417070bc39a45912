"""Whatever happens to a session, the promises hold: see `session_fuzz`."""

from __future__ import annotations

import pytest
from session_fuzz import Episode
from support import thorough


@pytest.mark.parametrize("seed", [1, *thorough(*range(2, 8))])
def test_whatever_happens_the_promises_hold(tmp_path, pyz, need, seed):
    need("pty")
    with Episode(str(tmp_path / "host"), pyz, seed, 6.0) as episode:
        episode.run()
        faults = episode.faults()
        assert faults == [], "\n".join([*faults, *episode.story])
