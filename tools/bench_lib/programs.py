"""The programs the bench runs, each held to one core where one core is what is measured."""
import json
import os
import subprocess
import sys


class Programs:
    def __init__(self, root, build, cache, folder):
        self.root, self.build, self.cache, self.folder = root, build, cache, folder
        self.core = max(os.sched_getaffinity(0))
        self.model = os.path.join(cache, "models", "SmolLM2-135M-Instruct.Q4_1.gguf")
        self.sentencepiece = os.path.join(cache, "models", "mistral-v1.model")

    def path(self, name):
        return os.path.join(self.folder, name)

    def binary(self, name):
        return os.path.join(self.build, "bin", name)

    def run(self, *command, isa=None, one_core=False, expect=(0,)):
        environment = dict(os.environ)
        environment.pop("COUNTERMARK_ISA", None)
        if isa:
            environment["COUNTERMARK_ISA"] = isa
        pin = (lambda: os.sched_setaffinity(0, {self.core})) if one_core else None
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True, env=environment, preexec_fn=pin)
        if done.returncode not in expect:
            raise SystemExit(f"{done.stderr[-2000:]}\nbench: error: {os.path.basename(str(command[0]))} ended with {done.returncode}")
        return done

    def figures(self, name, *arguments, isa):
        """What build/bin/NAME prints, on one core under an instruction set."""
        return json.loads(self.run(self.binary(name), *arguments, isa=isa, one_core=True).stdout)["figures"]

    def peers(self, *arguments):
        script = os.path.join(self.root, "tools", "bench_lib", "peers.py")
        return json.loads(self.run(sys.executable, script, *arguments, one_core=True).stdout)["figures"]

    def logits(self, rows):
        """A file of the model's own rows of logits, made once a run."""
        path = self.path(f"logits-{rows}.bin")
        if not os.path.exists(path):
            self.run(self.binary("logits_dump"), self.model, path, rows)
        return path
