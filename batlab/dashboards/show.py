"""One figure in a notebook."""

from __future__ import annotations

from bokeh.models import LayoutDOM

from batlab.dashboards import bokehjs


def show(figure: LayoutDOM) -> None:
    """Display a figure of `batlab.figures` in a notebook. No network is needed; nothing is returned.

    Parameters
    ----------
    figure
        A Bokeh figure or layout that is not on display yet.

    Examples
    --------
    >>> show(batlab.figures.track(cells, "a"))  # doctest: +SKIP
    """
    from IPython.display import display

    from batlab.dashboards.view import FigureView

    bokehjs.load()
    display(FigureView(figure))
