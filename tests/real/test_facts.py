"""What the tool takes for granted about its neighbours, one sentence a test, on the real ones."""

from __future__ import annotations

import os
import re
import stat
import subprocess

import pytest
from real.neighbours import FORWARDER, IMAGE_ANNOTATIONS, IPV6_FIRST, KEEPS_CASE, LOOPBACK
from real.sandbox import readers, shielded
from support import PATIENCE, eventually

from simple_clearance.base import addresses
from simple_clearance.containers import kept, podman

LINE = re.compile(r"[A-Z][a-z]{2} [ 0-9]\d \d\d:\d\d:\d\d dnsmasq\[(\d+)\]: (.*)")


def old(rig):
    """0.7: allow sets go first, names are not live."""
    return rig.version.startswith("0.7.")


def logged(rig, name):
    """The messages of the container's dnsmasq.log, without time and pid."""
    return [
        found.group(2) for found in map(LINE.fullmatch, rig.read(name, "dnsmasq.log").splitlines()) if found
    ]


# --- verdicts on addresses


@pytest.fixture(scope="module")
def verdicts(rig, c):
    """198.51.100.20 allowed, then allowed again, 198.51.100.24 denied twice: what was said each time."""
    assert rig.conn(c, "198.51.100.20") == "198.51.100.20 EHOSTUNREACH"
    return [
        rig.shield(action, c, address)
        for action, address in (("allow", "198.51.100.20"), ("deny", "198.51.100.24"))
        for _ in range(2)
    ]


def test_an_allow_says_so_also_when_repeated_and_opens_the_address(rig, c, verdicts):
    for done in verdicts[:2]:
        assert (done.returncode, done.stdout) == (0, "Allowed 198.51.100.20 -> 198.51.100.20 for c1\n")
    assert rig.conn(c, "198.51.100.20") == "198.51.100.20 connected"


def test_an_allow_opens_every_port_and_protocol(rig, c, verdicts):
    assert rig.conn(c, "198.51.100.20", 8443) == "198.51.100.20 connected"
    assert rig.conn(c, "198.51.100.20", 53, "udp") == "198.51.100.20 sent"


def test_a_deny_says_so_also_when_repeated(verdicts):
    for done in verdicts[2:]:
        assert (done.returncode, done.stdout) == (0, "Denied 198.51.100.24 (198.51.100.24) for c1\n")


def test_a_deny_takes_back_an_allow_and_an_allow_a_deny(rig, c):
    rig.shield("allow", c, "198.51.100.25")
    rig.shield("deny", c, "198.51.100.25")
    assert rig.conn(c, "198.51.100.25") == "198.51.100.25 EHOSTUNREACH"
    rig.shield("allow", c, "198.51.100.25")
    assert rig.conn(c, "198.51.100.25") == "198.51.100.25 connected"


def test_a_deny_inside_an_allowed_network_bites_only_where_the_deny_set_goes_first(rig, c):
    rig.shield("deny", c, "203.0.113.140")
    assert rig.conn(c, "203.0.113.140") == "203.0.113.140 " + ("connected" if old(rig) else "EHOSTUNREACH")
    assert rig.conn(c, "203.0.113.141") == "203.0.113.141 connected"


@pytest.mark.parametrize("address", ["10.99.0.5", "192.168.77.5", "the host's loopback"])
def test_an_allow_of_a_private_address_succeeds_and_opens_it_only_in_old_versions(address, rig, c):
    address = rig.fact(LOOPBACK) if address == "the host's loopback" else address
    done = rig.shield("allow", c, address)
    assert (done.returncode, done.stdout) == (0, "Allowed %s -> %s for c1\n" % (address, address))
    assert rig.conn(c, address) == address + (" connected" if old(rig) else " EHOSTUNREACH")


def test_an_allow_inside_an_allowed_network_fails_as_overlapping(rig, c):
    done = rig.shield("allow", c, "203.0.113.130")
    assert done.returncode == 1
    assert "interval overlaps with an existing one" in done.stderr
    assert rig.conn(c, "203.0.113.130") == "203.0.113.130 connected"


