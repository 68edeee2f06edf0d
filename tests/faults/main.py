"""The command scripts/faults: which faults, one run for each, and the table at the end."""
import argparse
import json
import os
import signal
import sys
import tempfile
import time

import run  # first: it knows where modules are
import measure  # pylint: disable=wrong-import-order
import network  # pylint: disable=wrong-import-order
import scene as scenes  # pylint: disable=wrong-import-order

INTERRUPTED = 128 + signal.SIGINT
HEAD = f"{'fault':30} {'times':>5} {'acknowledged':>12} {'unknown':>8} {'read':>10} {'commits':>8} " \
       f"{'problems':>8} {'unavailable ms: median':>23} {'max':>8}"


def row_text(row):
    away = row["unavailable_ms"]
    return (f"{row['fault']:30} {row['times']:5} {row['acknowledged']:12} {row['unknown']:8} {row['read']:10} "
            f"{row['commits']:8} {sum(row['problems'].values()):8} {away.get('median', 0):23} {away.get('max', 0):8}")


def figures(rows):
    """The figures that are measured over all runs: name -> (what is asked for, spread)."""
    session_ms = run.SESSION_S * 1000
    kills = [s for row in rows if row["fault"] in ("kill-leader", "kill-controller") for s in row["samples"]["kill"]]
    return {
        "kill -9 of a leader: a partition is written to again": (f"{session_ms + 500:g} ms at most",
                                                                measure.spread(kills)),
        "controlled shutdown: gap of a partition": ("100 ms at most, p99", measure.spread(
            [s for row in rows for s in row["samples"]["shutdown"]])),
        "a disk hangs: others lead": ("10000 ms at most", measure.spread(
            [s for row in rows for s in row["samples"]["hung"]])),
    }


def print_end(rows, passed, failed, skipped):
    print("\n" + HEAD)
    for row in rows:
        print(row_text(row))
    print()
    for name, (asked, spread) in figures(rows).items():
        if spread["count"]:
            print(f"{name} ({asked}): {spread['count']} times, min {spread['min']}, median {spread['median']}, "
                  f"p99 {spread['p99']}, max {spread['max']} ms")
    for row in rows:
        for text in row["errors"] + row["long"]:
            print(f"{row['fault']}: {text}")
    print(f"{sum(row['times'] for row in rows)} faults, {sum(row['acknowledged'] for row in rows)} acknowledged "
          f"records checked")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")


def print_list():
    known = {}
    for one in scenes.FAULTS.values():
        reason = scenes.why_not(one, known)
        print(f"{one.name:30} {one.about}" + (f"  [skipped here: {reason}]" if reason else ""))


def parse(arguments):
    parser = argparse.ArgumentParser(prog="scripts/faults", description="Break a cluster on purpose and check it.")
    parser.add_argument("--list", action="store_true", help="the faults")
    parser.add_argument("--run", metavar="NAME", action="append", default=[], help="one of them; may be repeated")
    parser.add_argument("--all", action="store_true", help="every one")
    parser.add_argument("--seconds", type=float, default=30.0, help="of faults, for each (default 30)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=int, default=5000, help="records per second (default 5000)")
    parser.add_argument("--binary", help="barnabasd (default: of build/asan, or of BARNABAS_BUILD)")
    parser.add_argument("--json", metavar="FILE", help="the table and all figures, written again after each fault")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.run if name not in scenes.FAULTS]
    if unknown:
        parser.error(f"no such fault: {', '.join(unknown)}; scripts/faults --list shows them")
    if options.seconds < 0 or options.rate < 1:
        parser.error("--seconds is 0 or more, --rate 1 or more")
    return options


def save(path, options, rows, failures, skipped):
    if path:
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"seconds": options.seconds, "seed": options.seed, "rate": options.rate, "rows": rows,
                       "failures": failures, "skipped": skipped,
                       "figures": {name: {"asked": asked, **spread}
                                   for name, (asked, spread) in figures(rows).items()}}, file, indent=1)


def run_all(options, base, rows, failures, skipped):
    """What is asked for, one after another, into these."""
    known = {}
    for name in list(scenes.FAULTS) if options.all else options.run:
        reason = scenes.why_not(scenes.FAULTS[name], known)
        if reason:
            skipped[name] = reason
            print(f"{name:30} skipped: {reason}", flush=True)
            save(options.json, options, rows, failures, skipped)
            continue
        begun = time.monotonic()
        try:
            rows.append(run.run_one(name, options.seconds, options.seed, options.rate, os.path.join(base, name),
                                    options.binary))
            rows[-1]["seconds"] = round(time.monotonic() - begun)
            print(row_text(rows[-1]), flush=True)
        except (run.Failed, OSError) as problem:  # OSError: what it had set up cannot be taken down
            failures[name] = str(problem)
            print(f"{name:30} FAILED\n{problem}", flush=True)
        save(options.json, options, rows, failures, skipped)


def main(arguments):
    options = parse(arguments)
    network.enter()
    if options.list or not (options.run or options.all):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # a reader that has seen enough, such as head, is no error
        print_list()
        return 0
    missing = run.clusters.missing(options.binary)
    if not missing and run.history.built(run.history.PROGRAM, options.binary) is None:
        missing = f"no {run.history.PROGRAM} in build/asan or build/dev"
    if missing:
        sys.exit(f"error: {missing}\nWhat to do: scripts/deps test && cmake --preset asan && cmake --build build/asan")
    rows, failures, skipped, interrupted = [], {}, {}, False
    try:
        save(options.json, options, rows, failures, skipped)  # whether it can be is to be known before the first hour
    except OSError as problem:
        sys.exit(f"error: --json {options.json}: {problem.strerror}")
    base = tempfile.mkdtemp(prefix="barnabas-faults-")
    print(HEAD, flush=True)
    try:
        run_all(options, base, rows, failures, skipped)
    except KeyboardInterrupt:
        interrupted = True
        print(f"ended in the middle; what that run left is in {base}", flush=True)
    if not failures and not interrupted:  # nothing in it is kept
        os.rmdir(base)
    print_end(rows, len(rows), len(failures), len(skipped))
    return INTERRUPTED if interrupted else 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
