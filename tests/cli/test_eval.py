"""`imer eval` as its users call it."""

import csv
import io
import json
import shutil

import pytest
from typer.testing import CliRunner

from imer.cli.app import app
from imer.metrics.compute import METRICS
from imer.metrics.definitions import DEFINITIONS
from tests.conftest import checked
from tests.evaluation.tiny_runs import tiny_setting
from tests.stores import write_small_store


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    return tiny_setting(tmp_path_factory)


def run_here(*arguments):
    """Run the command in this process: as the shell would, without starting Python again."""
    return CliRunner().invoke(app, ["eval", *map(str, arguments)])


def test_a_sweep_as_json(imer, setting, tmp_path):
    out = tmp_path / "out"
    done = imer(
        "eval", setting["classes"], "--missing-rate", "0:0.7:0.1", "--pattern", "all", "-o", out, "--json", "-q"
    )
    assert done.code == 0, done.err
    document = done.json
    assert document["schema"] == "imer.eval/1"
    assert document["status"] == "ok"
    assert {"counts", "outputs", "warnings", "elapsed_s", "imer_version"} <= set(document)
    assert len(document["results"]) == 1 + 7 * 5 + 7
    for entry in document["results"]:
        assert set(entry) == {
            "split", "protocol", "missing_rate", "realised_rate", "pattern", "mask_seed", "n", "metrics",
        }  # fmt: skip
        assert set(entry["metrics"]) == set(METRICS["classification"])
        assert (entry["split"], entry["n"]) == ("test", document["counts"]["labelled"])
    highest = next(one for one in document["summary"] if one["missing_rate"] == 0.7)
    assert highest["realised_rate"] == pytest.approx(0.667, abs=0.01)
    for one in document["summary"]:
        for metric in one["metrics"].values():
            assert set(metric) == {"mean", "sd", "ci_low", "ci_high"}
            assert metric["ci_low"] <= metric["ci_high"]
        assert one["n_masks"] == (5 if one["missing_rate"] else 1)
    assert set(document["aulc_mr"]) == set(METRICS["classification"])
    written = {entry["path"].rsplit("/", 1)[-1] for entry in document["outputs"]}
    assert {"metrics.json", "results.tsv", "predictions.jsonl", "curve.png", "patterns.png"} <= written
    assert json.loads((out / "metrics.json").read_text())["results"] == document["results"]


def test_a_pipe_gets_a_table_and_the_baseline(setting, tmp_path):
    done = run_here(setting["values"], "--missing-rate", "0.5", "--mask-seeds", "2", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout), delimiter="\t"))
    assert [row["protocol"] for row in rows] == ["nested", "baseline (mean)"]
    assert (rows[0]["missing_rate"], rows[0]["realised"], rows[0]["masks"]) == ("0.5", "0.500", "2")
    assert set(METRICS["regression"]) <= set(rows[0])
    assert rows[0]["mae 95 %"].startswith("[")
    assert "AULC" not in done.stderr
    assert str(tmp_path / "out") in done.stderr


def test_numbers_say_their_range(setting, tmp_path):
    for name in ("classes", "values"):
        done = run_here(setting[name], "-o", tmp_path / name, "--json", "-q")
        document = checked(json.loads(done.stdout))
        found = document.get("label_range")
        assert found is None if name == "classes" else found[0] < 0 < found[1]
        assert found == json.loads((tmp_path / name / "metrics.json").read_text()).get("label_range")


def test_a_rate_becomes_a_mask_by_the_protocol_that_is_named(setting, tmp_path):
    wishes = ["--missing-rate", "0.5", "--protocol", "bernoulli", "--mask-seeds", "2", "--json"]
    done = run_here(setting["classes"], *wishes, "-o", tmp_path / "out")
    results = checked(json.loads(done.stdout))["results"]
    assert [one["protocol"] for one in results] == ["bernoulli"] * 2
    assert 0.5 not in [one["realised_rate"] for one in results]  # only this protocol misses its rate by chance


def test_explain_needs_no_run_and_says_every_definition(imer):
    done = imer("eval", "--explain")
    assert done.code == 0
    for name in DEFINITIONS:
        assert f"  {name} " in done.out
    assert imer("eval", "--explain", "--json").json["definitions"] == DEFINITIONS


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--missing-rate", "0.8"], 2, "highest reachable rate"),
        (["--missing-rate", "0.5:0.1:0.1"], 2, "--missing-rate '0.5:0.1:0.1'"),
        (["--pattern", "aq"], 2, "'q' in the pattern 'aq' names no modality"),
        (["--mask", "nowhere.h5"], 4, "nowhere.h5"),
        (["--split", "final"], 2, "train, val, test"),
        (["--device", "abacus"], 2, "abacus"),
    ],
)
def test_wrong_wishes_end_in_a_sentence(setting, tmp_path, arguments, code, message):
    done = run_here(setting["classes"], "-o", tmp_path / "out", *arguments)
    assert done.exit_code == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error:") == 1
    assert not (tmp_path / "out").exists()


def test_no_run_named(setting):
    done = run_here()
    assert (done.exit_code, done.stdout) == (2, "")
    assert "imer eval RUN_DIR" in done.stderr


def test_a_missing_run_has_its_code_and_a_json_error(imer, tmp_path):
    done = imer("eval", tmp_path / "none", "--json")
    assert done.code == 4
    assert done.json["status"] == "error"
    assert str(tmp_path / "none") in done.json["error"]["message"]


def test_a_damaged_run(setting, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(setting["classes"], run)
    (run / "checkpoint" / "checkpoint.json").write_text("{}")
    done = run_here(run)
    assert done.exit_code == 4
    assert "checkpoint.json" in done.stderr
    assert not (run / "eval").exists()


def test_a_store_without_a_modality(setting, tmp_path):
    store = write_small_store(tmp_path / "two.h5", modalities=("audio", "text"))
    done = run_here(setting["classes"], store, "-o", tmp_path / "out")
    assert done.exit_code == 4
    assert "visual is missing" in done.stderr


def test_a_file_that_is_no_store(setting, tmp_path):
    (tmp_path / "notes.h5").write_text("not HDF5")
    done = run_here(setting["classes"], tmp_path / "notes.h5", "-o", tmp_path / "out")
    assert done.exit_code == 4
    assert "notes.h5" in done.stderr


def test_an_evaluation_is_not_overwritten_unasked(setting, tmp_path):
    first = run_here(setting["classes"], "-o", tmp_path / "out")
    again = run_here(setting["classes"], "-o", tmp_path / "out")
    assert (first.exit_code, again.exit_code) == (0, 6)
    assert "--overwrite" in again.stderr
    assert run_here(setting["classes"], "-o", tmp_path / "out", "--overwrite").exit_code == 0


def test_an_output_that_exists_is_refused_before_anything_is_loaded(setting, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("not an evaluation")
    done = run_here(setting["classes"], tmp_path / "no-such-store.h5", "-o", tmp_path / "out")
    assert done.exit_code == 6
    assert "does not hold the results" in done.stderr
