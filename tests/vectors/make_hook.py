#!/usr/bin/env python3
"""Writes hook-v1.json: the tokens of whole requests, so that every seat of the hook (C++, the C interface on a host and a device, Python, a server's) can be held against the same answers.

Written from the mark format's text over mark_oracle.py (keys, words) and make_select.py (exact IEEE arithmetic); it shares no code with the project.

  key         the epoch's, 64 hex digits; the record's window, green, delta, layers are the defaults, channels base 32768 and account 32768, policy floor
  vocabulary  tokens; logit of token t at position i: ((splitmix64(100000 i + t) >> 40) - 2^23) / 2^21, a single exactly
  cases       {scheme, account ("": of none, marked in the base channel alone), seed or null, prompt, temperature, top_k, top_p, min_p, tokens, causes}
              temperature, top_p and min_p are singles exactly; a seed of null: the floor policy changes the request, and its prompt gives the draws
"""
import hashlib
import json
import os
import sys
from fractions import Fraction

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, '..', 'oracle')]
import make_select as select  # noqa: E402
import mark_oracle as oracle  # noqa: E402

KEY, VOCABULARY, POSITIONS, WINDOW = bytes(range(32)), 24, 120, 2
WEIGHTS, GREEN, DELTA, LAYERS = [32768, 32768], 64, 2, 30
NUMBER = {'partition': 1, 'tournament': 2, 'gumbel': 3}


def row(position):
    return [Fraction((select.splitmix64(100000 * position + t) >> 40) - 2**23, 2**21) for t in range(VOCABULARY)]


def draw(key, position, number, weights):
    """The place of a plain draw: ChaCha20 of RFC 8439 keyed by the request."""
    words = select.chacha20_words(key, number, position.to_bytes(8, 'little') + bytes(4))
    target, cumulative = (words[0] + words[1] * 2**32) * sum(weights) // 2**64, 0
    for place, w in enumerate(weights):
        cumulative += w
        if cumulative > target:
            return place
    raise AssertionError


def sampling_key(case, noise_key):
    if case['seed'] is not None:
        return oracle.derive(noise_key, 'sampling', 'seed', str(case['seed']))
    seen = b''.join(t.to_bytes(4, 'little') for t in case['prompt'])
    seen += b'|%f|%d|%f|%f' % (case['temperature'], case['top_k'], case['top_p'], case['min_p'])
    return oracle.derive(noise_key, 'sampling', 'floor', hashlib.sha256(seen).hexdigest())


def choose(case, scheme, keys, key, position, window, stood):
    temperature = case['temperature'] if case['seed'] is not None else select.single_of(0.3)
    logits = row(position)
    scale = select.scale_of(temperature)
    weights = [select.weight(z, max(logits), scale) for z in logits]
    ids = select.truncate(weights, case['top_k'], case['top_p'] if case['top_p'] < 1 else None, case['min_p'] or None)
    kept = [weights[i] for i in ids]
    cause, seed = 'marked', None
    if window is None:
        cause = 'start'
    elif window in stood:
        cause = 'repeated_window'
    else:
        channel_key = keys[oracle.channel_of(ROUTE, scheme, window, WEIGHTS)]
        if channel_key is None:
            cause = 'off'
        else:
            seed = oracle.seed_of(channel_key, scheme, window)
    if seed is None:
        return ids[draw(key, position, 0, kept)], cause
    if len(ids) == 1:
        return ids[0], 'forced'
    if scheme == 3:
        arrivals = [select.negative_log(oracle.word_of(seed, i)) / float(w) for i, w in zip(ids, kept)]
        return ids[arrivals.index(min(arrivals))], cause
    if scheme == 1:
        factor = int(select.mpmath.nint(select.mpmath.exp(-select.mpmath.mpf(DELTA)) * 2**23))
        tilted = [w if oracle.byte_of(seed, i) < GREEN else w * factor // 2**23 for i, w in zip(ids, kept)]
        return ids[draw(key, position, 0, tilted if sum(tilted) else kept)], cause
    while sum(kept) < 2**59:
        kept = [2 * w for w in kept]
    words = [oracle.word_of(seed, i) for i in ids]
    for layer in range(LAYERS):
        total = sum(kept)
        ratio = sum(w for w, word in zip(kept, words) if not word >> layer & 1) * 2**63 // total
        kept = [(w if word >> layer & 1 else 0) + w * ratio // 2**63 for w, word in zip(kept, words)]
    return ids[draw(key, position, 1, kept)], cause


ROUTE = oracle.derive(KEY, 'route')


def answer(case):
    account = oracle.derive(KEY, 'account', case['account']) if case['account'] else None
    key = sampling_key(case, account or oracle.derive(KEY, 'sampling', 'base-only'))
    tokens, causes, stood = [], [], set()
    for position in range(POSITIONS):
        window = tuple(tokens[-WINDOW:]) if position >= WINDOW else None
        token, cause = choose(case, NUMBER[case['scheme']], [oracle.derive(KEY, 'base'), account], key, position, window, stood)
        stood.add(window)
        tokens.append(token)
        causes.append(cause)
    return {**case, 'tokens': tokens, 'causes': causes}


def main():
    asked = [
        dict(account='org-a', seed=7, prompt=[], temperature=1.0, top_k=0, top_p=1.0, min_p=0.0),
        dict(account='org-b', seed=2**64 - 1, prompt=[3], temperature=0.75, top_k=15, top_p=0.875, min_p=0.03125),
        dict(account='org-c', seed=0, prompt=[], temperature=0.5, top_k=0, top_p=0.75, min_p=0.0),
        dict(account='org-a', seed=None, prompt=[4, 8, 15], temperature=0.0, top_k=0, top_p=1.0, min_p=0.0),
        dict(account='', seed=7, prompt=[], temperature=1.0, top_k=0, top_p=0.9375, min_p=0.0),
        dict(account='', seed=None, prompt=[4, 8, 15], temperature=0.0, top_k=0, top_p=1.0, min_p=0.0),
    ]
    cases = [answer({'scheme': scheme, **a}) for scheme in NUMBER for a in asked]
    with open(os.path.join(HERE, 'hook-v1.json'), 'w', encoding='utf-8') as out:
        out.write('{"version": 1, "key": "%s", "vocabulary": %d,\n"cases": [\n' % (KEY.hex(), VOCABULARY))
        out.write(',\n'.join(json.dumps(case, separators=(',', ':')) for case in cases))
        out.write('\n]}\n')


if __name__ == '__main__':
    main()
