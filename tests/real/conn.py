"""Inside the container: conn.py [HOST PORT [tcp|udp [COUNT [SECONDS]]]].

Tries, and prints `198.51.100.1 connected`, `198.51.100.1 EHOSTUNREACH`, `no address: …`.  Without
words it does so for each line of stdin.
"""

import errno
import socket
import sys


def tried(host, port, proto="tcp", count="1", seconds="60"):
    kind = socket.SOCK_DGRAM if proto == "udp" else socket.SOCK_STREAM
    try:
        family, kind, number, _, address = socket.getaddrinfo(host, int(port), 0, kind)[0]
    except socket.gaierror as error:
        return "no address: " + error.args[1]
    for _ in range(int(count)):
        with socket.socket(family, kind, number) as s:
            s.settimeout(float(seconds))
            try:
                s.connect(address)
                if kind == socket.SOCK_DGRAM:
                    s.send(b"x")
                came = "connected" if kind == socket.SOCK_STREAM else "sent"
            except socket.timeout:
                came = "timeout"
            except OSError as error:
                came = errno.errorcode[error.errno]
    return "%s %s" % (address[0], came)


for words in [sys.argv[1:]] if sys.argv[1:] else map(str.split, sys.stdin):
    print(tried(*words), flush=True)
