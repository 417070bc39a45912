"""The main job, at the archive on a pty: blocked, asked, one key, through."""

from __future__ import annotations

import os
import subprocess

import endtoend
import pytest
from endtoend import Desk
from lab import Lab, as_user
from support import PYTHONS, eventually

desk = endtoend.desk
ordinary = endtoend.ordinary

REFUSED = {"tcp": ("EHOSTUNREACH", "EACCES"), "udp": ("EPERM",)}
THROUGH = {"tcp": "connected", "udp": "sent"}


EVERY_KIND = (
    ("203.0.113.10", "tcp"),
    ("2001:db8:5::10", "tcp"),
    ("198.51.100.7", "udp"),
    ("2001:db8:5::11", "udp"),
)


def do_the_job(desk, *blocked):
    """Refused, asked, `a`, let out: what each of the programs on the way has to say about it."""
    desk.lab.listen(443)
    t = desk.sit()
    flags = t.flags
    for number, (address, proto) in enumerate(blocked):
        assert desk.lab.connect(address, 443, proto) in REFUSED[proto]
        t.expect("c1  %s" % address)
        asked = t.expect(endtoend.KEYS)
        assert any("%s 443" % proto in line for line in t.screen()[-3:])
        assert len(desk.host.verdicts()) == number
        desk.press("a", asked)
        t.expect("a allow %s ... done in" % address)
        verdict = desk.host.verdicts()[-1]
        assert verdict.argv == ["allow", "c1", address] and verdict.rc == 0
        assert desk.lab.connect(address, 443, proto) == THROUGH[proto]
        t.expect("c1  %s: first packet let out" % address)
    assert t.flags == flags and not flags & os.O_NONBLOCK, "the shell has that terminal, too"
    text = desk.quit()
    assert "stopped: %d allowed" % len(blocked) in text
    for address, _ in blocked:
        assert "terok-shield allow c1 %s" % address in text.partition("the same again:")[2]


def test_a_blocked_program_gets_through_after_one_key(desk):
    do_the_job(desk, *EVERY_KIND)


@pytest.mark.thorough
@pytest.mark.parametrize("python", [PYTHONS[0], PYTHONS[-1]], ids=lambda python: python.name)
def test_it_works_with_the_oldest_and_the_newest_python(desk, python):
    desk.python = python.path
    do_the_job(desk, *EVERY_KIND[:2])


def test_an_ordinary_user_needs_no_privilege_for_a_container_of_his_own(ordinary):
    do_the_job(ordinary, EVERY_KIND[0])


@pytest.mark.thorough
def test_an_ordinary_user_may_use_the_oldest_python_too(ordinary):
    usable = [python for python in PYTHONS if runs_for(python.path)]
    if not usable:
        pytest.skip("no Python that an ordinary user may run")
    ordinary.python = usable[0].path
    do_the_job(ordinary, EVERY_KIND[1])


def runs_for(path):
    argv = [*as_user(os.getuid() or 1000), "env", path, "-I", "-S", "-c", "import socket"]
    return subprocess.run(argv, stderr=subprocess.DEVNULL, check=False).returncode == 0


def test_what_was_denied_put_off_or_muted_is_not_asked_again(desk):
    t = desk.sit()
    asked = desk.block("203.0.113.1")
    for _ in range(3):  # counted, and not asked twice
        desk.lab.connect("203.0.113.1", 443)
    desk.press("d", asked)
    t.expect("d deny 203.0.113.1 ... done in")
    desk.press("s", desk.block("203.0.113.2"))
    t.expect("s not now\n")
    desk.press("m", desk.block("203.0.113.3"))
    t.expect("  m not in this session")
    (verdict,) = desk.host.verdicts()
    assert verdict.argv == ["deny", "c1", "203.0.113.1"]
    assert desk.lab.set_contains("deny", "203.0.113.1")
    for last in (1, 2, 3):
        assert desk.lab.connect("203.0.113.%d" % last, 443) == "EHOSTUNREACH"
    desk.settled()
    text = desk.quit()
    assert text.count(endtoend.KEYS) == 3
    assert "1 denied, 1 skipped, 1 muted" in text
    assert len(desk.host.verdicts()) == 1


