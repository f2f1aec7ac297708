#!/usr/bin/env python3
"""Compares the reader of tokenizer.json with the `tokenizers` package: ids and offsets of many texts, not one may differ.

    hf_oracle.py --encode build/tests/bin/hf_encode [--random 400] [--corpus FOLDER] [--bytes 400000] [--only NAME] [--json OUT] [FILE.json…]

Without --corpus the texts are those of the repository and of Python's library. Exit 77, aloud, where `tokenizers` is not installed.
"""
import argparse
import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import time
import unicodedata

try:
    import numpy
    import tokenizers
except ImportError as error:
    print(f'SKIPPED: {error}; tools/setup transformers installs it', file=sys.stderr)
    sys.exit(77)
sys.path.insert(0, str(pathlib.Path(__file__).parent))
import hf_files  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CHUNK = 3000   # characters a text: long enough for long words and lines, short enough for many


def random_texts(seed, count):
    """Texts over characters of every kind; whole ranges, single scripts, marks in heaps, white space in runs, names of tokens."""
    rng = random.Random(seed)
    assigned = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000 and unicodedata.category(chr(c)) not in ('Cn', 'Co')]
    marks = [c for c in assigned if unicodedata.combining(chr(c))]
    decomposed = [c for c in assigned if unicodedata.decomposition(chr(c))]
    spaces = [9, 10, 11, 12, 13, 32, 32, 32, 32, 0x85, 0xA0, 0x1680, 0x2003, 0x2028, 0x2029, 0x202F, 0x3000, 0x200B, 0xFEFF, 0x2581]
    ascii_ = list(range(1, 127))
    words = ['the', 'and', 'word', 'Ünter', "'s", "'LL", "'ſ", 'straße', 'İstanbul', 'K', '<s>', '</s>', '<unk>', '<left>', '<right>', '<both>', '<s>x', '  ', '\r\n', '<0x0A>', '[UNK]',
             '##ing', '<|endoftext|>', '<|im_start|>', '1234567', '½', '²', '１２', '한국어', 'กำ', 'नमस्ते', '中文', 'かな', '👩\u200d👩\u200d👧', '🇩🇪🇫', 'e\u0301', 'ﬁ', '\u1112\u1161\u11ab',
             '©\u200d©', 'a\u0301\u0301', 'क्\u0301क', '\u0600a', 'ƒ', 'Ǆ', '\u0345', 'ᾳ', '…', '—', '$', '+', '=']
    rtl = list(range(0x5D0, 0x5EB)) + list(range(0x620, 0x660))
    kinds = [lambda: chr(rng.choice(assigned)), lambda: chr(rng.choice(ascii_)), lambda: chr(rng.choice(spaces)), lambda: chr(rng.choice(marks)), lambda: chr(rng.choice(decomposed)),
             lambda: rng.choice(words), lambda: chr(rng.randrange(0x20, 0x250)), lambda: chr(rng.randrange(0x4E00, 0x9FFF)), lambda: chr(rng.choice(rtl)),
             lambda: chr(rng.randrange(0xAC00, 0xD7A4)), lambda: chr(rng.randrange(0x1F300, 0x1FAFF)), lambda: chr(rng.randrange(0x300, 0x2000)),
             lambda: rng.choice('0123456789'), lambda: rng.choice('abcdefgnAEIOU')]
    texts = []
    for _ in range(count):
        chosen = rng.sample(kinds, rng.randint(1, 5))
        texts.append(''.join(rng.choice(chosen)() for _ in range(int(rng.expovariate(1 / 14)) + 1)))
    return texts


