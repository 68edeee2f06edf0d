"""The simulator's command line, and that every broken broker has a test that finds it, and is told of."""
import os
import re
import subprocess

import cluster as clusters
import pytest
import wire

FOLDER = os.path.join(wire.ROOT, "tests", "sim")


def text_of(name):
    with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
        return file.read()


def bugs():
    return set(re.findall(r'= "([a-z-]+)"', text_of("sim_bugs.c"))) - {"none"}


def faults():
    return set(re.findall(r'\[SIM_FAULT_\w+\] = "([a-z-]+)"', text_of("sim_faults.c")))


def entries():
    """Of CMakeLists.txt: {bug: faults that its runs have}."""
    text = text_of("CMakeLists.txt")
    listed = re.search(r"foreach\(line ([^)]*)\)", text)[1].split()
    found = {re.split("[:@]", line)[0]: [word for word in line.split(":")[1:]] for line in listed}
    for bug, rest in re.findall(r"--bug ([a-z-]+) ([^)]*)\)", text):
        found[bug] = re.findall(r"--fault ([a-z-]+)", rest)
    return found


def test_every_broken_broker_has_a_test_and_its_faults_are_real_ones():
    found = entries()
    assert set(found) == bugs()
    assert len(found) >= 12
    assert {fault for wanted in found.values() for fault in wanted} <= faults()


def test_the_readme_tells_after_how_many_seeds_each_is_found():
    told = re.findall(r"\b([a-z]+(?:-[a-z]+)*)\*? (?:\([^)]*\) )?\d+", text_of("README.md").partition("Broken brokers")[2])
    assert bugs() <= set(told), bugs() - set(told)


# ------------------------------------------------------------------ the command line


@pytest.fixture
def sim():
    """sim(words...): (status, standard output, standard error)"""
    program = os.path.join(os.path.dirname(clusters.default_binary()), "tests", "sim", "sim")
    if not os.access(program, os.X_OK):
        pytest.skip(f"no {program} (build it first)")

    def run(*words):
        done = subprocess.run([program, *words], capture_output=True, text=True, timeout=800, check=False)
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.mark.parametrize("words, told", [
    (["--seeds"], "--seeds needs a value"), (["--seeds", "many"], "many is no number"), (["--seed", "0"], "0 is no number"),
    (["--seeds", "-5"], "-5 is no number"), (["--seeds", "10x"], "10x is no number"), (["--frob"], "--frob is no option"),
    (["--seeds", "1", "--fault", "flood"], "flood is no fault: --faults lists them"),
    (["--seeds", "1", "--bug", "ant"], "ant is no bug: --bugs lists them"), ([], "--seeds N or --seed S is needed"),
])
def test_a_wrong_command_line_is_told_with_what_is_wrong(sim, words, told):
    """It printed how to use it, and not what it had not understood; -5 were all seeds that there are."""
    status, out, err = sim(*words)
    assert (status, out) == (2, "") and err.startswith(f"sim: {told}") and "usage: scripts/sim" in err


def test_bugs_and_faults_are_listed(sim):
    assert set(sim("--bugs")[1].split()) == bugs()
    assert set(sim("--faults")[1].split()) == faults()


def test_a_seed_in_which_the_program_dies_is_told_and_the_others_are_run(sim):
    status, out, _ = sim("--seeds", "3", "--plain", "--dies", "2")
    assert status == 1 and "seed 2 FAILED: the program died" in out and "\n3 seeds, 1 failed;" in out


def test_a_broken_broker_is_not_caught_by_what_kills_the_whole_one_too(sim):
    """Any death was a catch, and memory that leaked was one: a broken broker could pass its test that nothing finds."""
    words = ["--bug", "beyond-hw", "--until-caught", "--seeds"]
    status, out, _ = sim(*words, "1", "--dies", "1")
    assert status == 1 and "beyond-hw: NOT caught" in out and out.count("seed 1 FAILED: the program died") == 2
    status, out, _ = sim(*words, "100")
    assert status == 0 and "beyond-hw: caught by seed " in out


def test_what_another_check_finds_is_not_caught_by_the_one_that_is_asked_for(sim):
    """That a broken broker was found did not say by what: R1 and G1 had none, and could have been unable to find anything."""
    status, out, _ = sim("--bug", "beyond-hw", "--until-caught", "--by", "G1", "--seeds", "5")
    assert status == 1 and "5 seeds, 0 failed;" in out and "beyond-hw: NOT caught" in out


def test_one_seed_is_run_and_repeats(sim):
    first, second = (sim("--seed", "3", "--plain") for _ in range(2))
    assert first[0] == 0 and first == second
    assert "1 seeds, 0 failed" in first[1] and " faults, " in first[1]