def test_a_whole_network_is_taken_as_a_target(rig, c):
    assert rig.shield("allow", c, "198.51.100.192/26").returncode == 0
    assert rig.conn(c, "198.51.100.199") == "198.51.100.199 connected"


def test_a_deny_leaves_established_connections_alone(rig, c):
    rig.shield("allow", c, "198.51.100.26")
    rig.inside(c, ["test", "-e", "/conn.py"])
    code = (
        "import socket, sys, time; s = socket.create_connection(('198.51.100.26', 443)); print(flush=True);"
        "sys.stdin.readline(); print(s.recv(99))"
    )
    argv = rig.argv(["podman", "exec", "-i", c, "python3", "-c", code])
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as held:
        held.stdout.readline()
        rig.shield("deny", c, "198.51.100.26")
        assert b"hello" in held.communicate(b"\n", timeout=PATIENCE)[0]


def test_an_address_mapped_into_ipv6_is_taken_and_useless(rig, c):
    assert rig.shield("allow", c, "::ffff:198.51.100.27").returncode == 0
    assert rig.conn(c, "198.51.100.27") == "198.51.100.27 EHOSTUNREACH"


# --- verdicts on names


@pytest.fixture(scope="module")
def opened(rig, c):
    """shut.example, allowed: what was said."""
    return rig.shield("allow", c, "shut.example")


def test_an_allow_by_name_lists_what_the_host_resolved(opened):
    told = "Allowed shut.example -> 198.51.100.1, 2001:db8:1::1 for c1\n"
    assert (opened.returncode, opened.stdout) == (0, told)


def test_after_an_allow_by_name_its_subdomains_open_by_themselves_on_the_live_tier(rig, c, opened):
    assert rig.conn(c, "www.shut.example") == "198.51.100.11 " + ("EHOSTUNREACH" if old(rig) else "connected")


def test_a_verdict_by_name_restarts_the_name_server_on_the_live_tier(rig, c):
    before = rig.read(c, "dnsmasq.pid")
    rig.shield("allow", c, "one.example")
    assert (rig.read(c, "dnsmasq.pid") == before) == old(rig)


def test_a_deny_by_name_ends_its_addresses_and_on_the_live_tier_the_name(rig, c):
    done = rig.shield("deny", c, "pool.example")
    assert (done.returncode, done.stdout) == (0, "Denied pool.example (198.51.100.3, 198.51.100.4) for c1\n")
    assert rig.conn(c, "198.51.100.3") == "198.51.100.3 EHOSTUNREACH"
    if not old(rig):
        assert rig.conn(c, "pool.example").startswith("no address")
        rig.shield("allow", c, "198.51.100.3")
        assert rig.conn(c, "pool.example").startswith("no address")
    rig.shield("allow", c, "pool.example")
    assert rig.conn(c, "pool.example").endswith(" connected")


def test_a_name_with_an_underscore_opens_its_addresses_with_a_warning_or_is_invalid(rig, c):
    done = rig.shield("allow", c, "under_score.example")
    if old(rig):
        assert (done.returncode, done.stderr) == (1, "Error: Invalid domain name: 'under_score.example'\n")
    else:
        assert (done.returncode, done.stdout) == (0, "Allowed under_score.example -> 198.51.100.22 for c1\n")
        assert "skipping invalid domain entry" in done.stderr


def test_the_hosts_own_name_is_no_target(rig, c):
    done = rig.shield("allow", c, "localhost")
    assert done.returncode == 1
    assert ("Invalid domain name" if old(rig) else "'localhost' needs an explicit port") in done.stderr


@pytest.mark.parametrize("target", ["nosuch.example", "198.51.100.9:443", "http://one.example", ""])
def test_what_resolves_to_nothing_fails_with_that_reason(target, rig, c):
    done = rig.shield("allow", c, target)
    assert done.returncode == 1
    assert ("resolved to no IPs" if old(rig) else "No address for %s.\n" % target) in done.stderr
    assert done.stderr.endswith("Error: No IPs allowed for c1\n")


def test_a_trailing_dot_fails(rig, c):
    done = rig.shield("allow", c, "two.example.")
    assert done.returncode == 1
    assert "nvalid" in done.stderr


