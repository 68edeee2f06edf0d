"""How long a record takes (L1): an open loop of small batches at given rates, from when one was due until it is answered
and until its consumer has it. Three brokers with acks=all; one broker; and one request at a time.
"""
import cells
import load_runner
from floors import Floor, FloorThree
from kafka_peer import Kafka, KafkaThree
from machine import prewarm
from peers import Brokers, Three
from report import Figure

TOO_SLOW = "the rate is too high for it"
TENTH = "kafka <= 0.1"


class Cell:
    """`goals`: {(which time, which percentile): goal}."""

    def __init__(self, name, goals=None, **words):
        self.name, self.goals, self.words = name, goals or {}, words

    def figures(self):
        def of(make):
            return lambda report, name=self.name: make(report["cells"][name])

        for key, title in (("end_to_end_us", "end to end"), ("answer_us", "answer")):
            for which in ("p50", "p99", "p99.9", "max"):
                yield Figure(f"{self.name}-{key}_{which}", f"{self.name}: {title} {which}", "us",
                             of(lambda r, k=key, w=which: r[k][w]), self.goals.get((key, which)),
                             group=f"{self.name}: {title}", label=which)
        yield Figure(f"{self.name}-cpu_us", f"{self.name}: CPU per request", "us",
                     of(lambda r: r["cpu_s"] / r["requests"] * 1e6), main=True)
        yield Figure(f"{self.name}-switches", f"{self.name}: switches per request", "",
                     of(lambda r: r["switches"] / r["requests"]))
        yield Figure(f"{self.name}-client", f"{self.name}: generator's share of a core", "",
                     of(lambda r: r["generator_core"]))


class Rate(Cell):
    """So many batches a second."""

    def __init__(self, name, rate, goals=None, partitions=1, records=1, record_bytes=100, connections=1):
        super().__init__(name, goals, rate=rate, records=records, record_bytes=record_bytes, connections=connections)
        self.partitions, self.mb_s = partitions, rate * records * record_bytes / 1e6

    def measure(self, options, peer, **common):
        """{} where the peer does not sustain the rate."""
        try:
            return load_runner.measured(options, "latency", peer, seconds=options.seconds / 2, partitions=self.partitions,
                                        **self.words, **common)
        except SystemExit as problem:
            if TOO_SLOW in str(problem):
                return {}
            raise


class OneByOne(Cell):
    """The next batch when the last one is answered."""

    partitions, mb_s = 1, 1

    def measure(self, options, peer, **common):
        made = load_runner.measured(options, "produce", peer, requests=int(options.seconds * 400), depth=1, partitions=1,
                                    **self.words, **common)
        cells.compare(peer.name, made, load_runner.load(options, "consume", peer.name, partitions=1, topic=common["topic"],
                                                        brokers=common["brokers"]))
        return made


class Latencies(cells.Workload):
    """A run goes through the cells, each with a topic of its own."""

    open_loop = True
    topic_config = None

    def describe(self):
        return f"{self.options.seconds / 2:g} s at each rate, acks {self.acks}, {self.replicas} replicas"

    def open(self, name, folder):
        return self.peers[name](self.options, folder, *([self.config] if name != "floor" else []))

    def run(self, peer):
        reports = {cell.name: self.run_cell(peer, cell) for cell in self.wanted}
        return {**cells.together(reports, ("cpu_s", "records", "bytes", "requests")),
                "too_slow": [name for name, one in reports.items() if not one]}

    def run_cell(self, peer, cell):
        prewarm(cell.mb_s * self.options.seconds / 2 * self.replicas + 300)
        topic = peer.new_topic(cell.partitions, self.replicas, self.topic_config)
        report = cell.measure(self.options, peer, topic=topic, acks=self.acks, brokers=peer.bootstrap)
        peer.drop_topic(topic)
        return report


def tenth():
    return {("end_to_end_us", "p99"): TENTH, ("end_to_end_us", "p99.9"): TENTH}


class LatencyThree(Latencies):
    name = "latency3"
    text = "L1: end-to-end latency at 1,000, 10,000 and 50,000 records/s, three brokers, acks=all; and one at a time"
    peers = {"barnabas": Three, "kafka": KafkaThree, "floor": FloorThree}
    config, replicas, acks = {"min.insync.replicas": "2"}, 3, -1
    cells = [Rate("1000", 1000, tenth(), partitions=6), Rate("10000", 10000, tenth(), partitions=6),
             Rate("50000", 10000, tenth(), partitions=6, records=5),
             OneByOne("one", {("answer_us", "p50"): "<= 120", ("answer_us", "p99"): "<= 300"}, records=1, record_bytes=1000)]

    def describe(self):
        return super().describe() + ", 6 partitions; 50,000 records/s are 10,000 batches of 5"


class LatencyOne(Latencies):
    name = "latency1"
    text = "L1: end-to-end latency of one replica, acks=1, at 1,000 records/s and at 200 MB/s"
    peers = {"barnabas": Brokers, "kafka": Kafka, "floor": Floor}
    config, replicas, acks = {}, 1, 1
    cells = [Rate("1000", 1000, {("end_to_end_us", "p50"): "<= 60", **tenth()}),
             Rate("200MB", 20000, {("answer_us", "p99"): "<= 400", ("answer_us", "p99.9"): "<= 1500", **tenth()},
                  records=10, record_bytes=1000)]
