"""The page of watermark-detect as a browser shows it: nothing is fetched or run, nothing overflows, everything is reached by keyboard, read in both colour schemes, and printed.

Set COUNTERMARK_SCREENSHOTS to a folder to keep a screenshot at each width and scheme.
"""
import json
import os
import re
import sys

import pytest

from page_support import HOSTILE, HOSTILE_LABEL, Looker, Texts, new_browser

sys.path.insert(0, os.path.join(os.environ['COUNTERMARK_SOURCE'], 'tests', 'cli'))
from detect_support import run  # noqa: E402

# Every text node's colour against what lies behind it. Solid backgrounds only, which the sheet keeps to; SVG text has its fill.
CONTRAST = '''
const channel = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const parse = c => { const n = c.match(/[\\d.]+/g).map(Number); return {rgb: n.slice(0, 3), alpha: n.length > 3 ? n[3] : 1}; };
const behind = e => { for (; e; e = e.parentElement) { const b = parse(getComputedStyle(e).backgroundColor); if (b.alpha === 1) return b.rgb; } return [255, 255, 255]; };
const worst = {};
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const e = walk.currentNode.parentElement;
  if (!walk.currentNode.data.trim() || !e.checkVisibility() || e.closest('title, desc')) continue;
  const style = getComputedStyle(e), svg = e.namespaceURI.endsWith('svg');
  const a = luminance(parse(svg ? style.fill : style.color).rgb), b = luminance(behind(e));
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), name = e.tagName + '.' + (e.getAttribute('class') || '');
  if (!(worst[name] <= ratio)) worst[name] = ratio;
}
return worst;
'''


@pytest.fixture(scope='module')
def browser():
    driver = new_browser()
    yield driver
    driver.quit()


@pytest.fixture(scope='module')
def texts(tmp_path_factory):
    return Texts(tmp_path_factory.mktemp('texts'))


@pytest.fixture(scope='module')
def folder(tmp_path_factory, texts):
    """Marked and unmarked texts, hostile ones among them, hostile names everywhere."""
    folder = tmp_path_factory.mktemp('page')
    marked = texts.marked('org-2', 260)
    records = [{'id': 'essay <b>1</b>', 'text': marked}, {'id': HOSTILE_LABEL, 'text': f'{texts.plain(150)} {HOSTILE} {marked} {HOSTILE} {texts.plain(200)}'}, {'id': '=cmd()', 'text': texts.plain(200)},
               {'id': 'short', 'text': 'a'}]
    suspect = folder / 'suspect\x1b<img src=x>\u202e.jsonl'
    suspect.write_text(''.join(json.dumps(r) + '\n' for r in records) + '{"id": "broken <script>"\n')
    (folder / 'accounts').write_text('\n'.join([f'org-{i}' for i in range(1, 60)] + [HOSTILE_LABEL, '@SUM(1)']) + '\n')
    made = run(suspect, '--epoch-key', texts.key, '--tokenizer', texts.tokenizer, '--text-field', 'text', '--accounts', folder / 'accounts', '--min-coverage', 0.5, '--html', folder / 'page.html', '--csv', folder / 'tests.csv', '--jsonl')
    assert made.returncode == 1, made.err
    return folder


@pytest.fixture
def page(browser, folder):
    return Looker(browser, (folder / 'page.html').as_uri())


@pytest.mark.parametrize('width', [360, 1280])
@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_nothing_is_fetched_run_or_cut_off(page, width, scheme):
    page.open(width, scheme)
    assert page.said() == []
    assert page.asked() == []
    assert page.js('return document.title').startswith('Watermark report: suspect')
    assert page.js('return document.documentElement.scrollWidth') <= width
    # What is wider than the page scrolls in a region of its own, and no text runs out of the page.
    outside = page.js('''return [...document.querySelectorAll('body *')].filter(e => !e.closest('.wide, .skip, svg') && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName + '.' + e.className)''')
    assert outside == []
    assert page.js('return getComputedStyle(document.body).backgroundColor') == ('rgb(253, 252, 250)' if scheme == 'light' else 'rgb(22, 24, 27)')
    # One drawing of each figure is shown, and its letters can be read.
    shown = page.js('return [...document.querySelectorAll("figure")].map(f => [...f.querySelectorAll(":scope > svg")].filter(s => s.checkVisibility()).length)')
    assert shown and set(shown) == {1}
    sizes = page.js('return [...document.querySelectorAll("figure > svg text")].filter(t => t.checkVisibility()).map(t => t.getBoundingClientRect().height)')
    assert min(sizes) >= 10
    if folder := os.environ.get('COUNTERMARK_SCREENSHOTS'):
        page.screenshot(os.path.join(folder, f'detect-{width}-{scheme}.png'))


def test_hostile_text_is_inert(page, folder):
    page.open()
    assert page.js('return document.scripts.length') == 0
    assert page.js('return document.querySelectorAll("img, iframe, object, embed, link, base, form, input, [onload], [onerror], [style]").length') == 0
    assert page.js('return [...document.querySelectorAll("a")].every(a => a.getAttribute("href").startsWith("#"))') is True
    assert page.js('return document.styleSheets.length') == 1
    shown = page.js('return document.querySelector("main").textContent')
    assert '<script>document.title="run"</script>' in shown and 'javascript:alert(1)' in shown
    assert re.search('[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]', page.js('return document.documentElement.outerHTML')) is None
    assert 'U+202E' in shown and 'U+0000' in shown
    # The page is all there, below and around the hostile parts.
    assert page.js('return document.querySelector("#verify").checkVisibility() && document.querySelector("footer").checkVisibility()') is True
    html = (folder / 'page.html').read_bytes().decode()
    assert len(html) < 2_000_000 and '\r' not in html