@pytest.mark.newest
def test_a_program_tries_the_family_first_that_the_container_seems_to_have(rig, c):
    tried = rig.conn(c, "both.example").split()[0]
    assert tried == ("2001:db8:43::43" if rig.fact(IPV6_FIRST) else "192.0.2.43")


def test_without_dig_and_drill_it_warns_and_finds_one_family_of_addresses(rig, c):
    with rig.only_ipv4():
        done = rig.as_op(["terok-shield", "allow", c, "shut.example"], PATH=rig.without("dig", "drill"))
    found = "2001:db8:1::1" if old(rig) else "198.51.100.1"
    assert (done.returncode, done.stdout) == (0, "Allowed shut.example -> %s for c1\n" % found)
    assert "getent for DNS resolution" in done.stderr


# --- how it is called


def test_the_version_is_the_last_word_of_the_first_line(rig):
    done = rig.shield("--version")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "terok-shield " + rig.version)


def test_an_option_as_target_does_nothing_and_succeeds(rig, c):
    done = rig.shield("allow", c, "-h")
    assert (done.returncode, done.stdout[:6]) == (0, "usage:")


def test_a_double_dash_is_a_usage_error(rig, c):
    assert rig.shield("allow", c, "--", "198.51.100.1").returncode == 2


def test_an_id_names_a_container_as_well(rig, c):
    sid = rig.inspected(c)["Id"][:12]
    assert (
        rig.shield("allow", sid, "198.51.100.28").stdout
        == "Allowed 198.51.100.28 -> 198.51.100.28 for %s\n" % sid
    )


def test_a_missing_container_and_one_without_a_shield_fail_alike_but_for_a_line(rig):
    rig.start("plain")
    for name in ("nosuch", "plain"):
        done = rig.shield("allow", name, "198.51.100.1")
        assert done.returncode == 1
        assert "container '%s' has no 'terok.shield.state_dir' annotation" % name in done.stderr
        assert ("podman inspect nosuch returned 125" in done.stderr) == (name == "nosuch")


def test_the_containers_own_directory_as_its_state_dir_makes_a_root_inside(rig, lowered):
    done = rig.shield("--state-dir", rig.state(lowered), "allow", lowered, "198.51.100.29")
    assert done.returncode == 0
    assert os.path.isdir(rig.state(lowered, "containers/" + lowered))


# --- a container that is stopped, or whose shield changes


END = (
    "import os, select, sys; pid = int(sys.argv[1]); fd = os.pidfd_open(pid);"
    "net = os.open('/proc/%d/ns/net' % pid, os.O_RDONLY); print(flush=True);"
    "print(len(select.select([fd], [], [], float(sys.argv[2]))[0]), os.fstat(net).st_ino)"
)


@pytest.fixture(scope="module")
def stopped(rig):
    """A container that was stopped; its name, its namespace before, and what END saw of it."""
    name = rig.shielded("stopped")
    pid = str(rig.inspected(name)["State"]["Pid"])
    before = rig.as_op(["readlink", "/proc/%s/ns/net" % pid], check=True).stdout.strip()
    argv = rig.argv([rig.venv + "/bin/python3", "-c", END, pid, str(PATIENCE)])
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as waiting:
        waiting.stdout.readline()
        rig.as_op(["podman", "stop", "-t", "0", name], check=True)
        return name, before, waiting.stdout.readline().split()


def test_verdicts_on_a_stopped_container_fail_by_allow_and_succeed_by_deny(rig, stopped):
    name = stopped[0]
    assert rig.status(name) in ("offline", "inactive")
    allow, deny = rig.shield("allow", name, "198.51.100.30"), rig.shield("deny", name, "198.51.100.31")
    assert allow.returncode == 1
    assert "nsenter" in allow.stderr
    assert allow.stderr.endswith("Error: No IPs allowed for %s\n" % name)
    assert (deny.returncode, deny.stdout) == (0, "Denied 198.51.100.31 (198.51.100.31) for %s\n" % name)


@pytest.mark.newest
def test_a_stopped_container_has_no_pid(rig, stopped):
    state = rig.inspected(stopped[0])["State"]
    assert (state["Running"], state["Pid"], state.get("ConmonPid", 0)) == (False, 0, 0)


