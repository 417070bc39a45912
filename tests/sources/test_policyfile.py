"""A policy at work: real packets and real verdict commands, a file that changes, `--check` and `--replay`."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time

import endtoend
import pytest
import scripting
from lab import Lab
from needs import need, which
from support import PATIENCE, comes_to_rest, eventually

from simple_clearance.sources.policyfile import SETTLES, PolicyFile

desk = endtoend.desk
script = scripting.script


@pytest.fixture
def policy(tmp_path):
    """`policy(text)`: the path of a policy file with this in it; again, and it is replaced in one step."""
    path = tmp_path / "rules"

    def write(text):
        (tmp_path / "new").write_text(text)
        os.rename(tmp_path / "new", path)
        return str(path)

    write.path = path
    return write


@pytest.fixture
def live(host, lab, pyz):
    """`live(*words, lab=…)`: the archive with `--json`, on real packets; verdicts really change the rules."""
    started = []

    def start(*words, on=lab):
        if "c1" not in host.containers:
            host.container("c1", on)
        started.append(scripting.Script(host, pyz, "--json", *words, reader=False))
        started[-1].lab = on
        started[-1].until("session")
        return started[-1]

    start.pyz = pyz
    yield start
    for each in started:
        each.close()


# --- real packets


def test_a_name_rule_runs_the_name_alone_and_the_address_opens(live, host, lab, policy):
    host.control("terok-shield", names={"www.example.com": ["203.0.113.10", "203.0.113.11"]})
    it = live("--policy", policy("allow *.example.com\n"))
    lab.listen(443)
    host.containers["c1"].looks_up("www.example.com", "203.0.113.10")
    assert lab.connect("203.0.113.10", 443) == "EHOSTUNREACH"
    verdict = it.until("verdict")
    assert (verdict["by"], verdict["rule"], verdict["target"]) == (
        *("policy", "allow *.example.com", "www.example.com"),
    )
    assert (verdict["result"], verdict["opened"]) == ("applied", ["203.0.113.10", "203.0.113.11"])
    assert lab.connect("203.0.113.10", 443) == "connected"
    assert it.until("passed")["dest"] == "203.0.113.10"
    it.ends(0)
    assert host.targets() == ["allow www.example.com"]


def test_a_name_that_this_host_resolves_elsewhere_leaves_it_to_the_next_rule(live, host, lab, policy):
    host.control("terok-shield", names={"www.example.com": ["203.0.113.99"]})
    it = live("--policy", policy("allow *.example.com\ndeny 203.0.113.0/24\nallow 203.0.113.10\n"))
    host.containers["c1"].looks_up("www.example.com", "203.0.113.10")
    lab.connect("203.0.113.10", 443)
    assert it.until("verdict", 2)["rule"] == "allow 203.0.113.10", "a deny would stand above the allow"
    it.ends(0)
    assert host.targets() == ["allow www.example.com", "allow 203.0.113.10"]


def test_a_forged_attribution_gains_nothing(live, host, lab, policy):
    """Whoever is inside can have any name attributed to any address."""
    host.control("terok-shield", names={"www.example.com": ["203.0.113.10"]})
    it = live("--policy", policy("allow www.example.com\n"))
    host.containers["c1"].looks_up("www.example.com", "198.51.100.66")
    lab.connect("198.51.100.66", 443)
    it.until("verdict")
    it.ends(5)
    assert host.targets() == ["allow www.example.com"]
    assert not lab.set_contains("allow", "198.51.100.66")
    assert it.records[-1]["open"] == 1


def test_a_name_that_nobody_resolves_now_may_be_resolved_later_so_no_other_rule_decides(
    live, host, lab, policy
):
    it = live("--policy", policy("allow *.example.com\ndeny 203.0.113.0/24\n"))
    host.containers["c1"].looks_up("www.example.com", "203.0.113.10")
    lab.connect("203.0.113.10", 443)
    verdict = it.until("verdict")
    assert (verdict["result"], verdict["reason"]) == ("failed", "no-address")
    it.ends(5)
    assert it.of("closed")[0]["why"] == "stopped"
    assert host.targets() == ["allow www.example.com"]


def test_blocked_again_after_a_name_was_allowed_no_deny_has_its_turn(live, host, lab, policy):
    host.control("terok-shield", mode="silent", names={"www.example.com": ["203.0.113.10"]})
    it = live("--policy", policy("allow *.example.com\ndeny 203.0.113.0/24\n"))
    host.containers["c1"].looks_up("www.example.com", "203.0.113.10")
    lab.connect("203.0.113.10", 443)
    it.until("closed", why="applied")

    def blocked_again():
        lab.connect("203.0.113.10", 443)
        return not it.silent(0.1)

    eventually(blocked_again, what="it is told that it is blocked still")
    assert it.until("still_blocked")["dest"] == "203.0.113.10"
    it.until("pending", 2)
    it.ends(5)
    assert host.targets() == ["allow www.example.com"]


# --- real packets: what decides by itself does nothing that nobody meant


def stopped(it, code):
    """Under `--answer` stdin is not read: a signal ends it."""
    it.signal(signal.SIGTERM)
    return it.ends(code)


def let_out(it, lab, dest):
    """It is, and that closes its request: not at once, as a packet may be told late."""

    def told():
        assert lab.connect(dest, 443) == "connected"
        return not it.silent(0.1)

    eventually(told, what="it is told")
    assert it.until("closed")["why"] == "covered"


class NameServer:
    """A real dnsmasq in the lab that logs where a container's does; the names of `zone` come from another."""

    def __init__(self, lab, folder, log, **zone):
        need("dnsmasq")
        lab.nft("insert", "rule", "inet", "terok_shield", "output", "ip", "daddr", "127.0.0.1", "accept")
        self.lab, self.folder, self.log = lab, folder, log
        self.upstream = self._start(
            "5354",
            "--no-daemon",
            *("--address=/%s/%s" % (name.replace("_", "."), zone[name]) for name in zone),
        )
        self.process = None

    def _start(self, port, *options):
        argv = [
            *self.lab.enter(), which("dnsmasq"), "--keep-in-foreground", "--conf-file=/dev/null",
            "--no-resolv", "--no-hosts", "--bind-interfaces", "--listen-address=127.0.0.1", "--user=root",
            "--port=" + port, "--pid-file=%s" % (self.folder / port), *options,
        ]  # fmt: skip
        return subprocess.Popen(argv, stderr=subprocess.DEVNULL)

    def start(self, *options):
        """Anew, as after a verdict by name."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
        more = ("--server=127.0.0.1#5354", "--cache-size=0", "--log-queries", "--log-facility=" + self.log)
        self.process = self._start("5353", *more, *options)

    def look_up(self, name):
        """Somebody inside does; the address."""
        code = """
