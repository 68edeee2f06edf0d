"""Replicas change their log directory (AlterReplicaLogDirs) while they lead and follow."""
import glob
import os
import threading

import confluent_kafka
from test_replication import consume_all, create, isr_sizes, partitions_of, produce
from test_throttle import BROKER, alter

LOG_DIR_NOT_FOUND, REPLICA_NOT_AVAILABLE = 57, 9


def folder(tmp_path, broker, name):
    return str(tmp_path / "cluster-1" / f"broker-{broker}" / name)


def two_dirs(tmp_path, brokers):
    return {n: {"log.dirs": f"{folder(tmp_path, n, 'a')},{folder(tmp_path, n, 'b')}"} for n in range(1, brokers + 1)}


def move(broker, path, topic, partitions):
    """{partition: error code}."""
    answer = broker.call("AlterReplicaLogDirs", {"dirs": [{
        "path": path, "topics": [{"name": topic, "partitions": partitions}]}]})
    assert [one["topic_name"] for one in answer["results"]] == [topic]
    return {p["partition_index"]: p["error_code"] for p in answer["results"][0]["partitions"]}


def lies_in(broker, topic, partition):
    """[(directory's name, is it a future log, how far behind, bytes)]."""
    answer = broker.call("DescribeLogDirs", {"topics": [{"topic": topic, "partitions": [partition]}]})
    return sorted((os.path.basename(one["log_dir"]), p["is_future_key"], p["offset_lag"], p["partition_size"])
                  for one in answer["results"] for t in one["topics"] for p in t["partitions"])


def arrived(broker, topic, partition, name):
    found = lies_in(broker, topic, partition)
    return len(found) == 1 and found[0][:2] == (name, False)


def other(broker, topic, partition):
    current = next(one[0] for one in lies_in(broker, topic, partition) if not one[1])
    return "b" if current == "a" else "a"


class Load:
    """An idempotent producer that runs until it is told to stop; `acked` as produce() says."""

    def __init__(self, cluster, topic):
        self.acked, self.errors, self.sent = {}, [], 0
        self.topic = topic
        self.producer = confluent_kafka.Producer({
            "bootstrap.servers": cluster.bootstrap, "enable.idempotence": True, "linger.ms": 2,
            "queue.buffering.max.messages": 1000, "batch.size": 100000})
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.ended.is_set():
            value = f"{self.sent}-" + "x" * 500
            try:
                self.producer.produce(self.topic, value.encode(), on_delivery=self.delivered)
                self.sent += 1
            except BufferError:
                pass
            self.producer.poll(0.001)
        assert self.producer.flush(300) == 0

    def delivered(self, error, message):
        if error is None:
            self.acked[message.value().decode()] = (message.partition(), message.offset())
        else:
            self.errors.append(error)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def log_bytes(tmp_path, broker, topic, partition):
    found = [path for name in "ab" for path in glob.glob(folder(tmp_path, broker, name) + f"/{topic}-{partition}/*.log")]
    return b"".join(open(path, "rb").read() for path in sorted(found, key=os.path.basename))


def test_replicas_move_under_load_and_nothing_is_lost(cluster, topic, tmp_path):
    c = cluster(brokers=2, broker_config=two_dirs(tmp_path, 2),
                config={"log.segment.bytes": "2000000", "min.insync.replicas": "2"})
    create(c, topic, partitions=2, replication=2)
    acked = produce(c, topic, [f"before-{i}-" + "y" * 3000 for i in range(600)])
    with Load(c, topic) as load:
        for _ in range(3):
            for broker in c.brokers:
                for partition in (0, 1):
                    target = other(broker, topic, partition)
                    before = load.sent
                    assert move(broker, folder(tmp_path, broker.id, target), topic, [partition]) == {partition: 0}
                    c.wait(lambda b=broker, p=partition, t=target: arrived(b, topic, p, t), "the replica in its place")
                    c.wait(lambda n=before: load.sent > n + 100, "traffic that goes on")
    assert load.errors == []
    acked.update(load.acked)
    c.wait(lambda: isr_sizes(c, topic) == [2, 2], "everybody in sync")
    assert consume_all(c, topic, 2) == acked
    for partition in (0, 1):
        c.wait(lambda p=partition: log_bytes(tmp_path, 1, topic, p) == log_bytes(tmp_path, 2, topic, p),
               "identical replicas")
    c.wait(lambda: all(len(glob.glob(folder(tmp_path, b, "[ab]") + f"/{topic}-*")) == 2 for b in (1, 2)),
           "the old directories removed")
    for broker in (1, 2):
        c.stop(broker)
        c.start(broker)
    c.wait(lambda: isr_sizes(c, topic) == [2, 2], "everybody in sync")
    acked.update(produce(c, topic, ["after"]))
    assert consume_all(c, topic, 2) == acked


