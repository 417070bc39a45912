"""The main job with nothing made up: a real container, a real shield, an ordinary user, a pty."""

from __future__ import annotations

import re

import pytest
from endtoend import KEYS
from real.desk import NOT_OPEN
from real.neighbours import IPV6_FIRST


def test_a_blocked_program_gets_through_after_one_key(desk, c):
    t = desk.sit(c)
    asked = desk.block(c, "192.0.2.1")
    desk.press("a", asked)
    t.expect("a allow 192.0.2.1 ... done in")
    assert desk.rig.conn(c, "192.0.2.1") == "192.0.2.1 connected"
    t.expect("c1  192.0.2.1: first packet let out")
    text = desk.quit()
    assert "watching c1 (demo, t-7): shield up" in text
    assert "terok-shield allow c1 192.0.2.1" in text.partition("the same again:")[2]


def test_a_name_is_allowed_as_the_host_resolves_it(desk, c):
    t = desk.sit(c)
    asked = desk.block(c, "byname.example", shown="192.0.2.2")
    assert "  | byname.example" in t.text()
    desk.press("A", asked)
    desk.press("y", t.expect("y allow byname.example"), own=True)
    t.expect("A allow byname.example ... done in")
    t.expect("opened 192.0.2.2")
    assert desk.rig.conn(c, "byname.example") == "192.0.2.2 connected"
    t.expect("c1  192.0.2.2: first packet let out")
    desk.quit()


def test_that_ipv6_gets_no_answer_is_told_when_it_is_asked_and_when_it_is_let_out(desk, c):
    t = desk.sit(c)
    asked = desk.block(c, "2001:db8:6::9")
    words = "! allowing this address doesn't help: IPv6 gets no answer"
    assert words in t.text()
    desk.press("a", asked)
    t.expect("a allow 2001:db8:6::9 ... done in")
    assert not desk.rig.conn(c, "2001:db8:6::9", patience=1).endswith(" connected")
    t.expect("c1  2001:db8:6::9: first packet let out")
    t.expect(words)
    desk.quit()


def test_where_terok_shield_has_no_dig_it_is_told_what_of_the_name_it_opened(rig, desk, c):
    t = desk.sit(c, env={"PATH": rig.without("dig", "drill")})
    first = "2001:db8:43::43" if rig.fact(IPV6_FIRST) else "192.0.2.43"
    asked = desk.block(c, "both.example", shown=first)
    with rig.only_ipv4():
        desk.press("A", asked)
        desk.press("y", t.expect("y allow both.example"), own=True)
        t.expect("A allow both.example ... done in")
    opened = "2001:db8:43::43" if rig.version.startswith("0.7.") else "192.0.2.43"
    t.expect("opened %s\n" % opened)
    if opened != first:
        t.expect("! not %s, which was blocked: this host" % first)
        desk.press("s", t.expect(KEYS))
    desk.quit()


def test_the_name_is_the_one_that_was_asked_for_not_its_alias(desk, c):
    t = desk.sit(c)
    desk.press("s", desk.block(c, "front.example", shown="192.0.2.8"))
    assert "  | front.example   via behind.example, looked up" in t.text()
    desk.quit()


def test_a_denied_address_is_not_asked_about_again(desk, c):
    t = desk.sit(c)
    desk.press("d", desk.block(c, "192.0.2.3"))
    t.expect("d deny 192.0.2.3 ... done in")
    assert desk.rig.conn(c, "192.0.2.3").split()[1] in NOT_OPEN
    desk.press("s", desk.block(c, "192.0.2.4"))  # what came before it has been told by now
    text = desk.quit()
    assert text.count("192.0.2.3  tcp") == 1
    # not asked: that, and what IPv6 does by itself
    assert re.search(r"stopped: 1 denied, 1 skipped, [1-9]\d* not asked", text)


def test_a_container_with_the_operators_own_ids_is_served_alike(rig, desk):
    kept = rig.shared("--userns=keep-id")
    t = desk.sit(kept)
    asked = desk.block(kept, "192.0.2.5")
    assert "uid %d" % rig.uid in t.text()
    desk.press("a", asked)
    t.expect("a allow 192.0.2.5 ... done in")
    assert rig.conn(kept, "192.0.2.5") == "192.0.2.5 connected"
    t.expect(kept + "  192.0.2.5: first packet let out")
    desk.quit()


# --- a container that goes away under us


def test_a_container_that_stops_ends_the_session_and_what_waits_is_told(rig, desk, fresh):
    t = desk.sit(fresh)
    desk.block(fresh, "192.0.2.6")
    rig.as_op(["podman", "stop", "-t", "0", fresh], check=True)
    t.expect("%s: the container has stopped" % fresh)
    assert "1 unanswered" in desk.ends(5)
    done = desk.run("--check", fresh)
    assert done.returncode == 3
    assert "WRONG container     %s is not running" % fresh in done.stdout
    assert "hint: podman start " + fresh in done.stdout


@pytest.mark.newest
def test_a_container_that_is_removed_ends_the_session(rig, desk, fresh):
    t = desk.sit(fresh)
    rig.as_op(["podman", "rm", "-f", "-t", "0", fresh], check=True)
    t.expect("%s: the container has stopped" % fresh)
    desk.ends(0)
    done = desk.run(fresh, "--answer", "skip")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("simple-clearance: no such container: %s\nhint: podman ps -a" % fresh)


@pytest.mark.newest
def test_no_answer_reaches_the_container_that_was_restarted_under_it(rig, desk, fresh):
    t = desk.sit(fresh)
    desk.block(fresh, "192.0.2.7")
    rig.as_op(["podman", "restart", "-t", "0", fresh], check=True)
    t.send("a")
    t.expect("%s: the container has stopped" % fresh)
    desk.ends(5)
    assert rig.conn(fresh, "192.0.2.7").split()[1] in NOT_OPEN
    assert not [line for line in rig.audit(fresh) if line["action"] == "allowed"]
    t = desk.sit(fresh)  # and the new one is another session's
    desk.press("s", desk.block(fresh, "192.0.2.7"))
    desk.quit()


# --- what can't be watched


@pytest.mark.newest
def test_what_can_not_be_watched_is_refused_with_the_reason(rig, desk):
    rig.start("open1")
    for name, reason in (
        ("open1", "open1 is not shielded: it has no terok.shield.state_dir annotation"),
        ("nosuch", "no such container: nosuch"),
        ("scop", "no such container: scop"),  # an image's name
    ):
        done = desk.run(name, "--json")
        assert (done.returncode, done.stdout) == (3, ""), done
        assert done.stderr.startswith("simple-clearance: %s\nhint: " % reason)


@pytest.mark.newest
def test_without_a_container_the_shielded_ones_are_named(desk, c):
    done = desk.run()
    assert done.returncode == 2
    line = done.stderr.splitlines()[1]
    assert line.startswith("hint: shielded containers that run: ") and c in line.split()


def test_every_precondition_is_found_in_order(desk, c):
    done = desk.run("--check", c)
    assert done.returncode == 0, done.stdout
    assert {line.split()[0] for line in done.stdout.splitlines()} == {"ok"}
    assert "terok-shield %s\n" % desk.rig.version in done.stdout
