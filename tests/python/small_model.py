"""SmolLM2-135M-Instruct for transformers, and whether transformers is here at all."""
import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path

from fixture import CACHE

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_PATH = os.path.join(CACHE, "models", GGUF)
CONVERTED = Path(CACHE) / "models" / "SmolLM2-135M-Instruct.transformers"


def transformers_cannot_be_had():
    """Only where tools/setup has tried to install torch and transformers and could not; else a missing one is a failure of the tests that import it."""
    return (Path(sys.prefix) / ".no-transformers").exists() and not all(map(importlib.util.find_spec, ("torch", "transformers", "gguf", "accelerate")))


def small_model():
    """The model in single precision and its tokenizer. Converted once into the cache: reading a GGUF takes transformers a quarter of a minute."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if not CONVERTED.exists():
        model = AutoModelForCausalLM.from_pretrained(os.path.dirname(GGUF_PATH), gguf_file=GGUF, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(os.path.dirname(GGUF_PATH), gguf_file=GGUF)
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config  # the weights are not quantised any more
        plain = type(model)(model.config)
        plain.load_state_dict(model.state_dict())
        part = Path(tempfile.mkdtemp(prefix=".part.", dir=CONVERTED.parent))
        plain.to(torch.bfloat16).save_pretrained(part)
        tokenizer.save_pretrained(part)
        try:
            part.rename(CONVERTED)
        except OSError:  # another test was faster
            shutil.rmtree(part)
    model = AutoModelForCausalLM.from_pretrained(CONVERTED, dtype=torch.float32)
    return model.eval(), AutoTokenizer.from_pretrained(CONVERTED)