import socket, struct
question = b"".join(bytes([len(label)]) + label.encode() for label in %r.split(".")) + b"\\0\\0\\1\\0\\1"
asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asked.settimeout(0.2)
asked.connect(("127.0.0.1", 5353))
result = ""
for _ in range(50):
    try:
        asked.send(struct.pack("!6H", 7, 0x100, 1, 0, 0, 0) + question)
        result = socket.inet_ntoa(asked.recv(512)[-4:])
        break
    except OSError:
        import time
        time.sleep(0.1)
"""
        return self.lab.python(code % name)

    def close(self):
        for process in (self.process, self.upstream):
            if process is not None:
                process.terminate()
                process.wait()


@pytest.fixture
def name_server(lab, host, tmp_path):
    started = []

    def start(**zone):
        log = os.path.join(host.containers["c1"].state_dir, "dnsmasq.log")
        started.append(NameServer(lab, tmp_path, log, **zone))
        started[-1].start()
        return started[-1]

    yield start
    for one in started:
        one.close()


def test_where_the_host_resolves_a_name_elsewhere_the_containers_next_look_up_opens_it(
    live, host, lab, policy, name_server
):
    """A recorded deny would keep it shut for good."""
    host.control("terok-shield", names={"api.example.com": ["198.51.100.46"]})
    it = live("--policy", policy("allow api.example.com\n"), "--answer", "deny")
    server = name_server(api_example_com="198.51.100.45")
    assert server.look_up("api.example.com") == "198.51.100.45"
    lab.listen(443)
    assert lab.connect("198.51.100.45", 443) == "EHOSTUNREACH"
    assert it.until("verdict")["elsewhere"] == ["r1"]
    server.start("--nftset=/api.example.com/4#inet#terok_shield#" + lab.set_name("allow"))
    assert server.look_up("api.example.com") == "198.51.100.45"
    let_out(it, lab, "198.51.100.45")
    stopped(it, 0)
    assert host.targets() == ["allow api.example.com"]


@pytest.mark.parametrize("how", [{"mode": "fail"}, {"mode": "killed"}])
def test_an_allow_that_failed_or_has_no_outcome_is_followed_by_no_deny(live, host, lab, policy, how):
    host.control("terok-shield", **how)
    rules = policy("allow api.example.com\ndeny 198.51.100.0/24\n")
    it = live("--policy", rules, "--answer", "deny")
    host.containers["c1"].looks_up("api.example.com", "198.51.100.45")
    lab.connect("198.51.100.45", 443)
    assert it.until("verdict")["result"] == ("failed" if how["mode"] == "fail" else "unknown")
    lab.connect("198.51.100.45", 443)
    it.until("again")
    stopped(it, 5)
    assert {target.split()[0] for target in host.targets()} == {"allow"}


def test_none_as_the_answer_leaves_what_the_shields_own_profile_opens_again(live, host, lab):
    it = live("--answer", "none")
    lab.connect("203.0.113.10", 443)
    it.until("pending")
    lab.add("provider", "203.0.113.10")  # as a look-up does
    lab.listen(443)
    let_out(it, lab, "203.0.113.10")
    stopped(it, 0)
    assert host.targets() == []


def test_what_was_in_use_is_not_denied_because_of_a_quarantine(live, host, lab, policy):
    it = live("--policy", policy("allow 203.0.113.10 port 80\n"), "--answer", "deny")
    lab.listen(443)
    lab.add("allow", "203.0.113.99")
    assert lab.connect("203.0.113.99", 443) == "connected"
    lab.remove("allow", "203.0.113.99")
    host.containers["c1"].shield("quarantine")
    it.until("shield", state="quarantine")
    lab.connect("203.0.113.99", 443)
    it.until("pending", dest="203.0.113.99")
    lab.add("allow", "203.0.113.99")
    host.containers["c1"].shield("up")
    it.until("shield", state="up")
    let_out(it, lab, "203.0.113.99")
    stopped(it, 0)
    assert host.targets() == []


@pytest.mark.parametrize("answer", ["deny", "skip"])
def test_a_rule_by_name_knows_the_names_that_stand_far_back_in_the_query_log(live, host, lab, policy, answer):
    container = host.container("c1", lab)
    container.looks_up("api.example.com", "203.0.113.10")
    noise = "Nov 23 23:05:50 dnsmasq[7]: query[A] n%06d.example.org from 127.0.0.1\n"
    container.append("dnsmasq.log", "".join(noise % number for number in range(45_000)))  # 3 MB
    host.control("terok-shield", names={"api.example.com": ["203.0.113.10"]})
    fed = [json.dumps({"type": "container_started", "container": "c1"})]
    fed.append(
        json.dumps({"type": "pending", "container": "c1", "dest": "203.0.113.10", "port": 443, "proto": 6})
    )
    feed = shlex.join(["sh", "-c", "echo '%s'; echo '%s'; exec cat" % tuple(fed)])
    rules = policy("allow api.example.com\n")
    it = scripting.Script(
        host, live.pyz, "--json", "--reader", feed, "--policy", rules, "--answer", answer, reader=False
    )
    assert it.until("verdict")["target"] == "api.example.com"
    stopped(it, 0)
    assert host.targets() == ["allow api.example.com"]


@pytest.mark.thorough
def test_reading_the_names_that_takes_long_is_told_and_what_waits_is_decided_then(live, host, lab, policy):
    container = host.container("c1", lab)
    container.looks_up("api.example.com", "203.0.113.10")
    head = "Nov 23 23:05:50 dnsmasq[7]: "
    new = head + "query[A] n%d.example.org from 127.0.0.1\n" + head + "reply n%d.example.org is 10.0.0.%d\n"
    for part in range(40):  # of few addresses: of many the first ones would be forgotten
        numbers = range(part << 13, part + 1 << 13)
        container.append("dnsmasq.log", "".join(new % (n, n, n & 255) for n in numbers))
    host.control("terok-shield", names={"api.example.com": ["203.0.113.10"]})
    it = live("--policy", policy("allow api.example.com\n"), "--answer", "deny")
    lab.connect("203.0.113.10", 443)
    assert it.until("error")["message"] == (
        "c1: the names looked up before this start are still being read: rules by name wait for them,"
        " and so does --answer"
    )
    assert it.until("verdict")["target"] == "api.example.com"
    stopped(it, 0)
    assert host.targets() == ["allow api.example.com"]


def test_what_a_shared_address_was_looked_up_as_long_ago_skips_nothing(live, host, lab, policy):
    it = live("--policy", policy("skip tracker.example.net\n"), "--answer", "none")
    host.containers["c1"].looks_up("tracker.example.net", "203.0.113.10")
    host.containers["c1"].looks_up("registry.example.org", "203.0.113.10")
    lab.connect("203.0.113.10", 443)
    assert it.until("pending")["names"] == ["registry.example.org", "tracker.example.net"]
    host.containers["c1"].looks_up("tracker.example.net", "203.0.113.11")
    lab.connect("203.0.113.11", 443)
    closed = it.until("closed")
    assert (closed["why"], closed["by"], closed["rule"]) == ("skipped", "policy", "skip tracker.example.net")
    stopped(it, 5)


def test_a_clouds_metadata_service_is_allowed_by_no_wider_rule(live, host, lab, policy):
    for family, network in (("-4", "168.63.129.0/24"), ("-6", "64:ff9b::/96")):
        lab.run(["ip", family, "route", "add", "local", network, "dev", "lo"])
    it = live("--policy", policy("allow 168.0.0.0/6\nallow 64:ff9b::/96\n"), "--answer", "none")
    for dest in ("168.63.129.16", "64:ff9b::a9fe:a9fe", "168.63.129.17"):
        lab.connect(dest, 443)
    assert it.until("verdict")["target"] == "168.63.129.17"
    stopped(it, 5)
    assert host.targets() == ["allow 168.63.129.17"]


def test_a_network_rule_allows_the_blocked_address_on_all_ports(live, host, lab, policy):
    it = live("--policy", policy("allow 203.0.113.0/24 port 443 tcp\n"))
    lab.listen(80)
    lab.connect("203.0.113.10", 80)
    it.until("pending", port=80)
    lab.connect("203.0.113.10", 443)
    it.until("closed", 2)
    assert lab.connect("203.0.113.10", 80) == "connected"
    it.ends(0)
    assert host.targets() == ["allow 203.0.113.10"]


def test_where_the_floor_refuses_it_a_rule_is_told_to_have_no_effect(live, host, lab, policy):
    it = live("--policy", policy("allow 10.0.0.0/8\n"))
    lab.connect("10.1.2.3", 443)
    lab.connect("10.1.2.4", 443)
    assert it.until("pending")["floor"] is True
    assert it.until("closed", 2)["why"] == "floor"
    it.ends(0)
    assert [record["message"] for record in it.of("error")] == [
        "c1: the rule `allow 10.0.0.0/8` has no effect on 10.1.2.3: the shield keeps private ranges shut"
    ]
    assert host.targets() == []


def test_where_a_rule_may_open_a_private_range_it_does_and_nothing_else(live, host, policy):
    """The rules of an older shield; the host's own loopback has to be named itself."""
    with Lab(rules=14) as old:
        it = live("--policy", policy("allow 10.0.0.0/8\nallow 128.0.0.0/1\n"), on=old)
        old.listen(443)
        old.connect("10.1.2.3", 443)
        it.until("closed", why="applied")
        assert old.connect("10.1.2.3", 443) == "connected"
        old.connect("10.0.2.2", 443)
        old.connect("192.168.1.1", 443)
        it.until("pending", 3)
        it.ends(5)
        assert host.targets() == ["allow 10.1.2.3"]
        assert it.records[-1]["open"] == 2


