"""Exceptions of the package. Each carries the library's own message: one line, without any secret.

All derive from `Error`. `InvalidArgumentError` is a `ValueError` too, `NotFoundError` a `LookupError`, `OutOfMemoryError` a `MemoryError`.
"""

from __future__ import annotations


class Error(Exception):
    """Anything that the library refuses or cannot do. `status` is the C interface's number for it (countermark_status)."""

    status: int = 11


class InvalidArgumentError(Error, ValueError):
    """A size, a parameter or a file's name that cannot be."""

    status = 1


class NotFoundError(Error, LookupError):
    """No such file, epoch, account or signing key."""

    status = 2


class DeniedError(Error):
    """A wrong passphrase or an altered file; a file that others may read."""

    status = 3


class CorruptError(Error):
    """Not the kind of file it should be, cut short, or of a version that this build does not know."""

    status = 4


class WrongEpochError(Error):
    """No epoch that was opened is in use at this time, or its scheme or vocabulary are not those asked for."""

    status = 5


class SelfTestError(Error):
    """This build on this machine does not reproduce the format's known answers: it must not mark."""

    status = 6


class UnknownAccountError(Error):
    """The account has no key in the epoch."""

    status = 7


class PolicyError(Error):
    """The epoch takes no request below its entropy floor."""

    status = 8


class DeviceError(Error):
    """The CUDA runtime's error, or a build without CUDA."""

    status = 9


class OutOfMemoryError(Error, MemoryError):
    """No memory."""

    status = 10


class InternalError(Error):
    """What should not happen."""

    status = 11


class AlreadyExistsError(InvalidArgumentError):
    """The file, epoch, account or signing key is there already."""


class ConflictError(Error):
    """Another program has saved the key store since it was opened. Open it again."""

    status = 11
