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


def load(options, mode, who, **words):
    """Run it to its end; its report. Any loss or refusal ends the program."""
    words = {key.replace("_", "-"): value for key, value in words.items()}
    done = subprocess.run(command(options, mode, words), capture_output=True, text=True, timeout=LOAD_TIMEOUT_S,
                          check=False, preexec_fn=machine.end_with_parent)
    if done.returncode != 0:
        raise SystemExit(f"bench: {who}: {mode} failed\n{done.stderr}")
    report = json.loads(done.stdout)
    report["generator_bound"] = report["generator_core"] > GENERATOR_BOUND
    return report


def measured(options, mode, peer, **words):
    """The same, with what the peer's processes used meanwhile: see usage.py."""
    with usage.Window(peer) as window:
        return window.finish(load(options, mode, peer.name, **words))
