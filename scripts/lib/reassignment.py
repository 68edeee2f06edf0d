"""Reassignments on paper: Kafka's two JSON files, and which replicas a throttle is for. Pure functions.

A partition is (topic, index); an assignment is {partition: [broker, ...]}; a replica is (topic, index, broker).

    {"version": 1, "topics": [{"topic": "orders"}]}                              which topics to plan for
    {"version": 1, "partitions": [{"topic": "orders", "partition": 0, "replicas": [1, 2], "log_dirs": ["any", "/d"]}]}

Everything in a file is looked at before anything is done; what is wrong raises BadFile with the place of it.
"""
import collections
import json

ANY_LOG_DIR = "any"
VERSION = 1
PARTITION_MAX = 2**31 - 1


class BadFile(Exception):
    """What is wrong, for people."""


def name_of(partition):
    """As Kafka prints partitions and replicas."""
    return "-".join(map(str, partition))


def twice(values):
    """Those that occur more than once, in their order."""
    return [value for value, count in collections.Counter(values).items() if count > 1]


def read_json(text, key):
    """The list under `key` of a file, [] when it has none. Other keys are not looked at, as Kafka does not."""
    try:
        whole = json.loads(text)
    except json.JSONDecodeError as problem:
        raise BadFile(f"The input string is not a valid JSON: line {problem.lineno}, column {problem.colno}:"
                      f" {problem.msg}") from None
    except RecursionError:
        raise BadFile("The input string is not a valid JSON: it is nested too deeply") from None
    if not isinstance(whole, dict):
        raise BadFile(f'The JSON is to be an object with "{key}", not {json.dumps(whole)[:60]}')
    if whole.get("version", VERSION) != VERSION:
        raise BadFile(f"Not supported version field value {whole['version']}")
    found = whole.get(key, [])
    if not isinstance(found, list):
        raise BadFile(f'"{key}" is to be a list, not {json.dumps(found)[:60]}')
    return found


def is_int(value):
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= PARTITION_MAX


def is_text(value):
    return isinstance(value, str) and value != ""


def field(entry, place, name, is_right, what):
    if not isinstance(entry, dict):
        raise BadFile(f"{place} is to be an object, not {json.dumps(entry)[:60]}")
    if name not in entry:
        raise BadFile(f'{place} has no "{name}"')
    if not is_right(entry[name]):
        raise BadFile(f'"{name}" of {place} is to be {what}, not {json.dumps(entry[name])[:60]}')
    return entry[name]


def list_of(is_right):
    return lambda values: isinstance(values, list) and all(map(is_right, values))


def parse_topics(text):
    """The names in a file of topics to move."""
    topics = [field(entry, f"topics[{i}]", "topic", is_text, "a name") for i, entry in enumerate(read_json(text, "topics"))]
    if twice(topics):
        raise BadFile(f"List of topics to reassign contains duplicate entries: [{', '.join(twice(topics))}]")
    return topics


def parse_brokers(text):
    """The ids of --broker-list."""
    try:
        brokers = [int(word) for word in text.split(",")]
    except ValueError:
        raise BadFile(f"--broker-list {text}: broker ids with commas, such as 1,2,3") from None
    if twice(brokers):
        raise BadFile(f"Broker list contains duplicate entries: {twice(brokers)}")
    return brokers


def parse_partitions(text):
    """([(partition, replicas), ...], {replica: log directory}) of a file of partitions, as it stands there."""
    parts, log_dirs = [], {}
    for i, entry in enumerate(read_json(text, "partitions")):
        place = f"partitions[{i}]"
        partition = (field(entry, place, "topic", is_text, "a name"),
                     field(entry, place, "partition", is_int, "a number of a partition"))
        replicas = field(entry, place, "replicas", list_of(is_int), "a list of broker ids")
        dirs = [ANY_LOG_DIR] * len(replicas)
        if "log_dirs" in entry:
            dirs = field(entry, place, "log_dirs", list_of(is_text), "a list of directories")
        if len(replicas) != len(dirs):
            raise BadFile(f"Size of replicas list {replicas} is different from size of log dirs list"
                          f" [{', '.join(dirs)}] for partition {name_of(partition)}")
        parts.append((partition, replicas))
        log_dirs.update({(*partition, broker): path for broker, path in zip(replicas, dirs) if path != ANY_LOG_DIR})
    return parts, log_dirs


def check_to_execute(parts):
    """What a file must not have when it is to be carried out."""
    if not parts:
        raise BadFile("Partition reassignment list cannot be empty")
    if any(not replicas for _, replicas in parts):
        raise BadFile("Partition replica list cannot be empty")
    again = twice(partition for partition, _ in parts)
    if again:
        raise BadFile(f"Partition reassignment contains duplicate topic partitions: {','.join(map(name_of, again))}")
    doubled = [f"{name_of(partition)} contains multiple entries for {','.join(map(str, twice(replicas)))}"
               for partition, replicas in parts if twice(replicas)]
    if doubled:
        raise BadFile(f"Partition replica lists may not contain duplicate entries: {'. '.join(doubled)}")


def to_json(assignment):
    """A file of partitions, in one line."""
    partitions = [{"topic": topic, "partition": index, "replicas": replicas, "log_dirs": [ANY_LOG_DIR] * len(replicas)}
                  for (topic, index), replicas in sorted(assignment.items())]
    return json.dumps({"version": VERSION, "partitions": partitions}, separators=(",", ":"), ensure_ascii=False)


# ------------------------------------------------------------------ throttles


def moves(ongoing, proposed, current):
    """{partition: (brokers that have it, brokers that are to get it)} of all that move or are about to. A partition
    that moves already is copied from where it was before, not from where it is half copied."""
    found = {partition: (set(move["replicas"]) - set(move["adding_replicas"]), set(move["adding_replicas"]))
             for partition, move in ongoing.items()}
    for partition, replicas in proposed.items():
        sources = found[partition][0] if partition in found else set(current[partition])
        found[partition] = sources, set(replicas) - sources
    return found


def throttled_replicas(moving):
    """{topic: (leaders', followers' list)} as the topic's configurations have them: partition:broker with commas. Every
    broker that has the partition may come to lead it meanwhile."""
    leaders, followers = collections.defaultdict(set), collections.defaultdict(set)
    for (topic, index), (sources, destinations) in moving.items():
        leaders[topic] |= {f"{index}:{broker}" for broker in sources}
        followers[topic] |= {f"{index}:{broker}" for broker in destinations}
    return {topic: (",".join(sorted(leaders[topic])), ",".join(sorted(followers[topic]))) for topic in leaders}


def brokers_of(moving):
    return sorted(set().union(*(sources | destinations for sources, destinations in moving.values())))
