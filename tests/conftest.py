"""For every test in Python: one that hangs is a failure of its own, and says where it hung."""
import faulthandler
import os
import signal

import pytest

os.environ.setdefault("BARNABAS_PATIENCE", "4")  # see scripts/lib/cluster.py; before that is imported

LIMIT_SECONDS = int(os.environ.get("BARNABAS_TEST_SECONDS", "900"))  # a minute or two, on a machine many times as slow
GRACE_SECONDS = 30  # for a test that hangs where no exception reaches it: then all of pytest ends


def pytest_configure(config):
    config.stderr_of_its_own = os.fdopen(os.dup(2), "w")  # a test's is captured, and lost when all ends at once


def _hangs(_signal, _frame):
    pytest.fail(f"the test hangs: it took longer than {LIMIT_SECONDS} s")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    signal.signal(signal.SIGALRM, _hangs)
    signal.alarm(LIMIT_SECONDS)
    faulthandler.dump_traceback_later(LIMIT_SECONDS + GRACE_SECONDS, exit=True, file=item.config.stderr_of_its_own)
    yield
    faulthandler.cancel_dump_traceback_later()
    signal.alarm(0)
