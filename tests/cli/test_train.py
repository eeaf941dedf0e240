"""`imer train` as a user meets it: what it prints, how it ends, and what it says when it cannot."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from imer.cli.app import app
from imer.core.folders import published_folder
from imer.core.registry import MODELS, resolve
from imer.store.writer import vector_block, write_store
from imer.training.run_folder import publish_digests
from tests.stores import write_small_store

TINY = [
    "--max-epochs", "2", "--batch-size", "64", "--device", "cpu",
    *(part for text in ("model.hidden=16", "heads=2", "prompt_width=4", "n_prototypes=4", "threads=1")
      for part in ("--set", text if "." in text else f"{'train' if text.startswith('threads') else 'model'}.{text}")),
]  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_store(tmp_path_factory.mktemp("cli") / "small.h5", n_dialogues=15)


def _train(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


def test_a_run_from_the_shell(imer: Callable, store: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = imer("train", store, "-o", out, "--label", "emotion", "--seed", "3", *TINY, "--json")
    assert done.code == 0, done.err
    document = done.json
    assert document["schema"] == "imer.train/1"
    assert document["selected"]["on"] == "val"
    assert document["selected"]["metric"] == "ua"
    assert document["selected"]["epoch"] in (1, 2)
    assert document["counts"]["test"] == 15
    assert document["outputs"][0]["path"] == str(out)
    assert "stage joint 2/2" in done.err
    assert "utterances have no emotion: they are context, not examples." in done.err
    assert "seed = 3" in (out / "config.toml").read_text()
    again = imer("train", store, "-o", out, "--label", "emotion", "--seed", "3", *TINY)
    assert again.code == 6
    assert "--resume" in again.err
    resumed = imer("train", store, "-o", out, "--label", "emotion", "--seed", "3", *TINY, "--resume")
    assert resumed.code == 0
    assert "finished already" in resumed.err
    assert resumed.out.startswith("hidden\trealised rate\tn\twa\tua")


def test_of_ratings_mae_and_ccc_are_named_first(tmp_path: Path) -> None:
    for around, first in ((3.0, ["mae", "ccc", "corr", "acc2_non0"]), (0.0, ["acc2_non0", "f1_non0"])):
        store = write_small_store(tmp_path / f"{around}.h5", n_dialogues=15, sentiment_around=around)
        done = _train(store, "-o", tmp_path / f"{around}", "--label", "sentiment", "--model", "linear")
        assert done.exit_code == 0, done.stderr
        assert done.stdout.splitlines()[0].split("\t")[3 : 3 + len(first)] == first
        assert f"on validation: {first[0]} " in done.stderr
        low, high = json.loads((tmp_path / f"{around}" / "metrics.json").read_text())["label_range"]
        assert around - 3.5 < low < around < high < around + 3.5


ONE_IS_ENOUGH = [name for name in MODELS if not hasattr(resolve("models", name), "least_modalities")]


@pytest.mark.parametrize("model", ONE_IS_ENOUGH)
def test_a_model_that_needs_no_second_modality_learns_from_one(store: Path, tmp_path: Path, model: str) -> None:
    alone = ["--set", "model.modality=text"] if model == "unimodal" else []
    shown = ["--modalities", "text", "--model", model, "--max-epochs", "1", "--device", "cpu"]
    done = _train(store, "-o", tmp_path / "run", *shown, *alone)
    assert done.exit_code == 0, done.stderr
    document = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert document["test"][0]["metrics"]["wa"] >= 0


def test_epochs_that_a_model_does_not_have_are_told(store: Path, tmp_path: Path) -> None:
    more = ["--model", "linear", "--label", "emotion", "--device", "cpu"]
    done = _train(store, "-o", tmp_path / "run", *more, "--max-epochs", "3")
    assert "linear is fitted" in done.stderr
    assert "no use for train.max_epochs_branches, train.max_epochs_joint." in done.stderr
    assert "no use for" not in _train(store, "-o", tmp_path / "other", *more).stderr


def test_all_cores_from_the_shell(imer: Callable, store: Path, tmp_path: Path) -> None:
    """The three members that ComP has by default, two at a time; and what is no number of processes."""
    done = imer("train", store, "-o", tmp_path / "run", "--label", "emotion", *TINY, "--jobs", "2", "--json")
    assert done.code == 0, done.err
    assert len(done.json["selected"]["epochs"]) == 3
    assert "models 3/3" in done.err
    wrong = imer("train", store, "-o", tmp_path / "other", *TINY, "--jobs", "0")
    assert wrong.code == 2
    assert "--jobs takes a number of processes or auto" in wrong.err


def test_overwrite_starts_anew_but_never_deletes_what_is_no_run(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert _train(store, "-o", out, *TINY).exit_code == 0
    assert _train(store, "-o", out, *TINY, "--seed", 1, "--overwrite").exit_code == 0
    assert "seed = 1" in (out / "config.toml").read_text()
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for refused in (["--missing-rate", "0.95"], ["--set", "model.heads=5"]):
        assert _train(store, "-o", out, *TINY, *refused, "--overwrite").exit_code == 2
        assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    link = tmp_path / "link"
    link.symlink_to(out)
    assert _train(store, "-o", link, *TINY, "--seed", 2, "--overwrite").exit_code == 0
    assert link.is_symlink()
    assert "seed = 2" in (out / "config.toml").read_text()
    precious = tmp_path / "thesis"
    precious.mkdir()
    (precious / "chapter.txt").write_text("years of work")
    for flag in ("--overwrite", "--resume"):
        done = _train(store, "-o", precious, *TINY, flag)
        assert done.exit_code == 6
        assert "not a run folder" in done.stderr
    assert (precious / "chapter.txt").read_text() == "years of work"
    assert _train(store, "-o", precious / "chapter.txt", *TINY).exit_code == 6


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--label", "emotoin"], 2, "did you mean 'emotion'"),
        (["--model", "comb"], 2, "did you mean 'comp'"),
        (["--head", "linaer"], 2, "did you mean 'linear'"),
        (["--preset", "copm"], 2, "did you mean 'comp'"),
        (["--protocol", "matched"], 2, "needs one missing rate"),
        (["--protocol", "mixt"], 2, "did you mean 'mixed'"),
        (["--missing-rate", "0.95"], 2, "highest reachable rate"),
        (["--missing-rate", "much"], 2, "neither a number"),
        (["--folds", "sesssion"], 2, "did you mean 'session'"),
        (["--modalities", "audio,video"], 2, "no video features"),
        (["--modalities", "audio"], 2, "The model comp combines modalities and needs at least 2"),
        (["--modalities", "audio", "--model", "comp-official"], 2, "needs at least 2"),
        (["--device", "cuda:99"], 5, "CUDA"),
        (["--device", "tpu"], 2, "no device"),
        (["--resume", "--overwrite"], 2, "give one of them"),
        (["--set", "model.hiden=3"], 2, "did you mean 'model.hidden'"),
        (["--set", "hidden"], 2, "key=value"),
        (["--set", "train.learning_rate=fast"], 2, "a number"),
        (["--config", "nowhere.toml"], 2, "does not exist"),
        (["--max-epochs", "0"], 2, "at least 1"),
        (["--members", "0"], 2, "at least 1"),
    ],
)
def test_what_is_asked_for_wrongly(store: Path, tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    out = tmp_path / "run"
    extra = [] if "--max-epochs" in arguments else TINY
    done = _train(store, "-o", out, *extra, *arguments)
    assert done.exit_code == code, done.stderr
    assert words in done.stderr
    assert not out.exists()  # nothing stands in the way of the better try
    assert "Traceback" not in done.stderr


def test_features_that_are_missing_or_no_features(tmp_path: Path) -> None:
    assert _train(tmp_path / "none.h5", "-o", tmp_path / "run").exit_code == 4
    (tmp_path / "text.h5").write_text("hello")
    assert _train(tmp_path / "text.h5", "-o", tmp_path / "run").exit_code == 4
    done = _train("-o", tmp_path / "run")
    assert done.exit_code == 2
    assert "Name the feature store" in done.stderr


def _altered(store: Path, out: Path, **changes: object) -> Path:
    """Copy a store with other labels, splits or features."""
    from dataclasses import replace

    from imer.core.types import Utterance, Verdict
    from imer.store.reader import FeatureStore

    with FeatureStore.open(store) as opened:
        utterances = []
        for i, name in enumerate(opened.utterance_ids):
            labels = {"emotion": str(changes.get("emotion", opened.columns["emotion"][i]))}
            split = str(changes.get("split", opened.splits[i]))
            utterances.append(
                Utterance(
                    str(name),
                    str(opened.dialogue_ids[i]),
                    int(opened.positions[i]),
                    i + 2,
                    i,
                    split=split,
                    labels=labels,
                )
            )
        blocks, quality = [], {}
        for modality in opened.modalities:
            values, present = opened.vectors(modality)
            spec = replace(next(iter(opened.specs[modality].values())))
            blocks.append(vector_block(spec, np.where(present[:, None], values, 0), present))
            quality[modality] = np.where(present, Verdict.ok, Verdict.no_stream)
    write_store(out, utterances, blocks, quality, provenance={})
    return out


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"emotion": "angry"}, 4, "nothing to tell apart"),
        ({"emotion": ""}, 4, "no utterance with the label emotion"),
        ({"split": ""}, 2, "--folds"),
        ({"split": "test"}, 4, "No utterance has the split train"),
    ],
)
def test_data_that_cannot_be_learnt(store: Path, tmp_path: Path, changes: dict, code: int, words: str) -> None:
    done = _train(
        _altered(store, tmp_path / "altered.h5", **changes), "-o", tmp_path / "run", "--label", "emotion", *TINY
    )
    assert done.exit_code == code, done.stderr
    assert words in done.stderr
    assert not (tmp_path / "run").exists()


def test_settings_come_from_environment_config_and_flags_in_this_order(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "mine.toml"
    config.write_text("[train]\nseed = 5\npatience = 7\n[model]\nhidden = 8\nheads = 2\n")
    monkeypatch.setenv("IMER_TRAIN_PATIENCE", "9")
    monkeypatch.setenv("IMER_TRAIN_SEED", "6")
    done = _train(
        store, "-o", tmp_path / "run", "--config", config, "--seed", 8, *TINY[:6], "--set", "train.threads=1", "--json"
    )
    assert done.exit_code == 0, done.stderr
    text = (tmp_path / "run" / "config.toml").read_text()
    assert "seed = 8" in text
    assert "patience = 9" in text
    assert "hidden = 8" in text
    assert json.loads(done.stdout)["status"] == "ok"


def test_the_config_of_another_run_knows_its_store(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").mkdir()
    shutil.copy(store, tmp_path / "there" / "f.h5")
    monkeypatch.chdir(tmp_path / "there")
    assert _train("f.h5", "-o", "run", *TINY).exit_code == 0
    monkeypatch.chdir(tmp_path)
    again = _train("-o", "again", "--config", "there/run/config.toml")
    assert again.exit_code == 0, again.stderr
    (tmp_path / "there" / "f.h5").unlink()
    lost = _train("-o", "lost", "--config", "there/run/config.toml")
    assert lost.exit_code == 4
    assert "f.h5, which there/run/config.toml names, does not exist" in lost.stderr


def test_a_run_that_lost_its_checkpoint_is_trained_again(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert _train(store, "-o", out, *TINY).exit_code == 0
    before = (out / "checkpoint" / "model.safetensors").read_bytes()
    (out / "checkpoint" / "manifest.json").unlink()
    done = _train(store, "-o", out, *TINY, "--resume")
    assert done.exit_code == 0, done.stderr
    assert "finished already" not in done.stderr
    assert (out / "checkpoint" / "model.safetensors").read_bytes() == before


def test_an_interrupted_run_continues_by_the_same_command_and_by_no_other(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert _train(store, "-o", out, *TINY).exit_code == 0
    before = (out / "checkpoint" / "model.safetensors").read_bytes()
    (out / "metrics.json").unlink()  # written last: without it the run is not finished
    other = _train(store, "-o", out, *TINY, "--seed", 1)
    assert other.exit_code == 2
    assert "--overwrite" in other.stderr
    done = _train(store, "-o", out, *TINY)
    assert done.exit_code == 0, done.stderr
    assert (out / "metrics.json").is_file()
    assert (out / "checkpoint" / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(("section", "code"), [("train", 0), ("model", 4)])
def test_a_run_of_another_version_is_read_if_its_model_is_known(
    store: Path, tmp_path: Path, section: str, code: int
) -> None:
    out = tmp_path / "run"
    assert _train(store, "-o", out, *TINY).exit_code == 0
    checkpoint = json.loads((out / "checkpoint" / "checkpoint.json").read_text())
    checkpoint["settings"][section]["setting_of_old"] = 1
    with published_folder(tmp_path / "old") as part:
        (part / "checkpoint.json").write_text(json.dumps(checkpoint))
        for name in ("model.safetensors", "scaler.safetensors"):
            shutil.copy(out / "checkpoint" / name, part / name)
    shutil.rmtree(out / "checkpoint")
    (tmp_path / "old").rename(out / "checkpoint")
    publish_digests(out, [""])
    done = CliRunner().invoke(app, ["eval", str(out), str(store)])
    assert done.exit_code == code, done.stderr
    if code:
        assert "with a model that this one" in done.stderr
        assert "setting_of_old" in done.stderr


def test_the_published_head_learns_from_a_small_set(store: Path, tmp_path: Path) -> None:
    """Few utterances meet each set of modalities; the head then answers from a trained neighbour, and says so."""
    out = tmp_path / "run"
    done = _train(store, "-o", out, *TINY, "--preset", "dpl-paper")
    assert done.exit_code == 0, done.stderr
    assert 'preset = "dpl-paper"' in (out / "config.toml").read_text()
