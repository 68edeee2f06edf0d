"""scripts/lib/reassignment.py: Kafka's two files, and what is throttled; nothing but functions."""
import json

import pytest
import reassignment
from reassignment import BadFile

TWO = ('{"partitions":\n  [{"topic": "foo", "partition": 1, "replicas": [1,2,3], "log_dirs": ["any","/d2","any"] },\n'
       '   {"topic": "bar", "partition": 0, "replicas": [3]}],\n"version":1\n}')


def test_a_file_made_for_kafka_is_read():
    parts, log_dirs = reassignment.parse_partitions(TWO)
    assert parts == [(("foo", 1), [1, 2, 3]), (("bar", 0), [3])]
    assert log_dirs == {("foo", 1, 2): "/d2"}
    assert reassignment.parse_topics('{"topics": [{"topic": "foo"},{"topic": "foo1"}], "version":1}') == ["foo", "foo1"]


def test_what_kafka_leaves_out_or_adds_is_no_mistake():
    assert reassignment.parse_partitions('{"partitions":[]}') == ([], {})
    assert reassignment.parse_partitions('{"version":1,"comment":"x"}') == ([], {})
    assert reassignment.parse_topics("{}") == []


def test_what_is_written_is_kafkas_line_and_can_be_read_again():
    line = reassignment.to_json({("b", 0): [2, 1], ("a", 10): [1], ("a", 9): [3]})
    assert line == ('{"version":1,"partitions":['
                    '{"topic":"a","partition":9,"replicas":[3],"log_dirs":["any"]},'
                    '{"topic":"a","partition":10,"replicas":[1],"log_dirs":["any"]},'
                    '{"topic":"b","partition":0,"replicas":[2,1],"log_dirs":["any","any"]}]}')
    assert dict(reassignment.parse_partitions(line)[0]) == {("b", 0): [2, 1], ("a", 10): [1], ("a", 9): [3]}


def one(**fields):
    entry = {"topic": "t", "partition": 0, "replicas": [1], **fields}
    return json.dumps({"partitions": [{key: value for key, value in entry.items() if value != "gone"}]})


@pytest.mark.parametrize("text, told", [
    ('{"partitions": [}', "The input string is not a valid JSON: line 1, column 17: Expecting value"),
    ("", "The input string is not a valid JSON: line 1, column 1: Expecting value"),
    ("[" * 100000, "The input string is not a valid JSON: it is nested too deeply"),
    ("[1]", 'The JSON is to be an object with "partitions", not [1]'),
    ('{"version": 2}', "Not supported version field value 2"),
    ('{"partitions": {}}', '"partitions" is to be a list, not {}'),
    ('{"partitions": ["t-0"]}', 'partitions[0] is to be an object, not "t-0"'),
    (one(topic="gone"), 'partitions[0] has no "topic"'),
    (one(topic=""), '"topic" of partitions[0] is to be a name, not ""'),
    (one(topic=7), '"topic" of partitions[0] is to be a name, not 7'),
    (one(partition="gone"), 'partitions[0] has no "partition"'),
    (one(partition="0"), '"partition" of partitions[0] is to be a number of a partition, not "0"'),
    (one(partition=-1), '"partition" of partitions[0] is to be a number of a partition, not -1'),
    (one(partition=True), '"partition" of partitions[0] is to be a number of a partition, not true'),
    (one(partition=2**31), '"partition" of partitions[0] is to be a number of a partition, not 2147483648'),
    (one(replicas="gone"), 'partitions[0] has no "replicas"'),
    (one(replicas=[1, "2"]), '"replicas" of partitions[0] is to be a list of broker ids, not [1, "2"]'),
    (one(replicas=[-1]), '"replicas" of partitions[0] is to be a list of broker ids, not [-1]'),
    (one(replicas=1), '"replicas" of partitions[0] is to be a list of broker ids, not 1'),
    (one(log_dirs=["any", "any"]),
     "Size of replicas list [1] is different from size of log dirs list [any, any] for partition t-0"),
    (one(log_dirs=[1]), '"log_dirs" of partitions[0] is to be a list of directories, not [1]'),
])
def test_a_mistake_in_a_file_of_partitions_is_told_with_its_place(text, told):
    with pytest.raises(BadFile) as problem:
        reassignment.parse_partitions(text)
    assert str(problem.value) == told


@pytest.mark.parametrize("text, told", [
    ('{"topics": [{}]}', 'topics[0] has no "topic"'),
    ('{"topics": ["a"]}', 'topics[0] is to be an object, not "a"'),
    ('{"topics": [{"topic": "a"}, {"topic": "b"}, {"topic": "a"}]}',
     "List of topics to reassign contains duplicate entries: [a]"),
])
def test_a_mistake_in_a_file_of_topics_is_told_with_its_place(text, told):
    with pytest.raises(BadFile) as problem:
        reassignment.parse_topics(text)
    assert str(problem.value) == told


@pytest.mark.parametrize("parts, told", [
    ([], "Partition reassignment list cannot be empty"),
    ([(("t", 0), [])], "Partition replica list cannot be empty"),
    ([(("t", 0), [1]), (("t", 0), [2])], "Partition reassignment contains duplicate topic partitions: t-0"),
    ([(("t", 0), [1, 2, 1])], "Partition replica lists may not contain duplicate entries: t-0 contains multiple entries for 1"),
])
def test_what_must_not_be_executed_is_refused_in_kafkas_words(parts, told):
    with pytest.raises(BadFile) as problem:
        reassignment.check_to_execute(parts)
    assert str(problem.value) == told


@pytest.mark.parametrize("text, told", [("1,x", "--broker-list 1,x: broker ids with commas, such as 1,2,3"),
                                        ("1,2,1", "Broker list contains duplicate entries: [1]")])
def test_a_list_of_brokers_that_is_none(text, told):
    with pytest.raises(BadFile) as problem:
        reassignment.parse_brokers(text)
    assert str(problem.value) == told


def test_throttles_are_for_every_replica_that_may_send_and_every_one_that_receives():
    moving = reassignment.moves({}, {("a", 0): [1, 4], ("a", 10): [3, 2], ("b", 1): [5]},
                                {("a", 0): [1, 2], ("a", 10): [2, 3], ("b", 1): [1]})
    assert reassignment.throttled_replicas(moving) == {"a": ("0:1,0:2,10:2,10:3", "0:4"), "b": ("1:1", "1:5")}
    assert reassignment.brokers_of(moving) == [1, 2, 3, 4, 5]


def test_what_moves_already_is_throttled_too_and_comes_from_where_it_was():
    ongoing = {("a", 0): {"replicas": [3, 1, 2], "adding_replicas": [3], "removing_replicas": [1]},
               ("a", 1): {"replicas": [4, 1], "adding_replicas": [4], "removing_replicas": [1]}}
    moving = reassignment.moves(ongoing, {("a", 0): [2, 5]}, {("a", 0): [3, 1, 2]})
    assert moving == {("a", 0): ({1, 2}, {5}), ("a", 1): ({1}, {4})}
