"""A network of a test's own: faults that need a line to cut or a resolver to break.

`in_namespace(function)` runs a function of a test module in a process with its own network and mounts, where it is root
and loopback is all there is. Skipped where the system does not allow it.
Not here: faults that a loopback socket can have (faulty_server.py).
"""

import functools
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest
from processes import in_process

_A, _AAAA = 1, 28
_FAMILIES = {_A: socket.AF_INET, _AAAA: socket.AF_INET6}


def in_namespace(function, *, within=40):
    """Run a module's function there; it has to end within so many seconds."""
    in_process(function, before=_unshare(), within=within)


@functools.cache
def _unshare():
    for program in ("unshare", "ip", "tc", "mount"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    for command in (["unshare", "-nm"], ["unshare", "-Urnm"]):
        check = "ip link set lo up && tc qdisc add dev lo root blackhole && mount -t tmpfs tmpfs /mnt"
        if subprocess.run([*command, "sh", "-c", check], capture_output=True).returncode == 0:
            return command
    pytest.skip("this system gives nobody here a network namespace with a blackhole qdisc")


# ---- inside ---------------------------------------------------------------------------------------------------------


def loopback(*addresses):
    """Bring loopback up, with more addresses than its own."""
    _call("ip", "link", "set", "lo", "up")
    for address in addresses:
        _call("ip", "address", "add", address, "dev", "lo", *(["nodad"] if ":" in address else []))


def cut():
    """From now on every packet is dropped, in silence."""
    _call("tc", "qdisc", "add", "dev", "lo", "root", "blackhole")


def mend():
    """Packets pass again."""
    _call("tc", "qdisc", "del", "dev", "lo", "root")


def kernel(name, value):
    """Set a value of the network's below /proc/sys/net."""
    Path("/proc/sys/net", name).write_text(value)


def names(hosts="", options=""):
    """Names come from `hosts` (lines as in /etc/hosts), then from the name server at 127.0.0.1."""
    _replace("/etc/nsswitch.conf", "hosts: files dns\n")
    _replace("/etc/hosts", hosts)
    _replace("/etc/resolv.conf", f"nameserver 127.0.0.1\noptions {options}\n")


class NameServer(threading.Thread):
    """Answers on 127.0.0.1, port 53. addresses(name): a list of them; empty: no such name; None: no answer at all."""

    def __init__(self, addresses):
        super().__init__(daemon=True)
        self._addresses = addresses
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 53))
        self.asked = []
        self.start()

    def run(self):
        while True:
            query, asker = self._socket.recvfrom(512)
            question, name, kind = _read_question(query)
            self.asked.append(name)
            addresses = self._addresses(name)
            if addresses is not None:
                self._socket.sendto(_answer(query, question, kind, addresses), asker)


def _read_question(query):
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    return query[12 : at + 5], ".".join(labels), struct.unpack_from(">H", query, at + 1)[0]


def _answer(query, question, kind, addresses):
    family = _FAMILIES.get(kind)
    mine = [socket.inet_pton(family, each) for each in addresses if (":" in each) is (kind == _AAAA)] if family else []
    records = b"".join(struct.pack(">HHHIH", 0xC00C, kind, 1, 0, len(data)) + data for data in mine)
    flags = 0x8180 if addresses else 0x8183
    return query[:2] + struct.pack(">HHHHH", flags, 1, len(mine), 0, 0) + question + records


def _replace(path, text):
    with tempfile.NamedTemporaryFile("w", delete=False) as file:
        file.write(text)
    Path(file.name).chmod(0o644)
    _call("mount", "--bind", file.name, path)
    Path(file.name).unlink()


def _call(*command):
    subprocess.run(command, check=True, capture_output=True)
