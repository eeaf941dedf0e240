"""One extraction, from its plan to the published store, continued from whatever is staged of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imer.core.errors import ImerError, PartialFailure, counted
from imer.core.files import sha256_file
from imer.core.types import FAILURES, FeatureSpec, Utterance, Verdict, ordered_modalities
from imer.extraction.adoption import adoptable
from imer.extraction.engines import Engine
from imer.extraction.failures import error_lines, failure_limit, write_errors
from imer.extraction.packing import pack
from imer.extraction.plan import Task, media_path, natural_verdict, plan_tasks
from imer.extraction.recipe import Recipe
from imer.extraction.sources import Sources
from imer.extraction.staging import StagedCell, Staging, staging_folder
from imer.extraction.summary import ExtractSummary, Stopped
from imer.extractors.base import Extracted, as_promised
from imer.media.manifest import Manifest, RowProblem
from imer.store.columns import column_kinds
from imer.store.writer import Part

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ExtractSettings:
    """How to run; none of it changes a number."""

    workers: str = "auto"
    engine: str = "local"
    shard: str | None = None
    resume: bool = True
    max_failures: str | None = None
    limit: int | None = None
    overwrite: bool = False
    allow_outside: bool = False
    add: Path | None = None  # a store that holds some of it already
    address: str | None = None  # of a Ray cluster


@dataclass(frozen=True)
class Share:
    """The utterances of this run, among those that all runs on the manifest make together, and the rows it says are broken."""

    utterances: tuple[Utterance, ...]
    whole: tuple[Utterance, ...]
    problems: tuple[RowProblem, ...]
    part: Part | None


class Job:
    """One extraction from its plan to the published store."""

    def __init__(
        self,
        table: Manifest,
        share: Share,
        recipe: Recipe,
        specs: dict[str, FeatureSpec],
        out: Path,
        run: ExtractSettings,
        engine: Engine,
        notice: Callable[[str], None],
        progress: Progress,
    ) -> None:
        self._engine = engine
        self.table, self.share, self.recipe, self.out, self.settings = table, share, recipe, out, run
        self.utterances = share.utterances
        self.specs = {modality: specs[modality] for modality in ordered_modalities(specs)}
        self.sources = Sources(self.utterances, self.specs, self.table.path.parent)
        self.notice, self.progress = notice, progress
        self.staging = Staging(staging_folder(out))
        self._stage_s: dict[str, float] = {}
        self._n_failed = 0
        self._taken: set[tuple[int, str]] = set()  # what a plan would take over; a run stages it instead

    def plan(self) -> ExtractSummary:
        """Say what there is to do; nothing is written."""
        failure_limit(self.settings.max_failures, self._n_cells)  # refused as it would be
        if self.settings.resume and self.staging.folder.is_dir():
            self.staging.look(self.notice)
        if self.settings.add is not None:
            self._taken = {(row, modality) for row, modality, _ in self._adoptable(self.settings.add)}
        summary = self._summary(self._tasks(), self._n_reusable())
        named = (media_path(utterance, kind) for utterance in self.utterances for kind in self.specs)
        summary.missing_files = tuple(
            str(path) for path in dict.fromkeys(named) if path is not None and not path.exists()
        )
        return summary

    def list_broken_rows(self) -> ExtractSummary:
        """List broken rows, where there is no utterance to extract."""
        summary = self.plan()
        summary.errors_file = self._list_failures()
        return summary

    def run(self) -> ExtractSummary:
        """Do what is left to do, pack it, and clear up."""
        limit = failure_limit(self.settings.max_failures, self._n_cells)
        found = self.staging.start(resume=self.settings.resume, notice=self.notice)
        if found:
            done = self._n_reusable()
            self.notice(f"continuing {self.staging.folder}: {done} of {self._n_cells} items are done already.")
        try:
            self._adopt()
        except ImerError:
            self.staging.remove_empty()
            raise
        tasks = self._tasks()
        if tasks:
            self.progress("extracting", self._n_reusable(), self._n_cells)
        reused = self._n_reusable()
        try:
            try:
                self._absences()
                self._work(tasks, limit)
            finally:
                self.staging.flush()
        except PartialFailure as stopped:
            summary = self._summary(tasks, reused)
            summary.failed, summary.errors_file = self._n_failed, self._list_failures()
            raise Stopped(str(stopped), summary) from None
        # Before the store: where that exists, all that was to be said of it is there.
        errors_file = self._list_failures()
        cells = self._cells()
        digest = pack(
            self.out,
            self.utterances,
            self.specs,
            self.staging,
            self._provenance(),
            columns=column_kinds(self.share.whole),
            sources={modality: self.sources.digests(modality) for modality in self.specs},
            part=self.share.part,
            overwrite=self.settings.overwrite,
        )
        summary = self._summary(tasks, reused)
        summary.content_sha256, summary.errors_file = digest, errors_file
        summary.failed = sum(cell.failed for cell in cells)
        for cell in cells:
            counts = summary.verdicts.setdefault(cell.modality, {})
            counts[cell.verdict.name] = counts.get(cell.verdict.name, 0) + 1
        self._clear_up()
        return summary

    def _clear_up(self) -> None:
        """Delete what is published now; what an interrupted command had asked for besides is kept for that command."""
        published = {(utterance.utterance_id, modality) for utterance in self.utterances for modality in self.specs}
        others = sum(not cell.failed for name, cell in self.staging.cells.items() if name not in published)
        if not others:
            self.staging.remove()
            return
        self.notice(
            f"{self.staging.folder} keeps {counted(others, 'item that is done, but was', 'items that are done, but were')} not "
            "asked for this time; delete it if nobody needs that."
        )

    def _cells(self) -> list[StagedCell]:
        """Return what there is of the cells, in the manifest's order."""
        wanted = ((u.utterance_id, modality) for u in self.utterances for modality in self.specs)
        return [self.staging.cells[name] for name in wanted if name in self.staging.cells]

    def _list_failures(self) -> Path | None:
        lines = error_lines(self.out, self._cells(), self.table.problems, self.table.path)
        return write_errors(self.out, lines, shard=self.share.part is not None)

    @property
    def _n_cells(self) -> int:
        return len(self.utterances) * len(self.specs)

    def _n_reusable(self) -> int:
        rows = range(len(self.utterances))
        return sum(not self._is_open(row, modality) for row in rows for modality in self.specs)

    def _tasks(self) -> list[Task]:
        return plan_tasks(self.utterances, self.specs, self._is_open)

    def _is_open(self, row: int, modality: str) -> bool:
        """Say whether a cell is still to be made: not staged, failed, or staged from something else."""
        if (row, modality) in self._taken:
            return False
        cell = self.staging.cells.get((self.utterances[row].utterance_id, modality))
        key = self.sources.key(row, modality)  # always before the work: what is replaced meanwhile is another source
        return cell is None or cell.failed or cell.key != key

    def _adopt(self) -> None:
        """Take over what the store named by `--add` holds already."""
        if self.settings.add is None:
            return
        taken = 0
        for row, modality, result in self._adoptable(self.settings.add):
            self._stage(row, modality, result)
            taken += 1
        self.staging.flush()
        self.notice(f"took over {taken} of {self._n_cells} items from {self.settings.add}.")

    def _adoptable(self, store: Path) -> Iterator[tuple[int, str, Extracted]]:
        return adoptable(store, self.utterances, self.specs, self.sources, self._is_open, self.notice)

    def _absences(self) -> None:
        """Stage the cells that have nothing to extract from."""
        for row, utterance in enumerate(self.utterances):
            for modality in self.specs:
                verdict = natural_verdict(utterance, modality)
                if verdict is not None and self._is_open(row, modality):
                    self._stage(row, modality, Extracted(verdict[0], message=verdict[1]))

    def _stage(self, row: int, modality: str, result: Extracted, file: str = "", elapsed_s: float = 0.0) -> None:
        utterance_id = self.utterances[row].utterance_id
        self.staging.add(utterance_id, modality, self.sources.key(row, modality), result, file, elapsed_s)

    def _work(self, tasks: Sequence[Task], limit: int | None) -> None:
        n_cells = sum(len(task.cells) for task in tasks)
        done = 0
        for outcome in self._engine.run(tasks) if tasks else ():
            if outcome.code:
                self._lost(outcome.task, outcome.code, outcome.message)
            for cell in outcome.cells:
                result = as_promised(cell.result, self.specs[cell.modality])
                self._stage(cell.row, cell.modality, result, cell.file, cell.elapsed_s)
                self._n_failed += result.verdict in FAILURES
            for stage, seconds in outcome.stage_s.items():
                self._stage_s[stage] = self._stage_s.get(stage, 0.0) + seconds
            done += len(outcome.task.cells)
            self.progress("extracting", done, n_cells)
            if limit is not None and self._n_failed > limit:
                raise PartialFailure(
                    f"stopped: {self._n_failed} items failed, more than --max-failures {self.settings.max_failures} "
                    f"allows (errors.jsonl beside the output lists them); what is done is kept in {self.staging.folder} "
                    "for the same command."
                )
        self._engine.dismiss()

    def _lost(self, task: Task, code: str, message: str) -> None:
        """A file took its worker down: that is the verdict of everything that was to come from it."""
        file = str(getattr(task, "path", ""))
        for row, modality in task.cells:
            sentence = f"{file or self.utterances[row].utterance_id}: {message}"
            self._stage(row, modality, Extracted(Verdict.decode_error, None, sentence, code), file)
            self._n_failed += 1

    def _provenance(self) -> dict[str, Any]:
        """Return what the store says of its making: nothing that depends on when, where or how fast."""
        return {
            "command": "extract",
            "manifest": self.table.path.name,
            "manifest_sha256": sha256_file(self.table.path),
            "extractors": dict(self.recipe.extractors),
            "fingerprints": {modality: spec.fingerprint for modality, spec in self.specs.items()},
            "licences": {modality: spec.licence for modality, spec in self.specs.items()},
        }

    def _summary(self, tasks: Iterable[Task], reused: int) -> ExtractSummary:
        return ExtractSummary(
            output=self.out,
            n_utterances=len(self.utterances),
            n_rows_broken=len(self.table.problems),
            cells=self._n_cells,
            reused=reused,
            tasks=sum(1 for _ in tasks),
            extractors=dict(self.recipe.extractors),
            stage_s={stage: round(seconds, 3) for stage, seconds in self._stage_s.items()},
            broken_rows=tuple(map(str, self.table.problems)),
        )
