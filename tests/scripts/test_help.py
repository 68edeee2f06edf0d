"""Every command in scripts/ says what it is for when it is asked, does nothing else then, and knows a wrong option."""
import os
import subprocess
import sys

import pytest
import wire

SCRIPTS = os.path.join(wire.ROOT, "scripts")
COMMANDS = sorted(name for name in os.listdir(SCRIPTS)
                  if os.path.isfile(os.path.join(SCRIPTS, name)) and os.access(os.path.join(SCRIPTS, name), os.X_OK))


def run(name, *words):
    done = subprocess.run([os.path.join(SCRIPTS, name), *words], capture_output=True, text=True, timeout=60, check=False,
                          stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_more_than_a_line(name):
    """scripts/test installed packages, built everything and told that nothing had failed; scripts/sim built, too."""
    _, text = run(name, "--help")
    assert len(text.splitlines()) > 3 and "error:" not in text, text
    assert name in text or "This tool helps" in text, text  # Kafka's words


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "sim"])  # that is built first: test_sim.py
def test_a_wrong_option_is_no_success(name):
    """scripts/deps, asked for a set of packages that there is not, had installed it."""
    status, text = run(name, "--no-such-option")
    assert status != 0 and text, (status, text)


OLD = """
import runpy, sys
sys.argv[:] = sys.argv[1:]
sys.version_info = (3, 8, 1, "final", 0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize("name", ["bench", "cluster", "dump-log", "reassign", "topics"])
def test_an_old_python_hands_over_or_says_so(name, tmp_path):
    """It was a trace of calls, with a syntax error somewhere in scripts/lib."""
    if not os.access("/usr/bin/python3", os.X_OK):
        pytest.skip("no /usr/bin/python3 to hand over to")
    python = tmp_path / "python3"  # another than Debian's, by its name
    python.symlink_to(sys.executable)

    def start(**env):
        done = subprocess.run([python, "-c", OLD, os.path.join(SCRIPTS, name), "--help"], capture_output=True, text=True,
                              timeout=60, check=False, env={**os.environ, **env})
        return done.returncode, done.stdout + done.stderr

    status, text = start(BARNABAS_PYTHON_TRIED="/opt/python3.8")
    assert status == 1 and text.startswith("error: Python 3.8 at ") and text.endswith("Debian's /usr/bin/python3\n")
    assert start() == run(name, "--help")


def test_every_command_is_in_the_readme():
    with open(os.path.join(SCRIPTS, "README.md"), encoding="utf-8") as file:
        text = file.read()
    assert [name for name in COMMANDS if f"`{name}`" not in text] == []


@pytest.mark.parametrize("words", [["--prot", "9093"], ["--no-deps", "--prot", "9093"], ["--wait", "soon"],
                                   ["--prot", "9093", "--no-deps"]])
def test_quickstart_looks_at_its_options_before_it_installs_or_builds(words):
    """A wrong one was told of after minutes, when packages were installed and everything was built."""
    status, text = run("quickstart", *words)
    wrong = next(word for word in words if word in ("--prot", "--wait"))
    assert status == 2 and wrong in text and "1. packages" not in text and "2. build" not in text, text


def test_quickstart_takes_its_options_in_any_order(tmp_path):
    """--down after another option was unknown."""
    assert run("quickstart", "--folder", str(tmp_path), "--down") == (1, f"error: there is no cluster in {tmp_path}\n")
