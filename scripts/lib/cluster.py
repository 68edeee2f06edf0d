"""A cluster of real processes under one folder: ZooKeepers and brokers on loopback.

    with Cluster("/tmp/c", brokers=3) as cluster:      # starts it; stops it and ends every process on the way out
        producer = KafkaProducer(bootstrap_servers=cluster.bootstrap)
        cluster.kill(2)                                # SIGKILL to broker 2
        cluster.wait(lambda: cluster.metadata()["controller_id"] != 2, "another controller")
        cluster.start(2)                               # again, on the same port and data; returns when it serves
        cluster.kill("zookeeper-1", signal.SIGSTOP)

A broker is named by its id, 1 to N, or "broker-1"; a ZooKeeper is "zookeeper-1".

In the folder: cluster.json (what the cluster is made of), and for each process a folder of its name with `log`,
`data`, its configuration, and while it runs `pid`. So another process can take over: Cluster.open(folder).

Ports: those given, or free ones. Free ports are held for as long as this object lives, by sockets that are bound
but do not listen: no other program is given them, not even while the broker is down, yet the broker can bind them.

Nothing is left behind: leaving the `with` ends all processes, and when this process itself is killed, a keeper
(a second Python process that reads a pipe) ends them. Whoever wants the cluster to live on calls detach().
A pid is used only after a look at the process's start time, so that a stranger with a reused pid is never hit.

Waiting is polling with a deadline. A ClusterError says what did not happen, with the ends of the logs concerned.
"""
import atexit
import glob
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import wire

HOST = "127.0.0.1"
PAUSE_S = 0.02
# How many times as long as usual is waited for what does not come: the tests', for machines that are slow, or busy.
PATIENCE = float(os.environ.get("BARNABAS_PATIENCE", "1"))
START_S, STOP_S, WAIT_S, CALL_S = (PATIENCE * seconds for seconds in (60.0, 45.0, 60.0, 10.0))
LOG_TAIL_LINES = 15
JAVA = ["java", "-Xms32m", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]
CLASS_PATH = ["/usr/share/java/zookeeper.jar", "/usr/share/java/slf4j-simple.jar"]
ZOOKEEPER_MAIN = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
REPORTS = re.compile(r"ERROR: (Address|Leak|Thread)Sanitizer|WARNING: ThreadSanitizer|runtime error: |"
                     r"barnabas: assertion failed: |barnabas: out of memory")  # sanitizers, common/base/must.c and mem.c
ASKED_TO_END = (signal.SIGKILL, signal.SIGTERM)  # whoever ends by another signal has crashed


class ClusterError(Exception):
    """Something did not happen in time, or a process is not what it should be."""


class NoAnswer(ClusterError):
    """Brokers were asked, and the time was too short for an answer."""


def os_problem(problem, place):
    """What the system did not do, for people. Of a write it does not say where: below this place, then."""
    return f"{problem.filename or place}: {problem.strerror or problem}"


def default_binary():
    """barnabasd of the build named by BARNABAS_BUILD (a folder, or a preset's name), else of build/asan."""
    build = os.environ.get("BARNABAS_BUILD", "asan")
    folder = build if os.sep in build else os.path.join("build", build)
    return os.path.join(wire.ROOT, folder, "barnabasd")


def default_folder():
    """Where scripts/cluster and scripts/quickstart keep theirs."""
    return os.path.abspath(os.environ.get("BARNABAS_CLUSTER") or os.path.join(wire.ROOT, "build", "cluster"))


def missing(binary=None):
    """What a cluster needs and is not there, as text for people, or None."""
    if shutil.which("java") is None:
        return "no java (package default-jre-headless)"
    for path in CLASS_PATH:
        if not os.path.exists(path):
            return f"no {path} (packages zookeeper and libslf4j-java)"
    binary = binary or default_binary()
    return None if os.access(binary, os.X_OK) else f"no {binary} (build it first)"


