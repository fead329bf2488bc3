from __future__ import annotations

import re
import sys
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import matplotlib
import pytest
from matplotlib.image import imread

from t2engine.costs.evaluation import summarise
from t2engine.costs.profile import HardwareProfile
from t2engine.costs.sharing import sharing_pairs
from t2engine.reports.calibration_page import page, write_page, write_png
from t2engine.reports.calibration_tables import held_out_cells
from t2engine.reports.units import show_percent, show_times
from tests.reports.profiles import where_sharing_loses, without_sharing

MOST_BYTES = 2 << 20
VOID = {"meta", "br", "img", "link", "input"}


class Reader(HTMLParser):
    """Rows of the page's tables, its text, what it refers to, its ids and headings; fails where
    elements do not close in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.references: list[str] = []
        self.ids: list[str] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "iframe", "img", "object", "image")
        for name, value in attrs:
            if name.split(":")[-1] in ("href", "src", "srcset", "data", "action"):
                self.references.append(value or "")
            if name == "id":
                self.ids.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data
        if "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def html(planted: HardwareProfile) -> str:
    return page(planted)


@pytest.fixture(scope="module")
def reader(html: str) -> Reader:
    return Reader(html)


def test_page_needs_nothing_beside_itself(html: str, reader: Reader) -> None:
    assert len(html.encode()) < MOST_BYTES
    assert not re.search(r"https?:|//[a-z]|@import|<script", html)
    local = {f"#{name}" for name in reader.ids}
    assert set(reader.references) <= local
    assert {f"#{name}" for name in re.findall(r"url\(#([^)]*)\)", html)} <= local
    assert len(re.findall(r"url\(", html)) == len(re.findall(r"url\(#", html)) > 0
    assert len(set(reader.ids)) == len(reader.ids)


def test_no_number_is_missing(html: str) -> None:
    assert not re.search(r"\b(nan|inf|None|null\b(?!\.))\b", re.sub(r"<style.*?</style>", "", html))


def test_every_held_out_point_is_listed_worst_first(
    planted: HardwareProfile, reader: Reader
) -> None:
    expected = sorted(planted.held_out, key=lambda e: e.error, reverse=True)
    listed = [row for row in reader.rows if len(row) == 10 and row[1].startswith("llama-")]
    assert listed == [held_out_cells(entry) for entry in expected]
    assert len(listed) == sum(point.held_out for point in planted.measured.points)


def test_numbers_are_the_summaries(planted: HardwareProfile, reader: Reader) -> None:
    text = reader.text.replace("\u00a0", " ")
    rows = {row[0]: row for row in reversed(reader.rows)}  # the first of a name
    for row in summarise(planted.held_out):
        shares = (row.median, row.ninetieth, row.worst, row.covered, row.visits_covered)
        assert rows[row.name][1:7] == [str(row.count), *map(show_percent, shares)]
        assert f"within {show_percent(row.median)}" in text
    decode = summarise(planted.held_out)[0]
    assert f"2N FLOPs over the peak is off by {show_percent(decode.two_n)}" in text


def test_sharing_gains_are_written_in_the_figures(planted: HardwareProfile, reader: Reader) -> None:
    drawn = "".join(reader.texts).split("as fast: measured")[1].split("as fast: predicted")
    for pair in sharing_pairs(planted):
        assert show_times(pair.gain) in drawn[0]
        assert show_times(pair.predicted_gain) in drawn[1]
    count = len(sharing_pairs(planted))
    assert f"At none of the {count} shapes measured both ways." in reader.text


def test_what_the_machine_calls_itself_is_escaped(html: str) -> None:
    assert "A &lt;planted&gt; &amp; noisy processor" in html
    assert "<planted>" not in html
    assert "A <planted> & noisy processor" in unescape(html)


def test_where_sharing_loses(planted: HardwareProfile) -> None:
    read = Reader(page(where_sharing_loses(planted)))
    assert "loses at 1 of the 9 shapes" in read.text
    assert "At 1 of the 9 shapes measured both ways:" in read.text
    assert "2 samples of a prompt of 128 tokens" in read.text
    assert "0.34× loses" in read.text


def test_a_profile_of_little(planted: HardwareProfile) -> None:
    """No pairs, no training, nothing held out, energy with numbers."""
    alone = without_sharing(planted)
    kept = tuple(p for p in alone.measured.points if p.kind != "training" and not p.held_out)
    energy = {"counter": "rapl", "reason": None, "points": [{"kind": "decode", "joules": 1.5}]}
    measured = replace(alone.measured, points=kept, energy=energy)
    little = replace(alone, measured=measured, training=None, held_out=())
    read = Reader(page(little))
    assert "No shape was measured both" in read.text
    assert ["decode", "1.5"] in read.rows


def test_files_are_whole(planted: HardwareProfile, html: str, tmp_path: Path) -> None:
    """The page is the same each time; nothing else is left beside it."""
    settings = dict(matplotlib.rcParams)
    write_page(planted, tmp_path / "page.html")
    write_png(planted, tmp_path / "page.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html", "page.png"]
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == html
    height, width, _ = imread(tmp_path / "page.png").shape
    assert 1200 < width < 2400
    assert 1000 < height < 2400
    assert dict(matplotlib.rcParams) == settings


@pytest.mark.parametrize("write", [write_page, write_png])
def test_without_matplotlib(
    planted: HardwareProfile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write: type[write_page],
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ValueError, match=r"pip install 't2engine\[report\]'"):
        write(planted, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
