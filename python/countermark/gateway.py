"""countermark-gateway: accounts, tickets and policies before any OpenAI-compatible server.

    countermark-gateway --config /etc/countermark/serving.toml --port 8080
    countermark-gateway --make-ticket-key /run/secrets/ticket.key
    countermark-gateway --config … --make-key org-1          # a fresh API key on standard output, its hash into accounts_file

The code of AccountMiddleware before a proxy: Starlette, httpx and uvicorn (pip install countermark[gateway]). Answers stream through as the server sends them;
a client that goes away ends its request in the server. The client's own API key is never passed on; `gateway.upstream_key_file` names the one that the server
is shown. Exit: 0; 2 with one line on standard error.
"""

import argparse
import asyncio
import contextlib
import fcntl
import hashlib
import hmac
import logging
import os
import secrets
import sqlite3
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from countermark._core import version
from countermark.errors import Error, InvalidArgumentError
from countermark.serving.accounts import read_toml
from countermark.serving.body import BodyError
from countermark.serving.config import ServingConfig
from countermark.serving.middleware import AccountMiddleware, send_error
from countermark.serving.ticket import TicketKey, read_private

# RFC 9110, 7.6.1, and what either side's own HTTP library sets.
_HOP_BY_HOP = frozenset(b"connection proxy-connection keep-alive transfer-encoding te trailer upgrade proxy-authenticate proxy-authorization http2-settings".split())
_NOT_FORWARDED = _HOP_BY_HOP | {b"host", b"content-length", b"expect", b"accept-encoding"}


class UpstreamBroken(Exception):
    """The server broke off in the midst of an answer."""


class Upstream:
    """An ASGI application that asks the server behind. One connection pool; httpx follows no redirect and reads no proxy from the environment."""

    def __init__(self, config: ServingConfig):
        """Errors: InvalidArgumentError where the configuration names no upstream."""
        gateway = config.gateway
        url = httpx.URL(gateway.upstream or "")
        if url.scheme not in ("http", "https") or not url.host or url.query or url.userinfo:
            raise InvalidArgumentError(f"{config.path}: gateway.upstream is the server's address, as http://127.0.0.1:8000")
        self._base = str(url).rstrip("/")
        self._most = config.policy.max_body_bytes
        self._client = httpx.AsyncClient(
            # Idle connections are given up before servers do so (5 s), else a request now and then would meet a closed one.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=256, keepalive_expiry=2.0),
            timeout=httpx.Timeout(gateway.read_timeout_s, connect=gateway.connect_timeout_s, pool=None),
            follow_redirects=False,
            trust_env=False,
            headers={"user-agent": f"countermark-gateway/{version()}", "accept-encoding": "identity"},
        )

    async def close(self) -> None:
        """Closes the pool."""
        await self._client.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._most:
                raise BodyError(f"the body is larger than {self._most} bytes", status=413)
        work = asyncio.ensure_future(self._forward(scope, bytes(body), send))
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # A cancelled exchange closes its connection, which is how the server hears of it.
            ended = work.done()
            work.cancel()
            gone.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)
        if ended and not work.cancelled():
            work.result()

    async def _forward(self, scope: Scope, body: bytes, send: Send) -> None:
        query = scope.get("query_string", b"")
        url = self._base + scope["path"] + ("?" + query.decode("latin-1") if query else "")
        headers = [(name, value) for name, value in scope["headers"] if name.lower() not in _NOT_FORWARDED | _named(scope["headers"])]
        try:
            request = self._client.build_request(scope["method"], url, headers=headers, content=body if scope["method"] not in ("GET", "HEAD") else None)
        except httpx.InvalidURL:
            raise BodyError("the query is too long", status=414, reason="route") from None
        begun = False
        try:
            response = await self._client.send(request, stream=True)
            try:
                names = _HOP_BY_HOP | _named(response.headers.raw)
                kept = [(name.lower(), value) for name, value in response.headers.raw if name.lower() not in names]
                begun = True
                await send({"type": "http.response.start", "status": response.status_code, "headers": kept})
                async for part in response.aiter_raw():
                    await send({"type": "http.response.body", "body": part, "more_body": True})
            finally:
                await response.aclose()
        except httpx.HTTPError as error:
            if begun:
                raise UpstreamBroken(type(error).__name__) from None  # the client must see that its answer is cut
            late = isinstance(error, httpx.ReadTimeout)
            # Not the error's own words, which have the server's address.
            await send_error(send, BodyError("the server did not answer in time" if late else "the server cannot be reached", status=504 if late else 502, code="upstream"))
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def application(config: ServingConfig) -> Starlette:
    """The gateway as an ASGI application. Errors: those of the files that the configuration names."""
    upstream = Upstream(config)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await upstream.close()

    app = Starlette(routes=[Mount("/", app=upstream)], middleware=[Middleware(AccountMiddleware, config=config)], lifespan=lifespan)
    app.middleware_stack = app.build_middleware_stack()  # now, so that what cannot be opened is an error here
    return app


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _named(headers: Sequence[tuple[bytes, bytes]]) -> set[bytes]:
    """What a Connection header names is for one hop too."""
    return {word.strip().lower() for name, value in headers if name.lower() == b"connection" for word in value.split(b",")}


