"""Apache Kafka itself, in ZooKeeper mode, as its distribution starts it: shipped server.properties, shipped heap.

It is brought by Maven from its published artifacts into build/peers, once; where no Maven or no registry answers,
bring() says so and the peer is left out. A JVM is measured warm: see warm_s. Nothing of it is changed in favour of
anybody, but for what the machine needs: addresses, folders, and the log to one file.
"""
import datetime
import os
import shutil
import subprocess
import time

import cluster as cluster_module
import machine
import wire
from peers import Brokers

VERSION = "3.9.1"
FOLDER = os.path.join(wire.ROOT, "build", "peers", "kafka-" + VERSION)
JARS = os.path.join(FOLDER, "lib")
BRING_S = 900
DEPENDENCIES = [("org.apache.kafka", "kafka_2.13", VERSION), ("org.apache.kafka", "kafka-tools", VERSION),
                ("org.slf4j", "slf4j-reload4j", "1.7.36")]
POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>barnabas</groupId><artifactId>peer</artifactId><version>1</version>
  <dependencies>
{}
  </dependencies>
</project>
"""
DEPENDENCY = "    <dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>"

# kafka-server-start and kafka-run-class of the distribution
JAVA = ["java", "-Xmx1G", "-Xms1G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
        "-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent", "-XX:MaxInlineLevel=15",
        "-Djava.awt.headless=true"]
# config/server.properties of the distribution
SHIPPED = {"num.network.threads": "3", "num.io.threads": "8", "socket.send.buffer.bytes": "102400",
           "socket.receive.buffer.bytes": "102400", "socket.request.max.bytes": "104857600", "num.partitions": "1",
           "num.recovery.threads.per.data.dir": "1", "offsets.topic.replication.factor": "1",
           "transaction.state.log.replication.factor": "1", "transaction.state.log.min.isr": "1",
           "log.retention.hours": "168", "log.retention.check.interval.ms": "300000",
           "zookeeper.connection.timeout.ms": "18000", "group.initial.rebalance.delay.ms": "0"}
LOG4J = """log4j.rootLogger=INFO, out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=[%d] %p %m (%c)%n
"""
STARTED = " started (kafka.server.KafkaServer)"
WARM_S, WARM_QUICK_S = 60, 5
QUIET_CORES, QUIET_WINDOW_S = 0.05, 1.0


def bring():
    """None when Kafka is there, after bringing it where it is not; else why it cannot be had, for people."""
    if os.path.isdir(JARS):
        return None
    if shutil.which("mvn") is None or shutil.which("java") is None:
        return "no mvn and java (packages maven, default-jre-headless)"
    os.makedirs(FOLDER, exist_ok=True)
    with open(os.path.join(FOLDER, "pom.xml"), "w", encoding="utf-8") as pom:
        pom.write(POM.format("\n".join(DEPENDENCY.format(*one) for one in DEPENDENCIES)))
    partial = JARS + ".new"
    shutil.rmtree(partial, ignore_errors=True)
    command = ["mvn", "-B", "-q", "-f", pom.name, "dependency:copy-dependencies", "-DincludeScope=runtime",
               f"-DoutputDirectory={partial}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=BRING_S, check=False)
    except subprocess.TimeoutExpired:
        return f"Maven did not bring Kafka {VERSION} within {BRING_S} s"
    if done.returncode != 0:
        said = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line]
        return f"Maven cannot bring Kafka {VERSION}: {said[0] if said else 'no reason given'}"
    os.rename(partial, JARS)
    return None


def class_path():
    return os.path.join(JARS, "*")


class KafkaBroker(cluster_module.Broker):
    """A process of Kafka's in the place of barnabasd."""

    def launch(self):
        self.configure()
        log4j = os.path.join(self.folder, "log4j.properties")
        with open(log4j, "w", encoding="ascii") as file:
            file.write(LOG4J)
        self.launched = datetime.datetime.now()
        self.spawn([*JAVA, f"-Dlog4j.configuration=file:{log4j}", "-cp", class_path(), "kafka.Kafka",
                    os.path.join(self.folder, "server.properties")])

    def ready(self):
        return STARTED in self.log_text() and super().ready()

    def ready_ms(self):
        """From the start of the process to Kafka's own word that it serves, as its log has it."""
        line = next(line for line in self.log_text().splitlines() if line.endswith(STARTED))
        said = datetime.datetime.strptime(line[1:].partition("]")[0], "%Y-%m-%d %H:%M:%S,%f")
        return round((said - self.launched).total_seconds() * 1000)


class Kafka(Brokers):
    """One broker."""

    name = "kafka"
    slow_to_warm = True

    def __init__(self, options, folder, config=None, count=None):
        self.warm_s = options.warm if options.warm is not None else WARM_QUICK_S if options.quick else WARM_S
        super().__init__(options, folder, config, count)
        self.ready_ms = self.broker.ready_ms()  # of the first start

    def make_cluster(self, options, folder, count, keys):
        """--override is for Barnabas."""
        own = {key: keys[key] for key in keys if key not in [pair.split("=", 1)[0] for pair in options.override]}
        return cluster_module.Cluster(folder, brokers=count, config={**SHIPPED, **own}, broker_class=KafkaBroker)

    def is_quiet(self):
        """As quiet as a JVM gets: its threads look around now and then."""
        now, used = time.monotonic(), sum(machine.cpu_seconds(pid) for pid in self.pids)
        then, before = getattr(self, "looked", (now, used))
        if now - then >= QUIET_WINDOW_S or not hasattr(self, "looked"):
            self.looked = (now, used)
        return now - then >= QUIET_WINDOW_S and (used - before) / (now - then) < QUIET_CORES * len(self.pids)

    @property
    def facts(self):
        return {**self.common_facts(), "ready_ms": self.ready_ms}


class KafkaThree(Kafka):
    count = 3
