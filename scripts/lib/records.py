"""Record batches and the older message sets: reading them as they lie in a log or an answer, and writing batches.

    for position, batch in read_batches(data):
        for record in batch.records():
            print(record.offset, record.key, record.value)
    data = make_batch([(b"key", b"value")], producer_id=7, producer_epoch=0, base_sequence=0)

A batch (magic 2), integers big-endian; the crc covers what follows it:

    int64 base offset | int32 length of the rest | int32 partition leader epoch | int8 magic | uint32 crc32c |
    int16 attributes | int32 last offset delta | int64 base timestamp | int64 max timestamp | int64 producer id |
    int16 producer epoch | int32 base sequence | int32 count of records | the records, compressed as a whole

A message (magic 0 and 1) is int64 offset | int32 size | uint32 crc32 | int8 magic | int8 attributes | int64
timestamp (magic 1) | key | value, both with an int32 length. Compressed messages are a message set inside the
value of one message, with offsets of their own in magic 0 and offsets from 0 on in magic 1.

snappy, lz4 and zstd need modules that Python does not bring along: MissingModule names the one that is not there.
The module crc32c is used when it is there, because the sum in Python takes a second for each megabyte.
"""
import dataclasses
import gzip
import importlib
import struct
import time
import zlib

import wire

HEADER = struct.Struct(">qiibIhiqqqhii")
LEGACY_HEADER = struct.Struct(">qiIbb")
PREFIX_SIZE = 12  # base offset and length
MAGIC_END = 17
CRC_END = 21
LEGACY_SIZE_MIN = 14  # what a message has behind its length at least
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
CODEC_MASK, LOG_APPEND_TIME, TRANSACTIONAL, CONTROL, DELETE_HORIZON = 7, 8, 16, 32, 64
INT32_MAX = 2**31 - 1
XERIAL_MAGIC = b"\x82SNAPPY\x00"
XERIAL_HEADER_SIZE = 16

# codec: (module, Debian's package)
MODULES = {"snappy": ("snappy", "python3-snappy"), "lz4": ("lz4.frame", "python3-lz4"),
           "zstd": ("zstandard", "python3-zstandard")}


class CorruptRecords(Exception):
    """Bytes that are no records."""


class MissingModule(Exception):
    """The records are compressed, and Python has not the module to read them."""

    def __init__(self, codec):
        self.codec = codec
        module, package = MODULES[codec]
        super().__init__(f"{codec} needs the Python module {module.partition('.')[0]}, which is missing"
                         f" (Debian's package {package})")


# ------------------------------------------------------------------ sums and codecs


def _crc32c_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


CRC32C_TABLE = _crc32c_table()


def crc32c_in_python(data):
    crc = 0xFFFFFFFF
    for byte in bytes(data):
        crc = crc >> 8 ^ CRC32C_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


try:
    from crc32c import crc32c
except ImportError:
    crc32c = crc32c_in_python


def _module(codec):
    try:
        return importlib.import_module(MODULES[codec][0])
    except ImportError:
        raise MissingModule(codec) from None


def _unsnappy(data):
    """Raw, or in the frames of Java's library, which are what most clients send."""
    decompress = _module("snappy").decompress
    if not data.startswith(XERIAL_MAGIC):
        return decompress(data)
    out, at = [], XERIAL_HEADER_SIZE
    while at < len(data):
        size = struct.unpack_from(">i", data, at)[0]
        out.append(decompress(data[at + 4:at + 4 + size]))
        at += 4 + size
    return b"".join(out)


