"""Figures as people and programs read them: a table on the terminal, and one JSON format for every workload.

    {"workload": name, "text": what its runs do, "options": {...}, "machine": {...},
     "figures": [{"key", "title", "unit", "goal", "main", "group", "label"}, ...],   goal: "<= 100", ">= 0.5", or null
     "peers": {peer: {"facts": {...}, "openings": [{...}, ...], "runs": [{key: number, ...}, ...],
                      "counted": {key: number}}},
     "again": the first peer's second self, or null;  "lost": {peer: what was lost or refused};
     "notes": [what a reader must know, ...]}

A run's figures are put together by block (a visit may hold several runs): a ratio is that of two blocks' medians.
"""
import json
import statistics
from dataclasses import dataclass
from typing import Callable, Optional

AGAIN_MAX = 0.05  # a peer that differs from itself by more makes every finer ratio worthless
JUDGES = ("cpu_per_gb", "cpu_per_message", "cpu_per_request")  # the steadiest that a workload has says how steady it was


@dataclass
class Figure:
    """One line of the table. `of` makes it from a run's report; a report without it (KeyError) has no such figure.
    `goal` binds the first peer: "<= 100" on the value, "ratio <= 1.25" on its ratio to the last peer, "kafka <= 0.5"
    on that to the peer named; several with semicolons.
    `main`: a bar in the chart. `group` and `label`: a panel of the chart has all figures of that group, in main ones as
    bars side by side, else as a line through them, as percentiles are.
    `counted`: only a run that counts system calls has it."""
    key: str
    title: str
    unit: str
    of: Callable[[dict], float]
    goal: Optional[str] = None
    main: bool = False
    group: Optional[str] = None
    label: Optional[str] = None
    counted: bool = False


def spread(values):
    median = statistics.median(values)
    digits = 0 if median >= 1000 else 1 if median >= 10 else 3
    if min(values) == max(values):
        return f"{median:.{digits}f}"
    return f"{median:.{digits}f} [{min(values):.{digits}f} .. {max(values):.{digits}f}]"


def value_of(figure, report):
    try:
        return figure.of(report)
    except (KeyError, ZeroDivisionError, TypeError):
        return None


def values_of(figure, runs):
    """The figure in each run that has it."""
    return [value for value in (value_of(figure, run) for run in runs) if value is not None]


def by_block(figure, runs):
    """{block: the figure's median in its runs}. A run that does not say is a block of its own."""
    blocks = {}
    for i, run in enumerate(runs):
        value = value_of(figure, run)
        if value is not None:
            blocks.setdefault(run.get("block", i), []).append(value)
    return {block: statistics.median(values) for block, values in blocks.items()}


def ratios_of(figure, first, second):
    """Pair by pair."""
    ours, theirs = by_block(figure, first), by_block(figure, second)
    return [ours[block] / theirs[block] for block in ours if theirs.get(block)]


# ------------------------------------------------------------------ what the figures are worth


def lost(runs):
    """{peer: what was lost or refused in its runs}: no ratio is printed with such a peer in it."""
    found = {}
    for name, reports in runs.items():
        said = [f"{sum(r.get(key, 0) for r in reports)} {key}" for key in ("lost", "refused")
                if sum(r.get(key, 0) for r in reports)]
        if said:
            found[name] = " and ".join(said)
    return found


def judge(figures, runs):
    """The figure by which a peer is compared with itself: the steadiest that these runs have."""
    able = [figure for figure in figures if not figure.counted and values_of(figure, runs)]
    by_key = {figure.key: figure for figure in able}
    found = [by_key[key] for key in JUDGES if key in by_key] + [figure for figure in able if figure.main] + able
    return found[0] if found else None


def against_itself(figures, name, first, again):
    """(whether the run is to be believed, what to say), or None where nothing can be said."""
    figure = judge(figures, first)
    ratios = ratios_of(figure, first, again) if figure else []
    if not ratios:
        return None
    off = abs(statistics.median(ratios) - 1)
    said = f"{name} against itself: {figure.title} {spread(ratios)} in {len(ratios)} pairs"
    if off <= AGAIN_MAX:
        return True, said + ": steady"
    return False, f"{said}: it differs from itself by {off * 100:.0f} %, so finer ratios of this run say nothing"


def unequal(configs):
    """Lines about configurations that should be alike and are not. configs: {peer: {key: value}}."""
    if len(configs) < 2:
        return []
    lines = []
    for key in sorted(set().union(*configs.values())):
        values = {name: config.get(key) for name, config in configs.items()}
        if len(set(values.values())) > 1:
            lines.append(f"unequal configuration: {key} is " + ", ".join(f"{v} for {name}" for name, v in values.items()))
    return lines


