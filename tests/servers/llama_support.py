"""The real llama-server with the mark preloaded, as the tests of it and the benchmark start it."""
import os
import time
from pathlib import Path

from serving_fixture import CACHE, GGUF, Server, drive, free_port, Call

PREFIX = Path(CACHE, "llama-0.3.36")
PROGRAM = PREFIX / "bin" / "llama-server"
PRELOAD = Path(os.environ["COUNTERMARK_LIB"], "libcountermark_llama_preload.so")
# Much left to chance, so that short answers carry enough of a mark.
FREE = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "cache_prompt": False}
TOPICS = ["a ship's cook who can predict storms", "a walk through an old forest in autumn", "two brothers who inherit a mill", "the day the electricity went out", "an evening in a mountain hut",
          "a clockmaker who wanted to stop time", "a train that never arrives", "a street musician in winter", "a girl who draws maps of unseen places", "a farmer who finds an ancient coin",
          "a harbour town waiting for its boats", "a librarian and a book that nobody borrowed"]


def prompt(i):
    return f"<|im_start|>user\nTell me about {TOPICS[i % len(TOPICS)]}, part {i // len(TOPICS) + 1}.<|im_end|>\n<|im_start|>assistant\n"


class LlamaServer(Server):
    """Started and listening. `marked` False: without the preload library. `model` False: a router, which starts servers for models itself."""

    def __init__(self, serving, *options, marked=True, slots=4, context=2048, threads=1, port=None, model=True, wait=True):
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        environment = serving.environment(**({"LD_PRELOAD": PRELOAD} if marked else {}))
        # One thread in tests: libllama's wait for each other by spinning, and other tests run beside this one.
        command = [PROGRAM, *(["-m", GGUF] if model else []), "--host", "127.0.0.1", "--port", self.port, "-t", threads, "-tb", threads, "-np", slots, "-c", context * slots, "--no-ui", "--no-warmup", *options]
        super().__init__(command, log=serving.folder / f"llama-server-{time.monotonic_ns()}.log", env=environment)
        if wait:
            self.wait(self.url + "/health", seconds=60)

    def complete(self, bodies, concurrency=200):
        """Answers of /completion, with their token ids."""
        answers = drive(self.url, [Call("/completion", {"return_tokens": True, **FREE, **body}) for body in bodies], concurrency)
        assert [a.status_code for a in answers] == [200] * len(answers), [a.text for a in answers if a.status_code != 200]
        return [a.json() for a in answers]
