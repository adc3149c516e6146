"""The clients of the test of certbot.

client.py loopback         brings up the loopback interface, which is down in a new network namespace
client.py root FOLDER      waits for pebble, and writes the certificate of its authority to root.pem
client.py serial FOLDER HOST
                           prints the number of the certificate that answers
client.py load FOLDER HOST makes requests until standard input ends; fails if one of them does
"""

import collections
import fcntl
import http.client
import pathlib
import socket
import ssl
import struct
import sys
import threading
import time
import urllib.request

TIMEOUT = 20
PORTS = {"http": 80, "https": 443}


def loopback():
    set_flags, up = 0x8914, 1
    fcntl.ioctl(socket.socket(), set_flags, struct.pack("16sH14x", b"lo", up))


def root(folder):
    api = ssl.create_default_context(cafile=folder / "api.pem")
    end = time.monotonic() + TIMEOUT
    while True:
        try:
            with urllib.request.urlopen("https://127.0.0.1:15000/roots/0", context=api, timeout=TIMEOUT) as answer:
                (folder / "root.pem").write_bytes(answer.read())
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


class Load:
    """Clients of both listeners, each in a thread: they ask on a new connection each time, or on one that is kept."""

    def __init__(self, folder, host):
        self.trust = ssl.create_default_context(cafile=folder / "root.pem")
        self.host = host
        self.stop = threading.Event()
        self.requests = collections.Counter()
        self.certificates = []
        self.lock = threading.Lock()
        self.failures = []
        kinds = [(scheme, kept) for scheme in PORTS for kept in (False, True)]
        clients = [(self.ask_repeatedly, kind) for kind in kinds] + [(self.download, ())]
        # All of them have an answer, and this one knows.
        self.begun = threading.Barrier(len(clients) + 1)
        self.threads = [threading.Thread(target=self.guarded, args=client) for client in clients]

    def run(self):
        for thread in self.threads:
            thread.start()
        try:
            self.begun.wait(TIMEOUT)
            print("begun", flush=True)
            sys.stdin.read()
        except threading.BrokenBarrierError:
            self.failures.append("not all clients began")
        self.stop.set()
        for thread in self.threads:
            thread.join()
        print(f"{sum(self.requests.values())} requests {dict(self.requests)}, {len(self.failures)} failed;", end=" ")
        print(f"certificates {self.certificates}", flush=True)
        if len(self.certificates) != 2:
            self.failures.append("new connections did not see one certificate first, and then another")
        sys.exit("\n".join(self.failures) if self.failures else 0)

    def guarded(self, client, kind):
        try:
            client(*kind)
        except Exception as error:
            self.failures.append(f"{client.__name__} {kind}: {error!r}")
            self.begun.abort()

    def ask_repeatedly(self, scheme, kept):
        name = f"{scheme}, {'one connection' if kept else 'new connections'}"
        connection = self.connection(scheme)
        while True:
            # Each has an answer of after the change, too.
            last = self.stop.is_set()
            self.ask(connection)
            self.requests[name] += 1
            if self.requests[name] == 1:
                self.begun.wait(TIMEOUT)
            if last:
                return
            if not kept:
                connection.close()
                connection = self.connection(scheme)
            self.stop.wait(0.005)

    def ask(self, connection):
        connection.request("GET", "/small", headers={"Host": self.host})
        response = connection.getresponse()
        body = response.read()
        if response.status != 200 or body != b"small":
            raise ValueError(f"{response.status} {body}")

    def download(self):
        """Is at one response all the time, slowly."""
        connection = self.connection("https")
        connection.request("GET", "/large", headers={"Host": self.host})
        response = connection.getresponse()
        missing = length = int(response.getheader("Content-Length"))
        self.begun.wait(TIMEOUT)
        while not self.stop.wait(0.1):
            missing -= len(response.read(1 << 14))
        if missing < length // 4:
            raise ValueError(f"only {missing} of {length} bytes were left to be read after the change")
        while piece := response.read(1 << 20):
            missing -= len(piece)
        if missing:
            raise ValueError(f"{missing} of {length} bytes are missing")
        self.requests["download"] += 1

    def connection(self, scheme):
        stream = socket.create_connection(("127.0.0.1", PORTS[scheme]), TIMEOUT)
        if scheme == "https":
            stream = self.trust.wrap_socket(stream, server_hostname=self.host)
            serial = stream.getpeercert()["serialNumber"]
            with self.lock:
                if self.certificates[-1:] != [serial]:
                    self.certificates.append(serial)
        connection = http.client.HTTPConnection(self.host)
        connection.sock = stream
        # One that the server closes is not to be opened again in silence.
        connection.auto_open = 0
        return connection


match sys.argv[1:]:
    case ["loopback"]:
        loopback()
    case ["root", folder]:
        root(pathlib.Path(folder))
    case ["serial", folder, host]:
        load = Load(pathlib.Path(folder), host)
        load.ask(load.connection("https"))
        print(*load.certificates)
    case ["load", folder, host]:
        Load(pathlib.Path(folder), host).run()
    case _:
        sys.exit(__doc__)
