"""Consumer groups with real clients: who gets what, who takes over, what survives."""
import signal
import subprocess
import time

import confluent_kafka
import kafka
import pytest
from confluent_kafka.admin import AdminClient
from kafka.structs import OffsetAndMetadata

from conftest import LONG_SESSION, end, make
from group_member import Member

PARTITIONS = 4
# A member is not to be taken for dead because the machine is busy; but it hears of a rebalance soon.
SESSION = {"kafka-python": {"session_timeout_ms": 60000, "heartbeat_interval_ms": 300, "max_poll_interval_ms": 300000},
           "confluent": {"session.timeout.ms": 60000, "heartbeat.interval.ms": 300, "max.poll.interval.ms": 300000}}
# One that will be killed is to be missed.
SHORT_SESSION = {"kafka-python": {"session_timeout_ms": 10000}, "confluent": {"session.timeout.ms": 10000}}
INITIAL_DELAY_S = 10.0
CONFIG = {"group.min.session.timeout.ms": "500", "num.partitions": str(PARTITIONS)}


@pytest.fixture(scope="module")
def groups_cluster(needs_cluster, tmp_path_factory):
    """Three brokers whose members' sessions may be short. For tests that add topics and groups only."""
    one = make(tmp_path_factory.mktemp("groups") / "cluster", config={**LONG_SESSION, **CONFIG})
    try:
        one.up()
    except BaseException:
        one.close()
        raise
    yield one
    end(one)


@pytest.fixture
def member(topic):
    """Starts members of the group that is named as the topic is; kills them after the test."""
    started = []

    def start(cluster, client="kafka-python", config=None, **more):
        one = Member(cluster.bootstrap, topic, topic, client, {**SESSION[client], **(config or {})}, **more)
        started.append(one)
        return one

    yield start
    for one in started:  # pytest shows this where the test has failed
        one.kill()
        print(one.wanted["client"], "owned", one.owned, "messages", len(one.messages), "errors", one.errors)


def create(cluster, topic):
    """Made on request, with num.partitions of them, each with a leader, as every broker knows."""
    def ready(broker):
        answer = broker.call("Metadata", {"topics": [{"name": topic}]})["topics"][0]
        return len(answer["partitions"]) == PARTITIONS and all(p["leader_id"] > 0 for p in answer["partitions"])

    cluster.wait(lambda: all(ready(broker) for broker in cluster.brokers), f"topic {topic} with leaders")


def produce(cluster, topic, values):
    """Value i goes to partition i modulo their number. What a broker refuses that does not lead yet is sent again."""
    producer = kafka.KafkaProducer(bootstrap_servers=cluster.bootstrap.split(","), acks="all", retries=1000)
    futures = [producer.send(topic, value.encode(), partition=i % PARTITIONS) for i, value in enumerate(values)]
    for future in futures:
        future.get(timeout=120)
    producer.close()


def coordinator(cluster, group):
    """The id of the group's coordinator, waited for."""
    def find():
        for broker in cluster.brokers:
            if broker.alive():
                answer = broker.call("FindCoordinator", {"key_type": 0, "coordinator_keys": [group]})["coordinators"][0]
                if answer["error_code"] == 0:
                    return answer["node_id"]
        return None

    return cluster.wait(find, f"a coordinator of {group}")


def ask(cluster, group, api, body):
    return cluster.broker(coordinator(cluster, group)).call(api, body)


def describe(cluster, group):
    return ask(cluster, group, "DescribeGroups", {"groups": [group]})["groups"][0]


def share(members):
    """The members own all partitions, each one's are nobody else's, and everybody has some."""
    owned = [one.owned for one in members]
    return all(owned) and sorted(p for partitions in owned for p in partitions) == list(range(PARTITIONS))


def received(members):
    return sorted(value for one in members for value in one.messages)


