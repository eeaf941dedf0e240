"""Plots are made for what there is, and are the same bytes each time."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from imer.evaluation import plots
from imer.evaluation.drawing import INTERVAL, line_look
from imer.evaluation.plots import _baseline_line, all_plots, confusion_png, curves_png
from tests.evaluation.examples import example

COMMON = {"curve.png", "patterns.png", "weights.png", "balance.png", "learning.png"}


@pytest.mark.parametrize(
    ("task", "label_range", "names"),
    [
        ("classification", None, {*COMMON, "confusion.png", "calibration.png"}),
        ("regression", None, COMMON),
        ("regression", [1.0, 5.0], COMMON),
    ],
)
def test_every_plot_is_a_readable_image(task, label_range, names):
    pictures = all_plots(example(task, label_range=label_range))
    assert set(pictures) == names
    for png in pictures.values():
        with Image.open(io.BytesIO(png)) as image:
            pixels = np.asarray(image.convert("RGB"))
        assert min(pixels.shape[:2]) > 400
        ink = (pixels < 250).any(axis=2)
        assert ink.mean() > 0.02
        # Nothing is cut off: the outermost pixels are background.
        assert not np.concatenate([ink[0], ink[-1], ink[:, 0], ink[:, -1]]).any()


def test_the_same_results_give_the_same_bytes():
    assert all_plots(example()) == all_plots(example())


def test_what_is_plotted_goes_by_the_scale_of_the_label():
    usual, sentiment, ratings = (
        all_plots(example("regression", label_range=one)) for one in (None, [-3.0, 3.0], [1.0, 5.0])
    )
    assert usual == sentiment
    assert {name for name in COMMON if ratings[name] != usual[name]} == {"curve.png", "patterns.png", "balance.png"}


def test_undefined_values_leave_gaps_and_no_curve_leaves_no_plot():
    evaluation = example("regression")
    one_rate = replace(evaluation, summary=evaluation.summary[:1], diagnostics={})
    assert all_plots(one_rate) == {}
    metrics = {
        name: replace(m, mean=None, ci_low=None, ci_high=None) for name, m in evaluation.summary[2].metrics.items()
    }
    gap = [*evaluation.summary[:2], replace(evaluation.summary[2], metrics=metrics), *evaluation.summary[3:]]
    assert set(all_plots(replace(evaluation, summary=gap))) == COMMON


def test_a_legend_names_intervals_only_where_there_are_some(monkeypatch):
    labels = []
    monkeypatch.setattr(plots, "legend_below", lambda _, axes: labels.extend(axes.get_legend_handles_labels()[1]))
    evaluation = example()
    bare = [
        replace(one, metrics={name: replace(m, ci_low=None, ci_high=None) for name, m in one.metrics.items()})
        for one in evaluation.summary
    ]
    for summary, times in ((evaluation.summary, 2), (bare, 0)):
        labels.clear()
        curves_png([("comp", replace(evaluation, summary=summary))])
        plots.patterns_png(replace(evaluation, summary=summary))
        assert labels.count(INTERVAL) == times


def test_several_methods_share_one_plot():
    one, two = example(), example(name="late", shift=-0.1)
    assert curves_png([("comp", one), ("late", two)]) != curves_png([("comp", one)])


def test_many_methods_with_long_names_can_be_told_apart_and_read():
    names = [f"comp (head=linear, coordinator_mask=hard, members={number})" for number in range(9)]
    png = curves_png([(name, example(shift=-0.02 * number)) for number, name in enumerate(names)])
    with Image.open(io.BytesIO(png)) as image:
        ink = (np.asarray(image.convert("RGB")) < 250).any(axis=2)
    assert not np.concatenate([ink[0], ink[-1], ink[:, 0], ink[:, -1]]).any()
    assert len({tuple(line_look(index).values()) for index in range(28)}) == 28


@pytest.mark.parametrize("value", [0.1, 0.9])
def test_a_baseline_far_from_the_compared_methods_does_not_squeeze_them(value):
    from matplotlib.figure import Figure

    evaluation = example()
    evaluation.baseline["metrics"]["ua"] = value
    axes = Figure().subplots()
    axes.plot([0.0, 0.5], [0.6, 0.4])
    limits = axes.get_ylim()
    _baseline_line(axes, evaluation, "ua", in_sight=False)
    assert axes.get_ylim() == limits
    assert [text.get_text() for text in axes.texts] == [f"{'↓' if value < 0.4 else '↑'} baseline {value:.3f}"]
    axes = Figure().subplots()
    axes.plot([0.0, 0.5], [0.6, 0.4])
    _baseline_line(axes, evaluation, "ua")
    assert axes.get_ylim()[0] <= value <= axes.get_ylim()[1]


def test_names_that_the_font_lacks_are_no_warning():
    evaluation = replace(example(), class_names=["怒り", "喜び", "中立", "悲しみ"])
    assert confusion_png(evaluation)


def test_a_long_name_of_a_class_runs_into_nothing():
    names = [*example().class_names[:-1], "of the last class, " * 8]
    with Image.open(io.BytesIO(confusion_png(replace(example(), class_names=names)))) as image:
        ink = np.asarray(image.convert("L")) < 250
    assert not ink[:, 0].any()
    assert not ink[-1].any()


def test_hundreds_of_classes_are_a_picture_of_the_usual_size():
    many = 400
    classes = tuple(f"class {c}" for c in range(many))
    one = replace(example().rate_curve()[0], confusion=np.eye(many).tolist())
    png = confusion_png(replace(example(), class_names=classes, summary=[one]))
    with Image.open(io.BytesIO(png)) as image:
        assert max(image.size) < 5000
