#include "src/evidence/page.h"

namespace countermark::page {

// Colours are chosen in pairs that keep a contrast of 4.5 and more, in both schemes; tests/page computes it in a browser.
std::string_view StyleSheet() {
  static constexpr std::string_view kSheet = R"css(
:root {
  --paper: #fdfcfa; --ink: #1c1b1a; --soft: #56524b; --line: #d8d3c9; --grid: #ebe7df; --link: #1d4f7c; --box: #f4f1ea;
  --blue: #1d5a94; --orange: #a0470b; --grey: #6a665f; --violet: #6b3f8f; --red: #8c1d1d; --green: #2c5f3a; --amber: #6f5300; --band: #e6e1d6;
  --p1: #e3edf8; --p2: #c5dbf1; --p3: #9fc4e8; --p4: #76abdd; --q1: #fbeadb; --q2: #f6d3b4; --q3: #edb78b; --q4: #e29a62; --mark: #8c1d1d;
  --sans: system-ui, -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif;
  --serif: "Iowan Old Style", "Palatino Linotype", Palatino, "Noto Serif", "DejaVu Serif", Georgia, serif;
  color-scheme: light dark;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #16181b; --ink: #eae7e1; --soft: #b8b3a9; --line: #43464b; --grid: #2a2d31; --link: #8fc1f0; --box: #1f2226;
    --blue: #7ab4ee; --orange: #f0a468; --grey: #a9a59c; --violet: #c8a2ea; --red: #f09a94; --green: #97cfa6; --amber: #e3c368; --band: #2e3136;
    --p1: #1c2d40; --p2: #1e3f5f; --p3: #20527e; --p4: #24649b; --q1: #38271a; --q2: #52331b; --q3: #6c401c; --q4: #85501f; --mark: #f09a94;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; scroll-padding-top: 1rem; }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 56rem; background: var(--paper); color: var(--ink); font: 1.0625rem/1.55 var(--serif); font-variant-numeric: lining-nums; overflow-wrap: break-word; }
a { color: var(--link); text-underline-offset: .15em; }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
main:focus { outline: none; }
.skip { position: absolute; left: -100vw; top: 0; padding: .5rem 1rem; background: var(--ink); color: var(--paper); }
.skip:focus { left: 0; z-index: 1; }
h1 { font-size: 1.75rem; line-height: 1.2; font-weight: 600; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; line-height: 1.25; font-weight: 600; margin: 2.5rem 0 .75rem; padding-top: .9rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.08rem; font-weight: 600; margin: 1.6rem 0 .5rem; overflow-wrap: anywhere; }
p, ul, dl, figure { margin: 0 0 .9rem; }
p, li { max-width: 42rem; }
header p, .note, figcaption, footer, .gap { color: var(--soft); font-size: .95rem; }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; padding: .6rem 0; margin: 1rem 0 1.5rem; border-top: 1px solid var(--line); border-bottom: 1px solid var(--line); font: .92rem/1.7 var(--sans); }
nav a { display: inline-block; padding: .2rem 0; }
.verdict { border-left: 6px solid var(--amber); background: var(--box); padding: 1rem 1.25rem; }
.verdict.evidence { border-color: var(--red); }
.verdict.none { border-color: var(--green); }
.verdict h2 { border: 0; margin: 0 0 .5rem; padding: 0; font-size: 1.5rem; color: var(--amber); }
.verdict.evidence h2 { color: var(--red); }
.verdict.none h2 { color: var(--green); }
.says { font-size: 1.2rem; line-height: 1.45; }
.facts { display: flex; flex-wrap: wrap; gap: .5rem 2rem; margin: 1rem 0 0; }
dt { color: var(--soft); font: .85rem/1.4 var(--sans); }
dd { margin: 0 0 .5rem; overflow-wrap: anywhere; }
code, .mono { font: .88em/1.5 ui-monospace, "SF Mono", Menlo, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--box); padding: .75rem 1rem; margin: 0 0 .9rem; font: .88rem/1.55 ui-monospace, "SF Mono", Menlo, "DejaVu Sans Mono", monospace; }
.wide { overflow-x: auto; margin: 0 0 .9rem; position: relative; }
table { border-collapse: collapse; width: 100%; font: .92rem/1.45 var(--sans); font-variant-numeric: tabular-nums lining-nums; }
caption { text-align: left; font-weight: 600; padding: .4rem 0; }
th, td { text-align: left; vertical-align: baseline; padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--grid); font-weight: 400; }
thead th { color: var(--soft); font-size: .85rem; border-bottom: 1px solid var(--line); vertical-align: bottom; }
tbody th { min-width: 8rem; max-width: 22rem; overflow-wrap: anywhere; }
.n { text-align: right; white-space: nowrap; }
td:last-child, th:last-child { padding-right: 0; }
sup { line-height: 0; font-size: .75em; }
.tag { font: .78rem/1 var(--sans); color: var(--red); border: 1px solid; border-radius: 3px; padding: .1rem .35rem; white-space: nowrap; }
.bars td:nth-child(2) { width: 38%; min-width: 6.5rem; vertical-align: middle; }
.bar { display: block; }
.bar .hit { fill: var(--red); } .bar .miss { fill: var(--grey); }
details { margin: 0 0 .9rem; }
summary { cursor: pointer; font: .92rem/1.6 var(--sans); color: var(--link); padding: .2rem 0; }
figure > svg { width: 100%; height: auto; display: block; }
figure > svg.narrow { display: none; }
svg text { font: 12px var(--sans); fill: var(--soft); font-variant-numeric: tabular-nums lining-nums; }
svg .axis { stroke: var(--soft); stroke-width: 1; } svg .grid { stroke: var(--grid); stroke-width: 1; }
svg .level { stroke: var(--red); stroke-width: 1.5; stroke-dasharray: 6 4; }
.s0 { fill: var(--band); } .s1, .s2, .s3, .s4 { fill: none; stroke-width: 2; }
.s1 { stroke: var(--blue); } .s2 { stroke: var(--orange); stroke-dasharray: 8 3; } .s3 { stroke: var(--grey); stroke-dasharray: 2 3; } .s4 { stroke: var(--violet); stroke-dasharray: 10 3 2 3; }
.d1 { fill: var(--blue); } .d2 { fill: var(--orange); }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.5rem; padding: 0; margin: .4rem 0; font: .92rem/1.5 var(--sans); }
.legend svg { vertical-align: -1px; }
.strip { display: block; margin: 0 0 .6rem; }
.cn { fill: none; } .c0 { fill: var(--p1); } .c1 { fill: var(--p2); } .c2 { fill: var(--p3); } .c3 { fill: var(--p4); } .c4 { fill: var(--blue); } .r { fill: var(--mark); }
.heat { white-space: pre-wrap; overflow-wrap: anywhere; max-height: 40rem; overflow-y: auto; border: 1px solid var(--line); padding: 1rem; margin: 0 0 .9rem; font: 1rem/1.9 var(--serif); unicode-bidi: isolate; contain: paint; }
i { font-style: normal; }
.p1 { background: var(--p1); } .p2 { background: var(--p2); } .p3 { background: var(--p3); } .p4 { background: var(--p4); }
.q1 { background: var(--q1); } .q2 { background: var(--q2); } .q3 { background: var(--q3); } .q4 { background: var(--q4); }
mark { background: none; color: inherit; outline: 2px solid var(--mark); outline-offset: 2px; -webkit-box-decoration-break: clone; box-decoration-break: clone; }
.x { font: .7em/1 var(--sans); color: var(--ink); border: 1px solid var(--soft); border-radius: 2px; padding: 0 .2em; margin: 0 .1em; }
.gap { display: block; text-align: center; font-style: italic; padding: .4rem 0; }
footer { margin-top: 3rem; padding-top: .9rem; border-top: 1px solid var(--line); }
@media (max-width: 40rem) {
  figure > svg.narrow { display: block; } figure > svg.broad { display: none; }
  h1 { font-size: 1.4rem; } .says { font-size: 1.1rem; } .verdict { padding: .8rem .9rem; }
}
@media print {
  :root {
    --paper: #fff; --ink: #000; --soft: #444; --line: #999; --grid: #ddd; --link: #000; --box: #fff; --blue: #1d5a94; --orange: #a0470b; --grey: #666; --violet: #6b3f8f; --red: #8c1d1d; --green: #2c5f3a;
    --amber: #6f5300; --band: #e6e1d6; --p1: #e3edf8; --p2: #c5dbf1; --p3: #9fc4e8; --p4: #76abdd; --q1: #fbeadb; --q2: #f6d3b4; --q3: #edb78b; --q4: #e29a62; --mark: #8c1d1d;
  }
  body { max-width: none; padding: 0; font-size: 10.5pt; }
  nav, .skip { display: none; }
  .heat { max-height: none; overflow: visible; }
  .wide { overflow: visible; }
  .verdict { border: 1px solid; border-left-width: 6px; }
  h2, h3, caption, summary { break-after: avoid; }
  tr, figure, .verdict { break-inside: avoid; }
  details::details-content { content-visibility: visible; display: block; block-size: auto; }
  svg, i, mark { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  figure > svg.narrow { display: none; } figure > svg.broad { display: block; }
  @page { margin: 18mm 16mm; }
}
@media (forced-colors: active) { .verdict { border: 2px solid; } .bar rect, .d1, .s1 { forced-color-adjust: none; } }
)css";
  return kSheet;
}

}  // namespace countermark::page
