"""What clients are told by a broker that stops in order."""
import signal

import records
import wire
from traffic import create

BATCH = records.make_batch([(None, b"value")])


def produce_body(topic):
    return {"acks": 1, "timeout_ms": 10000,
            "topic_data": [{"name": topic, "partition_data": [{"index": 0, "records": BATCH}]}]}


def said(answer):
    return wire.error_name(answer["responses"][0]["partition_responses"][0]["error_code"])


def test_a_request_that_comes_during_a_stop_is_refused_and_not_left_without_an_answer(cluster, topic):
    """The broker waits for ZooKeeper to take back its office, up to two seconds. What came in that time was held, and
    its connection closed without an answer: a producer could not know what had become of its messages."""
    one = cluster(brokers=1, config={"controlled.shutdown.enable": "false"})
    create(one, topic)
    broker = one.broker(1)
    with wire.Connection(broker.host, broker.port) as kafka:
        assert said(kafka.call("Produce", produce_body(topic), 9)) == "NONE"
        one.kill("zookeeper-1", signal.SIGSTOP)
        try:
            broker.ask_to_stop()
            answers = ["NONE"]
            while answers[-1] == "NONE":
                answers.append(said(kafka.call("Produce", produce_body(topic), 9)))
            assert answers[-1] == "NOT_LEADER_OR_FOLLOWER"
            assert kafka.is_closed()
        finally:
            one.kill("zookeeper-1", signal.SIGCONT)
