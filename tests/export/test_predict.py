"""Predictions are the same whichever way the model and the features come in."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imer.core.errors import InvalidInput, OutputExists, UsageError
from imer.core.json_lines import read_json_lines
from imer.core.registry import EXTRACTORS, Entry
from imer.core.types import FeatureSpec, Utterance, Verdict
from imer.evaluation.evaluate import evaluate
from imer.export.answers import answer_store, utterances_seen
from imer.export.bundle import bundle_subject
from imer.export.chosen import MeanOfFolds
from imer.export.clips import Extraction, needed_recipe
from imer.export.inputs import read_clips
from imer.export.predict import _comment, _one_by_one, _Said, predict
from imer.export.publish import export
from imer.export.table import answer_table
from imer.interop.feature_tables import import_csv
from imer.masks.make import make_mask
from imer.store.reader import FeatureStore
from imer.store.writer import FeatureBlock, vector_block, write_store
from imer.training.train import train
from tests.campaigns.cheap import Letters
from tests.export.conftest import Shipped
from tests.shipped import train_small
from tests.stores import write_small_store


def test_a_run_a_bundle_and_the_training_agree(classifier: Shipped, bundle: Path, tmp_path: Path) -> None:
    by_run = predict(classifier.run, [classifier.store], out=tmp_path / "run.jsonl")
    by_bundle = predict(bundle, [classifier.store], out=tmp_path / "bundle.jsonl")
    assert (tmp_path / "run.jsonl").read_bytes() == (tmp_path / "bundle.jsonl").read_bytes()
    assert by_run.answered.records == by_bundle.answered.records
    answers = {line["utterance_id"]: line for line in read_json_lines(tmp_path / "run.jsonl")}
    trained = read_json_lines(classifier.run / "predictions.jsonl")
    assert len(answers) == 120
    assert len(trained) == 20
    for line in trained:
        ours = answers[line["utterance_id"]]
        assert (ours["prediction"], ours["observed"]) == (line["prediction"], line["observed"])
        # Other dialogues share the batch here: equal but for rounding.
        assert ours["probabilities"] == pytest.approx(line["probabilities"], abs=1e-6)
        assert ours["weights"] == pytest.approx(line["weights"], abs=1e-5)
    assert "100 of 120 answers are for utterances that the model saw in training." in by_run.warnings
    assert not by_bundle.warnings


def test_all_folds_answer_with_their_mean(regressor: Shipped) -> None:
    together = predict(regressor.run, [regressor.store], fold="all")
    assert together.notes[0] == "answering with the mean of all 3 folds: as asked."
    each = [predict(regressor.run, [regressor.store], fold=str(i)).answered.records for i in range(3)]
    for i, line in enumerate(together.answered.records):
        values = [records[i]["value"] for records in each]
        assert line["value"] == pytest.approx(np.mean(values))
        assert min(values) < max(values)
        weights = [records[i]["weights"]["audio"] for records in each]
        assert line["weights"]["audio"] == pytest.approx(np.mean(weights), abs=1e-6)
    assert "120 of 120 answers are for utterances that the model saw in training" in together.warnings[0]


def test_all_folds_saw_what_any_of_them_chose_its_epoch_by(regressor: Shipped) -> None:
    """Of two folds, what is validation in one is test in the other, and trained none."""
    first, second = (replace(regressor.fold, train_ids=(x,), val_ids=(x.upper(),)) for x in "ab")
    lines = [{"utterance_id": name} for name in "aAbBc"]
    assert utterances_seen(MeanOfFolds.of([first, second]), lines) == 4


def test_a_record_holds_all_there_is_to_say(regressor: Shipped) -> None:
    found = predict(regressor.run, [regressor.store], fold=regressor.fold.name)
    assert found.notes == (f"answering with fold {regressor.fold.name} of 3: as asked.",)
    line = found.answered.records[0]
    assert list(line) == [
        "utterance_id", "dialogue_id", "position", "speaker", "media", "start_s", "end_s", "prediction", "value", "observed",
        "weights", "all_missing", "verdicts",
    ]  # fmt: skip
    assert (line["speaker"], line["media"]) == ("s0", None)  # a store does not know its files
    with FeatureStore.open(regressor.store) as store:
        present_NM, ids = store.present_NM(), store.utterance_ids
        dialogue_has = {d: present_NM[store.dialogue_ids == d].any(axis=0) for d in set(store.dialogue_ids)}
    for line, present_M, name in zip(found.answered.records, present_NM, ids, strict=True):
        assert line["utterance_id"] == name
        observed = [m for m, there in zip(("audio", "text"), present_M, strict=True) if there]
        assert line["observed"] == observed
        assert line["all_missing"] is (not observed)
        assert {m: v == "ok" for m, v in line["verdicts"].items()} == {m: m in observed for m in ("audio", "text")}
        speaks = dialogue_has[line["dialogue_id"]]  # a modality speaks where its dialogue has it in some utterance
        assert sum(line["weights"].values()) == pytest.approx(sum(speaks), abs=1e-4)


def test_a_mask_hides_what_it_says(classifier: Shipped, tmp_path: Path) -> None:
    with FeatureStore.open(classifier.store) as store:
        make_mask(store, "pattern", pattern="t").write(tmp_path / "mask.h5")
    records = predict(classifier.run, [classifier.store], mask=tmp_path / "mask.h5").answered.records
    assert {tuple(line["observed"]) for line in records} <= {("text",), ()}
    plain = predict(classifier.run, [classifier.store]).answered.records
    assert any(a["probabilities"] != b["probabilities"] for a, b in zip(plain, records, strict=True))


def test_a_modality_that_the_store_lacks_counts_as_missing(classifier: Shipped, tmp_path: Path) -> None:
    two = write_small_store(tmp_path / "two.h5", modalities=("audio", "text"))
    found = predict(classifier.run, [two])
    assert found.answered.absent == ("visual",)
    assert any("there are no visual features" in warning for warning in found.warnings)
    assert not any("visual" in line["observed"] for line in found.answered.records)
    assert {line["weights"]["visual"] for line in found.answered.records} == {0.0}


def _store(path: Path, specs: list[FeatureSpec], n: int = 3) -> Path:
    utterances = [Utterance(f"u{i}", "d", i, line=i + 2, row=i) for i in range(n)]
    rng = np.random.default_rng(0)
    blocks: list[FeatureBlock] = []
    for spec in specs:
        blocks.append(vector_block(spec, rng.normal(size=(n, spec.dim)).astype(np.float32), np.ones(n, bool)))
    write_store(path, utterances, blocks, {spec.modality: np.zeros(n, np.uint8) for spec in specs}, provenance={})
    return path


def test_features_made_in_another_way_are_refused(classifier: Shipped, tmp_path: Path) -> None:
    spec = classifier.fold.specs["audio"]
    newer = _store(tmp_path / "newer.h5", [replace(spec, version="2")])
    with pytest.raises(InvalidInput, match="version '2' instead of '1'"):
        predict(classifier.run, [newer])
    assert len(predict(classifier.run, [newer], how=Extraction(accept_versions=True)).answered.records) == 3
    other = _store(tmp_path / "other.h5", [replace(spec, config={"hop": 2})])
    with pytest.raises(InvalidInput, match="hop 2 instead of None"):
        predict(classifier.run, [other], how=Extraction(accept_versions=True))


def test_unknown_modalities(classifier: Shipped, tmp_path: Path) -> None:
    gaze = FeatureSpec("gaze", "test/gaze", "1", "utterance", 4)
    with pytest.raises(InvalidInput, match="has gaze: none of them"):
        predict(classifier.run, [_store(tmp_path / "gaze.h5", [gaze])])
    both = _store(tmp_path / "both.h5", [classifier.fold.specs["audio"], gaze])
    found = predict(classifier.run, [both])
    assert found.answered.ignored == ("gaze",)
    assert "the model does not read the gaze features; they are ignored." in found.notes


def test_imported_arrays_are_compared_by_width_and_columns() -> None:
    trained = FeatureSpec("audio", "array/train", "1", "utterance", 6, config={"sha256": "a"})
    assert trained.differences(replace(trained, extractor="array/new", config={"sha256": "b"})) == []
    assert trained.differences(replace(trained, extractor="array/new", dim=7)) == ["width 7 instead of 6"]
    named = replace(trained, dim=2, dim_names=("AU01", "AU02"))
    assert named.differences(replace(named, dim_names=("AU02", "AU01"))) == ["column 1 is 'AU02' instead of 'AU01'"]
    assert named.differences(replace(named, dim_names=())) == [], "an array without names"


def test_columns_in_another_order_are_other_features(tmp_path: Path) -> None:
    """In the run, in its bundle, and where it is evaluated: the widths are the same."""
    rows = [f"u{i},{'ab'[i % 2]},{'train' if i < 12 else 'val' if i < 16 else 'test'}" for i in range(20)]
    (tmp_path / "m.csv").write_text("\n".join(["utterance_id,emotion,split", *rows]))
    for name, columns in (("f", ("AU01", "AU02")), ("g", ("AU02", "AU01"))):
        values = [f"u{i},{i % 2},{0.1 * i}" if name == "f" else f"u{i},{0.1 * i},{i % 2}" for i in range(20)]
        (tmp_path / f"{name}.csv").write_text("\n".join([f"utterance_id,{','.join(columns)}", *values]))
        import_csv(tmp_path / "m.csv", {"visual": tmp_path / f"{name}.csv"}, tmp_path / f"{name}.h5")
    train(tmp_path / "f.h5", tmp_path / "run", assignments=["run.model=linear", "data.label=emotion"])
    bundle = tmp_path / "bundle"
    export(tmp_path / "run", bundle)
    for model, subject in ((tmp_path / "run", tmp_path / "run"), (bundle, bundle_subject(bundle))):
        assert len(predict(model, [tmp_path / "f.h5"]).answered.records) == 20
        with pytest.raises(
            InvalidInput, match=r"visual: column 1 is 'AU02' instead of 'AU01'\); make them .* same order"
        ):
            predict(model, [tmp_path / "g.h5"])
        with pytest.raises(
            InvalidInput, match=r"column 1 is 'AU02' instead of 'AU01'\); make them with the same columns"
        ):
            evaluate(subject, tmp_path / "g.h5", out=tmp_path / "results")
    (tmp_path / "f.csv").write_text((tmp_path / "f.csv").read_text().replace("u19,1,", "u19,0,"))
    import_csv(tmp_path / "m.csv", {"visual": tmp_path / "f.csv"}, tmp_path / "h.h5")
    other = evaluate(tmp_path / "run", tmp_path / "h.h5", out=tmp_path / "results", plots=False, replicates=10)
    assert any("of its visual features only the columns are known" in warning for warning in other.warnings)


def test_an_empty_utterance_is_answered_but_marked(classifier: Shipped, tmp_path: Path) -> None:
    path = tmp_path / "empty.h5"
    spec = classifier.fold.specs["audio"]
    utterances = [Utterance(f"u{i}", f"d{i}", 0, line=i + 2, row=i) for i in range(3)]
    present = np.array([True, False, False])
    verdicts = {"audio": np.array([0, 4, 2], np.uint8)}  # ok, silent, decode error
    write_store(path, utterances, [vector_block(spec, np.ones((3, 6), np.float32), present)], verdicts, provenance={})
    answered = answer_store(classifier.fold, path)
    assert [line["utterance_id"] for line in answered.records] == ["u0", "u1"]
    assert [line["all_missing"] for line in answered.records] == [False, True]
    columns, rows = answer_table(classifier.fold, answered.records)
    assert [row[columns.index("all_missing")] for row in rows] == ["no", "yes"]
    assert "all_missing" not in answer_table(classifier.fold, answered.records[:1])[0]
    assert answered.records[1]["verdicts"]["audio"] == "silent"
    assert sum(answered.records[1]["probabilities"].values()) == pytest.approx(1.0, abs=1e-6)
    assert answered.unanswered == ("u2",)


def test_an_utterance_of_which_one_modality_failed_is_answered_from_the_others(
    classifier: Shipped, tmp_path: Path
) -> None:
    path, (audio, text) = tmp_path / "half.h5", (classifier.fold.specs[name] for name in ("audio", "text"))
    blocks = [
        vector_block(audio, np.ones((2, 6), np.float32), np.array([False, True])),
        vector_block(text, np.ones((2, 5), np.float32), np.ones(2, bool)),
    ]
    verdicts = {"audio": np.array([Verdict.decode_error, Verdict.ok]), "text": np.array([Verdict.ok, Verdict.ok])}
    write_store(path, [Utterance(f"u{i}", "d", i, line=i + 2, row=i) for i in range(2)], blocks, verdicts)
    answered = answer_store(classifier.fold, path)
    assert [line["observed"] for line in answered.records] == [["text"], ["audio", "text"]]
    assert answered.records[0]["verdicts"]["audio"] == "decode_error"
    assert answered.unanswered == ()


def test_features_that_no_extractor_makes_cannot_come_from_clips(classifier: Shipped, tmp_path: Path) -> None:
    (tmp_path / "clip.wav").write_bytes(b"")
    with pytest.raises(InvalidInput, match=r"cannot read raw clips.*FEATURES\.h5"):
        predict(classifier.run, [tmp_path / "clip.wav"])
    arrays = {"audio": FeatureSpec("audio", "array/audio", "1", "utterance", 6)}
    with pytest.raises(InvalidInput, match="were imported as arrays"):
        needed_recipe(arrays, Extraction())


def test_an_extractor_that_would_make_other_numbers_is_refused() -> None:
    from imer.extractors.opensmile import EGeMAPS

    spec = EGeMAPS().spec
    names, options = needed_recipe({"audio": spec}, Extraction())
    assert names == {"audio": "opensmile/egemaps", "text": "none", "visual": "none"}
    assert options["level"] == "utterance"
    with pytest.raises(InvalidInput, match=r"version .* instead of 'opensmile 1.0'.*--accept-versions"):
        needed_recipe({"audio": replace(spec, version="opensmile 1.0")}, Extraction())
    assert needed_recipe({"audio": replace(spec, version="opensmile 1.0")}, Extraction(accept_versions=True))
    with pytest.raises(InvalidInput, match="sample_rate_hz 16000 instead of 8000"):
        needed_recipe({"audio": replace(spec, config={**spec.config, "sample_rate_hz": 8000})}, Extraction())


def test_a_level_is_asked_of_the_extractors_that_have_levels_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody's extractor of frames alone stands beside sound of whole utterances, in extraction as in prediction."""
    from imer.extractors.opensmile import EGeMAPS

    monkeypatch.setitem(EXTRACTORS, "letters", Entry("letters", "tests.campaigns.cheap:Letters", "text"))
    letters = replace(Letters().spec, extractor="letters")
    monkeypatch.setattr(Letters, "spec", property(lambda self: letters))
    names, options = needed_recipe({"audio": EGeMAPS().spec, "text": letters}, Extraction())
    assert names["text"] == "letters"
    assert options["level"] == "utterance"
    assert "level" not in needed_recipe({"text": letters}, Extraction())[1]


