"""Sign with private keys, for calls of our own: a trial, or the demo. No provider shows the key that it signs with."""

from __future__ import annotations

import base64

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)


class KeyFaultError(ValueError):
    """A key cannot sign; the text says which one can, and never quotes the key."""


def sign_elliptic(pem: str, signed: bytes) -> bytes:
    """Return the signature (DER, SHA-256) with a private key of the curve P-256.

    Raises:
        KeyFaultError: it is no such key.
    """
    key = _loaded(pem)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise KeyFaultError("not a private key of the curve P-256 as PEM")
    return key.sign(signed, ec.ECDSA(hashes.SHA256()))


def sign_ed25519(pem: str, signed: bytes) -> bytes:
    """Return the signature with a private key of Ed25519.

    Raises:
        KeyFaultError: it is no such key.
    """
    key = _loaded(pem)
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFaultError("not a private key of Ed25519 as PEM")
    return key.sign(signed)


def new_elliptic() -> tuple[str, str]:
    """Return a new private key of the curve P-256 (PEM), and its public key as SendGrid shows one."""
    return _pair(ec.generate_private_key(ec.SECP256R1()))


def new_ed25519() -> tuple[str, str]:
    """Return a new private key of Ed25519 (PEM), and its public key in base64."""
    return _pair(Ed25519PrivateKey.generate())


def _pair(key: ec.EllipticCurvePrivateKey | Ed25519PrivateKey) -> tuple[str, str]:
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), base64.b64encode(public).decode()


def _loaded(pem: str) -> object:
    try:
        return load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError):
        return None
