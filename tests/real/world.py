"""The small world that a real shielded container lives in: run as the first process of its namespaces.

    unshare --mount --net --pid --fork --mount-proc --propagation private python3 world.py '{…}'

It makes everything that the operator needs and the real machine lacks or must not lend: a user,
a runtime directory, the documentation networks on loopback, an interface that leads nowhere, a DNS
server of example names, a TCP greeting at every address.  Nothing of it is seen outside, and
when its stdin ends it ends, and with it, being process 1, every container, helper and daemon.
"""

import ipaddress
import json
import os
import selectors
import signal
import socket
import stat
import struct
import subprocess
import sys

NETWORKS = ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15")
NETWORKS += ("10.99.0.0/24", "192.168.77.0/24")
NETWORKS_6 = ("2001:db8::/32",)
OWN = "192.0.2.254"  # the host's: where a host has no address but loopback's, getent finds nothing
OWN_6 = "2001:db8:254::254"
LINK_LOCAL = "fe80::254"  # without one pasta gives no IPv6
PORTS = (80, 443, 8443)
AT_HOME = {"127.0.0.1": 7001, OWN: 7002}  # what the host has on one of its own addresses alone
ZONE = {  # an alias is a name, everything else a list of addresses
    "open.example": ["203.0.113.10", "2001:db8:10::10"],  # in the profile of every container
    "shut.example": ["198.51.100.1", "2001:db8:1::1"],
    "www.shut.example": ["198.51.100.11"],
    "alias.example": "mid.example",
    "mid.example": "edge.cdn.example",
    "edge.cdn.example": ["198.51.100.2"],
    "pool.example": ["198.51.100.3", "198.51.100.4"],
    "denied.example": ["198.51.100.5"],
    "one.example": ["198.51.100.7"],
    "two.example": ["198.51.100.7"],
    "under_score.example": ["198.51.100.22"],
    "front.example": "behind.example",
    "behind.example": ["192.0.2.8"],
    "byname.example": ["192.0.2.2"],
    "saved.example": ["192.0.2.37"],
    "undone.example": ["192.0.2.42"],
    "both.example": ["192.0.2.43", "2001:db8:43::43"],
    "json.example": ["192.0.2.102"],
    "byrule.example": ["192.0.2.106"],
    "com.100.odd.example": ["198.51.100.66"],
}
A, CNAME, AAAA = 1, 5, 28


def run(*argv):
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


# --- mounts


def cover(path, text):
    """`text` in place of the file at `path`, which may be a link to something that is not here."""
    real = os.path.realpath(path)
    os.makedirs(os.path.dirname(real), exist_ok=True)
    if not os.path.exists(real):
        open(real, "w").close()
    copy = "/run/world" + path
    os.makedirs(os.path.dirname(copy), exist_ok=True)
    with open(copy, "w") as file:
        file.write(text)
    run("mount", "--bind", copy, real)


def read(path):
    with open(path) as file:
        return file.read()


def mounts(user, uid, subids, home, needed):
    run("mount", "--make-rshared", "/")  # podman wants to see it so
    run("mount", "-t", "tmpfs", "-o", "mode=755", "none", "/run")
    # podman counts its locks there by uid: a world that ends would leave those of its containers taken
    run("mount", "-t", "tmpfs", "-o", "mode=1777", "none", "/dev/shm")
    runtime = "/run/user/%d" % uid
    os.makedirs(runtime)
    os.chown(runtime, uid, uid)
    os.chmod(runtime, 0o700)
    cover("/etc/resolv.conf", "nameserver 127.0.0.1\n")
    cover("/etc/passwd", read("/etc/passwd") + "%s:x:%d:%d::%s:/bin/sh\n" % (user, uid, uid, home))
    cover("/etc/group", read("/etc/group") + "%s:x:%d:\n" % (user, uid))
    for path in ("/etc/subuid", "/etc/subgid"):
        cover(path, "%s:%d:262144\n" % (user, subids))
    reveal(needed)
    if os.path.isdir("/sys/fs/cgroup/unified"):  # older crun can't make sense of both hierarchies
        run("mount", "-t", "tmpfs", "none", "/sys/fs/cgroup/unified")
    if not os.path.exists("/dev/net/tun") or not os.stat("/dev/net/tun").st_mode & stat.S_IWOTH:
        run("mount", "-t", "tmpfs", "-o", "mode=755", "none", "/dev/net")
        os.mknod("/dev/net/tun", 0o666 | stat.S_IFCHR, os.makedev(10, 200))
        os.chmod("/dev/net/tun", 0o666)


