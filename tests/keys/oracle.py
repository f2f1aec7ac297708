"""The key formats written a second time, on other people's cryptography: Python's hashlib and the `cryptography` package.

Shared by the tests beside it. Nothing here looks at the C++ code; the layouts are those that keys/container.h and keys/body.h state.
"""
import hashlib
import json
import struct

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

HEADER = struct.Struct('<8s4BIII32s12sQ')
MAGIC = b'CMKEYS\r\n'
STORE, BUNDLE = 1, 2


def unseal(data, passphrase, kind):
    """The decrypted body and the scrypt cost (N, r, p) of a container."""
    magic, version, found, kdf, cipher, n, r, p, salt, nonce, size = HEADER.unpack(data[:HEADER.size])
    assert (magic, version, found, kdf, cipher) == (MAGIC, 1, kind, 1, 1)
    assert len(data) == HEADER.size + size + 16
    key = Scrypt(salt=salt, length=32, n=n, r=r, p=p).derive(passphrase)
    return AESGCM(key).decrypt(nonce, data[HEADER.size:], data[:HEADER.size]), (n, r, p)


def seal(body, passphrase, kind, cost=(1 << 15, 8, 1), salt=bytes(range(32)), nonce=bytes(range(12))):
    header = HEADER.pack(MAGIC, 1, kind, 1, 1, *cost, salt, nonce, len(body))
    key = Scrypt(salt=salt, length=32, n=cost[0], r=cost[1], p=cost[2]).derive(passphrase)
    return header + AESGCM(key).encrypt(nonce, body, header)


def canonical(value):
    """RFC 8785 for objects with ASCII names, strings, small integers and decimals above 1e-6."""
    if isinstance(value, dict):
        return '{' + ','.join(canonical(k) + ':' + canonical(value[k]) for k in sorted(value)) + '}'
    if isinstance(value, list):
        return '[' + ','.join(canonical(v) for v in value) + ']'
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    return json.dumps(value, ensure_ascii=False)


def derive(parent, *labels):
    info = b'countermark/v1'
    for label in labels:
        raw = label.encode()
        info += bytes([len(raw)]) + raw if len(raw) <= 254 else b'\xff' + hashlib.sha256(raw).digest()
    return HKDF(hashes.SHA256(), 32, salt=None, info=info).derive(parent)


def commitment(salt, key, record):
    return hashlib.sha256(b'countermark/v1/commit' + salt + key + hashlib.sha256(record).digest()).hexdigest()


def merkle_root(entries):
    """RFC 9162, 2.1.1."""
    if not entries:
        return hashlib.sha256(b'').digest()
    if len(entries) == 1:
        return hashlib.sha256(b'\0' + entries[0]).digest()
    k = 1
    while k * 2 < len(entries):
        k *= 2
    return hashlib.sha256(b'\1' + merkle_root(entries[:k]) + merkle_root(entries[k:])).digest()
