"""countermark-gateway as a program, over HTTP, before a fake server in another process: streams, clients that go away, hop-by-hop headers, keys, 200 at once, kill -9, and what it refuses to start with."""
import asyncio
import http.client
import json
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from fake_server import IDS, llama, vllm_events
from serving_fixture import API_KEYS, Call, FixedServing, Server, drive, events, free_port

PROGRAM = [sys.executable, "-P", "-m", "countermark.gateway"]
ACCOUNTS = list(API_KEYS)


def config_of(folder, upstream, kind="vllm", gateway="", **options):
    return FixedServing(folder, server=kind, tokenizer=None, extra=f'[gateway]\nupstream = "{upstream}"\n{gateway}', **options)


class Fake:
    """fake_server.py as a process, and what it was sent."""

    def __init__(self, folder):
        self.port, self.file = free_port(), folder / "sent.jsonl"
        self.url = f"http://127.0.0.1:{self.port}"
        self.server = Server([sys.executable, "-P", __file__.replace("gateway_test", "fake_server"), self.port, self.file], folder / "fake.log").wait(self.url + "/health")

    def sent(self, path=None):
        found = [json.loads(line) for line in self.file.read_text().splitlines()]
        return [r for r in found if path is None or r.get("path") == path]


class Gateway:
    def __init__(self, serving):
        self.serving, self.port = serving, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        self.server = Server([*PROGRAM, "--config", self.serving.config, "--port", self.port], self.serving.folder / "gateway.log", env=self.serving.environment()).wait(self.url + "/metrics")

    def post(self, path, body, account="org-a", **headers):
        return httpx.post(self.url + path, json=body, headers={**(self.serving.headers(account) if account else {}), **headers}, timeout=30)

    def log(self):
        return [json.loads(line) for file in sorted(self.serving.log_dir.glob("*.jsonl")) for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def fake(tmp_path_factory):
    fake = Fake(tmp_path_factory.mktemp("fake"))
    yield fake
    fake.server.kill()


@pytest.fixture(scope="module")
def gateway(fake, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "upstream.key").write_text("the-servers-own-key\n")
    (folder / "upstream.key").chmod(0o600)
    gateway = Gateway(config_of(folder, fake.url, gateway='upstream_key_file = "upstream.key"'))
    yield gateway
    gateway.server.kill()


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_request_and_its_answer(gateway, fake):
    answer = gateway.post("/v1/completions", {"prompt": "p", "vllm_xargs": {"countermark": "x"}, "temperature": 0}, "org-b").json()
    assert answer["choices"][0]["text"] == "Once upon a time" and answer["choices"][0]["token_ids"] is None
    sent = fake.sent("/v1/completions")[-1]
    body, headers = json.loads(sent["body"]), dict(sent["headers"])
    assert gateway.serving.ticket_key.verify(body["vllm_xargs"]["countermark"]).account == "org-b" and body["temperature"] == 0.3
    assert headers["authorization"] == "Bearer the-servers-own-key" and API_KEYS["org-b"] not in json.dumps(sent) and headers["host"] == f"127.0.0.1:{fake.port}"
    assert gateway.log()[-1]["choices"][0]["token_ids"] == IDS
    assert gateway.post("/v1/completions", {"prompt": "p"}, None).status_code == 401 and gateway.post("/invocations", {"prompt": "p"}).status_code == 404
    assert httpx.get(gateway.url + "/v1/models", headers=gateway.serving.headers("org-a")).json() == {"path": "/v1/models"}
    assert httpx.get(gateway.url + "/v1/models").status_code == 401


def test_without_a_key_of_the_servers_none_is_shown(fake, tmp_path):
    gateway = Gateway(config_of(tmp_path, fake.url))
    with gateway.server:
        gateway.post("/v1/completions", {"prompt": "p"})
        assert "authorization" not in dict(fake.sent("/v1/completions")[-1]["headers"])


def test_hop_by_hop_headers_end_here(gateway, fake):
    body = b'{"prompt":"p"}'
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port)
    hop = {"Connection": "keep-alive, X-Mine", "Keep-Alive": "timeout=5", "X-Mine": "1", "TE": "trailers", "Proxy-Authorization": "Basic eA==", "X-Forwarded-For": "9.9.9.9", "Traceparent": "00-1-2-01"}
    connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json", "Authorization": f"Bearer {API_KEYS['org-a']}", **hop})
    response = connection.getresponse()
    text = response.read()
    assert response.status == 200 and int(response.headers["content-length"]) == len(text) and response.headers["x-theirs"] == "1"
    assert not {"keep-alive", "transfer-encoding"} & {name.lower() for name in response.headers}
    seen = {name: value for name, value in fake.sent("/v1/completions")[-1]["headers"]}
    assert seen["traceparent"] == "00-1-2-01" and not {"x-mine", "keep-alive", "te", "proxy-authorization", "x-forwarded-for"} & set(seen) and seen["accept-encoding"] == "identity"
    connection.close()


