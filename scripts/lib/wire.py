"""A small Kafka client, driven by the text in proto/schema: for scripts, and for tests that need odd frames.

    with Connection("localhost", 9092) as kafka:
        answer = kafka.call("Metadata", {"topics": None})           # the newest version that both sides speak
        answer = kafka.call("Metadata", {"topics": []}, version=4)  # exactly this version
        for broker in answer["brokers"]:
            print(broker["node_id"], broker["host"])

Messages are dicts of field name -> value, as the schema names them. An array is a list, null is None,
bytes and records are bytes. A uuid is text as Kafka prints it (22 characters of base64); uuid.UUID and 16
bytes are taken too. Text that is not UTF-8 comes with surrogate escapes, so it survives a round trip.
A field that is left out has its default. A misspelt field is an error, and so is a value that the version
cannot carry, unless the schema calls it ignorable. Tags that the schema does not know are kept under
UNKNOWN_TAGS ("unknown_tags": {tag: bytes}), and written again from there.

Layers, each usable alone:
    Message                        one message: encode(value, version), decode(data, version)
    request(), response(), data(), header(), api()   find messages by name (an API by key, too)
    request_frame(), parse_request(), response_frame()   header and body together
    Connection                     call; or send and receive; or send_frame and receive_frame for raw bytes

The parser of the schema is not the one in proto/codec/generate.py, on purpose: tests compare what the two
make of the text. Decoding is stricter than Kafka's: bytes left over and tags out of order are errors.

Not safe for several threads at once: a connection belongs to one thread. Nothing is retried in here.
"""
import base64
import functools
import os
import re
import socket
import struct
import time
import uuid as uuid_module

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VERSION_END = 32768
STRING_SIZE_MAX = 32767
FRAME_SIZE_MAX = 1 << 30  # a larger frame is taken for nonsense: Malformed
UNKNOWN_TAGS = "unknown_tags"
UNSUPPORTED_VERSION = 35
ZERO_UUID = "A" * 22


class WireError(Exception):
    """Everything that goes wrong here, other than a wrong value, which is a ValueError."""


class ConnectError(WireError):
    """No connection: refused, unreachable, unknown host, or not in time."""


class ConnectionClosed(WireError):
    """The broker closed the connection."""


class Timeout(WireError):
    """No answer in time. The connection is still good, the answer may yet come."""


class Malformed(WireError):
    """Bytes that are not what the schema says."""


class UnsupportedVersion(WireError):
    """The broker does not have this API, or no version of it that the schema has."""


# ------------------------------------------------------------------ the schema's text


def parse_range(text, outer):
    """The versions of the range `outer` that `text` names. See proto/schema/README.md for the notation."""
    if text == "none":
        return range(0)
    match = re.fullmatch(r"(\d+)(\+|-(\d+))?", text)
    if not match:
        raise ValueError(f"bad range {text!r}")
    first = int(match[1])
    end = outer.stop if match[2] == "+" else int(match[3] or match[1]) + 1
    return range(max(first, outer.start), max(min(end, outer.stop), max(first, outer.start)))