def test_questions_come_one_after_the_other_in_their_order(desk):
    t = desk.sit()
    addresses = ["203.0.113.%d" % n for n in (30, 20, 10)]
    asked = desk.block(addresses[0])
    for address in addresses[1:]:
        desk.lab.connect(address, 443)
    desk.settled()
    for address in addresses:
        if address != addresses[0]:
            t.expect("c1  " + address)
            asked = t.expect(endtoend.KEYS)
        desk.press("a", asked, own=address != addresses[0])
    t.expect("a allow %s ... done" % addresses[-1])
    desk.quit()
    assert desk.host.targets() == ["allow " + address for address in addresses]


def test_the_prompt_goes_on_while_a_verdict_runs_and_the_next_verdict_waits_for_it(desk):
    gate = desk.host.gate()
    desk.host.control("terok-shield", targets={"203.0.113.10": {"gate": gate}})
    t = desk.sit()
    desk.press("a", desk.block("203.0.113.10"))
    eventually(desk.host.verdicts, what="the verdict command runs")
    desk.press("a", desk.block("203.0.113.11"))
    t.expect("a allow 203.0.113.11 ...")
    t.settled()
    assert len(desk.host.verdicts()) == 1
    desk.host.open(gate)
    for last in (10, 11):
        done = "a allow 203.0.113.%d ... done in" % last
        eventually(lambda done=done: done in t.text(), what=done)
    first, second = desk.host.verdicts()
    assert first.ended <= second.began
    assert "2 allowed" in desk.quit()


def test_a_verdict_that_failed_says_why_and_can_be_tried_again(desk):
    desk.host.control("terok-shield", mode="fail", error="Error: cannot lock the state", rc=1)
    t = desk.sit()
    desk.press("a", desk.block())
    t.expect("a allow 203.0.113.10 ... FAILED after")
    t.expect("| terok-shield: Error: cannot lock the state")
    asked = t.expect(endtoend.KEYS)
    desk.host.control("terok-shield")
    desk.press("a", asked)
    t.expect("done in")
    desk.quit(0)
    assert desk.host.targets() == ["allow 203.0.113.10"] * 2


def test_a_private_address_under_the_floor_is_told_and_not_asked(desk):
    t = desk.sit()
    desk.lab.connect("10.0.2.2", 22)
    t.expect("c1  10.0.2.2  tcp 22 ssh")
    t.expect("! not asked: the shield keeps private ranges shut")
    desk.settled()
    text = desk.quit(0)
    assert endtoend.KEYS not in text and desk.host.verdicts() == []


def test_with_the_old_rules_a_private_address_wants_a_second_key(need, host, terminal, pyz):
    need("nft")
    with Lab(rules=14) as lab:
        desk = Desk(host, lab, terminal, pyz)
        lab.listen(22)
        t = desk.sit()
        asked = desk.block("169.254.1.2", 22)
        assert "this machine's own loopback" in t.text()
        desk.press("a", asked)
        again = t.expect("any other key: no")
        assert host.verdicts() == []
        desk.press("y", again, own=True)
        t.expect("done in")
        assert host.targets() == ["allow 169.254.1.2"]
        assert lab.connect("169.254.1.2", 22) == "connected"
        desk.quit()


def test_with_a_namespace_and_a_state_directory_no_podman_is_needed(desk):
    desk.host.remove("podman")
    desk.env["PATH"] = desk.host.bin  # nor one of this machine's own
    t = desk.start("--netns", desk.lab.netns, "--state-dir", desk.c1.state_dir, "c1")
    t.expect("watching c1")
    asked = desk.block()
    desk.press("s", asked)
    t.expect("s not now\n")
    desk.quit()
