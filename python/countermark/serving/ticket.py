"""The account statement that travels from the API to the hook, under a MAC.

    key = TicketKey.from_file("/run/secrets/ticket.key")          # 0600, 64 hex digits; TicketKey.make_file(path) makes one
    text = key.mint("org-1", "r-1", expiry=int(time.time()) + 600)
    key.verify(text)                                              # Ticket(account='org-1', request='r-1', expiry=…), or TicketError

    text   = "cm1." b64url(account) "." b64url(request label) "." expiry in Unix seconds, decimal
    ticket = text "." b64url(HMAC-SHA256(key, "countermark/ticket/v1" 0x00 text))

b64url is RFC 4648's alphabet for addresses without padding, and only its canonical form is read. Account and label are UTF-8, 1 to 254 and 1 to 128 bytes; the
expiry has no leading zero and at most 12 digits. A ticket is valid while now < expiry. The C++ twin is src/server/ticket.h; known answers of both are in
tests/vectors/ticket-v1.json.
"""

import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
import stat
import time
from dataclasses import dataclass
from typing import Literal, NoReturn

from countermark.errors import AlreadyExistsError, DeniedError, InvalidArgumentError, NotFoundError

LIFETIME_S = 600
MAX_ACCOUNT_BYTES = 254
MAX_LABEL_BYTES = 128
MAX_TICKET_BYTES = 640  # more than the longest ticket: what is longer is not looked at

_CONTEXT = b"countermark/ticket/v1\0"
_FORM = re.compile(r"cm1\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([1-9][0-9]{0,11})\.([A-Za-z0-9_-]{43})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a valid ticket says."""

    account: str
    request: str
    expiry: int


class TicketError(Exception):
    """A ticket that must not be believed. `outcome` is the counter's label: "forged" (malformed, or another key's) or "stale"."""

    def __init__(self, outcome: Literal["forged", "stale"], message: str):
        super().__init__(message)
        self.outcome: Literal["forged", "stale"] = outcome


class TicketKey:
    """The 32 bytes that API and hook share. Not in repr, not picklable: each process reads the file."""

    __slots__ = ("_mac",)

    def __init__(self, key: bytes):
        if len(key) != 32:
            raise InvalidArgumentError(f"a ticket key has 32 bytes, not {len(key)}")
        self._mac = hmac.new(key, _CONTEXT, hashlib.sha256)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> "TicketKey":
        """Reads 64 hex digits and at most one newline from a file that only its owner may read. Errors: NotFoundError, DeniedError, InvalidArgumentError."""
        return cls(_key_bytes(read_private(path, "ticket key"), path))

    @staticmethod
    def make_file(path: str | os.PathLike[str]) -> None:
        """Writes a fresh key, 0600; an existing file is an error."""
        write_private(path, secrets.token_hex(32) + "\n")

    def mint(self, account: str, request: str, expiry: int) -> str:
        """The ticket. Errors: InvalidArgumentError for an account or label that is empty, too long or has a NUL, or an expiry out of range."""
        for what, value, limit in (("account", account, MAX_ACCOUNT_BYTES), ("request label", request, MAX_LABEL_BYTES)):
            size = len(value.encode())
            if not 1 <= size <= limit or "\0" in value:
                raise InvalidArgumentError(f"{what}: {size} bytes; 1 to {limit} without NUL are allowed")
        if not 0 < expiry < 10**12:
            raise InvalidArgumentError(f"expiry {expiry}: not Unix seconds")
        text = f"cm1.{_encode(account.encode())}.{_encode(request.encode())}.{expiry}"
        return f"{text}.{_encode(self._digest(text))}"

    def verify(self, ticket: str, now: float | None = None) -> Ticket:
        """What the ticket says, in time that does not depend on how near a forged MAC comes. Errors: TicketError."""
        form = _FORM.fullmatch(ticket) if len(ticket) <= MAX_TICKET_BYTES else None
        if form is None:
            raise TicketError("forged", "the ticket is malformed")
        # The text as it stands, before anything is decoded. A MAC that is not canonical differs from the one that we would write.
        if not hmac.compare_digest(_encode(self._digest(ticket[: form.start(4) - 1])), form[4]):
            raise TicketError("forged", "the ticket's MAC is not this key's")
        account, request = _decode(form[1], MAX_ACCOUNT_BYTES), _decode(form[2], MAX_LABEL_BYTES)
        expiry = int(form[3])
        if (time.time() if now is None else now) >= expiry:
            raise TicketError("stale", f"the ticket expired at {expiry}")
        return Ticket(account, request, expiry)

    def _digest(self, text: str) -> bytes:
        mac = self._mac.copy()
        mac.update(text.encode())
        return mac.digest()

    def __repr__(self) -> str:
        return "TicketKey(<secret>)"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a TicketKey is not pickled; each process reads its file")


def child_label(label: str, child: int) -> str:
    """The request label of child `child` (from 0) of a request with n > 1."""
    return f"{label}/{child}"


def read_private(path: str | os.PathLike[str], what: str) -> bytes:
    """At most 4096 bytes of a file that nobody but its owner may read. Errors: NotFoundError, DeniedError."""
    try:
        # Not blocked by a pipe that nobody writes to.
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise DeniedError(f"{os.fspath(path)}: the {what} is not a regular file")
            if mode & 0o077:
                raise DeniedError(f"{os.fspath(path)}: others may read the {what} (mode {stat.S_IMODE(mode):04o}); chmod 600")
            return file.read(4096)
    except FileNotFoundError:
        raise NotFoundError(f"{os.fspath(path)}: no {what} there") from None
    except OSError as error:
        raise DeniedError(f"{os.fspath(path)}: the {what} cannot be read: {error.strerror}") from None


def write_private(path: str | os.PathLike[str], text: str) -> None:
    """A new file, 0600, on disk when this returns; none is overwritten. Errors: AlreadyExistsError, DeniedError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise AlreadyExistsError(f"{os.fspath(path)}: there is such a file already") from None
    except OSError as error:
        raise DeniedError(f"{os.fspath(path)}: cannot be made: {error.strerror}") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _key_bytes(content: bytes, path: str | os.PathLike[str]) -> bytes:
    digits = content.removesuffix(b"\n")
    if not re.fullmatch(rb"[0-9a-fA-F]{64}", digits):
        raise InvalidArgumentError(f"{os.fspath(path)}: a ticket key is 64 hex digits and nothing else")
    return bytes.fromhex(digits.decode())


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str, limit: int) -> str:
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        value = data.decode()
    except (binascii.Error, UnicodeDecodeError):
        raise TicketError("forged", "the ticket is malformed") from None
    if _encode(data) != text or not 1 <= len(data) <= limit or b"\0" in data:
        raise TicketError("forged", "the ticket is malformed")
    return value
