"""The style sheet of pages: one column on a phone, two where there is room; dark on light."""

STYLE = """
:root { --ink: #1a1a1a; --quiet: #5a5a5a; --line: #e3e3e3; --blue: #0072B2; }
* { box-sizing: border-box; }
body { margin: 0; background: #fbfbfa; color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 24px 16px 64px; }
h1 { font-size: clamp(24px, 4vw, 34px); line-height: 1.2; margin: 8px 0; letter-spacing: -0.01em; }
h2 { font-size: clamp(18px, 2.4vw, 22px); line-height: 1.3; margin: 0 0 8px; max-width: 60em; }
p { margin: 0 0 12px; max-width: 72em; }
.sub, section > p { color: var(--quiet); }
.lead { font-size: 18px; margin-bottom: 8px; }
section { margin-top: 40px; padding-top: 24px; border-top: 1px solid var(--line); }
.tiles { display: grid; gap: 12px; margin: 20px 0;
  grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); }
.tiles div { background: #fff; border: 1px solid var(--line); border-radius: 10px;
  padding: 14px 16px; }
.tiles b { display: block; font-size: 34px; line-height: 1.1; color: var(--blue);
  letter-spacing: -0.02em; }
.tiles span { display: block; margin-top: 6px; font-size: 14px; line-height: 1.35;
  color: var(--quiet); }
.warn { margin: 16px 0 0; padding: 10px 14px 10px 32px; background: #fff6e5;
  border-left: 4px solid #E69F00; border-radius: 6px; font-size: 15px; }
.figures { display: grid; gap: 20px; margin-top: 12px; grid-template-columns: 1fr; }
figure { margin: 0; background: #fff; border: 1px solid var(--line); border-radius: 10px;
  padding: 12px 8px 6px; min-width: 0; }
figcaption { font-weight: 600; font-size: 15px; padding: 0 8px 6px; }
.f1 figure { max-width: 640px; }
svg { display: block; width: 100%; height: auto; }
svg text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif !important; }
.scroll { overflow-x: auto; margin: 8px 0 12px; }
table { border-collapse: collapse; font-size: 14px; line-height: 1.35;
  font-variant-numeric: tabular-nums; }
th, td { padding: 5px 12px 5px 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
th { color: var(--quiet); font-weight: 600; }
.n { text-align: right; white-space: nowrap; }
td:first-child, details td { white-space: nowrap; }
.two { display: grid; gap: 32px; grid-template-columns: 1fr; }
summary { cursor: pointer; font-size: 18px; font-weight: 600; }
li { margin: 2px 0; }
@media (min-width: 820px) {
  .f2 { grid-template-columns: 1fr 1fr; }
  .two { grid-template-columns: auto 1fr; }
}
@media print { body { background: #fff; } section { break-inside: avoid; } }
"""