def reveal(paths):
    """Let others read these directories although ones above them, such as /root, forbid it."""
    covers = {}
    for path in paths:
        parts = path.strip("/").split("/")
        above = ["/" + "/".join(parts[:count]) for count in range(1, len(parts))]
        closed = [folder for folder in above if not os.stat(folder).st_mode & stat.S_IXOTH]
        if closed and path not in covers:
            covers[path] = closed[0]
            os.makedirs("/run/world" + path)
            run("mount", "--bind", path, "/run/world" + path)
    for folder in set(covers.values()):
        run("mount", "-t", "tmpfs", "-o", "mode=755", "none", folder)
    for path in covers:
        os.makedirs(path)
        run("mount", "--bind", "/run/world" + path, path)


# --- the network


def network():
    run("ip", "link", "set", "lo", "up")
    # pasta copies the addresses of the interface that the default route takes
    run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "nowhere")
    for name in ("eth0", "nowhere"):
        run("ip", "link", "set", name, "addrgenmode", "none", "up")
    run("ip", "address", "add", OWN + "/24", "dev", "eth0")
    run("ip", "route", "add", "default", "via", "192.0.2.253", "dev", "eth0")
    for argv in ipv6():
        run(*argv)
    for net in NETWORKS:
        run("ip", "route", "add", "local", net, "dev", "lo")
    for net in NETWORKS_6:
        run("ip", "-6", "route", "add", "local", net, "dev", "lo")


def ipv6():
    """What makes the host one with IPv6."""
    for address in (LINK_LOCAL, OWN_6):
        yield "ip", "address", "add", address + "/64", "dev", "eth0", "nodad"
    yield "ip", "-6", "route", "replace", "default", "via", "2001:db8:254::253", "dev", "eth0"


def encoded(name):
    return b"".join(bytes([len(label)]) + label.encode("latin-1") for label in name.split(".")) + b"\0"


def answers(name, kind):
    """(the name is known, [(owner, type, data)]), every alias followed."""
    found, seen = [], name
    while isinstance(ZONE.get(seen), str):
        found.append((seen, CNAME, encoded(ZONE[seen])))
        seen = ZONE[seen]
    for text in ZONE.get(seen, []) if kind in (A, AAAA) else []:
        address = ipaddress.ip_address(text)
        if address.version == (4 if kind == A else 6):
            found.append((seen, kind, address.packed))
    return name in ZONE, found


def reply(query):
    """The answer to a DNS query of one question (RFC 1035, section 4)."""
    end, labels = 12, []
    while query[end]:
        labels.append(query[end + 1 : end + 1 + query[end]].decode("latin-1"))
        end += 1 + query[end]
    end += 1
    known, found = answers(".".join(labels).lower(), struct.unpack("!H", query[end : end + 2])[0])
    header = struct.pack("!2sHHHHH", query[:2], 0x8180 | (0 if known else 3), 1, len(found), 0, 0)
    records = b"".join(
        encoded(owner) + struct.pack("!HHIH", kind, 1, 300, len(data)) + data for owner, kind, data in found
    )
    return header + query[12 : end + 4] + records


def serve():
    """Answer until stdin ends; greet whoever connects; bury the orphans, as process 1 must."""
    poll = selectors.DefaultSelector()
    dns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    dns.bind(("127.0.0.1", 53))
    poll.register(dns, selectors.EVENT_READ, "dns")
    for port in PORTS:
        server = socket.socket(socket.AF_INET6)
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind(("::", port))
        server.listen(64)
        poll.register(server, selectors.EVENT_READ, "tcp")
    for address in AT_HOME.items():
        server = socket.socket(socket.AF_INET)
        server.bind(address)
        server.listen(64)
        poll.register(server, selectors.EVENT_READ, "tcp")
    poll.register(0, selectors.EVENT_READ, "stdin")
    signal.signal(signal.SIGCHLD, bury)
    print("ready", flush=True)
    while True:
        for key, _ in poll.select():
            if key.data == "stdin":
                return
            if key.data == "dns":
                query, client = dns.recvfrom(4096)
                try:
                    dns.sendto(reply(query), client)
                except (IndexError, struct.error):
                    pass  # no query: whoever sent it gets no answer
            else:
                client = key.fileobj.accept()[0]
                try:
                    client.sendall(b"hello\n")
                except OSError:
                    pass  # gone already
                client.close()


def bury(*_):
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass  # all buried


if __name__ == "__main__":
    mounts(**json.loads(sys.argv[1]))
    network()
    serve()