@pytest.mark.newest
def test_the_end_of_a_container_shows_on_a_pidfd_and_nowhere_in_its_namespace(stopped):
    _, before, (ended, still) = stopped
    assert (ended, "net:[%s]" % still) == ("1", before)


@pytest.fixture(scope="module")
def lowered(rig):
    """A container whose shield is down, and what was denied before stays so."""
    name = rig.shielded("lowered")
    rig.shield("deny", name, "198.51.100.35")
    rig.posture(name, "down")
    return name


def test_in_quarantine_allow_fails_deny_is_recorded_and_nothing_answers(rig, quarantined):
    name = quarantined
    allow, deny = rig.shield("allow", name, "198.51.100.33"), rig.shield("deny", name, "198.51.100.34")
    assert (allow.returncode, deny.returncode) == (1, 0)
    assert "No such file or directory\nadd element" in allow.stderr
    assert allow.stderr.endswith("Error: No IPs allowed for %s\n" % name)
    assert rig.conn(name, "198.51.100.33", patience=1) == "198.51.100.33 timeout"
    assert rig.conn(name, "open.example").startswith("no address")


def test_while_it_is_down_verdicts_go_on_and_the_floor_and_the_deny_set_hold(rig, lowered):
    assert rig.shield("allow", lowered, "198.51.100.36").returncode == 0
    assert rig.conn(lowered, "198.51.100.37") == "198.51.100.37 connected"
    assert rig.conn(lowered, "198.51.100.35") == "198.51.100.35 EHOSTUNREACH"
    assert rig.conn(lowered, "10.99.0.6") == "10.99.0.6 EHOSTUNREACH"


def test_the_floor_is_the_six_ranges_that_the_tool_knows(rig, c):
    rules = rig.read(c, "ruleset.nft")
    ranges = set(re.findall(r'daddr (\S+) log group 100 prefix "TEROK_SHIELD_PRIVATE: "', rules))
    assert ranges - {"fd00:ec2::254"} == {
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "fc00::/7",
        "fe80::/10",
    }
    inside = ("10.255.255.255", "172.31.0.1", "192.168.0.1", "169.254.169.254", "fd00:ec2::254", "febf::1")
    assert all(map(addresses.is_floor, inside))
    assert not any(
        map(addresses.is_floor, ("11.0.0.0", "172.32.0.0", "192.169.0.0", "fe00::1", "2001:db8::1"))
    )


def test_an_allowed_address_expires_after_half_an_hour(rig, c, verdicts):
    allowed = "allow_v4" if old(rig) else "t40_project_allow_v4"
    enter = ["podman", "unshare", "nsenter", "-t", str(rig.inspected(c)["State"]["Pid"]), "-n"]
    done = rig.as_op([*enter, "nft", "list", "set", "inet", "terok_shield", allowed], check=True)
    assert re.search(r"198\.51\.100\.20 (timeout 30m )?expires 2\dm", done.stdout), done.stdout


# --- its files


def test_the_state_directory_is_believable_and_holds_this_containers_id(rig, c):
    found = podman.parse(rig.as_op(["podman", "inspect", "--format", "json", "--", c]).stdout.encode())[0]
    assert found.state_dir == rig.state(c)
    podman.believable(found.state_dir, found.id, rig.uid)
    podman.check_given(rig.state(c), c, found.id)


def test_the_name_servers_log_is_anothers_file_that_the_operator_may_read(rig, c):
    found = os.stat(rig.state(c, "dnsmasq.log"))
    assert stat.S_IMODE(found.st_mode) == 0o660
    assert found.st_uid != rig.uid
    assert found.st_gid == rig.uid


def test_the_dns_tier_and_the_bundle_version_are_told(rig, c):
    notes = rig.inspected(c)["Config"]["Annotations"]
    assert notes["terok.shield.version"] == ("14" if old(rig) else "18")
    assert (
        notes["terok.shield.dns_tier"]
        == rig.read(c, "dns.tier").strip()
        == ("dnsmasq" if old(rig) else "dnsmasq-live")
    )


