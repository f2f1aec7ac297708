#!/usr/bin/env python3
"""Writes tokenize-sentencepiece.json and tokenize-gguf.json beside itself.

    build/venv/bin/python tests/vectors/make_tokenize.py CACHE [LLAMA_CPP_MODELS]

CACHE is where tools/setup keeps the models (default ~/.cache/countermark). The SentencePiece half is what the Python package of SentencePiece
says of each text: the ids, and the byte where each piece begins and ends, read from its serialized protobuf. The GGUF half is llama.cpp's own
test data (models/ggml-vocab-NAME.gguf.inp and .out in its source tree), copied; without LLAMA_CPP_MODELS it is left as it is.
"""
import base64
import io
import json
import pathlib
import random
import sys
import tempfile

import sentencepiece

HERE = pathlib.Path(__file__).parent

PLAIN = [
    "", " ", "  ", "   ", "\n", "\n\n", "\t", " \n ", "a", " a", "  a", "a ", "a  ", "Hello, world!", " Hello", "Hello  world", "Hello   world ",
    "The quick brown fox jumps over the lazy dog.", "I don't think it's they've we'll", "ALL CAPS AND MiXeD", "3.14159 2,718,281 0x1F 1e-9", "1234567890" * 4,
    "def f(x):\n    return x ** 2  # square\n", "{\"a\": [1, 2, {\"b\": null}]}", "<s>", "</s>", "<unk>", "[INST] hi [/INST]", "<0x0A>", "<0xFF>", "<|im_start|>",
    "\u2581", "\u2581\u2581", " \u2581", "\u2581 ", "a\u2581b", "a \u2581 b", "\u2581hello", "hello\u2581", "x\u2581\u2581 y",
    "中文没有空格的一个句子。", "日本語のテキスト、カタカナ。", "한국어 문장입니다", "Привет, мир", "Γειά σου Κόσμε", "مرحبا بالعالم", "नमस्ते दुनिया", "สวัสดีชาวโลก",
    "Äpfel Öl ß ñ ç", "e\u0301 vs é", "ﬁ ﬂ ﬀ", "ＦＵＬＬ　ｗｉｄｔｈ", "½ ⅓ Ⅷ ①", "😀", "👩‍👩‍👧‍👦 family", "🇩🇪🇫🇷", "🏳️‍🌈", "a😀b😀c", "\U0001F9FF\U0001FAE0\U0001F6DD",
    "zero\u200bwidth\u200d\u2060join", "\ufeffbom", "soft\u00adhyphen", "nbsp\u00a0here", "\u3000ideographic\u3000space", "rtl \u202eover\u202c", "\u0000", "a\u0000b", "\u0000\u0000 x\u0000",
    "\r\n", "line\r\nline\r\n", "tab\tsep\tvalues", "\x01\x02\x1f\x7f", "\x85\u2028\u2029", "ﷺ", "Z̸̡̨͓̼̙̭͐͆̔̉̚a̵l̴g̶o̷", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "𐍈𐌰", "\U0010FFFF\uFFFF\uFDD0", "\uFFFD", "a\uFFFDb",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "!!!!!!!!!!!!!!!!!!!!", "--------------------", "        indented", "a" + " " * 40 + "b", "\n" * 17, "word " * 20,
]

RAW = [
    b"\xff", b"\x80", b"\xc3", b"\xe2\x96", b"\xe2\x96\x81\xe2\x96", b"a\xffb", b"a\xff\xfe\xfdb", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80",
    b"caf\xe9 au lait", b"\xe4\xb8", b"\xe4\xb8\xad\xe4", b"ok \xf0\x9f\x98 cut", b"\x00\xff\x00", b" \xff ", b"\xff \xff", b"abc\x80\x80\x80def", b"\xef\xbf\xbd\xff\xef\xbf\xbd", b"\xe2 x", b"\xf0 x",
    b"\xe2\x96 \x81", b"tail\xe2",
]


