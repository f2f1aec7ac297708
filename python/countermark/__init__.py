"""countermark: output watermarks for language models.

    KeyStore, EpochKeys, EpochRecord    keys: the store, one epoch's keys, its public record
    Keys, Hook                          marking: bundles of a serving host, and the sampling hook
    Detector, Tokenizer                 detection in texts, token ids and Arrow columns
    Report                              signed reports
    countermark.hf                      Hugging Face transformers
    countermark.llama                   llama-cpp-python

Errors are exceptions of countermark.errors; secrets are in no repr, pickle or traceback.
"""

from countermark._core import EpochKeys, EpochRecord, Keys, KeyStore, Tokenizer, has_cuda
from countermark._core import version as _version
from countermark.detect import AccountTest, ChannelTest, Detection, DetectionRun, Detector, Result
from countermark.errors import (
    AlreadyExistsError,
    ConflictError,
    CorruptError,
    DeniedError,
    DeviceError,
    Error,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    OutOfMemoryError,
    PolicyError,
    SelfTestError,
    UnknownAccountError,
    WrongEpochError,
)
from countermark.hook import BASE_ONLY, CAUSES, CPU, NO_TOKEN, Hook, Metrics, Step, open_hook
from countermark.report import Report, Verification

__version__ = _version()

__all__ = [
    "BASE_ONLY",
    "CAUSES",
    "CPU",
    "NO_TOKEN",
    "AccountTest",
    "AlreadyExistsError",
    "ChannelTest",
    "ConflictError",
    "CorruptError",
    "DeniedError",
    "Detection",
    "DetectionRun",
    "Detector",
    "DeviceError",
    "EpochKeys",
    "EpochRecord",
    "Error",
    "Hook",
    "InternalError",
    "InvalidArgumentError",
    "KeyStore",
    "Keys",
    "Metrics",
    "NotFoundError",
    "OutOfMemoryError",
    "PolicyError",
    "Report",
    "Result",
    "SelfTestError",
    "Step",
    "Tokenizer",
    "UnknownAccountError",
    "Verification",
    "WrongEpochError",
    "__version__",
    "has_cuda",
    "open_hook",
]
