"""What scripts/quickstart echoes from several programs at once."""
import os
import subprocess
import sys

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
