"""A whole distillation in seconds: a tiny Llama answers with the mark, another learns from its answers, and is written as GGUF.

    teacher = tiny.model(seed=1, sharp=3)
    answers = tiny.answers(teacher, hook, accounts)                    # countermark.hf, one answer an account
    student = tiny.trained(base, [a for a in answers if a.account in used])
    tiny.write_gguf(student, folder / "student.gguf")

WORDS tokens of a vocabulary of VOCABULARY are ever said, so that windows recur and a few thousand tokens are enough to learn from.
"""
import copy
import dataclasses
import os
import subprocess

import gguf
import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import countermark
from countermark import hf

VOCABULARY = 320
FIRST_WORD, WORDS = 259, 40  # after <unk> <s> </s> and the 256 bytes
LAYERS, HEADS, HIDDEN, FEED = 2, 4, 64, 128
CONTEXT = 256


class Epoch:
    """An epoch whose key hangs on `number` alone: bundle and passphrase for a server, export for an auditor."""

    def __init__(self, folder, tokenizer, accounts, number=1, scheme="gumbel"):
        folder.mkdir(parents=True)
        self.accounts, self.export, self.bundle, self.secret = list(accounts), folder / "epoch.key", folder / "epoch.bundle", folder / "passphrase"
        self.secret.write_text("of a bundle that guards nothing\n")
        self.secret.chmod(0o600)
        subprocess.run([os.environ["COUNTERMARK_TINY_EPOCH"], folder, scheme, str(VOCABULARY), str(number), tokenizer, self.secret, *accounts], check=True)

    def hook(self, **options):
        keys = countermark.Keys()
        keys.open_bundle(self.bundle, passphrase_file=self.secret)
        return countermark.Hook(keys, max_length=CONTEXT, max_slots=256, **options)


@dataclasses.dataclass
class Served:
    """An answer as a serving log has it."""

    account: str
    prompt: list
    ids: list

    def record(self, number):
        minute, second = divmod(number, 60)
        return {"account": self.account, "start": f"2026-11-03T10:{minute:02}:{second:02}Z", "prompt_token_ids": self.prompt, "token_ids": self.ids}


class Words:
    """A tokenizer for countermark.hf: a prompt is numbers between blanks."""

    def __call__(self, text, **_):
        return {"input_ids": [int(word) for word in text.split()]}

    def decode(self, ids, **_):
        return " ".join(map(str, ids))


def model(seed, sharp=1.0):
    """A Llama with random weights that says the WORDS alone; its distributions are the sharper, the larger `sharp`."""
    torch.manual_seed(seed)
    config = LlamaConfig(vocab_size=VOCABULARY, hidden_size=HIDDEN, intermediate_size=FEED, num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=HEADS,
                         bos_token_id=1, eos_token_id=None, pad_token_id=0, max_position_embeddings=CONTEXT, rms_norm_eps=1e-5, rope_theta=10000.0, tie_word_embeddings=False)
    made = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        made.model.embed_tokens.weight.mul_(25)
        made.lm_head.weight.mul_(5 * sharp)
    return made


def answers(teacher, hook, accounts, length=100, seed=7):
    """One answer for each of `accounts`, in that order, each to a prompt of its own, from the WORDS."""
    rng = np.random.default_rng(seed)
    prompts = [[1] + rng.integers(FIRST_WORD, FIRST_WORD + WORDS, 6).tolist() for _ in accounts]
    silent = [token for token in range(VOCABULARY) if not FIRST_WORD <= token < FIRST_WORD + WORDS]
    said = hf.generate_marked(teacher, Words(), [" ".join(map(str, prompt)) for prompt in prompts], hook, accounts=accounts, seed=seed, do_sample=True, temperature=1.0, top_k=0,
                              max_new_tokens=length, suppress_tokens=silent)
    return [Served(account, prompt, list(answer.token_ids)) for account, prompt, answer in zip(accounts, prompts, said)]


def trained(base, texts, epochs=40, rate=3e-3, seed=3, batch=16):
    """A copy of `base` that was fitted to the answers of `texts`."""
    student = copy.deepcopy(base).train()
    rows = torch.tensor([text.prompt + text.ids for text in texts])
    labels = rows.clone()
    labels[:, : len(texts[0].prompt)] = -100
    optimizer = torch.optim.AdamW(student.parameters(), lr=rate, weight_decay=0.0)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for chosen in torch.randperm(len(rows), generator=generator).split(batch):
            loss = student(input_ids=rows[chosen], labels=labels[chosen]).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return student.eval()


def text(ids):
    """What the words among `ids` spell."""
    return "".join(chr(0x4E00 + token - FIRST_WORD) for token in ids if token >= FIRST_WORD)


def write_gguf(source, path, turn=0):
    """The model as a GGUF file of 32-bit floats. A word is one letter, so that texts and ids are one to one. `turn`: every word's id is moved on so far, round and round: the
    same model in another vocabulary."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_vocab_size(VOCABULARY)
    kinds = gguf.TokenType
    words = VOCABULARY - FIRST_WORD
    order = list(range(FIRST_WORD)) + [FIRST_WORD + (word - turn) % words for word in range(words)]  # which of our tokens stands at each id of the file
    writer.add_tokenizer_model("llama")
    writer.add_token_list(["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + [text([token]) for token in order[FIRST_WORD:]])
    writer.add_token_scores([0.0] * VOCABULARY)
    writer.add_token_types([kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL] + [kinds.BYTE] * 256 + [kinds.NORMAL] * words)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    state = {name: tensor.detach().float().numpy() for name, tensor in source.state_dict().items()}

    def turned(weight):  # transformers keeps the two halves of a rotated pair apart, libllama side by side
        return weight.reshape(HEADS, 2, HIDDEN // HEADS // 2, HIDDEN).swapaxes(1, 2).reshape(HIDDEN, HIDDEN)

    def put(name, weight):
        writer.add_tensor(name, np.ascontiguousarray(weight, dtype=np.float32))

    put("token_embd.weight", state["model.embed_tokens.weight"][order])
    for layer in range(LAYERS):
        ours, theirs = f"blk.{layer}.", f"model.layers.{layer}."
        put(ours + "attn_norm.weight", state[theirs + "input_layernorm.weight"])
        put(ours + "attn_q.weight", turned(state[theirs + "self_attn.q_proj.weight"]))
        put(ours + "attn_k.weight", turned(state[theirs + "self_attn.k_proj.weight"]))
        put(ours + "attn_v.weight", state[theirs + "self_attn.v_proj.weight"])
        put(ours + "attn_output.weight", state[theirs + "self_attn.o_proj.weight"])
        put(ours + "ffn_norm.weight", state[theirs + "post_attention_layernorm.weight"])
        put(ours + "ffn_gate.weight", state[theirs + "mlp.gate_proj.weight"])
        put(ours + "ffn_up.weight", state[theirs + "mlp.up_proj.weight"])
        put(ours + "ffn_down.weight", state[theirs + "mlp.down_proj.weight"])
    put("output_norm.weight", state["model.norm.weight"])
    put("output.weight", state["lm_head.weight"][order])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
