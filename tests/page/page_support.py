"""What the tests of pages share: a text that a tokenizer reads back as marked ids, hostile passages, and a browser that is watched.

The browser is Debian's Chromium, driven by selenium; where either is missing the tests that need it are skipped and say so.
"""
import base64
import hashlib
import json
import pathlib
import random
import shutil
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'cli'))

from detect_support import KEY, exported_key, mark_oracle  # noqa: E402  (needs the path above)

WORDS = 4000
SYLLABLES = [a + b for a in 'bdfgklmnprstvz' for b in 'aeiou']
HOSTILE = ('<script>document.title="run"</script> </style></title><style>*{display:none}</style> <img src="http://192.0.2.1/a.png" onerror="document.title=1"> <svg onload=alert(1)> '
           '\u202eturned\u202c \u2066\u200b\ufeff \u0000 \u001b[2J --> ]]> &lt;b&gt; {{7*7}} <a href="javascript:alert(1)">x</a> <base href="http://192.0.2.1/"> <meta http-equiv="refresh" content="0;url=http://192.0.2.1/"> '
           '<iframe src="http://192.0.2.1/"></iframe> ' + 'Z' + '\u0301' * 200 + ' \u0645\u0631\u062d\u0628\u0627 \u4f60\u597d \U0001f600 \U000e0041')
HOSTILE_LABEL = '"><script>document.title=1</script>'


def vocabulary(folder):
    """A WordPiece tokenizer.json of made-up words; gives the words. One word, one token, so that marked ids come back from their text."""
    rng = random.Random(5)
    words = {}
    while len(words) < WORDS - 1:
        words.setdefault(''.join(rng.choice(SYLLABLES) for _ in range(rng.randint(2, 4))), len(words))
    words['[UNK]'] = len(words)
    model = {'type': 'WordPiece', 'unk_token': '[UNK]', 'continuing_subword_prefix': '##', 'max_input_chars_per_word': 100, 'vocab': words}
    (folder / 'tokenizer.json').write_text(json.dumps({
        'version': '1.0', 'truncation': None, 'padding': None, 'added_tokens': [], 'normalizer': None, 'pre_tokenizer': {'type': 'WhitespaceSplit'}, 'post_processor': None,
        'decoder': {'type': 'WordPiece', 'prefix': '##', 'cleanup': False}, 'model': model}))
    return list(words)


class Texts:
    def __init__(self, folder):
        self.rng = random.Random(9)
        self.words = vocabulary(folder)
        self.tokenizer = folder / 'tokenizer.json'
        self.key = exported_key(folder, vocabulary=WORDS, tokenizer_sha256=hashlib.sha256(self.tokenizer.read_bytes()).hexdigest())
        self.epoch = mark_oracle.Epoch(KEY)

    def plain(self, length):
        return ' '.join(self.words[self.rng.randrange(WORDS - 1)] for _ in range(length))

    def marked(self, account, length):
        return ' '.join(self.words[i] for i in self.epoch.write(account, length, WORDS - 1, self.rng))


def new_browser():
    try:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
    except ImportError:
        pytest.skip('SKIPPED: no browser here (tools/setup browser): selenium is missing, and pages were NOT looked at')
    chromium, driver = shutil.which('chromium'), shutil.which('chromedriver')
    if chromium is None or driver is None:
        pytest.skip('SKIPPED: no browser here (tools/setup browser): Chromium is missing, and pages were NOT looked at')
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ('--headless=new', '--no-sandbox', '--disable-gpu', '--hide-scrollbars', '--disable-dev-shm-usage', '--disable-background-networking', '--no-first-run'):
        options.add_argument(flag)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL', 'performance': 'ALL'})
    return webdriver.Chrome(options=options, service=Service(driver))


class Looker:
    """A page in a browser, at a width, in a colour scheme."""

    def __init__(self, driver, address):
        self.driver, self.address = driver, address

    def cdp(self, method, **parameters):
        return self.driver.execute_cdp_cmd(method, parameters)

    def js(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def open(self, width=1280, scheme='light'):
        self.driver.get_log('performance')
        self.driver.get_log('browser')
        self.cdp('Emulation.setEmulatedMedia', media='', features=[{'name': 'prefers-color-scheme', 'value': scheme}])
        self.cdp('Emulation.setDeviceMetricsOverride', width=width, height=800, deviceScaleFactor=1, mobile=width < 500)
        self.driver.get(self.address)
        return self

    def said(self):
        """Lines of the console."""
        return self.driver.get_log('browser')

    def asked(self):
        """Addresses the page asked for, itself left out."""
        events = [json.loads(entry['message'])['message'] for entry in self.driver.get_log('performance')]
        return [e['params']['request']['url'] for e in events if e['method'] == 'Network.requestWillBeSent' and e['params']['request']['url'] != self.address]

    def print(self):
        """The PDF's bytes."""
        return base64.b64decode(self.cdp('Page.printToPDF', printBackground=True)['data'])

    def screenshot(self, path):
        height = self.cdp('Page.getLayoutMetrics')['cssContentSize']['height']
        width = self.js('return document.documentElement.clientWidth')
        data = self.cdp('Page.captureScreenshot', captureBeyondViewport=True, clip={'x': 0, 'y': 0, 'width': width, 'height': height, 'scale': 1})['data']
        pathlib.Path(path).write_bytes(base64.b64decode(data))
