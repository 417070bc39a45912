"""Another machine, for the tool to be run on over ssh: a real sshd on loopback, with its own keys.

    with machines.Machine(host, folder, names=("web",)) as machine:
        run([..., "--host", "web"], env=host.env())     # there it finds the stand-ins of `host`, too

`ssh NAME` leads there for whoever has `host.env()`: a configuration of its own stands before the real ssh.
"""

from __future__ import annotations

import getpass
import grp
import os
import signal
import socket
import subprocess

from host import quote, write
from needs import lacks, need, which
from support import eventually


def needed(terminal=True):
    """`terminal`: whether it has to give one."""
    for program in ("sshd", "ssh", "ssh-keygen"):
        need(program)
    if terminal and os.getuid() != 0 and not belongs_to_tty():
        lacks(
            "root", "sshd has to give each terminal to the group tty: devpts has no gid=5 here", optional=True
        )


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def belongs_to_tty():
    """Whether a terminal that is made does, or there is no such group."""
    ends = os.openpty()
    try:
        return os.fstat(ends[1]).st_gid == grp.getgrnam("tty").gr_gid
    except KeyError:
        return True
    finally:
        for fd in ends:
            os.close(fd)


def servers(pid):
    """What sshd started below this process, as long as it is sshd too."""
    found = []
    try:
        for each in read("/proc/%d/task/%d/children" % (pid, pid)).split():
            if read("/proc/%s/comm" % each).startswith("sshd"):
                found += [int(each), *servers(int(each))]
    except FileNotFoundError:
        pass  # it has ended
    return found


def read(path):
    with open(path) as file:
        return file.read()


class Machine:
    """An sshd of our own, with an account of ours.

    Elsewhere, in namespaces that `prefix` leads into, it is `user`'s account with `env`, and `port` is free
    there; ssh goes `through` another port, where something passes on what it says.  A connection that is
    silent for `patience` seconds, twice, is given up there; 0: none is.
    """

    def __init__(self, host, folder, names, *, port=0, through=0, prefix=(), user="", env=None, patience=0):
        os.makedirs(folder)
        self.names = names
        for name in ("host_key", "user_key"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "%s/%s" % (folder, name)]
            subprocess.run(command, check=True)
        self.port = port or free_port()
        self._config = os.path.join(host.folder, "ssh_config")
        env = " ".join('"%s=%s"' % item for item in (env or host.env()).items() if item[0] != "TERM")
        server = {
            "ListenAddress": "127.0.0.1",
            "Port": self.port,
            "HostKey": folder + "/host_key",
            "PidFile": "none",
            "AuthorizedKeysFile": folder + "/user_key.pub",
            "StrictModes": "no",
            "UsePAM": "no",
            "PermitRootLogin": "yes",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "PrintMotd": "no",
            "PrintLastLog": "no",
            "SetEnv": env,
            "ClientAliveInterval": patience,
            "ClientAliveCountMax": 1,
        }
        with open(self._config, "a") as file:
            file.write("Host %s\n" % " ".join(names))
            for line in (
                "HostName 127.0.0.1",
                "Port %d" % (through or self.port),
                "User " + (user or getpass.getuser()),
                "IdentityFile %s/user_key" % folder,
                "IdentitiesOnly yes",
                "UserKnownHostsFile /dev/null",
                "StrictHostKeyChecking no",
                "LogLevel ERROR",
                "ControlPath none",
            ):
                file.write("  %s\n" % line)
        path = os.path.join(host.bin, "ssh")
        write(path, '#!/bin/sh\nexec %s -F %s "$@"\n' % (which("ssh"), quote(self._config)))
        os.chmod(path, 0o755)
        with open(os.path.join(folder, "sshd_config"), "w") as file:
            file.writelines("%s %s\n" % line for line in server.items())
        self._argv = [which("sshd"), "-D", "-e", "-f", os.path.join(folder, "sshd_config")]
        if prefix:
            self._argv = [*prefix, "sh", "-c", 'mkdir -p /run/sshd && exec "$@"', "sh", *self._argv]
        elif os.getuid() == 0:  # with an empty /run and /var/log: nothing of ours stays in the machine's
            hide = 'mount -t tmpfs none /run && mkdir /run/sshd && mount -t tmpfs none /var/log && exec "$@"'
            self._argv = ["unshare", "-m", "sh", "-c", hide, "sh", *self._argv]
        self.log = os.path.join(folder, "sshd_log")
        self.start()

    def start(self):
        with open(self.log, "w") as log:
            self.child = subprocess.Popen(
                self._argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        eventually(self.listens, what="sshd listens: see " + self.log)

    def listens(self):
        with open(self.log) as file:
            return "Server listening" in file.read()

    def close(self):
        """Ends the server, and whoever is logged in: each has a server of its own, which would go on."""
        for pid in (self.child.pid, *servers(self.child.pid)):
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
        self.child.wait()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
