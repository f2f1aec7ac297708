"""What the tests of the servers share: a serving host's files, real servers as processes, concurrent clients, and the detector's program.

    serving = FixedServing(tmp_path, server="llama")         # bundle, configuration, ticket key, accounts.toml, one API key an account
    server = Server([program, …], log=tmp_path / "log", env=serving.environment())
    server.wait(f"http://127.0.0.1:{port}/health")           # fails at once, with the log's end, where the process has ended
    answers = drive(url, [Call("/v1/completions", body, serving.headers("org-a")), …])
    serving.detect([a.json()["choices"][0]["text"] for a in answers])["accounts"]…
    server.stop()                                            # or server.kill(), which is -9 to its whole group
"""
import asyncio
import dataclasses
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

sys.path.append(os.path.join(os.environ["COUNTERMARK_SOURCE"], "tests", "python"))
from fixture import ACCOUNTS, BIN, CACHE, FixedEpoch  # noqa: E402

from countermark.serving.ticket import TicketKey  # noqa: E402

GGUF = Path(CACHE, "models", "SmolLM2-135M-Instruct.Q4_1.gguf")
SMALL_MODEL = Path(CACHE, "models", "SmolLM2-135M-Instruct.transformers")
API_KEYS = {account: f"sk-{account}-{hashlib.sha256(account.encode()).hexdigest()[:40]}" for account in ACCOUNTS}


class FixedServing:
    """config.toml and what it names, in a folder. `tokenizer` "-" with a vocabulary's size: an epoch for no model in particular; None: no epoch, for tests that mark nothing."""

    def __init__(self, folder, server="openai", tokenizer=GGUF, vocabulary=0, scheme="gumbel", policy="floor", port_account=None, extra="", **members):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.tokenizer = folder, tokenizer
        self.epoch = FixedEpoch(folder / "epoch", vocabulary=vocabulary, tokenizer=tokenizer, scheme=scheme, policy=policy) if tokenizer is not None else None
        self.ticket_key_file = folder / "ticket.key"
        self.ticket_key_file.write_text(bytes(range(100, 132)).hex() + "\n")
        self.ticket_key_file.chmod(0o600)
        self.ticket_key = TicketKey.from_file(self.ticket_key_file)
        self.accounts_file = folder / "accounts.toml"
        self.write_accounts(API_KEYS)
        self.state_dir, self.log_dir, self.config = folder / "state", folder / "log", folder / "config.toml"
        self.state_dir.mkdir(exist_ok=True)
        tickets = [f'account = "{port_account}"'] if port_account else ['ticket_key_file = "ticket.key"', 'accounts_file = "accounts.toml"']
        members = [f"{name} = {json.dumps(value)}" for name, value in members.items()]
        self.config.write_text("\n".join(['bundles = ["epoch/*.bundle"]', 'passphrase_file = "epoch/passphrase"', 'state_dir = "state"', f'server = "{server}"', *tickets, *members,
                                          f'[policy]\nlow_entropy = "{policy}"' if "[policy]" not in extra else "", '[log]\ndirectory = "log"\ntoken_ids = "ids"' if "[log]" not in extra else "", extra, ""]))

    def write_accounts(self, keys):
        """accounts.toml anew, all at once."""
        text = "".join(f'[[keys]]\nsha256 = "{hashlib.sha256(key.encode()).hexdigest()}"\naccount = "{account}"\n\n' for account, key in keys.items())
        part = self.accounts_file.with_suffix(".part")
        part.write_text(text)
        os.replace(part, self.accounts_file)

    def environment(self, **more):
        return {**os.environ, "COUNTERMARK_CONFIG": str(self.config), **{name: str(value) for name, value in more.items()}}

    def headers(self, account):
        return {"Authorization": f"Bearer {API_KEYS[account]}"}

    def ticket(self, account, label="r-1", lifetime=600):
        return self.ticket_key.mint(account, label, int(time.time()) + lifetime)

    def detect(self, records, *options, accounts=None):
        """watermark-detect --json over texts (str) or lists of token ids: its object, with all registered accounts or those named as candidates."""
        field = "text" if records and isinstance(records[0], str) else "token_ids"
        file = self.folder / f"records-{time.monotonic_ns()}.jsonl"
        file.write_text("".join(json.dumps({"id": str(i), field: record}) + "\n" for i, record in enumerate(records)))
        candidates = ["--registered-accounts"] if accounts is None else [word for account in accounts for word in ("--account", account)]
        tokenizer = ["--tokenizer", str(self.tokenizer), "--text-field", field] if field == "text" else ["--token-ids-field", field]
        program = Path(BIN, "watermark-detect") if Path(BIN, "watermark-detect").exists() else Path(sys.prefix, "bin", "watermark-detect")
        done = subprocess.run([program, file, "--bundle", self.epoch.bundle, "--passphrase-file", self.epoch.secret, *tokenizer, *candidates, "--json", *options], capture_output=True, text=True)
        assert done.returncode in (0, 1, 3), done.stderr
        return json.loads(done.stdout)


class Server:
    """A program in a process group of its own, its output in a file."""

    def __init__(self, command, log, env=None, cwd=None):
        self.log = Path(log)
        with open(self.log, "ab") as file:
            self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=env, cwd=cwd, start_new_session=True)

    @property
    def pid(self):
        return self.process.pid

    def output(self):
        return self.log.read_text(errors="replace")

    def wait(self, url, seconds=120, headers=None):
        """Until a GET answers 200."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.output()[-4000:]}")
            try:
                if httpx.get(url, timeout=5, headers=headers).status_code == 200:
                    return self
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        self.kill()
        raise AssertionError(f"{url} did not answer in {seconds} s:\n{self.output()[-4000:]}")

    def ended(self, seconds=120):
        """Its exit status, where it ends by itself."""
        try:
            return self.process.wait(seconds)
        finally:
            self.kill()

    def stop(self, seconds=20):
        """SIGTERM to the group, then what is left is killed."""
        self._signal(signal.SIGTERM)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        self.kill()
        return self.process.returncode

    def kill(self):
        self._signal(signal.SIGKILL)
        self.process.wait(20)

    def _signal(self, number):
        try:
            os.killpg(self.process.pid, number)  # the group outlives its leader: workers too
        except ProcessLookupError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@dataclasses.dataclass
class Call:
    path: str
    body: object = None
    headers: dict = dataclasses.field(default_factory=dict)
    method: str = "POST"


def drive(url, calls, concurrency=200, timeout=300.0):
    """Answers of all calls, in their order, so many at a time. A body that is bytes goes as it is, else as JSON."""

    async def run():
        gate = asyncio.Semaphore(concurrency)
        limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
        async with httpx.AsyncClient(base_url=url, timeout=timeout, limits=limits) as client:

            async def one(call):
                async with gate:
                    content = {"content": call.body} if isinstance(call.body, (bytes, type(None))) else {"json": call.body}
                    return await client.request(call.method, call.path, headers=call.headers, **content)

            return await asyncio.gather(*(one(call) for call in calls))

    return asyncio.run(run())


def events(text):
    """The objects of a stream of server-sent events, without [DONE]."""
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ") and line != "data: [DONE]"]
