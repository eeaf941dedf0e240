"""`imer sweep`: the same runs as one by one, whatever is killed on the way, and one table of them."""

from __future__ import annotations

import json
import multiprocessing
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from imer.cli.app import app
from imer.cli.output import Report
from imer.evaluation.evaluate import evaluate
from imer.evaluation.results import Evaluation
from tests.conftest import ROOT, Finished
from tests.stores import write_small_store

SETTINGS = [
    "--label", "emotion", "--max-epochs", "2", "--device", "cpu",
    *(word for text in ("model.hidden=16", "model.heads=2", "model.prompt_width=4") for word in ("--set", text)),
]  # fmt: skip
ASKED = ["--models", "comp,majority", "--protocols", "mixed,matched", "--missing-rates", "0,0.5", "--mask-seeds", "2"]
RUNS = [f"{model}_{rest}" for rest in ("mixed", "matched_rate0", "matched_rate0.5") for model in ("comp", "majority")]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_store(tmp_path_factory.mktemp("sweep") / "small.h5")


@pytest.fixture(scope="module")
def swept(imer: Callable[..., Finished], store: Path) -> tuple[Path, Finished]:
    """A sweep of two seeds, in which the folder of one run was blocked at first."""
    out = store.parent / "swept"
    blocked = begun(out) / "majority_mixed_seed1"
    blocked.write_text("in the way")
    done = imer("sweep", store, "-o", out, *ASKED, *SETTINGS, "--seeds", "2", "--jobs", "2", "--json")
    blocked.unlink()
    return out, done


def begun(out: Path) -> Path:
    """Make the folder of a sweep that has just begun; return that of its runs."""
    (out / "runs").mkdir(parents=True)
    (out / "sweep.json").write_text('{"format": "imer-sweep/1"}')
    return out / "runs"


def here(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def same(one: Path, other: Path) -> None:
    """Both hold the same files with the same bytes, but for the path of the run in what was evaluated."""
    files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(other) for path in other.rglob("*") if path.is_file())
    assert Path("checkpoint/model.safetensors") in files
    for file in files:
        if file == Path("eval/metrics.json"):
            mine, theirs = (Evaluation.read(folder / file) for folder in (one, other))
            assert (mine.results, mine.summary, mine.aulc_mr) == (theirs.results, theirs.summary, theirs.aulc_mr)
        elif file != Path("eval/manifest.json"):  # names the digest of the former
            assert (one / file).read_bytes() == (other / file).read_bytes(), file


def test_a_run_that_fails_costs_itself_and_is_tried_again(swept: tuple[Path, Finished], store: Path) -> None:
    out, first = swept
    assert first.code == 3, first.err
    assert first.json["status"] == "partial"
    assert first.json["counts"] == {"runs": 12, "finished_before": 0, "failed": 1}
    (failure,) = first.json["failed"]
    assert (failure["run"], failure["kind"]) == ("majority_mixed_seed1", "OutputExists")
    table = (out / "table.md").read_text()
    assert "| comp | 2 |" in table
    assert "| majority | 1 |" in table
    listed = here("sweep", store, "-o", out, *ASKED, *SETTINGS, "--seeds", "2", "--dry-run")
    assert [line for line in listed.stdout.splitlines()[1:] if "finished" not in line] == ["majority_mixed_seed1\tnew"]
    second = here("sweep", store, "-o", out, *ASKED, *SETTINGS, "--seeds", "2", "--json")
    assert second.exit_code == 0, second.stderr
    assert not (out / "errors.jsonl").exists()
    document = json.loads(second.stdout)
    assert document["schema"] == "imer.sweep/1"
    assert sorted(run["name"] for run in document["runs"]) == sorted(f"{r}_seed{s}" for r in RUNS for s in (0, 1))
    assert {path.name for path in (out / "runs").iterdir()} == {run["name"] for run in document["runs"]}
    assert "| majority | 2 |" in (out / "table.md").read_text()
    ua = [
        Evaluation.read(out / f"runs/comp_mixed_seed{s}/eval/metrics.json").summary[1].metrics["ua"].mean
        for s in (0, 1)
    ]
    entry = next(
        one
        for one in document["results"]
        if one["trained"] == "mixed" and "comp" in one["method"] and one["missing_rate"]
    )
    assert entry["metrics"]["ua"]["mean"] == pytest.approx(sum(ua) / 2)


