"""The client family Sarama (Go), from the Debian package golang-github-shopify-sarama-dev, built without a network.

Sarama 1.22 sends the request versions of the Kafka release that it is told, and never asks the broker what it has.
Its zstd is left out: it sends that in Produce 3, where Kafka refuses it too.
"""
import os
import subprocess
import time

import cluster as clusters
import pytest
import wire
from test_groups_wire import Group
from traffic import create

GO = "/usr/bin/go"  # Debian's: the one whose standard library the package was made for
GOPATH = "/usr/share/gocode"
SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sarama", "main.go")
VERSIONS = ["0.11.0.0", "1.0.0", "2.2.0"]
COUNT = 40


@pytest.fixture(scope="session")
def sarama(needs_cluster):
    """sarama(words): the lines that the program prints."""
    if not os.access(GO, os.X_OK):
        pytest.skip(f"no {GO} (package golang-go)")
    if not os.path.isdir(os.path.join(GOPATH, "src", "github.com", "Shopify", "sarama")):
        pytest.skip("no Sarama (package golang-github-shopify-sarama-dev)")
    build = os.path.join(wire.ROOT, "build", "sarama")
    env = {**os.environ, "GO111MODULE": "off", "GOPATH": GOPATH, "GOCACHE": os.path.join(build, "cache"),
           "GOFLAGS": "-p=2", "GOTOOLCHAIN": "local", "GOPROXY": "off"}
    env.pop("GOROOT", None)
    program = os.path.join(build, "sarama")
    subprocess.run([GO, "build", "-o", program, SOURCE], check=True, env=env, timeout=800)

    def run(*words):
        done = subprocess.run([program, *map(str, words)], capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr
        return sorted(done.stdout.splitlines())

    return run


def kcat(bootstrap, topic, *more):
    done = subprocess.run(["kcat", "-b", bootstrap, "-C", "-t", topic, "-e", "-q", "-f", "%s %p %o\\n", *more],
                          capture_output=True, text=True, timeout=600, check=True)
    return sorted(done.stdout.splitlines())


@pytest.mark.parametrize("version", VERSIONS)
def test_what_it_writes_it_reads_alone_and_in_a_group_and_so_does_kcat(shared_cluster, sarama, topic, needs_command,
                                                                       version):
    needs_command("kcat", "package kcat")
    create(shared_cluster, topic, partitions=3, replicas=2)
    written = sarama("produce", shared_cluster.bootstrap, version, topic, "none", COUNT)
    assert len(written) == COUNT
    assert sarama("consume", shared_cluster.bootstrap, version, topic, COUNT) == written
    Group(shared_cluster, topic).close()  # has a coordinator
    assert sarama("group", shared_cluster.bootstrap, version, topic, topic, COUNT) == written
    assert kcat(shared_cluster.bootstrap, topic) == written


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "idempotent"])
def test_its_codecs_and_its_idempotent_producer(shared_cluster, sarama, topic, needs_command, codec):
    needs_command("kcat", "package kcat")
    create(shared_cluster, topic, partitions=2)
    before_ms = int(time.time() * 1000)
    written = sarama("produce", shared_cluster.bootstrap, "2.2.0", topic, codec, COUNT)
    assert sarama("consume", shared_cluster.bootstrap, "2.2.0", topic, COUNT) == written
    assert kcat(shared_cluster.bootstrap, topic) == written
    # Its batches have no max timestamp.
    assert kcat(shared_cluster.bootstrap, topic, "-o", f"s@{before_ms}") == written


def test_its_group_goes_on_where_it_was(shared_cluster, sarama, topic):
    create(shared_cluster, topic, partitions=1)
    Group(shared_cluster, topic).close()  # has a coordinator
    server = shared_cluster.bootstrap
    first = sarama("produce", server, "2.2.0", topic, "none", COUNT)
    assert sarama("group", server, "2.2.0", topic, topic, COUNT) == first
    second = sarama("produce", server, "2.2.0", topic, "none", COUNT)
    assert sarama("group", server, "2.2.0", topic, topic, COUNT) == second


@pytest.mark.parametrize("version", ["1.0.0", "2.2.0"])
def test_its_admin_creates_extends_configures_and_deletes(shared_cluster, sarama, topic, version):
    printed = sarama("admin", shared_cluster.bootstrap, version, topic)
    assert "segment.bytes=1048576" in printed
    clusters.wait_until(lambda: shared_cluster.metadata([topic])["topics"][0]["error_code"] == 3, "the topic is gone")
