"""What a script needs of a cluster: any broker, or the controller, for as long as it takes.

    admin = Admin("localhost:9092")
    metadata = admin.call("Metadata", {"topics": None})
    answer = admin.call_controller("CreateTopics", lambda version, timeout_ms: {"topics": [...]})

call_at() asks one broker. call() asks any broker of the list. When the connection breaks it goes to the next, until its time is over;
when nobody in the list accepts a connection it fails at once, for then it is most likely the address.
call_controller() finds the controller, and begins again when the broker is the controller no more, or is gone.
Errors of Kafka inside an answer are the caller's business, but for NOT_CONTROLLER.
"""
import time

import wire

BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.1, 1.0
ANSWER_MARGIN_S = 5.0  # beyond the time that a request gives the broker, so that it is the broker who gives up first
NOT_CONTROLLER = 41


def error_codes(answer):
    """Every error code of an answer: at its top, and in the lists below, however deep."""
    if "error_code" in answer:
        yield answer["error_code"]
    for value in answer.values():
        for item in value if isinstance(value, list) else []:
            if isinstance(item, dict):
                yield from error_codes(item)


class Patience:
    """The time that is left, and pauses that grow, in seconds."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.end = time.monotonic() + seconds
        self.pause = BACKOFF_FIRST_S

    def left(self):
        return max(0.0, self.end - time.monotonic())

    def wait(self):
        """False when the time is over."""
        if self.left() <= 0:
            return False
        time.sleep(min(self.pause, self.left()))
        self.pause = min(self.pause * 2, BACKOFF_MAX_S)
        return True


class Admin:
    """bootstrap is a list of addresses with commas. Times are in seconds: one request's, and one call's with all
    its retries."""

    def __init__(self, bootstrap, client_id="barnabas-admin", request_timeout=30.0, api_timeout=60.0):
        self.addresses = wire.parse_addresses(bootstrap)
        if not self.addresses:
            raise ValueError(f"no address in {bootstrap!r}")
        self.client_id = client_id
        self.request_timeout = request_timeout
        self.api_timeout = api_timeout
        self.connections = {}  # address -> Connection

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for connection in self.connections.values():
            connection.close()
        self.connections = {}

    def connect(self, address, patience):
        if address not in self.connections:
            seconds = max(0.001, min(self.request_timeout, patience.left()))
            self.connections[address] = wire.Connection(
                *address, client_id=self.client_id, timeout=self.request_timeout, connect_timeout=seconds)
        return self.connections[address]

    def forget(self, address):
        connection = self.connections.pop(address, None)
        if connection:
            connection.close()

    def any_broker(self, patience):
        """(address, connection) of the first in the list who accepts one. ConnectError names them all."""
        problems = []
        for address in self.addresses:
            try:
                return address, self.connect(address, patience)
            except wire.ConnectError as problem:
                problems.append(str(problem))
        raise wire.ConnectError("; ".join(problems))

    def call(self, name, body=None, patience=None):
        patience = patience or Patience(self.api_timeout)
        while True:
            address, connection = self.any_broker(patience)
            try:
                return connection.call(name, body, timeout=max(0.001, min(self.request_timeout, patience.left())))
            except (wire.ConnectionClosed, wire.Timeout) as problem:
                self.forget(address)
                self.addresses = self.addresses[1:] + self.addresses[:1]
                if not patience.wait():
                    raise wire.Timeout(f"{name} had no answer within {patience.seconds:g} s: {problem}") from None

    def call_at(self, address, name, body):
        """Ask the broker at this address and no other, again where the connection breaks, until the time is over."""
        patience = Patience(self.api_timeout)
        while True:
            try:
                connection = self.connect(address, patience)
                return connection.call(name, body, timeout=max(0.001, min(self.request_timeout, patience.left())))
            except (wire.ConnectionClosed, wire.Timeout) as problem:
                self.forget(address)
                if not patience.wait():
                    raise wire.Timeout(f"{name} had no answer within {patience.seconds:g} s: {problem}") from None

    def offers(self, name):
        """Whether the broker has this API."""
        return wire.api(name).key in self.any_broker(Patience(self.api_timeout))[1].versions()

    def controller(self, patience):
        """The controller's address, or None while there is none."""
        metadata = self.call("Metadata", {"topics": []}, patience)
        found = [(b["host"], b["port"]) for b in metadata["brokers"] if b["node_id"] == metadata["controller_id"]]
        return found[0] if found else None

    def call_controller(self, name, make_body):
        """make_body(version, timeout_ms) gives the request; the time is what the broker may take for it."""
        patience = Patience(self.api_timeout)
        problem = None
        while True:
            try:
                answer, problem = self._try_controller(name, make_body, patience)
            except wire.Timeout:
                if problem is None:
                    raise
                answer = None  # the time ended on the way to another try: what stood in the way before is what to tell
            if answer is not None:
                return answer
            if not patience.wait():
                raise wire.Timeout(f"{name} was not done within {patience.seconds:g} s: {problem}")

    def _try_controller(self, name, make_body, patience):
        """(answer, None), or (None, why it has to be tried again)"""
        address = self.controller(patience)
        if address is None:
            return None, "the cluster has no controller at the moment"
        try:
            connection = self.connect(address, patience)
            version = connection.version_of(name)
            seconds = min(self.request_timeout, patience.left())
            answer = connection.call(name, make_body(version, int(seconds * 1000)), version, seconds + ANSWER_MARGIN_S)
        except (wire.ConnectError, wire.ConnectionClosed, wire.Timeout) as problem:
            self.forget(address)
            return None, f"the controller does not answer: {problem}"
        if NOT_CONTROLLER in error_codes(answer):
            return None, f"the broker at {address[0]}:{address[1]} is the controller no more"
        return answer, None