def test_on_the_terminal_what_a_rule_decides_is_not_asked(desk, policy):
    t = desk.sit("--policy", policy("deny 198.51.100.0/24\nskip * port 25\n"))
    desk.lab.connect("198.51.100.7", 443)
    eventually(lambda: desk.host.targets() == ["deny 198.51.100.7"], what="the rule decides")
    desk.lab.connect("203.0.113.9", 25)
    asked = desk.block("203.0.113.10")
    desk.press("s", asked)
    t.expect("s not now\n")
    text = desk.quit()
    assert "203.0.113.9 " not in text and desk.host.targets() == ["deny 198.51.100.7"]


def test_a_changed_file_decides_what_waits_but_never_what_is_painted(desk, policy, tmp_path):
    log = tmp_path / "log"
    t = desk.sit("--policy", policy("# nothing yet\n"), "--log", str(log))
    desk.block("203.0.113.10")
    desk.lab.connect("203.0.113.20", 443)
    eventually(lambda: "203.0.113.20" in log.read_text(), what="the second one waits, too")
    policy("deny 203.0.113.0/24\n")
    t.expect("policy: deny 203.0.113.20 ... done")
    asked = t.expect(endtoend.KEYS)
    assert desk.host.targets() == ["deny 203.0.113.20"]
    desk.press("a", asked)
    eventually(lambda: len(desk.host.targets()) == 2, what="the operator's answer counts")
    assert desk.host.targets()[1] == "allow 203.0.113.10"
    t.expect("done")
    desk.quit()


