"""Texts in batches: every value is the one that the text gives alone, in whatever company and order."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from imer.core.types import Verdict
from imer.extraction.job import ExtractSettings
from imer.extraction.runner import extract
from imer.extraction.work import do_tasks
from imer.extractors.base import Extracted
from imer.extractors.sentence import MiniLM
from imer.extractors.text_batches import LEAST_TOKENS, TEXTS_PER_BATCH, TextBatches
from imer.store.merging import merge_stores
from tests.clips import write_manifest

WORDS = ("the", "invoice", "number", "is", "nine", "nobody", "has", "ever", "seen", "such", "a", "joyful", "day")


class Model:
    """Adds up letters; `wrong` says in which batches, and at which place, it gives another last bit than alone."""

    def __init__(self, wrong: Callable[[int, int, int], bool] = lambda size, length, place: False) -> None:
        self.wrong, self.sizes = wrong, list[int]()

    def __call__(self, texts: list[str]) -> list[np.ndarray]:
        self.sizes.append(len(texts))
        assert len({len(text) for text in texts}) == 1, "never padded"
        found = []
        for place, text in enumerate(texts):
            value = np.array([[sum(map(ord, text)), len(text)]], dtype=np.float32)
            off = len(texts) == TEXTS_PER_BATCH and self.wrong(len(texts), len(text), place)
            found.append(np.nextafter(value, np.float32(np.inf)) if off else value)
        return found


def encoded(model: Model, texts: list[str]) -> bool:
    """Encode texts; say whether each has the value that it has alone."""
    found = TextBatches(model).encoded(texts, [len(text) for text in texts])
    return all(np.array_equal(values, Model()([text])[0]) for text, values in zip(texts, found, strict=True))


def numbers(count: int, width: int) -> list[str]:
    return [f"{i:0{width}d}" for i in range(count)]


def test_texts_of_a_length_share_batches_of_one_size() -> None:
    model = Model()
    texts = numbers(40, 3) + numbers(7, 5) + numbers(3, 6) * 2
    random.Random(0).shuffle(texts)
    assert encoded(model, texts)
    assert model.sizes.count(TEXTS_PER_BATCH) == 3 + 1  # the last of each length is filled up
    # Each length is tried once; three texts, though there twice, are too few. Alone, a text is 32 tokens at least.
    assert {size: model.sizes.count(size) for size in (11, 7, 6)} == {11: 2, 7: 2, 6: 3}
    assert len(model.sizes) == 4 + 2 + 2 + 3


@pytest.mark.parametrize("place", [None, 0, TEXTS_PER_BATCH - 1])
def test_a_length_that_is_not_exact_is_never_batched_again(place: int | None) -> None:
    model = Model(lambda size, length, at: length == 3 and at in (place, at if place is None else place))
    assert encoded(model, numbers(50, 3) + numbers(50, 4))
    assert model.sizes.count(TEXTS_PER_BATCH) == 1 + 3  # two of fifty are too few


def test_texts_of_unknown_length_stay_alone() -> None:
    model = Model()
    TextBatches(model).encoded(numbers(20, 3), [0] * 20)
    assert model.sizes == [1] * 20


def test_few_tokens_are_multiplied_as_many_are() -> None:
    """Alone, a short text goes with copies of itself: products of few rows have other last bits on some processors."""

    def few(texts: list[str]) -> list[np.ndarray]:
        tokens = sum(map(len, texts))
        return [np.array([[ord(text[0]) + (tokens < LEAST_TOKENS) / 8]]) for text in texts]

    batches = TextBatches(few)
    for length in (2, 5, 31, 32, 40):
        texts = [letter * length for letter in "abcdefgh"]
        together = batches.encoded(texts, [length] * len(texts))
        assert [values[0, 0] for values in together] == [ord(letter) for letter in "abcdefgh"]
        assert batches.encoded(texts[:1], [length])[0][0, 0] == ord("a")
        assert batches.exact[length]


@pytest.fixture(scope="module")
def sentences() -> list[str]:
    """Texts of about three to fourteen tokens, many of one length, some twice."""
    rng = random.Random(1)
    made = [" ".join(rng.choices(WORDS, k=rng.choice([1, 4, 4, 5, 12]))) for _ in range(40)]
    return [*made, *made[:5], "ok", "😀 👨‍👩‍👧", "  spaced\nout ", "=SUM(A1:A9)"]


def test_a_real_model_gives_the_same_bits(sentences: list[str]) -> None:
    whole, tokens = MiniLM("utterance"), MiniLM("frame")
    whole.load("cpu")
    tokens._model = whole._model
    for model in (whole, tokens):
        together = model.extract_all(sentences)
        assert any(model.batches.exact.values()), "nothing was batched"
        for text, result in zip(sentences, together, strict=True):
            assert result.values_TD is not None
            assert np.array_equal(result.values_TD, model.extract(text).values_TD)
            assert np.allclose(result.values_TD, model._encoded([text])[0], atol=1e-5)


def test_a_text_that_cannot_be_digested_costs_itself_alone() -> None:
    from imer.extraction.plan import TextTask
    from imer.extraction.recipe import Recipe
    from imer.extraction.work import Toolbox

    class Delicate:
        def load(self, device: str) -> None: ...

        def extract(self, text: str) -> Extracted:
            return self.extract_all([text])[0]

        def extract_all(self, texts: list[str]) -> list[Extracted]:
            if "bad" in texts:
                raise RuntimeError("no")
            return [Extracted(Verdict.ok, np.full((1, 2), len(text), dtype=np.float32)) for text in texts]

    box = Toolbox(Recipe({"text": "delicate"}), _loaded={"text": Delicate()})
    ((cells, _),) = do_tasks([TextTask((4, 5, 6), ("good", "bad", "fine"))], box)
    assert [(cell.row, cell.result.verdict) for cell in cells] == [
        (4, Verdict.ok), (5, Verdict.decode_error), (6, Verdict.ok)
    ]  # fmt: skip
    assert cells[1].result.code == "E-EXTRACT"


def test_the_store_does_not_depend_on_what_is_encoded_together(
    sentences: list[str], tmp_path: Path, inline: None
) -> None:
    """At once, in two shards, and grown from its first part: batches differ, the store does not."""
    rows = [{"utterance_id": f"u{i}", "text": text} for i, text in enumerate(sentences)]
    manifest = write_manifest(tmp_path / "manifest.csv", rows)

    def run(name: str, **settings: object) -> str:
        made = ExtractSettings(workers="1", **settings)  # type: ignore[arg-type]
        return extract(manifest, tmp_path / name, audio="none", visual="none", settings=made).content_sha256

    digest = run("all.h5")
    run("some.h5", limit=17)
    assert run("grown.h5", add=tmp_path / "some.h5") == digest
    parts = [tmp_path / f"{i}.h5" for i in (1, 2)]
    for part in parts:
        run(part.name, shard=f"{part.stem}/2")
    assert merge_stores(parts, tmp_path / "merged.h5").content_sha256 == digest