def test_a_move_is_throttled_survives_a_kill_and_can_be_given_up(cluster, topic, tmp_path):
    c = cluster(brokers=1, broker_config=two_dirs(tmp_path, 1), config={"log.segment.bytes": "1100000"})
    broker = c.broker(1)
    create(c, topic, partitions=1, replication=1)
    acked = produce(c, topic, [f"v{i}-" + "y" * 9000 for i in range(400)])
    target = other(broker, topic, 0)
    alter(broker, BROKER, "", {"replica.alter.log.dirs.io.max.bytes.per.second": "1"})
    assert move(broker, folder(tmp_path, 1, target), topic, [0]) == {0: 0}

    def future():
        return next((one for one in lies_in(broker, topic, 0) if one[1]), None)

    c.wait(lambda: future() is not None and future()[3] > 0, "a first piece")
    name, _, lag, size = future()
    assert name == target and 0 < lag < 400 and size < 3600000

    c.kill(1)
    c.start(1)
    c.wait(lambda: partitions_of(c, topic)[0]["leader_id"] == 1, "the leader back")
    assert future()[2] > 0, "it goes on where it was, as slowly"
    assert move(broker, folder(tmp_path, 1, target), topic, [0]) == {0: 0}, "the same once more"

    # Back to where it is: the copy goes.
    here = "b" if target == "a" else "a"
    assert move(broker, folder(tmp_path, 1, here), topic, [0]) == {0: 0}
    c.wait(lambda: arrived(broker, topic, 0, here), "no copy any more")
    c.wait(lambda: glob.glob(folder(tmp_path, 1, target) + f"/{topic}-*") == [], "its directory removed")

    # Again, until a kill, and at last without a limit.
    assert move(broker, folder(tmp_path, 1, target), topic, [0]) == {0: 0}
    acked.update(produce(c, topic, [f"w{i}" for i in range(100)]))
    c.kill(1)
    c.start(1)
    alter(broker, BROKER, "", {"replica.alter.log.dirs.io.max.bytes.per.second": None})
    c.wait(lambda: arrived(broker, topic, 0, target), "the replica in its place")
    assert consume_all(c, topic, 1) == acked


def test_a_kill_at_any_time_leaves_one_replica_that_has_everything(cluster, topic, tmp_path):
    c = cluster(brokers=1, broker_config=two_dirs(tmp_path, 1), config={"log.segment.bytes": "1100000"})
    broker = c.broker(1)
    create(c, topic, partitions=1, replication=1)
    acked = produce(c, topic, [f"v{i}-" + "y" * 5000 for i in range(400)])
    for round_ in range(8):
        target = other(broker, topic, 0)
        assert move(broker, folder(tmp_path, 1, target), topic, [0]) == {0: 0}
        if round_ % 2 == 0:  # as soon as the copy is there, or is not there any more
            c.wait(lambda t=target: glob.glob(folder(tmp_path, 1, t) + f"/{topic}-0*"), "a copy")
        else:
            c.wait(lambda t=target: not glob.glob(folder(tmp_path, 1, t) + f"/{topic}-0*-future"), "the copy in place")
        c.kill(1)
        c.start(1)
        acked.update(produce(c, topic, [f"{round_}"]))
        c.wait(lambda t=target: arrived(broker, topic, 0, t), "the replica in its place, after all")
        assert consume_all(c, topic, 1) == acked


def test_what_cannot_be_moved_is_refused_and_what_is_not_here_is_remembered(cluster, topic, tmp_path):
    c = cluster(brokers=1, broker_config=two_dirs(tmp_path, 1))
    broker = c.broker(1)
    assert move(broker, folder(tmp_path, 1, "c"), topic, [0]) == {0: LOG_DIR_NOT_FOUND}
    # Four partitions would be spread over both.
    assert move(broker, folder(tmp_path, 1, "b"), topic, [0, 1, 2, 3]) == dict.fromkeys(range(4), REPLICA_NOT_AVAILABLE)
    create(c, topic, partitions=4, replication=1)
    assert all(arrived(broker, topic, p, "b") for p in range(4))
    assert move(broker, folder(tmp_path, 1, "b"), topic, [0, 7]) == {0: 0, 7: REPLICA_NOT_AVAILABLE}
    assert move(broker, folder(tmp_path, 1, "a"), topic, [0, 1, 2, 3]) == dict.fromkeys(range(4), 0)
    c.wait(lambda: all(arrived(broker, topic, p, "a") for p in range(4)), "all of them moved")
    produce(c, topic, ["v"])
