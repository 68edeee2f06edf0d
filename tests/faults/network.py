"""Each process of a cluster in a network namespace of its own, and links that can be cut, also one way only.

    network = Network(cluster)              # before it is started: gives each process its address
    network.cut(1, 2)                       # what broker 1 sends does not arrive at broker 2
    network.heal()
    network.lost()                          # packets that did not arrive, in all

This process must be inside a namespace of its own already (enter(), which begins the program again), root inside it:
there are a bridge, a pair of devices for each process, and in the bridge one set of nftables with the pairs of
addresses whose packets are dropped. Nothing has a name outside of it, and nothing has to be removed: when the last
process inside is gone, also by kill -9, the kernel removes it all.
"""
import json
import os
import shutil
import subprocess
import sys

HUB, PREFIX = "10.77.0.1", "10.77.0."
INSIDE = "BARNABAS_FAULTS_INSIDE"
RULES = """table bridge faults {
  set cut { type ipv4_addr . ipv4_addr; }
  counter lost { }
  chain forward { type filter hook forward priority 0; ip saddr . ip daddr @cut counter name lost drop; }
  chain input { type filter hook input priority 0; ip saddr . ip daddr @cut counter name lost drop; }
  chain output { type filter hook output priority 0; ip saddr . ip daddr @cut counter name lost drop; }
}
"""


def run(*command, given=None):
    done = subprocess.run(command, input=given, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def missing_privileges():
    """Why namespaces and mounts of one's own cannot be had here, or None."""
    if os.geteuid() != 0:
        return "it needs root"
    if shutil.which("unshare") is None:
        return "no unshare (package util-linux)"
    done = subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, text=True, check=False)
    return f"no namespace of its own: {done.stderr.strip()}" if done.returncode != 0 else None


def enter():
    """Begin this program again in a network and with mounts of its own, where that is allowed."""
    if INSIDE not in os.environ and missing_privileges() is None:
        os.environ[INSIDE] = "1"
        os.execvp("unshare", ["unshare", "--net", "--mount", "--", sys.executable, *sys.argv])
    if inside() and shutil.which("ip"):
        run("ip", "link", "set", "lo", "up")


def inside():
    return INSIDE in os.environ


def missing():
    """What a Network needs and is not there, or None."""
    if not inside():
        return missing_privileges() or "it is not in a namespace of its own"
    for program, package in (("ip", "iproute2"), ("nft", "nftables")):
        if shutil.which(program) is None:
            return f"no {program} (package {package})"
    try:
        run("nft", "--check", "--file", "-", given=RULES)
        run("ip", "link", "add", "try0", "type", "bridge")
        run("ip", "link", "delete", "try0")
    except OSError as problem:
        return str(problem)
    return None


class Network:
    def __init__(self, cluster):
        self.holders, self.devices = [], []
        self.addresses = {"clients": HUB}
        try:
            run("ip", "link", "add", "hub", "type", "bridge")
            self.devices.append("hub")
            run("ip", "address", "add", f"{HUB}/24", "dev", "hub")
            run("ip", "link", "set", "hub", "up")
            run("nft", "--file", "-", given=RULES)
            for number, process in enumerate(cluster.processes, 11):
                self._give_namespace(process, PREFIX + str(number))
        except BaseException:
            self.close()
            raise

    def _give_namespace(self, process, address):
        """Its namespace lives as long as a program that waits for the end of its input, which is ours."""
        holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "ip link set lo up && echo ready && exec cat"],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.holders.append(holder)
        if holder.stdout.readline() != b"ready\n":
            raise OSError(f"no namespace for {process.name}")
        process.host = address
        process.inside = ("nsenter", f"--net=/proc/{holder.pid}/ns/net", "--")
        device = "v" + address.rpartition(".")[2]
        run("ip", "link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", str(holder.pid))
        self.devices.append(device)
        run("ip", "link", "set", device, "master", "hub", "up")
        run(*process.inside, "ip", "address", "add", f"{address}/24", "dev", "eth0")
        run(*process.inside, "ip", "link", "set", "eth0", "up")
        self.addresses[process.name] = address

    def _address(self, name):
        return self.addresses[f"broker-{name}" if str(name).isdigit() else name]

    def cut(self, sender, receiver):
        """What the one sends to the other is lost from now on. By a broker's id, a process's name, or "clients"."""
        run("nft", "add", "element", "bridge", "faults", "cut",
            f"{{ {self._address(sender)} . {self._address(receiver)} }}")

    def heal(self):
        run("nft", "flush", "set", "bridge", "faults", "cut")

    def lost(self):
        """How many packets the cuts have dropped since the network was made."""
        table = json.loads(run("nft", "--json", "list", "counter", "bridge", "faults", "lost"))
        return next(one["counter"]["packets"] for one in table["nftables"] if "counter" in one)

    def close(self):
        """After the cluster is down: for the next one in the same place. The devices one by one: those of a namespace
        that ends go some time after its last process."""
        subprocess.run(["nft", "delete", "table", "bridge", "faults"], stderr=subprocess.DEVNULL, check=False)
        for device in reversed(self.devices):
            run("ip", "link", "delete", device)
        for holder in self.holders:
            holder.stdin.close()
            holder.wait()
