"""What a broker has acknowledged is there again: after kill -9 under load, after a clean stop, in several log
directories, and when one of them fails. The crashes at every single call are in tests/unit/broker/log."""
import collections
import json
import os
import subprocess
import sys

import confluent_kafka
import pytest
from znodes import Znodes

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DUMP_LOG = os.path.join(ROOT, "scripts", "dump-log")
# A broker that was killed waits until its last session has ended.
SHORT_SESSION = {"zookeeper.session.timeout.ms": "2000"}
END_S = 180  # nothing takes so long
SMALL_SEGMENTS = {"segment.bytes": "50000", "index.interval.bytes": "500"}


def create(one, topic, partitions, config=None):
    configs = [{"name": key, "value": value} for key, value in (config or {}).items()]
    answer = one.broker(1).call("CreateTopics", {"timeout_ms": END_S * 1000, "topics": [
        {"name": topic, "num_partitions": partitions, "replication_factor": 1, "configs": configs}]}, seconds=END_S)
    assert answer["topics"][0]["error_code"] == 0, answer

    def led():
        known = one.broker(1).call("Metadata", {"topics": [{"name": topic}]})["topics"][0]["partitions"]
        return len(known) == partitions and all(p["error_code"] == 0 and p["leader_id"] == 1 for p in known)

    one.wait(led, f"leaders of {topic}")


class Writer:
    """Numbers written to the partitions (their number, or a list of some) in turn, and where each acknowledged one went."""

    def __init__(self, one, topic, partitions, **config):
        self.topic = topic
        self.partitions = range(partitions) if isinstance(partitions, int) else partitions
        self.next = 0
        self.acked = {}  # number -> (partition, offset)
        self.failed = {}  # number -> error
        self.producer = confluent_kafka.Producer({
            "bootstrap.servers": one.bootstrap, "acks": "all", "linger.ms": 1, "message.timeout.ms": END_S * 1000,
            "reconnect.backoff.max.ms": 200, "batch.size": 10000, **config})

    def _delivered(self, number):
        def on_delivery(error, message):
            if error is None:
                self.acked[number] = (message.partition(), message.offset())
            else:
                self.failed[number] = error
        return on_delivery

    def send(self, count, size=100):
        for _ in range(count):
            number = self.next
            self.next += 1
            self.producer.produce(self.topic, f"{number}:".ljust(size, ".").encode(),
                                  partition=self.partitions[number % len(self.partitions)],
                                  on_delivery=self._delivered(number))
        self.producer.poll(0)

    def settle(self, count):
        """Something more has been acknowledged: the load is really under way."""
        self.producer.poll(0.05)
        return len(self.acked) >= count

    def finish(self):
        assert self.producer.flush(END_S) == 0, "messages without an answer"


def read(one, topic, partitions):
    """[(offset, number)] of each partition, from its start to its end."""
    consumer = confluent_kafka.Consumer({"bootstrap.servers": one.bootstrap, "group.id": "assigns-by-itself",
                                         "enable.auto.commit": False, "enable.partition.eof": True})
    consumer.assign([confluent_kafka.TopicPartition(topic, p, confluent_kafka.OFFSET_BEGINNING)
                     for p in partitions])
    found = {p: [] for p in partitions}
    ended = set()
    while len(ended) < len(partitions):
        message = consumer.poll(END_S)
        assert message is not None, f"nothing more from {set(partitions) - ended}"
        if message.error() is not None:
            # pylint: disable=protected-access
            assert message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF, message.error()
            ended.add(message.partition())
        else:
            number = int(message.value().partition(b":")[0])
            found[message.partition()].append((message.offset(), number))
    consumer.close()
    return found


def check(writer, found):
    """Every acknowledged message is where it was acknowledged; each partition is in order, without a gap and, since
    the producer is idempotent, without a message that comes twice."""
    for partition, records in found.items():
        offsets = [offset for offset, _ in records]
        numbers = [number for _, number in records]
        assert offsets == list(range(len(offsets))), f"offsets of partition {partition} have gaps"
        assert numbers == sorted(set(numbers)), f"partition {partition} is out of order, or has messages twice"
        there = dict(records)
        lost = {n: at for n, (p, at) in writer.acked.items() if p == partition and there.get(at) != n}
        assert lost == {}, f"acknowledged messages of partition {partition} are gone"


def data_dirs(one):
    return one.broker(1).properties()["log.dirs"].split(",")


def partition_dirs(one, topic):
    """{log dir: [partition dirs of the topic]}"""
    return {folder: sorted(n for n in os.listdir(folder) if n.rpartition("-")[0] == topic)
            for folder in data_dirs(one)}


