"""A self-signed certificate for 127.0.0.1, made by openssl for one test."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support import need


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files in PEM; `certificate` is its own authority."""

    certificate: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


def certificate(folder: Path) -> Certificate:
    """Valid for a day, for 127.0.0.1 and localhost."""
    need(shutil.which("openssl") is not None, "openssl (apt-get install openssl)")
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    wanted = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost"
    names = "subjectAltName=IP:127.0.0.1,DNS:localhost"
    files = ["-keyout", str(made.key), "-out", str(made.certificate)]
    subprocess.run(["openssl", "req", *wanted.split(), "-addext", names, *files], check=True, capture_output=True)
    return made
