"""The loggers that broker/config/loggers.c lists are those that the program writes under."""
import os
import re
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NAME = r'"([a-z]+(?:\.[A-Za-z]+)+)"'
WRITTEN = re.compile(r'#define LOGGER ' + NAME + r'|\blogger\[\] = ' + NAME + r'|\blog_(?:debug|info|warn|error)\(\s*' + NAME)


def sources():
    listed = subprocess.run(["git", "ls-files", "broker", "coordinator", "common"], cwd=ROOT, capture_output=True,
                            text=True, check=True).stdout.split()
    for path in listed:
        if path.endswith((".c", ".h")) and os.path.exists(os.path.join(ROOT, path)):
            with open(os.path.join(ROOT, path), encoding="utf-8") as file:
                yield file.read()


def test_every_logger_is_listed_with_its_parents_and_no_other():
    written = {name for text in sources() for match in WRITTEN.findall(text) for name in match if name}
    assert len(written) > 10
    expected = {"root"}
    for name in written:
        words = name.split(".")
        expected.add(name)
        if words[0] == "kafka":
            expected |= {".".join(words[:i]) for i in range(1, len(words))}
    with open(os.path.join(ROOT, "broker", "config", "loggers.c"), encoding="utf-8") as file:
        table = file.read().split("names[] = {", 1)[1].split("};", 1)[0]
    assert sorted(re.findall(r'"([^"]+)"', table)) == sorted(expected)
