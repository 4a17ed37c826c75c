"""Starts and stops the far end, and makes the certificate it serves.

Not here: how it is compiled (build.py) and what it answers (far_end.c).
"""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import trustme

from bench.machine import pin_process


@dataclass(frozen=True)
class Certificate:
    """Files in PEM: the authority that clients trust, and the chain and key that the far end serves."""

    authority: Path
    chain: Path
    key: Path

    @classmethod
    def made_in(cls, folder: Path) -> Self:
        """A fresh authority and a certificate for 127.0.0.1 and localhost, written into `folder`."""
        files = cls(folder / "authority.pem", folder / "chain.pem", folder / "key.pem")
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1", "localhost")
        authority.cert_pem.write_to_path(str(files.authority))
        issued.private_key_pem.write_to_path(str(files.key))
        for number, blob in enumerate(issued.cert_chain_pems):
            blob.write_to_path(str(files.chain), append=number > 0)
        return files


class FarEnd:
    """One running far end, pinned to `core` where the platform can; a context manager. It ends with its stdin.

    recording: a file of messages, one a line, for floods that ask for it.
    """

    def __init__(self, binary: Path, certificate: Certificate, core: int | None, recording: Path | None = None) -> None:
        files = [certificate.chain, certificate.key, *([recording] if recording is not None else [])]
        self._command = [str(binary), *map(str, files)]
        self._core = core
        self._ports: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        pin_process(self._process.pid, self._core)
        assert self._process.stdout is not None
        words = self._process.stdout.readline().split()
        self._ports = {name: int(port) for name, port in zip(words[::2], words[1::2], strict=True)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    @property
    def has_tls(self) -> bool:
        """Whether OpenSSL was compiled in."""
        return "tls" in self._ports

    def url(self, path: str, *, tls: bool) -> str:
        """The address of `path`. Raises KeyError for TLS that was left out."""
        return f"wss://127.0.0.1:{self._ports['tls']}{path}" if tls else f"ws://127.0.0.1:{self._ports['plain']}{path}"


def client_context(authority: str) -> ssl.SSLContext:
    """What every client verifies with: the defaults of Python, and one authority."""
    return ssl.create_default_context(cafile=authority)
