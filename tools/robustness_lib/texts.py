"""The texts that are edited: SmolLM2-135M's answers, marked by us and by transformers, and unmarked. Made once, kept in the cache.

    texts.py FOLDER [SET…]       writes FOLDER/SET.jsonl, a line an answer: id, prompt, token_ids, text; what is there is left alone

Every set answers the same prompts with 200 tokens at temperature 1 and top-p 0.95 (no end token before).

transformers' processors mark rows that are truncated already. Two things are done faster than transformers does them, with the same outcome: top-p sorts the 1,024 likeliest tokens and not the
vocabulary, and the tournament runs over those alone, all others having probability 0.
"""
import hashlib
import json
import os
import secrets
import sys
import time

TOKENS = 200
BATCH = 30
CANDIDATES = 1024
TEMPERATURE, TOP_P = 1.0, 0.95
VOCABULARY = 49152
KGW = {"greenlist_ratio": 0.25, "bias": 2.0, "hashing_key": 15485863, "seeding_scheme": "lefthash", "context_width": 1}
SYNTHID = {"ngram_len": 5, "context_history_size": 1024, "sampling_table_size": 65536, "sampling_table_seed": 0,
           "keys": [int.from_bytes(hashlib.sha256(b"robustness %d" % i).digest()[:4], "big") >> 1 for i in range(30)]}
# One key marks the whole text, as transformers' do; "-accounts" is the product's default, half of it marked with the key of the account.
EPOCHS = {"gumbel": ("gumbel", {"base": 1.0}), "partition": ("partition", {"base": 1.0}), "tournament": ("tournament", {"base": 1.0}),
          "gumbel-accounts": ("gumbel", {"base": 0.5, "account": 0.5})}
ACCOUNT = "org-1"
SETS = ("unmarked", "gumbel", "hf-kgw", "partition", "tournament", "gumbel-accounts", "hf-synthid")

FRAMES = (
    "Write a short story about {}.", "Explain to a beginner what one should know about {}.", "Describe {} to somebody who has never seen it.", "Write a letter to a friend about {}.",
    "What do people often get wrong about {}?",
)
SUBJECTS = ("a lighthouse", "a village market", "learning to cook", "riding a bicycle", "the first day of school", "a garden in spring", "travelling by train", "a mountain river",
            "keeping bees", "an old library", "the work of a nurse", "a small harbour")


def prompts():
    return [frame.format(subject) for frame in FRAMES for subject in SUBJECTS]


