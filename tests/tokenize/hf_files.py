"""tokenizer.json files for the tests: what packages carry, vocabularies of llama.cpp written as tokenizer.json, and small ones trained here."""
import json
import os
import pathlib

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CACHE = pathlib.Path(os.environ.get('COUNTERMARK_CACHE') or pathlib.Path(os.environ.get('XDG_CACHE_HOME', pathlib.Path.home() / '.cache'), 'countermark'))

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN35 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
          r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK_LLM = [r"[\r\n]", r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝ\u1F5F-\u1F7Dᾀ-ᾴᾶ-ᾼ\u1FBEῂ-ῄῆ-ῌ\u1FD0-\u1FD3\u1FD6-\u1FDBῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212A-\u212Dℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+",
                r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", r"[一-龥ࠀ-一가-퟿]+"]
DEEPSEEK_V3 = [r"\p{N}{1,3}", r"[一-龥぀-ゟ゠-ヿ]+",
               r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"]
FALCON = ('Punctuation', 'ByteLevel', 'Digits', r'[0-9][0-9][0-9]')


def split(pattern, behavior='Isolated', invert=False):
    return {'type': 'Split', 'pattern': {'Regex': pattern}, 'behavior': behavior, 'invert': invert}


def byte_level(use_regex=False, add_prefix_space=False):
    return {'type': 'ByteLevel', 'add_prefix_space': add_prefix_space, 'trim_offsets': True, 'use_regex': use_regex}


def sequence(*parts):
    return {'type': 'Sequence', 'pretokenizers': list(parts)}


def words(*patterns, digits=False):
    return sequence(*[split(p) for p in patterns], *([{'type': 'Digits', 'individual_digits': True}] if digits else []), byte_level())


# The words of llama.cpp's vocabularies as their models' own tokenizer.json cut them.
GGUF_WORDS = {
    'gpt-2': sequence(byte_level(use_regex=True)), 'llama-bpe': words(LLAMA3), 'qwen2': words(QWEN2), 'qwen35': words(QWEN35),
    'deepseek-llm': words(*DEEPSEEK_LLM, digits=True), 'deepseek-coder': words(r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", r"[一-龥ࠀ-一가-퟿]+", digits=True),
    'falcon': sequence({'type': 'Punctuation', 'behavior': 'Contiguous'}, byte_level(True), {'type': 'Digits', 'individual_digits': False},
                       split(r'[0-9][0-9][0-9]')),
    'starcoder': sequence({'type': 'Digits', 'individual_digits': True}, byte_level(True)), 'command-r': sequence({'type': 'Digits', 'individual_digits': True}, byte_level(True)),
    'mpt': byte_level(True), 'gpt-neox': byte_level(True),
}


def from_gguf(name):
    """A vocabulary of llama.cpp as a tokenizer.json."""
    from gguf import GGUFReader
    reader = GGUFReader(CACHE / f'llama-0.3.36/share/vocab/ggml-vocab-{name}.gguf')
    field = lambda key: reader.get_field(f'tokenizer.ggml.{key}')
    text = lambda f: [bytes(f.parts[i]).decode('utf-8') for i in f.data]
    tokens, types = text(field('tokens')), [int(field('token_type').parts[i][0]) for i in field('token_type').data]
    kind = bytes(field('model').parts[field('model').data[0]]).decode()
    added, vocab = [], {}
    for number, (token, type_) in enumerate(zip(tokens, types)):
        vocab.setdefault(token, number)
        if type_ in (3, 4) and vocab[token] == number:
            added.append(dict(id=number, content=token, single_word=False, lstrip=False, rstrip=False, normalized=False, special=type_ == 3))
    file = dict(version='1.0', truncation=None, padding=None, added_tokens=added, normalizer=None, pre_tokenizer=None, post_processor=None, decoder=None)
    if kind in ('gpt2', 'gemma4'):
        merges = text(field('merges'))
        file['model'] = dict(type='BPE', dropout=None, unk_token=None, continuing_subword_prefix=None, end_of_word_suffix=None, fuse_unk=False,
                             byte_fallback=kind == 'gemma4', ignore_merges=name == 'llama-bpe', vocab=vocab, merges=[m.split(' ') for m in merges])
        if kind == 'gemma4':
            file['model']['unk_token'], file['model']['fuse_unk'] = '<unk>', True
            file['normalizer'] = {'type': 'Replace', 'pattern': {'String': ' '}, 'content': '▁'}
            file['pre_tokenizer'] = {'type': 'Split', 'pattern': {'String': ' '}, 'behavior': 'MergedWithPrevious', 'invert': False}
            file['decoder'] = {'type': 'Sequence', 'decoders': [{'type': 'Replace', 'pattern': {'String': '▁'}, 'content': ' '}, {'type': 'ByteFallback'}, {'type': 'Fuse'}]}
        else:
            file['pre_tokenizer'], file['decoder'] = GGUF_WORDS[name], byte_level(True)
            if name in ('qwen2', 'qwen35'):
                file['normalizer'] = {'type': 'NFC'}
    elif kind == 'llama':
        # A pair may be merged where both parts and the whole are tokens; the better the whole's score, the sooner (as the conversion scripts do).
        scores = [float(field('scores').parts[i][0]) for i in field('scores').data]
        pairs = []
        for number, token in enumerate(tokens):
            if types[number] != 1:
                continue
            here = [(token[:k], token[k:]) for k in range(1, len(token)) if token[:k] in vocab and token[k:] in vocab]
            here.sort(key=lambda pair: (vocab[pair[0]], vocab[pair[1]]))
            pairs += [(pair, scores[number]) for pair in here]
        pairs.sort(key=lambda item: -item[1])
        file['model'] = dict(type='BPE', dropout=None, unk_token='<unk>', continuing_subword_prefix=None, end_of_word_suffix=None, fuse_unk=True, byte_fallback=True,
                             ignore_merges=False, vocab=vocab, merges=[list(pair) for pair, _ in pairs])
        file['normalizer'] = {'type': 'Sequence', 'normalizers': [{'type': 'Prepend', 'prepend': '▁'}, {'type': 'Replace', 'pattern': {'String': ' '}, 'content': '▁'}]}
        file['decoder'] = {'type': 'Sequence', 'decoders': [{'type': 'Replace', 'pattern': {'String': '▁'}, 'content': ' '}, {'type': 'ByteFallback'}, {'type': 'Fuse'},
                                                            {'type': 'Strip', 'content': ' ', 'start': 1, 'stop': 0}]}
    elif kind == 'bert':
        vocab = {(token[1:] if token.startswith('▁') else token if token.startswith('[') and types[n] == 3 else '##' + token): n for n, token in enumerate(tokens)}
        file['added_tokens'] = [dict(t, content=next(k for k, v in vocab.items() if v == t['id'])) for t in added]
        file['model'] = dict(type='WordPiece', unk_token='[UNK]', continuing_subword_prefix='##', max_input_chars_per_word=100, vocab=vocab)
        file['normalizer'] = dict(type='BertNormalizer', clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True)
        file['pre_tokenizer'], file['decoder'] = {'type': 'BertPreTokenizer'}, dict(type='WordPiece', prefix='##', cleanup=True)
    else:
        raise ValueError(kind)
    return json.dumps(file)


def trained(corpus, plain):
    """(name, tokenizer.json) of small tokenizers: every model, normalizer, pre-tokenizer and decoder in one or another. Unigram learns of the
    plain texts alone: it must have room for every character."""
    special = ['<unk>', '<s>', '</s>', '<pad>']
    fallback = [f'<0x{b:02X}>' for b in range(256)]
    made = []

    def train(name, model, trainer, normalizer=None, pre=None, decoder=None, added=(), **settings):
        tokenizer = Tokenizer(model)
        if normalizer is not None:
            tokenizer.normalizer = normalizer
        if pre is not None:
            tokenizer.pre_tokenizer = pre
        if decoder is not None:
            tokenizer.decoder = decoder
        tokenizer.train_from_iterator(plain if isinstance(model, models.Unigram) else corpus, trainer)
        tokenizer.add_tokens(list(added))
        file = json.loads(tokenizer.to_str())
        file['model'].update(settings)
        made.append((name, json.dumps(file)))

    N, P, D = normalizers, pre_tokenizers, decoders
    bpe = lambda **kw: trainers.BpeTrainer(vocab_size=3000, special_tokens=special, show_progress=False, **kw)
    alphabet = P.ByteLevel.alphabet()
    strip = [AddedToken('<left>', lstrip=True), AddedToken('<right>', rstrip=True), AddedToken('<both>', lstrip=True, rstrip=True, special=True, normalized=False),
             AddedToken('word', single_word=True), AddedToken('Ünter', normalized=True), AddedToken('  ', normalized=False), AddedToken('<s>x', normalized=False)]
    for name, pattern in [('gpt2', GPT2), ('llama3', LLAMA3), ('qwen2', QWEN2), ('qwen35', QWEN35), ('o200k', O200K), ('tekken', TEKKEN)]:
        train(f'bpe-{name}', models.BPE(), bpe(initial_alphabet=alphabet), pre=P.Sequence([P.Split(Regex(pattern), 'isolated'), P.ByteLevel(False, use_regex=False)]),
              decoder=D.ByteLevel(), added=strip if name == 'llama3' else ())
    train('bpe-deepseek', models.BPE(), bpe(initial_alphabet=alphabet), N.Sequence([]),
          P.Sequence([P.Split(Regex(p), 'isolated') for p in DEEPSEEK_V3] + [P.ByteLevel(False, use_regex=False)]), D.ByteLevel())
    train('bpe-prefix-space', models.BPE(), bpe(initial_alphabet=alphabet), N.NFKC(), P.ByteLevel(True), D.ByteLevel(), added=strip)
    train('bpe-some-bytes', models.BPE(unk_token='<unk>'), bpe(limit_alphabet=60), N.NFD(), P.ByteLevel(False), D.ByteLevel())
    train('bpe-byte-normalizer', models.BPE(), bpe(initial_alphabet=alphabet), N.Sequence([N.NFC(), N.ByteLevel()]), P.Sequence([P.Digits(True), P.Punctuation('contiguous')]), D.ByteLevel())
    train('bpe-fallback', models.BPE(unk_token='<unk>', byte_fallback=True, fuse_unk=True), bpe(limit_alphabet=200), N.Sequence([N.Prepend('▁'), N.Replace(' ', '▁')]), None,
          D.Sequence([D.Replace('▁', ' '), D.ByteFallback(), D.Fuse(), D.Strip(' ', 1, 0)]), added=fallback + strip)
    for fuse in (False, True):
        train(f'bpe-unk-{"fused" if fuse else "each"}', models.BPE(unk_token='<unk>', fuse_unk=fuse), bpe(limit_alphabet=60), N.NFKD(), P.Whitespace())
    train('bpe-no-unk', models.BPE(), bpe(limit_alphabet=60), N.Lowercase(), P.WhitespaceSplit())
    train('bpe-suffix', models.BPE(unk_token='<unk>', end_of_word_suffix='</w>'), bpe(limit_alphabet=300, end_of_word_suffix='</w>'), N.BertNormalizer(), P.BertPreTokenizer(), D.BPEDecoder())
    train('bpe-prefix', models.BPE(unk_token='<unk>', continuing_subword_prefix='##', fuse_unk=True), bpe(limit_alphabet=300, continuing_subword_prefix='##'),
          N.Sequence([N.Strip(), N.StripAccents()]), P.WhitespaceSplit())
    train('bpe-ignore-merges', models.BPE(ignore_merges=True), bpe(initial_alphabet=alphabet), None, P.Sequence([P.Split(Regex(LLAMA3), 'isolated'), P.ByteLevel(False, use_regex=False)]), D.ByteLevel())
    for scheme in ('always', 'first', 'never'):
        for cut in (True, False):
            train(f'bpe-metaspace-{scheme}-{cut}', models.BPE(unk_token='<unk>', byte_fallback=not cut), bpe(limit_alphabet=500), None,
                  P.Metaspace('▁', scheme, cut), D.Metaspace('▁', scheme), added=fallback[:0 if cut else 256] + strip)
    wordpiece = lambda: trainers.WordPieceTrainer(vocab_size=3000, special_tokens=['[UNK]'] + special, limit_alphabet=400, show_progress=False)
    train('wordpiece-bert', models.WordPiece(unk_token='[UNK]'), wordpiece(), N.BertNormalizer(), P.BertPreTokenizer(), D.WordPiece(), added=strip)
    train('wordpiece-cased', models.WordPiece(unk_token='[UNK]', max_input_chars_per_word=12), wordpiece(), N.BertNormalizer(False, False, True, False), P.Whitespace(), D.WordPiece(cleanup=False))
    train('wordpiece-scripts', models.WordPiece(unk_token='[UNK]'), wordpiece(), N.Nmt(), P.Sequence([P.UnicodeScripts(), P.Digits(False), P.FixedLength(7)]), D.CTC())
    train('wordlevel', models.WordLevel(unk_token='<unk>'), trainers.WordLevelTrainer(vocab_size=3000, special_tokens=special, show_progress=False), N.Sequence([N.NFKC(), N.Lowercase()]),
          P.Sequence([P.WhitespaceSplit(), P.Punctuation('removed'), P.CharDelimiterSplit('-')]))
    unigram = lambda: trainers.UnigramTrainer(vocab_size=2000, special_tokens=special, unk_token='<unk>', show_progress=False)
    train('unigram-metaspace', models.Unigram(), unigram(), N.Sequence([N.Nmt(), N.NFKC(), N.Replace(Regex(' {2,}'), ' ')]), P.Metaspace(), D.Metaspace(), added=strip)
    train('unigram-plain', models.Unigram(), unigram(), None, P.Sequence([P.Split(' ', 'merged_with_previous'), P.Split(Regex(r'\p{P}'), 'merged_with_next')]))
    file = json.loads(made[-2][1])
    vocab = file['model']['vocab'] + [[token, -20.0 - i / 100] for i, token in enumerate(fallback)]
    file['model'].update(vocab=vocab, byte_fallback=True)
    made.append(('unigram-fallback', json.dumps(file)))
    for behavior in ('removed', 'isolated', 'merged_with_previous', 'merged_with_next', 'contiguous'):
        for invert in (False, True):
            train(f'split-{behavior}-{invert}', models.BPE(unk_token='<unk>', fuse_unk=True), bpe(limit_alphabet=100), None, P.Split(Regex(r'\d|[aeiou]+|\s'), behavior, invert))
    train('replace-empty', models.BPE(unk_token='<unk>'), bpe(limit_alphabet=100), N.Sequence([N.Replace(Regex(r'[aeiou]*'), '*'), N.Replace('ß', ''), N.Replace(Regex(r'(?<=n)g\b'), 'GG'), N.Strip(True, False)]), None)
    train('replace-lines', models.BPE(unk_token='<unk>'), bpe(limit_alphabet=100), N.Sequence([N.Replace(Regex(r'$'), '|'), N.Replace(Regex(r'(\w)(?=\1)|^\s+|(?>a+)b'), '·')]) if False else
          N.Sequence([N.Replace(Regex(r'$'), '|'), N.Replace(Regex(r'^\s+|(?>a+)b|\Bx\B'), '·'), N.Strip(False, True)]), P.Whitespace())
    return made


def fields(message):
    """(number, bytes) of the fields of a protobuf message that are strings or messages: of a model, 3 its normalizer_spec, of that 2 the charsmap."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
    while at < len(message):
        tag = varint()
        if tag & 7 == 0:
            varint()
        elif tag & 7 == 5:
            at += 4
        elif tag & 7 == 1:
            at += 8
        else:
            size = varint()
            yield tag >> 3, message[at:at + size]
            at += size


def charsmaps(corpus):
    """Unigram tokenizers with SentencePiece's own rewriting rules."""
    import base64
    import io

    import sentencepiece
    made = []
    for rule in ('nmt_nfkc', 'nfkc_cf'):
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(line for text in corpus for line in text.split('\n') if line.strip()), model_writer=model, vocab_size=1500,
                                                 normalization_rule_name=rule, hard_vocab_limit=False, minloglevel=2, num_threads=1, max_sentence_length=100000, input_sentence_size=20000)
        learned = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
        vocab = [[learned.id_to_piece(i), learned.get_score(i)] for i in range(learned.get_piece_size())]
        rules = next(value for number, value in fields(next(value for number, value in fields(model.getvalue()) if number == 3)) if number == 2)
        made.append((f'unigram-{rule}', json.dumps(dict(
            version='1.0', truncation=None, padding=None, added_tokens=[],
            normalizer={'type': 'Sequence', 'normalizers': [{'type': 'Precompiled', 'precompiled_charsmap': base64.b64encode(rules).decode()},
                                                            {'type': 'Replace', 'pattern': {'Regex': ' {2,}'}, 'content': ' '}]},
            pre_tokenizer={'type': 'Metaspace', 'replacement': '▁', 'prepend_scheme': 'always', 'split': True}, post_processor=None,
            decoder={'type': 'Metaspace', 'replacement': '▁', 'prepend_scheme': 'always', 'split': True},
            model={'type': 'Unigram', 'unk_id': 0, 'vocab': vocab, 'byte_fallback': False}))))
    return made
