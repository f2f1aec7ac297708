"""The one TOML file that a serving host's programs share. It names files and holds no secret.

    config = ServingConfig.load()            # of the file that COUNTERMARK_CONFIG names
    config.bundle_files()                    # what `bundles` matches now, sorted

    bundles = ["/etc/countermark/*.cmkb"]            # looked at again every few seconds: the next epoch's bundle is taken without a restart
    passphrase_file = "/run/secrets/bundle"          # 0600
    ticket_key_file = "/run/secrets/ticket.key"      # 0600; countermark-gateway --make-ticket-key FILE makes one
    accounts_file = "/etc/countermark/accounts.toml" # or .sqlite: API keys' hashes and their accounts
    accounts_hmac_file = "/run/secrets/pepper"       # 0600, 64 hex digits: the hashes are HMACs under it; without: plain SHA-256
    account = "org-1"                                # or, in place of tickets: one port, one account
    state_dir = "/run/countermark"                   # counters
    max_slots = 256
    server = "vllm"                                  # vllm | llama | sglang | openai (any other; no ticket is sent): which routes and members its API has

    [policy]
    logprobs = "deny"                                # deny | top1 (the served token's alone) | quantise (five a position, rounded)
    logprob_step = 0.25                              # what quantise rounds to, in nats
    low_entropy = "floor"                            # floor | deny | allow: as the epoch's record says
    ticket_lifetime_s = 600
    max_body_bytes = 16777216
    extra_fields = ["priority"]                      # members of requests let through beside those that this version knows; see docs/accounts.md
    extra_xargs = ["my_plugin"]                      # and of vllm_xargs, of which nothing else is

    [defaults]                                       # what the server takes where a request says nothing, if that is below the floor
    temperature = 0.7

    [log]
    directory = "/var/log/countermark"
    token_ids = "hash"                               # ids | hash | none
    fsync = "interval"                               # never | interval | each
    rotate_bytes = 268435456
    keep = 0                                         # rotated files that stay; 0: all

    [gateway]
    upstream = "http://127.0.0.1:8000"
    upstream_key_file = "/run/secrets/upstream.key"  # 0600; sent as Authorization: Bearer to the upstream
    connect_timeout_s = 10
    read_timeout_s = 600
    require_hook = true                              # 503 while no marking server counts in state_dir: for one on this host. Without: it is served, marked or not

A member that is not known is an error that names it. A relative path is relative to the file's folder.
"""

import glob
import os
import tomllib
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from countermark.errors import InvalidArgumentError, NotFoundError

ENVIRONMENT = "COUNTERMARK_CONFIG"