def _xxh32_short(data):
    """xxHash of fewer than 16 bytes, whose seed is 0."""
    prime_1, prime_2, prime_3, prime_4, prime_5 = 2654435761, 2246822519, 3266489917, 668265263, 374761393
    mask = 0xFFFFFFFF
    h = prime_5 + len(data)
    words = len(data) // 4 * 4
    for word, in struct.iter_unpack("<I", data[:words]):
        h = h + word * prime_3 & mask
        h = (h << 17 & mask | h >> 15) * prime_4 & mask
    for byte in data[words:]:
        h = h + byte * prime_5 & mask
        h = (h << 11 & mask | h >> 21) * prime_1 & mask
    h = (h ^ h >> 15) * prime_2 & mask
    h = (h ^ h >> 13) * prime_3 & mask
    return h ^ h >> 16


def mend_lz4_header(data):
    """Kafka 0.8 and 0.9 made the checksum of an lz4 frame's header over its magic number, too. The header is two
    bytes, eight more for the size where a bit says so, and one for the sum."""
    end = 6 + (8 if len(data) > 4 and data[4] & 8 else 0)
    return data[:end] + bytes([_xxh32_short(data[4:end]) >> 8 & 0xFF]) + data[end + 1:]


def decompress(codec, data):
    if codec == "none":
        return data
    try:
        if codec == "gzip":
            return gzip.decompress(data)
        if codec == "snappy":
            return _unsnappy(data)
        if codec == "lz4":
            return _module("lz4").decompress(data)
        if codec == "zstd":
            return _module("zstd").ZstdDecompressor().decompressobj().decompress(data)
    except MissingModule:
        raise
    except Exception as problem:  # each module has errors of its own
        raise CorruptRecords(f"{codec}: {problem}") from None
    raise CorruptRecords(f"no codec is called {codec}")


def compress(codec, data):
    if codec == "gzip":
        return gzip.compress(data)
    if codec == "snappy":
        return _module("snappy").compress(data)
    if codec == "lz4":
        return _module("lz4").compress(data)
    if codec == "zstd":
        return _module("zstd").ZstdCompressor().compress(data)
    return data


# ------------------------------------------------------------------ varints of records


def read_varint(data, at):
    """(a signed number of up to 64 bits, where it ends)"""
    number = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise CorruptRecords(f"a varint that does not end at {at}")
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number >> 1 ^ -(number & 1), at
        shift += 7


def varint(number):
    return wire.uvarint(number << 1 if number >= 0 else (-number << 1) - 1)


def _read_bytes(data, at):
    """(bytes or None, where they end)"""
    size, at = read_varint(data, at)
    if size < 0:
        return None, at
    if size > len(data) - at:
        raise CorruptRecords(f"{size} bytes at {at}, but {len(data) - at} are left")
    return bytes(data[at:at + size]), at + size


def _with_length(data):
    return varint(-1) if data is None else varint(len(data)) + data


def add_sequence(sequence, number):
    """Sequences go on at 0 behind 2**31 - 1; -1 stands for none."""
    return sequence if sequence < 0 else (sequence + number) & INT32_MAX


# ------------------------------------------------------------------ reading


@dataclasses.dataclass
class Record:
    offset: int
    timestamp: int
    key: bytes
    value: bytes
    headers: list = dataclasses.field(default_factory=list)  # of (name, value)
    sequence: int = -1
    crc: int = None  # of an old message; records of batches have none
    is_valid: bool = True


