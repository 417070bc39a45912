"""Verdicts that a restart has left out of force are counted, and the command that puts them back is named."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.timeout(40, func_only=True)


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
    rig.as_op(["podman", "restart", "-t", "0", fresh], check=True)
    command = "terok-shield up --container-id %s %s" % (rig.inspected(fresh)["Id"], fresh)
    assert told(desk, fresh) == ["ok verdicts " + words(3), "hint: " + command]
    rig.shield("allow", fresh, "192.0.2.201")  # once more: this one is in force
    t = desk.sit(fresh)
    t.quiet(0.3)
    shown = " ".join(t.text().replace(" \\\n", " ").split())
    assert "! %s: %s hint: %s" % (fresh, words(2), command) in shown
    desk.quit()
    assert rig.conn(fresh, "192.0.2.202") == "192.0.2.202 EHOSTUNREACH"
    rig.as_op(command.split(), check=True)
    assert rig.conn(fresh, "192.0.2.202") == "192.0.2.202 connected"
    assert told(desk, fresh) == []


def test_a_container_that_is_made_anew_has_them_all(rig, desk):
    """`terok-shield prepare` writes them into the rules that a start loads."""
    name = rig.shielded("anew")
    rig.shield("allow", name, "192.0.2.203")
    rig.as_op(["podman", "rm", "-f", "-t", "0", name], check=True)
    rig.shielded(name)
    assert rig.conn(name, "192.0.2.203") == "192.0.2.203 connected"
    assert told(desk, name) == []
