"""Makes textseal.json with TextSeal's own hash and detectors.

    git clone https://github.com/facebookresearch/textseal && (cd textseal && git checkout 214407c3091fc77122da82133224e73e3d12bd4f)
    python make_textseal.py textseal      with torch, transformers, numpy and scipy

The dual key is in the sources only; what PyPI has as textseal 0.0.5 holds the same hash and no second key.
"""
import sys

import torch

sys.path.insert(0, sys.argv[1])
from textseal.watermarking.config import WatermarkConfig  # noqa: E402
from textseal.watermarking.core import score_listed_tokens  # noqa: E402
from textseal.watermarking.detector import TextSealDetector  # noqa: E402

from dataclasses import replace  # noqa: E402
from texts import VOCABULARY, texts, write  # noqa: E402


def results(config, of):
    detector = TextSealDetector(None, WatermarkConfig(**config), scoring_method=config.get("scoring_method", "v2"))
    detector.tokenizer = type("Ids", (), {"encode": staticmethod(lambda ids, add_special_tokens: ids)})
    out = []
    for ids in of:
        d = detector.detect(ids)
        if not d["n_tokens"]:
            out.append(None)
            continue
        out.append({"scored": d["n_tokens"], "score": float(sum(detector.get_scores_by_t([ids], detector.scoring_method)[0])), "p": d["p_value"]})
    return out


def marked(config, count, length, seed):
    """argmax log(r)/p under key A with probability mixing_alpha, else key B, as TextSeal's generator chooses."""
    wm = WatermarkConfig(**config)
    generator = torch.Generator().manual_seed(seed)
    everything = torch.arange(2000)
    out = []
    for _ in range(count):
        ids = torch.randint(0, 2000, (wm.ngram,), generator=generator).tolist()
        while len(ids) < length + wm.ngram:
            p = torch.softmax(3 * torch.randn(2000, generator=generator), -1)
            key = wm.key_a if float(torch.rand(1, generator=generator)) < wm.mixing_alpha else wm.key_b
            r = score_listed_tokens(torch.tensor([ids[-wm.ngram:]]), replace(wm, secret_key=key), everything)[0]
            ids.append(int(torch.argmax(torch.log(r) / p)))
        out.append(ids)
    return out


def main():
    torch.set_num_threads(1)
    cases = []
    with torch.inference_mode():
        for config in ({"watermark_type": "textseal"}, {"watermark_type": "textseal", "secret_key": 987654321, "secret_key_b": 55, "ngram": 3, "mixing_alpha": 0.8, "scoring_method": "v1"},
                       {"watermark_type": "textseal", "secret_key": 7, "ngram": 2, "scoring_method": "none", "mixing_alpha": 0.5}):
            for of in (None, marked(config, 12, 60, 4)):
                cases.append({"config": config, "vocab_size": VOCABULARY, "marked": of is not None, "texts": of, "results": results(config, texts() if of is None else of)})
    write("textseal", "facebookresearch/textseal at 214407c3; made by make_textseal.py", cases)


if __name__ == "__main__":
    main()