class Batch:
    """Magic 2. Made from all its bytes."""

    def __init__(self, data):
        if len(data) < HEADER.size:
            raise CorruptRecords(f"a batch of {len(data)} bytes has no whole header")
        (self.base_offset, _, self.leader_epoch, self.magic, self.crc, self.attributes, self.last_offset_delta,
         self.base_timestamp, self.max_timestamp, self.producer_id, self.producer_epoch, self.base_sequence,
         self.count) = HEADER.unpack_from(data)
        self.data = data
        self.size = len(data)
        self.last_offset = self.base_offset + self.last_offset_delta
        self.last_sequence = add_sequence(self.base_sequence, self.last_offset_delta)
        self.codec = CODECS[self.attributes & CODEC_MASK] if self.attributes & CODEC_MASK < len(CODECS) else "unknown"
        self.timestamp_type = "LogAppendTime" if self.attributes & LOG_APPEND_TIME else "CreateTime"
        self.is_transactional = bool(self.attributes & TRANSACTIONAL)
        self.is_control = bool(self.attributes & CONTROL)
        self.delete_horizon_ms = self.base_timestamp if self.attributes & DELETE_HORIZON else None

    @property
    def is_valid(self):
        return self.crc == crc32c(self.data[CRC_END:])

    def records(self):
        data = decompress(self.codec, bytes(self.data[HEADER.size:]))
        at = 0
        for _ in range(self.count):
            record, at = self._record(data, at)
            yield record
        if at != len(data):
            raise CorruptRecords(f"{len(data) - at} bytes behind the last record")

    def _record(self, data, at):
        size, at = read_varint(data, at)
        end = at + size
        if size < 1 or end > len(data):
            raise CorruptRecords(f"a record of {size} bytes at {at}, but {len(data) - at} are left")
        timestamp_delta, at = read_varint(data, at + 1)  # behind the attributes, which mean nothing yet
        offset_delta, at = read_varint(data, at)
        key, at = _read_bytes(data, at)
        value, at = _read_bytes(data, at)
        headers_count, at = read_varint(data, at)
        headers = []
        for _ in range(headers_count):
            name, at = _read_bytes(data, at)
            content, at = _read_bytes(data, at)
            headers.append(((name or b"").decode("utf-8", "replace"), content))
        if at != end:
            raise CorruptRecords(f"a record of {size} bytes takes {size + at - end}")
        timestamp = self.max_timestamp if self.attributes & LOG_APPEND_TIME else self.base_timestamp + timestamp_delta
        return Record(self.base_offset + offset_delta, timestamp, key, value, headers,
                      add_sequence(self.base_sequence, offset_delta)), end


class Message:
    """Magic 0 or 1: one message, which may hold others in its value."""

    is_control = is_transactional = False

    def __init__(self, data, wrapper=None):
        if len(data) < PREFIX_SIZE + LEGACY_SIZE_MIN:
            raise CorruptRecords(f"a message of {len(data)} bytes")
        self.last_offset, _, self.crc, self.magic, self.attributes = LEGACY_HEADER.unpack_from(data)
        self.data = data
        self.size = len(data)
        at = LEGACY_HEADER.size
        self.timestamp_type, self.max_timestamp = "NoTimestampType", -1
        if self.magic == 1:
            self.timestamp_type = "LogAppendTime" if self.attributes & LOG_APPEND_TIME else "CreateTime"
            self.max_timestamp = self._fixed(">q", at)
            at += 8
        if wrapper is not None and wrapper.timestamp_type == "LogAppendTime":
            self.timestamp_type, self.max_timestamp = wrapper.timestamp_type, wrapper.max_timestamp
        self.codec = CODECS[self.attributes & CODEC_MASK] if self.attributes & CODEC_MASK < 4 else "unknown"
        self.key, at = self._bytes(at)
        self.value, at = self._bytes(at)

    def _fixed(self, form, at):
        try:
            return struct.unpack_from(form, self.data, at)[0]
        except struct.error:
            raise CorruptRecords("a message cut short") from None

    def _bytes(self, at):
        size = self._fixed(">i", at)
        if size > len(self.data) - at - 4:
            raise CorruptRecords(f"{size} bytes in a message of {self.size}")
        return (None, at + 4) if size < 0 else (bytes(self.data[at + 4:at + 4 + size]), at + 4 + size)

    @property
    def is_valid(self):
        return self.crc == zlib.crc32(self.data[16:])

    def records(self):
        if self.codec == "none":
            yield self._as_record(self.last_offset)
            return
        inner = self.value or b""
        if self.codec == "lz4" and self.magic == 0:
            inner = mend_lz4_header(inner)
        inner = decompress(self.codec, inner)
        messages = [Message(data, wrapper=self) for _, data in _entries(inner)]
        if not messages:
            raise CorruptRecords("a compressed message with none inside")
        base = 0
        if self.magic == 1 and self.last_offset != 0:  # 0: as certain old clients sent it
            base = self.last_offset - messages[-1].last_offset
        for message in messages:
            yield message._as_record(base + message.last_offset)

    def _as_record(self, offset):
        return Record(offset, self.max_timestamp, self.key, self.value, crc=self.crc, is_valid=self.is_valid)


