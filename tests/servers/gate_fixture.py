"""AccountMiddleware before the fake server, in this process."""
import asyncio
import json

import httpx
from fake_server import FakeServer
from serving_fixture import FixedServing

from countermark.serving.config import ServingConfig
from countermark.serving.middleware import AccountMiddleware


class Site:
    """`site.post(path, body, account)` → response; `site.fake.bodies[-1]`: what the server was sent."""

    def __init__(self, folder, kind="vllm", upstream_kind=None, **options):
        self.serving = FixedServing(folder, server=kind, tokenizer=None, **options)
        self.fake = FakeServer(upstream_kind or ("llama" if kind == "llama" else "vllm"))
        self.middleware = AccountMiddleware(self.fake, config=ServingConfig.load(self.serving.config))
        self.gate = self.middleware.gate
        self.loop = asyncio.new_event_loop()

    def request(self, method, path, account="org-a", headers=None, **options):
        async def run():
            transport = httpx.ASGITransport(app=self.middleware)
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                given = self.serving.headers(account) if account else {}
                return await client.request(method, path, headers={**given, **(headers or {})}, **options)

        return self.loop.run_until_complete(run())

    def post(self, path, body, account="org-a", headers=None):
        content = {"content": body, "headers": {"content-type": "application/json", **(headers or {})}} if isinstance(body, (bytes, str)) else {"json": body, "headers": headers}
        return self.request("POST", path, account, **content)

    def ticket(self, number=-1):
        """The ticket that the server was sent, verified."""
        body = self.fake.bodies[number]
        place = {"vllm": lambda: body["vllm_xargs"]["countermark"], "llama": lambda: body["dry_sequence_breakers"][0], "sglang": lambda: body["custom_params"]["countermark"]}
        return self.serving.ticket_key.verify(place[self.gate.server]())

    def log(self):
        return [json.loads(line) for file in sorted(self.serving.log_dir.glob("*.jsonl")) for line in file.read_text().splitlines()]

    def close(self):
        self.gate.close()
        self.loop.close()
