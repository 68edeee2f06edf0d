"""When a broker answers clients."""
import confluent_kafka
from test_replication import create


def test_a_broker_that_has_just_started_never_says_that_a_topic_does_not_exist(cluster, topic):
    c = cluster(config={"zookeeper.session.timeout.ms": "2000"})
    create(c, topic, partitions=2)
    for _ in range(2):
        c.kill(2)
        c.start(2, wait=False)
        broker = c.broker(2)
        answer = c.wait(lambda: ask(broker, topic), "an answer of broker 2")
        assert [t["error_code"] for t in answer["topics"]] == [0]
        assert len(answer["topics"][0]["partitions"]) == 2


def ask(broker, topic):
    """The first answer that the broker gives; None while it does not listen."""
    try:
        return broker.call("Metadata", {"topics": [{"name": topic}], "allow_auto_topic_creation": False}, seconds=120.0)
    except Exception as problem:  # pylint: disable=broad-except
        assert "refused" in str(problem) or "closed" in str(problem) or "reset" in str(problem), problem
        return None


def test_a_producer_outlives_the_restart_of_every_broker_without_losing_sight_of_its_topic(cluster, topic):
    c = cluster(config={"zookeeper.session.timeout.ms": "2000"})
    create(c, topic, partitions=1)
    errors = []
    producer = confluent_kafka.Producer({"bootstrap.servers": c.bootstrap, "acks": "all"})
    for broker in (1, 2, 3):
        producer.produce(topic, b"x", on_delivery=lambda error, message: errors.append(error))
        c.kill(broker)
        c.start(broker)
        producer.poll(0.1)
    assert producer.flush(300) == 0
    assert errors == [None, None, None]