def test_the_stream_arrives_as_it_is_made(gateway):
    """Every event before the server has made the next but one."""
    with httpx.stream("POST", gateway.url + "/v1/completions", json={"prompt": "slow", "stream": True}, headers=gateway.serving.headers("org-a"), timeout=30) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = response.iter_lines()
        for _ in range(5):
            assert next(line for line in lines if line) == 'data: {"choices": [{"index": 0, "text": "."}]}'


def test_a_client_that_goes_away_ends_its_request_in_the_server(gateway, fake):
    before = sum("gone" in r for r in fake.sent())

    async def run():
        async with httpx.AsyncClient(timeout=30) as client:

            async def one(account):
                async with client.stream("POST", gateway.url + "/v1/completions", json={"prompt": "slow", "stream": True}, headers=gateway.serving.headers(account)) as response:
                    async for _ in response.aiter_bytes():
                        return

            await asyncio.gather(*(one(ACCOUNTS[i % 3]) for i in range(30)))

    asyncio.run(run())
    until(lambda: sum("gone" in r for r in fake.sent()) >= before + 30)
    until(lambda: sum(not r["ended"] for r in gateway.log() if r.get("stream")) >= 30)
    assert all(r["gone"] == "http.disconnect" for r in fake.sent() if "gone" in r)


def test_who_shows_no_key_sends_neither_bodies_nor_pages_of_log(gateway, fake):
    with httpx.Client(base_url=gateway.url, timeout=30) as client:
        for method, path in (("OPTIONS", "/v1/completions"), ("GET", "/health")):
            assert client.request(method, path, content=b"{}" * 1000).status_code == 200
            assert fake.sent(path)[-1]["body"] == ""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
        connection.sendall(b"GET /health?" + b"a" * 65500 + b" HTTP/1.1\r\nHost: here\r\n\r\n")
        assert connection.recv(4096).split(b"\r\n")[0].split()[1] in (b"414", b"400")  # 400: the HTTP library's own limit
    assert "Traceback" not in gateway.server.output()


def test_200_at_once(gateway, fake):
    calls = [Call("/v1/chat/completions" if i % 2 else "/v1/completions", {**({"messages": [{"role": "user", "content": "p"}]} if i % 2 else {"prompt": "p"}), "stream": i % 4 < 2, "user": str(i)},
                  gateway.serving.headers(ACCOUNTS[i % 3])) for i in range(200)]
    answers = drive(gateway.url, calls)
    assert [a.status_code for a in answers] == [200] * 200
    for i, answer in enumerate(answers):
        assert len(events(answer.text)) == 3 if i % 4 < 2 else answer.json()["choices"]
    mine = [b for b in (json.loads(r["body"]) for r in fake.sent() if r.get("path", "").startswith("/v1/") and "body" in r and r["body"]) if b.get("user")]
    assert len(mine) == 200
    for body in mine:
        assert gateway.serving.ticket_key.verify(body["vllm_xargs"]["countermark"]).account == ACCOUNTS[int(body["user"]) % 3]


def test_bytes_of_a_stream_are_the_servers(fake, tmp_path):
    gateway = Gateway(FixedServing(tmp_path, server="vllm", tokenizer=None, extra=f'[gateway]\nupstream = "{fake.url}"\n[log]\ndirectory = "log"\ntoken_ids = "none"'))
    with gateway.server:
        assert gateway.post("/v1/completions", {"prompt": "p", "stream": True}).content == b"".join(vllm_events("/v1/completions", {"prompt": "p"}))


def test_kill_9_and_again(gateway, fake):
    """What was counted and logged is there after it, and it serves again."""
    count = lambda: int(re.search(r'countermark_api_requests_total\{outcome="signed"\} (\d+)', httpx.get(gateway.url + "/metrics").text)[1])  # noqa: E731
    before, logged = count(), len(gateway.log())
    for _ in range(3):
        gateway.post("/v1/completions", {"prompt": "p"})
    gateway.server.kill()
    gateway.start()
    assert count() == before + 3 and gateway.post("/v1/completions", {"prompt": "p"}).status_code == 200
    assert [r["ended"] for r in gateway.log()[logged:]] == [True] * 4
    text = httpx.get(gateway.url + "/metrics").text
    assert text.startswith("theirs 1\n") and "countermark_accounts 3\n" in text


def test_secrets_are_not_shown(gateway):
    """In what it printed, in its environment as ps shows it, and in its arguments."""
    gateway.post("/v1/completions", {"prompt": "a-secret-prompt"})
    gateway.post("/v1/completions", {"prompt": "p"}, None, Authorization="Bearer wrong-key-value")
    process = f"/proc/{gateway.server.pid}"
    shown = gateway.server.output() + open(f"{process}/cmdline").read() + open(f"{process}/environ").read() + json.dumps(gateway.log()) + httpx.get(gateway.url + "/metrics").text
    for secret in (*API_KEYS.values(), "the-servers-own-key", bytes(range(100, 132)).hex(), "a-secret-prompt", "wrong-key-value", "cm1."):
        assert secret not in shown


