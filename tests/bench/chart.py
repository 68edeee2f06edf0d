"""One picture of a workload, from its document (see report.py), by gnuplot: an SVG that is read at a glance.

Each main figure is a panel with a bar for each peer: the median, with its number, and whiskers from the least to the
most. A group of main figures is one panel with such bars side by side; any other group, as the percentiles of a latency
are, is a panel with a line for each peer.
"""
import shutil
import statistics
import subprocess

COLOURS = {"barnabas": "#1b6ca8", "floor": "#9a9a9a", "kafka": "#c8553d"}
MORE_COLOURS = ["#1b6ca8", "#c8553d", "#9a9a9a", "#4c956c", "#8d5a97", "#d9a441"]
PANEL_WIDTH, PANEL_HEIGHT, HEAD, FOOT, CROWD_FOOT = 330, 290, 60, 34, 60
COLUMNS_MAX, BARS_MAX = 4, 8
WHISKER = "heads size graph 0.014,90 fixed lw 1.3"
DRAW_S = 60


def text(words):
    """A gnuplot string of it."""
    return "'" + str(words).replace("'", "''") + "'"


def broken(words):
    """The same with a line for each part of a name like 100-lz4-all: many names stand side by side."""
    return '"' + str(words).replace("-", "\\n").replace('"', "'") + '"'


def short(value, digits=3):
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


class Panel:
    """title; points: {peer: [(label, median, least, most), ...]}"""

    def __init__(self, title, points, is_line=False):
        self.title, self.points, self.is_line = title, points, is_line

    @property
    def labels(self):
        return list(dict.fromkeys(label for rows in self.points.values() for label, *_ in rows))

    @property
    def is_crowd(self):
        """Bars side by side under labels, whose parts stand one below another."""
        return not self.is_line and len(self.labels) > 1


def peers_of(document):
    """Those to be seen: a second self is a check, not a contestant."""
    return {name: one for name, one in document["peers"].items() if name != document.get("again")}


def points_of(document, figure):
    """{peer: (median, least, most)} of one figure, where there is one."""
    found = {}
    for name, one in peers_of(document).items():
        values = [run[figure["key"]] for run in one["runs"] if figure["key"] in run]
        if values:
            found[name] = (statistics.median(values), min(values), max(values))
    return found


def title_of(figure, title=None):
    title = title or figure["title"]
    return title + (f", {figure['unit']}" if figure["unit"] else "")


def panels(document):
    """What there is to be drawn: bars first, then lines."""
    found = {}
    figures = document["figures"]
    alone = any(one.get("main") for one in figures)  # else whatever has no group is a bar
    for figure in figures:
        grouped, is_main = bool(figure.get("group")), figure.get("main", False)
        points = points_of(document, figure)
        if (not grouped and alone and not is_main) or not any(median > 0 for median, _, _ in points.values()):
            continue
        key = (grouped and not is_main, figure["group"] if grouped else figure["key"])
        panel = found.setdefault(key, Panel(title_of(figure, figure.get("group")), {}, grouped and not is_main))
        for name, one in points.items():
            panel.points.setdefault(name, []).append((figure.get("label") or "", *one))
    bars = [panel for panel in found.values() if not panel.is_line]
    return bars[:BARS_MAX] + [panel for panel in found.values() if panel.is_line]


def colour_of(name, names):
    if set(names) <= set(COLOURS):
        return COLOURS[name]
    return MORE_COLOURS[names.index(name) % len(MORE_COLOURS)]


def bars_script(panel, names):
    """A bar for each peer, its number above the whisker; side by side for each label, where there are several."""
    shown, labels = [name for name in names if name in panel.points], panel.labels
    several = panel.is_crowd
    step = 0.84 / len(shown) if several else 1
    ends = [label if several else name for label in labels for name in ([""] if several else shown)]
    lines = ["unset logscale", "set format y '%.4g'", "set key top right horizontal reverse Left samplen 1.5 font ',11'"
             if several else "unset key", f"set xrange [-0.7:{len(ends) - 0.3:.1f}]", "set yrange [0:*]",
             f"set offsets 0, 0, graph {0.3 if several else 0.14}, 0", f"set boxwidth {step * 0.92 if several else 0.62:.3f}",
             f"set xtics font ',{9 if several else 12}' ("
             + ", ".join(f"{broken(end) if several else text(end)} {i}" for i, end in enumerate(ends)) + ")"]
    boxes, whiskers, numbers = [], [], []
    size, digits = (12, 3) if len(labels) * len(shown) <= 4 else (8, 2)
    for i, name in enumerate(shown):
        lines.append(f"$bar{i} << EOD")
        for label, median, least, most in panel.points[name]:
            x = labels.index(label) + (i - (len(shown) - 1) / 2) * step if several else i
            lines.append(f"{x:.3f} {median:.9g} {least:.9g} {most:.9g} \"{short(median, digits)}\"")
        lines.append("EOD")
        boxes.append(f"$bar{i} using 1:2 with boxes fc rgb {text(colour_of(name, names))} title {text(name)}")
        whiskers.append(f"$bar{i} using 1:3:(0):($4-$3) with vectors {WHISKER} lc rgb '#333333' notitle")
        numbers.append(f"$bar{i} using 1:4:5 with labels center offset 0,0.8 font ',{size}' notitle")
    return lines + ["plot " + ", ".join(boxes + whiskers + numbers)]


