"""Verdicts that a restart has left out of force are counted, and the command that puts them back is named."""

from __future__ import annotations

import os
import re

from support import eventually


def old(rig):
    """0.7: another set."""
    return rig.version.startswith("0.7.")


def told(desk, name):
    """The line of `--check` and its hint; empty where there is none."""
    lines = desk.run("--check", name).stdout.splitlines()
    at = next((at for at, line in enumerate(lines) if " verdicts " in line), None)
    return [" ".join(line.split()) for line in lines[at : at + 2]] if at is not None else []


def words(number):
    what = "verdict on an address is" if number == 1 else "verdicts on addresses are"
    return "%d recorded %s from before this container's start and not in force" % (number, what)


def test_verdicts_older_than_the_start_are_told_until_they_are_put_back(rig, desk, fresh):
    rig.shield("allow", fresh, "192.0.2.201")
    rig.shield("allow", fresh, "192.0.2.202")
    rig.shield("deny", fresh, "203.0.113.130")
    assert told(desk, fresh) == []
    rig.posture(fresh, "down")
    rig.as_op(["podman", "restart", "-t", "0", fresh], check=True)
    assert rig.status(fresh) == "up"
    assert rig.audit(fresh)[-1]["action"] == "shield_down"  # nothing tells of the new state
    command = "terok-shield up --container-id %s %s" % (rig.inspected(fresh)["Id"], fresh)
    assert told(desk, fresh) == ["ok verdicts " + words(3), "hint: " + command]
    rig.shield("allow", fresh, "192.0.2.201")  # once more: this one is in force
    t = desk.sit(fresh)
    wanted = "! %s: %s hint: %s" % (fresh, words(2), command)
    eventually(lambda: wanted in " ".join(t.text().replace(" \\\n", " ").split()), what=wanted)
    desk.quit()
    assert rig.conn(fresh, "192.0.2.202") == "192.0.2.202 EHOSTUNREACH"
    rig.as_op(command.split(), check=True)
    assert rig.conn(fresh, "192.0.2.202") == "192.0.2.202 connected"
    assert told(desk, fresh) == []


def test_a_container_that_is_made_anew_has_them_all(rig, desk):
    """`terok-shield prepare` writes them into the rules that a start loads, and nothing else does."""
    name = rig.shielded("anew")

    def rules():
        found = os.stat(rig.state(name, "ruleset.nft"))
        return found.st_ino, found.st_mtime_ns

    before = rules()
    rig.shield("allow", name, "192.0.2.203")
    rig.posture(name, "up")
    assert rules() == before
    rig.as_op(["podman", "rm", "-f", "-t", "0", name], check=True)
    rig.shielded(name)
    assert rules() != before
    elements = re.findall(
        r"^add element inet \S+ (\S+) \{(.*)\}", rig.read(name, "ruleset.nft"), re.MULTILINE
    )
    allowed = "allow_v4" if old(rig) else "t40_project_allow_v4"
    assert [each for each, listed in elements if "192.0.2.203" in listed] == [allowed]
    assert rig.conn(name, "192.0.2.203") == "192.0.2.203 connected"
    assert told(desk, name) == []
