"""The one registry of workloads: what `scripts/bench --list` shows and `--run` runs.

A workload is a class with
    name, text           for people, a line
    figures              of report.Figure, what is printed and kept of each run
    peers                who can be measured: names, in the order of the table
    __init__(options)    describe(): what its runs do, a line
    open(peer, folder)   a peer, for one visit: .facts, .close(); .pids and .name where load_runner.measured() is used.
                         Every visit has a new one in an empty folder. load_runner.Skip(reason): it cannot be had here
    run(peer)            one run; its report, a dict that figures are made from. SystemExit when anything was lost; or
                         "lost", "refused" in the report: then no ratio with this peer is printed, and the status is 1
and may have
    again = False        the first peer is not measured against itself (it is, so that it shows how far to trust ratios)
    open_loop = True     its rate is given: a JVM is warm after its minute, however few messages that were
    warms = False        a peer that is slow to warm up (.warm_s, a JVM) is not warmed up: it is killed in each run
    warm_run = False     a fresh peer's first run counts: it is long, or warms the peer up itself (else one goes before it)
A report of load_runner.measured(), or of what has a usage.Window around its load, has what figures.py makes figures of;
"foreign" in it says that others were at work, and such a run may be repeated.
"""
import batches
import clusters
import consumers
import copies
import durable
import groups
import kafka_tools
import latencies
import many
import neutral
import replicas
import small
import streams

ALL = {one.name: one for one in (
    streams.Produce, streams.Consume, streams.Latency, clusters.Failover, clusters.Shutdown, clusters.Partitions,
    clusters.Restart, copies.Copies, copies.CopiesOfOne, copies.CopiesOfClient,
    consumers.Tail, consumers.Tail8, consumers.Polls, consumers.Cold, consumers.Crowd,
    neutral.Neutral, neutral.NeutralThree, latencies.LatencyThree, latencies.LatencyOne, kafka_tools.Tools,
    small.Small, small.OneCore, many.Many10000, many.Many1000,
    batches.Batches, replicas.Replicas, durable.Flush, durable.FlushLatency,
    groups.Group100, groups.Group500)}
