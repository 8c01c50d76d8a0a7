"""A real Dovecot of our own for one test: unprivileged, in a temporary folder, on free ports of 127.0.0.1.

The one that the system has (`DOVECOT` may name another), or a 2.4 that `make prove` unpacks, entered by chroot: its
programs know one another by absolute paths.
"""

from __future__ import annotations

import base64
import grp
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import jwt
from imapclient import IMAPClient

from tests.support import need
from tests.support.certificates import certificate

SYSTEM = Path("/")
NEWER = Path(__file__).resolve().parents[2].joinpath(".venv").resolve() / "dovecot-2.4"  # as the Makefile unpacks it
PASSWORD = "secret"
NOBODY = "nobody"
PATIENCE = 15  # seconds for a condition that normally holds at once
JWT_SECRET = b"a secret of at least thirty-two bytes for HS256"

COMMON = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
protocols = imap
listen = 127.0.0.1
auth_mechanisms = plain login xoauth2 oauthbearer
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
first_valid_uid = 1
mail_max_userip_connections = 100
ssl = yes
auth_failure_delay = 0
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {imap_port}
  }}
  inet_listener imaps {{
    port = {imaps_port}
    ssl = yes
  }}
}}
namespace inbox {{
  inbox = yes
  separator = /
}}
"""
SENT_FOLDER = "namespace inbox {\n  mailbox Gesendet {\n    special_use = \\Sent\n    auto = create\n  }\n}\n"
VERSION_2_3 = """
disable_plaintext_auth = no
ssl_cert = <{certificate}
ssl_key = <{key}
mail_location = maildir:{folder}/mail/%u
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {folder}/oauth2.conf.ext
}}
passdb {{
  driver = static
  mechanisms = plain login
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={folder}/mail/%u
}}
"""
OAUTH_2_3 = """
introspection_mode = local
local_validation_key_dict = fs:posix:prefix={folder}/keys/
username_attribute = email
username_format = %Lu
"""
VERSION_2_4 = """
auth_allow_cleartext = yes
ssl_server_cert_file = {certificate}
ssl_server_key_file = {key}
mail_driver = maildir
mail_path = {folder}/mail/%{{user}}
oauth2_introspection_mode = local
oauth2_username_attribute = email
oauth2_local_validation {{
  dict fs {{
    fs posix {{
      prefix = {folder}/keys/
    }}
  }}
}}
passdb static {{
  password = {password}
}}
userdb static {{
  fields {{
    uid = {user}
    gid = {group}
    home = {folder}/mail/%{{user}}
  }}
}}
"""


@dataclass(slots=True)
class Dovecot:
    """A running server. Every user exists, with the password "secret" and an empty INBOX."""

    root: Path  # of the system that it runs in
    folder: Path
    user: str
    group: str
    imap_port: int
    imaps_port: int
    ca_file: Path
    numbers: Iterator[int]
    host: str = "127.0.0.1"

    def deliver(self, user: str, mail: bytes) -> None:
        """Drop a mail into the Maildir as a delivery agent does: written aside, then moved in place.

        Dovecot numbers what it finds by the seconds and microseconds in the names (https://cr.yp.to/proto/maildir.html).
        """
        maildir, (seconds, left) = self._maildir(user), divmod(time.time_ns(), 10**9)
        name = f"{seconds}.M{left // 1000:06d}P{os.getpid()}Q{next(self.numbers)}.test"
        (maildir / "tmp" / name).write_bytes(mail)
        self._own(maildir / "tmp" / name)
        (maildir / "tmp" / name).rename(maildir / "new" / name)

    def reset_uidvalidity(self, user: str) -> None:
        """What a restored backup does to a folder: the same mails under a new UIDVALIDITY."""
        maildir = self._maildir(user)
        header = (maildir / "dovecot-uidlist").read_text().split("\n")[0]
        old = int(re.findall(r"\bV(\d+)", header)[0])
        self.kick(user)
        for each in maildir.glob("dovecot*"):
            each.unlink()
        until(lambda: time.time() >= old + 1, "the next second, because UIDVALIDITY is a time")

    def kick(self, user: str) -> None:
        """Cut the user's connections from the server's side, and see them gone."""
        if self.sessions(user):
            self._doveadm("kick", user)
            until(lambda: not self.sessions(user), "sessions that end")

    def freeze(self, user: str) -> None:
        """Leave the user's connections open and dead, as a lost route does."""
        for process in self.sessions(user):
            os.kill(process, signal.SIGSTOP)

    def thaw(self, user: str) -> None:
        """Let frozen connections go on."""
        for process in self.sessions(user):
            os.kill(process, signal.SIGCONT)

    def copies(self, user: str, message_id: str) -> int:
        """How many mails of that id lie in the folder for what was sent, of a server with SENT_FOLDER."""
        with IMAPClient(self.host, self.imap_port, ssl=False, timeout=5) as client:
            client.login(user, PASSWORD)
            client.select_folder("Gesendet", readonly=True)
            return len(client.search(["HEADER", "Message-ID", message_id]))

    def sessions(self, user: str) -> list[int]:
        """Process ids that serve the user."""
        listed = self._doveadm("-f", "tab", "who", "-1", user).splitlines()[1:]
        return [int(line.split("\t")[2]) for line in listed if line.strip()]

    def flags(self, user: str) -> list[str]:
        """The Maildir flags of every mail, in the order of delivery."""
        maildir = self._maildir(user)
        names = sorted(each.name for part in ("cur", "new") for each in (maildir / part).iterdir())
        return [name.partition(":2,")[2] for name in names]

    def token(self, user: str, *, expired: bool = False) -> str:
        """An access token as a provider would issue it, good for an hour or no longer."""
        now = int(time.time())
        lifetime = {"iat": now - 7200, "exp": now - 3600 if expired else now + 3600}
        return jwt.encode({"email": user, "sub": user, **lifetime}, JWT_SECRET, algorithm="HS256")

    def _doveadm(self, *words: str) -> str:
        command = within(self.root, "doveadm", "-c", str(self.folder / "dovecot.conf"), *words)
        return subprocess.run(command, capture_output=True, text=True).stdout

    def _maildir(self, user: str) -> Path:
        maildir = self.folder / "mail" / user
        for each in (maildir, maildir / "tmp", maildir / "new", maildir / "cur"):
            if not each.exists():
                each.mkdir()
                self._own(each)
        return maildir

    def _own(self, path: Path) -> None:
        if os.geteuid() == 0:
            shutil.chown(path, self.user, self.group)


@contextmanager
def dovecot(extra: str = "", root: Path | None = None) -> Iterator[Dovecot]:
    """Start one, wait until it greets, and take it down with the block.

    `extra` are lines of configuration. `root` is the system to run it in: NEWER, or the one that tests use by default.
    """
    root = installed() if root is None else root
    if root == NEWER:
        need((root / "usr/sbin/dovecot").exists(), "Dovecot 2.4 (make dovecot, as root on Debian)")
    user = pwd.getpwnam(NOBODY) if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    folder = Path(tempfile.mkdtemp(prefix="dovecot-", dir=root / "tmp"))
    made = certificate(folder)
    imap_port, imaps_port = free_ports(2)
    names = {
        "folder": folder,
        "user": user.pw_name,
        "group": grp.getgrgid(user.pw_gid).gr_name,
        "password": PASSWORD,
        "imap_port": imap_port,
        "imaps_port": imaps_port,
        "certificate": made.certificate,
        "key": made.key,
    }
    _write(root, folder, names, extra)
    if os.geteuid() == 0:
        for each in [folder, *folder.rglob("*")]:
            shutil.chown(each, user.pw_uid, user.pw_gid)
    command = within(root, "dovecot", "-F", "-c", str(folder / "dovecot.conf"))
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        until(lambda: process.poll() is not None or greets(imap_port), "a greeting from Dovecot")
        if process.poll() is not None:
            words = process.stderr.read().decode() if process.stderr else ""
            raise RuntimeError(f"Dovecot did not start: {words}")
        yield Dovecot(
            root, folder, user.pw_name, str(names["group"]), imap_port, imaps_port, made.certificate, numbers=count()
        )
    finally:
        process.terminate()
        process.wait(PATIENCE)
        shutil.rmtree(folder, ignore_errors=True)


def installed() -> Path:
    """The root of the system whose Dovecot tests use: the machine's own, or what `DOVECOT` names."""
    named = os.environ.get("DOVECOT")
    if named is None:
        need(shutil.which("dovecot") is not None, "Dovecot (apt-get install dovecot-imapd)")
        return SYSTEM
    root = Path(named).resolve()
    if not (root / "usr/sbin/dovecot").exists():
        raise RuntimeError(f"DOVECOT={named} is no folder with a system in it: it has no usr/sbin/dovecot.")
    return root


def within(root: Path, *words: str) -> list[str]:
    """The command for a program of that system, as the account that is nobody: Dovecot never runs as root here.

    Inside another root the machine's paths hold too, by a link to that root: one configuration tells both sides.
    """
    if os.geteuid() != 0:
        need(root == SYSTEM, f"root's rights, to enter {root}")
        return list(words)
    nobody = pwd.getpwnam(NOBODY)
    if root == SYSTEM:
        return ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups", *words]
    link = root / str(root).lstrip("/")
    if not link.is_symlink():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to("/")
    return ["chroot", f"--userspec={nobody.pw_uid}:{nobody.pw_gid}", "--groups=", str(root), *words]


def _write(root: Path, folder: Path, names: dict[str, object], extra: str) -> None:
    """The configuration for whichever of the two dialects is installed."""
    asked = within(root, "dovecot", "--version")
    version = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    major, minor = (int(each) for each in re.findall(r"\d+", version)[:2])
    newer = (major, minor) >= (2, 4)
    settings = COMMON + (VERSION_2_4 if newer else VERSION_2_3)
    # In 2.4 these two have to come first and name the dialect.
    header = "dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\n" if newer else ""
    (folder / "dovecot.conf").write_text(header + settings.format(**names) + extra)
    (folder / "oauth2.conf.ext").write_text(OAUTH_2_3.format(**names))
    key = folder / "keys" / "default" / "HS256" / "default"
    key.parent.mkdir(parents=True)
    key.write_bytes(base64.b64encode(JWT_SECRET))
    for each in ("mail", "run", "state"):
        (folder / each).mkdir()


def greets(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as line:
            return line.recv(4) == b"* OK"
    except OSError:
        return False


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens on just now."""
    holders = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in holders]
    for each in holders:
        each.close()
    return ports


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for a condition, and fail with its name when it never holds."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {PATIENCE} s for {what}")
        time.sleep(0.02)
