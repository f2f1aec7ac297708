"""The decisions of the API, apart from ASGI: whose key it is, and what becomes of a request's body.

    gate = Gate(ServingConfig.load(), server="vllm")              # reads every file; errors are one line each
    account = gate.account(headers)                               # BodyError 401
    request = gate.prepare(route, account, body, client_id)       # Prepared: the new body, the ticket, the label; BodyError
    record = gate.record(request, …)                              # for the serving log
"""

import re
import secrets
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from countermark.errors import InvalidArgumentError
from countermark.serving import body as bodies
from countermark.serving.accounts import Accounts, LookupFailed
from countermark.serving.answer import Answer, Choice
from countermark.serving.body import JSON, BodyError
from countermark.serving.config import Server, ServingConfig
from countermark.serving.log import ServingLog
from countermark.serving.metrics import Counters, living
from countermark.serving.policy import Change, Policy, refuse_other_decoders
from countermark.serving.routes import FORBIDDEN, Api, Route, strip
from countermark.serving.ticket import TicketKey, read_private

Headers = Iterable[tuple[bytes, bytes]]

TICKET_FIELD = "countermark"
_USAGE = ("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens")
_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([!-~]{1,4096})")
_NAMES, _NAME = 32, 64
_LOOK_S = 2.0
# By whose counters a server is known that marks.
_HOOKS: dict[Server, str] = {"vllm": "vllm-engine", "llama": "llama", "sglang": "sglang-engine"}
_PRINTABLE = re.compile(r"[ -~]{1,128}")
# vLLM and llama-server give ids where these are asked for.
_IDS_FIELD: dict[tuple[Server, Api], str] = {
    ("vllm", "completions"): "return_token_ids",
    ("vllm", "chat"): "return_token_ids",
    ("llama", "native"): "return_tokens",
    ("llama", "infill"): "return_tokens",
}


@dataclass(slots=True)
class Prepared:
    """A request as it goes to the server."""

    route: Route
    account: str
    label: str
    ticket: str
    body: bytes
    stream: bool
    strip_ids: bool
    removed: list[str]
    change: Change
    n: int
    client_id: str | None
    begun: float = field(default_factory=time.monotonic)

    def __repr__(self) -> str:
        return f"Prepared(account={self.account!r}, label={self.label!r})"


