"""A Docker engine of our own, for as long as a test runs; the machine keeps nothing of it.

It runs twice. To build images it runs beside the machine's network, without a bridge and without iptables, and the
builds use that network. To run containers it runs in a network namespace of its own: its bridge, its iptables rules
and the ports that it publishes exist only there, so that nothing of this machine is in the way or changed, and all of
it goes with the namespace. "Outside of the containers" is then a program in that namespace: Engine.outside().

Needs root. Whatever cannot be had is an Unavailable with the reason.
"""
import os
import re
import shutil
import subprocess
import time

PROGRAMS = {"dockerd": "docker.io", "containerd": "containerd", "iptables": "iptables", "docker": "docker.io",
            "docker-compose": "docker-compose", "ip": "iproute2", "nsenter": "util-linux"}
START_S, STOP_S, PULL_S, BUILD_S, RUN_S = 120, 120, 60, 2400, 600
RELEASE = "bookworm"
NO_PACKAGES = re.compile(r"^(E: (Unable to fetch|Failed to fetch)|W: Failed to fetch|.*Temporary failure resolving)", re.M)


class Unavailable(Exception):
    """No engine can be had here; the text says why."""


class Failed(Exception):
    """A command that had to succeed did not; the text is its output."""


def missing():
    """Why no engine can be started, or None."""
    if os.geteuid() != 0:
        return "only root can start a Docker engine"
    packages = sorted({package for program, package in PROGRAMS.items() if not shutil.which(program)})
    return f"missing packages: {' '.join(packages)}" if packages else None


def run(words, timeout=RUN_S, check=True, **options):
    """Run to the end; the output, errors included. Failed when the status is not 0."""
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout,
                              check=False, stdin=subprocess.DEVNULL, **options)
    except subprocess.TimeoutExpired as late:
        raise Failed(f"{' '.join(words)}: not done after {timeout} s\n{late.stdout or ''}") from None
    if check and done.returncode != 0:
        raise Failed(f"{' '.join(words)}: status {done.returncode}\n{done.stdout[-6000:]}")
    return done.stdout


