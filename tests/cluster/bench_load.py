"""bench_load in tests: its command line, a run of it, and a topic of one broker to run it on."""
import json
import os
import subprocess

import cluster as clusters
import pytest

PROGRAM = os.path.join(os.path.dirname(clusters.default_binary()), "bench", "bench_load")


def command(mode, address, topic, **options):
    """command("produce", "127.0.0.1:9092", "t", record_bytes=10); skips where the program is not built."""
    if not os.access(PROGRAM, os.X_OK):
        pytest.skip(f"no {PROGRAM} (build it first)")
    host, port = address.rsplit(":", 1)
    words = [w for k, v in options.items() for w in ("--" + k.replace("_", "-"), str(v))]
    return [PROGRAM, mode, "--host", host, "--port", port, "--topic", topic, *words]


def start(mode, address, topic, **options):
    """Running, with pipes to all three."""
    return subprocess.Popen(command(mode, address, topic, **options), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def run(mode, address, topic, **options):
    """(status, report or None, what it said)"""
    done = subprocess.run(command(mode, address, topic, **options), capture_output=True, text=True, timeout=600,
                          check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def report_of(mode, address, topic, **options):
    """Of a run that succeeds."""
    status, report, text = run(mode, address, topic, **options)
    assert status == 0, text
    return report


def create(one, topic, partitions=1, **configs):
    """A topic that is led when this returns; the broker."""
    answer = one.broker(1).call("CreateTopics", {"timeout_ms": 120000, "topics": [
        {"name": topic, "num_partitions": partitions, "replication_factor": 1,
         "configs": [{"name": key.replace("_", "."), "value": value} for key, value in configs.items()]}]}, seconds=120)
    assert answer["topics"][0]["error_code"] == 0

    def led():
        described = one.broker(1).call("Metadata", {"topics": [{"name": topic}]})["topics"][0]["partitions"]
        return len(described) == partitions and all(p["leader_id"] == 1 for p in described)

    one.wait(led, f"leaders of {topic}")
    return one.broker(1)