class Field:
    LINE = re.compile(r"([a-z]\w*): (\[\])?(\w+)(\?)?((?: \S+)*)")

    def __init__(self, line, outer):
        match = self.LINE.fullmatch(line)
        if not match:
            raise ValueError(f"not a field: {line}")
        words = match[5].split()
        self.name, self.array, self.type = match[1], bool(match[2]), match[3]
        self.versions = parse_range(words.pop(0), outer) if words and words[0][0].isdigit() else outer
        notes = dict(word.partition("=")[::2] for word in words)
        self.nullable = self.versions if match[4] else parse_range(notes.get("null", "none"), self.versions)
        self.tag = int(notes["tag"]) if "tag" in notes else None
        self.never_compact = notes.get("flexible") == "none"
        self.ignorable = "ignorable" in notes
        self.default_text = notes.get("default")
        self.is_struct = self.type[0].isupper()
        self.fields = []  # of the struct

    def default(self):
        """What the field is where it is absent; a new object each time."""
        text = self.default_text
        if text == "null" or (self.type == "records" and not self.array):
            return None
        if self.array:
            return []
        if self.is_struct:
            return {field.name: field.default() for field in self.fields}
        if self.type == "string":
            return text or ""
        if self.type == "bytes":
            return b""
        if self.type == "uuid":
            return ZERO_UUID
        if self.type == "bool":
            return text == "true"
        return float(text or 0) if self.type == "float64" else int(text or "0", 0)

    def is_default(self, value):
        if self.is_struct and not self.array and isinstance(value, dict) and self.default_text != "null":
            return all(f.name not in value or f.is_default(value[f.name]) for f in self.fields)
        if self.type == "uuid" and not self.array:
            return uuid_bytes(value) == bytes(UUID_SIZE)
        return value == self.default()

    def __repr__(self):
        return f"{self.name}: {'[]' if self.array else ''}{self.type}"


class Message:
    """One message in all its versions."""

    def __init__(self, line):
        self.kind, self.name, *words = line.split()
        notes = dict(word.split("=", 1) for word in words)
        self.key = int(notes.get("key", -1))
        self.versions = parse_range(notes["versions"], range(VERSION_END))
        self.flexible = parse_range(notes["flexible"], self.versions)
        self.unstable = parse_range(notes.get("unstable", "none"), self.versions)
        self.fields = []

    def default(self):
        """The message with every field at its default."""
        return {field.name: field.default() for field in self.fields}

    def encode(self, value, version):
        self._check(version)
        return Writer(version, version in self.flexible).fields(self.fields, value, self.name)

    def decode(self, data, version):
        """The value of exactly these bytes."""
        value, used = self.decode_prefix(data, version)
        if used != len(data):
            raise Malformed(f"{self} version {version}: {len(data) - used} bytes left over")
        return value

    def decode_prefix(self, data, version):
        """(value, how many bytes it took)"""
        self._check(version)
        reader = Reader(data, version, version in self.flexible)
        try:
            return reader.fields(self.fields), reader.at
        except Malformed as problem:
            raise Malformed(f"{self} version {version}: {problem}") from None

    def _check(self, version):
        if version not in self.versions:
            first, last = self.versions.start, self.versions.stop - 1
            raise UnsupportedVersion(f"{self} has versions {first} to {last}, not {version}")

    def __str__(self):
        return f"{self.name} {self.kind}"


