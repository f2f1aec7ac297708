"""Makes synthid-text.json with the package synthid-text: as it is published (0.2.1, a sampling table), and with the hash of its newer sources.

    pip install synthid-text==0.2.1 --no-deps transformers==5.23.0 torch==2.13.0 immutabledict
    python make_synthid_text.py

The newer hash (google-deepmind/synthid-text, commit 32197c3495512aaa9f57f472a2acfb8b16897f86) has no release on PyPI. What it changed is written here over the
published class: the hash begins at SHA-256 of the keys, and a g-value is bit 30 after twelve more rounds, each shifted right by five.
mean_g is the package's own mean_score and weighted_mean_score, run on numpy in place of jax.
"""
import hashlib
import sys
import types

import numpy
import torch

jax = types.ModuleType("jax")
jax.numpy = numpy
sys.modules["jax"], sys.modules["jax.numpy"] = jax, numpy
from synthid_text import detector_mean, hashing_function, logits_processing  # noqa: E402

from texts import VOCABULARY, texts, write  # noqa: E402

CPU = torch.device("cpu")
KEYS = [654, 400, 836, 123, 340, 443, 597, 160, 57, 29, 590, 639, 13, 715, 468, 990, 966, 226, 324, 585, 118, 504, 421, 521, 129, 669, 732, 225, 90, 960]


class Newer(logits_processing.SynthIDLogitsProcessor):
    def __init__(self, **config):
        super().__init__(sampling_table_size=1, sampling_table_seed=0, **config)
        digest = hashlib.sha256(self.keys.to(torch.long).numpy().tobytes()).digest()
        self.hash_iv = int.from_bytes(digest, byteorder="big") % torch.iinfo(torch.int64).max

    def compute_ngram_keys(self, ngrams):
        state = torch.full(ngrams.shape[:2], self.hash_iv, dtype=torch.long)
        state = hashing_function.accumulate_hash(state, ngrams)
        return hashing_function.accumulate_hash(state[:, :, None].expand(-1, -1, len(self.keys)), self.keys[None, None, :, None])

    def sample_g_values(self, ngram_keys):
        for _ in range(12):
            ngram_keys = hashing_function.accumulate_hash(ngram_keys, torch.LongTensor([1])) >> (64 // 12)
        return (ngram_keys >> 30) % 2


def results(processor, of):
    out = []
    for ids in of:
        if len(ids) < processor.ngram_len:
            out.append(None)
            continue
        g = processor.compute_g_values(torch.tensor([ids])).numpy()
        mask = processor.compute_context_repetition_mask(torch.tensor([ids])).numpy()
        out.append({"ngrams": g.shape[1], "ones": int(g.sum()), "hf_scored": int(mask.sum()), "hf_ones": int(g[mask].sum()),
                    "mean_g": float(detector_mean.mean_score(g.astype(float), mask)[0]), "weighted_mean_g": float(detector_mean.weighted_mean_score(g.astype(float), mask)[0]),
                    "last": "".join(map(str, g[0, -1].tolist()))})
    return out


def marked(processor, count, length, seed):
    """Texts drawn as the package samples: from the top 40 of random logits."""
    generator = torch.Generator().manual_seed(seed)
    out = []
    for _ in range(count):
        processor.state = None
        ids = torch.randint(0, 2000, (1, 8), generator=generator)
        while ids.shape[1] < length + 8:
            scores, indices, _ = processor.watermarked_call(ids, 2 * torch.randn(1, 2000, generator=generator))
            choice = torch.multinomial(torch.softmax(scores, dim=-1), 1, generator=generator)
            ids = torch.cat([ids, indices.gather(1, choice)], dim=1)
        out.append(ids[0, 8:].tolist())
    return out


def main():
    torch.set_num_threads(1)
    common = {"ngram_len": 5, "keys": KEYS, "context_history_size": 1024}
    table = {**common, "sampling_table_size": 1 << 16, "sampling_table_seed": 0}
    sampling = {"temperature": 1.0, "top_k": 40, "device": CPU}
    cases = []
    with torch.inference_mode():
        for label, config, make in (("table", table, logits_processing.SynthIDLogitsProcessor), ("iv", common, Newer),
                                    ("iv", {"ngram_len": 3, "keys": [5, 1 << 40, -7], "context_history_size": 8}, Newer)):
            sets = [None] if label == "iv" else [None, marked(make(**config, **sampling), 12, 90, 3)]
            for of in sets:
                cases.append({"hash": label, "config": config, "vocab_size": VOCABULARY, "marked": of is not None, "texts": of,
                              "results": results(make(**config, **sampling), texts() if of is None else of)})
    write("synthid-text", f"synthid-text 0.2.1 and, where hash is iv, its sources at 32197c34; torch {torch.__version__}; made by make_synthid_text.py", cases)


if __name__ == "__main__":
    main()