CLIENTS = {"kafka-python-range": ("kafka-python", {"assignor": "range"}),
           "kafka-python-roundrobin": ("kafka-python", {"assignor": "roundrobin"}),
           "confluent-range": ("confluent", {"partition.assignment.strategy": "range"}),
           "confluent-roundrobin": ("confluent", {"partition.assignment.strategy": "roundrobin"}),
           "confluent-cooperative-sticky": ("confluent", {"partition.assignment.strategy": "cooperative-sticky"})}


@pytest.mark.parametrize("kind", CLIENTS)
def test_two_members_share_and_one_takes_over(groups_cluster, topic, member, kind):
    """The second is killed without a word: its session ends, the first gets its partitions, and goes on where it
    had committed. A third that leaves as it should gives its partitions back."""
    client, config = CLIENTS[kind]
    create(groups_cluster, topic)
    first = member(groups_cluster, client, config)
    groups_cluster.wait(lambda: first.owned == list(range(PARTITIONS)), "the first owning all partitions")
    second = member(groups_cluster, client, {**config, **SHORT_SESSION[client]})
    groups_cluster.wait(lambda: share([first, second]), "both sharing the partitions")
    values = [f"a{i}" for i in range(20)]
    produce(groups_cluster, topic, values)
    groups_cluster.wait(lambda: received([first, second]) == sorted(values), "every message at one of them")
    groups_cluster.wait(lambda: committed(groups_cluster, topic) == [5, 5, 5, 5], "the commit of what it has told of")
    assert first.messages and second.messages
    second.kill()
    groups_cluster.wait(lambda: first.owned == list(range(PARTITIONS)), "the first taking over")
    more = [f"b{i}" for i in range(20)]
    produce(groups_cluster, topic, more)
    groups_cluster.wait(lambda: len(received([first, second])) >= 40, "messages of all partitions")
    assert received([first, second]) == sorted(values + more)  # none twice: the commits counted
    third = member(groups_cluster, client, config)
    groups_cluster.wait(lambda: share([first, third]), "a third sharing the partitions")
    assert third.stop() == 0
    groups_cluster.wait(lambda: first.owned == list(range(PARTITIONS)), "the first owning all again")
    assert first.stop() == 0
    groups_cluster.wait(lambda: describe(groups_cluster, topic)["group_state"] == "Empty", "an empty group")


def test_kcat_reads_in_a_group_and_goes_on_where_it_left(groups_cluster, topic, needs_command):
    kcat = needs_command("kcat", "package kcat")
    create(groups_cluster, topic)

    def read():
        command = [kcat, "-b", groups_cluster.bootstrap, "-G", topic, "-X", "auto.offset.reset=earliest",
                   "-X", "enable.partition.eof=true", "-e", "-q", topic]
        return sorted(subprocess.run(command, capture_output=True, check=True, timeout=300, text=True).stdout.split())

    for values in ([f"a{i}" for i in range(8)], [f"b{i}" for i in range(8)]):
        produce(groups_cluster, topic, values)
        assert read() == values


def test_a_cooperative_member_keeps_what_it_does_not_have_to_give(groups_cluster, topic, member):
    create(groups_cluster, topic)
    config = {"partition.assignment.strategy": "cooperative-sticky"}
    first = member(groups_cluster, "confluent", config)
    groups_cluster.wait(lambda: first.owned == list(range(PARTITIONS)), "the first owning all partitions")
    second = member(groups_cluster, "confluent", config)
    groups_cluster.wait(lambda: share([first, second]), "both sharing the partitions")
    assert [len(partitions) for partitions in first.revoked] == [2]
    assert second.revoked == []
    groups_cluster.wait(lambda: describe(groups_cluster, topic)["protocol_data"] == "cooperative-sticky", "a stable group")