# --- the file changes


def decides(it, dest, action):
    """A request for `dest` is decided so by the rules as they are."""
    it.block(dest)
    request = it.until("pending", dest=dest)
    assert it.until("closed", id=request["id"])["why"] == action


def test_a_changed_file_is_read_again_and_decides_what_waits(script, host, policy):
    it = script("--json", "--policy", policy("skip 198.51.100.1\n"))
    it.block("198.51.100.1", "198.51.100.2", "198.51.100.3")
    it.until("closed", id="r1")
    policy("deny 198.51.100.2\n")
    assert it.until("verdict")["target"] == "198.51.100.2"
    policy("skip *\n")
    it.until("closed", id="r3", why="skipped")
    it.ends(0)
    assert host.targets() == ["deny 198.51.100.2"]


def test_it_may_be_changed_in_place_or_behind_a_symbolic_link(script, policy, tmp_path):
    policy("ask *\n")
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    link = folder / "link"
    link.symlink_to(policy.path)
    it = script("--json", "--policy", str(link))
    it.block("198.51.100.1", "198.51.100.2", "198.51.100.3")
    it.ids(3)
    with open(policy.path, "a") as file:
        file.write("# still nothing\n")
    policy.path.write_text("skip 198.51.100.1\n")
    it.until("closed", id="r1")
    policy("skip 198.51.100.2\n")
    it.until("closed", id="r2")
    (tmp_path / "other").write_text("skip 198.51.100.3\n")
    (folder / "new").symlink_to(tmp_path / "other")
    os.rename(folder / "new", link)
    it.until("closed", id="r3")
    it.ends(0)


