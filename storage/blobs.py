"""Large bytes, named by their SHA-256 and durable before the unit that refers to them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


class Blobs:
    """A directory of files; with several hosts a shared one."""

    def __init__(self, folder: Path):
        self.folder = folder

    def put(self, data: bytes) -> str:
        """Store the bytes and return their digest. File and directory are synced; storing twice is harmless."""
        digest = hashlib.sha256(data).hexdigest()
        target = self._path(digest)
        if target.exists():
            return digest
        target.parent.mkdir(parents=True, exist_ok=True)
        # A name of our own per writer: two processes may store the same content at once.
        partial = target.with_name(f".{digest}.{os.getpid()}.{os.urandom(4).hex()}")
        with partial.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(target)
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes. Raises FileNotFoundError when they are not here."""
        return self._path(digest).read_bytes()

    def _path(self, digest: str) -> Path:
        if len(digest) != 64 or not all(c in "0123456789abcdef" for c in digest):
            raise FileNotFoundError(f"not a blob name: {digest[:80]!r}")
        return self.folder / digest[:2] / digest