def _entries(data, start=0):
    """(position, bytes) of each batch or message; what does not fit in at the end is left out."""
    at, end = start, len(data)
    while at < end - MAGIC_END:
        size = struct.unpack_from(">i", data, at + 8)[0]
        if size < LEGACY_SIZE_MIN:
            raise CorruptRecords(f"Found record size {size} smaller than minimum record overhead ({LEGACY_SIZE_MIN})"
                                 f" at position {at}")
        if at > end - PREFIX_SIZE - size:
            return
        yield at, data[at:at + PREFIX_SIZE + size]
        at += PREFIX_SIZE + size


def read_batches(data, start=0):
    """(position, Batch or Message) of everything from `start` on, up to what is cut short at the end.
    CorruptRecords where the bytes cannot be any."""
    for position, entry in _entries(data, start):
        magic = struct.unpack_from(">b", entry, MAGIC_END - 1)[0]
        if not 0 <= magic <= 2:
            raise CorruptRecords(f"magic {magic} at position {position}")
        yield position, Batch(entry) if magic == 2 else Message(entry)


# ------------------------------------------------------------------ writing


def make_record(key, value, headers=(), offset_delta=0, timestamp_delta=0):
    body = b"".join([b"\0", varint(timestamp_delta), varint(offset_delta), _with_length(key), _with_length(value),
                     varint(len(headers)), *(_with_length(name.encode()) + _with_length(content)
                                             for name, content in headers)])
    return varint(len(body)) + body


def make_batch(records, codec="none", base_offset=0, leader_epoch=-1, timestamp=None, producer_id=-1, producer_epoch=-1,
               base_sequence=-1, attributes=0):
    """A batch of (key, value) or (key, value, headers). `attributes` adds to the codec's bits; all have one time."""
    timestamp = int(time.time() * 1000) if timestamp is None else timestamp
    body = b"".join(make_record(record[0], record[1], record[2] if len(record) > 2 else (), delta)
                    for delta, record in enumerate(records))
    return seal_batch(HEADER.pack(
        base_offset, 0, leader_epoch, 2, 0, attributes | CODECS.index(codec), len(records) - 1, timestamp, timestamp,
        producer_id, producer_epoch, base_sequence, len(records)) + compress(codec, body))


def seal_batch(data):
    """The batch with the length and the crc that its bytes ask for."""
    data = bytearray(data)
    struct.pack_into(">i", data, 8, len(data) - PREFIX_SIZE)
    struct.pack_into(">I", data, MAGIC_END, crc32c(bytes(data[CRC_END:])))
    return bytes(data)


def make_control_batch(kind, coordinator_epoch=0, **more):
    """A transaction's marker: kind 0 aborts, 1 commits."""
    return make_batch([(struct.pack(">hh", 0, kind), struct.pack(">hi", 0, coordinator_epoch))],
                      attributes=TRANSACTIONAL | CONTROL, **more)


def make_message(key, value, offset=0, magic=1, timestamp=-1, codec="none", attributes=0):
    """An old message. With a codec, value is the message set to compress."""
    if codec != "none":
        value = compress(codec, value)
    body = struct.pack(">bb", magic, attributes | CODECS.index(codec))
    body += struct.pack(">q", timestamp) if magic == 1 else b""
    for part in (key, value):
        body += struct.pack(">i", -1) if part is None else struct.pack(">i", len(part)) + part
    return struct.pack(">qiI", offset, len(body) + 4, zlib.crc32(body)) + body
