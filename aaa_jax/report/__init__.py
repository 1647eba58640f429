"""Reports: one page, figures and tables, from run directories and nothing else.

    python -m aaa_jax.report RUN... [--output=DIR]

`runs` finds and reads run directories, `groups` puts seeds of one experiment together,
`estimates` and `series` compute. `sheets` and `papers` make tables (Markdown, HTML),
`records` lines of numbers (CSV), `page` the HTML. A figure is a function from groups to
a `style.Picture`: `curves` (losses, errors), `comparisons` (Table 4, Figure 5),
`efficiency` (Figure 4), `shares` (Figure 6), `health` (collapse), `pictures` (Fig. 2),
`robustness` (probe and corruptions). `book` decides what goes in and writes it. No code
of training is imported, and the same runs give the same bytes.
"""

from aaa_jax.report.runs import ReportError
from aaa_jax.report.write import write_report

__all__ = ["ReportError", "write_report"]
