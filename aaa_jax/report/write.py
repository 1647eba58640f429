"""What a report holds, from runs to files: the one place that knows all parts."""

import os
import pathlib
from collections.abc import Sequence

from aaa_jax.report import costs, csv_file, grouping, paper_comparison, result_tables
from aaa_jax.report.figures import (
    comparisons,
    curves,
    efficiency,
    health,
    pictures,
    robustness,
    shares,
)
from aaa_jax.report.figures.style import Picture
from aaa_jax.report.first_screen import FirstScreen, first_screen
from aaa_jax.report.grouping import Family
from aaa_jax.report.html_page import Section, render
from aaa_jax.report.measures import TEST_ERROR, TEST_LOSS
from aaa_jax.report.runs import ReportError, Run, read_runs
from aaa_jax.report.text_table import TextTable, to_markdown
from aaa_jax.report.words import WORDS
from aaa_jax.runtime.paths import expand
from aaa_jax.workdir import atomic_files

CHANGING = ("adversarial", "replay")  # sources whose policies are worth a look


def write_report(
    paths: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    title: str = "",
    note: str = "",
    epochs: Sequence[int] = (),
) -> pathlib.Path:
    """Reads runs and writes report.html, results.md, results.csv and figures/.

    Files of the same names are replaced; others stay.

    Args:
        paths: run directories, or folders that hold some.
        output: a folder, made if need be.
        title: of the page.
        note: printed on top, such as what is special about the data.
        epochs: those of which policies are shown; none: four over the run.

    Returns:
        The path of report.html.

    Raises:
        ReportError: there is nothing to report, or a file cannot be read or written.
    """
    folder = pathlib.Path(expand(output))
    runs = read_runs(paths)
    families = grouping.make_families(runs)
    tables, numbers = _tables(runs, families)
    sections = [*tables, *(_family_section(family, epochs) for family in families)]
    if len(runs) > 1:
        sections.append(Section("Every run", (result_tables.run_list(runs),)))
    data = dict.fromkeys(run.settings["data"]["name"] for run in runs)
    title = title or f"Adversarial AutoAugment: runs on {', '.join(data)}"
    remarks = [*([note] if note else []), *_warnings(runs)]
    first = first_screen(title, remarks, runs, families)
    files = {
        "results.md": _markdown(first, sections).encode(),
        "results.csv": numbers.encode(),
        "report.html": render(first, sections).encode(),
    }
    for picture in (part for s in sections for part in s.parts):
        if isinstance(picture, Picture):
            files[f"figures/{picture.name}.png"] = picture.png
            if picture.svg is not None:
                files[f"figures/{picture.name}.svg"] = picture.svg
    try:
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            atomic_files.write_whole(folder / name, content)
    except OSError as error:
        raise ReportError(
            f"cannot write the report to {folder}: {error.strerror or error}; choose "
            "another --output"
        ) from error
    return folder / "report.html"


def _tables(
    runs: Sequence[Run], families: Sequence[Family]
) -> tuple[list[Section], str]:
    """Sections for the paper's tables and for each family's results, and the CSV."""
    sections, lines = [], []
    for table, members in paper_comparison.group_by_table(runs):
        filled = paper_comparison.fill_cells(table, members)
        lines += csv_file.table_lines(table, filled)
        remarks = paper_comparison.remarks(table, members)
        parts = [paper_comparison.comparison(table, filled, remarks)]
        of_table_5: dict[str, list[costs.RunCost]] = {}
        for run in members:
            if run.is_finished and run.cost is not None and run.cell[0] == costs.ROW:
                of_table_5.setdefault(run.cell[1], []).append(run.cost)
        if found := costs.cost_table(of_table_5):
            parts.append(found)
        sections.append(Section(table.title, tuple(parts)))
    results = tuple(result_tables.results(family) for family in families)
    sections.append(Section("Results", results))
    for family in families:
        lines += csv_file.family_lines(family)
    return sections, csv_file.to_csv(lines)


def _family_section(family: Family, epochs: Sequence[int]) -> Section:
    """The figures of a family, and its table of states."""
    parts: list[TextTable | Picture | None] = [
        curves.loss_and_error(family),
        comparisons.by_policies(family, TEST_ERROR),
        comparisons.by_policies(family, TEST_LOSS),
        *comparisons.error_against_m(family),
        efficiency.relative_to_autoaugment(family),
    ]
    for group in family.groups:
        if group.settings["policies"]["source"] in CHANGING:
            parts.append(pictures.sampled_policies(family, group, epochs))
            parts.append(shares.mean_shares(family, group))
        parts.append(health.health(family, group))
        parts.append(robustness.probe_map(family, group))
    parts.append(result_tables.controllers(family))
    parts.append(robustness.corruption_bars(family))
    return Section(family.title, tuple(part for part in parts if part is not None))


def _warnings(runs: Sequence[Run]) -> list[str]:
    """What must be said of the runs before their numbers are read."""
    found = {
        "Not finished, and in no mean": [
            f"{run.name} (epoch {run.epochs_done} of {run.settings['epochs']})"
            for run in runs
            if not run.is_finished
        ],
        "SCALED, fewer epochs and smaller networks than the presets'": [
            run.name for run in runs if run.scale != 1
        ],
        "Tested on a part of the test split, see evaluation.max_images": [
            run.name for run in runs if "max_test_images" in run.final
        ],
        "Shortened by max_steps": [run.name for run in runs if run.is_shortened],
    }
    warnings = [
        f"{what}: {', '.join(names)}." for what, names in found.items() if names
    ]
    return warnings + grouping.other_data(runs)


def _markdown(first: FirstScreen, sections: Sequence[Section]) -> str:
    """The same as the page, for where Markdown is shown; pictures lie in figures/."""
    texts = [f"# {first.title}", *first.remarks]
    texts += [f"**{n.number}** {n.spread} {n.label}" for n in first.headlines]
    texts += first.verdicts
    texts += [f"{name}: {'; '.join(lines)}" for name, lines in first.recipe]
    for section in sections:
        texts.append(f"## {section.title}")
        for part in section.parts:
            if isinstance(part, TextTable):
                texts.append(to_markdown(part))
                continue
            words = part.alternative.replace("[", "(").replace("]", ")")
            texts.append(f"### {part.title}")
            texts.append(f"![{words}](figures/{part.name}.png)")
            texts.append(part.caption)
    texts.append("## What the words mean")
    texts += [f"**{word}**: {meaning}" for word, meaning in WORDS.items()]
    return "\n\n".join([*texts, ""])
