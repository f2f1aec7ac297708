"""llama-cpp-python with the mark at the end of its sampler chain: its pure-Python part out of the source package, over the cached libllama."""
import concurrent.futures
import importlib
import json
import os
import pickle
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from serving_fixture import ACCOUNTS, BIN, CACHE, GGUF, FixedServing

import countermark
from countermark.errors import DeniedError, Error, InvalidArgumentError, NotFoundError, UnknownAccountError

LIBRARY = Path(os.environ["COUNTERMARK_LIB"], "libcountermark_llama.so")
ARCHIVE = Path(CACHE, "downloads", "llama_cpp_python-0.3.36.tar.gz")
STORY = "Once upon a time, in a mill by the river,"
FREE = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
TOKENS = 80


@pytest.fixture(scope="module", autouse=True)
def llama_cpp(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llama_cpp")
    with tarfile.open(ARCHIVE) as archive:
        for member in archive:  # read as it comes; the package is near the beginning, and the rest is not unpacked
            name = Path(*Path(member.name).parts[1:])
            if name.parts[:1] == ("llama_cpp",) and member.isfile():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(archive.extractfile(member).read())
    os.environ["LLAMA_CPP_LIB_PATH"] = str(Path(CACHE, "llama-0.3.36", "lib"))
    sys.path.append(str(folder))
    return importlib.import_module("llama_cpp")


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    return FixedServing(tmp_path_factory.mktemp("serving"))


@pytest.fixture
def mark(serving):
    from countermark.llama import LlamaMark

    with LlamaMark(serving.epoch.bundle, passphrase_file=serving.epoch.secret, library=LIBRARY) as mark:
        yield mark


def model(llama_cpp, **options):
    """With flash attention, as llama-server and watermark-generate have it by default: without it libllama's logits are others."""
    return llama_cpp.Llama(str(GGUF), n_ctx=512, flash_attn=True, n_threads=1, n_threads_batch=1, verbose=False, **options)


@pytest.fixture(scope="module")
def llm(llama_cpp):
    return model(llama_cpp)


def ids_of(llm, text):
    return llm.tokenize(text.encode(), add_bos=False)


def test_24_answers_for_three_accounts(llama_cpp, serving, mark):
    """Two models at once, each a thread's; the control comes from one of them before the mark is attached."""
    models = [model(llama_cpp) for _ in range(2)]
    plain = [models[0].create_completion(f"{STORY} part {i}", max_tokens=TOKENS, seed=i, **FREE)["choices"][0]["text"] for i in range(3)]
    for llm in models:
        mark.attach(llm)

    def serve(k):
        texts = {}
        for i in range(k, 24, 2):
            with mark.serving(models[k], ACCOUNTS[i % 3], f"r-{i}"):
                if i % 4 < 2:
                    answer = models[k].create_completion(f"{STORY} part {i}", max_tokens=TOKENS, seed=i, **FREE)
                    texts[i] = answer["choices"][0]["text"]
                else:
                    stream = models[k].create_chat_completion([{"role": "user", "content": f"Tell me a story, part {i}."}], max_tokens=TOKENS, seed=i, stream=True, **FREE)
                    texts[i] = "".join(part["choices"][0]["delta"].get("content", "") for part in stream)
        return texts

    with concurrent.futures.ThreadPoolExecutor() as pool:
        texts = {i: text for part in pool.map(serve, range(2)) for i, text in part.items()}
    # Answers may end by themselves: an account's are taken together, and each names its account where it is long.
    for a, account in enumerate(ACCOUNTS):
        found = serving.detect([texts[i] for i in range(24) if i % 3 == a])
        assert found["pooled"]["verdict"] == "marked" and found["pooled"]["log10_p"] < -20, found["pooled"]
        assert {c["account"] for c in found["pooled"]["accounts"] if c["log10_p_adjusted"] < -6} == {account}, found["pooled"]
        for record in found["records"]:
            if record["scored"] > 50:
                assert min(record["accounts"], key=lambda c: c["log10_p"])["account"] == account, record
    control = serving.detect(plain)["pooled"]
    assert control["verdict"] == "no evidence" and control["log10_p"] > -3 and all(c["log10_p"] > -3 for c in control["accounts"]), control
    for llm in models:
        llm.close()
    counted = mark.counters()
    assert counted["marked"] > 1000 and counted["greedy"] == counted["fault"] == counted["off"] == 0 and counted["start"] == 48, counted


def test_the_same_request_and_seed_give_the_cpu_hooks_tokens(serving, mark, llm):
    """watermark-generate over the same libllama, the hook's own truncation in both."""
    prompts = serving.folder / "prompts.jsonl"
    prompts.write_text(json.dumps({"id": "0", "prompt": STORY, "account": "org-b"}) + "\n")
    options = ["--no-chat", "--temperature", 0.9, "--top-k", 100, "--top-p", 0.9, "--min-p", 0.01, "--seed", 5, "--max-tokens", 60, "--parallel", 1, "--threads", 1, "--no-progress"]
    done = subprocess.run([Path(BIN, "watermark-generate"), "--model", GGUF, "--bundle", serving.epoch.bundle, "--passphrase-file", serving.epoch.secret, "--prompts", prompts, *map(str, options)],
                          capture_output=True, text=True, check=True)
    mark.attach(llm)
    llm.set_seed(5)
    tokens = []
    with mark.serving(llm, "org-b", "0"):
        for token in llm.generate(ids_of(llm, STORY), temp=0.9, top_k=100, top_p=0.9, min_p=0.01):
            tokens.append(token)
            if len(tokens) == 60:
                break
    expected = json.loads(done.stdout)["token_ids"]
    assert tokens[: len(expected)] == expected


def test_greedy_requests_are_raised_and_repeat(mark, llm):
    mark.attach(llm)
    answers = []
    for seed in (1, 2):
        llm.set_seed(seed)
        with mark.serving(llm, "org-a"):
            tokens = []
            for token in llm.generate(ids_of(llm, STORY), temp=0.0, top_k=0, top_p=1.0, min_p=0.0):
                tokens.append(token)
                if len(tokens) == 30:
                    break
            answers.append(tokens)
    assert answers[0] == answers[1]
    assert sum(mark.counters().values()) >= 60 and mark.counters()["marked"] > 5 and mark.counters()["greedy"] == 0


def test_grammars_processors_and_drafts(llama_cpp, serving, mark, llm):
    from llama_cpp.llama_speculative import LlamaPromptLookupDecoding

    mark.attach(llm)
    with mark.serving(llm, "org-c"):
        grammar = llama_cpp.LlamaGrammar.from_json_schema('{"type": "object", "properties": {"story": {"type": "string"}}, "required": ["story"]}', verbose=False)
        text = llm.create_completion(STORY, max_tokens=60, grammar=grammar, seed=1, **FREE)["choices"][0]["text"]
        assert text.startswith("{")
        banned = ids_of(llm, " the")[0]

        def processor(ids, scores):
            scores = scores.copy()
            scores[banned] = -float("inf")
            return scores

        llm.set_seed(2)
        tokens = llm.create_completion(STORY, max_tokens=60, logits_processor=llama_cpp.LogitsProcessorList([processor]), seed=2, **FREE)["choices"][0]["text"]
        assert banned not in ids_of(llm, tokens)
    drafting = model(llama_cpp, draft_model=LlamaPromptLookupDecoding(num_pred_tokens=4), logits_all=True)
    mark.attach(drafting)
    with mark.serving(drafting, "org-c"):
        text = drafting.create_completion(STORY, max_tokens=TOKENS, seed=3, **FREE)["choices"][0]["text"]
    record = serving.detect([text])["records"][0]
    assert min(record["accounts"], key=lambda c: c["log10_p"])["account"] == "org-c" and record["log10_p"] < -2, record  # of one fixed answer
    drafting.close()


def test_a_chain_by_hand(llama_cpp, mark):
    chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    made = mark.sampler("org-a", seed=1, prompt=[1, 2])
    llama_cpp.llama_sampler_chain_add(chain, made)
    assert llama_cpp.llama_sampler_name(made) == b"countermark" and sum(mark.counters_of(made).values()) == 0
    top_k = llama_cpp.llama_sampler_init_top_k(4)
    with pytest.raises(InvalidArgumentError):
        mark.counters_of(top_k)
    llama_cpp.llama_sampler_free(top_k)
    llama_cpp.llama_sampler_free(chain)


def test_what_is_refused(serving, mark, llm, tmp_path):
    from countermark.llama import LlamaMark

    mark.attach(llm)
    with pytest.raises(InvalidArgumentError, match="whose answer"):
        llm.create_completion("x", max_tokens=1)
    for account in ("org-a\0", "org-a\0org-b"):  # C's text ends there: another's label
        with pytest.raises(InvalidArgumentError, match="NUL"):
            mark.sampler(account)
    with mark.serving(llm, "org-z"), pytest.raises(UnknownAccountError):
        llm.create_completion("x", max_tokens=1)
    with mark.serving(llm, "org-a"), pytest.raises(InvalidArgumentError, match="mirostat"):
        llm.create_completion("x", max_tokens=1, mirostat_mode=2)
    with mark.serving(llm, countermark.BASE_ONLY):
        llm.create_completion("x", max_tokens=3)
    with pytest.raises(InvalidArgumentError):
        mark.sampler("org-a", top_p=-1.0)
    epoch = serving.epoch
    with pytest.raises(NotFoundError):
        LlamaMark(epoch.bundle, passphrase_file=epoch.secret, library="/nowhere/libcountermark_llama.so")
    with pytest.raises(NotFoundError):
        LlamaMark(epoch.bundle, passphrase_file=tmp_path / "none", library=LIBRARY)
    wrong = tmp_path / "wrong"
    wrong.write_text("another")
    with pytest.raises(DeniedError):
        wrong.chmod(0o644)
        LlamaMark(epoch.bundle, passphrase_file=wrong, library=LIBRARY)
    wrong.chmod(0o600)
    with pytest.raises(Error, match="passphrase") as refused:
        LlamaMark(epoch.bundle, passphrase_file=wrong, library=LIBRARY)
    assert "another" not in str(refused.value)
    with pytest.raises(TypeError):
        pickle.dumps(mark)
    other = FixedServing(tmp_path / "other", tokenizer="-", vocabulary=32000).epoch
    with LlamaMark(other.bundle, passphrase_file=other.secret, library=LIBRARY) as small, pytest.raises(InvalidArgumentError, match="vocabulary of 32000"):
        small.attach(llm)
    mark.close()
    with pytest.raises(InvalidArgumentError, match="closed"):
        mark.sampler("org-a")
