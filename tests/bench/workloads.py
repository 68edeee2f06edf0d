"""The one registry of workloads: what `scripts/bench --list` shows and `--run` runs.

A workload is a class with
    name, text           for people, a line
    figures              of report.Figure, what is printed and kept of each run
    peers                who can be measured: names, in the order of the table
    __init__(options)    describe(): what its runs do, a line
    open(peer, folder)   a peer for all runs: .facts, .close()
    run(peer)            one run; its report, a dict that figures are made from. SystemExit when anything was lost
"""
import clusters
import streams

ALL = {one.name: one for one in (
    streams.Produce, streams.Consume, streams.Latency, clusters.Failover, clusters.Shutdown, clusters.Partitions,
    clusters.Restart, clusters.Copies, clusters.Flush)}
