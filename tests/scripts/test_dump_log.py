"""scripts/lib/records.py and scripts/dump-log: bytes of other implementations, files with every kind of damage.

Expected lines follow the format of Kafka 3.9's DumpLogSegments.
"""
import os
import re
import struct
import subprocess
import sys

import pytest
import records
import wire

DUMP_LOG = os.path.join(wire.ROOT, "scripts", "dump-log")
GOLDEN = os.path.join(wire.ROOT, "tests", "unit", "proto", "record", "golden.h")
T = 1700000000000


def golden(name):
    """The bytes of one of the constants in golden.h, whose head says what they hold."""
    with open(GOLDEN, encoding="utf-8") as file:
        lines = re.search(rf"#define GOLDEN_{name}\b((?:.*\\\n)*.*\n)", file.read())[1]
    return bytes.fromhex("".join(re.findall(r'"([0-9a-f]*)"', lines)))


def dump(*words, without=None, tmp_path=None):
    """(status, standard output as lines, standard error as lines)"""
    environment = dict(os.environ)
    if without:
        (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules[{without!r}] = None\n")
        environment["PYTHONPATH"] = str(tmp_path)
    done = subprocess.run([sys.executable, DUMP_LOG, *map(str, words)], capture_output=True, text=True, timeout=120,
                          check=False, env=environment)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


def write(folder, name, data):
    path = folder / name
    path.write_bytes(data)
    return str(path)


def log_of(folder, *batches, base=0):
    return write(folder, f"{base:020d}.log", b"".join(batches))


# ------------------------------------------------------------------ records.py


def test_the_checksum_is_crc32c():
    assert records.crc32c_in_python(b"123456789") == 0xE3069283  # the check value of the algorithm's catalogue
    assert records.crc32c(b"123456789") == 0xE3069283


@pytest.mark.parametrize("name, codec", [
    ("RDKAFKA_NONE", "none"), ("RDKAFKA_GZIP", "gzip"), ("RDKAFKA_SNAPPY", "snappy"), ("RDKAFKA_LZ4", "lz4"),
    ("RDKAFKA_ZSTD", "zstd"), ("PYTHON_SNAPPY", "snappy"), ("PYTHON_LZ4", "lz4"), ("PYTHON_ZSTD", "zstd")])
def test_batches_of_other_clients_are_read(name, codec):
    data = golden(name)
    [(position, batch)] = records.read_batches(data)
    assert (position, batch.codec, batch.size, batch.is_valid, batch.count) == (0, codec, len(data), True, 3)
    assert batch.max_timestamp == T + 7 and batch.timestamp_type == "CreateTime"
    assert list(batch.records()) == [
        records.Record(0, T, b"k1", b"v1", [("h", b"x"), ("n", None)]), records.Record(1, T - 3, None, b"hello" * 8),
        records.Record(2, T + 7, b"k3", None)]


@pytest.mark.parametrize("magic", [0, 1])
@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4"])
def test_message_sets_of_other_clients_are_read(magic, codec):
    found = [record for _, batch in records.read_batches(golden(f"MSGSET_V{magic}_{codec.upper()}"))
             for record in batch.records()]
    assert [(r.offset, r.key, r.value, r.is_valid) for r in found] == [
        (10, b"k1", b"v1", True), (11, None, b"hello" * 8, True), (12, b"k3", None, True)]
    assert [r.timestamp for r in found] == ([-1] * 3 if magic == 0 else [T, T - 3, T + 7])


def test_our_batch_is_the_batch_of_librdkafka():
    theirs = golden("RDKAFKA_NONE")
    body = b"".join([records.make_record(b"k1", b"v1", [("h", b"x"), ("n", None)]),
                     records.make_record(None, b"hello" * 8, offset_delta=1, timestamp_delta=-3),
                     records.make_record(b"k3", None, offset_delta=2, timestamp_delta=7)])
    assert records.seal_batch(theirs[:records.HEADER.size] + body) == theirs


@pytest.mark.parametrize("codec", records.CODECS)
def test_a_batch_makes_a_round_trip(codec):
    data = records.make_batch([(b"a", b"1"), (None, None, [("h", None)])], codec, base_offset=40, leader_epoch=3,
                              timestamp=T, producer_id=9, producer_epoch=1, base_sequence=2**31 - 1)
    [(_, batch)] = records.read_batches(data)
    assert (batch.base_offset, batch.last_offset, batch.leader_epoch, batch.codec) == (40, 41, 3, codec)
    assert (batch.producer_id, batch.producer_epoch, batch.base_sequence, batch.last_sequence) == (9, 1, 2**31 - 1, 0)
    assert batch.is_valid and not batch.is_control
    assert list(batch.records()) == [records.Record(40, T, b"a", b"1", [], 2**31 - 1),
                                     records.Record(41, T, None, None, [("h", None)], 0)]


@pytest.mark.parametrize("number, text", [(0, "00"), (-1, "01"), (1, "02"), (63, "7e"), (-64, "7f"), (64, "8001"),
                                          (-2**63, "ffffffffffffffffff01"), (2**63 - 1, "feffffffffffffffff01")])
def test_varints(number, text):
    assert records.varint(number).hex() == text
    assert records.read_varint(bytes.fromhex(text), 0) == (number, len(text) // 2)


def test_every_byte_of_a_batch_that_counts_is_covered_by_its_sum():
    data = records.make_batch([(b"key", b"value")], timestamp=T)
    for position in range(records.CRC_END, len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1
        assert not records.Batch(bytes(damaged)).is_valid


@pytest.mark.parametrize("codec", records.CODECS)
def test_damaged_records_are_corrupt_and_nothing_worse(codec):
    data = records.make_batch([(b"key", b"value" * 9, [("h", b"x")])] * 3, codec, timestamp=T)
    for position in range(records.HEADER.size, len(data)):
        for value in (0, 0x7F, 0x80, 0xFF):
            damaged = bytearray(data)
            damaged[position] = value
            try:
                list(records.Batch(bytes(damaged)).records())
            except records.CorruptRecords:
                pass


def test_a_batch_cut_short_is_left_out_and_nonsense_is_told():
    data = records.make_batch([(None, b"x")])
    assert [position for position, _ in records.read_batches(data + data[:-1])] == [0]
    assert list(records.read_batches(data[:17])) == []
    with pytest.raises(records.CorruptRecords, match="size 0 smaller than"):
        list(records.read_batches(bytes(100)))
    with pytest.raises(records.CorruptRecords, match="magic 9 at position 0"):
        list(records.read_batches(data[:16] + b"\x09" + data[17:]))


# ------------------------------------------------------------------ logs


def batch_line(first, last, position, data, codec="none", more="", **given):
    crc = struct.unpack_from(">I", data, 17)[0]
    values = {"count": last - first + 1, "baseSequence": -1, "lastSequence": -1, "producerId": -1, "producerEpoch": -1,
              "partitionLeaderEpoch": -1, "isTransactional": "false", "isControl": "false",
              "deleteHorizonMs": "OptionalLong.empty", "time": "CreateTime", "isvalid": "true", **given}
    middle = " ".join(f"{name}: {value}" for name, value in list(values.items())[:9])
    return (f"baseOffset: {first} lastOffset: {last} {middle} position: {position} {values['time']}: {T}"
            f" size: {len(data)} magic: 2 compresscodec: {codec} crc: {crc} isvalid: {values['isvalid']}")


def test_a_log(tmp_path):
    one = records.make_batch([(b"k", b"v"), (None, "grüße".encode(), [("h", b"x"), ("i", None)])], timestamp=T)
    two = records.make_batch([(b"z", None)], "gzip", base_offset=2, leader_epoch=4, timestamp=T, producer_id=7,
                             producer_epoch=1, base_sequence=5, attributes=records.TRANSACTIONAL)
    path = log_of(tmp_path, one, two)
    head = [f"Dumping {path}", "Log starting offset: 0"]
    lines = [batch_line(0, 1, 0, one),
             batch_line(2, 2, len(one), two, "gzip", baseSequence=5, lastSequence=5, producerId=7, producerEpoch=1,
                        partitionLeaderEpoch=4, isTransactional="true")]
    meta = [f"| offset: 0 CreateTime: {T} keySize: 1 valueSize: 1 sequence: -1 headerKeys: []",
            f"| offset: 1 CreateTime: {T} keySize: -1 valueSize: 7 sequence: -1 headerKeys: [h,i]",
            f"| offset: 2 CreateTime: {T} keySize: 1 valueSize: -1 sequence: 5 headerKeys: []"]
    full = [meta[0] + " key: k payload: v", meta[1] + " payload: grüße", meta[2] + " key: z"]
    assert dump(path) == (0, head + lines, [])
    assert dump("--files", path) == (0, head + lines, [])
    assert dump("--deep-iteration", path) == (0, [*head, lines[0], *meta[:2], lines[1], meta[2]], [])
    assert dump("--print-data-log", path) == (0, [*head, lines[0], *full[:2], lines[1], full[2]], [])
    assert dump("--print-data-log", "--skip-record-metadata", path)[1] == [
        *head, lines[0], "| key: k payload: v", "| payload: grüße", lines[1], "| key: z"]
    assert dump("--max-bytes", len(one) + 10, path) == (0, head + lines[:1], [])


def test_markers_of_transactions(tmp_path):
    commit = records.make_control_batch(1, 3, timestamp=T, producer_id=7, producer_epoch=0)
    abort = records.make_control_batch(0, 4, timestamp=T, base_offset=1, producer_id=7, producer_epoch=0)
    leader = records.make_batch([(struct.pack(">hh", 0, 2), b"")], timestamp=T, base_offset=2,
                                attributes=records.CONTROL)
    _, out, err = dump("--print-data-log", log_of(tmp_path, commit, abort, leader))
    start = f"CreateTime: {T} keySize: 4 valueSize: "
    assert [line for line in out if line.startswith("|")] == [
        f"| offset: 0 {start}6 sequence: -1 headerKeys: [] endTxnMarker: COMMIT coordinatorEpoch: 3",
        f"| offset: 1 {start}6 sequence: -1 headerKeys: [] endTxnMarker: ABORT coordinatorEpoch: 4",
        f"| offset: 2 {start}0 sequence: -1 headerKeys: [] controlType: LEADER_CHANGE(2)"]
    assert "isTransactional: true isControl: true" in out[2] and err == []


def test_times_of_the_broker_and_delete_horizons(tmp_path):
    broker = records.make_batch([(b"k", b"v")], timestamp=T, attributes=records.LOG_APPEND_TIME)
    horizon = records.make_batch([(b"k", None)], base_offset=1, timestamp=T, attributes=records.DELETE_HORIZON)
    _, out, _ = dump("--deep-iteration", log_of(tmp_path, broker, horizon))
    assert out[2:] == [
        batch_line(0, 0, 0, broker, time="LogAppendTime"),
        f"| offset: 0 LogAppendTime: {T} keySize: 1 valueSize: 1 sequence: -1 headerKeys: []",
        batch_line(1, 1, len(broker), horizon, deleteHorizonMs=f"OptionalLong[{T}]"),
        f"| offset: 1 CreateTime: {T} keySize: 1 valueSize: -1 sequence: -1 headerKeys: []"]


def test_old_messages(tmp_path):
    plain = records.make_message(b"k", b"v", 5, magic=0)
    inner = records.make_message(b"a", b"b", 0, timestamp=T) + records.make_message(None, b"d", 1, timestamp=T)
    packed = records.make_message(None, inner, 7, timestamp=T, codec="gzip")
    path = log_of(tmp_path, plain, packed, base=5)
    crc = [struct.unpack_from(">I", data, 12)[0] for data in (plain, packed, inner, inner[36:])]
    assert len(inner) == 36 + 35
    assert dump("--print-data-log", path) == (0, [
        f"Dumping {path}", "Log starting offset: 5",
        f"offset: 5 position: 0 NoTimestampType: -1 size: {len(plain)} magic: 0 compresscodec: none crc: {crc[0]}"
        " isvalid: true",
        f"| offset: 5 NoTimestampType: -1 keySize: 1 valueSize: 1 isValid: true crc: {crc[0]} key: k payload: v",
        f"offset: 7 position: {len(plain)} CreateTime: {T} size: {len(packed)} magic: 1 compresscodec: gzip"
        f" crc: {crc[1]} isvalid: true",
        f"| offset: 6 CreateTime: {T} keySize: 1 valueSize: 1 isValid: true crc: {crc[2]} key: a payload: b",
        f"| offset: 7 CreateTime: {T} keySize: -1 valueSize: 1 isValid: true crc: {crc[3]} payload: d"], [])


def test_a_torn_tail_is_counted(tmp_path):
    one = records.make_batch([(None, b"x")], timestamp=T)
    status, out, err = dump(log_of(tmp_path, one, one[:30]))
    assert (status, out[2:], err) == (0, [batch_line(0, 0, 0, one),
                                          "Found 30 invalid bytes at the end of 00000000000000000000.log"], [])


def test_zeros_at_the_end_are_an_error(tmp_path):
    one = records.make_batch([(None, b"x")], timestamp=T)
    status, out, err = dump(log_of(tmp_path, one, bytes(40)))
    assert status == 1 and out[-1] == "Found 40 invalid bytes at the end of 00000000000000000000.log"
    assert err == [f"Found record size 0 smaller than minimum record overhead (14) at position {len(one)}"]


def test_a_wrong_checksum_and_damaged_records_are_shown_and_the_next_batch_too(tmp_path):
    good = records.make_batch([(None, b"x")], timestamp=T, base_offset=1)
    bad = bytearray(records.make_batch([(None, b"x")], timestamp=T))
    bad[61] = 100  # the record's length
    path = log_of(tmp_path, bytes(bad), good)
    status, out, err = dump("--print-data-log", path)
    assert (status, out[2:]) == (0, [batch_line(0, 0, 0, bytes(bad), isvalid="false"), batch_line(
        1, 1, len(bad), good), f"| offset: 1 CreateTime: {T} keySize: -1 valueSize: 1 sequence: -1 headerKeys: []"
        " payload: x"])
    assert len(err) == 1 and err[0].startswith(f"{path}: damaged records in the batch at position 0:")


def test_gaps_between_offsets_are_told(tmp_path):
    path = log_of(tmp_path, records.make_batch([(None, b"x")]), records.make_batch([(None, b"y")], base_offset=5))
    assert dump(path)[2] == []
    assert dump("--deep-iteration", path)[2] == [f"Non-consecutive offsets in {path}", "  0 is followed by 5"]


@pytest.mark.parametrize("codec, module", [("snappy", "snappy"), ("lz4", "lz4"), ("zstd", "zstandard")])
def test_without_the_module_of_a_codec_its_name_is_told_and_batches_are_shown(tmp_path, codec, module):
    packed = records.make_batch([(None, b"x")], codec, timestamp=T)
    plain = records.make_batch([(None, b"y")], base_offset=1, timestamp=T)
    path = log_of(tmp_path, packed, packed, plain)
    status, out, err = dump("--print-data-log", path, without=module, tmp_path=tmp_path)
    assert status == 0
    assert out[2:] == [batch_line(0, 0, 0, packed, codec), batch_line(0, 0, len(packed), packed, codec),
                       batch_line(1, 1, 2 * len(packed), plain),
                       f"| offset: 1 CreateTime: {T} keySize: -1 valueSize: 1 sequence: -1 headerKeys: [] payload: y"]
    assert err == [f"{path}: records are left out: {codec} needs the Python module {module}, which is missing"
                   f" (Debian's package python3-{module})"]


def test_the_checksum_needs_no_module(tmp_path):
    path = log_of(tmp_path, records.make_batch([(None, b"x")], timestamp=T))
    assert dump(path, without="crc32c", tmp_path=tmp_path)[1][2].endswith("isvalid: true")


def test_decoders_of_keys_and_values(tmp_path):
    path = log_of(tmp_path, records.make_batch([(struct.pack(">i", -5), struct.pack(">q", 6))], timestamp=T))
    words = ["--key-decoder-class", "org.apache.kafka.tools.api.IntegerDecoder", "--value-decoder-class=LongDecoder"]
    assert dump(*words, path)[1][-1].endswith(" key: -5 payload: 6")
    assert dump("--value-decoder-class", "DefaultDecoder", path)[1][-1].endswith(" payload: 0000000000000006")
    assert dump("--key-decoder-class", "LongDecoder", path)[::2] == (
        1, ["Size of data received by the decoder is not 8: 4"])
    assert dump("--key-decoder-class", "Frob", path)[2] == [
        "--key-decoder-class Frob: no such decoder. There are StringDecoder, IntegerDecoder, LongDecoder,"
        " DefaultDecoder."]


# ------------------------------------------------------------------ internal topics


def versioned(name, version, value):
    return struct.pack(">h", version) + wire.data(name).encode(value, version)


def decoded(folder, option, *pairs):
    """What stands behind the metadata of each record."""
    _, out, err = dump(option, "--skip-record-metadata", log_of(folder, records.make_batch(pairs, timestamp=T)))
    assert err == []
    return out[3:]


def test_records_of_consumer_offsets(tmp_path):
    commit_key = versioned("OffsetCommitKey", 1, {"group": "g", "topic": "t", "partition": 3})
    commit = {"offset": 5, "leader_epoch": 2, "metadata": "ü", "commit_timestamp": T}
    subscription = versioned("ConsumerProtocolSubscription", 1, {"topics": ["t"], "user_data": b"\x01"})
    assignment = versioned("ConsumerProtocolAssignment", 0, {
        "assigned_partitions": [{"topic": "t", "partitions": [0, 1]}], "user_data": None})
    member = {"member_id": "m", "client_id": "c", "client_host": "/h", "rebalance_timeout": 1, "session_timeout": 2,
              "subscription": subscription, "assignment": assignment}
    group_key = versioned("GroupMetadataKey", 2, {"group": "g"})
    group = {"protocol_type": "consumer", "generation": 1, "protocol": "range", "leader": None,
             "current_state_timestamp": 9, "members": [member]}
    member_json = ('{"memberId":"m","groupInstanceId":null,"clientId":"c","clientHost":"/h","rebalanceTimeout":1,'
                   '"sessionTimeout":2,"subscription":{"topics":["t"],"userData":"AQ==","ownedPartitions":[]},'
                   '"assignment":{"assignedPartitions":[{"topic":"t","partitions":[0,1]}],"userData":null}}')
    new_key = versioned("ConsumerGroupMemberMetadataKey", 5, {"group_id": "g", "member_id": "m"})
    new = {"instance_id": None, "rack_id": None, "client_id": "", "client_host": "", "subscribed_topic_names": ["t"],
           "subscribed_topic_regex": None, "server_assignor": None, "classic_member_metadata": None}
    assert decoded(
        tmp_path, "--offsets-decoder",
        (commit_key, versioned("OffsetCommitValue", 3, commit)), (commit_key, None),
        (commit_key, versioned("OffsetCommitValue", 1, {**commit, "leader_epoch": -1, "expire_timestamp": 8})),
        (group_key, versioned("GroupMetadataValue", 3, group)),
        (group_key, versioned("GroupMetadataValue", 0, {"protocol_type": "connect", "generation": 0, "protocol": None,
                                                        "leader": None, "members": [{**member, "assignment": b"?"}]})),
        (new_key, versioned("ConsumerGroupMemberMetadataValue", 0, new)),
        (struct.pack(">h", 77), b"x"), (commit_key, struct.pack(">h", 99)), (commit_key[:-1], None)) == [
        '| key: {"type":"1","data":{"group":"g","topic":"t","partition":3}}'
        f' payload: {{"version":"3","data":{{"offset":5,"leaderEpoch":2,"metadata":"ü","commitTimestamp":{T}}}}}',
        '| key: {"type":"1","data":{"group":"g","topic":"t","partition":3}} payload: <DELETE>',
        '| key: {"type":"1","data":{"group":"g","topic":"t","partition":3}}'
        f' payload: {{"version":"1","data":{{"offset":5,"metadata":"ü","commitTimestamp":{T},"expireTimestamp":8}}}}',
        '| key: {"type":"2","data":{"group":"g"}} payload: {"version":"3","data":{"protocolType":"consumer",'
        '"generation":1,"protocol":"range","leader":null,"currentStateTimestamp":9,"members":[' + member_json + ']}}',
        '| key: {"type":"2","data":{"group":"g"}} payload: {"version":"0","data":{"protocolType":"connect",'
        '"generation":0,"protocol":null,"leader":null,"members":[{"memberId":"m","clientId":"c","clientHost":"/h",'
        '"sessionTimeout":2,"subscription":"AAEAAAABAAF0AAAAAQEAAAAA","assignment":"Pw=="}]}}',
        '| key: {"type":"5","data":{"groupId":"g","memberId":"m"}} payload: {"version":"0","data":{"instanceId":null,'
        '"rackId":null,"clientId":"","clientHost":"","subscribedTopicNames":["t"],"subscribedTopicRegex":null,'
        '"rebalanceTimeoutMs":-1,"serverAssignor":null,"classicMemberMetadata":null}}',  # null is not its default
        "| key: Unknown record type 77 at offset 6, skipping.",
        "| key: Error at offset 7, skipping. OffsetCommitValue data has versions 0 to 4, not 99",
        "| key: Error at offset 8, skipping. OffsetCommitKey data version 1: 4 bytes wanted at 6, but 3 are left"]


def test_a_record_of_consumer_offsets_without_key_ends_the_dump_as_in_kafka(tmp_path):
    status, _, err = dump("--offsets-decoder", log_of(tmp_path, records.make_batch([(None, b"x")])))
    assert status == 1 and err == ["Failed to decode message at offset 0 using offset topic decoder (message had a"
                                   " missing key)"]


def test_records_of_transactions(tmp_path):
    key = versioned("TransactionLogKey", 0, {"transactional_id": "tx"})
    value = {"producer_id": 7, "producer_epoch": 1, "transaction_timeout_ms": 60000, "transaction_status": 1,
             "transaction_partitions": [{"topic": "t", "partition_ids": [1, 0]}, {"topic": "s", "partition_ids": [2]}],
             "transaction_last_update_timestamp_ms": T, "transaction_start_timestamp_ms": T}
    empty = {**value, "transaction_status": 0, "transaction_partitions": None}
    assert decoded(tmp_path, "--transaction-log-decoder", (key, versioned("TransactionLogValue", 1, value)),
                   (key, versioned("TransactionLogValue", 0, empty)), (key, None), (b"\0\x09", b"x")) == [
        "| key: transaction_metadata::transactionalId=tx payload: producerId:7,producerEpoch:1,state=Ongoing,"
        f"partitions=[s-2,t-0,t-1],txnLastUpdateTimestamp={T},txnTimeoutMs=60000",
        "| key: transaction_metadata::transactionalId=tx payload: producerId:7,producerEpoch:1,state=Empty,"
        f"partitions=[],txnLastUpdateTimestamp={T},txnTimeoutMs=60000",
        "| key: transaction_metadata::transactionalId=tx payload: <DELETE>",
        "| key: unknown::version=9"]


# ------------------------------------------------------------------ indexes


@pytest.fixture
def segment(tmp_path):
    """Three batches from offset 100 on: (folder, positions). Their last offsets are 101, 102, 103."""
    batches = [records.make_batch([(None, b"a"), (None, b"b")], base_offset=100, timestamp=T),
               records.make_batch([(None, b"c")], base_offset=102, timestamp=T + 5),
               records.make_batch([(None, b"d")], base_offset=103, timestamp=T + 9)]
    log_of(tmp_path, *batches, base=100)
    return tmp_path, [0, len(batches[0]), len(batches[0]) + len(batches[1])]


def index_of(folder, *entries, tail=b""):
    return write(folder, f"{100:020d}.index", b"".join(struct.pack(">ii", *entry) for entry in entries) + tail)


def time_index_of(folder, *entries, tail=b""):
    return write(folder, f"{100:020d}.timeindex", b"".join(struct.pack(">qi", *entry) for entry in entries) + tail)


def test_an_index_is_printed_up_to_its_zeros(segment):
    folder, at = segment
    path = index_of(folder, (2, at[1]), (3, at[2]), tail=bytes(80))
    lines = [f"offset: 102 position: {at[1]}", f"offset: 103 position: {at[2]}"]
    assert dump(path) == (0, [f"Dumping {path}", *lines], [])
    assert dump("--verify-index-only", path) == (0, [f"Dumping {path}"], [])


def test_an_index_that_does_not_fit_its_log_is_told(segment):
    folder, at = segment
    path = index_of(folder, (1, at[1]), (3, at[2]), (9, 10000))
    status, out, err = dump(path)
    assert (status, len(out)) == (0, 4)
    assert err == [f"Mismatches in :{path}", "  Index offset: 101, log offset: 102",
                   "  Index offset: 109, log offset: -1"]


@pytest.mark.parametrize("entries, tail, text", [
    ([(2, 5)], b"", None), ([(2, 5)], bytes(16), None),
    ([(2, 5)], b"x", "Index file {path} is corrupt, found 9 bytes which is neither positive nor a multiple of 8"),
    ([(2, 5), (-1, 6)], b"", "Corrupt index found, index file {path} has non-zero size but the last offset is 99 which"
     " is less than the base offset 100")])
def test_the_sanity_of_an_index(segment, entries, tail, text):
    path = index_of(segment[0], *entries, tail=tail)
    if text is None:
        assert dump("--index-sanity-check", path) == (0, [f"Dumping {path}", f"{path} passed sanity check."], [])
    else:
        assert dump("--index-sanity-check", path) == (1, [f"Dumping {path}"], [text.format(path=path)])


def test_an_empty_index_and_one_without_log(tmp_path):
    path = index_of(tmp_path)
    assert dump(path) == (0, [f"Dumping {path}", f"{path} is empty."], [])
    path = index_of(tmp_path, (2, 5))
    assert dump(path) == (0, [f"Dumping {path}", "offset: 102 position: 5"],
                          [f"{path}: not checked, because there is no {path[:-6]}.log"])


def test_a_time_index(segment):
    folder, at = segment
    index_of(folder, (2, at[1]))
    path = time_index_of(folder, (T, 1), (T + 5, 2), (T + 9, 3), tail=bytes(24))
    assert dump(path) == (0, [f"Dumping {path}", f"timestamp: {T} offset: 101", f"timestamp: {T + 5} offset: 102",
                              f"timestamp: {T + 9} offset: 103"], [])
    assert dump("--index-sanity-check", path)[:2] == (1, [f"Dumping {path}"])  # its zeros make time go backwards


def test_a_time_index_that_does_not_fit_its_log_is_told(segment):
    folder, _ = segment
    path = time_index_of(folder, (T + 1, 1), (T + 1, 2), (T + 9, 7))
    assert dump("--verify-index-only", path) == (0, [f"Dumping {path}"], [
        f"Found timestamp mismatch in :{path}", f"  Index timestamp: {T + 1}, log timestamp: {T}",
        f"  Index timestamp: {T + 1}, log timestamp: {T + 5}",
        f"Found out of order timestamp in :{path}",
        f"  Index timestamp: {T + 1}, Previously indexed timestamp: {T + 1}",
        "The following indexed offsets are not found in the log.", "Indexed offset: 107, found log offset: -1"])


@pytest.mark.parametrize("entries, tail, text", [
    ([(T, 1), (T + 1, 2)], b"", None),
    ([(T, 1)], b"x", "Time index file {path} is corrupt, found 13 bytes which is neither positive nor a multiple of"
     " 12"),
    ([(T, 1), (T - 1, 2)], b"", "Corrupt time index found, time index file ({path}) has non-zero size but the last"
     f" timestamp is {T - 1} which is less than the first timestamp {T}"),
    ([(T, -2)], b"", "Corrupt time index found, time index file ({path}) has non-zero size but the last offset is 98"
     " which is less than the first offset 100")])
def test_the_sanity_of_a_time_index(segment, entries, tail, text):
    path = time_index_of(segment[0], *entries, tail=tail)
    if text is None:
        assert dump("--index-sanity-check", path) == (0, [f"Dumping {path}", f"{path} passed sanity check."], [])
    else:
        assert dump("--index-sanity-check", path) == (1, [f"Dumping {path}"], [text.format(path=path)])


def test_an_index_of_aborted_transactions(tmp_path):
    entry = struct.pack(">hqqqq", 0, 7, 10, 20, 9)
    path = write(tmp_path, "00000000000000000000.txnindex", entry)
    line = "version: 0 producerId: 7 firstOffset: 10 lastOffset: 20 lastStableOffset: 9"
    assert dump(path) == (0, [f"Dumping {path}", line], [])
    write(tmp_path, "00000000000000000000.txnindex", entry + entry[:5])
    assert dump(path) == (1, [f"Dumping {path}", line], [f"{path}: 5 bytes are left over at the end"])


# ------------------------------------------------------------------ other files


def snapshot_of(folder, *producers, version=1, crc=None):
    body = struct.pack(">i", len(producers)) + b"".join(struct.pack(">qhiqiqiq", *p) for p in producers)
    crc = records.crc32c_in_python(body) if crc is None else crc
    return write(folder, "00000000000000000012.snapshot", struct.pack(">hI", version, crc) + body)


def test_a_snapshot_of_producers(tmp_path):
    path = snapshot_of(tmp_path, (7, 1, 9, 11, 4, T, 2, 8), (8, 0, 1, 12, 2, T, -1, -1), (9, 3, -1, -1, 0, T, 5, -1))
    assert dump(path) == (0, [
        f"Dumping {path}",
        f"producerId: 7 producerEpoch: 1 coordinatorEpoch: 2 currentTxnFirstOffset: OptionalLong[8] lastTimestamp: {T}"
        f" firstSequence: 5 lastSequence: 9 lastOffset: 11 offsetDelta: 4 timestamp: {T}",
        "producerId: 8 producerEpoch: 0 coordinatorEpoch: -1 currentTxnFirstOffset: OptionalLong.empty lastTimestamp:"
        f" {T} firstSequence: 2147483647 lastSequence: 1 lastOffset: 12 offsetDelta: 2 timestamp: {T}",
        "producerId: 9 producerEpoch: 3 coordinatorEpoch: 5 currentTxnFirstOffset: OptionalLong.empty lastTimestamp:"
        f" {T} "], [])


@pytest.mark.parametrize("change, text", [
    (lambda folder: snapshot_of(folder, version=2), "Snapshot contained an unknown file version 2"),
    (lambda folder: snapshot_of(folder, crc=1), "Snapshot is corrupt (CRC is no longer valid). Stored crc: 1."
     " Computed crc: 1214729159"),
    (lambda folder: write(folder, "1.snapshot", b"\0\1\0"), "Snapshot failed schema validation: {path} has 3 bytes"),
])
def test_a_snapshot_that_is_none(tmp_path, change, text):
    path = change(tmp_path)
    status, _, err = dump(path)
    assert (status, err) == (1, [text.format(path=path)])


def test_text_files(tmp_path):
    offsets = write(tmp_path, "replication-offset-checkpoint", b"0\n2\norders 0 15\nmy.topic 12 0\n")
    epochs = write(tmp_path, "leader-epoch-checkpoint", b"0\n1\n3 15\n")
    nothing = write(tmp_path, "cleaner-offset-checkpoint", b"")
    metadata = write(tmp_path, "partition.metadata", b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ")
    assert dump(offsets, epochs, nothing, metadata) == (0, [
        f"Dumping {offsets}", "topic: orders partition: 0 offset: 15", "topic: my.topic partition: 12 offset: 0",
        f"Dumping {epochs}", "epoch: 3 startOffset: 15", f"Dumping {nothing}", f"{nothing} is empty.",
        f"Dumping {metadata}", "version: 0", "topic_id: AAAAAAAAAAAAAAAAAAAAAQ"], [])


@pytest.mark.parametrize("text, told", [
    (b"1\n0\n", "version '1'; only 0 is known"), (b"0\n1\na 1\n", "not a line of topic and partition and offset: a 1"),
    (b"0\n2\na 0 1\n", "its second line promises 2 entries, but there are 1"),
    (b"0\n", "its second line promises nothing entries, but there are 0")])
def test_text_files_that_are_wrong(tmp_path, text, told):
    path = write(tmp_path, "log-start-offset-checkpoint", text)
    status, _, err = dump(path)
    assert (status, err) == (1, [f"{path}: {told}"])


def test_files_that_are_unknown_or_not_there(tmp_path):
    path, missing = write(tmp_path, "x.txt", b""), str(tmp_path / "0.log")
    assert dump(path, missing) == (1, [f"Dumping {path}", f"Dumping {missing}", "Log starting offset: 0"], [
        f"Ignoring unknown file {path}", f"{missing}: No such file or directory"])
    named = write(tmp_path, "frob.log", b"")
    assert dump(named)[2] == [f"{named}: the name does not begin with an offset"]


def test_no_file_is_a_wrong_command_line():
    status, out, err = dump("--print-data-log")
    assert (status, out, err[0]) == (1, [], 'Missing required argument "[files]"')
