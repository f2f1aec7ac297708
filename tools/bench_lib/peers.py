"""Times other projects' watermarks on one core and prints the figures as JSON: peers.py rows | peers.py detect IDS | peers.py foreign IDS

rows    the logits processors of transformers at V = 128256, and torch's own unmarked draw, on one row of random normal logits
detect  the detectors of transformers on the ids of a file (32 bits each, little endian)
foreign the same, and what its SynthID detector takes in before its Bayesian module: g-values and the mask of repeated contexts
"""
import json
import statistics
import sys
import time

import numpy
import torch
import transformers
from transformers import SynthIDTextWatermarkLogitsProcessor, WatermarkDetector, WatermarkLogitsProcessor

VOCABULARY = 128256
CPU = torch.device("cpu")
TRANSFORMERS = f"transformers {transformers.__version__}"
TORCH = f"torch {torch.__version__}"


def seconds(work, least=5, budget=2.0):
    """The median time of work(i), in this thread's processor time (torch is kept to one thread)."""
    work(0)
    times, begin, i = [], time.thread_time(), 1
    while len(times) < least or time.thread_time() - begin < budget and len(times) < 1000:
        start = time.thread_time()
        work(i)
        times.append(time.thread_time() - start)
        i += 1
    return statistics.median(times)


def kgw(scheme):
    width = 1 if scheme == "lefthash" else 4
    return {"greenlist_ratio": 0.25, "bias": 2.0, "hashing_key": 15485863, "seeding_scheme": scheme, "context_width": width}


def synthid():
    keys = torch.randint(0, 1 << 31, (30,), generator=torch.Generator().manual_seed(1)).tolist()
    return SynthIDTextWatermarkLogitsProcessor(ngram_len=5, keys=keys, sampling_table_size=1 << 16, sampling_table_seed=0,
                                               context_history_size=1024, device=CPU)


def rows():
    generator = torch.Generator().manual_seed(1)
    scores = torch.randn(1, VOCABULARY, generator=generator) * 3
    ids = torch.randint(0, VOCABULARY, (1, 64), generator=generator)
    # Every call at a window of its own.
    at = lambda i: torch.cat([ids, torch.tensor([[(7919 * i + 1) % VOCABULARY]])], dim=1)
    for scheme in ("lefthash", "selfhash"):
        processor = WatermarkLogitsProcessor(vocab_size=VOCABULARY, device="cpu", **kgw(scheme))
        yield f"{TRANSFORMERS}, KGW {scheme} processor", 1e6 * seconds(lambda i: processor(at(i), scores)), "us"
    processor = synthid()
    yield f"{TRANSFORMERS}, SynthID processor, 30 layers", 1e6 * seconds(lambda i: processor(at(i), scores)), "us"
    draw = lambda i: torch.multinomial(torch.softmax(scores[0], dim=-1), 1)
    yield f"{TORCH}, softmax and multinomial, unmarked", 1e6 * seconds(draw), "us"


def detect(path):
    ids = torch.tensor(numpy.fromfile(path, dtype="<u4").astype(numpy.int64))[None]
    config = transformers.PretrainedConfig(vocab_size=VOCABULARY, bos_token_id=0)
    config.vocab_size = VOCABULARY
    for scheme, n in (("lefthash", 400), ("selfhash", 400)):
        # A new detector each time: it remembers the pairs that it has seen.
        run = lambda i: WatermarkDetector(model_config=config, device="cpu", watermarking_config=kgw(scheme))(ids[:, :n])
        yield f"{TRANSFORMERS}, KGW {scheme} detector, {n} ids", n / seconds(run, least=3, budget=1.0), "tokens/s"
    processor = synthid()
    n = ids.shape[1]
    yield f"{TRANSFORMERS}, SynthID g-values of {n} ids", n / seconds(lambda i: processor.compute_g_values(ids), least=3, budget=1.0), "tokens/s"


def foreign(path):
    yield from detect(path)
    ids = torch.tensor(numpy.fromfile(path, dtype="<u4").astype(numpy.int64))[None]
    processor = synthid()
    both = lambda i: (processor.compute_g_values(ids), processor.compute_context_repetition_mask(ids))
    yield f"{TRANSFORMERS}, SynthID g-values and mask of {ids.shape[1]} ids", ids.shape[1] / seconds(both, least=3, budget=1.0), "tokens/s"


def main():
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    with torch.inference_mode():
        figures = [{"name": n, "value": v, "unit": u} for n, v, u in {"rows": rows, "detect": detect, "foreign": foreign}[sys.argv[1]](*sys.argv[2:])]
    json.dump({"figures": figures}, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
