"""What is hidden from a model while it trains, validates and is tested, by the name of the protocol."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imer.batches.corpus import Corpus
from imer.core.errors import InvalidInput, UsageError, did_you_mean
from imer.core.seeding import generator
from imer.masks import sampling
from imer.masks.make import draw_mask
from imer.masks.notation import all_patterns, parse_pattern, parse_rates
from imer.masks.sampling import Mask
from imer.masks.table import MaskTable
from imer.training.settings import TrainSettings

PROTOCOLS = {
    "complete": "nothing is hidden",
    "complete2incomplete": "nothing in training; validated and tested incomplete, as mixed",
    "matched": "a missing rate, redrawn every epoch; validated and tested at the same rate",
    "matched-static": "the same, drawn once for all stages and members of a fold: what is hidden is never seen",
    "mixed": "a random non-empty subset of the modalities per utterance, redrawn every epoch",
    "pattern": "in training as mixed, validated and tested under every pattern; or one given pattern throughout",
    "instance": "with a given probability an utterance is incomplete",
    "imbalanced": "a rate of its own for every modality",
    "table": "a mask file, made by imer mask or by hand",
}
DRAWN_ONCE = ("complete", "complete2incomplete", "matched-static", "table")  # and `pattern` with a given one
MOST_PATTERNS = 15  # validated under; of more modalities than four a fixed selection


@dataclass(frozen=True)
class FixedMask:
    """A fixed mask over the corpus, and its name: `observed_NM` is false outside the rows it was drawn for."""

    protocol: str
    missing_rate: float | None
    pattern: str
    mask_seed: int
    observed_NM: Mask


class Masks:
    """The masks of one run.

    Training masks depend on the run's seed, the model they are for (fold, member, stage) and the epoch; fixed ones on the
    utterance ids, the protocol with its rate, the part and the mask's seed, and so are those of every model.
    """

    def __init__(self, corpus: Corpus, settings: TrainSettings) -> None:
        self.corpus, self.settings = corpus, settings
        self.names = tuple(corpus.modalities)
        protocol = settings.protocol
        if protocol not in PROTOCOLS:
            raise UsageError(f"There is no training protocol {protocol!r}; {did_you_mean(protocol, PROTOCOLS)}")
        for name, only in (("pattern", "pattern"), ("mask", "table")):
            if getattr(settings, name) and protocol != only:
                raise UsageError(
                    f"train.{name} is for the protocol {only}, and this run has {protocol}: add --protocol {only}, or drop it."
                )
        self.rate, self.rates = parse_rates(settings.missing_rate or None)
        if protocol in ("matched", "matched-static", "instance") and self.rate is None:
            raise UsageError(f"The protocol {protocol} needs one missing rate, such as --missing-rate 0.5.")
        if protocol == "imbalanced":
            unknown = [name for name in self.rates or {} if name not in self.names]
            if not self.rates or unknown:
                raise UsageError(
                    f"The protocol imbalanced needs a missing rate per modality, such as --missing-rate {self.names[0]}=0.2; "
                    f"there are {', '.join(self.names)}."
                )
        if protocol in ("complete", "complete2incomplete", "mixed", "pattern", "table") and settings.missing_rate:
            raise UsageError(f"The protocol {protocol} takes no missing rate; drop it, or use --protocol matched.")
        self.pattern = parse_pattern(settings.pattern, self.names) if settings.pattern else None
        self.warnings: list[str] = []
        self.table = self._read_table() if protocol == "table" else None

    def _read_table(self) -> Mask:
        if not self.settings.mask:
            raise UsageError("The protocol table needs a mask file: --set train.mask=MASK.h5.")
        table = MaskTable.read(Path(self.settings.mask))
        unknown = [name for name in self.names if name not in table.modalities]
        if unknown:
            raise InvalidInput(
                f"{self.settings.mask} has no column for {unknown[0]}; it covers {', '.join(table.modalities)}."
            )
        columns = [table.modalities.index(name) for name in self.names]
        row_of = {name: row for row, name in enumerate(table.utterance_ids)}
        rows_N = np.array([row_of.get(name, -1) for name in self.corpus.utterance_ids.tolist()])
        named = int((rows_N >= 0).sum())
        if not named:
            raise InvalidInput(
                f"{self.settings.mask} names none of the {self.corpus.n} utterances that are learnt from; it was made for "
                "another feature store."
            )
        if named < self.corpus.n:
            self.warnings.append(
                f"{self.settings.mask} names {named} of the {self.corpus.n} utterances; the others keep all that they have."
            )
        listed_NM = np.asarray(table.observed_NM, dtype=bool)[:, columns][rows_N]
        return self.corpus.present_NM & np.where(rows_N[:, None] >= 0, listed_NM, True)

    def once(self, rows: np.ndarray, fold: str) -> Mask | None:
        """Return what the models of a fold ever see of the rows that they learn from: bool [N of the corpus, M], false outside.

        None where that is redrawn every epoch: then each modality of each utterance is seen sooner or later.
        """
        present = self.corpus.present_NM[rows]
        observed = np.zeros_like(self.corpus.present_NM)
        if self.settings.protocol in ("complete", "complete2incomplete"):
            observed[rows] = present
        elif self.table is not None:
            observed[rows] = self.table[rows]
        elif self.pattern is not None:
            observed[rows] = sampling.pattern(present, self.pattern)
        elif self.settings.protocol == "matched-static":
            rng = generator(self.settings.seed, "training-mask", fold, "static")
            observed[rows] = self._at_the_rate(present, rng)
        else:
            return None
        return observed

    def training(self, rows: np.ndarray, fold: str, epoch: int) -> Mask:
        """Return what is observed in this epoch where it is redrawn: bool [N of the corpus, M], false outside `rows`."""
        protocol = self.settings.protocol
        if protocol in DRAWN_ONCE or self.pattern is not None:
            raise RuntimeError(f"what the protocol {protocol} shows is drawn once")
        rng = generator(self.settings.seed, "training-mask", fold, epoch)
        present = self.corpus.present_NM[rows]
        observed = np.zeros_like(self.corpus.present_NM)
        if protocol in ("mixed", "pattern"):
            observed[rows] = sampling.mixed(present, rng)
        elif protocol == "instance":
            observed[rows] = sampling.instance(present, self.rate or 0.0, rng)
        elif protocol == "imbalanced":
            rates = self.rates or {}
            observed[rows] = sampling.imbalanced(present, [rates.get(name, 0.0) for name in self.names], rng)
        else:
            observed[rows] = self._at_the_rate(present, rng)
        return observed

    def _at_the_rate(self, present: Mask, rng: np.random.Generator) -> Mask:
        samplers = {"exact": sampling.exact, "bernoulli": sampling.bernoulli, "cpm": sampling.cpm}
        return samplers[self.settings.sampler](present, self.rate or 0.0, rng)

    def validation(self, rows: np.ndarray) -> list[FixedMask]:
        """Return the fixed masks that every epoch is validated under: the same protocol as the test's."""
        return self.fixed(rows, "val", self.settings.validation_masks)

    def fixed(self, rows: np.ndarray, split: str, n_seeds: int, first_seed: int = 0) -> list[FixedMask]:
        """Return fixed masks of the run's protocol over some rows."""
        protocol = self.settings.protocol
        if protocol == "complete":
            return [self.natural(rows)]
        if self.table is not None:
            return [self._condition(rows, self.table[rows], "table")]
        if self.pattern is not None:
            return [self.of_pattern(rows, self.pattern)]
        if protocol == "pattern":
            return [self.of_pattern(rows, columns) for columns in validation_patterns(len(self.names))]
        kind = {
            "complete2incomplete": "mixed",
            "matched": self.settings.sampler,
            "matched-static": self.settings.sampler,
        }
        seeds = range(first_seed, first_seed + n_seeds)
        return [self._drawn(rows, kind.get(protocol, protocol), self.rate, split, seed) for seed in seeds]

    def natural(self, rows: np.ndarray) -> FixedMask:
        """Return the condition in which nothing is hidden."""
        return self._condition(rows, self.corpus.present_NM[rows], "complete", rate=0.0)

    def of_pattern(self, rows: np.ndarray, columns: tuple[int, ...]) -> FixedMask:
        """Return the condition in which only these modalities are observed."""
        name = "+".join(self.names[column] for column in columns)
        return self._condition(rows, sampling.pattern(self.corpus.present_NM[rows], columns), "pattern", pattern=name)

    def grid(self, rows: np.ndarray, split: str) -> list[FixedMask]:
        """Return one mask at each reachable missing rate of 0, 0.1 … 0.7."""
        rates = sampling.reachable_grid(self.corpus.present_NM[rows])
        return [self._drawn(rows, "exact", rate, split, 0) for rate in rates]

    def _drawn(self, rows: np.ndarray, protocol: str, rate: float | None, split: str, seed: int) -> FixedMask:
        ids = self.corpus.utterance_ids[rows].tolist()
        present = self.corpus.present_NM[rows]
        table = draw_mask(
            present, ids, self.names, protocol=protocol, rate=rate, rates=self.rates, seed=seed, split=split
        )
        return self._condition(rows, table.rows_for(ids, self.names), protocol, rate=rate, seed=seed)

    def _condition(
        self,
        rows: np.ndarray,
        observed: Mask,
        protocol: str,
        *,
        rate: float | None = None,
        pattern: str = "",
        seed: int = 0,
    ) -> FixedMask:
        observed_NM = np.zeros_like(self.corpus.present_NM)
        observed_NM[rows] = observed
        return FixedMask(protocol, rate, pattern, seed, observed_NM)


def validation_patterns(n_modalities: int) -> list[tuple[int, ...]]:
    """Return all patterns of observed modalities; at most `MOST_PATTERNS`, evenly chosen."""
    every = all_patterns(n_modalities)
    if len(every) <= MOST_PATTERNS:
        return every
    return [every[i] for i in np.linspace(0, len(every) - 1, MOST_PATTERNS).astype(int)]
