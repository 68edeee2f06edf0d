"""Every command in scripts/ says what it is for when it is asked, does nothing else then, and knows a wrong option."""
import os
import subprocess

import pytest
import wire

SCRIPTS = os.path.join(wire.ROOT, "scripts")
COMMANDS = sorted(name for name in os.listdir(SCRIPTS)
                  if os.path.isfile(os.path.join(SCRIPTS, name)) and os.access(os.path.join(SCRIPTS, name), os.X_OK))


def run(name, *words):
    done = subprocess.run([os.path.join(SCRIPTS, name), *words], capture_output=True, text=True, timeout=60, check=False,
                          stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "sim"])  # builds the simulator first
def test_help_is_more_than_a_line(name):
    """scripts/test installed packages, built everything and told that nothing had failed."""
    _, text = run(name, "--help")
    assert len(text.splitlines()) > 3 and "error:" not in text, text
    assert name in text or "This tool helps" in text, text  # Kafka's words


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "sim"])
def test_a_wrong_option_is_no_success(name):
    """scripts/deps, asked for a set of packages that there is not, had installed it."""
    status, text = run(name, "--no-such-option")
    assert status != 0 and text, (status, text)


@pytest.mark.parametrize("words", [["--prot", "9093"], ["--no-deps", "--prot", "9093"], ["--wait", "soon"]])
def test_quickstart_looks_at_its_options_before_it_installs_or_builds(words):
    """A wrong one was told of after minutes, when packages were installed and everything was built."""
    status, text = run("quickstart", *words)
    assert status == 2 and words[-2] in text and "1. packages" not in text and "2. build" not in text, text