def test_words_for_a_model_that_reads_none_are_refused(classifier: Shipped, tmp_path: Path) -> None:
    run, _ = train_small(tmp_path, label="emotion", model="mlp", settings=("data.modalities=audio",))
    (tmp_path / "clip.wav").write_bytes(b"")
    with pytest.raises(UsageError, match="--text is of no use to this model, which reads audio"):
        predict(run, [tmp_path / "clip.wav"], text="words")
    with pytest.raises(InvalidInput, match="cannot read raw clips"):  # the other model would take them
        predict(classifier.run, [tmp_path / "clip.wav"], text="words")


def test_outputs_and_inputs_that_cannot_be_meant(classifier: Shipped, tmp_path: Path) -> None:
    for what in ({"face_weights": "w.pt"}, {"sentence_model": "folder"}):
        with pytest.raises(UsageError, match="a feature store has its features already"):
            predict(classifier.run, [classifier.store], how=Extraction(**what))
    with pytest.raises(UsageError, match="a feature store has its utterances already"):
        predict(classifier.run, [classifier.store], text="words")
    (tmp_path / "p.jsonl").write_text("")
    with pytest.raises(OutputExists, match=r"p\.jsonl exists already"):
        predict(classifier.run, [classifier.store], out=tmp_path / "p.jsonl")
    with pytest.raises(OutputExists, match="is a folder"):
        predict(classifier.run, [classifier.store], out=tmp_path, overwrite=True)
    with pytest.raises(InvalidInput, match=r"neither a run folder .* nor a bundle"):
        predict(tmp_path, [classifier.store])
    with pytest.raises(InvalidInput, match="There is no model at"):
        predict(tmp_path / "none", [classifier.store])