def test_the_policy_forbids_what_hostile_text_would_need(page):
    """The page's own policy, tried from inside: a script, a style, an image and a request are refused, each by the policy."""
    page.open()
    tried = page.js('''
      const refused = new Promise(done => { const seen = []; document.addEventListener('securitypolicyviolation', e => { seen.push(e.effectiveDirective); if (seen.length === 4) done(seen); }); setTimeout(() => done(seen), 3000); });
      const script = document.createElement('script'); script.textContent = 'window.ran = 1'; document.head.append(script);
      const style = document.createElement('style'); style.textContent = '* { display: none }'; document.head.append(style);
      const image = document.createElement('img'); image.src = 'http://192.0.2.1/a.png'; document.body.append(image);
      fetch('http://192.0.2.1/').catch(() => 0);
      return refused.then(seen => [seen.sort(), window.ran === undefined, document.body.checkVisibility()]);''')
    assert tried == [['connect-src', 'img-src', 'script-src-elem', 'style-src-elem'], True, True]


def test_the_keyboard_reaches_everything_in_order(page):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    page.open(360)
    wanted = page.js('''return [...document.querySelectorAll('a, summary, [tabindex="0"]')].filter(e => e.checkVisibility()).length''')
    place = '''const e = document.activeElement; const all = [...document.querySelectorAll('*')]; return [all.indexOf(e), e.tagName, e.className, getComputedStyle(e).outlineStyle]'''
    seen = []
    for _ in range(wanted + 3):
        page.driver.switch_to.active_element.send_keys(Keys.TAB)
        at = page.js(place)
        if seen and at[0] <= seen[-1][0]:
            break
        seen.append(at)
    assert len(seen) == wanted, seen[-3:]
    assert [at[1] for at in seen[:1]] == ['A'] and seen[0][2] == 'skip'
    assert all(at[3] == 'solid' for at in seen)   # the focus can be seen
    # The skip link leads to the verdict; folded parts open by key.
    page.open(1280)
    page.driver.switch_to.active_element.send_keys(Keys.TAB)
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert page.js('return document.activeElement.id') == 'main'
    summary = page.driver.find_element(By.TAG_NAME, 'summary')
    summary.send_keys(Keys.ENTER)
    assert page.js('return arguments[0].parentElement.open', summary) is True


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_contrast(page, scheme):
    page.open(1280, scheme)
    page.js('document.querySelectorAll("details").forEach(d => d.open = true)')
    worst = page.js(CONTRAST)
    assert {'P.says', 'I.p4', 'I.q4', 'B.x', 'text.', 'SPAN.tag', 'TH.', 'A.'} <= set(worst), worst   # all kinds were met
    assert min(worst.values()) >= 4.5, sorted(worst.items(), key=lambda item: item[1])[:5]


def test_who_does_not_see_the_figures(page):
    page.open()
    assert page.js('return document.documentElement.lang') == 'en'
    assert page.js('return document.querySelectorAll("h1").length') == 1
    levels = page.js('return [...document.querySelectorAll("h1, h2, h3, h4")].map(h => +h.tagName[1])')
    assert all(b - a <= 1 for a, b in zip(levels, levels[1:]))
    # Every drawing has a title and a description, or is marked as an ornament; every figure a table; every table a caption and headings.
    assert page.js('''return [...document.querySelectorAll('svg')].filter(s => s.getAttribute('aria-hidden') !== 'true' && !(s.getAttribute('role') === 'img' && s.getAttribute('aria-labelledby').split(' ').every(id => document.getElementById(id).textContent.length > 5))).length''') == 0
    assert page.js('return [...document.querySelectorAll("figure")].every(f => f.querySelector("details table") && f.querySelector("figcaption"))') is True
    assert page.js('return [...document.querySelectorAll("table")].every(t => t.caption && t.caption.textContent && t.querySelector("thead th[scope=col]") && [...t.tBodies[0].rows].every(r => r.cells[0].scope === "row"))') is True
    ids = page.js('return [...document.querySelectorAll("[id]")].map(e => e.id)')
    assert len(ids) == len(set(ids))
    assert set(page.js('return [...document.querySelectorAll("nav a")].map(a => a.getAttribute("href").slice(1))')) <= set(ids)


def test_print(page):
    page.open(1280, 'dark')
    pdf = page.print()
    assert pdf.startswith(b'%PDF') and len(re.findall(rb'/Type\s*/Page\b', pdf)) >= 3
    page.cdp('Emulation.setEmulatedMedia', media='print', features=[])
    assert page.js('return getComputedStyle(document.body).backgroundColor') == 'rgb(255, 255, 255)'   # ink is not spent on a dark page
    assert page.js('return document.querySelector("nav").checkVisibility()') is False
    # What is folded on the screen is on the paper, and nothing is cut off by a scrolling region.
    assert page.js('return [...document.querySelectorAll("details > :not(summary)")].every(e => e.checkVisibility({contentVisibilityAuto: true}) && e.getBoundingClientRect().height > 0)') is True
    assert page.js('return [...document.querySelectorAll(".heat, .wide")].every(e => getComputedStyle(e).overflowY === "visible")') is True
    page.cdp('Emulation.setEmulatedMedia', media='', features=[])