def generator_bound(runs):
    for name, reports in runs.items():
        bound = sum(bool(report.get("generator_bound")) for report in reports)
        if bound:
            yield (f"{name}: in {bound} of {len(reports)} runs the load generator used more than 80 % of its core:"
                   " it may be what was measured")


def too_slow(runs):
    for name, reports in runs.items():
        for cell in sorted({cell for report in reports for cell in report.get("too_slow", [])}):
            count = sum(cell in report.get("too_slow", []) for report in reports)
            yield f"{name}: in {count} of {len(reports)} runs the rate of {cell} was too high for it: no figure says so"


def disturbed(runs, most):
    for name, reports in runs.items():
        shares = [report["foreign"] for report in reports if report.get("foreign", 0) > most]
        if shares:
            yield (f"{name}: in {len(shares)} of {len(reports)} runs others used more than {most * 100:.0f} % of the"
                   f" machine, up to {max(shares) * 100:.0f} %")


# ------------------------------------------------------------------ goals


def goal_holds(goal, values, ratios):
    """None where it cannot be said. goal: one, without a peer's name. ratios: those it speaks of."""
    words = goal.split()
    judged = values if len(words) == 2 else ratios
    if not judged:
        return None
    bound, median = float(words[-1]), statistics.median(judged)
    return median <= bound if words[-2] == "<=" else median >= bound


def goals_text(figure, values, ratios):
    """ratios: {other peer: [ratio, ...]}, in the table's order."""
    said = []
    for goal in (figure.goal or "").split(";"):
        words = goal.split()
        if not words:
            continue
        other = words[0] if words[0] in ratios else next(reversed(ratios), None) if words[0] == "ratio" else None
        holds = goal_holds(goal, values, ratios.get(other, []))
        said.append(goal.strip() + ("" if holds is None else ": yes" if holds else ": NO"))
    return "   " + ", ".join(said) if said else ""


# ------------------------------------------------------------------ the table


def title_of(figure):
    return figure.title + (", " + figure.unit if figure.unit else "")


def cells_of(figure, runs, names, again, broken):
    """The figure's line in the table, cell by cell, and the text of its goals; None when nobody has it."""
    values = {name: values_of(figure, runs.get(name, [])) for name in names}
    if not any(values.values()):
        return None
    first = names[0]
    ratios = {name: [] if first in broken or name in broken else
              ratios_of(figure, runs.get(first, []), runs.get(name, [])) for name in names[1:]}
    cells = [title_of(figure), *(spread(values[name]) if values[name] else "-" for name in names),
             *(spread(ratios[name]) if ratios[name] else "-" for name in names[1:])]
    if again:
        itself = ratios_of(figure, runs.get(first, []), runs.get(again, []))
        cells.append(f"{statistics.median(itself):.3f}" if itself and not broken else "-")
    return cells, goals_text(figure, values[first], ratios)


def table(figures, runs, again=None, counted=None):
    """runs: {peer: [report, ...]}; again: the first peer's second self, which has no column but the last;
    counted: {peer: report of the run that counted system calls}. Lines of text."""
    names = [name for name in runs if name != again]
    broken = lost(runs)
    counts = {name: [one] for name, one in (counted or {}).items()}
    lines = [(["", *names, *("to " + name for name in names[1:]), *(["to itself"] if again else [])], "")]
    lines += filter(None, (cells_of(figure, counts if figure.counted else runs, names, again, broken) for figure in figures))
    widths = [max(len(cells[i]) for cells, _ in lines) for i in range(len(lines[0][0]))]
    for cells, goals in lines:
        title, *rest = (f"{cell:{'>' if i else '<'}{widths[i]}}" for i, cell in enumerate(cells))
        yield "   ".join([title, *rest]).rstrip() + goals
    for name, what in broken.items():
        yield f"no ratio with {name}: {what}"


# ------------------------------------------------------------------ to keep


def rows(figures, reports):
    return [{f.key: value_of(f, one) for f in figures if value_of(f, one) is not None}
            | {key: one[key] for key in ("block", "foreign") if key in one} for one in reports]


def document(workload, options, machine, figures, runs, facts, openings=None, counted=None, again=None, notes=(), text=""):
    peers = {}
    for name, reports in runs.items():
        peers[name] = {"facts": facts.get(name, {}), "openings": (openings or {}).get(name, []),
                       "runs": rows([f for f in figures if not f.counted], reports),
                       "counted": rows([f for f in figures if f.counted], [counted[name]])[0]
                       if name in (counted or {}) else {}}
    return {"workload": workload, "text": text, "options": options, "machine": machine,
            "figures": [{"key": f.key, "title": f.title, "unit": f.unit, "goal": f.goal, "main": f.main,
                         "group": f.group, "label": f.label} for f in figures],
            "peers": peers, "again": again, "lost": lost(runs), "notes": list(notes)}


def save(path, content):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