@pytest.mark.parametrize("how", ["a link", "a link to a link", "a folder", "a folder above"])
def test_what_leads_to_it_may_be_swapped(script, tmp_path, some_python, how):
    """As a release is put into place: by another `current`, or by a folder in the place of another."""
    for number in (1, 2):
        (tmp_path / ("release%d" % number) / "etc").mkdir(parents=True)
        rules = "skip 198.51.100.%d\n" % number
        (tmp_path / ("release%d" % number) / "etc" / "rules").write_text(rules)
    current = tmp_path / "current"
    if how.startswith("a link"):
        current.symlink_to("release1")
    else:
        os.rename(tmp_path / "release1", current)
    path = current / "etc" / "rules"
    if how == "a link to a link":
        (tmp_path / "here").mkdir()
        path = tmp_path / "here" / "rules"
        path.symlink_to("../current/etc/rules")
    it = script("--json", "--policy", str(path), python=some_python.path)
    it.block("198.51.100.1", "198.51.100.2")
    it.until("closed", id="r1")
    if how.startswith("a link"):
        (tmp_path / "new").symlink_to("release2")
        os.rename(tmp_path / "new", current)
    elif how == "a folder above":
        os.rename(current, tmp_path / "old")
        os.rename(tmp_path / "release2", current)
    else:
        os.rename(current / "etc", current / "old")
        os.rename(tmp_path / "release2" / "etc", current / "etc")
    it.until("closed", id="r2", why="skipped")
    (current / "etc" / "rules").write_text("skip 198.51.100.3\n")
    it.block("198.51.100.3")
    it.until("closed", id="r3", why="skipped")
    it.ends(0)
    assert it.of("error") == []


@pytest.mark.parametrize("above", [1, 2])
def test_a_folder_that_is_taken_away_is_told_and_the_rules_stay(script, tmp_path, some_python, above):
    folder = tmp_path / "etc" / "clearance"
    folder.mkdir(parents=True)
    (folder / "rules").write_text("skip 198.51.100.1\n")
    it = script("--json", "--policy", str(folder / "rules"), python=some_python.path)
    decides(it, "198.51.100.1", "skipped")
    moved = folder if above == 1 else folder.parent
    os.rename(moved, tmp_path / "old")
    message = "policy file %s: No such file or directory: the rules stay as they were" % (folder / "rules")
    assert it.until("error")["message"] == message
    os.rename(tmp_path / "old", moved)
    (folder / "rules").write_text("skip 198.51.100.2\n")
    it.block("198.51.100.2")
    it.until("closed", 2)
    it.ends(0)


