"""Three machines over real ssh, whatever happens to the links: see `sites.py`."""

from __future__ import annotations

import contextlib
import os
import random
import sys

import lab as labs
import machines
import pytest
import scripting
import sites

script = scripting.script


@pytest.mark.thorough
@pytest.mark.timeout(300 + sites.SECONDS)
@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_happens_to_the_links_no_verdict_is_wrong_lost_or_doubled(
    script, host, tmp_path, need, seed
):
    need("nft")
    machines.needed(terminal=False)
    os.symlink(sys.executable, os.path.join(host.bin, "python3"))
    chance = random.Random(seed)
    with contextlib.ExitStack() as opened:
        three = []
        for name in ("m0", "m1", "m2"):
            lab = opened.enter_context(labs.Lab())
            three.append(opened.enter_context(sites.Site(host, str(tmp_path), name, chance, lab)))
        play = sites.Play(script, host, three, chance)
        play.goes_on(sites.SECONDS or 20)
        play.ends()
        print(play.summary())
