"""Templates as they were compiled last: the first pages after a restart are as fast as the next ones."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError

from jinja2 import FileSystemBytecodeCache
from jinja2.bccache import Bucket


class Compiled(FileSystemBytecodeCache):
    """Kept in a folder of the hub's own data, because who can write them says what the hub does.

    A disk that is full or can't be written costs the next start a second, and no page.
    """

    def __init__(self, folder: Path):
        super().__init__(str(folder))
        self._folder = folder

    def load_bytecode(self, bucket: Bucket) -> None:
        """What is there and whole; a template that has changed since is compiled anew."""
        try:
            super().load_bytecode(bucket)
        except (OSError, UnpicklingError, EOFError, ValueError):
            bucket.reset()

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep it for the next start."""
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, exist_ok=True)
            super().dump_bytecode(bucket)