class Gate:
    """Everything that one API process holds. Used by one event loop."""

    def __init__(self, config: ServingConfig, server: Server | None = None):
        """Errors: those of the files that the configuration names."""
        if server is not None and config.server not in (None, server):
            raise InvalidArgumentError(f"{config.path}: server is {config.server!r}, and this is {server}'s middleware")
        kind = server or config.server
        if kind is None:
            raise InvalidArgumentError(f"{config.path}: server is missing: vllm, llama, sglang or openai")
        self.config, self.server = config, kind
        if config.gateway.require_hook and (config.state_dir is None or kind not in _HOOKS):
            raise InvalidArgumentError(f"{config.path}: gateway.require_hook needs state_dir, and a server that marks: {', '.join(_HOOKS)}")
        self._marking = float("-inf")
        self.counters = Counters.open(config.state_dir, "api")
        self.policy = Policy(config, self.server)
        unknown = set(config.policy.extra_fields) & FORBIDDEN | {name for name in config.policy.extra_xargs if name.startswith("countermark")}
        if unknown:
            raise InvalidArgumentError(f"{config.path}: policy may not let through {', '.join(sorted(unknown))}")
        self._accounts: Accounts | None = None
        if config.accounts_file is not None:
            self._accounts = Accounts(config.accounts_file, config.accounts_hmac_file, self.counters)
        elif config.account is None:
            raise InvalidArgumentError(f"{config.path}: the API needs accounts_file (an account for each API key) or account (one for the whole port)")
        self._ticket_key: TicketKey | None = None
        if config.ticket_key_file is not None:
            self._ticket_key = TicketKey.from_file(config.ticket_key_file)
        self._upstream_key: bytes | None = None
        if config.gateway.upstream_key_file is not None:
            key = read_private(config.gateway.upstream_key_file, "upstream's key").strip()
            if not re.fullmatch(rb"[!-~]+", key):
                raise InvalidArgumentError(f"{config.gateway.upstream_key_file}: one line of printable characters without blanks is expected")
            self._upstream_key = key
        self.log = ServingLog(config.log, self.counters) if config.log.directory is not None else None
        who = f"accounts of {config.accounts_file}" if self._accounts is not None else f"account {config.account!r} for the whole port"
        carried = "tickets" if self._ticket_key is not None and kind != "openai" else "no tickets"
        logged = f"{self.log.path}, token ids: {config.log.token_ids}, fsync: {config.log.fsync}" if self.log is not None else "none"
        policies = f"log-probabilities: {config.policy.logprobs}; low entropy: {config.policy.low_entropy}"
        print(f"countermark: API for {kind}: {who}, {carried}; {policies}; serving log: {logged}", file=sys.stderr, flush=True)

    def account(self, headers: Headers) -> str:
        """The account of the request's API key, or the port's. Errors: BodyError with status 401, or 503 while no key can be looked up."""
        if self._accounts is None:
            assert self.config.account is not None
            return self.config.account
        values = [value for name, value in headers if name.lower() == b"authorization"]
        form = _BEARER.fullmatch(values[0].decode("latin-1").strip()) if len(values) == 1 else None
        try:
            account = self._accounts.find(form[1]) if form else None
        except LookupFailed:
            raise BodyError("API keys cannot be looked up at the moment", status=503, code="accounts_unavailable", reason="accounts") from None
        if account is None:
            raise BodyError("a valid API key is needed: Authorization: Bearer KEY", status=401, code="invalid_api_key", reason="key")
        return account

    def check_marking(self) -> None:
        """Where the configuration asks for it: that a hook is at work. A library that was not preloaded is a line in some log, and the server serves. Errors: BodyError 503."""
        state_dir = self.config.state_dir
        if not self.config.gateway.require_hook or state_dir is None or time.monotonic() - self._marking < _LOOK_S:
            return
        if not living(state_dir, _HOOKS[self.server]):
            raise BodyError("no server is at work that marks", status=503, code="not_marking", reason="engine")
        self._marking = time.monotonic()

    def authorization(self) -> bytes | None:
        """What the server behind is shown in place of the client's key."""
        return b"Bearer " + self._upstream_key if self._upstream_key is not None else None

    def check_headers(self, headers: Headers) -> None:
        """Refuses bodies that would be read in another way here than there. Errors: BodyError."""
        found: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            found.setdefault(name.lower(), []).append(value.strip())
        if any(value.lower() != b"identity" for value in found.get(b"content-encoding", [])):
            raise BodyError("compressed bodies are not taken", status=415)
        kinds = found.get(b"content-type", [])
        kind, _, parameters = (kinds[0] if len(kinds) == 1 else b"").lower().partition(b";")
        if kind.strip() != b"application/json":
            raise BodyError("Content-Type: application/json is needed", status=415)
        for parameter in parameters.split(b";"):
            name, _, value = parameter.partition(b"=")
            if name.strip() == b"charset" and value.strip().strip(b'"') not in (b"utf-8", b"utf8"):
                raise BodyError("the body's charset must be UTF-8", status=415)
        for length in found.get(b"content-length", []):
            if not length.isdigit() or int(length) > self.config.policy.max_body_bytes:
                raise self.too_large()

    def too_large(self) -> BodyError:
        """The refusal of a body beyond the limit."""
        return BodyError(f"the body is larger than {self.config.policy.max_body_bytes} bytes", status=413)

    def prepare(self, route: Route, account: str, data: bytes | bytearray, client_id: bytes | None) -> Prepared:
        """The request as it goes on. Errors: BodyError."""
        body = bodies.parse(data)
        # Of all of vllm_xargs only what the operator names; and never under our own names.
        xargs = body.get("vllm_xargs") if self.server == "vllm" else None
        kept = {name: xargs[name] for name in self.config.policy.extra_xargs if name in xargs} if isinstance(xargs, dict) else {}
        refuse_other_decoders(body)
        removed = strip(body, self.server, route.api, self.config.policy.extra_fields)
        if kept and isinstance(xargs, dict) and kept.keys() == xargs.keys():
            removed.remove("vllm_xargs")
        stream = bodies.boolean(body, "stream")
        self.policy.logprobs(body, route.api)
        change = self.policy.low_entropy(body, account)
        if route.api == "responses":
            body["store"] = False
        strip_ids = False
        ids = _IDS_FIELD.get((self.server, route.api))
        if ids is not None:
            asked = bodies.boolean(body, ids)
            if self.log is not None and self.config.log.token_ids != "none":
                strip_ids = not asked
                body[ids] = True
        label = secrets.token_hex(16)
        ticket = ""
        if self._ticket_key is not None:
            ticket = self._ticket_key.mint(account, label, int(time.time()) + self.config.policy.ticket_lifetime_s)
        if self.server == "vllm" and (ticket or kept):
            body["vllm_xargs"] = {**kept, TICKET_FIELD: ticket} if ticket else kept
        elif self.server == "llama" and ticket:
            body["dry_sequence_breakers"] = [ticket]
        elif self.server == "sglang" and ticket:
            body["custom_params"] = {TICKET_FIELD: ticket}
        self._count(removed, change)
        told = client_id.decode("latin-1") if client_id is not None else None
        n = body.get("n") or body.get("n_cmpl") or 1
        return Prepared(route, account, label, ticket, bodies.dump(body), stream, strip_ids, removed, change, int(n), told if told and _PRINTABLE.fullmatch(told) else None)

    def answer(self, request: Prepared) -> Answer:
        """The filter of the request's answer."""
        return Answer(self.policy, self.server, request.strip_ids, request.ticket, observe=self.log is not None and self.config.log.token_ids != "none")

    def record(self, request: Prepared, path: str, status: int, answer: Answer, ended: bool) -> JSON:
        """What the serving log says of an answer."""
        record: JSON = {"account": request.account, "request": request.label, "route": path, "status": status, "ended": ended, "stream": request.stream, "n": request.n}
        # Names are the client's own words: a few of them tell what was tried, and all of them would fill the disk.
        removed = [name[:_NAME] for name in request.removed[:_NAMES]]
        optional: dict[str, Any] = {"client_request_id": request.client_id, "response_id": answer.response_id, "removed": removed, "low_entropy": request.change}
        record |= {name: value for name, value in optional.items() if value}
        usage = {name: value for name, value in (answer.usage or {}).items() if name in _USAGE and isinstance(value, int)}
        if usage:
            record["usage"] = usage
        if self.config.log.token_ids != "none":
            record["choices"] = [self._choice(index, choice) for index, choice in sorted(answer.choices.items())]
        record["ms"] = round((time.monotonic() - request.begun) * 1000)
        return record

    def refused(self, error: BodyError) -> None:
        """Counts a refusal."""
        self.counters.add("countermark_api_refused_total", reason=error.reason)

    def close(self) -> None:
        """Writes out the log and gives up the files."""
        if self.log is not None:
            self.log.close()
        if self._accounts is not None:
            self._accounts.close()
        self.counters.close()

    def _choice(self, index: int, choice: Choice) -> JSON:
        out: JSON = {"index": index}
        if choice.ids:
            out["tokens"] = len(choice.ids)
            if self.config.log.token_ids == "ids":
                out["token_ids"] = choice.ids
            else:
                out["token_ids_sha256"] = choice.ids_sha256()
        if choice.characters:
            out["text_sha256"] = choice.text.hexdigest()
        return out

    def _count(self, removed: list[str], change: Change) -> None:
        self.counters.add("countermark_api_requests_total", outcome="signed" if self._ticket_key is not None else "port")
        if removed:
            self.counters.add("countermark_api_removed_fields_total", len(removed))
        if change == "floored":
            self.counters.add("countermark_api_floored_total")
        elif change == "allowed":
            self.counters.add("countermark_api_low_entropy_total")

    def __repr__(self) -> str:
        return f"Gate({str(self.config.path)!r})"
