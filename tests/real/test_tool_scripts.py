"""A script, a policy, nobody at all: without prompts against the real shield."""

from __future__ import annotations

import os
import subprocess

import pytest
from real.desk import NOT_OPEN
from real.neighbours import FORWARDER
from support import PATIENCE, eventually


def test_a_script_decides_every_way_there_is(rig, desk, c):
    script = desk.script(c)
    (told,) = script.records[0]["containers"]
    assert (told["name"], told["id"], told["source"]) == (c, rig.inspected(c)["Id"], "nflog")
    assert (told["shield"], told["dossier"]) == (14 if old(rig) else 18, {"task": "t-7", "project": "demo"})

    def asked(host, dest):
        rig.conn(c, host)
        return script.until("pending", dest=dest)

    address, name = asked("192.0.2.101", "192.0.2.101"), asked("json.example", "192.0.2.102")
    denied, skipped = asked("192.0.2.103", "192.0.2.103"), asked("192.0.2.104", "192.0.2.104")
    muted = asked("192.0.2.105", "192.0.2.105")
    assert address["dossier"] == {"task": "t-7", "project": "demo"}
    assert name["names"] == ["json.example"]
    script.say("allow " + address["id"])
    script.say("allow %s json.example" % name["id"])
    script.say("deny " + denied["id"])
    script.say("skip " + skipped["id"])
    script.say("mute " + muted["id"])
    script.say("allow " + skipped["id"])  # too late: it decides nothing
    for one in (address, name, denied):
        script.until("verdict", id=one["id"], result="applied")
    for host, dest in (("192.0.2.101", "192.0.2.101"), ("json.example", "192.0.2.102")):
        assert rig.conn(c, host) == dest + " connected"
        script.until("passed", dest=dest)
    assert rig.conn(c, "192.0.2.103").split()[1] in NOT_OPEN
    assert rig.conn(c, "192.0.2.104").split()[1] in NOT_OPEN
    code, said = script.finish()
    assert (code, said) == (0, "")
    closed = {record["id"]: record["why"] for record in script.of("closed")}
    wanted = dict.fromkeys([address["id"], name["id"], denied["id"]], "applied")
    assert closed == {**wanted, skipped["id"]: "skipped", muted["id"]: "muted"}
    assert len(script.of("error")) == 1


RULES = """\
allow *.pool.example                  # the host resolves it
allow byrule.example
deny  192.0.2.112/28
skip  *               port 8443 tcp
ask   192.0.2.132
"""


def test_a_policy_decides_what_its_rules_say_and_leaves_the_rest_open(rig, desk, c):
    path = rig.home + "/rules"
    with open(path, "w") as file:
        file.write(RULES)
    script = desk.script("--policy", path, c)
    for host in ("byrule.example", "192.0.2.113", "192.0.2.133 8443", "192.0.2.132"):
        rig.conn(c, *(int(word) if word.isdigit() else word for word in host.split()))
    by_name = script.until("verdict", by="policy", target="byrule.example", result="applied")
    by_network = script.until("verdict", by="policy", target="192.0.2.113", result="applied")
    assert (by_name["action"], by_network["action"]) == ("allow", "deny")
    script.until("pending", dest="192.0.2.132")
    assert rig.conn(c, "byrule.example") == "192.0.2.106 connected"
    assert script.finish()[0] == 5  # the one that was to be asked
    closed = [record["why"] for record in script.of("closed")]
    assert sorted(closed) == ["applied", "applied", "skipped", "stopped"]
    os.unlink(path)


def test_a_name_rule_never_opens_an_address_that_the_host_does_not_resolve_it_to(rig, desk, c):
    """What the container looked up is its own business: here it has a name server of its own making."""
    path = rig.home + "/rules"
    with open(path, "w") as file:
        file.write("allow byrule.example\nskip 192.0.2.0/24\n")
    with open(rig.state(c, "dnsmasq.log"), "a") as log:  # as if it had got that answer
        for text in (
            "query[A] byrule.example from 127.0.0.1",
            "forwarded byrule.example to " + rig.fact(FORWARDER),
            "reply byrule.example is 192.0.2.140",
        ):
            log.write("Nov 24 00:00:00 dnsmasq[77]: %s\n" % text)
    script = desk.script("--policy", path, c)
    rig.conn(c, "192.0.2.140")
    asked = script.until("pending", dest="192.0.2.140")
    assert asked["names"] == ["byrule.example"]
    verdict = script.until("verdict", target="byrule.example", result="applied")
    assert "192.0.2.140" not in verdict["opened"]
    assert script.until("closed", id=asked["id"])["why"] == "skipped"  # by the next rule
    assert rig.conn(c, "192.0.2.140").split()[1] in NOT_OPEN
    assert script.finish()[0] == 0
    os.unlink(path)


def test_a_quarantine_makes_no_rule_deny_what_was_in_use(rig, desk, fresh):
    path = rig.home + "/rules"
    with open(path, "w") as file:
        file.write("deny 203.0.113.0/24\n")

    def is_open():
        """A look-up of its name opens it."""
        rig.conn(fresh, "open.example", patience=1)
        return rig.conn(fresh, "203.0.113.10", patience=1) == "203.0.113.10 connected"

    assert is_open()
    script = desk.script("--policy", path, fresh)
    rig.posture(fresh, "quarantine")
    script.until("shield", state="quarantine")
    assert rig.conn(fresh, "203.0.113.10", patience=1) == "203.0.113.10 timeout"
    asked = script.until("pending", dest="203.0.113.10")
    rig.posture(fresh, "up")
    script.until("shield", state="up")
    eventually(is_open, what="it is open again")
    eventually(
        lambda: is_open() and script.seen("closed", id=asked["id"], why="covered"), what="that is told"
    )
    assert script.finish()[0] == 0
    assert script.of("verdict") == [] and not any(one["action"] == "denied" for one in rig.audit(fresh))
    os.unlink(path)


@pytest.mark.newest
def test_nobody_needs_to_be_there(rig, desk, c):
    log = rig.home + "/unattended.log"
    argv = desk.argv("--answer", "allow", "--count", "1", "--log", log, c)
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as child:
        child.stdout.readline()
        rig.conn(c, "192.0.2.150")
        out, _ = child.communicate(timeout=PATIENCE)
    assert child.returncode == 0, out
    assert rig.conn(c, "192.0.2.150") == "192.0.2.150 connected"
    eventually(lambda: os.path.getsize(log) > 0)
    os.unlink(log)


def old(rig):
    return rig.version.startswith("0.7.")