def test_verdicts_are_recorded_where_the_tool_does_not_write(rig, c, verdicts):
    if old(rig):
        assert "198.51.100.20" in rig.read(c, "live.allowed").split()
        assert "198.51.100.24" in rig.read(c, "deny.list").split()
    else:
        assert {"+198.51.100.20", "-198.51.100.24"} <= set(rig.read(c, "policy/live").split())


def test_the_audit_log_has_a_line_for_each_address_of_a_verdict(rig, c, verdicts):
    told = [line for line in rig.audit(c) if line.get("dest") in ("198.51.100.20", "198.51.100.24")]
    for line in told:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", line.pop("ts"))
    allowed, denied = (
        {"container": "c1", "action": action, "dest": address, "detail": "target=" + address}
        for action, address in (("allowed", "198.51.100.20"), ("denied", "198.51.100.24"))
    )
    assert told == [allowed, allowed, denied, denied]


# --- podman


def test_one_inspect_tells_all_that_is_needed(rig, c):
    output = rig.as_op(["podman", "inspect", "--format", "json", "--", c]).stdout.encode()
    found = podman.parse(output)[0]
    assert (found.name, found.running, found.dossier) == (c, True, {"task": "t-7", "project": "demo"})
    parent = rig.as_op(["ps", "-o", "ppid=", "-p", str(found.pid)], check=True).stdout
    assert found.conmon_pid == int(parent)


@pytest.mark.newest
def test_a_missing_container_is_exit_code_125_and_no_such_object(rig):
    done = rig.as_op(["podman", "inspect", "--format", "json", "--", "nosuch"])
    assert (done.returncode, done.stdout.strip()) == (125, "[]")
    assert "no such " in done.stderr


@pytest.mark.newest
def test_an_image_of_that_name_is_inspected_just_as_well(rig):
    assert "State" not in rig.inspected("scop")


@pytest.mark.newest
def test_an_images_own_annotations_stand_among_the_launchers_and_lose_to_them(rig):
    script = "echo FROM localhost/scop | podman build -q --annotation %s --annotation %s -t evil -"
    rig.as_op(["sh", "-c", script % ("dossier.task=root", "terok.shield.state_dir=/evil")], check=True)
    notes = rig.inspected(rig.start("evil1", image="localhost/evil"))["Config"].get("Annotations") or {}
    told = [notes.get("dossier.task"), notes.get("terok.shield.state_dir")]
    assert told == (["root", "/evil"] if rig.fact(IMAGE_ANNOTATIONS) else [None, None])
    notes = rig.inspected(rig.shielded("evil2", image="localhost/evil"))["Config"]["Annotations"]
    assert notes.get("dossier.task") == ("root" if rig.fact(IMAGE_ANNOTATIONS) else None)
    assert notes["terok.shield.state_dir"] == rig.state("evil2")


@pytest.mark.newest
# `auto` first: it wants ids that no other container with a mapping of its own has
@pytest.mark.parametrize("option", ["--userns=auto", "--user=1000", "--userns=keep-id", "--userns=nomap"])
def test_the_ordinary_user_gets_into_the_namespace_through_its_owner_only(option, rig):
    name = rig.shared(option)
    alone = rig.tap(name, "only-net")
    alone.__exit__()
    with rig.tap(name) as tap:
        assert tap.first.startswith("listening")
    assert alone.first == "EPERM"


# --- the name server's log


def test_every_line_of_the_log_has_the_known_head(rig, c):
    rig.conn(c, "open.example")
    lines = rig.read(c, "dnsmasq.log").splitlines()
    assert len(logged(rig, c)) == len(lines) > 5


def test_an_answer_is_query_forward_and_reply(rig, c):
    rig.conn(c, "two.example")
    found = logged(rig, c)
    assert "query[A] two.example from 127.0.0.1" in found
    assert "forwarded two.example to " + rig.fact(FORWARDER) in found
    assert "reply two.example is 198.51.100.7" in found


def test_the_links_of_an_alias_chain_stand_one_after_the_other(rig, c):
    rig.conn(c, "alias.example")
    found = logged(rig, c)
    at = found.index("reply edge.cdn.example is 198.51.100.2")
    assert found[at - 2 : at] == ["reply alias.example is <CNAME>", "reply mid.example is <CNAME>"]