def test_a_server_that_is_not_there(tmp_path):
    port = free_port()
    gateway = Gateway(config_of(tmp_path, f"http://127.0.0.1:{port}", gateway="read_timeout_s = 0.3"))
    with gateway.server:
        response = gateway.post("/v1/completions", {"prompt": "p"})
        assert response.status_code == 502 and response.json()["error"]["code"] == "upstream" and str(port) not in response.text
        assert gateway.log()[-1]["status"] == 502
        with socket.create_server(("127.0.0.1", port)):  # takes the connection and says nothing
            assert gateway.post("/v1/completions", {"prompt": "p"}).status_code == 504
    assert "Traceback" not in gateway.server.output()


def test_a_server_that_breaks_off(tmp_path):
    """The client must see that its answer is cut, not a whole one."""
    port = free_port()
    script = "import socket,sys\ns=socket.create_server(('127.0.0.1',int(sys.argv[1])))\nwhile 1:\n c,_=s.accept()\n c.recv(65536)\n c.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Type: text/event-stream\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n8\\r\\ndata: 1\\n\\r\\n')\n c.close()"
    server = subprocess.Popen([sys.executable, "-c", script, str(port)])
    gateway = Gateway(config_of(tmp_path, f"http://127.0.0.1:{port}"))
    try:
        with gateway.server, pytest.raises(httpx.RemoteProtocolError):
            gateway.post("/v1/completions", {"prompt": "p", "stream": True})
        assert gateway.log()[-1]["ended"] is False and "Traceback" not in gateway.server.output() and "broke off" in gateway.server.output()
    finally:
        server.kill()
        server.wait()


def test_llama_server(fake, tmp_path):
    """Its own shapes through the whole of it: the ticket goes in, and does not come back."""
    gateway = Gateway(config_of(tmp_path, fake.url, kind="llama"))
    with gateway.server:
        assert gateway.post("/completion", {"prompt": "p", "mirostat": 2, "samplers": ["top_k"]}, "org-c").status_code == 200
        body = json.loads(fake.sent("/completion")[-1]["body"])
        assert set(body) == {"prompt", "return_tokens", "dry_sequence_breakers"} and gateway.serving.ticket_key.verify(body["dry_sequence_breakers"][0]).account == "org-c"
    assert "generation_settings" in llama("/completion", body)


# The program


def run(*arguments, **options):
    return subprocess.run([*PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=60, **options)


@pytest.mark.parametrize(("change", "why"), [
    (lambda s: s.config.unlink(), "no such configuration file"), (lambda s: s.ticket_key_file.unlink(), "no ticket key there"), (lambda s: s.ticket_key_file.chmod(0o644), "chmod 600"),
    (lambda s: s.ticket_key_file.write_text("short"), "64 hex digits"), (lambda s: s.accounts_file.write_text("[[keys]"), "accounts.toml"), (lambda s: s.config.write_text(s.config.read_text().replace("upstream =", "upstrem =")), "unknown member 'gateway.upstrem'"),
    (lambda s: s.config.write_text(s.config.read_text().replace("http://", "ftp://")), "gateway.upstream is the server's address"), (lambda s: s.config.write_text(s.config.read_text().replace('server = "vllm"', "")), "server is missing"),
    (lambda s: (s.log_dir.rmdir() if s.log_dir.exists() else None, s.log_dir.write_text("")), "no serving log"), (lambda s: (s.state_dir.rmdir(), s.state_dir.write_text("")), "no counters"),
], ids=range(10))
def test_it_does_not_start_and_one_line_says_why(tmp_path, change, why):
    serving = config_of(tmp_path, "http://127.0.0.1:9")
    change(serving)
    done = run("--config", serving.config, "--port", free_port())
    assert done.returncode == 2 and done.stdout == "" and re.fullmatch(r"countermark-gateway: error: [^\n]+\n", done.stderr) and why in done.stderr, done.stderr


def test_check_and_make_ticket_key(tmp_path):
    serving = config_of(tmp_path, "http://127.0.0.1:9")
    assert run("--check", env=serving.environment()).returncode == 0
    key = tmp_path / "new.key"
    assert run("--make-ticket-key", key).returncode == 0 and key.stat().st_mode & 0o777 == 0o600
    again = run("--make-ticket-key", key)
    assert again.returncode == 2 and "already" in again.stderr
    assert "0." in run("--version").stdout and "--make-key" in run("--help").stdout
    plain = run("--check", "--config", config_of(tmp_path / "o", "http://127.0.0.1:9", kind="openai").config)
    assert plain.returncode == 0 and "no ticket reaches a hook" in plain.stderr


def test_the_program_is_installed_with_the_package():
    import countermark

    if Path(sys.prefix) not in Path(countermark.__file__).parents:
        pytest.skip("the package is not the installed one")
    done = subprocess.run([Path(sys.prefix, "bin", "countermark-gateway"), "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"countermark-gateway {countermark.__version__}\n"
