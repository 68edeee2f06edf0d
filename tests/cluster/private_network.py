"""A network of the test's own: loopback and nothing else, where the ports that everybody uses are free.

    with PrivateNetwork() as network:
        subprocess.run(network.command(["scripts/quickstart"]))

Made with unshare(1); as another user than root through a namespace of users. Unavailable says why, where the system
does not allow it. What is started inside lives in the network as long as it runs, also after the `with`.
"""
import fcntl
import os
import socket
import struct
import subprocess
import sys

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1


class Unavailable(Exception):
    """The system does not allow it; the text says what."""


class PrivateNetwork:
    def __enter__(self):
        user = [] if os.getuid() == 0 else ["--user", "--map-root-user"]
        try:
            self.holder = subprocess.Popen(["unshare", "--net", *user, sys.executable, os.path.abspath(__file__)],
                                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                           text=True)
        except FileNotFoundError:
            raise Unavailable("no unshare (package util-linux)") from None
        if self.holder.stdout.readline() != "ready\n":
            raise Unavailable(f"no private network: {self.holder.communicate()[1].strip().splitlines()[-1]}")
        return self

    def __exit__(self, *_):
        self.holder.communicate("")

    def command(self, words):
        """The same command, inside."""
        user = [] if os.getuid() == 0 else ["--user", "--preserve-credentials"]
        return ["nsenter", "--target", str(self.holder.pid), "--net", *user, "--", *words]


def loopback_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh22x", b"lo", 0)
        flags = struct.unpack("16xh22x", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request))[0]
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | IFF_UP))


if __name__ == "__main__":
    loopback_up()
    print("ready", flush=True)
    sys.stdin.read()
