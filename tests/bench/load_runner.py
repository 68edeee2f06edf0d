"""Running bench_load, and what the measured processes used meanwhile."""
import json
import os
import subprocess

import machine

LOAD_TIMEOUT_S = 600
GENERATOR_BOUND = 0.8


def command(options, mode, words):
    line = [os.path.join(options.build, "bench", "bench_load"), mode]
    return line + [word for key, value in words.items() if value is not None for word in ("--" + key, str(value))]


def load(options, mode, who, **words):
    """Run it to its end; its report. Any loss or refusal ends the program."""
    words = {key.replace("_", "-"): value for key, value in words.items()}
    done = subprocess.run(command(options, mode, words), capture_output=True, text=True, timeout=LOAD_TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise SystemExit(f"bench: {who}: {mode} failed\n{done.stderr}")
    report = json.loads(done.stdout)
    report["generator_bound"] = report["generator_core"] > GENERATOR_BOUND
    return report


def measured(options, mode, peer, **words):
    """The same, with the processor time, context switches and memory of the peer's processes."""
    cpu, switches = sum(map(machine.cpu_seconds, peer.pids)), sum(map(machine.context_switches, peer.pids))
    report = load(options, mode, peer.name, **words)
    report["cpu_s"] = sum(map(machine.cpu_seconds, peer.pids)) - cpu
    report["switches"] = sum(map(machine.context_switches, peer.pids)) - switches
    report["loaded_mb"] = sum(map(machine.resident_mb, peer.pids))
    return report