def test_a_damaged_run_is_refused(classifier: Shipped, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(classifier.run, tmp_path / "run"))
    weights = copy / "checkpoint" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(InvalidInput, match="was changed or damaged"):
        predict(copy, [classifier.store])


def test_the_lines_are_json_with_names_of_any_script(classifier: Shipped, tmp_path: Path) -> None:
    path = tmp_path / "names.h5"
    spec = classifier.fold.specs["text"]
    utterances = [Utterance("žluťoučký/1", "对话", 0, line=2, row=0)]
    write_store(path, utterances, [vector_block(spec, np.ones((1, 5), np.float32), np.ones(1, bool))],
                {"text": np.zeros(1, np.uint8)}, provenance={})  # fmt: skip
    predict(classifier.run, [path], out=tmp_path / "p.jsonl")
    line = json.loads((tmp_path / "p.jsonl").read_text(encoding="utf-8"))
    assert (line["utterance_id"], line["dialogue_id"]) == ("žluťoučký/1", "对话")


@pytest.mark.parametrize("name", ["p.csv", "p.tsv"])
def test_a_table_for_spreadsheets(classifier: Shipped, tmp_path: Path, name: str) -> None:
    found = predict(classifier.run, [classifier.store], out=tmp_path / name)
    with open(tmp_path / name, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="," if name.endswith("csv") else "\t"))
    assert [row["utterance_id"] for row in rows] == [line["utterance_id"] for line in found.answered.records]
    for row, line in zip(rows, found.answered.records, strict=True):
        assert row["emotion"] == line["prediction"]
        for name_of_class, share in line["probabilities"].items():
            assert float(row[f"p({name_of_class})"]) == share
        assert [m for m in classifier.fold.modalities if row[m] == "observed"] == line["observed"]
    with pytest.raises(UsageError, match=r"the suffix \.jsonl, \.csv or \.tsv"):
        predict(classifier.run, [classifier.store], out=tmp_path / "p.xlsx")


