"""What scripts/bench reads out of what Kafka's performance tools print."""
import os
import sys

import pytest
import wire

sys.path.insert(0, os.path.join(wire.ROOT, "tests", "bench"))
import kafka_tools  # noqa: E402  pylint: disable=wrong-import-position

SENT = """200001 records sent, 40000.2 records/sec (3.81 MB/sec), 12.0 ms avg latency, 300.0 ms max latency.
1000000 records sent, 22548.0 records/sec (2.15 MB/sec), 934.10 ms avg latency, 2280.00 ms max latency, \
934 ms 50th, 1800 ms 95th, 1954 ms 99th, 2270 ms 99.9th.
"""
READ = """start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, \
fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec
2026-11-26 17:55:01:123, 2026-11-26 17:55:04:456, 95.3674, 28.6, 1000000, 300030.0, 512, 2821, 33.8, 354484.2
"""


def test_the_summary_is_that_of_the_whole_run():
    sent = kafka_tools.parse_sent(SENT, 1000000)
    assert sent == {"messages_s": 22548.0, "answer_ms": {"p50": 934.0, "p99": 1954.0, "p99.9": 2270.0}}
    assert kafka_tools.parse_read(READ, 1000000) == {"messages_s": 300030.0}


@pytest.mark.parametrize("parse, text", [(kafka_tools.parse_sent, SENT), (kafka_tools.parse_read, READ)])
def test_fewer_records_than_asked_for_end_the_run(parse, text):
    for count, said in ((1000001, text), (1000000, "")):
        with pytest.raises(SystemExit, match="did not"):
            parse(said, count)
