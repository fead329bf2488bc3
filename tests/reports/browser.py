"""A page in a real browser: what it holds, and what it says after its sliders have moved.

A copy of the page gets two scripts: one that notes every error, and one that takes steps and
writes down `window.t2state` after each.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

from tests.backends import require

BROWSER = "chromium"
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0")
VIRTUAL_MILLISECONDS = 60_000

LISTENER = """<script>
const problems = [];
window.addEventListener("error", (event) => problems.push(event.message));
window.addEventListener("unhandledrejection", (event) => problems.push(String(event.reason)));
console.error = console.warn = (...words) => problems.push(words.join(" "));
</script>"""

DRIVER = """<script>(async () => {
const found = [];
for (const { hash, slide, type, press, to, settle } of STEPS) {
  if (hash !== undefined) {
    const moved = new Promise((done) => addEventListener("hashchange", done, { once: true }));
    location.hash = hash;
    await moved;
  }
  const input = document.getElementById(slide || type && `${type}-value` || press);
  if (slide) { input.value = to; input.dispatchEvent(new Event("input", { bubbles: true })); }
  if (type) input.value = to;
  if (slide || type) input.dispatchEvent(new Event("change", { bubbles: true }));
  if (press) input.click();
  while (settle && !window.t2state.settled) await new Promise((done) => setTimeout(done, 5));
  const refused = document.getElementById("refused").textContent;
  found.push({ ...window.t2state, hash: location.hash, refused });
}
const probe = document.createElement("script");
probe.type = "application/json";
probe.id = "probe";
probe.textContent = JSON.stringify({ found, problems }).replaceAll("<", "\\\\u003c");
document.body.append(probe);
})()</script>"""


@dataclass(frozen=True)
class Visit:
    """`states` after each step; the document as it was at the end."""

    states: list[dict[str, Any]]
    problems: list[str]
    html: str

    @property
    def rows(self) -> list[list[str]]:
        """Cells of the tables, as text."""
        rows = re.findall(r"<tr>(.*?)</tr>", self.html, re.S)
        return [[_text(x) for x in re.findall(r"<t[dh].*?>(.*?)</t[dh]>", row)] for row in rows]

    def text(self, name: str) -> str:
        """Of the paragraph or box of this id that has no box inside it."""
        found = re.search(rf'<(\w+)[^>]* id="{name}".*?>(.*?)</\1>', self.html, re.S)
        assert found is not None, name
        return _text(found[2])


def visit(page: str, folder: Path, steps: list[dict[str, Any]]) -> Visit:
    reason = None if shutil.which(BROWSER) else f"there is no {BROWSER} on the PATH"
    require(BROWSER, reason)
    driver = DRIVER.replace("STEPS", json.dumps(steps))
    copy = page.replace("<head>", f"<head>{LISTENER}").replace("</body>", f"{driver}</body>")
    path = folder / "page.html"
    path.write_text(copy, encoding="utf-8")
    flags = [*FLAGS, f"--virtual-time-budget={VIRTUAL_MILLISECONDS}", "--window-size=1300,900"]
    done = subprocess.run(
        [BROWSER, *flags, f"--user-data-dir={folder / 'browser'}", "--dump-dom", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    probe = re.search(r'<script type="application/json" id="probe">(.*?)</script>', done.stdout)
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert probe is not None, f"the steps did not end: {said}"
    seen = json.loads(probe[1])
    return Visit(seen["found"], [*seen["problems"], *said], done.stdout)


def _text(html: str) -> str:
    return " ".join(unescape(re.sub(r"<.*?>", "", html)).split())