def test_kill_under_load_loses_nothing_that_was_acknowledged(cluster, topic):
    one = cluster(brokers=1, config={"log.segment.bytes": "100000", "log.index.interval.bytes": "1000",
                                     **SHORT_SESSION})
    create(one, topic, 3)
    writer = Writer(one, topic, 3, **{"enable.idempotence": True})
    for _ in range(4):
        wanted = len(writer.acked) + 2000
        while not writer.settle(wanted):
            if writer.next < wanted + 3000:
                writer.send(100)
        one.kill("broker-1")
        writer.send(500)
        one.start("broker-1")
    writer.finish()
    assert writer.failed == {}
    assert len(writer.acked) == writer.next
    found = read(one, topic, range(3))
    check(writer, found)
    assert sum(len(records) for records in found.values()) == writer.next
    assert "after=crash" in one.broker(1).log_text()


def has_open(process, end):
    """Has it a file open whose name ends so?"""
    fds = f"/proc/{process.pid}/fd"
    names = []
    for fd in os.listdir(fds):
        try:
            names.append(os.readlink(f"{fds}/{fd}"))
        except FileNotFoundError:
            pass  # closed meanwhile
    return any(name.endswith(end) for name in names)


def test_killed_while_it_recovers(cluster, topic):
    one = cluster(brokers=1, config=SHORT_SESSION)
    create(one, topic, 2, SMALL_SEGMENTS)
    writer = Writer(one, topic, 2, **{"enable.idempotence": True})
    writer.send(5000)
    writer.finish()
    for _ in range(5):
        one.kill("broker-1")
        one.start("broker-1", wait=False)
        one.wait(lambda: has_open(one.broker(1), "/.lock"), "it to open its log directory")
    one.kill("broker-1")
    one.start("broker-1")
    check(writer, read(one, topic, range(2)))
    assert len(writer.acked) == 5000


def test_a_deleted_topic_gives_its_space_back_though_nobody_asks_for_anything_more(cluster, topic):
    one = cluster(brokers=1, config={"log.segment.delete.delay.ms": "100", "num.network.threads": "1"})
    create(one, topic, 2)
    writer = Writer(one, topic, 2)
    writer.send(100)
    writer.finish()
    one.broker(1).call("DeleteTopics", {"topics": [{"name": topic}], "topic_names": [topic], "timeout_ms": 30000})
    one.wait(lambda: not any(name.startswith(topic) for folder in data_dirs(one) for name in os.listdir(folder)),
             "its directories to go")
    one.wait(lambda: not has_open(one.broker(1), " (deleted)"), "its files to be closed")


def test_clean_stop_leaves_a_mark_and_needs_no_recovery(cluster, topic):
    one = cluster(brokers=1)
    create(one, topic, 2, SMALL_SEGMENTS)
    mark = os.path.join(data_dirs(one)[0], ".kafka_cleanshutdown")
    writer = Writer(one, topic, 2, **{"enable.idempotence": True})
    for _ in range(2):
        writer.send(3000)
        writer.finish()
        one.stop("broker-1")
        with open(mark, encoding="utf-8") as file:
            assert file.read() == '{"version":0,"brokerEpoch":-1}'
        one.start("broker-1")
        assert not os.path.exists(mark), "it counts once"
    text = one.broker(1).log_text()
    assert text.count("after=clean stop") == 2
    assert "cutting" not in text
    assert writer.failed == {}
    check(writer, read(one, topic, range(2)))


