"""Read public keys as consoles show them, and verify signatures with them. The only place that needs `cryptography`."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_der_public_key

from processor.gateway.verifiers.call import Refused

_Key = TypeVar("_Key")

_RAW_ED25519 = 32
_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----(.*?)-----END PUBLIC KEY-----", re.DOTALL)


def first_that_verifies(
    keys: Sequence[_Key], verifies: Callable[[_Key, bytes, bytes], bool], signature: bytes, signed: bytes, what: str
) -> str:
    """Return which of the keys a signature was made for; none: the call is refused."""
    for number, key in enumerate(keys, start=1):
        if verifies(key, signature, signed):
            return f"{what}, secret {number}"
    raise Refused(f"{what} is wrong: another key, or the call was changed on its way")


@lru_cache(maxsize=256)
def elliptic(text: str) -> ec.EllipticCurvePublicKey:
    """Read a key of the curve P-256; refuse with a secret that is none."""
    key = _loaded(_octets_of(text))
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise Refused("a secret of the route is not a public key of the curve P-256")
    return key


@lru_cache(maxsize=256)
def ed25519(text: str) -> Ed25519PublicKey:
    """Read a key of Ed25519, bare or in its envelope; refuse with a secret that is none."""
    octets = _octets_of(text)
    key = Ed25519PublicKey.from_public_bytes(octets) if len(octets) == _RAW_ED25519 else _loaded(octets)
    if not isinstance(key, Ed25519PublicKey):
        raise Refused("a secret of the route is not a public key of Ed25519")
    return key


def _octets_of(text: str) -> bytes:
    """Take the octets of a key out of PEM, base64 (also that for addresses) or hex, whatever white space is in it."""
    framed = _PEM.search(text)
    bare = re.sub(r"\s|\\n", "", framed[1] if framed else text)
    try:
        if re.fullmatch(r"(?:[0-9a-fA-F]{2}){32,}", bare) and len(bare) == 2 * _RAW_ED25519:
            return bytes.fromhex(bare)
        standard = bare.replace("-", "+").replace("_", "/").rstrip("=")
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _loaded(octets: bytes) -> PublicKeyTypes | None:
    try:
        return load_der_public_key(octets)
    except (ValueError, UnsupportedAlgorithm):
        return None


def ecdsa_verifies(key: ec.EllipticCurvePublicKey, signature: bytes, signed: bytes) -> bool:
    """Return whether a signature (DER) with SHA-256 is right."""
    try:
        key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def ed25519_verifies(key: Ed25519PublicKey, signature: bytes, signed: bytes) -> bool:
    """Return whether a signature is right."""
    try:
        key.verify(signature, signed)
    except InvalidSignature:
        return False
    return True


#: What SNS signs with, by its SignatureVersion.
_SNS_HASHES: dict[str, hashes.HashAlgorithm] = {
    "1": hashes.SHA1(),  # noqa: S303 - what SNS signs with, unless the topic is set to version 2
    "2": hashes.SHA256(),
}


def is_certificate(text: str) -> bool:
    """Return whether a text is a certificate (PEM)."""
    try:
        x509.load_pem_x509_certificate(text.encode())
    except ValueError:
        return False
    return True


def certificate_verifies(certificate: str, version: str, signature: bytes, signed: bytes, now: float | None) -> bool:
    """Return whether a signature of SNS is right with a certificate (PEM), which must be valid now."""
    try:
        read = x509.load_pem_x509_certificate(certificate.encode())
    except ValueError:
        raise Refused("the certificate cannot be read") from None
    key = read.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise Refused("the certificate has no RSA key")
    if now is not None and not read.not_valid_before_utc.timestamp() <= now <= read.not_valid_after_utc.timestamp():
        raise Refused("the certificate is not valid at this time")
    try:
        key.verify(signature, signed, padding.PKCS1v15(), _SNS_HASHES[version])
    except InvalidSignature:
        return False
    return True
