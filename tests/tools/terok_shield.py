"""Stands where terok-shield stands: `allow|deny CONTAINER TARGET` and `status`, with its words and codes.

It really changes the nft sets in the container's namespace, by the set names of the container's
bundle version, and the files in its state directory; whether that opens anything is then up to
the rules there.  Run as `terok-shield FOLDER ARGUMENT...` by the wrapper that `Host` writes.

FOLDER/control, under "terok-shield":
  delay    seconds before anything happens
  gate     a file that has to be there before anything happens: `Host.gate()`
  mode     fail     rc 1 with an error of its own       silent      rc 0, a message, and nothing done
           hang     never ends, nothing done            half        does it, then never ends
           stubborn like hang, and minds no SIGTERM     killed      ends by SIGKILL
           huge     does it, with 20 MB of output       grandchild  does it; a child of it holds the pipes
  names    {"name": ["address", ...]} what the host resolves
  states   {"c1": "down"} for `status`; in `quarantine` an allow fails (`Container.shield` sets it)
  targets  {"203.0.113.10": {"mode": ..., "delay": ...}} in place of the general ones
"""

import os
import socket
import sys
import time

import standin

SETS = {
    "new": {"allow": "t40_project_allow", "deny": "t20_security_deny"},
    "old": {"allow": "allow", "deny": "deny"},
}
USAGE = "usage: terok-shield [-h] [--state-dir DIR] {allow,deny,status} ..."
SBIN = ":/usr/sbin:/sbin"
GONE = "nsenter: neither filename nor target pid supplied for ns/net"
NO_TABLE = "Error: No such file or directory\nadd element inet terok_shield %s { %s }"  # in quarantine
UNSHIELDED = (
    "container '%s' has no 'terok.shield.state_dir' annotation \u2014 was it launched through"
    " shield.pre_start()? Pass --state-dir=<root> if you know where its state lives."
)
NOT_DNSMASQ = (
    "Error: PID %d is not dnsmasq (stale PID file) \u2014 container DNS is broken."
    " Restart the container to recover."
)


def warn(new, line):
    """A line of its log: 0.9 puts the time in front."""
    standin.tell(time.strftime("%Y-%m-%d %H:%M:%S,000 WARNING ") + "terok_shield" + line if new else line)


class Shield:
    """One shielded container: its namespace, its state directory, its bundle version."""

    def __init__(self, it, called):
        self.called = called  # its messages name the container as it was given
        notes = it["Config"]["Annotations"]
        self.pid = it["State"]["Pid"]  # which a paused one has, too
        self.name, self.state_dir = it["Name"], notes["terok.shield.state_dir"]
        self.new = int(notes.get("terok.shield.version", "18")) >= 15
        self.sets = SETS["new" if self.new else "old"]

    def nft(self, verb, role, address):
        """The error of `nft verb element`; empty when it went well."""
        if not self.pid:
            return GONE
        flags = ["-n"]
        if os.readlink("/proc/self/ns/user") != os.readlink("/proc/%d/ns/user" % self.pid):
            flags = ["-U", "-n", "--preserve-credentials"]
        family = "_v6" if ":" in address else "_v4"
        element = [
            "nft",
            verb,
            "element",
            "inet",
            "terok_shield",
            self.sets[role] + family,
            "{ %s }" % address,
        ]
        return error_of(["nsenter", "-t", str(self.pid), *flags, "--", *element])

    def open(self, address):
        self.nft("delete", "deny", address)
        return self.nft("add", "allow", address)

    def shut(self, address):
        self.nft("delete", "allow", address)
        return self.nft("add", "deny", address)

    def keep(self, sign, target):
        """Read, modify, write, not atomically, as terok-shield does."""
        lists = {"+": "live.allowed", "-": "deny.list"}
        path = os.path.join(self.state_dir, "policy/live" if self.new else lists[sign])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            with open(path) as f:
                lines = f.read().split()
        except FileNotFoundError:
            lines = []
        kept = [line for line in lines if line.lstrip("+-") != target]
        with open(path, "w") as f:
            f.write("".join(line + "\n" for line in [*kept, (sign if self.new else "") + target]))

    def audit(self, action, addresses, target):
        now = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
        import json

        with open(os.path.join(self.state_dir, "audit.jsonl"), "a") as f:
            for address in addresses:
                line = {"ts": now, "container": self.name, "action": action, "dest": address}
                f.write(json.dumps(dict(line, detail="target=" + target), separators=(",", ":")) + "\n")

    def restart_dnsmasq(self):
        """A verdict by name does: the log goes on under another pid."""
        import re

        path, now = (os.path.join(self.state_dir, "dnsmasq.log"), time.strftime("%b %e %H:%M:%S"))
        old = 0
        if os.path.exists(path):
            with open(path, errors="replace") as f:
                pids = re.findall(r"dnsmasq\[(\d+)\]", f.read())
            old = int(pids[-1]) if pids else 0
        with open(path, "a") as f:
            if old:
                f.write("%s dnsmasq[%d]: exiting on receipt of SIGTERM\n" % (now, old))
            f.write("%s dnsmasq[%d]: started, version 2.90 cache disabled\n" % (now, os.getpid()))


