"""`imer report` on real, tiny runs."""

import json
import re
import shutil
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from imer.cli.app import app
from imer.evaluation.evaluate import evaluate
from imer.evaluation.results import Evaluation
from imer.metrics.definitions import DEFINITIONS
from imer.training.train import train
from tests.evaluation.tiny_runs import train_tiny
from tests.stores import write_small_store


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three evaluated runs on one store: two seeds of one method, and another method."""
    folder = tmp_path_factory.mktemp("report")
    store = write_small_store(folder / "features.h5")
    made = [
        train_tiny(store, folder / "seed0"),
        train_tiny(store, folder / "seed1", "emotion", "", "train.seed=1"),
        train_tiny(store, folder / "complete", "emotion", "", "train.protocol=complete"),
    ]
    for run in made:
        evaluate(run, missing_rate="0,0.5", pattern="a,tv,atv", mask_seeds=2, device="cpu", replicates=200)
    return made


@pytest.fixture(scope="module")
def contest(runs):
    """Two baselines beside them: one on the same test part, one on another (folds)."""
    store = runs[0].parent / "features.h5"
    made = []
    for name, model, folds in (("linear", "linear", ""), ("folds", "majority", "3")):
        flags = {"run": {"model": model}, "data": {"label": "emotion", "folds": folds}, "train": {"threads": 1}}
        train(store, runs[0].parent / name, flags=flags)
        evaluate(runs[0].parent / name, missing_rate="0,0.5", mask_seeds=2, device="cpu", replicates=200)
        made.append(runs[0].parent / name)
    return made


def mean_over_rates(*folders):
    values = [
        one.metrics["ua"].mean
        for folder in folders
        for one in Evaluation.read(folder / "eval" / "metrics.json").summary
        if one.missing_rate is not None
    ]
    return sum(values) / len(values)


def run_here(*arguments):
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


def test_html_holds_everything_in_one_file(runs, tmp_path):
    done = run_here(*runs, "-o", tmp_path / "report.html")
    assert done.exit_code == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    text = (tmp_path / "report.html").read_text()
    assert text.count("data:image/png;base64,") >= 3
    assert not re.search(r'(src|href)="(?!data:)', text)
    evaluation = Evaluation.read(runs[0] / "eval" / "metrics.json")
    for said in (
        str(runs[2]),
        str(evaluation.run["sha256"])[:16],
        str(evaluation.features["content_sha256"])[:16],
        "best ua on val",
        "comp (protocol=mixed), 2 runs",
        "mean probability of the answer",
        "Calibration error (ECE):",
        "recall, 0.5 / 0.500",
        f"{evaluation.counts['labelled']} labelled utterances of {evaluation.counts['dialogues']} dialogues",
        "no_stream",
        DEFINITIONS["ua"],
    ):
        assert said in text, said


def test_markdown_gives_mean_and_sd_over_seeds_and_paired_differences(runs, tmp_path):
    done = run_here(*runs, "-o", tmp_path / "report.md")
    assert done.exit_code == 0, done.stderr
    text = (tmp_path / "report.md").read_text()
    first, second = (Evaluation.read(run / "eval" / "metrics.json").summary[0].metrics["ua"].mean for run in runs[:2])
    mean, sd = (first + second) / 2, abs(first - second) / 2**0.5
    assert f"{mean:.3f} ± {sd:.3f}" in text
    assert "0.5 / 0.500" in text
    assert "Paired differences" in text
    assert re.search(r"\| comp \(protocol=complete\) \| [+-]\d\.\d{3} \[[+-]\d\.\d{3}, [+-]\d\.\d{3}\]", text)
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert len(pictures) >= 3
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in pictures)


def test_two_formats_share_their_pictures_and_other_runs_do_not_replace_them(runs, tmp_path):
    assert run_here(runs[0], "-o", tmp_path / "report.md").exit_code == 0
    pictures = {path: path.read_bytes() for path in tmp_path.glob("*.png")}
    assert pictures
    assert run_here(runs[0], "-o", tmp_path / "report.tex").exit_code == 0
    (tmp_path / "report.md").unlink()
    done = run_here(*runs, "-o", tmp_path / "report.md")
    assert done.exit_code == 6
    assert "exists already" in done.stderr
    assert {path: path.read_bytes() for path in tmp_path.glob("*.png")} == pictures


def test_a_report_needs_no_torch(runs, tmp_path):
    """Loading it would take longer than all the rest."""
    out = tmp_path / "report.html"
    words = ["report", *map(str, runs), "-o", str(out)]
    code = (
        "import sys\nfrom imer.cli.app import app\n"
        f"try:\n    app({words!r})\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "print('torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip().splitlines()[-1] == "False"
    assert out.is_file()


def test_latex_tables(runs, tmp_path):
    assert run_here(runs[0], "-o", tmp_path / "report.tex").exit_code == 0
    text = (tmp_path / "report.tex").read_text()
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") >= 4
    assert "Paired differences" not in text
    for line in text.splitlines():
        if " & " in line:
            assert line.endswith(r" \\")
            assert not re.search(r"(?<!\\)[%_#]", line)


def test_the_reference_can_be_chosen(runs, tmp_path):
    done = run_here(*runs, "-o", tmp_path / "report.md", "--reference", "comp (protocol=complete)")
    assert done.exit_code == 0, done.stderr
    assert "Each method minus comp (protocol=complete)" in (tmp_path / "report.md").read_text()
    wrong = run_here(*runs, "-o", tmp_path / "other.md", "--reference", "magic")
    assert wrong.exit_code == 2
    assert "comp (protocol=mixed)" in wrong.stderr


def test_wrong_wishes_end_in_a_sentence(imer, runs, tmp_path):
    assert run_here(runs[0], "-o", tmp_path / "report.pdf").exit_code == 2
    (tmp_path / "report.md").write_text("mine")
    kept = run_here(runs[0], "-o", tmp_path / "report.md")
    assert (kept.exit_code, (tmp_path / "report.md").read_text()) == (6, "mine")
    missing = imer("report", tmp_path / "nothing", "-o", tmp_path / "new.md")
    assert missing.code == 4
    assert "nothing is not a folder" in missing.err


def test_a_run_that_was_not_evaluated(runs, tmp_path):
    run = train_tiny(runs[0].parent / "features.h5", tmp_path / "fresh")
    done = run_here(run, "-o", tmp_path / "report.md")
    assert done.exit_code == 4
    assert "run `imer eval" in done.stderr
    assert not (tmp_path / "report.md").exists()


@pytest.mark.parametrize("ending", ["md", "tex"])
def test_the_table_compares_every_method_with_the_best_baseline(runs, contest, tmp_path, ending):
    out = tmp_path / f"table.{ending}"
    done = run_here(*runs, contest[0], "-o", out, "--table")
    assert done.exit_code == 0, done.stderr
    text = out.read_text()
    assert "Trained with the protocol mixed" in text
    assert "Trained with the protocol complete" in text
    row = next(line for line in text.splitlines() if re.match(r"(\| )?comp [|&] 2 ", line))
    value = float(re.findall(r"([+-]\d\.\d{3}) \[", row.replace("$-$", "-"))[0])
    assert value == pytest.approx(mean_over_rates(*runs[:2]) - mean_over_rates(contest[0]), abs=6e-4)
    line = next(line for line in text.splitlines() if re.match(r"(\| )?linear [|&] 1 ", line))
    assert "reference" in line
    assert re.search(r"At or above every baseline in mean UA: comp at [0-2] of 2 missing rates", text)
    for where in ("at each missing rate", "by observed modalities"):
        assert re.search(rf"UA: each method minus linear, with its 95 .{{1,3}} interval, {where}", text)
    assert sum("best ua on val" in line for line in text.splitlines()) == 3


def test_the_table_knows_its_references(runs, contest, tmp_path):
    assert run_here(*runs, contest[0], "-o", tmp_path / "a.md", "--table", "--reference", "comp").exit_code == 0
    wrong = run_here(*runs, "-o", tmp_path / "b.md", "--table", "--reference", "nobody")
    assert wrong.exit_code == 2
    assert "comp" in wrong.stderr


def test_runs_of_other_test_parts_have_sections_of_their_own(runs, contest, tmp_path):
    done = run_here(runs[0], *contest, "-o", tmp_path / "report.md")
    assert done.exit_code == 0, done.stderr
    headings = [line for line in (tmp_path / "report.md").read_text().splitlines() if line.startswith("## emotion on")]
    assert len(headings) == 2
    wrong = run_here(runs[0], *contest, "-o", tmp_path / "other.md", "--reference", "magic")
    assert wrong.exit_code == 2
    assert "--reference 'magic' is no method" in wrong.stderr


def test_what_an_evaluation_warns_of_is_in_the_report(runs, tmp_path):
    path = tmp_path / "copy"
    shutil.copytree(runs[0], path)
    (path / "eval" / "manifest.json").unlink()
    metrics = json.loads((path / "eval" / "metrics.json").read_text())
    (path / "eval" / "metrics.json").write_text(json.dumps({**metrics, "warnings": ["Look out for this."]}))
    assert run_here(path, "-o", tmp_path / "report.md").exit_code == 0
    assert "comp: Look out for this." in (tmp_path / "report.md").read_text()


def test_a_run_that_was_never_tested_is_told_how(runs, tmp_path):
    path = tmp_path / "copy"
    shutil.copytree(runs[0], path)
    shutil.rmtree(path / "eval")
    assert "run `imer eval" in run_here(path, "-o", tmp_path / "r.md").stderr
    metrics = json.loads((path / "metrics.json").read_text())
    (path / "metrics.json").write_text(json.dumps({**metrics, "test": []}))
    assert "OTHER.h5`, since its training had no test part" in run_here(path, "-o", tmp_path / "r.md").stderr
