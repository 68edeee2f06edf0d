"""Disks and clocks that misbehave: the orders for shim/shim.c, and file systems that can lose their power.

    disk = Shim(broker)                     # before the broker is started
    disk.hang = Shim.WRITES | Shim.SYNCS    # holds at once
    disk.hanging                            # how many of its calls hang

    mounted = Mounted(broker)               # its data folder is a file system of its own, in a file
    mounted.lose_power()                    # after kill -9: what was not synced is gone
"""
import errno
import fcntl
import mmap
import os
import shutil
import struct
import subprocess
import tempfile

import history
import network

SHIM = "faults_shim.so"
ROOM = 1 << 62
NAMES = ("room", "slow_us", "hang", "fail_syncs", "clock_ms", "boot",  # orders
         "writes", "syncs", "no_space", "failed", "hanging", "jumped")  # counted by the shim


def shim_missing():
    return None if history.built(SHIM) else f"no {SHIM} (build the tests first)"


class Shim:
    WRITES, SYNCS, READS = 1, 2, 4

    def __init__(self, broker):
        os.makedirs(broker.folder, exist_ok=True)
        path = os.path.join(broker.folder, "orders")
        with open(path, "wb") as file:
            file.write(struct.pack(f"{len(NAMES)}q", ROOM, *[0] * (len(NAMES) - 1)))
        with open(path, "r+b") as file:
            self.__dict__["map"] = mmap.mmap(file.fileno(), 0)
        broker.env.update({"LD_PRELOAD": history.built(SHIM), "FAULTS_ORDERS": path,
                           "FAULTS_FOLDER": os.path.join(broker.folder, "data")})
        # The sanitizer's library wants to be the first one; it need not be.
        options = os.environ.get("ASAN_OPTIONS", "")
        broker.env["ASAN_OPTIONS"] = f"{options}:verify_asan_link_order=0".lstrip(":")

    def __getattr__(self, name):
        return struct.unpack_from("q", self.map, 8 * NAMES.index(name))[0]

    def __setattr__(self, name, value):
        struct.pack_into("q", self.map, 8 * NAMES.index(name), value)

    def well_again(self):
        self.slow_us = self.hang = self.fail_syncs = self.clock_ms = 0
        self.room = ROOM


# ------------------------------------------------------------------ file systems

EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2


class Mounted:
    SIZE_BYTES = 512 << 20

    def __init__(self, broker, size_bytes=SIZE_BYTES):
        self.folder = os.path.join(broker.folder, "data")
        self.image = os.path.join(broker.folder, "disk")
        os.makedirs(self.folder, exist_ok=True)
        with open(self.image, "wb") as file:
            file.truncate(size_bytes)  # a sparse file
        network.run("mkfs.ext4", "-q", "-F", "-m", "0", self.image)
        self.mount()
        os.rmdir(os.path.join(self.folder, "lost+found"))

    def mount(self):
        network.run("mount", "-o", "loop", self.image, self.folder)

    def unmount(self):
        network.run("umount", self.folder)

    def lose_power(self):
        """The file system stops at once, without writing anything down, and comes back with what it has on its disk."""
        fd = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(fd)
        self.unmount()
        self.mount()

    def fill(self, left_bytes):
        """Take all room but so much; give it back with free()."""
        with open(os.path.join(self.folder, "filler"), "wb") as file:
            taken, wanted = 0, os.statvfs(self.folder).f_bavail * os.statvfs(self.folder).f_frsize - left_bytes
            while wanted >= os.statvfs(self.folder).f_frsize:
                try:
                    os.posix_fallocate(file.fileno(), taken, wanted)
                    return
                except OSError as problem:  # others write meanwhile; what could be had may have been taken
                    if problem.errno != errno.ENOSPC:
                        raise
                    taken, wanted = os.fstat(file.fileno()).st_size, wanted // 2

    def free(self):
        os.unlink(os.path.join(self.folder, "filler"))

    def keep(self):
        """A copy of the folder that can be looked at when this program is over."""
        shutil.copytree(self.folder, self.folder + "-kept", dirs_exist_ok=True)


def _try_to_lose_power(folder):
    class Broker:
        pass

    broker = Broker()
    broker.folder = folder
    disk = Mounted(broker, 16 << 20)
    try:
        with open(os.path.join(disk.folder, "a"), "wb", buffering=0) as file:
            file.write(b"synced")
            os.fsync(file.fileno())
            file.write(b"not synced")
        disk.lose_power()
        with open(os.path.join(disk.folder, "a"), "rb") as file:
            found = file.read()
    finally:
        disk.unmount()
    return None if found == b"synced" else f"a file system without power kept {found}"


def mounts_missing():
    """Why there can be no Mounted here, or None: it is tried."""
    if not network.inside():
        return network.missing_privileges() or "it has no mounts of its own"
    if shutil.which("mkfs.ext4") is None:
        return "no mkfs.ext4 (package e2fsprogs)"
    with tempfile.TemporaryDirectory() as folder:
        try:
            return _try_to_lose_power(folder)
        except (OSError, subprocess.SubprocessError) as problem:
            return f"no file system that can be shut down: {problem}"