def test_while_nothing_changes_it_sleeps(script, policy):
    it = script("--json", "--policy", policy("skip *\n"))
    decides(it, "198.51.100.1", "skipped")
    policy("skip *  # changed\n")
    comes_to_rest([it.child.pid])
    it.ends(0)


def test_a_wrong_change_keeps_the_old_rules_and_is_told(script, policy):
    it = script("--json", "--policy", policy("skip 198.51.100.1\n"))
    it.block("198.51.100.2")
    it.ids(1)
    policy("skip *\ndeny www.example.com\n")
    assert it.until("error")["message"] == (
        "%s:2: deny takes an address or a network, not a name: the rules stay as they were" % policy.path
    )
    decides(it, "198.51.100.1", "skipped")
    policy("deny 198.51.100.2\n")
    assert it.until("verdict")["target"] == "198.51.100.2"
    policy("deny 198.51.100.2\nskip 198.51.100.3\n")
    decides(it, "198.51.100.3", "skipped")
    it.ends(0)
    (again,) = it.of("note")
    assert again["message"] == "policy file %s is right again: 1 rule" % policy.path


def test_a_change_counts_once_it_has_stood(policy):
    """Between an editor's truncation and its writing there is no rule in it, or no file."""
    file = PolicyFile(policy("skip 198.51.100.1\n"))
    file.load()
    assert file.due is None
    policy.path.write_text("")
    file.notice(10.0)
    assert file.due == 10.0 + SETTLES
    file.notice(10.1)
    assert file.due == 10.0 + SETTLES, "it is another file's change"
    policy.path.write_text("skip 198.51.100.2\n")
    file.notice(10.2)
    assert file.due == 10.2 + SETTLES
    os.unlink(policy.path)
    file.notice(10.3)
    assert file.due == 10.3 + SETTLES
    policy("skip 198.51.100.3\n")
    file.notice(10.4)
    assert file.due == 10.4 + SETTLES
    assert file.read()[0].rules[0].text == "skip 198.51.100.3" and file.due is None


def test_a_file_that_is_being_written_decides_nothing_by_what_is_missing(script, host, policy):
    it = script(
        "--json", "--policy", policy("skip 198.51.100.0/24\n"), "--answer", "deny", stdin=subprocess.DEVNULL
    )
    it.until("session")
    for number in range(250):
        with open(policy.path, "w") as file:
            began = time.monotonic()
            it.block("198.51.100.%d" % number)
            why = it.until("closed", number + 1)["why"]
            file.write("skip 198.51.100.0/24\n")
        if time.monotonic() - began < SETTLES / 2:
            break  # else something else kept us, and it may have stood for long enough
    assert why == "skipped"
    it.child.terminate()
    it.ends(0)
    assert host.targets() == ["deny 198.51.100.%d" % n for n in range(len(host.targets()))]


def test_a_file_that_is_removed_leaves_its_rules_and_is_told_once(script, policy, tmp_path):
    it = script("--json", "--policy", policy("skip 198.51.100.1\n"))
    it.block("198.51.100.2")
    it.ids(1)
    os.rename(policy.path, tmp_path / "kept")
    assert it.until("error")["message"] == (
        "policy file %s: No such file or directory: the rules stay as they were" % policy.path
    )
    (tmp_path / "other").write_text("another file comes and goes\n")
    os.unlink(tmp_path / "other")
    decides(it, "198.51.100.1", "skipped")
    assert it.silent(0.6), "it is not told again"
    policy("skip 198.51.100.2\n")
    it.until("closed", id="r1")
    os.unlink(policy.path)
    it.until("error", 2)
    it.block("198.51.100.1", port=80)
    it.ids(3)
    os.rename(tmp_path / "kept", policy.path)
    it.until("closed", id="r3")
    it.ends(0)
    assert len(it.of("error")) == 2


@pytest.mark.parametrize("make", [os.mkfifo, pytest.param(os.mkdir, marks=pytest.mark.thorough)])
def test_what_is_no_file_any_more_is_told_and_not_waited_for(script, policy, make):
    it = script("--json", "--policy", policy("skip *\n"))
    it.until("session")
    os.unlink(policy.path)
    make(policy.path)
    message = it.until("error")["message"]
    assert message.startswith("policy file %s: " % policy.path) and message.endswith(
        ": the rules stay as they were"
    )
    decides(it, "198.51.100.1", "skipped")
    it.ends(0)


