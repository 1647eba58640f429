"""Reports: one page, figures and tables, from run directories and nothing else.

    python -m aaa_jax.report RUN... [--output=DIR]

`write` decides what goes in and writes it. `runs` finds and reads run directories,
`grouping` puts the seeds of one experiment together, `statistics` and `series` compute.
`result_tables`, `paper_comparison` and `costs` make tables, which `text_table` shows;
`csv_file` writes numbers for other programs, `html_page` the page. A figure is a
function from groups to a `style.Picture`; `figures/` has a file for each kind.

No code of training is imported, and the same runs give the same bytes.
"""

from aaa_jax.report.runs import ReportError
from aaa_jax.report.write import write_report

__all__ = ["ReportError", "write_report"]
