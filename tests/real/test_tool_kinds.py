"""Containers of other kinds: in a pod with one that is not shielded."""

from __future__ import annotations

import re

from endtoend import KEYS
from real.rig import IMAGE


def test_what_a_plain_container_of_the_pod_tries_is_told_to_be_from_the_pod(rig, desk):
    name = rig.in_pod("podded")
    argv = ["podman", "run", "-d", "--name", "beside", "--pod", "podded-pod", IMAGE]
    rig.as_op([*argv, "sleep", "infinity"], check=True)
    try:
        t = desk.sit(name)
        assert rig.conn("beside", "198.51.100.81").endswith("EHOSTUNREACH")
        t.expect(re.compile(r"podded  198\.51\.100\.81  tcp 443 .*from its pod"))
        desk.press("a", t.expect(KEYS))
        t.expect("a allow 198.51.100.81 ... done in")
        assert rig.conn("beside", "198.51.100.81") == "198.51.100.81 connected"
        desk.quit()
    finally:
        rig.as_op(["podman", "pod", "rm", "-f", "-t", "0", "podded-pod"], check=True)
