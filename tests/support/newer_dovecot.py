"""Unpack Dovecot 2.4 beside the installed one: `make dovecot`, for which `make prove` asks.

Debian's newest stable packages, from the mirror that apt already uses here and held to Debian's own signatures, go
into a folder of their own. Nothing is installed: no package's script runs, and removing the folder removes all of it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.support.dovecot import NEWER

SUITE = "trixie"  # Debian 13: the first with Dovecot 2.4
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MERGED = ("bin", "lib", "lib64", "sbin")  # links into /usr, which Debian's base-files would make
DEVICES = {"null": (1, 3), "urandom": (1, 9)}
UNNEEDED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/perl", "usr/lib/systemd")
PATIENCE = 180  # seconds for a download of about 40 MB


class CannotUnpack(Exception):
    """Why there will be no Dovecot 2.4 on this machine. Its tests then say that it is missing."""


def unpack(target: Path) -> None:
    """Bring the packages and lay them out below `target`, all of it or nothing. Raises CannotUnpack."""
    if os.geteuid() != 0:
        raise CannotUnpack("it needs root, because such a folder is entered by chroot.")
    if not shutil.which("apt-get") or not KEYRING.exists():
        raise CannotUnpack("it comes as a Debian package, and this is no Debian.")
    with tempfile.TemporaryDirectory(prefix="dovecot-packages-") as folder:
        root = Path(tempfile.mkdtemp(prefix=f"{target.name}-", dir=target.parent))
        try:
            for package in _packages(Path(folder), _mirror()):
                subprocess.run(["dpkg-deb", "-x", package, root], check=True)
            _furnish(root)
            root.rename(target)
        finally:
            shutil.rmtree(root, ignore_errors=True)


def _mirror() -> str:
    """Where apt gets this machine's Debian from."""
    for renewed in (False, True):
        if renewed:
            _apt("update", "-q")
        for line in _apt("indextargets", "--format", "$(ORIGIN) $(COMPONENT) $(REPO_URI)").splitlines():
            if line.startswith("Debian main ") and "security" not in line:
                return line.split(" ", 2)[2]
    raise CannotUnpack("apt has no source of Debian's packages here.")


def _packages(folder: Path, mirror: str) -> Iterator[Path]:
    """Dovecot and all that it needs, downloaded as if nothing were installed."""
    for each in ("lists/partial", "cache/archives/partial"):
        (folder / each).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror} {SUITE} main\n")
    settings = {
        "Dir::Etc::SourceList": folder / "sources.list",
        "Dir::Etc::SourceParts": os.devnull,
        "Dir::State::Lists": folder / "lists",
        "Dir::State::Status": folder / "status",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "root",  # apt's own account may not enter our folder
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    _apt(*options, "update", "-q")
    _apt(*options, "install", "-q", "-y", "--download-only", "--no-install-recommends", "dovecot-imapd")
    yield from sorted((folder / "cache" / "archives").glob("*.deb"))


def _furnish(root: Path) -> None:
    """What the packages' scripts would have made, as far as Dovecot asks for it."""
    for each in MERGED:
        if (root / "usr" / each).is_dir() and not (root / each).exists():
            (root / each).symlink_to(f"usr/{each}")
    for each in ("dev", "tmp"):
        (root / each).mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)
    root.chmod(0o755)
    for name in ("passwd", "group"):
        shutil.copy(Path("/etc") / name, root / "etc" / name)
    for name, (major, minor) in DEVICES.items():
        os.mknod(root / "dev" / name, 0o020666, os.makedev(major, minor))
        (root / "dev" / name).chmod(0o666)
    for each in UNNEEDED:
        shutil.rmtree(root / each, ignore_errors=True)


def _apt(*words: str) -> str:
    done = subprocess.run(["apt-get", *words], capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode != 0:
        raise CannotUnpack(f"apt-get says: {done.stderr.strip()[-300:]}")
    return done.stdout


def main() -> None:
    """Unpack it once; say loudly when that can't be done, and go on."""
    if (NEWER / "usr/sbin/dovecot").exists():
        return
    print("unpacking Dovecot 2.4 for the long proofs")
    try:
        unpack(NEWER)
    except (CannotUnpack, OSError, subprocess.SubprocessError) as error:
        print(f"NO DOVECOT 2.4, so that its tests are skipped: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
