"""Makes sglang-gumbel.json with SGLang's own detector.

    pip download --no-deps sglang==0.5.23 && unzip -d sglang sglang-*.whl && pip install msgspec
    python make_sglang.py sglang/sglang/srt/sampling

The detector stands alone in srt/sampling/watermarking (the standard library and msgspec). The marked texts are chosen as its README defines the choice, argmax log(u)/p.
"""
import math
import random
import sys

sys.path.insert(0, sys.argv[1])
from watermarking.detector import WatermarkDetector, hash_context, position_coin, watermark_hash  # noqa: E402
from watermarking.config import parse_watermark_key  # noqa: E402

from texts import VOCABULARY, texts, write  # noqa: E402


def detector(config):
    return WatermarkDetector(config["key"], key_b=config.get("key_b"), context_window=config.get("context_window") or 4, mixing_probability=config.get("mixing_probability") or 0.5)


def results(config, of, prompts):
    out = []
    for ids, prompt in zip(of, prompts):
        d = detector(config).detect_tokens(ids, prompt_token_ids=prompt)
        c = d.combined
        out.append({"prompt": prompt, "scored": c.num_contexts, "score": c.score, "log_p": c.log_p_value, "a": d.key_a_all_positions.score})
    return out


def marked(config, count, length, source):
    key = parse_watermark_key(config["key"])
    key_b = parse_watermark_key(config["key_b"]) if config.get("key_b") else None
    width, threshold = config.get("context_window") or 4, int((config.get("mixing_probability") or 0.5) * 2**32)
    out, prompts = [], []
    for _ in range(count):
        ids = [source.randrange(2000) for _ in range(8)]
        seen = set()
        while len(ids) < length + 8:
            candidates = {source.randrange(2000): source.random() ** 4 + 1e-6 for _ in range(60)}
            context = hash_context(ids[-width:])
            if context in seen:
                ids.append(source.choices(list(candidates), list(candidates.values()))[0])
                continue
            seen.add(context)
            total = sum(candidates.values())
            k = key if key_b is None or position_coin(key, key_b, context) < threshold else key_b
            ids.append(max(candidates, key=lambda t: math.log((watermark_hash(k, context, t) + 0.5) / 2**32) * total / candidates[t]))
        out.append(ids[8:])
        prompts.append(ids[:8])
    return out, prompts


def main():
    source = random.Random(3)
    cases = []
    for config in ({"key": "0x0123456789abcdef"}, {"key": "f", "key_b": "0xFEDCBA9876543210", "mixing_probability": 0.25, "context_window": 2},
                   {"key": "8000000000000001", "key_b": None, "context_window": 7, "default_enabled": True}):
        of = texts()
        prompts = [[source.randrange(VOCABULARY) for _ in range(source.choice((0, 0, 1, 3, 9)))] for _ in of]
        cases.append({"config": config, "vocab_size": VOCABULARY, "marked": False, "texts": None, "results": results(config, of, prompts)})
        of, prompts = marked(config, 12, 60, source)
        cases.append({"config": config, "vocab_size": VOCABULARY, "marked": True, "texts": of, "results": results(config, of, prompts)})
    cases[0]["hashes"] = [[[1, 2, 3, 4], hash_context([1, 2, 3, 4]), 17, watermark_hash(0x0123456789ABCDEF, hash_context([1, 2, 3, 4]), 17)]]
    write("sglang-gumbel", "sglang 0.5.23, srt/sampling/watermarking/detector.py; made by make_sglang.py", cases)


if __name__ == "__main__":
    main()
