"""A few calls of ZooKeeper's protocol, to see what brokers write there, and to do there what an operator would.

    with Znodes(cluster.zookeepers[0].address) as znodes:
        value = znodes.json("/brokers/topics/orders")
        znodes.children("/brokers/ids")

One connection, one session that is kept alive while nothing is asked, one request at a time, no watches. A node that is
missing is a KeyError.
"""
import json
import socket
import struct
import threading

CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S, SESSION_TIMEOUT_MS = 30.0, 120.0, 30000
CREATE, DELETE, GET_DATA, SET_DATA, GET_CHILDREN, PING, CLOSE = 1, 2, 4, 5, 8, 11, -11
PING_XID = -2
NO_NODE, NODE_EXISTS = -101, -110
EPHEMERAL = 1
PERM_ALL = 31


class ZnodeError(Exception):
    """ZooKeeper said no; the text has its code."""


def _text(value):
    raw = value if isinstance(value, bytes) else value.encode()
    return struct.pack(">i", len(raw)) + raw


class Znodes:
    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), CONNECT_TIMEOUT_S)
        self.socket.settimeout(ANSWER_TIMEOUT_S)
        self.xid = 0
        self._send(struct.pack(">iqiq", 0, 0, SESSION_TIMEOUT_MS, 0) + _text(bytes(16)) + b"\0")
        granted_ms = struct.unpack(">i", self._receive()[4:8])[0]  # often less than what was asked for
        self.lock = threading.Lock()  # of the connection
        self.closed = threading.Event()
        threading.Thread(target=self._keep_alive, args=(granted_ms / 1000 / 3,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.closed.set()
        try:
            self._call(CLOSE, b"")
        finally:
            self.socket.close()

    def _keep_alive(self, every_s):
        while not self.closed.wait(every_s):
            try:
                with self.lock:
                    self._exchange(PING_XID, PING, b"")
            except (OSError, ZnodeError):
                return  # whoever asks next is told

    def _send(self, payload):
        self.socket.sendall(struct.pack(">i", len(payload)) + payload)

    def _take(self, size):
        parts = b""
        while len(parts) < size:
            part = self.socket.recv(size - len(parts))
            if not part:
                raise ZnodeError("ZooKeeper closed the connection")
            parts += part
        return parts

    def _receive(self):
        return self._take(struct.unpack(">i", self._take(4))[0])

    def _exchange(self, xid, kind, body):
        """(error, answer)"""
        self._send(struct.pack(">ii", xid, kind) + body)
        answer = self._receive()
        return struct.unpack(">iqi", answer[:16])[2], answer[16:]

    def _call(self, kind, body, path=""):
        with self.lock:
            self.xid += 1
            error, answer = self._exchange(self.xid, kind, body)
        if error == NO_NODE:
            raise KeyError(path)
        if error:
            raise ZnodeError(f"{path}: error {error}")
        return answer

    def get(self, path):
        """(data, version)"""
        answer = self._call(GET_DATA, _text(path) + b"\0", path)
        size = struct.unpack(">i", answer[:4])[0]
        end = 4 + max(size, 0)
        version = struct.unpack(">i", answer[end + 32:end + 36])[0]
        return answer[4:end], version

    def created(self, path):
        """The number of the transaction that made the node: of a broker's, the broker's epoch."""
        answer = self._call(GET_DATA, _text(path) + b"\0", path)
        return struct.unpack(">q", answer[4 + max(struct.unpack(">i", answer[:4])[0], 0):][:8])[0]

    def json(self, path):
        return json.loads(self.get(path)[0])

    def children(self, path):
        answer = self._call(GET_CHILDREN, _text(path) + b"\0", path)
        names, at = [], 4
        for _ in range(max(struct.unpack(">i", answer[:4])[0], 0)):
            size = struct.unpack(">i", answer[at:at + 4])[0]
            names.append(answer[at + 4:at + 4 + size].decode())
            at += 4 + size
        return sorted(names)

    def exists(self, path):
        try:
            self.get(path)
        except KeyError:
            return False
        return True

    def create(self, path, data=b"", ephemeral=False):
        acl = struct.pack(">ii", 1, PERM_ALL) + _text("world") + _text("anyone")
        self._call(CREATE, _text(path) + _text(data) + acl + struct.pack(">i", EPHEMERAL if ephemeral else 0), path)

    def set(self, path, data):
        self._call(SET_DATA, _text(path) + _text(data) + struct.pack(">i", -1), path)

    def delete(self, path):
        self._call(DELETE, _text(path) + struct.pack(">i", -1), path)
