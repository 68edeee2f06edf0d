"""What scripts/quickstart echoes from several programs at once, and what it says when something fails in the middle."""
import errno
import os
import subprocess
import sys

import pytest
import quickstart
import wire

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

TALK = """
import sys, threading
sys.path.insert(0, "scripts/lib")
import quickstart
sys.setswitchinterval(1e-6)
def talk(word):
    for _ in range(2000):
        quickstart.say(word * 20)
threads = [threading.Thread(target=talk, args=(word,)) for word in ("consumed", "produced")]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_lines_of_two_programs_do_not_run_into_each_other():
    """A line that was consumed was taken for one that was not, because its end came after the next line's begin."""
    out = subprocess.run([sys.executable, "-c", TALK], cwd=ROOT, capture_output=True, text=True, check=True,
                         timeout=60).stdout
    assert sorted(set(out.split("\n"))) == ["", "consumed" * 20, "produced" * 20]
    assert out.count("\n") == 4000


@pytest.mark.parametrize("problem, told", [
    (wire.ConnectError("127.0.0.1:9092: Connection refused"), "error: 127.0.0.1:9092: Connection refused"),
    (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "error: {}: No space left on device"),
    (PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/there"), "error: /there: Permission denied"),
])
def test_what_fails_in_the_middle_is_told_and_the_cluster_is_ended(monkeypatch, capsys, tmp_path, problem, told):
    """A leader that did not answer was a trace of calls, and three brokers that nobody ended."""
    ended = []

    def fail(_):
        raise problem

    monkeypatch.setattr(quickstart, "quickstart", fail)
    monkeypatch.setattr(quickstart, "end_cluster", ended.append)
    monkeypatch.setattr(sys, "argv", ["quickstart", "--folder", str(tmp_path)])
    assert quickstart.main() == 1
    assert ended == [str(tmp_path)]
    assert capsys.readouterr().err == f"\n{told.format(tmp_path)}\nNothing is left running.\n"