def test_a_set_is_filled_before_the_reply_that_fills_it(rig, c):
    rig.conn(c, "open.example")
    found = logged(rig, c)
    at = next(
        at
        for at, text in enumerate(found)
        if re.fullmatch(r"nftset add 4 inet \S+ \S+ 203.0.113.10 \S+", text)
    )
    assert found[at + 1] == "reply open.example is 203.0.113.10"


def test_what_does_not_exist_has_no_address_in_the_log(rig, c):
    rig.conn(c, "nosuch.example")
    assert "reply nosuch.example is NXDOMAIN" in logged(rig, c)


def test_the_case_is_kept_as_queried_or_lower_case(rig, c):
    rig.conn(c, "TWO.example")
    found = set(logged(rig, c))
    name = "TWO.example" if rig.fact(KEEPS_CASE) else "two.example"
    assert "query[A] %s from 127.0.0.1" % name in found
    assert {"reply %s is 198.51.100.7" % name, "cached %s is 198.51.100.7" % name} & found


def test_answers_come_from_a_cache_only_in_old_versions(rig, c):
    for _ in range(2):
        rig.conn(c, "edge.cdn.example")
    assert ("cached edge.cdn.example is 198.51.100.2" in logged(rig, c)) == old(rig)


def test_a_denied_name_is_told_apart_on_the_live_tier(rig, c):
    rig.shield("deny", c, "denied.example")
    rig.conn(c, "denied.example")
    told = "using only locally-known addresses for denied.example"
    assert (told in logged(rig, c)) != old(rig)


@pytest.mark.newest
def test_a_workload_can_make_the_log_hold_any_words(rig, c):
    """One query whose labels are `reply good.example is 198`, `51`, … would pass an unanchored match."""
    name = b"".join(
        bytes([len(label)]) + label
        for label in (b"cached good", b"com is 198", b"51", b"100", b"66", b"odd", b"example")
    )
    code = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('127.0.0.1', 53));"
        "s.send(bytes.fromhex('%s')); s.settimeout(60); s.recv(999)"
    )
    query = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0" + name + b"\0\0\1\0\1"
    rig.inside(c, ["python3", "-c", code % query.hex()])
    assert any("good.com is 198.51.100.66" in text for text in logged(rig, c))


# --- NFLOG


@pytest.fixture(scope="module")
def tapped(rig):
    name = rig.shielded("tapped")
    rig.shield("deny", name, "198.51.100.51")
    with rig.tap(name) as tap:
        yield name, tap


def test_the_prefix_tells_what_became_of_a_packet(rig, tapped):
    name, tap = tapped
    seen = []
    for address in ("198.51.100.50", "198.51.100.51", "10.99.0.7", "169.254.1.2", "203.0.113.77"):
        rig.conn(name, address)
        seen.append(tap.packet(address)["prefix"])
    words = ("BLOCKED", "DENIED", "PRIVATE", "PRIVATE", "ALLOWED")
    assert seen == ["TEROK_SHIELD_%s: " % word for word in words]


@pytest.mark.newest
def test_a_packet_carries_who_sent_it(rig, tapped):
    name, tap = tapped
    rig.conn(name, "198.51.100.52")
    assert {1, 9, 10, 11, 14} <= set(tap.packet("198.51.100.52")["attributes"])


def test_every_datagram_to_an_allowed_address_is_logged_until_an_answer(rig, tapped):
    name, tap = tapped
    rig.conn(name, "203.0.113.77", 9, "udp", 20)
    for _ in range(20):
        assert tap.packet("203.0.113.77")["prefix"] == "TEROK_SHIELD_ALLOWED: "


@pytest.mark.newest
def test_a_blocked_datagram_is_refused_at_once(rig, tapped):
    name, _ = tapped
    assert rig.conn(name, "198.51.100.53", 53, "udp") == "198.51.100.53 EPERM"


