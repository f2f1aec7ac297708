"""AccountMiddleware: accounts, tickets and policies before an ASGI application, as its outermost layer.

    export COUNTERMARK_CONFIG=/etc/countermark/serving.toml
    vllm serve MODEL --middleware countermark.vllm.AccountMiddleware

API key → account → a ticket in the request's body, which the hook in the engine's process reads. Routes and members of requests are lists of what is allowed
(serving/routes.py); policies are in serving/policy.py. What is passed on is written anew from what was checked. Answers stream through as they come, byte for
byte where nothing has to be taken out (serving/answer.py). GET /metrics has countermark's counters at its end.

It takes no arguments but the application: a server makes it by its name. `AccountMiddleware.prepare()` reads everything beforehand: call it where a failure
still keeps the server from starting, since frameworks make middleware late and only log what it raises. A subclass sets `server` where the configuration's is
not to be asked.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, ClassVar

from countermark.serving import metrics
from countermark.serving.answer import MAX_DOCUMENT, Answer, AnswerError
from countermark.serving.body import BodyError
from countermark.serving.config import DefaultsConfig, Server, ServingConfig
from countermark.serving.gate import Gate, Prepared
from countermark.serving.routes import Route, find

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# Of a client's headers these are handed on; others may choose ids, ranks and sessions in the server, or name the key.
_HEADERS = frozenset(
    b"accept accept-language user-agent host origin access-control-request-method access-control-request-headers traceparent tracestate content-type content-length".split()
)


class AccountMiddleware:
    """See the module's head."""

    server: ClassVar[Server | None] = None
    _prepared: ClassVar[dict[type, Gate]] = {}

    def __init__(self, app: App, config: ServingConfig | None = None):
        """Errors: those of Gate, where `prepare` has not been called."""
        self.app = app
        gate = type(self)._prepared.pop(type(self), None) if config is None else None
        self.gate = gate or Gate(config or ServingConfig.load(), self.server)
        self._asked_defaults = False

    @classmethod
    def prepare(cls) -> None:
        """Opens what COUNTERMARK_CONFIG names; the next instance takes it. Errors: those of Gate, one line each."""
        if cls not in cls._prepared:
            cls._prepared[cls] = Gate(ServingConfig.load(), cls.server)

    def server_defaults(self, scope: Scope) -> DefaultsConfig | None:
        """The server's own sampling parameters where a request names none; None while they are not known."""
        if self.gate.server != "vllm" or "app" not in scope:
            return None
        for name in ("openai_serving_completion", "openai_serving_chat"):
            found = getattr(getattr(getattr(scope["app"], "state", None), name, None), "default_sampling_params", None)
            if isinstance(found, dict):
                return DefaultsConfig(temperature=_as(float, found.get("temperature")), top_k=_as(int, found.get("top_k")), top_p=_as(float, found.get("top_p")))
        return None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        if scope["type"] != "http":
            self.gate.refused(BodyError("", reason="route"))
            await send({"type": "websocket.close", "code": 1008, "reason": "not available"})
            return
        path = route_path(scope)
        route = find(self.gate.server, scope["method"], path)
        headers: list[tuple[bytes, bytes]] = list(scope["headers"])
        try:
            if route is None:
                raise BodyError("there is no such route here", status=404, code="not_found", reason="route")
            if route.kind == "open":
                await self.app(self._scope(scope, path, headers), _without_body(receive), send)
            elif route.kind == "metrics":
                await self._metrics(self._scope(scope, path, headers), _without_body(receive), send)
            else:
                account = self.gate.account(headers)
                if route.kind == "key":
                    await self.app(self._scope(scope, path, headers), receive, send)
                else:
                    await self._generate(scope, path, route, account, headers, receive, send)
        except BodyError as error:
            self.gate.refused(error)
            await send_error(send, error)

    async def _generate(self, scope: Scope, path: str, route: Route, account: str, headers: list[tuple[bytes, bytes]], receive: Receive, send: Send) -> None:
        gate = self.gate
        gate.check_marking()
        if not self._asked_defaults and (defaults := self.server_defaults(scope)) is not None:
            self._asked_defaults = True
            gate.policy.set_defaults(defaults)
        gate.check_headers(headers)
        data = await _read(receive, gate)
        if data is None:
            return  # the client went away before its request was whole
        client_id = next((value for name, value in headers if name.lower() == b"x-request-id"), None)
        request = gate.prepare(route, account, data, client_id)
        changed = self._scope(scope, path, headers, request)
        exchange = _Exchange(gate, request, path, receive, send)
        try:
            await self.app(changed, exchange.receive, exchange.send)
        finally:
            await exchange.end()

    def _scope(self, scope: Scope, path: str, headers: list[tuple[bytes, bytes]], request: Prepared | None = None) -> Scope:
        """The scope with the headers that are handed on. A generating request has no query and the path as it was compared."""
        kept = [(name, value) for name, value in headers if name.lower() in _HEADERS]
        authorization = self.gate.authorization()
        if authorization is not None:
            kept.append((b"authorization", authorization))
        changed = {**scope, "headers": kept}
        if request is not None:
            kept[:] = [(name, value) for name, value in kept if name.lower() not in (b"content-length", b"content-type", b"accept")]
            kept += [(b"content-type", b"application/json"), (b"content-length", str(len(request.body)).encode()), (b"accept", b"*/*"), (b"x-request-id", request.label.encode())]
            changed["query_string"] = b""
            changed["raw_path"] = scope["path"].encode()
        return changed

    async def _metrics(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The server's own answer, and ours after it; ours alone where it has none."""
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name.lower() != b"accept"] + [(b"accept", b"text/plain")]
        status, parts = 500, []

        async def collect(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                parts.append(message.get("body", b""))

        try:
            await self.app(scope, receive, collect)
        except Exception:  # noqa: BLE001  a server that fails must not hide what was counted
            status = 500
        theirs = b"".join(parts) if status == 200 else b""
        if theirs and not theirs.endswith(b"\n"):
            theirs += b"\n"
        ours = metrics.prometheus_text(self.gate.config.state_dir, self.gate.counters).encode()
        await _send_whole(send, 200, b"text/plain; version=0.0.4; charset=utf-8", theirs + ours)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        shutdown = False

        async def watch() -> Message:
            nonlocal shutdown
            message = await receive()
            shutdown = message["type"] == "lifespan.shutdown"
            return message

        try:
            await self.app(scope, watch, send)
        finally:
            if shutdown:  # and not where an application knows no lifespan
                self.gate.close()


class _Exchange:
    """One generating request and its answer."""

    def __init__(self, gate: Gate, request: Prepared, path: str, receive: Receive, send: Send):
        self._gate, self._request, self._path = gate, request, path
        self._receive, self._send = receive, send
        self._answer: Answer = gate.answer(request)
        self._given = False
        self._start: Message | None = None
        self._kind = ""
        self._parts: list[bytes] = []
        self._size = 0
        self._status = 0
        self._whole = self._logged = False

    async def receive(self) -> Message:
        """The body as it was written anew, then what the client does."""
        if not self._given:
            self._given = True
            return {"type": "http.request", "body": self._request.body, "more_body": False}
        while True:
            message = await self._receive()
            if message["type"] != "http.request":  # what a client sends after its body is nobody's
                return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._begin(message)
        elif message["type"] == "http.response.body":
            if self._whole:
                return
            try:
                await self._body(message.get("body", b""), bool(message.get("more_body", False)))
            except AnswerError as error:
                await self._broken(error)
        elif message["type"] not in ("http.response.trailers", "http.response.pathsend", "http.response.zerocopysend"):
            await self._send(message)

    async def _begin(self, message: Message) -> None:
        self._status = message["status"]
        headers = [(name.lower(), value) for name, value in message.get("headers", [])]
        kind = next((value for name, value in headers if name == b"content-type"), b"").split(b";")[0].strip().lower()
        encoded = any(name == b"content-encoding" and value.lower() != b"identity" for name, value in headers)
        self._kind = "encoded" if encoded else "events" if kind == b"text/event-stream" else "document"
        if self._status >= 400:
            self._kind = "encoded" if encoded else "error"
        self._json = kind == b"application/json" or kind.endswith(b"+json")
        # A body that is looked into has its length when it is known.
        self._start = {**message, "headers": [(name, value) for name, value in message.get("headers", []) if name.lower() != b"content-length"]}
        if self._kind == "events":
            await self._send(self._start)

    async def _body(self, data: bytes, more: bool) -> None:
        if self._kind == "encoded":
            raise AnswerError("the server's answer is compressed")
        if self._kind == "events":
            out = self._answer.feed(data)
            if not more:
                out += self._answer.rest()
                await self._finish(ended=True)
            if out or not more:
                await self._send({"type": "http.response.body", "body": out, "more_body": more})
            return
        self._parts.append(data)
        self._size += len(data)
        if self._size > MAX_DOCUMENT:
            raise AnswerError("the server's answer is too long")
        if more:
            return
        whole = b"".join(self._parts)
        if self._kind == "error":
            whole = self._answer.error(whole)
        elif self._json:
            whole = self._answer.document(whole)
        elif whole:
            raise AnswerError("the server's answer is neither JSON nor events")
        assert self._start is not None
        await self._finish(ended=True)
        self._start["headers"].append((b"content-length", str(len(whole)).encode()))
        await self._send(self._start)
        await self._send({"type": "http.response.body", "body": whole, "more_body": False})

    async def _broken(self, error: AnswerError) -> None:
        """What cannot be looked into is not passed on."""
        self._gate.counters.add("countermark_api_refused_total", reason="answer")
        print(f"countermark: request {self._request.label}: {error}", file=sys.stderr, flush=True)
        await self._finish(ended=False)
        if self._kind == "events":
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await send_error(self._send, BodyError("the server's answer could not be passed on", status=502, code="bad_answer"))

    async def end(self) -> None:
        """The application is done, or was cancelled, or has raised."""
        if not self._whole:
            self._gate.counters.add("countermark_api_aborted_total")
            # A cancelled task still writes its record.
            await asyncio.shield(self._finish(ended=False))

    async def _finish(self, ended: bool) -> None:
        self._whole = True
        if self._logged:
            return
        self._logged = True
        if self._answer.filtered:
            self._gate.counters.add("countermark_api_filtered_total")
        if self._gate.log is not None:
            self._gate.log.write(self._gate.record(self._request, self._path, self._status, self._answer, ended))
            await self._gate.log.settle()


def route_path(scope: Scope) -> str:
    """The path that the application's router will compare: without its root path."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and (path == root or path.startswith(root + "/")):
        return path[len(root) :]
    return path


async def send_error(send: Send, error: BodyError) -> None:
    """A refusal in the shape of OpenAI's errors."""
    kind = {401: "authentication_error", 404: "not_found_error"}.get(error.status, "server_error" if error.status >= 500 else "invalid_request_error")
    body = json.dumps({"error": {"message": str(error), "type": kind, "param": error.param, "code": error.code}}).encode()
    extra = [(b"www-authenticate", b"Bearer")] if error.status == 401 else []
    await _send_whole(send, error.status, b"application/json", body, extra)


async def _send_whole(send: Send, status: int, kind: bytes, body: bytes, extra: list[tuple[bytes, bytes]] | None = None) -> None:
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), *(extra or [])]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _read(receive: Receive, gate: Gate) -> bytearray | None:
    """The whole body; None: the client has gone. Errors: BodyError where it is too long."""
    data = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        data += message.get("body", b"")
        if len(data) > gate.config.policy.max_body_bytes:
            raise gate.too_large()
        if not message.get("more_body", False):
            return data


def _without_body(receive: Receive) -> Receive:
    """An empty body, then what the client does: who has shown no key does not fill the memory with bodies."""
    given = False

    async def instead() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": b"", "more_body": False}
        while (message := await receive())["type"] == "http.request":
            pass
        return message

    return instead


def _as(kind: type[Any], value: object) -> Any:
    return kind(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
