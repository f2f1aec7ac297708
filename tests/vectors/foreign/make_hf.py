"""Makes hf-kgw.json, hf-kgw-selfhash.json and hf-synthid.json with transformers' own classes.

    pip install transformers==5.23.0 torch==2.13.0
    python make_hf.py [kgw] [selfhash] [synthid]

Of each text: what WatermarkDetector counts (scored, green, its p-value and z), with and without ignore_repeated_ngrams; of SynthID the g-values of
SynthIDTextWatermarkLogitsProcessor, its mask of repeated contexts, and the mean over what the mask leaves.
"""
import sys

import torch
import transformers
from transformers import SynthIDTextWatermarkingConfig, SynthIDTextWatermarkLogitsProcessor, WatermarkDetector, WatermarkingConfig, WatermarkLogitsProcessor

from texts import VOCABULARY, texts, write

ABOUT = f"transformers {transformers.__version__}, torch {torch.__version__}, on the CPU; made by make_hf.py"
CPU = torch.device("cpu")


def generated(processor, vocabulary, count, length, seed, reset=None):
    """Texts drawn from random logits as the processor leaves them: marked."""
    generator = torch.Generator().manual_seed(seed)
    out = []
    for _ in range(count):
        if reset:
            reset()
        ids = torch.randint(0, vocabulary, (1, 8), generator=generator)
        while ids.shape[1] < length + 8:
            scores = 2 * torch.randn(1, vocabulary, generator=generator)
            probabilities = torch.softmax(processor(ids, scores), dim=-1)
            ids = torch.cat([ids, torch.multinomial(probabilities, 1, generator=generator)], dim=1)
        out.append(ids[0, 8:].tolist())
    return out


def kgw_results(config, vocabulary, of):
    model = transformers.PretrainedConfig()
    model.vocab_size, model.bos_token_id = vocabulary, -1  # no text begins with it
    detectors = [WatermarkDetector(model_config=model, device="cpu", watermarking_config=config, ignore_repeated_ngrams=i, max_cache_size=1 << 20) for i in (False, True)]
    results = []
    for ids in of:
        try:
            every, once = (d(torch.tensor([ids]), return_dict=True) for d in detectors)
        except ValueError:
            results.append(None)
            continue
        results.append({"hf_scored": int(every.num_tokens_scored[0]), "hf_hits": int(every.num_green_tokens[0]), "hf_p": float(every.p_value[0]),
                        "once_scored": int(once.num_tokens_scored[0]), "once_hits": int(once.num_green_tokens[0])})
    return results


def kgw(name, configs):
    cases = []
    for config, vocabulary in configs:
        marked = generated(WatermarkLogitsProcessor(vocab_size=vocabulary, device="cpu", **config.to_dict()), vocabulary, 12, 60, len(cases) + 1)
        for of in (None, marked):
            cases.append({"config": config.to_dict(), "vocab_size": vocabulary, "marked": of is not None, "texts": of,
                          "results": kgw_results(config, vocabulary, texts() if of is None else of)})
        # A few whole green lists, by their first tokens.
        processor = WatermarkLogitsProcessor(vocab_size=vocabulary, device="cpu", **config.to_dict())
        cases[-2]["greenlists"] = [[previous, processor._get_greenlist_ids(torch.tensor([previous] * 8))[:10].tolist()] for previous in (1, 318, 40000)]
    write(name, ABOUT, cases)


def synthid_results(processor, of):
    results = []
    for ids in of:
        if len(ids) < processor.ngram_len:
            results.append(None)
            continue
        g = processor.compute_g_values(torch.tensor([ids]))[0]
        mask = processor.compute_context_repetition_mask(torch.tensor([ids]))[0]
        kept = g[mask]
        results.append({"ngrams": g.shape[0], "ones": int(g.sum()), "hf_scored": int(mask.sum()), "hf_ones": int(kept.sum()),
                        "mean_g": float(kept.double().mean()), "layers": g.sum(dim=0).tolist(), "last": "".join(map(str, g[-1].tolist()))})
    return results


KEYS30 = [654, 400, 836, 123, 340, 443, 597, 160, 57, 29, 590, 639, 13, 715, 468, 990, 966, 226, 324, 585, 118, 504, 421, 521, 129, 669, 732, 225, 90, 960]


def synthid():
    source = torch.Generator().manual_seed(5)
    wide = torch.randint(-(1 << 62), 1 << 62, (9,), generator=source).tolist()
    cases = []
    for config in (SynthIDTextWatermarkingConfig(ngram_len=5, keys=KEYS30), SynthIDTextWatermarkingConfig(ngram_len=3, keys=wide, context_history_size=16, sampling_table_size=10007, sampling_table_seed=77)):
        make = lambda: SynthIDTextWatermarkLogitsProcessor(**config.to_dict(), device=CPU)
        processor = make()

        def reset():
            processor.state = None

        marked = generated(processor, 2000, 12, 90, 7, reset)
        for of in (None, marked):
            cases.append({"config": config.to_dict(), "vocab_size": VOCABULARY, "marked": of is not None, "texts": of, "results": synthid_results(make(), texts() if of is None else of)})
        cases[-2]["table_ones"] = int(processor.sampling_table.sum())
        cases[-2]["first_row"] = "".join(map(str, make().compute_g_values(torch.arange(1, config.ngram_len + 1)[None])[0, 0].tolist()))
    write("hf-synthid", ABOUT, cases)


def main():
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    parts = sys.argv[1:] or ["kgw", "selfhash", "synthid"]
    with torch.inference_mode():
        if "kgw" in parts:
            kgw("hf-kgw", [(WatermarkingConfig(), VOCABULARY), (WatermarkingConfig(greenlist_ratio=0.5, hashing_key=(1 << 40) + 12345, context_width=3), VOCABULARY)])
        if "selfhash" in parts:
            kgw("hf-kgw-selfhash", [(WatermarkingConfig(seeding_scheme="selfhash", context_width=4), VOCABULARY),
                                    (WatermarkingConfig(seeding_scheme="selfhash", context_width=1, greenlist_ratio=0.5, hashing_key=77), VOCABULARY)])
        if "synthid" in parts:
            synthid()


if __name__ == "__main__":
    main()