def corpus_texts(folder, limit):
    """Text of files up to a number of bytes, in pieces."""
    if folder is not None:
        files = sorted(pathlib.Path(folder).glob('*.txt'))
    else:
        files = sorted(ROOT.glob('docs/*.md')) + sorted(ROOT.glob('src/**/*.cc')) + sorted(pathlib.Path(json.__file__).parent.parent.glob('*.py'))
    share = max(1, limit // max(1, min(len(files), 60)))
    texts, total = [], 0
    for file in files:
        if total >= limit:
            break
        text = file.read_bytes()[:share if folder is None else limit - total].decode('utf-8', errors='ignore')
        total += len(text.encode())
        texts += [text[i:i + CHUNK] for i in range(0, len(text), CHUNK)]
    return texts


def library_results(tokenizer, texts, as_text):
    tokenizer.encode_special_tokens = as_text
    for begin in range(0, len(texts), 512):
        group = texts[begin:begin + 512]
        for text, encoding in zip(group, tokenizer.encode_batch(group, add_special_tokens=False)):
            ids, offsets = numpy.array(encoding.ids, dtype=numpy.uint32), numpy.array(encoding.offsets, dtype=numpy.int64).reshape(-1, 2)
            if not text.isascii():
                begins = numpy.zeros(len(text) + 1, dtype=numpy.int64)
                points = numpy.frombuffer(text.encode('utf-32-le'), dtype=numpy.uint32)
                numpy.cumsum(1 + (points >= 0x80) + (points >= 0x800) + (points >= 0x10000), out=begins[1:])
                offsets = begins[offsets]
            yield numpy.column_stack([ids, offsets.astype(numpy.uint32)])


def our_results(encode, path, texts, flags):
    with tempfile.TemporaryFile() as records, tempfile.TemporaryFile() as results:
        for text in texts:
            encoded = text.encode()
            records.write(struct.pack('<I', len(encoded)) + encoded)
        records.seek(0)
        done = subprocess.run([encode, path, *flags], stdin=records, stdout=results, stderr=subprocess.PIPE)
        if done.returncode != 0:
            raise RuntimeError(f'{encode} exit {done.returncode}: {done.stderr.decode()[-500:]}')
        results.seek(0)
        numbers = numpy.frombuffer(results.read(), dtype=numpy.uint32)
    at = 0
    for _ in texts:
        count = int(numbers[at])
        at += 1
        if count == 0xFFFFFFFF:
            yield None, done.stderr.decode()[-300:]
            continue
        yield numbers[at:at + 3 * count].reshape(-1, 3), ''
        at += 3 * count


def compare(encode, name, file, texts, folder, flag_sets):
    """Number of tokens compared, and differences as text."""
    path = pathlib.Path(folder) / 'tokenizer.json'
    bare = json.loads(file)
    bare.update(truncation=None, padding=None, post_processor=None)   # what the package would do beside encoding
    library = tokenizers.Tokenizer.from_str(json.dumps(bare))
    path.write_text(file, encoding='utf-8')
    tokens, differences = 0, []
    for flags in flag_sets:
        theirs = library_results(library, texts, '--text-special' in flags)
        for text, wanted, (got, error) in zip(texts, theirs, our_results(encode, path, texts, flags)):
            tokens += len(wanted)
            if got is None or not numpy.array_equal(wanted, got):
                differences.append(f'{name} {flags}: {text[:200]!r}\n    package {wanted.tolist()[:40]}\n    ours    {error if got is None else got.tolist()[:40]}')
    return tokens, differences


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--encode', required=True)
    parser.add_argument('--random', type=int, default=300)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--corpus')
    parser.add_argument('--bytes', type=int, default=120_000)
    parser.add_argument('--only', default='')
    parser.add_argument('--kinds', default='files,gguf,trained,charsmaps')
    parser.add_argument('--json')
    parser.add_argument('files', nargs='*')
    arguments = parser.parse_args()
    os.environ.setdefault('TOKENIZERS_PARALLELISM', 'false')

    corpus = corpus_texts(arguments.corpus, arguments.bytes)
    plain = corpus_texts(arguments.corpus, 300_000)
    training = plain + random_texts(99, 500)
    texts = corpus + random_texts(arguments.seed, arguments.random)
    files, kinds = [], arguments.kinds.split(',')
    if 'files' in kinds:
        carried = sorted((hf_files.CACHE / 'models').glob('*.transformers/tokenizer.json'))
        files += [(p.parent.name, p.read_text(encoding='utf-8')) for p in carried + [pathlib.Path(f) for f in arguments.files]]
        files = [(pathlib.Path(f).parent.name + '/' + pathlib.Path(f).name if f in arguments.files else n, t) for (n, t), f in zip(files, [str(p) for p in carried] + arguments.files)]
    if 'gguf' in kinds:
        for name in [*hf_files.GGUF_WORDS, 'llama-spm', 'phi-3', 'bert-bge', 'gemma-4']:
            if arguments.only in name and (hf_files.CACHE / f'llama-0.3.36/share/vocab/ggml-vocab-{name}.gguf').exists():
                files.append((name, hf_files.from_gguf(name)))
    if 'trained' in kinds:
        files += hf_files.trained(training, plain)
    if 'charsmaps' in kinds:
        files += hf_files.charsmaps(plain)
    files = [(name, file) for name, file in files if arguments.only in name]

    bytes_ = sum(len(text.encode()) for text in texts)
    print(f'{len(texts)} texts, {bytes_} bytes, {len(files)} tokenizers, tokenizers {tokenizers.__version__}')
    total, failures, started = 0, 0, time.time()
    for name, file in files:
        with tempfile.TemporaryDirectory() as folder:
            flag_sets = [[], ['--text-special', '--pieces']] if '"ByteLevel"' in file else [[]]
            try:
                tokens, differences = compare(arguments.encode, name, file, texts, folder, flag_sets)
            except Exception as error:  # a tokenizer that one of the two does not take
                tokens, differences = 0, [f'{name}: {error}']
        total += tokens
        failures += len(differences)
        print(f'{name}: {tokens} tokens, {len(differences)} texts differ', flush=True)
        for difference in differences[:3]:
            print(f'  {difference}')
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(dict(tokenizers=len(files), texts=len(texts), random=arguments.random, bytes=bytes_, tokens=total, differences=failures,
                                                                seconds=round(time.time() - started, 1), package=tokenizers.__version__)))
    print(f'{total} tokens compared, {failures} texts differ')
    return 1 if failures or not total else 0


if __name__ == '__main__':
    sys.exit(main())
