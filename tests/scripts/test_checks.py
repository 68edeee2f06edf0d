"""scripts/fmt and scripts/tidy: a check whose tool does not work is no check that has passed."""
import os
import subprocess
import sys

import pytest
import wire

SCRIPTS = os.path.join(wire.ROOT, "scripts")


@pytest.fixture
def check(tmp_path):
    """check("fmt", "--check", clang_format="exit 1"): status and all that it said, with these scripts first on the path."""
    def run(name, *words, **programs):
        for program, text in programs.items():
            path = tmp_path / program.replace("_", "-")
            path.write_text("#!/bin/sh\n" + text + "\n")
            path.chmod(0o755)
        done = subprocess.run([os.path.join(SCRIPTS, name), *words], capture_output=True, text=True, timeout=600, check=False,
                              env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"})
        return done.returncode, done.stdout + done.stderr

    return run


def test_a_formatter_that_does_not_work_has_found_no_file_in_order(check):
    """Where clang-format could not read .clang-format it named no file, and none was wrong."""
    status, said = check("fmt", "--check", clang_format="echo 'Error reading .clang-format: Invalid argument' >&2; exit 1")
    assert status == 2 and "Error reading .clang-format" in said and "clang-format could not look at them" in said


def test_a_file_that_is_not_in_order_is_named(check):
    status, said = check("fmt", "--check", clang_format="echo 'broker/a.c:3:7: warning: code should be clang-formatted'")
    assert status == 1 and said.startswith("broker/a.c\nerror: 1 of ")


def test_a_tree_without_files_has_none_in_order(check):
    """As git leaves out what is ignored; then there was nothing wrong either."""
    status, said = check("fmt", "--check", git='[ "$1" = rev-parse ]', clang_format="exit 0")
    assert status == 2 and "there are no C files here" in said


def test_a_shellcheck_that_does_not_work_is_a_finding(check):
    status, said = check("tidy", shellcheck="echo 'unrecognized option' >&2; exit 3")
    assert status == 1 and "shellcheck: could not look at all: unrecognized option" in said


# ------------------------------------------------------------------ what scripts/tidy finds

LONG = "int long_one(void)\n{\n" + "    x++;\n" * 151 + "}\n"
TREE = {
    "common/CMakeLists.txt": "barnabas_library(common/base)\nbarnabas_library(common/rt DEPENDS common_base)\n",
    "proto/CMakeLists.txt": "barnabas_library(proto/codec DEPENDS common_base)\n",
    "coordinator/CMakeLists.txt": "barnabas_library(coordinator/group DEPENDS common_rt)\n",
    "broker/CMakeLists.txt": "barnabas_library(broker/log DEPENDS common_base)\n",
    "common/rt/loop.h": "",
    "common/base/mem.c": "void *mem(void)\n{\n    return malloc(1);\n}\n",  # where it is allowed
    "common/base/up.c": '#include "rt/loop.h"\n',
    "proto/codec/up.c": '#include "log/plog.h"\n#include "codec/none.h"\n',
    "coordinator/group/grp_one.c": '#include "rt/loop.h"\n#include <pthread.h>\n',
    "broker/log/plog.h": "",
    "broker/log/plog.c": "/* malloc(1) */\nint f(void)\n{\n    strcpy(a, \"time(0)\");\n    return time(NULL); // " + "TO"
                         + "DO\n}\n" + LONG,
    "broker/log/seg.c": "#include <event2/event.h>\n" + "int x;\n" * 1201,
    "letters.txt": "",
}
FOUND = [
    'common/base/up.c:1: "rt/loop.h" is of common/rt, which common/base does not name in its barnabas_library()',
    'proto/codec/up.c:1: "log/plog.h" is of broker/; proto/ may include common',
    'proto/codec/up.c:2: no file "codec/none.h"; an include names folder/file.h',
    "coordinator/group/grp_one.c: a pure machine may not include common/rt/loop.h, not even through another header",
    "coordinator/group/grp_one.c:2: a pure machine may not include <pthread.h>",
    "broker/log/seg.c:1: <event2/event.h> is for common/rt and common/net alone, which wraps it",
    "broker/log/seg.c: 1202 lines; the end is 1200: look for the second idea inside",
    "broker/log/plog.c:4: strcpy() is not for here; use snprintf, memcpy, or a buf of base/bytes.h: they know how much room"
    " there is",
    "broker/log/plog.c:5: time() is not for here; use the clock of rt/clock.h, which tests can turn",
    "broker/log/plog.c:5: unfinished work is not merged; do it, or say why it is so",
    "broker/log/plog.c:8: long_one() has 151 lines; the end is 150: it holds more than one idea",
    "broker/log/README.md: is missing: what the folder is for, its main types, its thread, where to start",
    "LICENSE: is missing from the top level",
    "scripts/odd:1:1: warning: so odd",
]


def test_tidy_finds_what_it_is_there_to_find(tmp_path):
    """Of a tree in which nothing is as it should be; no rule of it was ever seen to find anything."""
    root = tmp_path / "tree"
    for name, text in TREE.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "scripts").mkdir()
    with open(os.path.join(SCRIPTS, "tidy"), encoding="utf-8") as file:
        (root / "scripts" / "tidy").write_text(file.read())
    (tmp_path / "shellcheck").write_text("#!/bin/sh\necho 'scripts/odd:1:1: warning: so odd'; exit 1\n")
    (tmp_path / "shellcheck").chmod(0o755)
    done = subprocess.run([sys.executable, root / "scripts" / "tidy"], capture_output=True, text=True, timeout=600, check=False,
                          env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "GIT_CEILING_DIRECTORIES": str(tmp_path)})
    found = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (1, "")
    assert [line for line in FOUND if line not in found] == [], done.stdout
    assert not any("malloc" in line for line in found), done.stdout
    assert any(line.startswith("letters.txt: the top level is ") for line in found)
