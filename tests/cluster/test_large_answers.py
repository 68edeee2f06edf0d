"""Questions whose answers could take many times their own memory, against one real broker: what the broker takes for them
is bounded, or in proportion."""
import cluster as clusters
import pytest
import wire

MIB = 1 << 20


@pytest.fixture(scope="module")
def broker(needs_cluster, tmp_path_factory):
    config = {"offsets.topic.replication.factor": "1", "offsets.topic.num.partitions": "1",
              "auto.create.topics.enable": "false"}
    with clusters.Cluster(str(tmp_path_factory.mktemp("large") / "cluster"), brokers=1, config=config) as one:
        yield one.broker(1)
        assert one.reports() == []


def create(broker, names, partitions=1):
    wanted = [{"name": name, "num_partitions": partitions, "replication_factor": 1} for name in names]
    answer = broker.call("CreateTopics", {"timeout_ms": 60000, "topics": wanted}, seconds=60)
    assert {topic["error_code"] for topic in answer["topics"]} == {0}


def peak_grows_by(broker, question):
    """Bytes that the broker's peak of resident memory rises above what it had, while the question is answered."""
    def field(name):
        with open(f"/proc/{broker.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith(name))

    with open(f"/proc/{broker.pid}/clear_refs", "w", encoding="ascii") as reset:
        reset.write("5")  # the peak begins anew
    before = field("VmRSS")
    question()
    return field("VmHWM") - before


def test_metadata_answers_a_topic_that_is_named_again_once(broker):
    """As Kafka, which makes a set of them. A name takes a dozen bytes, its answer a hundred for each partition."""
    create(broker, ["once", "twice"])
    topics = broker.call("Metadata", {"topics": [{"name": name} for name in ["twice", "once", "twice", "none", "none"]]})
    assert [topic["name"] for topic in topics["topics"]] == ["twice", "once", "none"]
    once, twice = [broker.call("Metadata", {"topics": [{"name": n}]})["topics"][0]["topic_id"] for n in ("once", "twice")]
    answer = broker.call("Metadata", {"topics": [{"topic_id": i, "name": None} for i in (twice, once, twice)]}, 12)
    assert [topic["name"] for topic in answer["topics"]] == ["twice", "once"]


def test_log_dirs_of_many_topics_take_no_memory_for_each_pair_of_them(broker):
    create(broker, [f"dirs-{i}" for i in range(1200)])

    def ask():
        result, = broker.call("DescribeLogDirs", {"topics": None}, seconds=60)["results"]
        assert len([topic for topic in result["topics"] if topic["name"].startswith("dirs-")]) == 1200

    assert peak_grows_by(broker, ask) < 10 * MIB
