"""The file tree at the end of README.md, made of what each file says of itself.

python -m tests.readme_tree        writes it into README.md
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
# In the order in which data flows.
PACKAGES = (
    "core", "media", "extractors", "extraction", "store", "masks", "interop", "batches", "metrics", "models", "training",
    "evaluation", "comparison", "experiments", "export", "demo", "cli", "presets",
)  # fmt: skip
REST = """\
tests/                    mirrors imer/; tests/pipelines runs the scripts, tests/test_house.py the house rules;
                          tests/campaigns breaks things: kills, power cuts, failing calls, full disks, flipped bits, options;
                          tests/systems runs commands as on Windows
data/README.md            where each corpus comes from; nothing else is under version control there
"""


def tree() -> str:
    """Return the tree, a line a file."""
    return "\n".join(["imer/", *_package(), *_scripts("pipelines"), *_scripts("benchmarks")]) + "\n" + REST


def write() -> None:
    """Put the tree into README.md."""
    readme = ROOT / "README.md"
    head, _, tail = readme.read_text().rsplit("```", 2)
    readme.write_text(f"{head}```\n{tree()}```{tail}")


def _package() -> Iterator[str]:
    for file in sorted((ROOT / "imer").glob("*.py")):
        yield f"  {file.name:<24}{_said(file)}"
    for package in PACKAGES:
        folder = ROOT / "imer" / package
        yield f"  {package + '/':<24}{_said(folder / '__init__.py')}"
        for file in sorted([*folder.rglob("*.py"), *folder.rglob("*.toml")]):
            if file.name != "__init__.py":
                yield f"    {file.relative_to(folder).as_posix():<28}{_said(file)}"


def _scripts(name: str) -> Iterator[str]:
    yield f"{name}/"
    for file in sorted([*(ROOT / name).glob("*.py"), *(ROOT / name).glob("*.sh")]):
        yield f"  {file.name:<24}{_said(file)}"


def _said(file: Path) -> str:
    """Return the first sentences of a file: those of its docstring, or of the comment that it begins with."""
    text = file.read_text()
    if file.suffix == ".py":
        first = (ast.get_docstring(ast.parse(text)) or "").split("\n\n")[0]
    else:
        first = next(line for line in text.splitlines() if line.startswith("# ")).removeprefix("# ")
    whole, _, rest = " ".join(first.split()).rpartition(". ")
    return whole if rest.endswith(":") else f"{whole}. {rest}".removeprefix(". ").removesuffix(".")


if __name__ == "__main__":
    write()
