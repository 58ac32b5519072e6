"""Certificates for servers of tests, made with the `openssl` program."""

import subprocess
from pathlib import Path
from typing import NamedTuple


class Certificate(NamedTuple):
    """A certificate for 127.0.0.1, which is its own authority, and its key."""

    file: Path
    key: Path


def make_certificate(directory: Path) -> Certificate:
    """A new one, in this directory."""
    certificate = Certificate(directory / "certificate.pem", directory / "key.pem")
    command = [
        *("openssl", "req", "-x509", "-nodes", "-days", "1", "-subj", "/CN=localhost"),
        *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        *("-addext", "keyUsage=critical,digitalSignature,keyCertSign"),
        *("-keyout", str(certificate.key), "-out", str(certificate.file)),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return certificate
