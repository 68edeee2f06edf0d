"""Workloads of several cells: a run goes through those that --cells names, and each has figures of its own."""
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


class Workload:
    """A subclass has a `name`, `cells`, and maybe figures of a whole run."""

    of_run = ()

    def __init__(self, options):
        self.options = options
        names = options.cells or [cell.name for cell in self.cells]
        self.wanted = [cell for cell in self.cells if cell.name in names]
        if not self.wanted:
            raise SystemExit(f"{self.name} has the cells {', '.join(cell.name for cell in self.cells)}")
        self.figures = [figure for cell in self.wanted for figure in cell.figures()] + list(self.of_run)


def together(reports, sums=()):
    """One report of those of all cells: {cell's name: report}. sums: what else of them is added up."""
    found = {"cells": reports}
    for key, fold in {**TOGETHER, **dict.fromkeys(sums, sum)}.items():
        values = [one[key] for one in reports.values() if key in one]
        if values:
            found[key] = fold(values)
    return found


def compare(who, made, read, times=1):
    """What is read must be what was produced, so many times, and nothing else."""
    for key in CHECKED:
        if read[key] != made[key] * times % 2**64:
            raise SystemExit(f"bench: {who}: {key} read is {read[key]}, produced {made[key]} x {times}")