def model_folder():
    cache = os.environ.get("COUNTERMARK_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "countermark")
    return os.path.join(cache, "models", "SmolLM2-135M-Instruct.transformers")


def tokenizer_file():
    return os.path.join(model_folder(), "tokenizer.json")


def read(folder, name):
    with open(os.path.join(folder, name + ".jsonl")) as f:
        return [json.loads(line) for line in f]


def open_keys(folder):
    """The key store with an epoch for each of our sets, and its passphrase file: made at the first call."""
    from countermark import KeyStore
    path, passphrase = os.path.join(folder, "keys.cmks"), os.path.join(folder, "passphrase")
    if not os.path.exists(path):
        with open(os.open(passphrase, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w") as f:
            f.write(secrets.token_hex(16) + "\n")
        store = KeyStore.create(path, tenant="robustness", passphrase_file=passphrase)
        with open(tokenizer_file(), "rb") as f:
            digest = hashlib.sha256(f.read()).hexdigest()
        for name, (scheme, weights) in EPOCHS.items():
            store.add_epoch(name, scheme=scheme, weights=weights, tokenizer_sha256=digest, vocabulary=VOCABULARY)
        store.add_accounts([ACCOUNT])
    return KeyStore.open(path, passphrase_file=passphrase), passphrase


def processors(kind):
    """top-p, then transformers' mark of that kind, if it is one, as logits processors."""
    import torch
    from transformers import LogitsProcessor, LogitsProcessorList, SynthIDTextWatermarkLogitsProcessor, WatermarkLogitsProcessor

    class Nucleus(LogitsProcessor):
        def __call__(self, input_ids, scores):
            probabilities = torch.softmax(scores, dim=-1)
            top = probabilities.topk(CANDIDATES)
            kept = top.values.cumsum(dim=-1) - top.values < TOP_P  # the tokens before it do not reach top-p
            if bool(kept[:, -1].any()):
                ordered, order = probabilities.sort(descending=True)
                kept, indices = ordered.cumsum(dim=-1) - ordered < TOP_P, order
            else:
                indices = top.indices
            out = torch.full_like(scores, -torch.inf)
            return out.scatter(1, indices, scores.gather(1, indices).masked_fill(~kept, -torch.inf))

    class OfCandidates(SynthIDTextWatermarkLogitsProcessor):
        def __call__(self, input_ids, scores):
            top = scores.topk(max(CANDIDATES, int(scores.isfinite().sum(dim=1).max())))
            self.candidates = top.indices
            return torch.full_like(scores, -torch.inf).scatter(1, top.indices, super().__call__(input_ids, top.values))

        def _compute_keys(self, n_minus_1_grams, indices):
            return super()._compute_keys(n_minus_1_grams, self.candidates)

    mark = []
    if kind == "hf-kgw":
        mark = [WatermarkLogitsProcessor(vocab_size=VOCABULARY, device="cpu", **KGW)]
    elif kind == "hf-synthid":
        mark = [OfCandidates(device=torch.device("cpu"), **SYNTHID)]
    return LogitsProcessorList([Nucleus(), *mark])


def generate(folder, name):
    import torch
    import transformers
    from countermark import BASE_ONLY, Hook, Keys
    from countermark.hf import generate_marked

    torch.set_num_threads(int(os.environ.get("ROBUSTNESS_THREADS", "1")))
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder())
    model = transformers.AutoModelForCausalLM.from_pretrained(model_folder(), dtype=torch.float32)
    lengths = {"min_new_tokens": TOKENS, "max_new_tokens": TOKENS, "do_sample": True}
    if name in EPOCHS:
        store, passphrase = open_keys(folder)
        bundle = os.path.join(folder, f"{name}-{os.getpid()}.cmkb")
        store.bundle(name, bundle, passphrase_file=passphrase)
        keys = Keys()
        keys.open_bundle(bundle, passphrase_file=passphrase)
        os.remove(bundle)
        hook = Hook(keys, max_slots=BATCH, vocabulary=model.config.vocab_size)
        accounts = "account" in EPOCHS[name][1]

    def batch(chats, seed):
        if name in EPOCHS:
            answers = generate_marked(model, tokenizer, chats, hook, account=ACCOUNT if accounts else BASE_ONLY, seed=seed, temperature=TEMPERATURE, top_p=TOP_P, top_k=0, **lengths)
            return [list(a.token_ids) for a in answers]
        torch.manual_seed(seed)
        encoded = tokenizer(tokenizer.apply_chat_template(chats, tokenize=False, add_generation_prompt=True), return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False)
        with torch.inference_mode():
            out = model.generate(**encoded, logits_processor=processors(name), temperature=TEMPERATURE, top_p=1.0, top_k=0, pad_token_id=tokenizer.pad_token_id, **lengths)
        return out[:, encoded["input_ids"].shape[1]:].tolist()

    asked, lines, start = prompts(), [], time.time()
    for i in range(0, len(asked), BATCH):
        chats = [[{"role": "user", "content": prompt}] for prompt in asked[i:i + BATCH]]
        for j, ids in enumerate(batch(chats, 1000 + i)):
            lines.append({"id": f"{name}/{i + j}", "prompt": asked[i + j], "token_ids": ids, "text": tokenizer.decode(ids, skip_special_tokens=True)})
        print(f"robustness: {name}, {len(lines)} of {len(asked)} answers, {time.time() - start:.0f} s", file=sys.stderr, flush=True)
    path = os.path.join(folder, name + ".jsonl")
    with open(path + ".part", "w") as f:
        for line in lines:
            f.write(json.dumps(line) + "\n")
    os.replace(path + ".part", path)


def main():
    folder, *names = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    for name in names or SETS:
        if not os.path.exists(os.path.join(folder, name + ".jsonl")):
            generate(folder, name)


if __name__ == "__main__":
    main()