def wait_until(condition, what, seconds=WAIT_S, pause=PAUSE_S):
    """The first true value of condition(). ClusterError when there is none in time."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise ClusterError(f"not within {seconds:g} s: {what}")
        time.sleep(pause)


# ------------------------------------------------------------------ ports


PORT_LOWEST, PORT_TRIES = 10240, 200


def port_range():
    """Ports that the system gives to no outgoing connection: one of those could sit on a server's port while the
    server is down, when nobody holds it for it."""
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
            lowest, highest = map(int, file.read().split())
    except (OSError, ValueError):
        lowest, highest = 32768, 60999
    if lowest - PORT_LOWEST >= 1000:
        return range(PORT_LOWEST, lowest)
    return range(highest + 1, 65536) if 65535 - highest >= 1000 else None


class Ports:
    """Free ports of loopback, held until close()."""

    def __init__(self):
        self.sockets = []
        self.range = port_range()

    def _bind(self, held):
        for _ in range(PORT_TRIES if self.range else 0):
            try:
                held.bind((HOST, random.choice(self.range)))
                return
            except OSError:
                pass  # taken
        held.bind((HOST, 0))

    def take(self):
        """A port that nobody else gets. The order matters: bound without SO_REUSEADDR the port is surely free;
        with it set afterwards, a server that sets it too can bind and listen, for this socket never listens."""
        held = socket.socket()
        self._bind(held)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sockets.append(held)
        return held.getsockname()[1]

    def close(self):
        for held in self.sockets:
            held.close()
        self.sockets = []


def port_is_free(port, host=HOST):
    """Whether a server could listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError:
            return False
    return True


