"""A server in small, for hf_model_test.py to kill: the small model answers 24 chats for three accounts in one batch, says each step on standard output, and writes the answers at its end.

    python hf_model_serve.py BUNDLE PASSPHRASE_FILE SEED OUT.json
"""
import json
import sys

import torch
from transformers import StoppingCriteria, StoppingCriteriaList

import countermark
from countermark import hf
from small_model import small_model

ACCOUNTS = ["org-a", "org-b", "org-c"]
SUBJECTS = ["a ship's cook who can predict storms", "a walk through an old forest", "two brothers who inherit a mill", "the day the electricity went out",
            "an evening in a mountain hut", "a clockmaker who wanted to stop time", "a train that never arrives", "a street musician in winter"]
CHATS = [[{"role": "user", "content": f"Write a story about {subject}{ending}"}] for subject in SUBJECTS for ending in (".", " and a secret.", ", told by a child.")]
OWNERS = [ACCOUNTS[i % 3] for i in range(24)]
OPTIONS = dict(do_sample=True, temperature=1.0, top_p=0.95, top_k=0, max_new_tokens=160)


class Say(StoppingCriteria):
    def __call__(self, input_ids, scores, **_):
        print("step", flush=True)
        return torch.zeros(input_ids.shape[0], dtype=torch.bool)


def main(bundle, secret, seed, out):
    torch.set_num_threads(1)
    model, tokenizer = small_model()
    with countermark.open_hook(bundle, passphrase_file=secret, max_slots=24, vocabulary=model.config.vocab_size) as hook:
        answers = hf.generate_marked(model, tokenizer, CHATS, hook, accounts=OWNERS, seed=int(seed), stopping_criteria=StoppingCriteriaList([Say()]), **OPTIONS)
        faults = hook.metrics().fault
    with open(out, "w") as file:
        json.dump({"faults": faults, "answers": [{"account": a.account, "text": a.text, "token_ids": a.token_ids, "counters": a.counters} for a in answers]}, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
