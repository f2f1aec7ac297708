"""A server's answer on its way to the client: what the policy holds back is taken out, what the log wants is taken down, and the rest passes byte for byte.

    answer = Answer(policy, server="vllm", strip_ids=True, ticket="cm1.…", observe=True)
    first = answer.event(b'data: {"choices": …}\n\n')      # one server-sent event, or
    whole = answer.document(b'{"choices": …}')              # one JSON document
    answer.choices                                          # index → Choice: token ids and a hash of the text

Bytes are kept as they came unless something in them had to go. Shapes: OpenAI's completions, chat and responses, vLLM's prompt_logprobs, llama-server's completion_probabilities.
"""

import hashlib
import json
import re
import struct
from dataclasses import dataclass, field
from typing import Any

from countermark.serving.body import JSON, BodyError, dump
from countermark.serving.config import Server
from countermark.serving.policy import MAX_ALTERNATIVES, Policy

# What makes a look inside necessary. In a JSON text quotes are escaped, so that a model's words do not match.
_SUSPECT = re.compile(rb'"(?:(?:prompt_|token_|top_)?logprobs"\s*:\s*(?!null|\[\]|\[ *\])|completion_probabilities"|generation_settings"|dry_sequence_breakers"|__verbose"|top_probs"|logprob")')
_TICKET = re.compile(rb"cm1\.[A-Za-z0-9_.-]{8,}")
_OPAQUE = frozenset({"tools", "metadata", "response_format", "json_schema"})
_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
MAX_DOCUMENT = 256 << 20


class AnswerError(Exception):
    """An answer that cannot be looked into and must not be passed on."""


@dataclass(slots=True)
class Choice:
    """What one choice of an answer was."""

    ids: list[int] = field(default_factory=list)
    text: Any = field(default_factory=hashlib.sha256)
    characters: int = 0

    def ids_sha256(self) -> str:
        """SHA-256 of the ids as little-endian 32-bit words."""
        return hashlib.sha256(struct.pack(f"<{len(self.ids)}I", *self.ids)).hexdigest()


