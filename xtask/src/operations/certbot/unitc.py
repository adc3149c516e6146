#!/usr/bin/env python3
"""A stand-in for Unit's tool unitc, with the one use that certbot's plugin makes of it: `unitc --no-log METHOD PATH`.

Like the tool, it finds the server by the title of its process, and the control socket by the flags in that.
"""

import http.client
import pathlib
import re
import socket
import sys


def control_socket():
    titles = []
    for file in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            title = file.read_bytes().split(b"\0")[0].decode(errors="replace")
        except OSError:
            continue  # The process has ended.
        if title.startswith("unit: main v"):
            titles.append(title)
    if len(titles) != 1:
        sys.exit(f"unitc: ERROR: {len(titles)} processes of unitd: {titles}")
    found = re.search(r" --control unix:([^] ]+)", titles[0])
    if not found:
        sys.exit(f"unitc: ERROR: no control socket in the title {titles[0]}")
    return found[1]


def main():
    option, method, path = sys.argv[1:]
    if option != "--no-log":
        sys.exit(f"unitc: ERROR: a stand-in, which does not know {option}")
    body = sys.stdin.buffer.read() if method == "PUT" else b""
    connection = http.client.HTTPConnection("localhost", timeout=60)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(60)
    connection.sock.connect(control_socket())
    connection.request(method, path, body)
    response = connection.getresponse()
    sys.stdout.write(response.read().decode())
    return 0 if response.status == 200 else 1


sys.exit(main())
