"""The parts of matplotlib that are used, or an error that says how to install it."""

try:
    from matplotlib import font_manager as font_manager, rcParams as rcParams
    from matplotlib.axes import Axes as Axes
    from matplotlib.axis import Axis as Axis, XAxis as XAxis
    from matplotlib.backends.backend_agg import FigureCanvasAgg as FigureCanvasAgg
    from matplotlib.colors import ListedColormap as ListedColormap
    from matplotlib.figure import Figure as Figure, SubFigure as SubFigure
    from matplotlib.ft2font import FT2Font as FT2Font
    from matplotlib.layout_engine import ConstrainedLayoutEngine as ConstrainedLayoutEngine
    from matplotlib.ticker import (
        Formatter as Formatter,
        Locator as Locator,
        MaxNLocator as MaxNLocator,
        NullFormatter as NullFormatter,
        PercentFormatter as PercentFormatter,
    )
except ImportError as error:
    raise ImportError("plots need matplotlib: pip install 'fcjax[app]'") from error