class _SchemaFile:
    """Parses one file: lines below a message, by their indent, into fields and structs."""

    def __init__(self, path):
        self.messages = []
        self.structs = {}  # name -> fields, of the message being read
        self.waiting = []  # fields of that message that name a struct
        self.open = []  # (indent, versions, the list of fields that lines below go to, field or None)
        with open(path, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                text = line.strip()
                if text and text[0] != "#":
                    try:
                        self._line(text, len(line.rstrip()) - len(text))
                    except (ValueError, KeyError) as problem:
                        raise ValueError(f"{path}:{number}: {problem}") from None
        self._connect()

    def _line(self, text, indent):
        if indent == 0:
            self._connect()
            self.messages.append(Message(text))
            self.open = [(0, self.messages[-1].versions, self.messages[-1].fields, None)]
            return
        while self.open and self.open[-1][0] >= indent:
            self.open.pop()
        if not self.open or self.open[-1][0] != indent - 2:
            raise ValueError("bad indent")
        _, versions, fields, owner = self.open[-1]
        if owner is not None:
            self.structs[owner.type] = fields
        if text.startswith("struct "):
            _, name, *limits = text.split()
            whole = self.messages[-1].versions
            self.structs[name] = []
            self.open.append((indent, parse_range(limits[0], whole) if limits else whole, self.structs[name], None))
            return
        field = Field(text, versions)
        fields.append(field)
        if field.is_struct:
            self.waiting.append(field)
        self.open.append((indent, field.versions, field.fields, field if field.is_struct else None))

    def _connect(self):
        for field in self.waiting:
            if field.type not in self.structs:
                raise ValueError(f"{self.messages[-1]}: no struct {field.type}")
            field.fields = self.structs[field.type]
        self.structs, self.waiting = {}, []


@functools.cache
def schema():
    """Every message there is: {(kind, name): Message}."""
    folder = os.path.join(ROOT, "proto", "schema")
    names = sorted(name for name in os.listdir(folder) if name.endswith(".msg"))
    messages = [m for name in names for m in _SchemaFile(os.path.join(folder, name)).messages]
    return {(m.kind, m.name): m for m in messages}


def _find(kind, name):
    try:
        return schema()[kind, name]
    except KeyError:
        raise ValueError(f"the schema has no {kind} {name!r}") from None


@functools.cache
def _api_names():
    return {message.key: message.name for (kind, _), message in schema().items() if kind == "request"}


def api(name_or_key):
    """The request of an API by name or key; its .key, .name, .versions and .flexible are the API's."""
    if isinstance(name_or_key, int):
        if name_or_key not in _api_names():
            raise ValueError(f"the schema has no API with key {name_or_key}")
        name_or_key = _api_names()[name_or_key]
    return _find("request", name_or_key)


def request(name_or_key):
    return api(name_or_key)


def response(name_or_key):
    return _find("response", api(name_or_key).name)


def header(name):
    return _find("header", name)


def data(name):
    """A message that is stored, or nested in others, for example OffsetCommitKey."""
    return _find("data", name)


# ------------------------------------------------------------------ values and bytes

FIXED = {
    "bool": struct.Struct(">?"),
    "int8": struct.Struct(">b"),
    "int16": struct.Struct(">h"),
    "uint16": struct.Struct(">H"),
    "int32": struct.Struct(">i"),
    "int64": struct.Struct(">q"),
    "float64": struct.Struct(">d"),
}
UUID_SIZE = 16
PLAIN_LENGTH = {"string": struct.Struct(">h")}
WIDE_LENGTH = struct.Struct(">i")


def uuid_text(raw):
    """16 bytes as Kafka prints them."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def uuid_bytes(value):
    if isinstance(value, uuid_module.UUID):
        return value.bytes
    raw = base64.urlsafe_b64decode(value + "==") if isinstance(value, str) else bytes(value)
    if len(raw) != UUID_SIZE:
        raise ValueError(f"not a uuid: {value!r}")
    return raw


def uvarint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


class Writer:
    """Encodes values for one version of one message. `where` names the place for error messages."""

    def __init__(self, version, flexible):
        self.version = version
        self.flexible = flexible

    def fields(self, fields, value, where):
        if not isinstance(value, dict):
            raise ValueError(f"{where}: {value!r} is not a dict")
        unknown = set(value) - {field.name for field in fields} - {UNKNOWN_TAGS}
        if unknown:
            raise ValueError(f"{where} has no field {', '.join(sorted(map(str, unknown)))}")
        out, tags = [], dict(value.get(UNKNOWN_TAGS, {}))
        for field in fields:
            given = value.get(field.name, field)  # the field itself stands for "not given"
            place = f"{where}.{field.name}"
            if self.version not in field.versions:
                self._check_absent(field, given, place)
            elif field.tag is None:
                out.append(self.whole(field, field.default() if given is field else given, place))
            elif given is not field and not field.is_default(given):
                tags[field.tag] = self.whole(field, given, place)
        if self.flexible:
            out.append(self.tags(tags))
        elif tags:
            raise ValueError(f"{where}: version {self.version} has no tags")
        return b"".join(out)

    def _check_absent(self, field, given, place):
        if given is not field and not field.ignorable and not field.is_default(given):
            raise ValueError(f"{place}: version {self.version} cannot carry {given!r}")

    @staticmethod
    def tags(tags):
        parts = [uvarint(len(tags))]
        for tag in sorted(tags):
            parts += [uvarint(tag), uvarint(len(tags[tag])), tags[tag]]
        return b"".join(parts)

    def length(self, count, kind, compact):
        """`count` None is null."""
        if compact:
            return uvarint(0 if count is None else count + 1)
        return PLAIN_LENGTH.get(kind, WIDE_LENGTH).pack(-1 if count is None else count)

    def whole(self, field, value, place):
        """A field with its mark of presence, if it has one."""
        compact = self.flexible and not field.never_compact
        nullable = self.version in field.nullable
        if value is None and not nullable:
            raise ValueError(f"{place}: version {self.version} cannot carry null")
        if field.array:
            if value is None:
                return self.length(None, "array", compact)
            each = (self.one(field, item, compact, f"{place}[{i}]") for i, item in enumerate(value))
            return self.length(len(value), "array", compact) + b"".join(each)
        if not field.is_struct or not nullable:
            return self.one(field, value, compact, place)
        there = 1 if value is not None else 0
        mark = uvarint(there) if field.tag is not None else FIXED["int8"].pack(there or -1)
        return mark + (self.one(field, value, compact, place) if there else b"")

    def one(self, field, value, compact, place):
        """A value, or an element of an array."""
        if field.is_struct:
            return self.fields(field.fields, value, place)
        try:
            if field.type in FIXED:
                return FIXED[field.type].pack(value)
            if field.type == "uuid":
                return uuid_bytes(value)
            if value is None:
                return self.length(None, field.type, compact)
            raw = value.encode("utf-8", "surrogateescape") if field.type == "string" else bytes(value)
            if field.type == "string" and len(raw) > STRING_SIZE_MAX:
                raise ValueError(f"{len(raw)} bytes are too many for a string")
        except (struct.error, TypeError, AttributeError, ValueError) as problem:
            raise ValueError(f"{place}: {value!r} is no {field.type}: {problem}") from None
        return self.length(len(raw), field.type, compact) + raw


class Reader:
    """Decodes bytes of one version of one message, from `at` on. Malformed says what is wrong with them."""

    def __init__(self, data_in, version, flexible):
        self.data = memoryview(data_in)
        self.version = version
        self.flexible = flexible
        self.at = 0
        self.end = len(self.data)

    def take(self, size):
        if size > self.end - self.at:
            raise Malformed(f"{size} bytes wanted at {self.at}, but {self.end - self.at} are left")
        self.at += size
        return self.data[self.at - size:self.at]

    def fixed(self, form):
        return form.unpack(self.take(form.size))[0]

    def uvarint(self):
        number = 0
        for shift in range(0, 35, 7):
            byte = self.take(1)[0]
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
        else:
            raise Malformed(f"a uvarint of more than five bytes at {self.at}")
        if number >= 1 << 32:
            raise Malformed(f"a uvarint of more than 32 bits at {self.at}")
        return number

    def length(self, kind, compact):
        count = self.uvarint() - 1 if compact else self.fixed(PLAIN_LENGTH.get(kind, WIDE_LENGTH))
        return None if count < 0 else count

    def fields(self, fields):
        value, by_tag = {}, {}
        for field in fields:
            if self.version not in field.versions or field.tag is not None:
                value[field.name] = field.default()
                if self.version in field.versions:
                    by_tag[field.tag] = field
            else:
                value[field.name] = self.whole(field)
        if self.flexible:
            self.tags(by_tag, value)
        return value

    def tags(self, by_tag, value):
        last = -1
        for _ in range(self.uvarint()):
            tag, size = self.uvarint(), self.uvarint()
            if tag <= last:
                raise Malformed(f"tag {tag} after tag {last}")
            last = tag
            if tag not in by_tag:
                value.setdefault(UNKNOWN_TAGS, {})[tag] = bytes(self.take(size))
                continue
            if size > self.end - self.at:
                raise Malformed(f"tag {tag} has {size} bytes, but {self.end - self.at} are left")
            end, self.end = self.end, self.at + size
            value[by_tag[tag].name] = self.whole(by_tag[tag])
            if self.at != self.end:
                raise Malformed(f"tag {tag} does not fill its {size} bytes")
            self.end = end

    def whole(self, field):
        compact = self.flexible and not field.never_compact
        nullable = self.version in field.nullable
        if field.array:
            value = self.array(field, compact)
        elif field.is_struct and nullable:
            there = self.uvarint() != 0 if field.tag is not None else self.fixed(FIXED["int8"]) >= 0
            value = self.one(field, compact) if there else None
        else:
            value = self.one(field, compact)
        if value is None and not nullable:
            raise Malformed(f"{field.name} is null before {self.at}")
        return value

    def array(self, field, compact):
        count = self.length("array", compact)
        if count is None:
            return None
        if count > self.end - self.at:  # no element takes less than a byte
            raise Malformed(f"{field.name} has {count} elements, but {self.end - self.at} bytes are left")
        values = [self.one(field, compact) for _ in range(count)]
        if None in values:
            raise Malformed(f"an element of {field.name} is null")
        return values

    def one(self, field, compact):
        if field.is_struct:
            return self.fields(field.fields)
        if field.type in FIXED:
            return self.fixed(FIXED[field.type])
        if field.type == "uuid":
            return uuid_text(self.take(UUID_SIZE))
        size = self.length(field.type, compact)
        if size is None:
            return None
        raw = bytes(self.take(size))
        if field.type != "string":
            return raw
        if size > STRING_SIZE_MAX:
            raise Malformed(f"{field.name} is a string of {size} bytes")
        return raw.decode("utf-8", "surrogateescape")


# ------------------------------------------------------------------ errors of Kafka


@functools.cache
def errors():
    """Kafka's errors as the broker's own list has them: {code: (name, retriable)}."""
    with open(os.path.join(ROOT, "common", "base", "err.h"), encoding="utf-8") as text:
        listed = text.read().partition("#define ERR_LIST_WIRE(X)")[2].partition("#define")[0]
    found = re.findall(r'X\((\w+),\s*(\d+),\s*(true|false),', listed)
    return {0: ("NONE", False), -1: ("UNKNOWN_SERVER_ERROR", False),
            **{int(code): (name, retriable == "true") for name, code, retriable in found}}


def error_name(code):
    return errors()[code][0] if code in errors() else f"error {code}"


def error_code(name):
    """The code of an error by Kafka's name for it."""
    for code, (known, _) in errors().items():
        if known == name:
            return code
    raise ValueError(f"no error is called {name!r}")


def is_retriable(code):
    return code in errors() and errors()[code][1]


# ------------------------------------------------------------------ frames


def flexible_from(message):
    """The first flexible version; above all versions when there is none."""
    return message.flexible.start if message.flexible else VERSION_END


def request_header_version(message, version):
    """Of the header before a request. The rule holds for versions that the schema does not have, too."""
    if message.name == "ControlledShutdown" and version == 0:
        return 0
    return 2 if version >= flexible_from(message) else 1


def response_header_version(message, version):
    """ApiVersions answers are for readers who do not know yet what the broker speaks: always plain."""
    return 0 if message.name == "ApiVersions" or version < flexible_from(message) else 1


def frame(payload):
    return WIDE_LENGTH.pack(len(payload)) + payload


def request_frame(name, body, version, correlation_id=0, client_id="barnabas"):
    """A whole frame, with its size. A body of bytes is sent as it is, in a version of any number."""
    message = request(name)
    if not isinstance(body, (bytes, bytearray)):
        body = message.encode(body, version)
    head = header("RequestHeader").encode(
        {"request_api_key": message.key, "request_api_version": version, "correlation_id": correlation_id,
         "client_id": client_id}, request_header_version(message, version))
    return frame(head + body)


def parse_request(payload):
    """(header, body) of a frame without its size: what a broker does."""
    key, version = struct.unpack_from(">hh", payload)
    message = request(key)
    head, used = header("RequestHeader").decode_prefix(payload, request_header_version(message, version))
    return head, message.decode(payload[used:], version)


def response_frame(name, body, version, correlation_id=0):
    message = response(name)
    head = header("ResponseHeader").encode({"correlation_id": correlation_id},
                                           response_header_version(message, version))
    return frame(head + message.encode(body, version))


def parse_response(name, payload, version):
    """(header, body) of a frame without its size."""
    message = response(name)
    head, used = header("ResponseHeader").decode_prefix(payload, response_header_version(message, version))
    return head, message.decode(payload[used:], version)


# ------------------------------------------------------------------ connections


def parse_address(text, default_port=9092):
    """("host", port) of host:port, host, or [v6]:port."""
    match = re.fullmatch(r"(?:\w+://)?(?:\[([^\]]+)\]|([^:/\[\]]+))(?::(\d+))?", text.strip())
    if not match or int(match[3] or 0) > 65535:
        raise ValueError(f"not an address: {text!r}")
    return match[1] or match[2], int(match[3] or default_port)


def parse_addresses(text):
    """Of a list with commas, as --bootstrap-server takes it."""
    return [parse_address(part) for part in text.split(",") if part.strip()]


class Connection:
    """A connection to one broker.

    timeout is for one answer, connect_timeout for the connection, both in seconds. Answers come in the order
    of their requests; each correlation id is checked against that order. After Timeout the connection may be
    used on; after Malformed or ConnectionClosed it is of no more use.
    """

    def __init__(self, host="localhost", port=9092, client_id="barnabas", timeout=30.0, connect_timeout=10.0):
        self.host, self.port, self.client_id, self.timeout = host, port, client_id, timeout
        self.last_version = None  # of the last request sent
        self._input = bytearray()
        self._pending = []  # (correlation id, API name, version), oldest first
        self._arrived = {}  # answers that came while another was waited for: correlation id -> body
        self._next_id = 0
        self._versions = None
        try:
            self.socket = socket.create_connection((host, port), connect_timeout)
        except OSError as problem:
            raise ConnectError(f"{host}:{port}: {problem.strerror or problem}") from problem
        except UnicodeError:  # so Python says that a part of it is empty or very long
            raise ConnectError(f"{host}:{port}: no name of a host") from None
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    # ---- calls

    def call(self, name, body=None, version=None, timeout=None):
        """Send a request and return the answer to it; None where there is none (Produce with acks 0)."""
        sent = self.send(name, body, version)
        return None if sent is None else self.receive(sent, timeout)

    def versions(self, timeout=None):
        """What the broker offers: {key: range of versions}. Asked once."""
        if self._versions is None:
            version = api("ApiVersions").versions.stop - 1
            body = {"client_software_name": "barnabas-wire", "client_software_version": "1"}
            answer = self.call("ApiVersions", body, version, timeout)
            if answer["error_code"] == UNSUPPORTED_VERSION:
                answer = self.call("ApiVersions", {}, 0, timeout)
            if answer["error_code"] != 0:
                raise WireError(f"ApiVersions answers {error_name(answer['error_code'])}")
            self._versions = {a["api_key"]: range(a["min_version"], a["max_version"] + 1) for a in answer["api_keys"]}
        return self._versions

    def version_of(self, name, highest=None):
        """The newest version that the broker and the schema both have (and not above `highest`)."""
        message = api(name)
        offered = self.versions().get(message.key)
        if offered is None:
            raise UnsupportedVersion(f"the broker at {self.host}:{self.port} does not offer {message.name}")
        ends = [offered.stop, message.versions.stop] + ([] if highest is None else [highest + 1])
        if message.unstable:
            ends.append(message.unstable.start)
        first, end = max(offered.start, message.versions.start), min(ends)
        if first >= end:
            raise UnsupportedVersion(
                f"the broker at {self.host}:{self.port} offers {message.name} {offered.start} to {offered.stop - 1},"
                f" of which none will do")
        return end - 1

    # ---- requests and answers by themselves

    def send(self, name, body=None, version=None):
        """Send a request. Its correlation id, for receive(); None when no answer will come."""
        message = api(name)
        body = {} if body is None else body
        version = self.version_of(name) if version is None else version
        correlation_id = self._next_id
        self.send_frame(request_frame(message.name, body, version, correlation_id, self.client_id))
        self._next_id = (correlation_id + 1) & 0x7FFFFFFF
        self.last_version = version
        if message.name == "Produce" and isinstance(body, dict) and body.get("acks") == 0:
            return None
        self._pending.append((correlation_id, message.name, version))
        return correlation_id

    def receive(self, correlation_id=None, timeout=None):
        """The answer to the request with this id; without one, to the oldest request not yet answered."""
        if correlation_id is None:
            if self._arrived:
                return self._arrived.pop(next(iter(self._arrived)))
            if not self._pending:
                raise ValueError("no answer is due")
            correlation_id = self._pending[0][0]
        deadline = self._deadline(timeout)
        while correlation_id not in self._arrived:
            if all(correlation_id != pending[0] for pending in self._pending):
                raise ValueError(f"no answer with id {correlation_id} is due")
            self._receive_one(deadline)
        return self._arrived.pop(correlation_id)

    def _receive_one(self, deadline):
        payload = self._frame_by(deadline)
        correlation_id, name, version = self._pending.pop(0)
        if len(payload) >= 4 and WIDE_LENGTH.unpack_from(payload)[0] != correlation_id:
            raise Malformed(f"an answer to {name} with id {WIDE_LENGTH.unpack_from(payload)[0]}, not {correlation_id}")
        if name == "ApiVersions" and payload[4:6] == FIXED["int16"].pack(UNSUPPORTED_VERSION):
            version = 0  # who does not speak the version answers in the oldest
        _, self._arrived[correlation_id] = parse_response(name, payload, version)

    # ---- raw frames

    def send_frame(self, data_out):
        """Send bytes as they are. They need not be a frame."""
        self.socket.settimeout(self.timeout)
        try:
            self.socket.sendall(data_out)
        except TimeoutError:
            raise Timeout(f"{self.host}:{self.port} takes no more bytes") from None
        except OSError as problem:
            raise ConnectionClosed(f"{self.host}:{self.port}: {problem.strerror or problem}") from problem

    def receive_frame(self, timeout=None):
        """The next frame, without its size. Frames of requests made with send() belong to receive()."""
        return self._frame_by(self._deadline(timeout))

    def is_closed(self, timeout=None):
        """True when the broker closes the connection within the time and sends nothing before that."""
        if self._input:
            return False
        self.socket.settimeout(self.timeout if timeout is None else timeout)
        try:
            return self.socket.recv(1, socket.MSG_PEEK) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True

    def _deadline(self, timeout):
        return time.monotonic() + (self.timeout if timeout is None else timeout)

    def _frame_by(self, deadline):
        self._fill(WIDE_LENGTH.size, deadline)
        size = WIDE_LENGTH.unpack_from(self._input)[0]
        if not 0 <= size <= FRAME_SIZE_MAX:
            raise Malformed(f"a frame of {size} bytes")
        self._fill(WIDE_LENGTH.size + size, deadline)
        payload = bytes(self._input[WIDE_LENGTH.size:WIDE_LENGTH.size + size])
        del self._input[:WIDE_LENGTH.size + size]
        return payload

    def _fill(self, size, deadline):
        """Wait until that many bytes are here. What has come before a Timeout is kept."""
        while len(self._input) < size:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Timeout(f"no answer from {self.host}:{self.port} in time")
            self.socket.settimeout(left)
            try:
                more = self.socket.recv(max(size - len(self._input), 65536))
            except TimeoutError:
                continue
            except OSError as problem:
                raise ConnectionClosed(f"{self.host}:{self.port}: {problem.strerror or problem}") from problem
            if not more:
                raise ConnectionClosed(f"{self.host}:{self.port} closed the connection")
            self._input += more