def test_what_changes_while_podman_is_asked_counts_too(script, host, policy):
    gate = host.gate()
    host.control("podman", gate=gate)
    it = script("--json", "--policy", policy("ask *\n"))
    eventually(lambda: host.calls("podman"), what="podman is being asked")
    policy("skip *\n")
    host.open(gate)
    it.block("198.51.100.1")
    it.until("closed", why="skipped")
    it.ends(0)


# --- before anything starts


@pytest.mark.parametrize(
    "text, message, hint",
    [
        (
            "skip *\n\nallow *\n",
            "{path}:3: allow * would open everything",
            "hint: --answer allow --for SECONDS",
        ),
        (
            None,
            "policy file {path}: No such file or directory",
            "hint: --policy FILE names a file that you can read",
        ),
    ],
)
@pytest.mark.parametrize(
    "words",
    [
        ["--json"],
        pytest.param(["--answer", "skip"], marks=pytest.mark.thorough),
        pytest.param(["--replay", "/dev/null"], marks=pytest.mark.thorough),
    ],
)
def test_a_mistake_is_3_and_nothing_starts(script, host, policy, text, message, hint, words):
    if text is None:
        os.unlink(policy(""))
    else:
        policy(text)
    it = script(*words, "--policy", str(policy.path), reader=False)
    out, err = it.child.communicate(timeout=PATIENCE)
    assert (it.child.returncode, out) == (3, b"")
    assert err.decode().splitlines() == ["simple-clearance: " + message.format(path=policy.path), hint]
    assert host.calls() == []
    it.child.stdin = it.child.stdout = it.child.stderr = None


def test_it_may_come_from_a_pipe(script, tmp_path):
    """As a shell's `<(…)` gives it."""
    reading, writing = os.pipe()
    os.write(writing, b"skip *\n")
    os.close(writing)
    it = script("--json", "--policy", "/dev/fd/%d" % reading, pass_fds=[reading])
    os.close(reading)
    decides(it, "198.51.100.1", "skipped")
    it.ends(0)


def test_ask_takes_the_answer_that_is_given_to_everything(script, host, policy):
    it = script("--json", "--answer", "skip", "--policy", policy("ask 198.51.100.1\ndeny 198.51.100.0/24\n"))
    it.block("198.51.100.1", "198.51.100.2", "203.0.113.1")
    it.until("closed", 3)
    it.child.terminate()
    it.ends(0)
    assert host.targets() == ["deny 198.51.100.2"]
    assert it.until("verdict")["by"] == "policy"


# --- without a container


def test_check_tells_what_is_wrong_with_it(desk, policy):
    done = desk.run("--check", "--policy", policy("skip *\ndeny * port 25\n"), "c1")
    assert done.returncode == 3
    assert b"WRONG policy        %s:2: terok-shield denies whole" % str(policy.path).encode() in done.stdout
    assert b"hint: skip, with the same words behind it" in done.stdout
    done = desk.run("--check", "--policy", policy("allow *\nskip *\nallow http://x.example\n"), "c1")
    assert done.returncode == 3
    wrong = [line for line in done.stdout.decode().splitlines() if line.startswith("WRONG")]
    assert [line.partition("rules:")[2] for line in wrong] == [
        "1: allow * would open everything",
        "3: neither a name nor an address: http://x.example",
    ]
    assert done.stdout.endswith(b"\n") and b"hint: x.example\n" in done.stdout
    done = desk.run("--check", "--policy", policy("skip *\n# and\nask *\n"), "c1")
    assert done.returncode == 0 and b"rules: 2 rules\n" in done.stdout


def test_check_counts_the_rules_for_whom_they_hold(desk, policy):
    desk.host.container("c2")
    path = policy("skip 203.0.113.1\n[c1]\nask *\nskip *\n[c2]\nask *\n[*]\nskip 203.0.113.2\n")
    assert b"rules: 5 rules, of which 4 for c1\n" in desk.run("--check", "--policy", path, "c1").stdout
    both = desk.run("--check", "--policy", path, "c1", "c2").stdout
    assert b"rules: 5 rules, of which 2 for all\n" in both
    policy("[c*]\nskip *\n[c2\n")
    wrong = desk.run("--check", "--policy", path, "c1")
    assert wrong.returncode == 3 and b"rules:3: not a section: [c2\n" in wrong.stdout