@pytest.mark.parametrize(
    ("name", "training", "rates"),
    [
        ("comp_mixed_seed0", ["--seed", 0], "0,0.5"),
        ("comp_matched_rate0.5_seed1", ["--missing-rate", "0.5", "--seed", 1], "0.5"),
    ],
)  # fmt: skip
def test_a_run_of_a_sweep_is_the_run_of_train_and_eval(
    swept: tuple[Path, Finished], store: Path, tmp_path: Path, name: str, training: list, rates: str
) -> None:
    alone = tmp_path / name
    done = here("train", store, "-o", alone, *SETTINGS, *training, "--set", "train.threads=1")
    assert done.exit_code == 0, done.stderr
    evaluate(alone, store, missing_rate=rates, mask_seeds=2, device="cpu", plots=False)
    same(swept[0] / "runs" / name, alone)


def test_a_sweep_of_ratings_leads_with_mae(tmp_path: Path) -> None:
    store = write_small_store(tmp_path / "ratings.h5", sentiment_around=3.0)
    done = here(
        "sweep", store, "-o", tmp_path / "s", "--models", "linear,majority", "--label", "sentiment", "--seeds", "1",
        "--missing-rates", "0,0.5", "--mask-seeds", "1", "--jobs", "1",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[0].split("\t")[8:11] == ["mae", "mae sd", "ccc"]
    assert (tmp_path / "s" / "results.tsv").read_text().split("\t")[8] == "mae"
    captions = [line for line in (tmp_path / "s" / "table.md").read_text().splitlines() if line.startswith("*")]
    assert captions[0].startswith("*MAE by missing rate")
    assert "minus the mean of linear" in captions[0]


def test_other_settings_are_refused_and_validation_chooses_among_those_of_a_grid(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "s"
    asked = [
        "sweep", store, "-o", out, "--models", "mlp", "--grid", "hidden=8,16", "--seeds", "1", "--max-epochs", "1",
        "--missing-rates", "0", "--label", "emotion", "--jobs", "1", "--json",
    ]  # fmt: skip
    run = begun(out) / "mlp_mixed_hidden=8_seed0"
    assert here("train", store, "-o", run, "--model", "majority", "--label", "emotion").exit_code == 0
    other = here(*asked)
    assert other.exit_code == 6
    assert "was made with run.model = 'majority', now 'mlp'" in other.stderr
    with monkeypatch.context() as patched:
        patched.setattr(Report, "progress", interrupt)
        assert here(*asked, "--overwrite").exit_code == 130
    assert not multiprocessing.active_children()
    done = here(*asked, "--overwrite")
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    values = {one["settings"][0]: one["value"] for one in document["variants"]}
    assert sorted(values) == ["hidden=16", "hidden=8"]
    best = max(values, key=lambda name: values[name])
    assert [one["settings"][0] for one in document["variants"] if one["chosen"]] == [best]
    assert len(document["results"]) == 1
    assert (out / "grid.tsv").read_text().count("\n") == 3


def test_no_table_of_another_sweep_is_left_beside_this_one(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether this one has no grid, is interrupted, is of a store that was made anew, or fails in every run."""
    out = tmp_path / "s"
    store = Path(shutil.copy(store, tmp_path / "features.h5"))
    usual = ("--seeds", "1", "--max-epochs", "1", "--missing-rates", "0", "--label", "emotion", "--jobs", "1")

    def swept_with(*more: object) -> tuple[int, set[str]]:
        done = here("sweep", store, "-o", out, *usual, *more)
        return done.exit_code, {path.name for path in out.iterdir()} - {"runs", "sweep.json"}

    tables = {"table.md", "table.tex", "results.tsv"}
    with_grid = ("--models", "mlp", "--grid", "hidden=8,16")
    assert swept_with(*with_grid) == (0, {*tables, "grid.tsv"})
    with monkeypatch.context() as patched:
        patched.setattr(Report, "progress", interrupt)
        assert swept_with("--models", "linear") == (130, set())
    assert swept_with("--models", "majority") == (0, tables)
    assert "| mlp |" not in (out / "table.md").read_text()
    (out / "runs" / "late-fusion_mixed_seed0").write_text("in the way")
    assert swept_with("--models", "late-fusion") == (3, {"errors.jsonl"})
    assert swept_with(*with_grid) == (0, {*tables, "grid.tsv"})
    write_small_store(store, seed=5)
    with monkeypatch.context() as patched:
        patched.setattr(Report, "progress", interrupt)
        assert swept_with(*with_grid, "--overwrite") == (130, set())


def test_an_evaluation_that_is_not_the_sweeps_own_is_made_again(store: Path, tmp_path: Path) -> None:
    out, other = tmp_path / "out", write_small_store(tmp_path / "other.h5", seed=5)
    command = (
        "sweep",
        store,
        "-o",
        out,
        "--models",
        "majority",
        "--missing-rates",
        "0,0.5",
        "--seeds",
        "2",
        "--label",
        "emotion",
        "--jobs",
        "1",
    )
    assert here(*command, "--mask-seeds", "1").exit_code == 0
    (first, second) = (out / "runs" / f"majority_mixed_seed{seed}" for seed in (0, 1))
    assert here(*command, "--mask-seeds", "2").exit_code == 0  # more masks than before
    for run in (first, second):
        assert [one.n_masks for one in Evaluation.read(run / "eval" / "metrics.json").summary] == [1, 2]
    own = Evaluation.read(first / "eval" / "metrics.json")
    evaluate(first, other, missing_rate="0,0.5", mask_seeds=2)
    assert here(*command, "--mask-seeds", "2").exit_code == 0
    again = Evaluation.read(first / "eval" / "metrics.json")
    assert again.features["content_sha256"] == own.features["content_sha256"]
    assert again.summary == own.summary


def test_a_rate_below_natural_absence_is_judged_once(store: Path, tmp_path: Path) -> None:
    asked = [
        "sweep", store, "-o", tmp_path / "s", "--models", "majority", "--protocols", "matched", "--missing-rates", "0.001,0.3",
        "--mask-seeds", "3", "--seeds", "1", "--label", "emotion", "--jobs", "1",
    ]  # fmt: skip
    assert here(*asked).exit_code == 0
    planned = json.loads(here(*asked, "--dry-run", "--json").stdout)
    assert [run["was"] for run in planned["runs"]] == ["finished", "finished"]


def test_the_default_rates_are_those_that_the_test_part_can_reach(tmp_path: Path) -> None:
    """However much is missing in training."""
    rows = [(f"u{i}", f"d{i // 2}", "ab"[i % 2], ("train", "val", "test")[i // 20]) for i in range(60)]
    (tmp_path / "m.csv").write_text("utterance_id,dialogue_id,emotion,split\n" + "\n".join(map(",".join, rows)))
    values = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    gone = np.where(np.arange(60)[:, None] < 14, np.nan, values)
    np.save(tmp_path / "a.npy", gone)
    np.save(tmp_path / "t.npy", gone)
    pairs = ["--features", f"audio={tmp_path / 'a.npy'}", "--features", f"text={tmp_path / 't.npy'}"]
    made = here("data", "import", "arrays", "--manifest", tmp_path / "m.csv", *pairs, "-o", tmp_path / "f.h5")
    assert made.exit_code == 0
    asked = ("sweep", tmp_path / "f.h5", "-o", tmp_path / "s", "--models", "majority", "--seeds", "1", "--dry-run")
    done = here(*asked, "--protocols", "matched", "--json")
    assert done.exit_code == 0, done.stderr
    rates = [run["name"].rpartition("rate")[2].removesuffix("_seed0") for run in json.loads(done.stdout)["runs"]]
    assert rates == ["0", "0.1", "0.2", "0.3", "0.4", "0.5"]
    done = here(*asked, "--protocols", "matched", "--missing-rates", "0.4:0.8:0.1", "--json")
    rates = [run["name"].rpartition("rate")[2].removesuffix("_seed0") for run in json.loads(done.stdout)["runs"]]
    assert rates == ["0.4", "0.5"]


def interrupt(*_: object) -> None:
    """Do as Ctrl-C does."""
    raise KeyboardInterrupt


def test_a_report_says_where_the_table_of_a_sweep_is(swept: tuple[Path, Finished], tmp_path: Path) -> None:
    out, _ = swept
    done = here("report", out, "-o", tmp_path / "r.md")
    assert done.exit_code == 4
    assert f"is a sweep, whose table is {out / 'table.md'} and table.tex" in done.stderr
    assert (out / "table.tex").read_text().count("\\begin{") > 0


def test_a_folder_that_is_no_sweep_is_left_alone(store: Path, tmp_path: Path) -> None:
    (tmp_path / "chapter.txt").write_text("years of work")
    for out in (tmp_path, tmp_path / "chapter.txt"):
        assert here("sweep", store, "-o", out, "--overwrite").exit_code == 6
    assert (tmp_path / "chapter.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--models", "comb"], 2, "did you mean 'comp'"),
        (["--label", "emotoin"], 2, "did you mean 'emotion'"),
        (["--missing-rates", "0,0.9"], 2, "highest reachable rate"),
        (["--pattern", "x"], 2, "no modality"),
        (["--folds", "sesssion"], 2, "did you mean 'session'"),
        (["--seeds", "some"], 2, "--seeds takes"),
        (["--jobs", "0"], 2, "--jobs takes"),
        (["--mask-seeds", "0"], 2, "1 … 1000"),
        (["--max-epochs", "0"], 2, "at least 1"),
        (["--device", "cuda:99"], 5, "CUDA"),
        (["--modalities", "audio", "--models", "linear,comp"], 2, "The model comp combines modalities"),
    ],
)
def test_what_no_run_could_do_is_refused_at_once(
    store: Path, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    done = here("sweep", store, "-o", tmp_path / "s", *arguments)
    assert done.exit_code == code, done.stderr
    assert words in done.stderr
    assert not (tmp_path / "s").exists()


def test_what_no_run_has_a_use_for_is_named(store: Path, tmp_path: Path) -> None:
    """A setting that one of the models uses is not."""
    words = ["sweep", store, "-o", tmp_path / "s", "--dry-run", "--max-epochs", "3", "--set", "train.learning_rate=0.1"]
    fitted = here(*words, "--models", "majority,linear")
    assert "the models linear, majority are fitted" in fitted.stderr
    assert (
        "they have no use for train.learning_rate, train.max_epochs_branches, train.max_epochs_joint." in fitted.stderr
    )
    assert "no use for" not in here(*words, "--models", "majority,mlp").stderr


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the workers in /proc")
def test_killed_it_continues_and_leaves_no_orphan(swept: tuple[Path, Finished], store: Path, tmp_path: Path) -> None:
    out = tmp_path / "s"
    process = started(store, out)
    ends = [os.pidfd_open(pid) for pid in workers(process)]
    assert ends
    process.kill()
    assert ended(process) == -signal.SIGKILL
    for one in ends:
        assert select.select([one], [], [], 60)[0], "a worker outlived its parent"
        os.close(one)
    process = started(store, out)
    os.kill(workers(process)[0], signal.SIGKILL)
    assert ended(process) == 0
    for name in RUNS:
        same(out / "runs" / f"{name}_seed0", swept[0] / "runs" / f"{name}_seed0")


def started(store: Path, out: Path) -> subprocess.Popen[str]:
    """Start a sweep of the first seed, and wait until its first run is finished."""
    command = [
        sys.executable,
        "-m",
        "imer",
        "sweep",
        store,
        "-o",
        out,
        *ASKED,
        *SETTINGS,
        "--seeds",
        "1",
        "--jobs",
        "1",
    ]
    process = subprocess.Popen(
        [str(word) for word in command], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if "sweep: runs " in line:
            return process
    raise AssertionError("it ended before a run was finished")


def ended(process: subprocess.Popen[str]) -> int:
    """Read what it has to say; return its exit code."""
    assert process.stderr is not None
    with process.stderr:
        process.stderr.read()
    return process.wait(60)


def workers(process: subprocess.Popen[str]) -> list[int]:
    """Return the worker processes of a sweep."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
