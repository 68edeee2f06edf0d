"""Figures that many workloads have, of reports of bench_load (see load_runner.measured) or of what looks like them."""
from machine import MB
from report import Figure


def generator_per_gb(report):
    """What the load took of the processors for a gigabyte, in s. It is the same program in each run, so where this differs
    between runs of one peer, the machine was faster or slower, and the peer's CPU differs with it."""
    return report["generator_core"] * report["seconds"] / report["bytes"] * 1e9


ANSWERS = [Figure(f"{key}_{which}", f"{title} {which}", "us", lambda r, k=key, w=which: r[k][w], group=title, label=which)
           for key, title in (("answer_us", "answer"), ("end_to_end_us", "end to end"))
           for which in ("p50", "p99", "p99.9", "max")]
COSTS = [
    Figure("cpu_per_gb", "CPU per GB", "s", lambda r: r["cpu_s"] / r["bytes"] * 1e9, main=True),
    Figure("cpu_per_message", "CPU per million messages", "s", lambda r: r["cpu_s"] / r["records"] * 1e6, main=True),
    Figure("cpu_per_request", "CPU per request", "us", lambda r: r["cpu_s"] / r["requests"] * 1e6),
    Figure("kernel_per_gb", "the kernel's threads, CPU per GB", "s", lambda r: r["kernel_cpu_s"] / r["bytes"] * 1e9),
    Figure("generator_per_gb", "the generator's CPU per GB", "s", generator_per_gb),
    Figure("switches", "context switches per request", "", lambda r: r["switches"] / r["requests"]),
    Figure("syscalls", "system calls per request", "", lambda r: r["syscalls"] / r["requests"], counted=True),
    Figure("disk_per_byte", "bytes to disk per byte", "", lambda r: r["disk_bytes"] / r["bytes"]),
]
RATES = [
    Figure("mb_s", "throughput", "MB/s", lambda r: r["bytes"] / r["seconds"] / MB, main=True),
    Figure("messages_s", "messages", "/s", lambda r: r["records"] / r["seconds"]),
    Figure("requests_s", "requests", "/s", lambda r: r["requests"] / r["seconds"]),
]
REST = [
    Figure("loaded_mb", "resident, loaded", "MB", lambda r: r["loaded_mb"], main=True),
    Figure("loaded_pss_mb", "resident, loaded, Pss", "MB", lambda r: r["loaded_pss_mb"]),
    Figure("generator_core", "generator's share of a core", "", lambda r: r["generator_core"]),
]
# Of a peer's facts, once for each time that it was started
OPENING = [
    Figure("ready_ms", "ready after its start", "ms", lambda f: f["ready_ms"]),
    Figure("idle_mb", "resident, idle", "MB", lambda f: f["idle_mb"]),
    Figure("idle_pss_mb", "resident, idle, Pss", "MB", lambda f: f["idle_pss_mb"]),
    Figure("cold_cpu_per_gb", "CPU per GB while it warmed up", "s", lambda f: f["cold_cpu_per_gb"]),
]
