"""What is done to a text before it is tested. Each edit is (name, level, function of the texts and a random source); all are deterministic, and the same for every set.

    for name, level, edit in edits(root, tools, model): edited = edit(texts, random.Random(…))

A text is a string, or a list of token ids where the edit is one of the tokenization.
"""
import re

from words import Apertium, WordNet, human_text

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5)
LOOKALIKES = dict(zip("aceijopsxyABCEHIJKMOPSTXY", "асеіјорѕхуАВСЕНІЈКМОРЅТХУ"))
ZERO_WIDTH = "\u200b"


def percent(share):
    return f"{100 * share:g} %"


def words_of(text):
    """Words and what stands between them, in turn: the text is their concatenation."""
    return re.findall(r"\s+|\S+", text)


def places(pieces, share, random, fits=lambda word: True):
    """Which pieces are edited: that share of all words, taken among those that fit."""
    words = [i for i, piece in enumerate(pieces) if not piece.isspace()]
    fitting = [i for i in words if fits(pieces[i])]
    return random.sample(fitting, min(len(fitting), round(share * len(words))))


def delete(share):
    def edit(text, random):
        pieces = words_of(text)
        for i in places(pieces, share, random):
            pieces[i] = ""
            if i + 1 < len(pieces):
                pieces[i + 1] = "" if "\n" not in pieces[i + 1] else pieces[i + 1]
        return "".join(pieces).strip()
    return edit


def substitute(share, vocabulary):
    def edit(text, random):
        pieces = words_of(text)
        for i in places(pieces, share, random):
            pieces[i] = random.choice(vocabulary)
        return "".join(pieces)
    return edit


def synonym(share, wordnet):
    def core(word):
        return re.fullmatch(r"(\W*)([A-Za-z]+)(\W*)", word)

    def fits(word):
        match = core(word)
        return match is not None and len(match[2]) > 2 and bool(wordnet.synonyms(match[2].lower()))

    def edit(text, random):
        pieces = words_of(text)
        for i in places(pieces, share, random, fits):
            before, word, after = core(pieces[i]).groups()
            other = random.choice(wordnet.synonyms(word.lower()))
            pieces[i] = before + (other.capitalize() if word[0].isupper() else other) + after
        return "".join(pieces)
    return edit


def paste(share, human):
    """The whole text stands inside a passage by people of which it makes that share of the words."""
    def edit(text, random):
        around = round(len(text.split()) * (1 - share) / share)
        start = random.randrange(len(human) - around)
        passage, at = human[start:start + around], random.randrange(around + 1)
        return " ".join([*passage[:at], text.strip(), *passage[at:]])
    return edit


def homoglyphs(share):
    def edit(text, random):
        letters = [i for i, c in enumerate(text) if c in LOOKALIKES]
        chosen = set(random.sample(letters, round(share * len(letters))))
        return "".join(LOOKALIKES[c] if i in chosen else c for i, c in enumerate(text))
    return edit


def zero_width(share):
    def edit(text, random):
        pieces = words_of(text)
        for i in places(pieces, share, random, lambda word: len(word) > 1):
            at = random.randrange(1, len(pieces[i]))
            pieces[i] = pieces[i][:at] + ZERO_WIDTH + pieces[i][at:]
        return "".join(pieces)
    return edit


def repeated(text, random):
    """Not an attack: what a model in a loop writes, and what a count of repeats takes for evidence."""
    return " ".join(text.split()[20:40] * 10)


def each(edit):
    return lambda of, random: [edit(text, random) for text in of]


def edits(root, tools, sentencepiece_model):
    """tools: the folder of words.fetch. sentencepiece_model: a tokenizer that is not the model's, with fewer tokens."""
    import sentencepiece

    wordnet, apertium, human = WordNet(tools), Apertium(tools), human_text(root)
    vocabulary = sorted({word for word in human if word.isalpha()})
    pieces = sentencepiece.SentencePieceProcessor(model_file=sentencepiece_model)

    yield "none", "token ids as generated", None
    yield "none", "text", each(lambda text, random: text)
    for share in SHARES:
        yield "words deleted", percent(share), each(delete(share))
    for share in SHARES:
        yield "words replaced by random ones", percent(share), each(substitute(share, vocabulary))
    for share in SHARES:
        yield "words replaced by synonyms", percent(share), each(synonym(share, wordnet))
    for share in (0.5, 0.25, 0.1, 0.05):
        yield "pasted into text by people", percent(share) + " marked", each(paste(share, human))
    for share in (0.05, 0.2, 1.0):
        yield "homoglyphs", percent(share) + " of the letters that have one", each(homoglyphs(share))
    for share in (0.1, 0.5, 1.0):
        yield "zero-width spaces", "in " + percent(share) + " of the words", each(zero_width(share))
    yield "homoglyphs and zero-width spaces", "20 %, in 50 %", each(lambda text, random: zero_width(0.5)(homoglyphs(0.2)(text, random), random))
    yield "lower case", "", each(lambda text, random: text.lower())
    yield "another tokenizer", "Mistral's, there and back", each(lambda text, random: pieces.decode(pieces.encode(text)))
    yield "another tokenizer", "Mistral's ids tested as if the model's", each(lambda text, random: pieces.encode(text))
    yield "translated", "into Spanish and back", lambda of, random: apertium.there_and_back(of)
    yield "a loop", "20 words of it, 10 times", each(repeated)
