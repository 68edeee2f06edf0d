"""README.md tells the truth: every command in it runs, what it shows is what is printed, its table is the broker's.

Blocks marked `sh` are run line by line, in order, in a network of the test's own; a block marked `text` is what the
command before it prints: every line of it, but for numbers, ids and the made-up users; "..." stands for more lines.
"""
import os
import re
import subprocess

import cluster as clusters
import pytest
import wire

README = os.path.join(wire.ROOT, "README.md")
COMMAND_SECONDS = 800  # nothing takes so long
ELISION = "..."
BLOCK = re.compile(r"^```(sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
API_ROW = re.compile(r"^\| (\w+) \| (\d+)(?:-(\d+))? \|", re.MULTILINE)
MASKS = [(re.compile(r"\{.*\}"), "USER"), (re.compile(r"cluster [\w-]{22},"), "cluster ID,"),
         (re.compile(r"[\w./-]*/cluster/"), "FOLDER/"),
         (re.compile(r"\d+:\d+( \d+:\d+)*"), "COUNTS"), (re.compile(r"(?<![\d.:])\d+(,\d+)*(?![\d.:])"), "N"),
         (re.compile(r"up, controller|up"), "STATE"), (re.compile(r" +|-{2,}"), " ")]


def text():
    with open(README, encoding="utf-8") as file:
        return file.read()


def masked(line):
    for pattern, instead in MASKS:
        line = pattern.sub(instead, line)
    return line.strip()


def test_the_first_screen_has_no_more_than_a_screen_before_the_first_command():
    assert len(text().partition("```sh")[0].splitlines()) <= 20


def test_every_program_is_there_once_quickstart_has_run():
    """kcat, which only scripts/test installs, was among the commands to try next."""
    lines = [line for kind, block in BLOCK.findall(text()) if kind == "sh" for line in block.splitlines()]
    programs = {part.split()[0] for line in lines for part in re.split(r"; | && ", line.partition(" #")[0])}
    assert {name for name in programs if not name.startswith(("scripts/", "build/release/"))} == {"cmake"}


def test_every_command_runs_and_prints_what_is_shown(needs_cluster, network, tmp_path):
    env = {**os.environ, "BARNABAS_CLUSTER": str(tmp_path / "cluster"), "BARNABAS_TEST_LOGS": str(tmp_path / "logs")}
    printed, commands = "", 0
    try:
        for kind, block in BLOCK.findall(text()):
            if kind == "text":
                shown, real = [masked(line) for line in block.splitlines()], set(map(masked, printed.splitlines()))
                assert [line for line in shown if line not in real and line != ELISION] == [], printed
                continue
            for command in block.splitlines():
                done = subprocess.run(network.command(["bash", "-c", command]), cwd=wire.ROOT, env=env, text=True,
                                      timeout=COMMAND_SECONDS, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                      stdin=subprocess.DEVNULL, check=False)
                printed = done.stdout
                assert done.returncode == 0, f"{command}\n{printed[-3000:]}"
                commands += 1
    finally:
        clusters.kill_all(str(tmp_path / "cluster"))
    assert commands > 10


def test_the_table_of_apis_is_what_the_broker_offers(shared_cluster):
    answer = shared_cluster.broker(1).call("ApiVersions", {"client_software_name": "t", "client_software_version": "1"})
    offered = {wire.api(found["api_key"]).name: (found["min_version"], found["max_version"])
               for found in answer["api_keys"]}
    written = {name: (int(first), int(last or first)) for name, first, last in API_ROW.findall(text())}
    assert written == offered, "the table in README.md (left) is not what the broker offers (right)"


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:scripts|deploy|tests|broker|common|proto|build)/[\w./-]+)`"
                                                       r"|\]\(([\w./-]+)\)", text() if os.path.exists(README) else ""))))
def test_every_path_that_it_names_exists(path):
    assert os.path.exists(os.path.join(wire.ROOT, path[0] or path[1]))