def random_texts():
    """Texts of many kinds, the same each time."""
    rng = random.Random(20260417)
    alphabets = [
        "abcdefghijklmnopqrstuvwxyz     ",
        "etaoin shrdlu ETAOIN,.;:!?'\"()\n\n\t  0123456789",
        "中文字符测试的一是在不了有和人这",
        "éèüßñøåæœ ıİ ſ",
        "😀😁🙏🏽👍🏿❤️ ",
        "\u2581 \u2581ab",
        "\u0000 \u0001\u00a0\u200b\ufeff\u3000x",
        "абвгдежзийклмнопрстуфхцчшщъыьэюя ",
    ]
    for number in range(70):
        alphabet = alphabets[number % len(alphabets)]
        yield "".join(rng.choice(alphabet) for _ in range(rng.randrange(1, 48))).encode()
    for _ in range(40):
        yield bytes(rng.choice([rng.randrange(256), 0x20, 0x61, 0xE2, 0x96, 0x81, 0x00, 0xFF]) for _ in range(rng.randrange(1, 24)))


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def fields(data):
    """The fields of one protobuf message: (number, value)."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        wire = tag & 7
        if wire == 0:
            value, at = varint(data, at)
        elif wire == 2:
            size, at = varint(data, at)
            value, at = data[at:at + size], at + size
        elif wire == 5:
            value, at = data[at:at + 4], at + 4
        else:
            raise ValueError(f"wire type {wire}")
        yield tag >> 3, value


def pieces(processor, text):
    """SentencePieceText: pieces = 2; of a piece: id = 2, begin = 4, end = 5 (sentencepiece.proto)."""
    ids, begin, end = [], [], []
    for number, value in fields(processor.encode_as_serialized_proto(text)):
        if number == 2:
            piece = dict(fields(value))
            ids.append(piece.get(2, 0))
            begin.append(piece.get(4, 0))
            end.append(piece.get(5, 0))
    return ids, begin, end


def one_byte_each(processor, ids, begin, end):
    """The one rule of ours: a character that stands unchanged in its byte pieces is one byte a piece (SentencePiece gives it to the last)."""
    i = 0
    while i < len(ids):
        if not processor.is_byte(ids[i]):
            i += 1
            continue
        last = i
        while begin[last] == end[last] and last + 1 < len(ids) and processor.is_byte(ids[last + 1]):
            last += 1
        if end[last] - begin[last] == last - i + 1:
            first = begin[last]
            for k in range(i, last + 1):
                begin[k], end[k] = first + k - i, first + k - i + 1
        i = last + 1


def tile(begin, end, size):
    """The other rule of ours: white space that the model drops belongs to the piece after it, at the end to the one before."""
    at = 0
    for i in range(len(end)):
        begin[i] = at
        end[i] = at = max(at, end[i])
    if end:
        end[-1] = size


# What the small models below turn into what: longer, shorter, and gone.
RULES = {"ﬁ": "fi", "ﬃ": "ffi", "½": "1/2", "Ａ": "a", "Ｂ": "b", "é": "e", "e\u0301": "e", "\u3000": " ", "\u200b": "", "…": "...", "ß": "ss", "㌔": "キロ", "😀": ":)"}


def small_models():
    """Two models of a few kilobytes that rewrite text before they cut it: unigram with <unk>, and BPE with byte fallback."""
    rng = random.Random(7)
    words = ["the", "fine", "office", "straße", "alpha", "beta", "half", "1/2", "キロ", "metre", "smile", ":)", "...", "a", "b", "ab", "ba"]
    lines = [" ".join(rng.choice(words) for _ in range(12)) for _ in range(400)]
    with tempfile.TemporaryDirectory() as folder:
        rules = pathlib.Path(folder) / "rules.tsv"
        rules.write_text("".join(" ".join(f"{ord(c):X}" for c in a) + "\t" + " ".join(f"{ord(c):X}" for c in b) + "\n" for a, b in RULES.items()))
        for kind, fallback, size in (("unigram", False, 70), ("bpe", True, 330)):
            model = io.BytesIO()
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(lines), model_writer=model, model_type=kind, vocab_size=size, byte_fallback=fallback, normalization_rule_tsv=str(rules),
                remove_extra_whitespaces=True, hard_vocab_limit=False, num_threads=1, minloglevel=2)
            yield kind, model.getvalue()


def write(name, value):
    lines = json.dumps(value, separators=(",", ":"), ensure_ascii=True).replace("},{", "},\n{").replace("],[", "],\n[")
    (HERE / name).write_text(lines + "\n")


def sentencepiece_half(cache):
    texts = [text.encode() for text in PLAIN] + RAW + list(random_texts())
    result = {"texts": [text.hex() for text in texts], "models": {}}
    for model in ("mistral-v1", "mistral-v3"):
        processor = sentencepiece.SentencePieceProcessor(model_file=str(cache / "models" / f"{model}.model"))
        entries = []
        for text in texts:
            ids, begin, end = pieces(processor, text)
            one_byte_each(processor, ids, begin, end)
            entries.append({"ids": ids, "begin": begin, "end": end})
        result["models"][model] = {"pieces": processor.get_piece_size(), "encoded": entries}
    more = ["ﬁne oﬃce", "  the   ﬁne  ", "½ ½½", "straße ß", "ＡＢ ＢＡ ab", "caf\u00e9 cafe\u0301", "a\u200bb\u200b", "\u200b", "…… the…", "㌔metre㌔", "😀😀 smile 😀", "x😀y…z½", "\u3000a\u3000 b\u3000",
            "zq zq", "中文 the 中 fine", "ﬁ\u2581½", "Ａ\ufffdＡ"]
    letters = list(RULES) + ["a", "b", "th", "e", " ", " ", "  ", "z", "中", "\u2581"]
    rng = random.Random(8)
    more += ["".join(rng.choice(letters) for _ in range(rng.randrange(1, 24))) for _ in range(80)]
    small = [text.encode() for text in more] + RAW + [b"\xffa\xff b", b" \xe2\x96 the", "½".encode() + b"\xff", b"\xef\xac" + "ﬁ".encode()]
    result["small_texts"] = [text.hex() for text in small]
    for kind, content in small_models():
        processor = sentencepiece.SentencePieceProcessor(model_proto=content)
        entries = []
        for text in small:
            ids, begin, end = pieces(processor, text)
            tile(begin, end, len(text))
            one_byte_each(processor, ids, begin, end)
            entries.append({"ids": ids, "begin": begin, "end": end})
        result["models"][f"small-{kind}"] = {"pieces": processor.get_piece_size(), "content": base64.b64encode(content).decode(), "encoded": entries}
    write("tokenize-sentencepiece.json", result)


def gguf_half(models):
    result = {}
    for name in ("gpt-2", "llama-bpe", "llama-spm", "phi-3", "qwen2", "qwen35", "deepseek-coder", "deepseek-llm", "falcon", "starcoder", "command-r", "mpt", "gemma-4"):
        stem = models / f"ggml-vocab-{name}.gguf"
        texts = stem.with_name(stem.name + ".inp").read_bytes().split(b"\n__ggml_vocab_test__\n")
        ids = [[int(x) for x in line.split()] for line in stem.with_name(stem.name + ".out").read_text().split("\n")]
        while len(ids) > len(texts) and not ids[-1]:
            ids.pop()
        assert len(texts) == len(ids), (name, len(texts), len(ids))
        result[name] = {"texts": [text.hex() for text in texts], "ids": ids}
    write("tokenize-gguf.json", result)


if __name__ == "__main__":
    cache_folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path.home() / ".cache" / "countermark"
    sentencepiece_half(cache_folder)
    if len(sys.argv) > 2:
        gguf_half(pathlib.Path(sys.argv[2]))
