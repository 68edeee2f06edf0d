"""Running bench_load, and what the measured processes used meanwhile."""
import json
import os
import subprocess

import machine
import usage

LOAD_TIMEOUT_S = 600
GENERATOR_BOUND = 0.8
TIMED = "latency"  # the mode of which --realtime puts the load above all others: it wakes, looks at the clock, sends


class Skip(Exception):
    """This peer, or this workload, cannot be had here, and why. From open() of a workload: the peer is left out;
    from run(): the workload is."""


def program(options):
    return os.path.join(options.build, "bench", "bench_load")


def command(options, mode, words):
    above = ["chrt", "-f", str(machine.REALTIME_ABOVE)] if mode == TIMED and getattr(options, "realtime", False) else []
    line = [*above, program(options), mode]
    return line + [word for key, value in words.items() if value is not None for word in ("--" + key, str(value))]


def start(options, mode, words):
    words = {key.replace("_", "-"): value for key, value in words.items()}
    return subprocess.Popen(command(options, mode, words), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, preexec_fn=machine.end_with_parent)


def end(process, mode, who, line=None):
    """Let it run to its end; its report. Any loss or refusal ends the program."""
    try:
        out, err = process.communicate(line, LOAD_TIMEOUT_S)
    finally:
        process.kill()
        process.wait()
    if process.returncode != 0:
        raise SystemExit(f"bench: {who}: {mode} failed\n{err}")
    report = json.loads(out)
    report["generator_bound"] = report["generator_core"] > GENERATOR_BOUND
    return report


def load(options, mode, who, **words):
    """Run it; its report."""
    return end(start(options, mode, words), mode, who)


def measured(options, mode, peer, **words):
    """The same, with what the peer's processes used meanwhile: see usage.py. What it takes them that the load connects, and
    asks where logs end, is no part of it: it waits until the window is open."""
    process = start(options, mode, {**words, "meet": 1})
    if process.stdout.readline() != "ready\n":
        raise SystemExit(f"bench: {peer.name}: {mode} failed\n{process.communicate()[1]}")
    with usage.Window(peer, [process.pid]) as window:
        return window.finish(end(process, mode, peer.name, "\n"))
