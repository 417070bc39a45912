"""`--host`: containers of another machine, over a real ssh to a real sshd, with nothing of ours there."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import endtoend
import machines
import pytest
import scripting
from support import eventually

script = scripting.script


@pytest.fixture
def web(script, host, lab, tmp_path):
    """A machine `web`, and a container c5 on it."""
    machines.needed(terminal=False)
    host.container("c5", lab)
    os.symlink(sys.executable, os.path.join(host.bin, "python3"))
    with machines.Machine(host, str(tmp_path / "ssh"), ("web", "db")) as machine:
        yield machine


def checked(host, pyz, *words):
    done = subprocess.run(
        [sys.executable, "-S", pyz, "--check", *words],
        env=host.env(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        start_new_session=True,
        check=False,
    )
    assert done.stderr == b""
    return done.returncode, done.stdout.decode().splitlines()


def test_a_check_tells_what_the_machine_says_and_what_the_link_adds(web, host, pyz):
    with open(os.path.join(host.folder, "ssh_config"), "a") as file:
        file.write("Host gone\n  HostName 127.0.0.1\n  Port %d\n" % machines.free_port())
    code, lines = checked(host, pyz, "--host", "web/c5", "--host", "gone/c5")
    assert code == 3
    assert (lines[0], lines[1].split()[:5]) == ("web:", ["ok", "link", "web", "answers", "in"])
    at = lines.index("gone:")
    assert [line.split()[1] for line in lines[2:at] if not line.startswith(" ")][:2] == ["python", "podman"]
    assert (
        lines[at + 1].split()[:2] == ["WRONG", "link"]
        and "hint: without a terminal, ssh gone true" in lines[at + 2]
    )


def test_a_check_of_a_machine_as_objects(web, host, pyz):
    code, lines = checked(host, pyz, "--json", "--host", "web/c5")
    records = [json.loads(line) for line in lines]
    assert code == 0
    assert {record["host"] for record in records} == {"web"} and records[0]["name"] == "link"
    assert "web/c5" in {record["container"] for record in records}
    assert all(record["ok"] for record in records)


def ask_first(host):
    """ssh wants to know whether that machine is the right one."""
    path = os.path.join(host.folder, "ssh_config")
    with open(path) as file:
        config = file.read().replace("StrictHostKeyChecking no", "StrictHostKeyChecking ask")
    with open(path, "w") as file:
        file.write(config)


def over(script, *words):
    return script("--json", *words, names=(), reader=False)


def test_a_container_of_another_machine_is_asked_about_and_decided_there(script, web, host, lab):
    host.control("terok-shield")  # one that opens what it is told to
    it = over(script, "--host", "web/c5")
    session = it.until("session")
    (told,) = session["containers"]
    assert (told["name"], told["source"], told["shield"]) == ("web/c5", "nflog", 18)
    lab.connect("198.51.100.1", 443)
    it.say("allow %s\n" % it.until("pending")["id"])
    it.until("closed")
    lab.listen(443)
    assert lab.connect("198.51.100.1", 443) == "connected"
    assert it.until("passed")["container"] == "web/c5"
    it.ends(0)
    assert [call.argv for call in host.verdicts()] == [["allow", "c5", "198.51.100.1"]]
    eventually(lambda: lab.holder() == 0, what="nothing of it listens there")


def test_what_is_handed_over_lies_in_no_file_there(script, web, lab):
    it = over(script, "--host", "web/c5")
    it.until("session")
    with open("/proc/%d/cmdline" % lab.holder(), "rb") as file:
        words = file.read().split(b"\0")
    assert any(word.startswith(b"/proc/") and b"/fd/" in word for word in words), words
    it.ends(0)


def test_what_is_handed_over_is_not_open_in_what_is_run_there(script, web, host, lab):
    shield = os.path.join(host.bin, "lists-its-own")
    with open(shield, "w") as file:
        file.write("#!/bin/sh\nls -l /proc/$$/fd >%s/open\n" % host.folder)
    os.chmod(shield, 0o755)
    it = over(script, "--host", "web/c5", "--shield", shield)
    lab_blocks(it, lab, "198.51.100.1")
    it.say("deny r1\n")
    assert it.until("verdict")["result"] == "applied"
    it.ends(0)
    with open(os.path.join(host.folder, "open")) as file:
        assert "memfd" not in file.read()


def test_any_python_there_will_do(script, web, host, lab, every_python):
    os.unlink(os.path.join(host.bin, "python3"))
    os.symlink(every_python.path, os.path.join(host.bin, "python3"))
    it = over(script, "--host", "web/c5")
    lab_blocks(it, lab, "198.51.100.1")
    it.say("deny r1\n")
    it.until("closed")
    it.ends(0)


def lab_blocks(it, lab, address):
    it.until("session")
    lab.connect(address, 443)
    it.until("pending")


def test_all_containers_of_a_machine_are_asked_about(script, web, host, lab):
    host.containers["c1"].stop()
    it = over(script, "--host", "web")
    told = {each["name"]: each for each in it.until("session")["containers"]}
    assert told["web/c5"]["shield_state"] == "up"
    lab_blocks(it, lab, "198.51.100.1")
    it.say("deny r1\n")
    it.until("closed")
    it.ends(0)


def test_a_machine_that_lacks_something_is_refused_in_its_own_words(script, web):
    it = over(script, "--host", "web/nosuch")
    it.child.stdin.close()
    said = it.child.stderr.read().decode()
    assert it.child.wait() == 3
    assert said.startswith("simple-clearance: web: ") and "nosuch" in said


def test_a_machine_that_wants_an_answer_first_is_refused_with_a_hint(script, web, host):
    ask_first(host)
    it = over(script, "--host", "web/c5")
    it.child.stdin.close()
    said = it.child.stderr.read().decode()
    assert it.child.wait() == 3
    assert said == (
        "simple-clearance: web: Host key verification failed.\n"
        "hint: without a terminal, ssh web true has to ask nothing: a key or an agent, and a known host key\n"
    )


def test_a_connection_that_breaks_is_made_again(script, web, lab):
    it = over(script, "--host", "web/c5")
    it.until("session")
    web.close()
    it.until("container", state="lost")
    eventually(lambda: lab.holder() == 0, what="the session there has ended")
    web.start()
    assert it.until("container", state="back")["host"] == "web"
    lab.connect("198.51.100.1", 443)
    it.say("deny %s\n" % it.until("pending")["id"])
    it.until("closed")
    it.ends(5)


def asked_by_ssh(terminal, pyz, host):
    """A session on a terminal, at the question about a host key that is not known."""
    ask_first(host)
    t = terminal([sys.executable, "-S", "-W", "error", pyz, "--host", "web/c5"], env=host.env())
    t.expect("Are you sure you want to continue connecting")
    return t


def deny_what_is_blocked(t, lab):
    """Says yes to that, and denies the first question."""
    t.send("yes\n")
    t.expect("watching web/c5")
    lab.connect("198.51.100.1", 443)
    endtoend.wait_for_keys(t, t.expect(endtoend.KEYS))
    t.send("d")


def test_what_ssh_asks_is_asked_before_anything_is_painted(web, host, lab, terminal, pyz):
    t = asked_by_ssh(terminal, pyz, host)
    deny_what_is_blocked(t, lab)
    t.expect("done in")
    t.send("q")
    assert t.wait() == 0
    assert "ssh web terok-shield deny c5 198.51.100.1" in t.text()


def test_ctrl_c_while_ssh_asks_ends_it(web, host, terminal, pyz):
    t = asked_by_ssh(terminal, pyz, host)
    t.send("\x03")
    assert t.wait() == 3
    assert t.termios() == endtoend.as_opened()


def test_ctrl_c_on_the_prompt_does_not_reach_ssh(web, host, lab, terminal, pyz):
    """A verdict under way is waited for, there too."""
    gate = host.gate()
    host.control("terok-shield", mode="silent", gate=gate)
    t = asked_by_ssh(terminal, pyz, host)
    deny_what_is_blocked(t, lab)
    eventually(host.verdicts, what="it runs")
    t.send("\x03")
    t.expect("waits for")
    host.open(gate)
    assert t.wait() == 0