def lines_script(panel, names):
    """A line for each peer through its labels, on a logarithmic axis."""
    shown = [name for name in names if name in panel.points]
    labels = panel.labels
    lines = [f"set xrange [-0.4:{len(labels) - 0.6:.1f}]", "unset offsets", "set logscale y", "set format y '%.0f'",
             "set yrange [*:*]",
             "set key bottom right opaque reverse Left samplen 1.5 spacing 1.1 font ',11'",
             "set xtics font ',12' (" + ", ".join(f"{text(label)} {i}" for i, label in enumerate(labels)) + ")"]
    plots = []
    for i, name in enumerate(shown):
        lines.append(f"$line{i} << EOD")
        nudge = (i - (len(shown) - 1) / 2) * 0.06  # so that whiskers do not hide each other
        lines += [f"{labels.index(label) + nudge:.3f} {median:.9g} {least:.9g} {most:.9g}"
                  for label, median, least, most in panel.points[name]]
        colour = text(colour_of(name, names))
        lines.append("EOD")
        plots += [f"$line{i} using 1:2 with lines lc rgb {colour} lw 2 notitle",
                  f"$line{i} using 1:3:(0):($4-$3) with vectors {WHISKER} lc rgb {colour} notitle",
                  f"$line{i} using 1:2 with points lc rgb {colour} pt 7 ps 0.6 notitle",
                  f"NaN with lines lc rgb {colour} lw 4 title {text(name)}"]
    return lines + ["plot " + ", ".join(plots)]


def script(document, path):
    """What gnuplot is told; None where there is nothing to draw."""
    found, names = panels(document), list(peers_of(document))
    if not found:
        return None
    columns = min(COLUMNS_MAX, len(found))
    if len(found) > COLUMNS_MAX and -(-len(found) // (COLUMNS_MAX - 1)) == -(-len(found) // COLUMNS_MAX):
        columns = COLUMNS_MAX - 1  # as many rows, and they are fuller
    rows = -(-len(found) // columns)
    foot = CROWD_FOOT if any(panel.is_crowd for panel in found) else FOOT
    width, height = PANEL_WIDTH * columns, (PANEL_HEIGHT + foot - FOOT) * rows + HEAD
    head = f"{document['workload']}: {document.get('text', '')}"
    lines = [f"set terminal svg size {width},{height} enhanced font 'sans-serif,13' background rgb 'white'",
             f"set output {text(path)}", "set encoding utf8", "set style fill solid 0.9 noborder",
             "set border 3 lc rgb '#777777'", "set tics nomirror tc rgb '#333333'", "set ytics font ',11'", "set xtics scale 0",
             "set grid ytics lc rgb '#dddddd' lw 0.7",
             f"set multiplot layout {rows},{columns} title {text(head)} noenhanced font ',14' margins screen"
             f" {62 / width:.4f}, {1 - 14 / width:.4f}, {foot / height:.4f}, {1 - (HEAD + 34) / height:.4f}"
             f" spacing screen {72 / width:.4f}, {(foot + 44) / height:.4f}"]
    for panel in found:
        lines.append(f"set title {text(panel.title)} noenhanced font ',13'")
        lines += lines_script(panel, names) if panel.is_line else bars_script(panel, names)
    return "\n".join([*lines, "unset multiplot", ""])


def draw(document, path):
    """None when it is drawn, else why it is not."""
    if shutil.which("gnuplot") is None:
        return "no gnuplot (package gnuplot-nox)"
    told = script(document, path)
    if told is None:
        return "it has no figures"
    done = subprocess.run(["gnuplot"], input=told, capture_output=True, text=True, timeout=DRAW_S, check=False)
    return None if done.returncode == 0 else f"gnuplot failed: {done.stderr.strip()[-500:]}"
