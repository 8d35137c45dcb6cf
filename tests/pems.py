"""Files of certificates and keys, as `WMS_CERTS_DIR` has them; of a test authority."""

from __future__ import annotations

from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization

from tests.certificates import CA, chain_of


def pkcs8(leaf: trustme.LeafCert) -> str:
    """Its private key in the one form that Kafka's brokers read, and Terraform's provider gives."""
    key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*form).decode()


def put(path: Path, text: str, mode: int = 0o600) -> Path:
    """Write the file; `mode` are its rights, whatever the umask."""
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def certs_folder(folder: Path, leaf: trustme.LeafCert | None = None, *, ca: str = CA) -> Path:
    """Made, with ca.pem and, where there is a `leaf`, what Kafka is to be shown."""
    folder.mkdir(exist_ok=True)
    put(folder / "ca.pem", ca)
    if leaf is not None:
        put(folder / "kafka-cert.pem", chain_of(leaf))
        put(folder / "kafka-key.pem", pkcs8(leaf))
    return folder
