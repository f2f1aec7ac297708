"""An inference server that computes nothing: an ASGI application that keeps what it was sent and answers in the shapes of vLLM and llama-server.

As a program, `fake_server.py PORT [FILE]` serves it by uvicorn and appends what it was sent to FILE, a JSON object a line; a request whose prompt is "slow" streams until its client goes, and then FILE says "gone"."""
import asyncio
import json
import sys

IDS = [11, 22, 33]
WORDS = ["Once ", "upon ", "a time"]
LOGPROBS = {"tokens": WORDS, "token_logprobs": [-0.123, -1.377, -2.0], "text_offset": [0, 5, 10], "top_logprobs": [{"Once ": -0.123, "Twice ": -3.21}] * 3}
CONTENT = [{"token": w, "logprob": -0.123, "bytes": [1], "top_logprobs": [{"token": "x", "logprob": -2.222, "bytes": None}] * 7} for w in WORDS]


def vllm(path, body, index=0):
    """One whole answer, with all that a server might give away."""
    ids = {"token_ids": IDS if body.get("return_token_ids") else None, "prompt_token_ids": [1, 2] if body.get("return_token_ids") else None}
    if path == "/v1/responses":
        logprobs = CONTENT if "include" in body else []
        return {"id": "resp_1", "object": "response", "output": [{"type": "message", "content": [{"type": "output_text", "text": "".join(WORDS), "logprobs": logprobs}]}], "usage": {"input_tokens": 2, "output_tokens": 3}}
    if "messages" in body:
        logprobs = {"content": CONTENT} if body.get("logprobs") else None
        choice = {"index": index, "message": {"role": "assistant", "content": "".join(WORDS)}, "logprobs": logprobs, "token_ids": ids["token_ids"]}
        return {"id": "chatcmpl-1", "choices": [choice], "prompt_token_ids": ids["prompt_token_ids"], "prompt_logprobs": None, "usage": {"prompt_tokens": 2, "completion_tokens": 3}}
    logprobs = LOGPROBS if body.get("logprobs") is not None else None
    prompt = [None, {"5": {"logprob": -1.13, "rank": 4, "decoded_token": "x"}}] if body.get("prompt_logprobs") is not None else None
    return {"id": "cmpl-1", "choices": [{"index": index, "text": "".join(WORDS), "logprobs": logprobs, "prompt_logprobs": prompt, **ids}], "usage": {"prompt_tokens": 2, "completion_tokens": 3}}


def vllm_events(path, body):
    for i, word in enumerate(WORDS):
        if "messages" in body:
            choice = {"index": 0, "delta": {"content": word}, "logprobs": {"content": [CONTENT[i]]} if body.get("logprobs") else None}
        else:
            choice = {"index": 0, "text": word, "logprobs": {**LOGPROBS, "tokens": [word], "token_logprobs": [-0.123], "top_logprobs": LOGPROBS["top_logprobs"][:1]} if body.get("logprobs") is not None else None}
        choice["token_ids"] = [IDS[i]] if body.get("return_token_ids") else None
        yield f"data: {json.dumps({'id': 'cmpl-1', 'choices': [choice]})}\n\n".encode()
    yield b"data: [DONE]\n\n"


def llama(path, body):
    settings = {"dry_sequence_breakers": body.get("dry_sequence_breakers"), "temperature": body.get("temperature"), "samplers": ["top_k"]}
    out = {"index": 0, "content": "".join(WORDS), "tokens": IDS if body.get("return_tokens") else [], "generation_settings": settings, "prompt": "p", "stop": True}
    if body.get("n_probs") or body.get("logprobs"):
        out["completion_probabilities"] = [{"id": 1, "token": "x", "bytes": [1], "logprob": -0.37, "top_logprobs": [{"id": 2, "token": "y", "logprob": -1.11}] * 9}]
    if "messages" in body or path == "/v1/completions":
        choice = {"index": 0, "message": {"content": "".join(WORDS)}} if "messages" in body else {"index": 0, "text": "".join(WORDS)}
        return {"id": "chatcmpl-x", "choices": [{**choice, "logprobs": {"content": out.get("completion_probabilities")}}], "__verbose": out}
    return out


class FakeServer:
    """`kind`: whose shapes. `seen`: (method, path, query, headers, body) of every request; `answers`: path → (status, type, bytes) in place of the usual."""

    def __init__(self, kind="vllm", on_request=None):
        self.kind, self.seen, self.answers, self._on_request = kind, [], {}, on_request or (lambda record: None)

    @property
    def bodies(self):
        return [json.loads(seen[4]) for seen in self.seen]

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": message["type"] + ".complete"})
            return await send({"type": "lifespan.shutdown.complete"})
        data, more = b"", True
        while more:
            message = await receive()
            data, more = data + message.get("body", b""), message.get("more_body", False)
        headers = [(n.decode(), v.decode("latin-1")) for n, v in scope["headers"]]
        self.seen.append((scope["method"], scope["path"], scope["query_string"].decode(), headers, data))
        self._on_request({"path": scope["path"], "headers": headers, "body": data.decode("utf-8", "replace")})
        path = scope["path"]
        if path in self.answers:
            return await self._whole(send, *self.answers[path])
        if scope["method"] != "POST" or "tokenize" in path:
            return await self._whole(send, 200, "text/plain" if path == "/metrics" else "application/json", b"theirs 1" if path == "/metrics" else b'{"path": "%s"}' % path.encode())
        body = json.loads(data)
        if body.get("prompt") == "slow":
            return await self._slow(receive, send)
        if body.get("stream") and self.kind == "vllm":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream; charset=utf-8")]})
            for event in vllm_events(path, body):
                # Torn in the middle: events do not end where parts do.
                await send({"type": "http.response.body", "body": event[:7], "more_body": True})
                await send({"type": "http.response.body", "body": event[7:], "more_body": True})
            return await send({"type": "http.response.body", "body": b"", "more_body": False})
        await self._whole(send, 200, "application/json", json.dumps((vllm if self.kind == "vllm" else llama)(path, body)).encode())

    async def _whole(self, send, status, kind, body):
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode()), (b"x-theirs", b"1")]})
        await send({"type": "http.response.body", "body": body[:5], "more_body": True})
        await send({"type": "http.response.body", "body": body[5:], "more_body": False})

    async def _slow(self, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        gone = asyncio.ensure_future(receive())
        while not gone.done():
            await send({"type": "http.response.body", "body": b'data: {"choices": [{"index": 0, "text": "."}]}\n\n', "more_body": True})
            await asyncio.wait({gone}, timeout=0.02)
        self._on_request({"gone": gone.result()["type"]})


if __name__ == "__main__":
    import uvicorn

    def note(record):
        if len(sys.argv) > 2:
            with open(sys.argv[2], "a") as file:
                file.write(json.dumps(record) + "\n")

    uvicorn.run(FakeServer(on_request=note), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