class Answer:
    """One answer. `strip_ids`: token ids were asked for by us, not by the client. `observe`: choices are taken down."""

    def __init__(self, policy: Policy, server: Server, strip_ids: bool, ticket: str, observe: bool):
        self._policy, self._server, self._strip_ids, self._observe = policy, server, strip_ids, observe
        self._ticket = ticket.encode()
        self._pending = b""
        self.choices: dict[int, Choice] = {}
        self.usage: JSON | None = None
        self.response_id: str | None = None
        self.filtered = False

    def feed(self, data: bytes) -> bytes:
        """Bytes of a stream of events; returns those of the events that have ended."""
        self._pending += data
        if len(self._pending) > MAX_DOCUMENT:
            raise AnswerError("an event of the server has no end")
        out: list[bytes] = []
        start = 0
        for end in _EVENT_END.finditer(self._pending):
            out.append(self.event(self._pending[start : end.end()]))
            start = end.end()
        self._pending = self._pending[start:]
        return b"".join(out)

    def rest(self) -> bytes:
        """What has come after the last whole event when the stream ends."""
        rest, self._pending = self._pending, b""
        return self.event(rest) if rest.strip() else rest

    def event(self, event: bytes) -> bytes:
        """One event with its blank line."""
        if not (self._observe or self._strip_ids or self._ticket and self._ticket in event or _SUSPECT.search(event)):
            return event
        lines = event.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        data = b"\n".join(line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:"))
        # llama-server sends errors as "error: {…}"
        if not data.lstrip().startswith((b"{", b"[")) or data.strip() == b"[DONE]":
            return self._scrub(event)
        new = self.document(data)
        if new is data:
            return event
        kept = [line for line in lines if line and not line.startswith(b"data:")]
        return b"\n".join([*kept, b"data: " + new, b"", b""])

    def document(self, data: bytes) -> bytes:
        """One JSON document; the same object where nothing had to go."""
        if not (self._observe or self._strip_ids or self._ticket and self._ticket in data or _SUSPECT.search(data)):
            return data
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            raise AnswerError("the server's answer is not JSON") from None
        if self._observe:
            for item in value if isinstance(value, list) else [value]:
                self._take_down(item)
        taken = _Filter(self._policy, self._strip_ids)
        if taken.walk(value):
            self.filtered |= taken.held
            try:
                data = dump(value)
            except (ValueError, BodyError):
                raise AnswerError("the server's answer is not JSON: NaN or infinity, or nested too deeply") from None
        return self._scrub(data)

    def error(self, data: bytes) -> bytes:
        """The body of an error, which may repeat the request."""
        return _TICKET.sub(b"(removed)", data)

    def _scrub(self, data: bytes) -> bytes:
        if self._ticket and self._ticket in data:
            self.filtered = True
            return data.replace(self._ticket, b"(removed)")
        return data

    def _take_down(self, item: Any) -> None:
        if not isinstance(item, dict):
            return
        # A stream of the responses API has its object in the last event.
        if isinstance(item.get("response"), dict):
            self._note(item["response"])
        if item.get("type") == "response.output_text.delta" and isinstance(item.get("delta"), str):
            self._add(int(item.get("output_index") or 0), item["delta"], None)
        self._note(item)
        choices = item.get("choices")
        if isinstance(choices, list):
            for choice in choices:
                if isinstance(choice, dict):
                    part = choice.get("delta") or choice.get("message") or {}
                    text = choice.get("text") if "text" in choice else part.get("content") if isinstance(part, dict) else None
                    self._add(choice.get("index"), text, choice.get("token_ids"))
        elif isinstance(item.get("content"), str):  # llama-server's own
            self._add(item.get("index"), item["content"], item.get("tokens"))
        elif item.get("object") == "response" and isinstance(item.get("output"), list):
            for i, output in enumerate(item["output"]):
                parts = output.get("content") if isinstance(output, dict) else None
                for part in parts if isinstance(parts, list) else []:
                    if isinstance(part, dict):
                        self._add(i, part.get("text"), None)

    def _note(self, item: JSON) -> None:
        if isinstance(item.get("usage"), dict):
            self.usage = item["usage"]
        if isinstance(item.get("id"), str) and len(item["id"]) <= 256:
            self.response_id = item["id"]

    def _add(self, index: Any, text: Any, ids: Any) -> None:
        choice = self.choices.setdefault(index if isinstance(index, int) else 0, Choice())
        if isinstance(text, str) and text:
            choice.text.update(text.encode("utf-8", "surrogatepass"))
            choice.characters += len(text)
        if isinstance(ids, list) and all(isinstance(i, int) and 0 <= i < 1 << 32 for i in ids):
            choice.ids += ids


class _Filter:
    """Takes out of an answer what the policy holds back; says whether anything was. `held`: more than the ids that we had asked for ourselves."""

    def __init__(self, policy: Policy, strip_ids: bool):
        self._rule, self._step, self._strip_ids = policy.rule, policy.step, strip_ids
        self.held = False

    def walk(self, root: Any) -> bool:
        changed = False
        stack = [root]
        while stack:
            value = stack.pop()
            if isinstance(value, list):
                stack += [item for item in value if isinstance(item, (dict, list))]
                continue
            for name in list(value):
                item = value[name]
                if name in ("__verbose", "dry_sequence_breakers") or name in ("completion_probabilities", "top_probs") and self._rule == "deny":
                    del value[name]
                    self.held = True
                elif name in ("logprobs", "prompt_logprobs", "completion_probabilities"):
                    self.held |= self._logprobs(value, name)
                elif name in ("token_ids", "prompt_token_ids") and self._strip_ids and item is not None:
                    value[name] = None
                    changed = True
                elif name == "tokens" and self._strip_ids and item:
                    value[name] = []
                    changed = True
                elif name not in _OPAQUE and isinstance(item, (dict, list)):
                    stack.append(item)
        return changed or self.held

    def _logprobs(self, holder: JSON, name: str) -> bool:
        value = holder[name]
        if value is None or value == []:
            return False
        if self._rule == "deny" or name == "prompt_logprobs" and self._rule == "top1":
            holder[name] = [] if isinstance(value, list) and name == "logprobs" else None
            return True
        holder[name] = self._cut(value)
        return True

    def _cut(self, value: Any, tokens: Any = None) -> Any:
        """A copy with fewer alternatives and rounder numbers."""
        if isinstance(value, list):
            return [self._cut(item) for item in value]
        if not isinstance(value, dict):
            return value
        out: JSON = {}
        for name, item in value.items():
            if name in ("top_logprobs", "top_probs") and isinstance(item, list):
                if isinstance(value.get("token_logprobs"), list):  # OpenAI's completions: a map a position
                    out[name] = [self._position(item, i, value) for i in range(len(item))]
                else:
                    out[name] = [] if self._rule == "top1" else [self._cut(one) for one in item[:MAX_ALTERNATIVES]]
            elif name in ("logprob", "prob"):
                out[name] = self._round(item)
            elif name == "token_logprobs" and isinstance(item, list):
                out[name] = [self._round(one) for one in item]
            elif name == "rank":
                out[name] = None
            else:
                out[name] = self._cut(item)
        return out

    def _position(self, maps: list[Any], i: int, value: JSON) -> Any:
        if not isinstance(maps[i], dict):
            return None
        if self._rule == "top1":
            tokens, chosen = value.get("tokens"), value["token_logprobs"]
            return {tokens[i]: chosen[i]} if isinstance(tokens, list) and i < len(tokens) and i < len(chosen) and isinstance(tokens[i], str) else None
        return {token: self._round(number) for token, number in list(maps[i].items())[: MAX_ALTERNATIVES + 1]}

    def _round(self, value: Any) -> Any:
        if self._rule != "quantise" or isinstance(value, bool) or not isinstance(value, (int, float)):
            return value
        rounded = round(value / self._step) * self._step
        return round(rounded, 6)
