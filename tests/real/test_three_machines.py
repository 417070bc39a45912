"""Three machines over real ssh, one with a real shield, whatever happens to the links: see `sites.py`."""

from __future__ import annotations

import collections
import contextlib
import datetime
import os
import random
import sys

import lab as labs
import machines
import pytest
import scripting
import sites
from real.desk import NOT_OPEN
from real.rig import USER

script = scripting.script

DONE = {"allowed": "allow", "denied": "deny"}  # as the shield's audit log has it
ALLOWED, DENIED = "t40_project_allow_v4", "t20_security_deny_v4"
EXPIRES = 29 * 60  # seconds that an allowed address is open at least: the set's own limit is half an hour


class Real(sites.Site):
    """The rig as a machine, with an sshd of its own; the operator logs in."""

    def __init__(self, rig, host, name, chance, container):
        self.name, self.container = name, container
        self._rig = rig
        port = machines.free_port()
        self.relay = sites.Relay(lambda: rig.reach(port), chance)
        self.machine = machines.Machine(
            host,
            os.path.join(rig.folder, name),
            (name,),
            port=port,
            through=self.relay.port,
            prefix=rig.enter(),
            user=USER,
            env=rig.env(),
        )

    def connect(self, address):
        return self._rig.conn(self.container, address)

    def flood(self, first):
        network = first.rpartition(".")[0]
        for number in range(256):
            self._rig.conn(self.container, "%s.%d" % (network, number), proto="udp")

    def ran(self):
        """As the shield's audit log tells it."""
        lines = [line for line in self._rig.audit(self.container) if line["action"] in DONE]
        return collections.Counter((DONE[line["action"]], line["dest"]) for line in lines)

    def listens(self):
        """Whether something of ours still runs, there."""
        return bool(self._rig.processes("/proc/", "/fd/"))

    def is_as_its_log_says(self):
        """The sets of the container's namespace hold what was decided, and connections fare so."""
        decided = {line["dest"]: line for line in self._rig.audit(self.container) if line["action"] in DONE}
        assert decided
        sets = self._rig.sets(self.container)
        now = datetime.datetime.now(datetime.timezone.utc)
        for address, line in decided.items():
            where = {name for name, found in sets.items() if address in found}
            came = self.connect(address).split()[1]
            if line["action"] == "denied":
                assert where == {DENIED} and came in NOT_OPEN, (line, where, came)
            elif (now - datetime.datetime.fromisoformat(line["ts"])).total_seconds() < EXPIRES:
                assert where == {ALLOWED} and came == "connected", (line, where, came)


@pytest.mark.newest
@pytest.mark.timeout(300 + sites.SECONDS, func_only=True)
def test_whatever_happens_to_the_links_no_verdict_is_wrong_lost_or_doubled(
    script, host, rig, fresh, tmp_path, need
):
    need("nft")
    machines.needed(terminal=False)
    os.symlink(sys.executable, os.path.join(host.bin, "python3"))
    chance = random.Random(1)
    with contextlib.ExitStack() as opened:
        three = [opened.enter_context(Real(rig, host, "m0", chance, fresh))]
        for name in ("m1", "m2"):
            lab = opened.enter_context(labs.Lab())
            three.append(opened.enter_context(sites.Site(host, str(tmp_path), name, chance, lab)))
        play = sites.Play(script, host, three, chance)
        play.goes_on(sites.SECONDS or 40)
        play.ends()
        print(play.summary())
        three[0].is_as_its_log_says()
