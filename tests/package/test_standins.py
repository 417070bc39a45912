"""The stand-ins behave as the programs they stand for: words, codes, and what really opens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from typing import Any

import pytest
from host import Host
from lab import Lab
from support import PATIENCE, eventually

BLOCKED = "203.0.113.10"


def run(host: Host, *argv: str) -> tuple[int, str, str]:
    done = subprocess.run(
        argv, env=host.env(), stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_an_allow_opens_the_address_and_a_deny_shuts_it(host: Host, lab: Any) -> None:
    c1 = host.container("c1", lab)
    lab.listen(443)
    assert lab.connect(BLOCKED, 443) == "EHOSTUNREACH"
    code, out, err = run(host, "terok-shield", "allow", "c1", BLOCKED)
    assert (code, out, err) == (0, "Allowed %s -> %s for c1\n" % (BLOCKED, BLOCKED), "")
    assert lab.connect(BLOCKED, 443) == "connected"
    denied = "Denied %s (%s) for %s\n" % (BLOCKED, BLOCKED, c1.sid)  # named as it was called
    assert run(host, "terok-shield", "deny", c1.sid, BLOCKED) == (0, denied, "")
    assert lab.connect(BLOCKED, 443) == "EHOSTUNREACH"
    assert host.targets() == ["allow " + BLOCKED, "deny " + BLOCKED]
    assert c1.read("policy/live") == "-%s\n" % BLOCKED
    assert [json.loads(line)["action"] for line in c1.read("audit.jsonl").splitlines()] == [
        "allowed",
        "denied",
    ]


def test_an_allow_under_the_floor_says_allowed_and_opens_nothing(host: Host, lab: Any) -> None:
    host.container("c1", lab)
    lab.listen(443)
    assert run(host, "terok-shield", "allow", "c1", "10.99.0.5")[0] == 0
    assert lab.connect("10.99.0.5", 443) == "EHOSTUNREACH"


def test_with_the_old_rules_an_allow_opens_a_private_address(host: Host) -> None:
    with Lab(rules=14) as lab:
        host.container("c1", lab)
        lab.listen(443)
        assert run(host, "terok-shield", "allow", "c1", "10.99.0.5")[0] == 0
        assert lab.connect("10.99.0.5", 443) == "connected"
        assert run(host, "terok-shield", "deny", "c1", "10.99.0.5")[0] == 0
        assert lab.connect("10.99.0.5", 443) == "EHOSTUNREACH"


def test_in_quarantine_an_allow_fails_and_a_deny_is_recorded(host: Host, lab: Any) -> None:
    c1 = host.container("c1", lab)
    c1.shield("quarantine")
    assert run(host, "terok-shield", "status", "c1") == (0, "quarantine\n", "")
    code, out, err = run(host, "terok-shield", "allow", "c1", BLOCKED)
    assert (code, out) == (1, "")
    assert err.endswith("\nError: No IPs allowed for c1\n")
    assert run(host, "terok-shield", "deny", "c1", BLOCKED)[0] == 0
    assert '"action":"shield_quarantine"' in c1.read("audit.jsonl")


def test_a_missing_container_and_an_unshielded_one_are_told_apart_by_the_first_line(host: Host) -> None:
    bare = host.container("bare")
    del bare.annotations["terok.shield.state_dir"]
    bare.save()
    for name, lines in (("nosuch", 3), ("bare", 1)):
        code, out, err = run(host, "terok-shield", "allow", name, BLOCKED)
        assert (code, out) == (1, "")
        assert err.count("\n") == lines
        assert "container '%s' has no 'terok.shield.state_dir' annotation" % name in err


def test_an_address_inside_an_allowed_network_overlaps(host: Host, lab: Any) -> None:
    host.container("c1", lab)
    assert run(host, "terok-shield", "allow", "c1", "203.0.113.0/24")[0] == 0
    code, _, err = run(host, "terok-shield", "allow", "c1", BLOCKED)
    assert code == 1
    assert "interval overlaps with an existing one" in err


def test_a_name_opens_what_the_host_resolves_and_restarts_dnsmasq(host: Host, lab: Any) -> None:
    c1 = host.container("c1", lab)
    host.control("terok-shield", names={"blocked.example": ["198.51.100.1", "2001:db8:1::1"]})
    c1.looks_up("blocked.example", "198.51.100.1")
    code, out, _ = run(host, "terok-shield", "allow", "c1", "blocked.example")
    assert (code, out) == (0, "Allowed blocked.example -> 198.51.100.1, 2001:db8:1::1 for c1\n")
    assert lab.set_contains("allow", "198.51.100.1")
    assert lab.set_contains("allow", "2001:db8:1::1")
    assert "exiting on receipt of SIGTERM" in c1.read("dnsmasq.log")
    code, _, err = run(host, "terok-shield", "allow", "c1", "nosuch.example")
    assert code == 1
    assert err.endswith(": No address for nosuch.example.\nError: No IPs allowed for c1\n")


def test_a_stopped_container_refuses_an_allow_and_takes_a_deny(host: Host) -> None:
    host.container("c1").stop()
    code, _, err = run(host, "terok-shield", "allow", "c1", BLOCKED)
    assert code == 1
    assert ": allow_ip failed for %s on c1: " % BLOCKED in err and err.endswith(
        "Error: No IPs allowed for c1\n"
    )
    assert run(host, "terok-shield", "deny", "c1", BLOCKED)[0] == 0


@pytest.mark.parametrize("mode", ["hang", "stubborn", "half"])
def test_a_verdict_may_never_end(host: Host, lab: Any, mode: str) -> None:
    host.container("c1", lab)
    host.control("terok-shield", mode=mode)
    with subprocess.Popen(
        ["terok-shield", "allow", "c1", BLOCKED], env=host.env(), stdout=subprocess.DEVNULL
    ) as child:
        if mode == "half":
            eventually(lambda: lab.set_contains("allow", BLOCKED))
        eventually(host.verdicts)
        assert host.verdicts()[0].pid == child.pid
        assert host.verdicts()[0].ended is None
        if mode == "stubborn":
            ignored = eventually(lambda: status(child.pid, "SigIgn") & 1 << signal.SIGTERM - 1)
            assert ignored
            child.terminate()
        child.kill()
        assert child.wait() == -signal.SIGKILL  # SIGTERM came first, and to nothing


def status(pid: int, key: str) -> int:
    with open("/proc/%d/status" % pid) as f:
        return next(int(line.split()[1], 16) for line in f if line.startswith(key + ":"))


def test_a_verdict_may_be_killed_fail_or_leave_a_grandchild_with_the_pipe(host: Host, lab: Any) -> None:
    host.container("c1", lab)
    gate = host.gate()
    host.control(
        "terok-shield",
        targets={
            "203.0.113.1": {"mode": "killed"},
            "203.0.113.2": {"mode": "fail", "error": "Error: \x1b[2Jno"},
            "203.0.113.3": {"mode": "silent"},
            "203.0.113.5": {"delay": 0.3},
            "203.0.113.6": {"gate": gate},
        },
    )
    assert run(host, "terok-shield", "allow", "c1", "203.0.113.1")[0] == -signal.SIGKILL
    assert run(host, "terok-shield", "allow", "c1", "203.0.113.2") == (1, "", "Error: \x1b[2Jno\n")
    assert run(host, "terok-shield", "allow", "c1", "203.0.113.3")[0] == 0
    assert not lab.set_contains("allow", "203.0.113.3")
    began = time.monotonic()
    assert run(host, "terok-shield", "allow", "c1", "203.0.113.5")[0] == 0
    assert time.monotonic() - began > 0.3
    waits = subprocess.Popen(
        ["terok-shield", "allow", "c1", "203.0.113.6"], env=host.env(), stdout=subprocess.DEVNULL
    )
    eventually(lambda: len(host.verdicts()) == 5)
    assert not lab.set_contains("allow", "203.0.113.6")
    host.open(gate)
    assert waits.wait(PATIENCE) == 0
    assert lab.set_contains("allow", "203.0.113.6")
    host.control("terok-shield", mode="grandchild")
    child = subprocess.Popen(["terok-shield", "allow", "c1", BLOCKED], env=host.env(), stdout=subprocess.PIPE)
    assert child.wait(PATIENCE) == 0
    assert child.stdout is not None
    assert child.stdout.readline().startswith(b"Allowed")
    os.set_blocking(child.stdout.fileno(), False)
    assert child.stdout.read() is None  # no end of file: somebody has it
    child.stdout.close()


def test_podman_inspects_and_lists(host: Host, lab: Any) -> None:
    c1 = host.container("c1", lab, dossier__project="demo")
    host.container("c2").stop()
    code, out, _ = run(host, "podman", "inspect", "--format", "json", "--", "c1")
    (shown,) = json.loads(out)
    assert code == 0
    assert (shown["Id"], shown["Name"], shown["State"]["Pid"]) == (c1.id, "c1", lab.pid)
    assert shown["State"]["ConmonPid"] == os.getpid()
    assert shown["Config"]["Annotations"]["terok.shield.state_dir"] == c1.state_dir
    assert shown["Config"]["Annotations"]["dossier.project"] == "demo"
    assert run(host, "podman", "inspect", "--format", "json", "--", "nosuch") == (
        125,
        "[]\n",
        'Error: inspecting object: no such object: "nosuch"\n',
    )
    assert run(host, "podman", "ps", "--format", "{{.Names}}")[1] == "c1\n"
    assert [row["Names"] for row in json.loads(run(host, "podman", "ps", "-a", "--format", "json")[1])] == [
        ["c1"],
        ["c2"],
    ]


@pytest.mark.parametrize("stubborn", ["", "deaf", "careless"])
def test_the_bridge_reader_holds_the_group_and_writes_the_audit_log(
    host: Host, lab: Any, stubborn: str
) -> None:
    c1 = host.container("c1", lab)
    head = c1.bridge_reader(stubborn)
    assert int(c1.read("reader.pid")) == head == os.getpgid(head)
    holder = eventually(lab.holder)
    assert os.getpgid(holder) == head
    assert holder != head
    lab.connect(BLOCKED, 443)
    lab.connect(BLOCKED, 443)
    lines = eventually(lambda: c1.read("audit.jsonl"))
    assert [(it["container"], it["dest"], it["port"]) for it in map(json.loads, lines.splitlines())] == [
        (c1.sid, BLOCKED, 443)
    ]
    os.killpg(head, signal.SIGTERM)
    if stubborn:
        os.killpg(head, signal.SIGKILL)
    eventually(lambda: not lab.holder())
