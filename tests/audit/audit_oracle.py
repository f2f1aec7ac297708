"""The statistics of watermark-audit a second time, in Python with mpmath, from token ids on. Shares nothing with the C++ side but the definitions in
docs/audit-dataset.md.

    want = audit(epoch, documents, accounts)      # documents: lists of ids; epoch: mark_oracle.Epoch
"""
import math

import mpmath

import mark_oracle

mpmath.mp.dps = 50
BETS = [x for j in range(1, 13) for x in (mpmath.mpf(3) / 2**(j + 1), mpmath.mpf(1) / 2**j)]
SHARES = [mpmath.mpf(1) / 4**j for j in range(13)]


def bet(epoch, scored, statistic, stake):
    """The whole product of one bet."""
    if epoch.scheme == 3:
        return (1 - stake)**scored * mpmath.exp(stake * mpmath.mpf(statistic) / 2**40)
    n, green = (scored, epoch.green) if epoch.scheme == 1 else (scored * epoch.layers, 128)
    gamma = mpmath.mpf(green) / 256
    return (1 + stake * (1 / gamma - 1))**statistic * (1 - stake)**(n - statistic)


def log10_e(epoch, scored, statistic):
    return mpmath.log10(mpmath.fsum(bet(epoch, scored, statistic, b) for b in BETS) / len(BETS))


def sparse(epoch, counts):
    """log10 E along the documents: the value after each of them."""
    products = [[mpmath.mpf(1)] * len(SHARES) for _ in BETS]
    out = []
    for scored, statistic in counts:
        for row, stake in zip(products, BETS):
            e = bet(epoch, scored, statistic, stake)
            for i, share in enumerate(SHARES):
                row[i] *= (1 - share) + share * e
        out.append(float(mpmath.log10(mpmath.fsum(x for row in products for x in row) / (len(BETS) * len(SHARES)))))
    return out


def listed(values, fdr):
    """e-BH by its definition: the set of documents listed."""
    order = sorted(range(len(values)), key=lambda i: -values[i])
    k = max((k for k in range(1, len(values) + 1) if 10**mpmath.mpf(values[order[k - 1]]) >= mpmath.mpf(len(values)) / (k * mpmath.mpf(fdr))), default=0)
    return {i for i in range(len(values)) if k and 10**mpmath.mpf(values[i]) >= mpmath.mpf(len(values)) / (k * mpmath.mpf(fdr))}


def documents_at_least(values, risk):
    """The largest set of documents whose mean e-value is below 1/risk, by trying each size."""
    e = sorted(10**mpmath.mpf(v) for v in values)
    most = max((k for k in range(1, len(e) + 1) if mpmath.fsum(e[:k]) / k < 1 / mpmath.mpf(risk)), default=0)
    return len(e) - most


def levels(epoch):
    """(chance under the null, hit(pair's word or score) -> bool)."""
    if epoch.scheme == 1:
        return [(mpmath.mpf(epoch.green) / 256, lambda score: score == 1)]
    if epoch.scheme == 3:
        # score ≥ ⌊−ln(2^−j)·2⁴⁰⌋ just when the word is in the top 2^−j of all words.
        return [(mpmath.mpf(1) / 2**j, lambda score, j=j: score >= int(mpmath.floor(mpmath.log(2) * j * 2**40))) for j in range(1, 5)]
    out, m = {}, epoch.layers
    for j in range(1, 5):
        tail = lambda t: mpmath.mpf(sum(math.comb(m, i) for i in range(t, m + 1))) / 2**m
        t = next(t for t in range(m + 2) if tail(t) <= mpmath.mpf(1) / 2**j)
        if t <= m:
            out[t] = tail(t)
    return [(chance, lambda score, t=t: score >= t) for t, chance in out.items()]


def pairs_at_least(epoch, scores, risk):
    grid = levels(epoch)
    best = 0
    for chance, hit in grid:
        misses = sum(not hit(s) for s in scores)
        possible = lambda n: mpmath.fsum(mpmath.binomial(n, k) * (1 - chance)**k * chance**(n - k) for k in range(min(n, misses) + 1)) > mpmath.mpf(risk) / len(grid)
        low, high = misses, len(scores)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if possible(middle) else (low, middle - 1)
        best = max(best, len(scores) - low)
    return best


def audit(epoch, documents, accounts=(), prompts=None, fdr=0.01, confidence=0.99):
    prompts = prompts or [()] * len(documents)
    owner, own = {}, []
    scores = {}
    for d, (ids, prompt) in enumerate(zip(documents, prompts)):
        mine = epoch.pairs([ids], [prompt])
        own.append(mine)
        for pair in mine:
            owner.setdefault(pair, d)
    route = {pair: mark_oracle.channel_of(epoch.route, epoch.scheme, pair[0], epoch.weights) for pair in owner}

    def score(key, pair):
        return mark_oracle.token_score(mark_oracle.seed_of(key, epoch.scheme, pair[0]), pair[1], epoch.scheme, epoch.green, epoch.layers)
    scores = {pair: score(epoch.base, pair) for pair in owner if route[pair] == 0}
    own_counts = [(sum(p in scores for p in mine), sum(scores.get(p, 0) for p in mine)) for mine in own]
    first_counts = [(sum(p in scores and owner[p] == d for p in mine), sum(scores.get(p, 0) for p in mine if owner[p] == d)) for d, mine in enumerate(own)]
    values = [float(log10_e(epoch, *c)) for c in own_counts]
    risk = (1 - mpmath.mpf(confidence)) / 2
    on_account = [p for p in owner if route[p] == 1]
    counts = {a: sum(score(epoch.account(a), p) for p in on_account) for a in accounts}
    log10_p = [epoch.log10_p(len(on_account), counts[a]) for a in accounts]
    return {
        'distinct': len(owner), 'pooled': (len(scores), sum(scores.values())), 'own': own_counts, 'first': first_counts, 'pairs': [len(m) for m in own],
        'log10_e': values, 'sparse': sparse(epoch, first_counts), 'listed': listed(values, fdr), 'documents_at_least': documents_at_least(values, risk),
        'pairs_at_least': pairs_at_least(epoch, list(scores.values()), risk), 'account_scored': len(on_account),
        'accounts': {a: (counts[a], p, q) for a, p, q in zip(accounts, log10_p, mark_oracle.holm(log10_p))}}
