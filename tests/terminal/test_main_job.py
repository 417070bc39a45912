"""The main job, at the archive on a pty: blocked, asked, one key, through."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile

import endtoend
import pytest
from endtoend import Desk
from host import Host
from lab import Lab, as_user, reachable_python
from support import PYTHONS, eventually

desk = endtoend.desk

REFUSED = {"tcp": ("EHOSTUNREACH", "EACCES"), "udp": ("EPERM",)}
THROUGH = {"tcp": "connected", "udp": "sent"}


def do_the_job(desk, address, proto, port=443):
    """Refused, asked, `a`, let out: what each of the programs on the way has to say about it."""
    if proto == "tcp":
        desk.lab.listen(port)
    t = desk.sit()
    assert desk.lab.connect(address, port, proto) in REFUSED[proto]
    head = t.expect("c1  %s" % address)
    asked = t.expect(endtoend.KEYS)
    assert "%s %d" % (proto, port) in t.text()
    assert desk.host.verdicts() == []
    desk.press("a", asked)
    t.expect("a allow %s ... done in" % address)
    (verdict,) = desk.host.verdicts()
    assert verdict.argv == ["allow", "c1", address] and verdict.rc == 0
    assert desk.lab.connect(address, port, proto) == THROUGH[proto]
    t.expect("c1  %s: first packet let out" % address)
    text = desk.quit()
    assert "stopped: 1 allowed" in text
    assert "terok-shield allow c1 %s" % address in text.partition("the same again:")[2]
    assert head.at <= asked.at
    return text


@pytest.mark.parametrize(
    "address, proto",
    [
        pytest.param("203.0.113.10", "tcp", id="IPv4"),
        pytest.param("2001:db8:5::10", "tcp", id="IPv6"),
        pytest.param("198.51.100.7", "udp", id="UDP over IPv4"),
        pytest.param("2001:db8:5::11", "udp", id="UDP over IPv6"),
    ],
)
def test_a_blocked_program_gets_through_after_one_key(desk, address, proto):
    do_the_job(desk, address, proto)


@pytest.mark.parametrize("python", [PYTHONS[0], PYTHONS[-1]], ids=lambda python: python.name)
def test_it_works_with_the_oldest_and_the_newest_python(desk, python):
    desk.python = python.path
    do_the_job(desk, "203.0.113.10", "tcp")


@pytest.fixture
def ordinary(terminal, pyz, need):
    """A desk where an ordinary user sits, at a namespace of that user's own."""
    need("root" if os.getuid() == 0 else "userns")
    need("userns")
    need("nft")
    uid = os.getuid() or 1000
    python = reachable_python(uid)
    folder = tempfile.mkdtemp(prefix="ordinary")
    try:
        with Host(folder + "/host") as host, Lab(user=uid) as lab:
            archive = shutil.copy(pyz, folder)
            desk = Desk(host, lab, terminal, archive)
            desk.python, desk.prefix = python, as_user(uid)
            hand_over(folder, uid, python)
            yield desk
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def hand_over(folder, uid, python):
    """Everything in `folder` becomes the user's, the stand-ins run with a Python that may be run."""
    for tool in ("podman", "terok-shield"):
        path = os.path.join(folder, "host/bin", tool)
        with open(path) as f:
            text = f.read()
        with open(path, "w") as f:
            f.write(text.replace(sys.executable, python))
    if os.getuid() != 0:
        return
    for where, folders, files in os.walk(folder):
        for name in [".", *folders, *files]:
            os.chown(os.path.join(where, name), uid, uid)


def test_an_ordinary_user_needs_no_privilege_for_a_container_of_his_own(ordinary):
    do_the_job(ordinary, "203.0.113.10", "tcp")


def test_an_ordinary_user_may_use_the_oldest_python_too(ordinary):
    usable = [python for python in PYTHONS if runs_for(python.path)]
    if not usable:
        pytest.skip("no Python that an ordinary user may run")
    ordinary.python = usable[0].path
    do_the_job(ordinary, "2001:db8:5::10", "tcp")


def runs_for(path):
    argv = [*as_user(os.getuid() or 1000), "env", path, "-I", "-S", "-c", "import socket"]
    return subprocess.run(argv, stderr=subprocess.DEVNULL, check=False).returncode == 0


def test_a_denial_is_recorded_and_not_asked_about_again(desk):
    t = desk.sit()
    desk.press("d", desk.block("198.51.100.9"))
    t.expect("d deny 198.51.100.9 ... done in")
    (verdict,) = desk.host.verdicts()
    assert verdict.argv == ["deny", "c1", "198.51.100.9"]
    assert desk.lab.set_contains("deny", "198.51.100.9")
    assert desk.lab.connect("198.51.100.9", 443) == "EHOSTUNREACH"
    t.quiet(0.3)
    text = desk.quit()
    assert text.count(endtoend.KEYS) == 1 and "1 denied" in text


