"""Inside the container: conn.py HOST PORT [tcp|udp [COUNT]].

Tries, and prints `198.51.100.1 connected`, `198.51.100.1 EHOSTUNREACH`, `no address: …`.
"""

import errno
import socket
import sys

host, port = sys.argv[1], int(sys.argv[2])
kind = socket.SOCK_DGRAM if "udp" in sys.argv[3:4] else socket.SOCK_STREAM
try:
    family, kind, proto, _, address = socket.getaddrinfo(host, port, 0, kind)[0]
except socket.gaierror as error:
    sys.exit(print("no address:", error.args[1]))
for _ in range(int((sys.argv[4:] or [1])[0])):
    with socket.socket(family, kind, proto) as s:
        s.settimeout(2)
        try:
            s.connect(address)
            if kind == socket.SOCK_DGRAM:
                s.send(b"x")
            came = "connected" if kind == socket.SOCK_STREAM else "sent"
        except socket.timeout:
            came = "timeout"
        except OSError as error:
            came = errno.errorcode[error.errno]
print(address[0], came)