def test_a_static_member_restarts_without_a_rebalance(groups_cluster, topic, member):
    """Killed, and back within its session under another member id: it owns what it had, the other has seen
    nothing, and the group was Stable all the time."""
    create(groups_cluster, topic)
    first = member(groups_cluster, "confluent", {"group.instance.id": "one"})
    groups_cluster.wait(lambda: first.owned, "the first owning partitions")
    second = member(groups_cluster, "confluent", {"group.instance.id": "two"})
    groups_cluster.wait(lambda: share([first, second]), "both sharing the partitions")
    groups_cluster.wait(lambda: describe(groups_cluster, topic)["group_state"] == "Stable", "a stable group")
    ids = {one["group_instance_id"]: one["member_id"] for one in describe(groups_cluster, topic)["members"]}
    events = len(first.events)
    had = second.owned
    for restart in (second.kill, second.stop):
        restart()
        assert describe(groups_cluster, topic)["group_state"] == "Stable"
        second = member(groups_cluster, "confluent", {"group.instance.id": "two"})
        groups_cluster.wait(lambda: second.owned == had, "the restarted member owning what it had")
    now = describe(groups_cluster, topic)
    assert now["group_state"] == "Stable"
    members = {one["group_instance_id"]: one["member_id"] for one in now["members"]}
    assert members["one"] == ids["one"]
    assert members["two"] != ids["two"]
    assert len(first.events) == events
    produce(groups_cluster, topic, ["x"] * PARTITIONS)
    groups_cluster.wait(lambda: len(received([first, second])) == PARTITIONS, "messages at both")


def test_a_second_process_with_the_same_instance_id_fences_the_first(groups_cluster, topic, member):
    create(groups_cluster, topic)
    config = {"group.instance.id": "one"}
    first = member(groups_cluster, "confluent", config)
    groups_cluster.wait(lambda: first.owned, "the first owning partitions")
    second = member(groups_cluster, "confluent", config)
    groups_cluster.wait(lambda: second.owned == list(range(PARTITIONS)), "the second owning partitions")
    groups_cluster.wait(lambda: any("FENCED" in text.upper() or "fenced" in text for text in first.errors),
                        "the first being told that it is fenced")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_commits_and_members_survive_a_restart_of_the_broker(cluster, topic, member, how):
    """One broker ends and comes back: what was committed is there, and the group's members go on without being
    assigned anew."""
    one = cluster(brokers=1, config=CONFIG)
    create(one, topic)
    running = member(one)
    one.wait(lambda: running.owned == list(range(PARTITIONS)), "the member owning all partitions")
    values = [f"a{i}" for i in range(8)]
    produce(one, topic, values)
    one.wait(lambda: received([running]) == sorted(values), "every message")
    one.wait(lambda: committed(one, topic) == [2, 2, 2, 2], "every commit")
    generation = describe(one, topic)["members"]
    if how == signal.SIGTERM:
        one.stop(1)
    else:
        one.kill(1)
        one.process(1).wait_gone()
    one.start(1)
    one.wait(lambda: committed(one, topic) == [2, 2, 2, 2], "every commit after the restart")
    more = [f"b{i}" for i in range(8)]
    produce(one, topic, more)
    one.wait(lambda: received([running]) == sorted(values + more), "the messages after the restart, none twice")
    assert describe(one, topic)["members"] == generation
    assert [event for event in running.events if event["event"] == "revoked"] == []


def committed(cluster, group):
    """The group's committed offsets by partition."""
    answer = ask(cluster, group, "OffsetFetch", {"groups": [{"group_id": group, "topics": None}]})["groups"][0]
    if answer["error_code"] != 0:
        return None
    return [p["committed_offset"] for t in answer["topics"] for p in t["partitions"]]


