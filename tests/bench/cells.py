"""Workloads of several cells: a run goes through all of them, and each has figures of its own."""
from figures import generator_per_gb
from report import Figure

CHECKED = ("records", "bytes", "checksum")
TOGETHER = {"foreign": max, "generator_bound": any, "loaded_mb": max, "loaded_pss_mb": max}


class Cell:
    """A shape of the load. `goal` binds its processor time per gigabyte."""

    def __init__(self, name, batch_bytes, partitions, goal):
        self.name, self.batch_bytes, self.partitions, self.goal = name, batch_bytes, partitions, goal

    def figure(self, key, title, unit, make, goal=None, **more):
        return Figure(f"{self.name}-{key}", f"{self.name}: {title}", unit, lambda r: make(r["cells"][self.name]), goal, **more)

    def figures(self):
        yield self.figure("cpu_per_gb", "CPU per GB", "s", lambda r: r["cpu_s"] / r["bytes"] * 1e9, self.goal, main=True)
        yield self.figure("mb_s", "throughput", "MB/s", lambda r: r["bytes"] / r["seconds"] / 1e6)
        for which in ("p50", "p99"):
            yield self.figure(f"answer_{which}", f"answer {which}", "us", lambda r, which=which: r["answer_us"][which])
        yield self.figure("switches", "switches per request", "", lambda r: r["switches"] / r["requests"])
        yield self.figure("page_faults", "page faults per request", "", lambda r: r["page_faults"] / r["requests"])
        yield self.figure("syscalls", "system calls per request", "", lambda r: r["syscalls"] / r["requests"], counted=True)
        yield self.figure("generator_per_gb", "generator's CPU per GB", "s", generator_per_gb)
        yield self.figure("generator_core", "generator's share", "", lambda r: r["generator_core"])

    def load(self, options, record_bytes=1000, overhead=10):
        """For bench_load, the options' megabytes in batches of about this size."""
        records = max(1, self.batch_bytes // (record_bytes + overhead))
        requests = max(1, round(options.mb * 1e6 / (records * (record_bytes + overhead))))
        return {"records": records, "record_bytes": record_bytes, "requests": requests, "partitions": self.partitions}


def chosen(workload, all_cells, names):
    """Those of these names (with commas; None: all)."""
    wanted = [cell for cell in all_cells if names is None or cell.name in names.split(",")]
    if not wanted:
        raise SystemExit(f"{workload} has the cells {', '.join(cell.name for cell in all_cells)}")
    return wanted


def together(reports):
    """One report of those of all cells: {cell's name: report}."""
    return {"cells": reports, **{key: fold(one[key] for one in reports.values() if key in one)
                                 for key, fold in TOGETHER.items() if any(key in one for one in reports.values())}}


def compare(who, made, read):
    """What is read must be what was produced, once."""
    for key in CHECKED:
        if read[key] != made[key]:
            raise SystemExit(f"bench: {who}: {key} read is {read[key]}, produced {made[key]}")
