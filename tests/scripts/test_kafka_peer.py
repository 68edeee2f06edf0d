"""tests/bench/kafka_peer.py where Maven brings Kafka, and where it does not. Maven is a stand-in."""
import os
import re
import sys

import pytest
import wire

sys.path.insert(0, os.path.join(wire.ROOT, "tests", "bench"))
import kafka_peer  # noqa: E402  pylint: disable=wrong-import-position
import peers  # noqa: E402  pylint: disable=wrong-import-position


@pytest.fixture
def mvn(tmp_path, monkeypatch):
    """mvn(script): a Maven that does this; nothing else is on the path but a java."""
    monkeypatch.setattr(kafka_peer, "FOLDER", str(tmp_path / "peers"))
    monkeypatch.setattr(kafka_peer, "JARS", str(tmp_path / "peers" / "lib"))
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def make(script, name="mvn"):
        (folder / name).write_text("#!/bin/sh\n" + script)
        (folder / name).chmod(0o755)

    make("exit 0\n", "java")
    return make


OUT = 'for word; do case "$word" in -DoutputDirectory=*) out="${word#*=}";; esac; done\n'


def test_it_is_brought_once(mvn, tmp_path):
    mvn(OUT + f'/bin/mkdir -p "$out" && echo x >"$out/kafka.jar" && echo "$*" >>{tmp_path}/asked\n')
    assert kafka_peer.bring() is None and kafka_peer.bring() is None
    assert os.listdir(kafka_peer.JARS) == ["kafka.jar"]
    assert (tmp_path / "asked").read_text().count("dependency:copy-dependencies") == 1
    pom = (tmp_path / "peers" / "pom.xml").read_text()
    assert f"<artifactId>kafka_2.13</artifactId><version>{kafka_peer.VERSION}</version>" in pom


def test_where_no_registry_answers_the_reason_is_mavens_and_nothing_half_is_left(mvn):
    mvn(OUT + '/bin/mkdir -p "$out" && echo x >"$out/half.jar"\n'
        "echo '[INFO] trying'; echo '[ERROR] Could not transfer artifact: unknown host'; exit 1\n")
    assert kafka_peer.bring() == (f"Maven cannot bring Kafka {kafka_peer.VERSION}:"
                                  " [ERROR] Could not transfer artifact: unknown host")
    assert not os.path.exists(kafka_peer.JARS)


def test_without_maven_it_says_so(mvn):
    assert kafka_peer.bring() == "no mvn and java (packages maven, default-jre-headless)"


# Of a topic that no figure is about, of transactions, and a time that only a start without ZooKeeper takes.
NOT_MEASURED = ("offsets.topic.", "transaction.", "zookeeper.connection.timeout.ms")


def test_what_kafkas_shipped_properties_change_is_the_same_for_its_contestants():
    """javatools counted 3 s in which Barnabas waits for more members as reading; Kafka's shipped properties have none."""
    with open(os.path.join(wire.ROOT, "broker", "config", "keys.def"), encoding="utf-8") as file:
        defaults = dict(re.findall(r'^KEY\(\w+, "([^"]+)", \w+, "([^"]*)"', file.read(), re.MULTILINE))
    changed = {key: value for key, value in kafka_peer.SHIPPED.items()
               if defaults.get(key) != value and not key.startswith(NOT_MEASURED)}
    assert "group.initial.rebalance.delay.ms" in changed
    assert {key: peers.CONFIG.get(key) for key in changed} == changed
