"""Figures as people and programs read them: a table on the terminal, and one JSON format for every workload.

    {"workload": name, "options": {...}, "machine": {...},
     "figures": [{"key", "title", "unit", "goal"}, ...],      goal: "<= 100", ">= 0.5", or null
     "peers": {peer: {"facts": {...}, "runs": [{key: number, ...}, ...]}}}
"""
import json
import statistics
from dataclasses import dataclass
from typing import Callable, Optional


@dataclass
class Figure:
    """One line of the table. `of` makes it from a run's report; a report without it (KeyError) has no such figure.
    `goal` binds the first peer: "<= 100" on the value, "ratio <= 1.25" on its ratio to the last peer."""
    key: str
    title: str
    unit: str
    of: Callable[[dict], float]
    goal: Optional[str] = None


def spread(values):
    median = statistics.median(values)
    digits = 0 if median >= 1000 else 1 if median >= 10 else 3
    return f"{median:.{digits}f} [{min(values):.{digits}f} .. {max(values):.{digits}f}]"


def values_of(figure, runs):
    """The figure in each run that has it."""
    values = []
    for run in runs:
        try:
            values.append(figure.of(run))
        except (KeyError, ZeroDivisionError):
            pass
    return values


def ratios_of(figure, first, second):
    """Pair by pair."""
    pairs = zip(values_of(figure, first), values_of(figure, second))
    return [a / b for a, b in pairs if b]


def goal_holds(goal, values, ratios):
    """None where it cannot be said."""
    words = goal.split()
    judged = ratios if words[0] == "ratio" else values
    if not judged:
        return None
    bound, median = float(words[-1]), statistics.median(judged)
    return median <= bound if words[-2] == "<=" else median >= bound


def table(figures, runs):
    """runs: {peer: [report, ...]}; lines of text."""
    names = list(runs)
    others = names[1:]
    yield f"{'':36}" + "".join(f"{name:>34}" for name in names) + "".join(f"{'to ' + name:>12}" for name in others)
    for figure in figures:
        values = {name: values_of(figure, runs[name]) for name in names}
        if not any(values.values()):
            continue
        line = f"{figure.title + (', ' + figure.unit if figure.unit else ''):36}"
        line += "".join(f"{spread(values[name]) if values[name] else '-':>34}" for name in names)
        ratios = []
        for name in others:
            ratios = ratios_of(figure, runs[names[0]], runs[name])
            line += f"{statistics.median(ratios):>12.3f}" if ratios else f"{'':12}"
        if figure.goal:
            holds = goal_holds(figure.goal, values[names[0]], ratios)
            line += f"   {figure.goal}" + ("" if holds is None else ": yes" if holds else ": NO")
        yield line


def document(workload, options, machine, figures, runs, facts):
    peers = {}
    for name, reports in runs.items():
        rows = []
        for report in reports:
            rows.append({f.key: values_of(f, [report])[0] for f in figures if values_of(f, [report])})
        peers[name] = {"facts": facts.get(name, {}), "runs": rows}
    return {"workload": workload, "options": options, "machine": machine,
            "figures": [{"key": f.key, "title": f.title, "unit": f.unit, "goal": f.goal} for f in figures],
            "peers": peers}


def save(path, content):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
