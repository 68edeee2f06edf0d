"""The clients of a run as processes, and what they wrote down (client/client.h) as events for checker.py."""
import os
import subprocess

import cluster as clusters

PROGRAM = "faults_client"
FINISH_S = 150.0 * clusters.PATIENCE


def built(name, binary=None):
    """The path of what tests/faults/CMakeLists.txt builds: beside the broker, or else in a build that has the tests."""
    builds = [os.path.dirname(os.path.abspath(path)) for path in (binary, clusters.default_binary()) if path]
    builds += [os.path.join(clusters.wire.ROOT, "build", preset) for preset in ("asan", "dev")]
    paths = [os.path.join(build, "faults", name) for build in builds]
    return next((path for path in paths if os.path.exists(path)), None)


class Client:
    """One client. role: writer, probe, reader, group, ends, final; the name tells it from others of its role."""

    def __init__(self, folder, name, role, cluster, *arguments):
        self.name, self.role = name, role
        self.path = os.path.join(folder, f"{name}.history")
        self.errors = os.path.join(folder, f"{name}.errors")
        os.makedirs(folder, exist_ok=True)
        with open(self.path, "wb") as out, open(self.errors, "wb") as errors:
            command = [built(PROGRAM, cluster.binary), role, cluster.bootstrap, *map(str, arguments)]
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=errors)

    def tell(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def has_told(self, kind):
        """Whether it has written down an event of this kind."""
        with open(self.path, encoding="utf-8") as file:
            return any(line.split(" ", 1)[0] == kind for line in file)

    def ask_to_stop(self):
        if not self.process.stdin.closed:
            self.process.stdin.close()

    def finish(self, seconds=FINISH_S):
        """Wait for its end. Text of what was wrong, or None."""
        self.ask_to_stop()
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return f"{self.name} did not end within {seconds:g} s"
        with open(self.errors, encoding="utf-8", errors="replace") as file:
            return f"{self.name} ended with status {status}: {file.read().strip()}" if status != 0 else None

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.ask_to_stop()


def event_of(line):
    words = line.split(" ")
    if words[0] == "error":
        return ("error", int(words[1]), " ".join(words[2:]))
    return (words[0], *map(int, words[1:]))


def read(paths):
    """A function that gives the events of these files, again at every call."""
    def events():
        for path in paths:
            with open(path, encoding="utf-8") as file:
                for line in file:
                    if not line.endswith("\n"):
                        break  # half of one that is being written: the kernel shows a file grow page by page
                    yield event_of(line[:-1])
    return events