class Engine:
    """with Engine(folder) as engine: engine.build(...); engine.enter_namespace(); engine.compose(...)"""

    def __init__(self, folder):
        self.folder = folder
        self.namespace = None
        self.daemon = None
        # Debian's own client: a newer one in the path may want a builder that this engine lacks.
        docker = "/usr/bin/docker"
        self.docker_program = docker if os.path.exists(docker) else "docker"
        self.environment = {**os.environ, "DOCKER_HOST": f"unix://{folder}/docker.sock", "DOCKER_BUILDKIT": "0",
                            "COMPOSE_DOCKER_CLI_BUILD": "0"}

    def __enter__(self):
        os.makedirs(self.folder, exist_ok=True)
        try:
            self._start(["--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"])
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._stop()
        if self.namespace:
            run(["ip", "netns", "delete", self.namespace], check=False)
            self.namespace = None
        for path in self._mounts():  # dockerd leaves that of its network namespace
            run(["umount", "--lazy", path], check=False)

    def _mounts(self):
        with open("/proc/self/mounts", encoding="utf-8") as mounts:
            paths = [line.split(" ")[1] for line in mounts]
        return [path for path in reversed(paths) if path.startswith(f"{self.folder}/")]

    # ------------------------------------------------------------------ the daemon

    def _in_namespace(self, words):
        return ["nsenter", f"--net=/run/netns/{self.namespace}", *words] if self.namespace else list(words)

    def _start(self, options):
        limit = min(20000, os.sysconf("SC_OPEN_MAX"))  # the hard limit here may be below Docker's own default
        words = ["dockerd", "-H", f"unix://{self.folder}/docker.sock", "--data-root", f"{self.folder}/root",
                 "--exec-root", f"{self.folder}/exec", "-p", f"{self.folder}/docker.pid",
                 "--exec-opt", "native.cgroupdriver=cgroupfs", "--default-ulimit", f"nofile={limit}:{limit}", *options]
        with open(f"{self.folder}/dockerd.log", "ab") as log:
            self.daemon = subprocess.Popen(self._in_namespace(words), stdout=log, stderr=log,
                                           stdin=subprocess.DEVNULL, start_new_session=True)
        end = time.monotonic() + START_S
        while not self.answers():
            if self.daemon.poll() is not None or time.monotonic() > end:
                raise Unavailable("dockerd does not start:\n" + self.log_tail())
            time.sleep(0.1)

    def _stop(self):
        if self.daemon is None:
            return
        self.daemon.terminate()
        try:
            self.daemon.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            self.daemon.wait()
        self.daemon = None

    def answers(self):
        try:
            return subprocess.run([self.docker_program, "version"], env=self.environment, check=False,
                                  capture_output=True, timeout=20).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def log_tail(self):
        with open(f"{self.folder}/dockerd.log", encoding="utf-8", errors="replace") as log:
            return "".join(log.readlines()[-15:])

    def enter_namespace(self):
        """Start again in a network namespace of its own, with the images that were built."""
        self._stop()
        name = f"barnabas-deploy-{os.getpid()}"
        try:
            run(["ip", "netns", "add", name])
            self.namespace = name
            run(self._in_namespace(["ip", "link", "set", "lo", "up"]))
        except Failed as problem:
            raise Unavailable(f"no network namespace: {problem}") from None
        self._start([])

    # ------------------------------------------------------------------ what it does

    def docker(self, *words, **options):
        return run([self.docker_program, *words], env=self.environment, **options)

    def outside(self, *words, **options):
        """A program on "this machine", as the published ports see it."""
        return run(self._in_namespace(words), **options)

    def compose(self, file, *words, **options):
        return run(["docker-compose", "-f", file, "-p", "barnabastest", *words], env=self.environment, **options)

    def has_image(self, name):
        return self.docker("image", "ls", "-q", name).strip() != ""

    def ensure_base(self, name):
        """The base image: pulled where there is a registry, else made from Debian's packages."""
        if self.has_image(name):
            return "was there"
        try:
            self.docker("pull", name, timeout=PULL_S)
            return "pulled"
        except Failed:
            pass
        if not shutil.which("debootstrap"):
            raise Unavailable(f"{name} cannot be pulled, and debootstrap (package debootstrap) is missing to make one")
        root = f"{self.folder}/rootfs"
        try:
            run(["debootstrap", "--variant=minbase", RELEASE, root], timeout=BUILD_S)
        except Failed as problem:
            raise Unavailable(f"{name} cannot be pulled, nor made by debootstrap: {problem}") from None
        archive = f"{self.folder}/rootfs.tar"
        run(["tar", "-C", root, "-cf", archive, "."], timeout=BUILD_S)
        self.docker("import", archive, name, timeout=BUILD_S)
        os.unlink(archive)
        shutil.rmtree(root, ignore_errors=True)
        return "made by debootstrap"

    def build(self, tag, context, dockerfile):
        """Unavailable where the packages cannot be fetched: that is not the Dockerfile's fault."""
        try:
            self.docker("build", "--network", "host", "-t", tag, "-f", dockerfile, context, timeout=BUILD_S)
        except Failed as problem:
            if NO_PACKAGES.search(str(problem)):
                raise Unavailable(f"Debian's packages cannot be fetched: {problem}") from None
            raise

    def health(self, containers):
        """{container: healthy, starting, unhealthy, or its state when it does not run}"""
        form = "{{.Name}} {{if .State.Running}}{{.State.Health.Status}}{{else}}{{.State.Status}}{{end}}"
        lines = self.docker("inspect", "--format", form, *containers).split("\n")
        return dict(line.lstrip("/").split(" ", 1) for line in lines if " " in line)