def make_key(config: ServingConfig, account: str) -> str:
    """A fresh API key of an account; its hash goes into accounts_file. Errors: InvalidArgumentError, and those of the file."""
    if config.accounts_file is None:
        raise InvalidArgumentError(f"{config.path}: no accounts_file is named")
    if not 1 <= len(account.encode()) <= 254 or not account.isprintable() or account != account.strip():
        raise InvalidArgumentError("an account has 1 to 254 bytes that print, and no blank at its ends")
    key = "cmk-" + secrets.token_urlsafe(32)
    digest = hashlib.sha256(key.encode()).hexdigest()
    if config.accounts_hmac_file is not None:
        digest = hmac.digest(bytes.fromhex(read_private(config.accounts_hmac_file, "accounts' HMAC key").strip().decode()), key.encode(), "sha256").hex()
    file = config.accounts_file
    if file.suffix != ".toml":
        with contextlib.closing(sqlite3.connect(file)) as database, database:
            database.execute("CREATE TABLE IF NOT EXISTS api_keys (hash TEXT PRIMARY KEY, account TEXT NOT NULL, disabled INTEGER NOT NULL DEFAULT 0)")
            database.execute("INSERT INTO api_keys (hash, account) VALUES (?, ?)", (digest, account))
        return key
    quoted = account.replace("\\", "\\\\").replace('"', '\\"')
    part = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # of two at once neither loses its key
        text = ""
        if file.exists():
            read_toml(file)
            text = file.read_text(encoding="utf-8")
        # Whoever may write there names accounts: never all, whatever the umask.
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644), "w", encoding="utf-8") as new:
            new.write(f'{text}{"" if not text or text.endswith(chr(10)) else chr(10)}\n[[keys]]\nsha256 = "{digest}"\naccount = "{quoted}"\n')
        read_toml(part)
        if file.exists():
            part.chmod(file.stat().st_mode & 0o777)
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)
        os.close(folder)
    return key


def _one_line(record: logging.LogRecord) -> bool:
    """Of an answer that broke off uvicorn would print a page."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, UpstreamBroken):
        print(f"countermark-gateway: the server broke off an answer ({error})", file=sys.stderr, flush=True)
        return False
    return True


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="countermark-gateway", description="Accounts, tickets and policies before an OpenAI-compatible server.", allow_abbrev=False)
    parser.add_argument("--config", metavar="FILE", help="the serving host's TOML file (environment: COUNTERMARK_CONFIG)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="port to listen on (default: %(default)s)")
    parser.add_argument("--uds", metavar="PATH", help="listen on a Unix socket instead")
    parser.add_argument("--tls-certificate", metavar="FILE", help="serve HTTPS with this certificate")
    parser.add_argument("--tls-key", metavar="FILE", help="and its private key")
    parser.add_argument("--access-log", action="store_true", help="a line a request on standard error; no key is in it")
    parser.add_argument("--check", action="store_true", help="read the configuration and everything it names, and exit")
    parser.add_argument("--make-ticket-key", metavar="FILE", help="write a fresh ticket key, 0600, and exit")
    parser.add_argument("--make-key", metavar="ACCOUNT", help="print a fresh API key for the account, put its hash into accounts_file, and exit")
    parser.add_argument("--version", action="version", version=f"countermark-gateway {version()}")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The program."""
    options = _options().parse_args(arguments)
    try:
        if options.make_ticket_key:
            TicketKey.make_file(options.make_ticket_key)
            return 0
        config = ServingConfig.load(options.config)
        if options.make_key:
            print(make_key(config, options.make_key))
            return 0
        app = application(config)
    except (Error, httpx.InvalidURL, OSError, sqlite3.Error) as error:
        print(f"countermark-gateway: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    if config.server == "openai" and config.accounts_file is not None:
        print("countermark-gateway: server = \"openai\": accounts are logged and policies kept, but no ticket reaches a hook", file=sys.stderr)
    if options.check:
        return 0
    listen: dict[str, Any] = {"uds": options.uds} if options.uds else {"host": options.host, "port": options.port}
    tls: dict[str, Any] = {"ssl_certfile": options.tls_certificate, "ssl_keyfile": options.tls_key} if options.tls_certificate else {}
    logging.getLogger("uvicorn.error").addFilter(_one_line)
    uvicorn.run(app, log_level="info" if options.access_log else "warning", access_log=options.access_log, server_header=False, date_header=False, lifespan="on", **listen, **tls)
    return 0


if __name__ == "__main__":
    sys.exit(main())