Logprobs = Literal["deny", "top1", "quantise"]
LowEntropy = Literal["floor", "deny", "allow"]
Server = Literal["vllm", "llama", "sglang", "openai"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyConfig:
    """What the API lets through."""

    logprobs: Logprobs = "deny"
    low_entropy: LowEntropy = "floor"
    ticket_lifetime_s: int = field(default=600, metadata={"range": (1, 86400)})
    max_body_bytes: int = field(default=16 << 20, metadata={"range": (1024, 1 << 30)})
    logprob_step: float = field(default=0.25, metadata={"range": (0.01, 10.0)})
    extra_fields: tuple[str, ...] = ()
    extra_xargs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultsConfig:
    """The server's own sampling parameters where a request names none (a model's generation_config.json, llama-server's command line); None: above the floor."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """The serving log; `directory` None: no log."""

    directory: Path | None = None
    token_ids: Literal["ids", "hash", "none"] = "hash"
    fsync: Literal["never", "interval", "each"] = "interval"
    fsync_interval_s: float = field(default=1.0, metadata={"range": (0.01, 3600)})
    rotate_bytes: int = field(default=256 << 20, metadata={"range": (4096, 1 << 40)})
    keep: int = field(default=0, metadata={"range": (0, 1 << 20)})


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """What countermark-gateway stands before."""

    upstream: str | None = None
    upstream_key_file: Path | None = None
    connect_timeout_s: float = field(default=10.0, metadata={"range": (0.01, 3600)})
    read_timeout_s: float = field(default=600.0, metadata={"range": (0.01, 86400)})
    require_hook: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingConfig:
    """The whole file; `path` is where it was read."""

    path: Path
    bundles: tuple[str, ...] = field(default=(), metadata={"paths": True})
    passphrase_file: Path | None = None
    ticket_key_file: Path | None = None
    accounts_file: Path | None = None
    accounts_hmac_file: Path | None = None
    account: str | None = None
    state_dir: Path | None = None
    max_slots: int = field(default=256, metadata={"range": (1, 1 << 16)})
    server: Server | None = None
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    defaults: DefaultsConfig = field(default_factory=DefaultsConfig)
    log: LogConfig = field(default_factory=LogConfig)
    gateway: GatewayConfig = field(default_factory=GatewayConfig)

    @classmethod
    def load(cls, path: str | os.PathLike[str] | None = None) -> "ServingConfig":
        """Reads the file, or without a path the one that COUNTERMARK_CONFIG names. Errors: NotFoundError, InvalidArgumentError (file, member and what is allowed)."""
        if path is None:
            path = os.environ.get(ENVIRONMENT, "")
            if not path:
                raise NotFoundError(f"{ENVIRONMENT} is not set: it names the configuration file")
        file = Path(os.path.abspath(path))
        try:
            content = tomllib.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise NotFoundError(f"{file}: no such configuration file") from None
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InvalidArgumentError(f"{file}: {getattr(error, 'strerror', None) or error}") from None
        if "path" in content:
            raise InvalidArgumentError(f"{file}: unknown member 'path'")
        config = _table(cls, content, file, "", path=file)
        if config.account is not None and not 1 <= len(config.account.encode()) <= 254:
            raise InvalidArgumentError(f"{file}: account has 1 to 254 bytes")
        if config.accounts_file is not None and config.ticket_key_file is None:
            raise InvalidArgumentError(f"{file}: accounts_file needs ticket_key_file: tickets carry the account to the hook")
        if config.account is None and config.ticket_key_file is None:
            raise InvalidArgumentError(f"{file}: either accounts_file and ticket_key_file (an account for each API key) or account (one for the whole port)")
        return config

    def bundle_files(self) -> list[Path]:
        """The files that `bundles` matches now, sorted, each once."""
        return sorted({Path(name) for pattern in self.bundles for name in glob.glob(pattern)})


_T = TypeVar("_T")


def _table(cls: type[_T], content: Mapping[str, object], file: Path, where: str, **given: object) -> _T:
    """A dataclass of one TOML table."""
    hints = get_type_hints(cls)
    known = {f.name: f for f in fields(cls) if f.name not in given}  # type: ignore[arg-type]
    for name in content:
        if name not in known:
            raise InvalidArgumentError(f"{file}: unknown member '{where}{name}' (known: {', '.join(known)})")
    values: dict[str, Any] = dict(given)
    for name, value in content.items():
        values[name] = _value(hints[name], value, file, where + name, known[name].metadata)
    missing = [f.name for f in known.values() if f.name not in values and f.default is MISSING and f.default_factory is MISSING]
    if missing:
        raise InvalidArgumentError(f"{file}: member '{where}{missing[0]}' is missing")
    return cls(**values)


def _value(hint: Any, value: object, file: Path, name: str, about: Mapping[str, Any]) -> object:
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(a for a in get_args(hint) if a is not types.NoneType)
    if is_dataclass(hint):
        if not isinstance(value, dict):
            raise InvalidArgumentError(f"{file}: '{name}' is a table")
        return _table(hint, value, file, name + ".")  # type: ignore[arg-type]
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise InvalidArgumentError(f"{file}: {name} = {value!r}: one of {', '.join(get_args(hint))}")
        return value
    if get_origin(hint) is tuple:
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise InvalidArgumentError(f"{file}: {name} is a list of texts")
        return tuple(os.path.join(glob.escape(str(file.parent)), item) for item in value) if about.get("paths") else tuple(value)
    if hint is Path and isinstance(value, str) and value:
        return file.parent / value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if hint is Path or type(value) is not hint or value == "":
        raise InvalidArgumentError(f"{file}: {name} is {'a path' if hint is Path else {str: 'a text', int: 'an integer', float: 'a number', bool: 'true or false'}[hint]}")
    limits = about.get("range")
    if limits is not None and not limits[0] <= value <= limits[1]:
        raise InvalidArgumentError(f"{file}: {name} = {value}: from {limits[0]} to {limits[1]}")
    return value