def test_each_of_two_containers_has_the_rules_of_its_section(script, host, policy):
    """Both at once, each with a reader of its own; what nothing says of one of them is asked."""
    with Lab() as first, Lab() as second:
        for name, lab in (("web", first), ("agent-1", second)):
            host.container(name, lab)
        text = "skip 198.18.0.1\n[agent-*]\nallow 198.18.0.0/24\n[w??]\ndeny 198.18.0.2\n"
        saved = policy(text)
        it = script(
            *("--json", "--policy", saved, "--save-policy", saved),
            reader=False, names=("web", "agent-1"),
        )  # fmt: skip
        it.until("session")
        for lab in (first, second):
            for dest in ("198.18.0.1", "198.18.0.2", "198.18.0.3"):
                lab.connect(dest, 443)
        it.until("verdict", 3)
        asked = it.until("pending", container="web", dest="198.18.0.3")
        done = sorted(
            (each["container"], each["action"], each["target"], each["rule"]) for each in it.of("verdict")
        )
        assert done == [
            ("agent-1", "allow", "198.18.0.2", "[agent-*] allow 198.18.0.0/24"),
            ("agent-1", "allow", "198.18.0.3", "[agent-*] allow 198.18.0.0/24"),
            ("web", "deny", "198.18.0.2", "[w??] deny 198.18.0.2"),
        ]
        assert [(each["by"], each["rule"]) for each in it.of("closed") if each["why"] == "skipped"] == [
            ("policy", "skip 198.18.0.1"), ("policy", "skip 198.18.0.1"),
        ]  # fmt: skip
        it.say("mute %s\n" % asked["id"])
        it.until("closed", id=asked["id"])
        eventually(lambda: b"[web]\nskip 198.18.0.3   # " in policy.path.read_bytes(), what="it is kept")
        it.ends(0)
        assert policy.path.read_text().startswith(text + "[web]\nskip 198.18.0.3 ")


def test_a_replay_tells_what_it_would_decide(host, pyz, policy, tmp_path):
    """On a machine without podman or terok-shield."""
    recording = tmp_path / "recording"
    blocked = [("198.51.100.1", 443), ("198.51.100.2", 25), ("203.0.113.1", 443), ("192.0.2.1", 443)]
    records = [
        {
            **{
                "type": "pending",
                "container": "c1",
                "id": "c1:%d" % number,
                "dest": dest,
                "port": port,
                "proto": 6,
            },
            **{"domain": "", "dossier": {}, "ts": "2026-01-31T17:32:05.123+00:00"},
        }
        for number, (dest, port) in enumerate(blocked)
    ]
    recording.write_text("".join(json.dumps(record) + "\n" for record in records))
    rules = policy("skip * port 25\nallow 203.0.113.0/24\ndeny 198.51.100.0/24\n")
    argv = [sys.executable, pyz, "--replay", str(recording), "--policy", rules]
    env = {"PATH": "/nonexistent", "HOME": host.home}
    done = subprocess.run(
        [*argv, "--json"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=env,
        timeout=PATIENCE,
        check=False,
    )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    verdicts = [
        (it["action"], it["target"], it["rule"], it["result"]) for it in told if it["type"] == "verdict"
    ]
    assert verdicts == [
        ("deny", "198.51.100.1", "deny 198.51.100.0/24", "dry-run"),
        ("allow", "203.0.113.1", "allow 203.0.113.0/24", "dry-run"),
    ]
    assert {it["why"] for it in told if it["type"] == "closed"} == {"dry-run", "skipped", "stopped"}
    assert (done.returncode, told[-1]["open"], done.stderr) == (5, 1, b"")

    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=env,
        timeout=PATIENCE,
        start_new_session=True,
        check=False,
    )
    lines = done.stdout.decode().splitlines()
    assert lines[1:] == [
        "c1: deny 198.51.100.1 for tcp 443 https (policy `deny 198.51.100.0/24`): dry run: nothing was run",
        "c1: 198.51.100.2 tcp 25 smtp: skipped by `skip * port 25`",
        "c1: allow 203.0.113.1 for tcp 443 https (policy `allow 203.0.113.0/24`): dry run: nothing was run",
        "c1: 192.0.2.1 tcp 443 https: unanswered",
        "stopped: 2 verdicts not run (dry run), 1 skipped, 1 unanswered; exit code 5",
        "requests decided by each rule:",
        "     1  skip * port 25",
        "     1  allow 203.0.113.0/24",
        "     1  deny 198.51.100.0/24",
        "     1  no rule",
    ]
    assert done.returncode == 5
