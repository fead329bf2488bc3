from __future__ import annotations

import re

import numpy as np
import pytest

from t2engine.costs.predictions import MachineCosts
from t2engine.costs.profile import HardwareProfile
from t2engine.reports.calibration_cost_figures import (
    DEFAULT_PROMPTS,
    measured_slopes,
    measured_steps,
    predicted_additions,
    predicted_steps,
    subject_of,
)
from t2engine.reports.calibration_figures import efficiencies, intensities, step_points
from t2engine.reports.calibration_findings import find, unseen_models
from t2engine.reports.calibration_sections import roof_shares, sections
from t2engine.reports.figure_style import drawing, ink_on, new_figure, svg_of
from tests.costs.synthetic import EFFORT
from tests.reports.profiles import without_sharing


@pytest.mark.parametrize("prompts", [1, None], ids=["shared", "a prompt each"])
def test_curves_are_the_cost_models(planted: HardwareProfile, prompts: int | None) -> None:
    """The same numbers as costs.predictions gives one by one."""
    subject, costs = subject_of(find(planted)), MachineCosts(planted)
    config, P, samples = planted.measured.models[subject.model], subject.prompts[0], [1, 5, 40]
    one_by_one = [
        costs.decode_step(config, n, P, subject.suffix_len, prompts or n) for n in samples
    ]
    curve = predicted_steps(planted, subject, P, samples, prompts == 1)
    for name, column in (("seconds", curve.value), ("low", curve.low), ("high", curve.high)):
        assert column.tolist() == pytest.approx([getattr(e, name) for e in one_by_one])


def test_one_more_sample_is_the_difference(planted: HardwareProfile) -> None:
    subject, samples = subject_of(find(planted)), np.arange(1, 64)
    added = predicted_additions(planted, subject, 1024, samples, True)
    first, last = (predicted_steps(planted, subject, 1024, [n], True).value for n in (1, 64))
    assert added.sum() == pytest.approx(float(last[0] - first[0]))


def test_measured_points_of_the_curves(planted: HardwareProfile) -> None:
    subject = subject_of(find(planted))
    assert subject.prompts == EFFORT.sharing_prompts
    for is_shared in (True, False):
        points = measured_steps(planted, subject, 1024, is_shared)
        assert [n for n, _, _ in points] == list(EFFORT.sharing_samples)
        slopes = measured_slopes(planted, subject, 1024, is_shared)
        gaps = (m - n for n, m in zip((2, 16), (16, 256), strict=True))
        total = sum(slope * gap for (_, slope), gap in zip(slopes, gaps, strict=True))
        assert total == pytest.approx(points[-1][1] - points[0][1])


def test_curves_without_a_grid(planted: HardwareProfile) -> None:
    found = find(without_sharing(planted))
    assert found.grid == ()
    assert subject_of(found).prompts == DEFAULT_PROMPTS


def test_no_step_is_above_the_planted_roof(planted: HardwareProfile) -> None:
    """Smooth maxima and overheads only lose; noise may pass the roof by a little."""
    shares = roof_shares(find(planted), "float32/float32")
    assert 0 < shares[0] < shares[1] < shares[2] < 1.05
    points = step_points(find(planted), "float32/float32", "decode")
    intensity, rate = intensities(find(planted), points)
    seconds = [point.median for point in points]
    assert (intensity > 0).all()
    assert len(rate) == len(seconds) == len(points)


def test_the_fastest_product_is_the_whole(planted: HardwareProfile) -> None:
    shares = efficiencies(find(planted), "float32")
    assert max(share for by_rows in shares.values() for share in by_rows.values()) == 1


def test_unseen_models_are_held_out_whole(planted: HardwareProfile) -> None:
    names = unseen_models(planted)
    for point in planted.measured.of_kind("decode", "prefill", "training"):
        assert point.held_out or point.shape["model"] not in names
    assert "llama-160x6-v2048" in names


def test_every_panel_has_its_own_name_and_place(planted: HardwareProfile) -> None:
    panels = [panel for section in sections(find(planted)) for panel in section.panels]
    names = [panel.name for panel in panels]
    places = [panel.place for panel in panels if panel.place is not None]
    assert len(set(names)) == len(names)
    assert len(set(places)) == len(places)


# ---- style -------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", range(0, 256, 15))
def test_text_has_contrast(level: int) -> None:
    """More than 4.1 to 1 by WCAG 2, on every grey: black here is not quite black."""

    def luminance(value: float) -> float:
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    under = luminance(level / 255)
    over = 1.0 if ink_on(f"#{level:02x}{level:02x}{level:02x}") == "white" else luminance(26 / 255)
    lighter, darker = max(under, over), min(under, over)
    assert (lighter + 0.05) / (darker + 0.05) > 4.1


def test_ids_of_figures_do_not_meet() -> None:
    svgs = []
    with drawing():
        for name in ("one", "two"):
            figure = new_figure(2, 2)
            figure.add_subplot().plot([1, 2], [3, 4], "o")
            svgs.append(svg_of(figure, name))
    ids = [set(re.findall(r'\bid="([^"]*)"', svg)) for svg in svgs]
    assert ids[0]
    assert ids[0] & ids[1] == set()
    for svg, known in zip(svgs, ids, strict=True):
        assert set(re.findall(r'href="#([^"]*)"', svg)) <= known
        assert set(re.findall(r"url\(#([^)]*)\)", svg)) <= known