def test_the_group_waits_for_its_coordinator_and_goes_on(cluster, topic, member):
    """offsets.topic.replication.factor=1, and the coordinator's broker is killed. Nobody else has its offsets, so
    nobody takes over; when it is back, the group goes on where it was."""
    many = cluster(config={**CONFIG, "offsets.topic.replication.factor": "1"})
    create(many, topic)
    dead = coordinator(many, topic)
    running = member(many)
    many.wait(lambda: running.owned == list(range(PARTITIONS)), "the member owning all partitions")
    values = [f"a{i}" for i in range(8)]
    produce(many, topic, values)
    many.wait(lambda: received([running]) == sorted(values), "every message")
    many.wait(lambda: committed(many, topic) == [2, 2, 2, 2], "every commit")
    many.kill(dead)
    many.process(dead).wait_gone()
    other = next(broker for broker in many.brokers if broker.alive())

    def unknown():
        body = {"key_type": 0, "coordinator_keys": [topic]}
        return other.call("FindCoordinator", body)["coordinators"][0]["error_code"] == 15

    many.wait(unknown, "COORDINATOR_NOT_AVAILABLE")
    many.start(dead)
    many.wait_all_known()
    assert coordinator(many, topic) == dead
    many.wait(lambda: committed(many, topic) == [2, 2, 2, 2], "every commit after the restart")
    many.wait(lambda: leaders(many, topic), "leaders of all partitions")
    more = [f"b{i}" for i in range(8)]
    produce(many, topic, more)
    many.wait(lambda: received([running]) == sorted(values + more), "the messages after the restart, none twice")


def leaders(cluster, topic):
    """Every broker that lives says that every partition has a leader that lives."""
    alive = {broker.id: broker for broker in cluster.brokers if broker.alive()}
    answers = [broker.call("Metadata", {"topics": [{"name": topic}]})["topics"][0] for broker in alive.values()]
    return all(p["leader_id"] in alive for answer in answers for p in answer["partitions"])


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_coordinator_moves_with_the_group_when_its_broker_ends(cluster, topic, member, how):
    """A follower of the offsets' partition becomes coordinator. It has read the group from its log: the members go on
    without being assigned anew, and the commits are there. Back again, the broker follows."""
    many = cluster(config={**CONFIG, "default.replication.factor": "3", "min.insync.replicas": "2"})
    create(many, topic)
    gone = coordinator(many, topic)
    running = member(many)
    many.wait(lambda: running.owned == list(range(PARTITIONS)), "the member owning all partitions")
    values = [f"a{i}" for i in range(8)]
    produce(many, topic, values)
    many.wait(lambda: received([running]) == sorted(values), "every message")
    many.wait(lambda: committed(many, topic) == [2, 2, 2, 2], "every commit")
    members = describe(many, topic)["members"]
    if how == signal.SIGTERM:
        many.stop(gone)
    else:
        many.kill(gone)
        many.process(gone).wait_gone()
    many.wait(lambda: coordinator(many, topic) != gone, "another coordinator")
    many.wait(lambda: committed(many, topic) == [2, 2, 2, 2], "every commit after the move")
    many.wait(lambda: leaders(many, topic), "leaders of all partitions")
    more = [f"b{i}" for i in range(8)]
    produce(many, topic, more)
    many.wait(lambda: set(running.messages) == set(values + more), "the messages after the move")
    many.wait(lambda: committed(many, topic) == [4, 4, 4, 4], "their commits")
    assert describe(many, topic)["members"] == members
    assert running.revoked == []
    many.start(gone)
    many.wait_all_known()
    many.wait(lambda: committed(many, topic) == [4, 4, 4, 4], "the commits after the broker's return")


# ------------------------------------------------------------------ admins


def test_kafka_python_admin_describes_lists_and_deletes(groups_cluster, topic, member):
    create(groups_cluster, topic)
    running = member(groups_cluster, config={"client_id": "somebody"})
    groups_cluster.wait(lambda: running.owned == list(range(PARTITIONS)), "the member owning all partitions")
    produce(groups_cluster, topic, [f"a{i}" for i in range(8)])
    groups_cluster.wait(lambda: committed(groups_cluster, topic) == [2, 2, 2, 2], "every commit")
    admin = kafka.KafkaAdminClient(bootstrap_servers=groups_cluster.bootstrap.split(","))
    assert (topic, "consumer") in admin.list_consumer_groups()
    found = admin.describe_consumer_groups([topic])[0]
    assert (found.error_code, found.group, found.state, found.protocol_type, found.protocol) == (
        0, topic, "Stable", "consumer", "range")
    assert [(one.client_id, one.client_host) for one in found.members] == [("somebody", "/127.0.0.1")]
    assigned = found.members[0].member_assignment.assignment
    assert [(name, sorted(partitions)) for name, partitions in assigned] == [(topic, list(range(PARTITIONS)))]
    assert found.members[0].member_metadata.subscription == [topic]
    offsets = admin.list_consumer_group_offsets(topic)
    assert {where.partition: what.offset for where, what in offsets.items()} == dict.fromkeys(range(PARTITIONS), 2)
    assert [error.__name__ for _, error in admin.delete_consumer_groups([topic])] == ["NonEmptyGroupError"]
    assert running.stop() == 0
    groups_cluster.wait(lambda: describe(groups_cluster, topic)["group_state"] == "Empty", "an empty group")
    assert [error.__name__ for _, error in admin.delete_consumer_groups([topic])] == ["NoError"]
    assert topic not in [group for group, _ in admin.list_consumer_groups()]
    assert admin.list_consumer_group_offsets(topic) == {}
    assert admin.describe_consumer_groups([topic])[0].state == "Dead"
    admin.close()


