"""What the tests of the Python package share: epochs with a constant key, and rows of logits that numpy makes."""
import os
import subprocess

import numpy as np

import countermark

REFERENCE = os.environ["COUNTERMARK_PYTHON_REFERENCE"]
BIN = os.environ["COUNTERMARK_BIN"]
CACHE = os.environ["COUNTERMARK_CACHE"]
PASSPHRASE = "of a bundle that guards nothing"
ACCOUNTS = ["org-a", "org-b", "org-c"]


class FixedEpoch:
    """epoch.bundle, epoch.key and epoch.key.json in a folder, and the passphrase's file."""

    def __init__(self, folder, vocabulary=500, tokenizer="-", scheme="gumbel", policy="floor"):
        folder.mkdir(parents=True, exist_ok=True)
        self.secret = folder / "passphrase"
        self.secret.write_text(PASSPHRASE + "\n")
        self.secret.chmod(0o600)
        subprocess.run([REFERENCE, "epoch", folder, str(vocabulary), tokenizer, scheme, policy, self.secret], check=True)
        self.bundle = folder / "epoch.bundle"
        self.export = folder / "epoch.key"

    def keys(self):
        keys = countermark.Keys()
        keys.open_bundle(self.bundle, passphrase_file=self.secret)
        return keys

    def hook(self, **options):
        return countermark.Hook(self.keys(), **options)

    def epoch_keys(self):
        return countermark.EpochKeys.from_bundle(self.bundle, passphrase_file=self.secret)

    def reference_tokens(self, folder, logits, account="org-a", seed=3, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0):
        """Tokens and causes of the C++ hook itself."""
        path = folder / "logits.f32"
        np.ascontiguousarray(logits, dtype=np.float32).tofile(path)
        done = subprocess.run([REFERENCE, "tokens", self.export, path, account, *map(str, (seed, temperature, top_k, top_p, min_p))],
                              check=True, capture_output=True, text=True)
        lines = [line.split(" ", 1) for line in done.stdout.splitlines()]
        return [int(token) for token, _ in lines], [cause.replace(" ", "_") for _, cause in lines]


def rows(n, vocabulary=500, seed=1, spread=2.0):
    return np.random.default_rng(seed).normal(0, spread, (n, vocabulary)).astype(np.float32)


def marked_ids(hook, account, n, seed=1, slot=0, vocabulary=500):
    """n tokens for an account from rows of numpy's."""
    hook.begin(slot, account=account, seed=seed)
    ids = [int(hook.sample([slot], row).tokens[0]) for row in rows(n, vocabulary, seed)]
    hook.end(slot)
    return ids
