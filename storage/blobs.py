"""Large bytes, named by their SHA-256 and durable before the unit that refers to them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from storage.failpoints import step
from storage.outages import Outage, Watch

PIECE_BYTES = 1024 * 1024
DIGEST_CHARS = 64
ASIDE = ".aside"


class Unkept(Outage):
    """The bytes could not be kept: the folder is full, read-only or gone."""


class BadBlob(FileNotFoundError):
    """The bytes are missing or are not what was stored any more. The sentence says which file it is."""

    def __str__(self) -> str:
        return str(self.args[0])


class Blobs:
    """A directory of files; with several hosts a shared one."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._keeping = Watch("keeping files")

    def put(self, data: bytes) -> str:
        """Store the bytes and return their digest. File and folders are synced; storing twice is harmless.

        Raises Unkept.
        """
        return self._keep(hashlib.sha256(data).hexdigest(), lambda: (data,))

    def put_file(self, file: BinaryIO) -> str:
        """The same for a file open for reading that may be larger than memory; it is read twice, from its beginning."""
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        file.seek(0)
        return self._keep(digest, lambda: iter(lambda: file.read(PIECE_BYTES), b""))

    def _keep(self, digest: str, pieces: Callable[[], Iterable[bytes]]) -> str:
        target = self._path(digest)
        with self._keeping.look():
            try:
                if not _freshen(target):
                    _write(target, pieces())
            except OSError as error:
                raise Unkept(f"{self.folder} takes no files ({error.strerror}): make room or set its rights") from error
        return digest

    def restore(self, data: bytes) -> str:
        """Like `put`, for bytes that a backup or a receipt still has: a missing or damaged file is written anew."""
        digest = hashlib.sha256(data).hexdigest()
        try:
            self.get(digest)
        except BadBlob:
            self._path(digest).unlink(missing_ok=True)
        return self.put(data)

    def get(self, digest: str) -> bytes:
        """The bytes, as they were stored: the name is checked against them. Raises BadBlob."""
        path = self._path(digest)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise BadBlob(f"The bytes are missing: there is no file {path}; restore it from a backup.") from None
        if hashlib.sha256(data).hexdigest() != digest:
            raise BadBlob(f"The bytes are damaged: {path} is not what was stored; restore it from a backup.")
        return data

    def older_than(self, before: datetime) -> Iterator[str]:
        """The names of files that nobody has stored since; what writers left unfinished before that is removed."""
        for path in self.folder.glob("??/*"):
            with suppress(FileNotFoundError):
                if path.name.endswith(ASIDE):  # a crash came between taking it away and looking at it
                    path = path.rename(path.with_name(path.name.strip(".").removesuffix(ASIDE)))
                if path.stat().st_mtime >= before.timestamp():
                    continue
                if len(path.name) == DIGEST_CHARS:
                    yield path.name
                else:
                    path.unlink()

    def remove_old(self, digest: str, before: datetime) -> bool:
        """Remove a file that no row names; False when somebody has stored the same bytes since.

        It is taken out of their sight first: who stores them from then on writes them anew, and who did so a moment
        before has made the file look new.
        """
        path = self._path(digest)
        aside = path.with_name(f".{digest}{ASIDE}")
        try:
            path.rename(aside)
        except FileNotFoundError:
            return False
        if aside.stat().st_mtime >= before.timestamp():
            aside.rename(path)
            return False
        aside.unlink()
        return True

    def _path(self, digest: str) -> Path:
        if len(digest) != DIGEST_CHARS or not all(c in "0123456789abcdef" for c in digest):
            raise BadBlob(f"not a blob name: {digest[:80]!r}")
        return self.folder / digest[:2] / digest


def _freshen(target: Path) -> bool:
    """Whether the file is here; if so it counts as new, so that no sweep takes it before its unit has named it."""
    try:
        os.utime(target)
    except FileNotFoundError:
        return False
    return True


def _write(target: Path, pieces: Iterable[bytes]) -> None:
    _make(target.parent)
    # A name of our own per writer: two processes may store the same content at once.
    partial = target.with_name(f".{target.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        with partial.open("xb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        step("blob.written")
        partial.rename(target)
        step("blob.named")
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    _sync(target.parent)


def _make(folder: Path) -> None:
    """A folder and those above it. Each new one is a name in its parent, which has to be durable as well."""
    if folder.is_dir():
        return
    _make(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync(folder.parent)


def _sync(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