def test_partitions_are_spread_over_log_dirs_and_found_again(cluster, topic):
    one = cluster(brokers=1, config={"log.dirs": "{folder}/a,{folder}/b,{folder}/c", **SHORT_SESSION})
    create(one, topic, 6)
    spread = partition_dirs(one, topic)
    assert [len(names) for names in spread.values()] == [2, 2, 2]
    writer = Writer(one, topic, 6, **{"enable.idempotence": True})
    writer.send(600)
    writer.finish()
    one.stop("broker-1")
    one.start("broker-1")
    check(writer, read(one, topic, range(6)))
    one.kill("broker-1")
    one.start("broker-1")
    found = read(one, topic, range(6))
    check(writer, found)
    assert [len(records) for records in found.values()] == [100] * 6
    assert partition_dirs(one, topic) == spread


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MiB that can be made larger: grow(megabytes)."""
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "barnabas-test", str(folder)],
                          capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"cannot mount a tmpfs: {made.stderr.strip()}")

    def grow(megabytes):
        subprocess.run(["mount", "-o", f"remount,size={megabytes}m", str(folder)], check=True)

    yield str(folder), grow
    subprocess.run(["umount", "-l", str(folder)], check=True)


def codes(one, topic):
    """{partition: error code} as Metadata says."""
    return {p["partition_index"]: p["error_code"]
            for p in one.broker(1).call("Metadata", {"topics": [{"name": topic}]})["topics"][0]["partitions"]}


def test_a_full_disk_takes_its_log_dir_offline_and_no_other(small_disk, cluster, topic):
    folder, grow = small_disk
    one = cluster(brokers=1, config={"log.dirs": f"{folder}/data,{{folder}}/b"})
    create(one, topic, 4)
    spread = partition_dirs(one, topic)
    full = sorted(int(name.rpartition("-")[2]) for name in spread[f"{folder}/data"])
    others = sorted(set(range(4)) - set(full))
    assert len(full) == 2
    doomed, writer = Writer(one, topic, full, **{"message.timeout.ms": 3000}), Writer(one, topic, others)

    def offline():
        if doomed.next < 20000:
            doomed.send(100, size=1000)
            writer.send(100, size=1000)
        doomed.producer.poll(0.05)
        return "log directory is offline" in one.broker(1).log_text()

    one.wait(offline, "the full log directory to go offline")
    assert "every log directory" not in one.broker(1).log_text()
    doomed.finish()
    assert doomed.failed, "the client is told"

    # The others go on: the same producer, and new readers.
    writer.send(400)
    writer.finish()
    assert writer.failed == {}, "only partitions of the full disk fail"
    assert len(writer.acked) == writer.next
    check(writer, read(one, topic, others))

    # Room again, and a restart: what had been acknowledged on the full disk is there.
    one.stop("broker-1")
    grow(64)
    one.start("broker-1")
    one.wait(lambda: set(codes(one, topic).values()) == {0}, "all partitions to be led again")
    found = read(one, topic, range(4))
    for partition in full:
        there = dict(found[partition])
        lost = [n for n, (p, at) in doomed.acked.items() if p == partition and there.get(at) != n]
        assert lost == [], "acknowledged messages are gone"
    check(writer, {p: found[p] for p in others})


def test_a_broker_without_any_log_dir_left_ends(small_disk, cluster, topic):
    folder, _ = small_disk
    one = cluster(brokers=1, config={"log.dirs": f"{folder}/data"})
    create(one, topic, 1)
    writer = Writer(one, topic, 1, **{"message.timeout.ms": 2000})

    def ended():
        if writer.next < 20000:
            writer.send(200, size=1000)
        writer.producer.poll(0.05)
        return not one.broker(1).alive()

    one.wait(ended, "the broker to end")
    assert "E-DATA-09" in one.broker(1).log_text()
    assert one.broker(1).finish() is None
    assert one.broker(1).status == 1
    one.brokers.clear()  # looked at already: a status other than 0 is a failure elsewhere


def test_a_node_that_was_made_by_hand_with_a_name_too_long_for_a_folder_fails_no_log_dir(cluster, topic):
    """Each replica's only directory failed over it, so the brokers ended, and did so again at each start."""
    one = cluster(brokers=1)
    create(one, topic, 1)
    with Znodes(one.zookeepers[0].address) as znodes:
        znodes.create("/brokers/topics/" + "x" * 260, json.dumps({
            "version": 2, "partitions": {"0": [1]}, "adding_replicas": {}, "removing_replicas": {}}).encode())
    one.wait(lambda: "no log can have the name" in one.broker(1).log_text() or not one.broker(1).alive(),
             "the broker to have been told to lead it")
    create(one, topic + "-later", 1)
    result, = one.broker(1).call("DescribeLogDirs", {"topics": None})["results"]
    assert result["error_code"] == 0
    assert {t["name"] for t in result["topics"]} == {topic, topic + "-later"}


def dump(paths, *options):
    done = subprocess.run([sys.executable, DUMP_LOG, *options, "--files", ",".join(paths)], capture_output=True,
                          text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_dump_log_reads_every_file(cluster, topic):
    one = cluster(brokers=1)
    create(one, topic, 1, SMALL_SEGMENTS)
    writer = Writer(one, topic, 1, **{"enable.idempotence": True})
    writer.send(3000)
    writer.finish()
    one.stop("broker-1")
    folder = os.path.join(data_dirs(one)[0], f"{topic}-0")
    files = collections.defaultdict(list)
    for name in sorted(os.listdir(folder)):
        files[name.partition(".")[2]].append(os.path.join(folder, name))
    assert set(files) == {"log", "index", "timeindex", "snapshot", "metadata", ""}, "names"
    assert len(files["log"]) > 3

    batches = dump(files["log"], "--print-data-log")
    numbers = [int(line.rpartition("payload: ")[2].partition(":")[0]) for line in batches.splitlines()
               if "payload: " in line]
    assert numbers == list(range(3000))
    assert "isvalid: false" not in batches
    assert "Mismatches" not in dump(files["index"])
    times = dump(files["timeindex"])
    assert "Found timestamp mismatch" not in times
    assert "offset:" in times
    assert "producerId:" in dump(files["snapshot"])