@pytest.mark.newest
def test_a_blocked_ipv6_connection_is_logged_too(rig, tapped):
    name, tap = tapped
    rig.conn(name, "2001:db8:5::5")
    assert tap.packet("2001:db8:5::5")["prefix"] == "TEROK_SHIELD_BLOCKED: "


@pytest.mark.newest
def test_let_out_is_not_answered_as_ipv6_never_connects(rig, tapped):
    """The rules stop neighbour discovery, whatever is allowed."""
    name, tap = tapped
    assert rig.shield("allow", name, "2001:db8:6::6").returncode == 0
    assert not rig.conn(name, "2001:db8:6::6", patience=1).endswith(" connected")
    assert kept.stops_ipv6(rig.state(name))
    assert tap.packet("2001:db8:6::6")["prefix"] == "TEROK_SHIELD_ALLOWED: "


@pytest.mark.newest
def test_one_listener_at_a_time_and_the_kernel_names_it(rig, tapped):
    name, tap = tapped
    second = rig.tap(name)
    second.__exit__()
    assert second.first in ("EPERM", "EBUSY")
    holder = re.fullmatch(r'listening \["100", "(\d+)", "\d+", "2", "128", .*\]', tap.first).group(1)
    assert int(holder) in [pid for pid, _, _ in rig.processes("tap.py")]


def test_what_a_lowered_shield_lets_pass_is_logged_as_bypass(rig, lowered):
    with rig.tap(lowered) as tap:
        rig.conn(lowered, "198.51.100.54")
        assert tap.packet("198.51.100.54")["prefix"] == "TEROK_SHIELD_BYPASS: "


# --- the bridge reader


@pytest.fixture(scope="module")
def bridged(rig):
    """A container started where there is a session bus, as after a login; its name and id."""
    return "bridged", shielded(rig, "bridged", deaf=True)


def test_with_a_session_bus_two_processes_of_one_group_are_there_and_hold_nflog(rig, bridged):
    name, container_id = bridged
    head = int(rig.read(name, "reader.pid"))
    found = rig.processes(" %s " % rig.state(name), "--emit=socket", "--container-id=" + container_id)
    assert [group for _, group, _ in found] == [head, head]
    refused = rig.tap(name)
    refused.__exit__()
    assert refused.first in ("EPERM", "EBUSY")


def test_it_writes_blocked_lines_under_the_short_id_one_for_an_address(rig, bridged):
    name, container_id = bridged
    rig.conn(name, "198.51.100.60", 443)
    rig.conn(name, "198.51.100.60", 8443)
    rig.conn(name, "198.51.100.61", 53, "udp")
    rig.conn(name, "two.example", 443)

    def lines():
        return [line for line in rig.audit(name) if line["action"] == "blocked"]

    eventually(lambda: len(lines()) >= 3)
    assert {line["container"] for line in lines()} == {container_id[:12]}
    assert [(line["dest"], line["port"], line["proto"]) for line in lines()] == [
        ("198.51.100.60", 443, "tcp"),
        ("198.51.100.61", 53, "udp"),
        ("198.51.100.7", 443, "tcp"),
    ]
    assert lines()[2]["domain"] == "two.example"


def test_the_end_of_its_whole_group_frees_nflog_and_hurts_nobody(rig, bridged):
    """Last of all: by KILL, since crun starts it with TERM blocked."""
    name, container_id = bridged
    head = rig.read(name, "reader.pid").strip()
    rig.as_op(["kill", "-KILL", "--", "-" + head], check=True)
    eventually(lambda: not readers(rig, container_id))
    with rig.tap(name) as tap:
        assert tap.first.startswith("listening")
    assert rig.status(name) == "up"
    assert rig.inspected(name)["State"]["Running"]


# --- a host with a journal


def test_with_a_journal_only_the_last_line_is_left_of_a_reason(rig, quarantined):
    before = rig.shield("allow", quarantined, "198.51.100.44").stderr
    with rig.journal():
        after = rig.shield("allow", quarantined, "198.51.100.44").stderr
    last = "Error: No IPs allowed for %s\n" % quarantined
    assert before.endswith("\n" + last)
    before, after = (re.sub('time="[^"]*"', "", text) for text in (before, after))  # podman's, in seconds
    assert after == (before if old(rig) else last)