def test_confluent_admin_lists_groups(groups_cluster, topic, member):
    create(groups_cluster, topic)
    running = member(groups_cluster, "confluent", {"client.id": "somebody"})
    groups_cluster.wait(lambda: running.owned == list(range(PARTITIONS)), "the member owning all partitions")
    admin = AdminClient({"bootstrap.servers": groups_cluster.bootstrap})
    found = {one.id: one for one in admin.list_groups(timeout=30)}[topic]
    assert (found.error, found.state, found.protocol_type, found.protocol) == (None, "Stable", "consumer", "range")
    assert [(one.client_id, one.client_host) for one in found.members] == [("somebody", "/127.0.0.1")]


def test_offsets_of_one_client_are_read_by_the_other(groups_cluster, topic):
    """Committed without a group of members, with metadata."""
    create(groups_cluster, topic)
    consumer = kafka.KafkaConsumer(bootstrap_servers=groups_cluster.bootstrap.split(","), group_id=topic,
                                   enable_auto_commit=False)
    where = kafka.TopicPartition(topic, 1)
    consumer.assign([where])
    consumer.commit({where: OffsetAndMetadata(7, "märchen")})
    consumer.close()
    other = confluent_kafka.Consumer({"bootstrap.servers": groups_cluster.bootstrap, "group.id": topic})
    found = other.committed([confluent_kafka.TopicPartition(topic, p) for p in (0, 1)], timeout=30)
    assert [(one.offset, one.error) for one in found] == [(confluent_kafka.OFFSET_INVALID, None), (7, None)]
    other.close()


def test_offsets_of_a_deleted_topic_are_forgotten(groups_cluster, topic):
    """A topic made anew under the name begins without them."""
    create(groups_cluster, topic)
    consumer = kafka.KafkaConsumer(bootstrap_servers=groups_cluster.bootstrap.split(","), group_id=topic,
                                   enable_auto_commit=False)
    where = kafka.TopicPartition(topic, 1)
    consumer.assign([where])
    consumer.commit({where: OffsetAndMetadata(7, "")})
    assert committed(groups_cluster, topic) == [7]
    admin = kafka.KafkaAdminClient(bootstrap_servers=groups_cluster.bootstrap.split(","))
    admin.delete_topics([topic], timeout_ms=30000)
    groups_cluster.wait(lambda: committed(groups_cluster, topic) == [], "no offsets")
    admin.close()
    consumer.close()


# ------------------------------------------------------------------ configuration


def test_the_first_rebalance_waits_for_the_configured_delay(cluster, topic, member):
    """Members that start together are assigned once: as far apart as two starts of Python on a busy machine are."""
    one = cluster(brokers=1, config={**CONFIG, "group.initial.rebalance.delay.ms": str(int(1000 * INITIAL_DELAY_S))})
    create(one, topic)
    coordinator(one, topic)
    began = time.monotonic()
    first = member(one)
    second = member(one)
    one.wait(lambda: share([first, second]), "both sharing the partitions")
    assert time.monotonic() - began >= INITIAL_DELAY_S
    assert first.revoked == second.revoked == []
