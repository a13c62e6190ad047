"""The parts of matplotlib that are used, or an error that says how to install it."""

try:
    from matplotlib import (
        colormaps as colormaps,
        font_manager as font_manager,
        rcParams as rcParams,
    )
    from matplotlib.axes import Axes as Axes
    from matplotlib.axis import Axis as Axis, XAxis as XAxis
    from matplotlib.backends.backend_agg import FigureCanvasAgg as FigureCanvasAgg
    from matplotlib.cm import ScalarMappable as ScalarMappable
    from matplotlib.colors import (
        LinearSegmentedColormap as LinearSegmentedColormap,
        ListedColormap as ListedColormap,
        Normalize as Normalize,
    )
    from matplotlib.figure import Figure as Figure, SubFigure as SubFigure
    from matplotlib.ft2font import FT2Font as FT2Font
    from matplotlib.layout_engine import ConstrainedLayoutEngine as ConstrainedLayoutEngine
    from matplotlib.text import Text as Text
    from matplotlib.ticker import (
        Formatter as Formatter,
        FuncFormatter as FuncFormatter,
        Locator as Locator,
        MaxNLocator as MaxNLocator,
        NullFormatter as NullFormatter,
    )
except ImportError as error:
    raise ImportError("plots need matplotlib: pip install 'fcjax[app]'") from error