def error_of(argv):
    """Runs a command: what it said on stderr, where it failed, else ""."""
    null, (reading, writing) = os.open(os.devnull, os.O_RDWR), os.pipe()
    pid = os.posix_spawnp(
        argv[0],
        argv,
        dict(os.environ, PATH=os.environ.get("PATH", os.defpath) + SBIN),
        file_actions=[(os.POSIX_SPAWN_DUP2, fd, to) for to, fd in enumerate((null, null, writing))],
    )
    os.close(writing)
    with open(reading, errors="replace") as said:
        text = said.read().strip()
    return text if os.waitpid(pid, 0)[1] else ""


def resolve(target):
    """An address or a network is itself; a name is what the host's resolver says."""
    if "/" in target:
        import ipaddress

        try:
            return [str(ipaddress.ip_network(target, strict=False))]
        except ValueError:
            pass
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return [socket.inet_ntop(family, socket.inet_pton(family, target))]
        except OSError:
            pass  # no address of that family
    return standin.control("terok-shield").get("names", {}).get(target.rstrip("."), [])


def allow(shield, target, addresses, state):
    if not addresses:
        warn(shield.new, ": No address for %s." % target)
        standin.tell("Error: No IPs allowed for %s" % shield.called)
        return 1
    opened = []
    for address in addresses:
        name = shield.sets["allow"] + ("_v6" if ":" in address else "_v4")
        error = NO_TABLE % (name, address) if state == "quarantine" else shield.open(address)
        if error:
            warn(
                shield.new,
                ": allow_ip failed for %s on %s: [...] failed (rc=1): %s" % (address, shield.called, error),
            )
        else:
            opened.append(address)
    if not opened:
        standin.tell("Error: No IPs allowed for %s" % shield.called)
        return 1
    if target.endswith("."):
        standin.tell("Error: line 1: invalid target")
        return 1
    shield.keep("+", target)
    if target not in addresses:
        shield.restart_dnsmasq()
        if "_" in target:
            warn(shield.new, ".dns.dnsmasq: generate_config: skipping invalid domain entry")
    shield.audit("allowed", opened, target)
    print("Allowed %s -> %s for %s" % (target, ", ".join(opened), shield.called))
    return 0


def deny(shield, target, addresses, state):
    for address in addresses:
        error = "" if state == "quarantine" else shield.shut(address)
        if error:
            warn(shield.new, ": deny_ip failed for %s on %s: %s" % (address, shield.called, error))
    shield.keep("-", target)
    shield.audit("denied", addresses, target)
    if target not in addresses:
        if not shield.pid:
            standin.tell(NOT_DNSMASQ % os.getppid())
            return 1
        shield.restart_dnsmasq()
    print("Denied %s (%s) for %s" % (target, ", ".join(addresses), shield.called))
    return 0


def find(name):
    """The shielded container of this name or id; None after telling why there is none."""
    text = standin.text(name)
    it = standin.read(text) if text else None
    if it is None:
        reason = 'podman inspect %s returned 125: Error: inspecting object: no such object: "%s"' % (
            name,
            name,
        )
        warn(True, ".container: %s\n" % reason)
    if it is None or "terok.shield.state_dir" not in it["Config"]["Annotations"]:
        standin.tell(UNSHIELDED % name)
        return None
    return Shield(it, name)


def state_of(shield):
    if not shield.pid:
        return "offline"
    return standin.control("terok-shield").get("states", {}).get(shield.name, "up")


def verdict(action, name, target):
    wanted = standin.control("terok-shield")
    special = dict(wanted, **wanted.get("targets", {}).get(target, {}))
    mode = special.get("mode", "")
    standin.pause(special)
    if mode == "stubborn":
        import signal

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if mode in ("hang", "stubborn"):
        standin.hang()
    if mode == "killed":
        os.kill(os.getpid(), 9)
    if mode == "fail":
        standin.tell(special.get("error", "Error: something went wrong"))
        return special.get("rc", 1)
    shield = find(name)
    if shield is None:
        return 1
    addresses = resolve(target)
    if mode == "silent":
        words = "Allowed %s -> %s for %s" if action == "allow" else "Denied %s (%s) for %s"
        print(words % (target, ", ".join(addresses), name))
        return 0
    code = (allow if action == "allow" else deny)(shield, target, addresses, state_of(shield))
    sys.stdout.flush()
    if mode == "half":
        standin.hang()
    if mode == "huge":
        standin.chatter()
    if mode == "grandchild":
        # it keeps our stdout and stderr open; the host ends it with the test
        standin.started(os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "600"))
    return code


def main(words):
    if words[:1] == ["--version"]:
        print("terok-shield 0.9.0\npodman 4.3.1\nnft found")
        return 0
    if words[:1] == ["status"] and len(words) == 2:
        shield = find(words[1])
        if shield is None:
            return 1
        print(state_of(shield))
        return 0
    if (
        len(words) != 3
        or words[0] not in ("allow", "deny")
        or words[1].startswith("-")
        or words[2].startswith("-")
    ):
        asked = "-h" in words or "--help" in words
        (print if asked else standin.tell)(USAGE)
        return 0 if asked else 2
    return verdict(*words)


standin.run("terok-shield", main)
