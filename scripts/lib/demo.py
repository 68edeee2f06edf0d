"""What scripts/producer.py and scripts/consumer.py share: finding kafka-python, options, and waiting for a broker.

The two run with kafka-python 2.0.2, Debian's, and with 3.x, which differ in what they raise and when. So a broker is
waited for with a plain connection first, and whatever kafka-python raises after that is a reason to wait a little.
"""
import argparse
import os
import re
import signal
import socket
import sys
import time

DEBIAN_PYTHON = "/usr/bin/python3"
TRIED = "BARNABAS_PYTHON_TRIED"  # in the environment once this program was started again with another Python
PAUSE_S = 0.5
PORT_MAX = 65535
CONNECT_S = 2.0
SECONDS_MAX = 24 * 60 * 60


def import_kafka():
    """The module kafka. Many machines have several Pythons and kafka-python in one of them only: where this one has
    none, start again with Debian's; where that has none either, say what to install."""
    try:
        import kafka
        return kafka
    except ImportError as problem:
        missing = problem
    if sys.executable != DEBIAN_PYTHON and os.access(DEBIAN_PYTHON, os.X_OK) and TRIED not in os.environ:
        os.environ[TRIED] = sys.executable
        os.execv(DEBIAN_PYTHON, [DEBIAN_PYTHON, *sys.argv])
    version = ".".join(map(str, sys.version_info[:3]))
    too_new = "kafka.vendor" in str(missing)
    sys.exit(f"error: Python {version} at {sys.executable} cannot import kafka: {missing}\n"
             + ("  This kafka-python is too old for this Python: pip install --upgrade kafka-python, or use\n"
                if too_new else "  Install it:  apt-get install python3-kafka  (or pip install kafka-python), and use\n")
             + f"  Debian's Python:  {DEBIAN_PYTHON} {' '.join(sys.argv)}")


def topic_name(text):
    """As Kafka has it, so that a wrong one is told here, and not by a trace out of kafka-python, or by waiting."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", text) or text in (".", ".."):
        raise argparse.ArgumentTypeError(f"{text!r} is no name for a topic: letters, digits, dot, _ and - only")
    return text


def partition_number(text):
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no partition: they are counted from 0")
    return int(text)


def messages_number(text):
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of messages")
    return int(text)


def seconds(text):
    value = float(text)
    if not 0 <= value <= SECONDS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no time to wait: 0 or more seconds, a day at most")
    return value


def options(text, *more):
    """The command line. `more` are (name, keywords) for argparse."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstrap-server", default="localhost:9092", metavar="HOST:PORT",
                        help="brokers to ask first, several with commas (localhost:9092)")
    parser.add_argument("--topic", default="registred_user", type=topic_name, help="(registred_user)")
    parser.add_argument("--count", type=messages_number, metavar="N", help="end after so many messages; for ever without")
    for name, keywords in more:
        parser.add_argument(name, **keywords)
    return parser.parse_args()


class NobodyReads(SystemExit):
    """Of what the script prints: whoever did has seen enough, such as head. Then it ends, as other programs do."""


def say(*words):
    try:
        print(*words, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python says so once more at its end
        raise NobodyReads(128 + signal.SIGPIPE) from None


def is_address(server):
    host, _, port = server.rpartition(":")
    return host != "" and port.isdecimal() and 0 < int(port) <= PORT_MAX


def someone_listens(servers):
    for server in servers:
        host, _, port = server.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
            return True
        except (OSError, UnicodeError):
            continue
    return False


def wait_for_broker(kafka, bootstrap, make, stop=None):
    """make(servers), once a broker serves. Says once that it waits, and why. None when stop.signal is set before."""
    servers = [server.strip() for server in bootstrap.split(",")]
    if not all(is_address(server) for server in servers):
        sys.exit(f"error: --bootstrap-server {bootstrap}: not HOST:PORT, for example localhost:9092")
    said = None
    while stop is None or stop.signal is None:
        problem = "nobody listens there yet"
        if someone_listens(servers):
            try:
                return make(servers)
            except kafka.errors.KafkaError as error:
                problem = str(error) or type(error).__name__
        if problem != said:
            print(f"waiting for a broker at {bootstrap}: {problem} (Ctrl-C ends)", file=sys.stderr, flush=True)
            said = problem
        time.sleep(PAUSE_S)
    return None