def listener_of(port):
    """Who listens on a port, as text for people: "process 4711 (java ...)", as far as this user may know."""
    sockets = set()
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(name, encoding="ascii") as table:
            rows = [line.split() for line in list(table)[1:]]
        sockets |= {f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if any(os.readlink(fd.path) in sockets for fd in os.scandir(f"/proc/{pid}/fd")):
                with open(f"/proc/{pid}/cmdline", "rb") as cmdline:
                    return f"process {pid} ({cmdline.read().replace(bytes(1), b' ').decode(errors='replace')[:100].strip()})"
        except OSError:
            continue  # gone, or another user's
    return "another user's process"


# ------------------------------------------------------------------ the keeper


class _Keeper:
    """One per process that has clusters. It waits for this process's end and then kills what is left."""

    def __init__(self):
        self.lock = threading.Lock()
        self.process = None

    def tell(self, word, folder):
        with self.lock:
            if self.process is None:
                self.process = subprocess.Popen(
                    [sys.executable, os.path.abspath(__file__), "keep"], stdin=subprocess.PIPE, text=True,
                    start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                atexit.register(self.close)
            self.process.stdin.write(f"{word} {folder}\n")
            self.process.stdin.flush()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


_keeper = _Keeper()


def _keep(lines):
    """The keeper's main: lines "watch FOLDER" and "leave FOLDER" until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    folders = set()
    for line in lines:
        word, folder = line.rstrip("\n").split(" ", 1)
        (folders.add if word == "watch" else folders.discard)(folder)
    for folder in folders:
        kill_all(folder)


def kill_all(folder):
    """Kill every process that has a pid file under this folder."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    for name in names:
        process = Process(name, folder)
        if process.alive():
            process.kill(signal.SIGKILL)


# ------------------------------------------------------------------ one process


def _all_stopped(pid):
    """Is every thread of it stopped, gone, or in the kernel until a disk answers, and stopped then?"""
    for path in glob.glob(f"/proc/{pid}/task/*/stat"):
        try:
            with open(path, encoding="ascii", errors="replace") as stat:
                if stat.read().rpartition(")")[2].split()[0] not in "TtZXD":
                    return False
        except (FileNotFoundError, ProcessLookupError):
            continue
    return True


def _process_state(pid):
    """(whether it runs, start time in ticks since boot), or None when there is no such process. A process whose first
    thread is a zombie runs, with its files and ports, as long as it has other threads."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            words = stat.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return words[0] not in "ZX" or int(words[17]) > 1, words[19]


class Process:
    """One process of a cluster; its folder is named after it. Its host may be changed before it is started, and what
    its command begins with: so it can live in a network of its own (tests/faults/network.py)."""
    host = HOST
    inside = ()
    on_start = None  # called with each new process's pid, at once: by scripts/bench --first

    def __init__(self, name, cluster_folder):
        self.name = name
        self.folder = os.path.join(cluster_folder, name)
        self.log_path = os.path.join(self.folder, "log")
        self.pid_path = os.path.join(self.folder, "pid")
        self.child = None  # Popen, where this process started it
        self.ended = []  # the statuses of earlier such lives
        self.port = None

    @property
    def id(self):
        return int(self.name.rpartition("-")[2])

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    @property
    def ports(self):
        return [self.port]

    @property
    def pid(self):
        """The pid of the running process, or None. A pid file whose process is gone, or is another one, is None."""
        try:
            with open(self.pid_path, encoding="ascii") as file:
                pid, started = file.read().split()
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        if self.child is not None and self.child.pid == int(pid):
            self.child.poll()  # reaps it
        state = _process_state(pid)
        return int(pid) if state and state[0] and state[1] == started else None

    def alive(self):
        return self.pid is not None

    def spawn(self, command, env=None):
        if self.alive():
            raise ClusterError(f"{self.name} is running already, as process {self.pid}")
        if self.child is not None:
            self.ended.append(self.status)
        with open(self.log_path, "ab") as log:
            try:
                self.child = subprocess.Popen([*self.inside, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                              cwd=self.folder, env=env, start_new_session=True)
            except OSError as problem:
                raise ClusterError(f"{self.name} cannot be started: {command[0]}: {problem.strerror}") from None
        if Process.on_start is not None:
            Process.on_start(self.child.pid)
        state = _process_state(self.child.pid)
        partial = self.pid_path + ".new"
        with open(partial, "w", encoding="ascii") as file:
            file.write(f"{self.child.pid} {state[1]}\n")
        os.rename(partial, self.pid_path)

    def kill(self, signal_number=signal.SIGKILL):
        """Send a signal. A process that ends by SIGKILL is gone when this returns; after SIGSTOP none of its threads
        runs any more: until the first one has seen the signal, the others may do a request or two."""
        pid = self.pid
        if pid is None:
            raise ClusterError(f"{self.name} is not running\n{self.log_tail()}")
        os.kill(pid, signal_number)
        if signal_number == signal.SIGKILL:
            self.wait_gone()
        elif signal_number == signal.SIGSTOP:
            wait_until(lambda: _all_stopped(pid), f"{self.name} to stand still", pause=0.001)

    def wait_gone(self, seconds=STOP_S):
        wait_until(lambda: not self.alive(), f"the end of {self.name}", seconds, pause=0.005)

    def ask_to_stop(self):
        """SIGTERM; a stopped (SIGSTOP) process is let go on, or it would never see it."""
        pid = self.pid
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            os.kill(pid, signal.SIGCONT)

    def finish(self, seconds=STOP_S):
        """Wait for the end after ask_to_stop(); kill it when it takes too long. Text of what was wrong, or None."""
        try:
            self.wait_gone(seconds)
        except ClusterError:
            tail = self.log_tail()
            self.kill(signal.SIGKILL)
            return f"{self.name} did not stop within {seconds:g} s and was killed\n{tail}"
        finally:
            if os.path.exists(self.pid_path):
                os.unlink(self.pid_path)
        return None

    @property
    def status(self):
        """The exit status (negative: the signal), where this process started it and it is over; else None."""
        return None if self.child is None else self.child.poll()

    def crashes(self):
        """The signals by which it ended and that nobody sends, of all its lives."""
        return [-status for status in [*self.ended, self.status]
                if status is not None and status < 0 and -status not in ASKED_TO_END]

    def log_text(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as log:
                return log.read()
        except FileNotFoundError:
            return ""

    def log_tail(self, lines=LOG_TAIL_LINES):
        text = "\n".join("  " + line for line in self.log_text().splitlines()[-lines:])
        return f"the end of {self.log_path}:\n{text or '  (empty)'}"

    def reports(self):
        """Lines in which a sanitizer, or an assertion, says what went wrong."""
        return [line for line in self.log_text().splitlines() if REPORTS.search(line)]

    def wait_ready(self, is_ready, seconds=START_S):
        def over():
            if not self.alive():
                raise ClusterError(f"{self.name} ended while starting (status {self.status})\n{self.log_tail()}")
            return is_ready()

        try:
            wait_until(over, f"{self.name} serving", seconds)
        except ClusterError as problem:
            raise ClusterError(f"{problem}\n{self.log_tail()}") from None


# ------------------------------------------------------------------ ZooKeeper


ASK_S = 0.5  # where who waits asks again: a word that comes while ZooKeeper begins to listen may never be answered


def ask_zookeeper(address, word, seconds=ASK_S):
    """The answer to a four-letter word, or "" when there is none in time."""
    host, port = address.rsplit(":", 1)
    try:
        with socket.create_connection((host, int(port)), seconds) as connection:
            connection.sendall(word.encode())
            parts = []
            while part := connection.recv(4096):
                parts.append(part)
            return b"".join(parts).decode(errors="replace")
    except OSError:
        return ""


class ZooKeeper(Process):
    def __init__(self, number, cluster, ports):
        super().__init__(f"zookeeper-{number}", cluster.folder)
        self.cluster = cluster
        self.port, self.peer_port, self.election_port = ports

    @property
    def ports(self):
        alone = len(self.cluster.zookeepers) == 1
        return [self.port] if alone else [self.port, self.peer_port, self.election_port]

    def session_max_ms(self):
        """Twenty ticks, which is ZooKeeper's own, or what the cluster's configuration asks for: no quiet cut."""
        asked = str(self.cluster.config.get("zookeeper.session.timeout.ms"))
        return max(20 * self.cluster.tick_ms, int(asked) if asked.isdigit() else 0)

    def configure(self):
        os.makedirs(os.path.join(self.folder, "data"), exist_ok=True)
        lines = [f"tickTime={self.cluster.tick_ms}", "initLimit=20", "syncLimit=10", f"dataDir={self.folder}/data",
                 f"clientPort={self.port}", f"clientPortAddress={self.host}", "admin.enableServer=false",
                 "maxClientCnxns=0", f"maxSessionTimeout={self.session_max_ms()}", "4lw.commands.whitelist=*"]
        peers = self.cluster.zookeepers
        if len(peers) > 1:
            lines += [f"server.{z.id}={z.host}:{z.peer_port}:{z.election_port}" for z in peers]
        with open(os.path.join(self.folder, "zoo.cfg"), "w", encoding="ascii") as file:
            file.write("\n".join(lines) + "\n")
        with open(os.path.join(self.folder, "data", "myid"), "w", encoding="ascii") as file:
            file.write(f"{self.id}\n")

    def launch(self):
        self.configure()
        self.spawn([*JAVA, "-cp", ":".join(CLASS_PATH), ZOOKEEPER_MAIN, f"{self.folder}/zoo.cfg"])

    def mode(self, seconds=ASK_S):
        """standalone, leader or follower; None when it does not serve, or not in time."""
        match = re.search(r"^Mode: (\w+)", ask_zookeeper(self.address, "srvr", seconds), re.MULTILINE)
        return match[1] if match else None

    def ready(self):
        return self.mode() is not None


# ------------------------------------------------------------------ a broker


class Broker(Process):
    def __init__(self, number, cluster, port, config):
        super().__init__(f"broker-{number}", cluster.folder)
        self.cluster = cluster
        self.port = port
        self.config = config  # this broker's own keys, over the cluster's
        self.binary = cluster.binary
        self.env = {}

    def properties(self):
        """Every key of its server.properties. {id}, {port} and {folder} in a value stand for the broker's own."""
        keys = {"broker.id": "{id}", "listeners": f"PLAINTEXT://{self.host}:{{port}}", "log.dirs": "{folder}/data",
                "zookeeper.connect": self.cluster.zookeeper_connect, **self.cluster.config, **self.config}
        own = {"{id}": str(self.id), "{port}": str(self.port), "{folder}": self.folder}
        return {key: re.sub(r"\{(id|port|folder)\}", lambda m: own[m[0]], str(value))
                for key, value in keys.items() if value is not None}

    def configure(self):
        os.makedirs(self.folder, exist_ok=True)
        with open(os.path.join(self.folder, "server.properties"), "w", encoding="utf-8") as file:
            file.writelines(f"{key}={value}\n" for key, value in self.properties().items())

    def launch(self):
        self.configure()
        env = {**os.environ, **self.cluster.env, **self.env}
        self.spawn([self.binary, os.path.join(self.folder, "server.properties")], env)

    def call(self, api, body=None, version=None, seconds=CALL_S):
        """One request to this broker over a connection of its own."""
        with wire.Connection(self.host, self.port, timeout=seconds, connect_timeout=seconds) as kafka:
            return kafka.call(api, body, version)

    def ready(self):
        """It answers, knows of itself, and the cluster that it sees has a controller."""
        try:
            metadata = self.call("Metadata", {"topics": []}, seconds=2.0)
        except wire.WireError:
            return False
        ids = [broker["node_id"] for broker in metadata["brokers"]]
        return self.id in ids and metadata["controller_id"] in ids


# ------------------------------------------------------------------ the cluster


class Cluster:
    """config: keys for every broker; broker_config: {id: keys}. A value of None takes a key out.
    port: the first broker's, the others follow; zookeeper_port likewise; free ones without. broker_class: what a broker
    is; a subclass of Broker that launches something else makes a cluster of that."""

    def __init__(self, folder=None, brokers=1, zookeepers=1, config=None, broker_config=None, binary=None, env=None,
                 tick_ms=500, port=None, zookeeper_port=None, broker_class=Broker):
        self.temporary = folder is None
        self.folder = os.path.abspath(folder or tempfile.mkdtemp(prefix="barnabas-cluster-"))
        self.config = dict(config or {})
        self.env = dict(env or {})
        self.binary = os.path.abspath(binary or default_binary())
        self.tick_ms = tick_ms
        self.ports = Ports()
        self.detached = False
        self.zookeepers = [ZooKeeper(i + 1, self, self._zookeeper_ports(zookeeper_port, i, zookeepers))
                           for i in range(zookeepers)]
        broker_config = broker_config or {}
        self.broker_class = broker_class
        self.brokers = [broker_class(i + 1, self, port + i if port else self.ports.take(),
                                     dict(broker_config.get(i + 1, {}))) for i in range(brokers)]

    def add_broker(self, port):
        """One more; up() starts it."""
        self.brokers.append(self.broker_class(len(self.brokers) + 1, self, port, {}))

    def check_ports(self):
        """ClusterError, naming the taken ports and who has them, unless all that is down could be started."""
        wanted = [(process, port) for process in self.processes if not process.alive() for port in process.ports]
        taken = [f"port {port}, for {process.name}, is taken by {listener_of(port)}"
                 for process, port in wanted if not port_is_free(port)]
        if taken:
            raise ClusterError("; ".join(taken) + ". End that process, or choose other ports.")

    def _zookeeper_ports(self, first, index, count):
        if first is None:
            return [self.ports.take() for _ in range(3)]
        return [first + index, first + count + 2 * index, first + count + 2 * index + 1]

    @classmethod
    def open(cls, folder):
        """The cluster that another process made in this folder. ClusterError when there is none."""
        path = os.path.join(folder, "cluster.json")
        try:
            with open(path, encoding="utf-8") as file:
                return cls._saved(folder, json.load(file))
        except FileNotFoundError:
            raise ClusterError(f"there is no cluster in {folder}") from None
        except (ValueError, KeyError, TypeError) as problem:
            raise ClusterError(f"{path} is not what a cluster is kept as ({problem!r}). Its processes, if any, have their"
                               " pids in the folders beside it.") from None

    @classmethod
    def _saved(cls, folder, saved):
        cluster = cls(folder, 0, 0, saved["config"], None, saved["binary"], saved["env"], saved["tick_ms"])
        cluster.detached = True
        cluster.zookeepers = [ZooKeeper(i + 1, cluster, ports) for i, ports in enumerate(saved["zookeepers"])]
        cluster.brokers = [Broker(i + 1, cluster, one["port"], one["config"])
                           for i, one in enumerate(saved["brokers"])]
        return cluster

    def _save(self):
        try:
            os.makedirs(self.folder, exist_ok=True)
        except OSError as problem:
            raise ClusterError(f"the cluster's folder cannot be made: {problem.filename}: {problem.strerror}") from None
        saved = {"binary": self.binary, "tick_ms": self.tick_ms, "env": self.env, "config": self.config,
                 "zookeepers": [[z.port, z.peer_port, z.election_port] for z in self.zookeepers],
                 "brokers": [{"port": b.port, "config": b.config} for b in self.brokers]}
        path = os.path.join(self.folder, "cluster.json")
        with open(path + ".new", "w", encoding="utf-8") as file:  # where there is no room for it, the old one stays whole
            json.dump(saved, file, indent=1)
        os.replace(path + ".new", path)

    # ---- names and addresses

    @property
    def processes(self):
        return [*self.zookeepers, *self.brokers]

    @property
    def bootstrap(self):
        return ",".join(broker.address for broker in self.brokers)

    @property
    def zookeeper_connect(self):
        return ",".join(zookeeper.address for zookeeper in self.zookeepers)

    def process(self, name):
        """By a broker's id, or by the name of any process."""
        wanted = f"broker-{name}" if str(name).isdigit() else str(name)
        for process in self.processes:
            if process.name == wanted:
                return process
        raise ClusterError(f"there is no {wanted} in {self.folder}, only "
                           + ", ".join(process.name for process in self.processes))

    def broker(self, number):
        return self.process(int(number))

    # ---- life

    def up(self, seconds=START_S):
        """Start everything that does not run, and wait until all brokers know of each other."""
        self._save()
        if not self.detached:
            _keeper.tell("watch", self.folder)
        started = [z for z in self.zookeepers if not z.alive()]
        for zookeeper in started:
            zookeeper.launch()
        for zookeeper in started:
            zookeeper.wait_ready(zookeeper.ready, seconds)
        started = [b for b in self.brokers if not b.alive()]
        for broker in started:
            broker.launch()
        for broker in started:
            broker.wait_ready(broker.ready, seconds)
        self.wait_all_known(seconds)
        return self

    def wait_all_known(self, seconds=WAIT_S):
        """Until every running broker's metadata names every running broker, and no other."""
        def known():
            running = {b.id for b in self.brokers if b.alive()}
            return all(self.broker_ids(b) == running for b in self.brokers if b.alive())

        self.wait(known, "every broker knowing all others", seconds)

    @staticmethod
    def broker_ids(broker):
        """The ids that this broker's metadata names; empty when it does not answer."""
        try:
            return {one["node_id"] for one in broker.call("Metadata", {"topics": []}, seconds=2.0)["brokers"]}
        except wire.WireError:
            return set()

    def start(self, name, seconds=START_S, wait=True):
        """Start one process, on the port and the data that it had."""
        process = self.process(name)
        process.launch()
        if wait:
            process.wait_ready(process.ready, seconds)
        return process

    def kill(self, name, signal_number=signal.SIGKILL):
        self.process(name).kill(signal_number)

    def stop(self, name, seconds=STOP_S):
        """SIGTERM to one process, and wait for its end. ClusterError when it has to be killed."""
        process = self.process(name)
        process.ask_to_stop()
        problem = process.finish(seconds)
        if problem:
            raise ClusterError(problem)

    def down(self, seconds=STOP_S):
        """Stop everything, the brokers first. ClusterError, after all are gone, when one had to be killed."""
        problems = []
        for group in (self.brokers, self.zookeepers):
            for process in group:
                process.ask_to_stop()
            problems += [problem for process in group if (problem := process.finish(seconds))]
        if problems:
            raise ClusterError("\n".join(problems))

    def close(self):
        """End what still runs, at once; give the ports back; remove the folder if it was made here."""
        kill_all(self.folder)
        if not self.detached:
            _keeper.tell("leave", self.folder)
        self.ports.close()
        if self.temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def wipe(self):
        """Remove what it has in its folder, which may have been somebody's before it was its own; then the folder, where
        nothing else is in it. Names of what is left."""
        for process in self.processes:
            shutil.rmtree(process.folder, ignore_errors=not os.path.lexists(process.folder))
        for name in ("cluster.json", "cluster.json.new"):
            if os.path.lexists(os.path.join(self.folder, name)):
                os.unlink(os.path.join(self.folder, name))
        left = sorted(os.listdir(self.folder))
        if not left:
            os.rmdir(self.folder)
        return left

    def detach(self):
        """Let it live on when this process ends."""
        self.detached = True
        _keeper.tell("leave", self.folder)
        self.ports.close()

    def __enter__(self):
        try:
            return self.up()
        except BaseException:
            self.close()
            raise

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.down()
        finally:
            self.close()

    # ---- looking

    def wait(self, condition, what, seconds=WAIT_S):
        """wait_until(), with the ends of the brokers' logs where it fails. A condition for which a broker is asked that is
        slow to answer is not true yet."""
        def is_true():
            try:
                return condition()
            except (wire.Timeout, NoAnswer):
                return False

        try:
            return wait_until(is_true, what, seconds)
        except ClusterError as problem:
            tails = "\n".join(broker.log_tail() for broker in self.brokers)
            raise ClusterError(f"{problem}\n{tails}") from None

    def metadata(self, topics=None):
        """The answer of the first broker that has one. topics: names, or None for all."""
        problems, late = [], False
        wanted = None if topics is None else [{"name": name} for name in topics]
        for broker in self.brokers:
            try:
                return broker.call("Metadata", {"topics": wanted, "allow_auto_topic_creation": False}, seconds=5.0)
            except wire.WireError as problem:
                problems.append(f"{broker.name}: {problem}")
                late = late or isinstance(problem, wire.Timeout)
        raise (NoAnswer if late else ClusterError)("no broker answers: " + "; ".join(problems))

    def controller(self):
        """The id of the controller, or None while there is none."""
        try:
            found = self.metadata([])["controller_id"]
        except ClusterError:
            return None
        return found if found >= 0 else None

    def reports(self):
        """What sanitizers and assertions wrote into the brokers' logs, and who has crashed without a word."""
        return [f"{broker.name}: {line}" for broker in self.brokers for line in
                [*broker.reports(), *(f"ended by signal {number}" for number in broker.crashes())]]


if __name__ == "__main__":
    if sys.argv[1:] != ["keep"]:
        sys.exit("this is a module; the command is scripts/cluster")
    _keep(sys.stdin)
