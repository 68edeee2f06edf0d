"""What Python does first where this folder is on PYTHONPATH: see ../patience.py."""
import os
import sys

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import patience  # noqa: E402  pylint: disable=wrong-import-position

sys.path.pop()
patience.teach_kafka_python()
