"""Imported before anything else of this folder, whose syntax an old Python does not know: there Debian's goes on, or a line
says what is missing."""
import os
import sys

OLDEST = (3, 10)  # before it the timeout of a socket is no TimeoutError
DEBIAN_PYTHON = "/usr/bin/python3"
TRIED = "BARNABAS_PYTHON_TRIED"  # in the environment once this program was started again with another Python

if sys.version_info < OLDEST:
    if sys.executable != DEBIAN_PYTHON and os.access(DEBIAN_PYTHON, os.X_OK) and TRIED not in os.environ:
        os.environ[TRIED] = sys.executable
        os.execv(DEBIAN_PYTHON, [DEBIAN_PYTHON] + sys.argv)
    sys.exit("error: Python {}.{} at {} is too old: 3.10 or later is needed, such as Debian's {}".format(
        sys.version_info[0], sys.version_info[1], sys.executable, DEBIAN_PYTHON))