def test_a_model_of_single_utterances_is_not_given_dialogues_unawares(classifier: Shipped, tmp_path: Path) -> None:
    assert classifier.fold.longest_dialogue == 5
    alone = replace(classifier.fold, longest_dialogue=1)
    for fold, warned in ((classifier.fold, False), (alone, True)):
        said = _Said()
        _comment(fold, answer_store(fold, classifier.store), said)
        assert any("has never met" in warning for warning in said.warnings) is warned
    (tmp_path / "a.wav").write_bytes(b"media")
    (tmp_path / "b.wav").write_bytes(b"media")
    (tmp_path / "a.srt").write_text("1\n00:00:00,0 --> 00:00:01,0\none\n\n2\n00:00:01,0 --> 00:00:02,0\ntwo\n")
    clips, said = read_clips([tmp_path / "a.wav", tmp_path / "b.wav"]), _Said()
    assert [(u.dialogue_id, u.position) for u in clips.utterances] == [("a", 0), ("a", 1), ("b", 0)]
    parted = _one_by_one(clips, said).utterances
    assert [(u.dialogue_id, u.position) for u in parted] == [("a_1", 0), ("a_2", 0), ("b", 0)]
    assert [u.start_s for u in parted] == [0.0, 1.0, None]
    assert len(said.notes) == 1
    assert _one_by_one(read_clips([tmp_path / "b.wav"]), said).utterances[0].dialogue_id == "b"
    assert len(said.notes) == 1