@pytest.mark.parametrize("key, told", [("s", "1 skipped"), ("m", "1 muted")])
def test_not_now_runs_nothing_and_leaves_nothing_open(desk, key, told):
    t = desk.sit()
    desk.press(key, desk.block())
    t.expect("  %s not" % key)
    assert desk.lab.connect("203.0.113.10", 443) == "EHOSTUNREACH"
    t.quiet(0.3)
    text = desk.quit(0)
    assert text.count(endtoend.KEYS) == 1 and told in text
    assert desk.host.verdicts() == []


def test_what_is_tried_again_while_it_waits_is_counted_and_not_asked_twice(desk):
    t = desk.sit()
    desk.block()
    for _ in range(3):
        desk.lab.connect("203.0.113.10", 443)
    t.quiet(0.5)
    assert t.text().count("c1  203.0.113.10") == 1
    t.send("i")
    t.expect("4, first")
    asked = t.expect(endtoend.KEYS)
    desk.press("s", asked, own=True)
    t.expect("  s not now")
    desk.quit()


def test_questions_come_one_after_the_other_in_their_order(desk):
    t = desk.sit()
    addresses = ["203.0.113.%d" % n for n in (30, 20, 10)]
    asked = desk.block(addresses[0])
    for address in addresses[1:]:
        desk.lab.connect(address, 443)
    for address in addresses:
        if address != addresses[0]:
            t.expect("c1  " + address)
            asked = t.expect(endtoend.KEYS)
        desk.press("a", asked, own=address != addresses[0])
    t.expect("a allow %s ... done" % addresses[-1])
    desk.quit()
    assert desk.host.targets() == ["allow " + address for address in addresses]


def test_the_prompt_goes_on_while_a_verdict_runs_and_the_next_verdict_waits_for_it(desk):
    desk.host.control("terok-shield", targets={"203.0.113.10": {"delay": 1.8}})
    t = desk.sit()
    desk.press("a", desk.block("203.0.113.10"))
    eventually(desk.host.verdicts, what="the verdict command runs")
    asked = desk.block("203.0.113.11")
    assert desk.host.verdicts()[0].ended is None
    desk.press("a", asked)
    t.expect("a allow 203.0.113.10 ... done in 1.")
    t.expect("a allow 203.0.113.11 ... done in")
    first, second = desk.host.verdicts()
    assert first.ended is not None and first.ended <= second.began
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
    t.quiet(0.3)
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
    t.expect("  s not now")
    desk.quit()


def test_two_containers_are_watched_side_by_side(desk, need):
    with Lab() as other:
        desk.host.container("c2", other)
        t = desk.start("c1", "c2")
        t.expect("watching c2")
        other.connect("203.0.113.10", 443)
        t.expect("c2  203.0.113.10")
        desk.press("a", t.expect(endtoend.KEYS))
        t.expect("done in")
        assert [call.argv for call in desk.host.verdicts()] == [["allow", "c2", "203.0.113.10"]]
        assert other.set_contains("allow", "203.0.113.10")
        assert not desk.lab.set_contains("allow", "203.0.113.10")
        desk.quit()
        eventually(lambda: other.holder() == 0, what="the second group is free")


def test_another_reader_may_give_the_events(desk):
    """`--reader CMD STATE_DIR CONTAINER --emit=json`: here a script that tells one block."""
    script = os.path.join(desk.host.folder, "reader")
    with open(script, "w") as f:
        f.write(
            "#!/bin/sh\n"
            '[ "$3" = --emit=json ] || exit 9\n'
            'echo \'{"type":"container_started","container":"\'$2\'"}\'\n'
            'echo \'{"type":"pending","container":"\'$2\'","id":"x:1","dest":"198.51.100.0","port":443,'
            '"proto":6,"domain":"forged.example","dossier":{},"ts":"2026-01-31T17:32:05.123+00:00"}\'\n'
            "exec sleep 600\n"
        )
    os.chmod(script, 0o755)
    t = desk.start("--reader", script, "c1")
    t.expect("c1  198.51.100.0  tcp 443")
    asked = t.expect(endtoend.KEYS)
    desk.press("a", asked)
    t.expect("done in")
    assert desk.host.targets() == ["allow 198.51.100.0"]
    text = desk.quit()
    assert "forged.example" not in text
    eventually(lambda: not list(endtoend.processes(script)), what="the reader's script is gone")
