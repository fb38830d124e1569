from . import align as align
from . import constants as constants
from . import curves as curves
from . import dashboards as dashboards
from . import datasets as datasets
from . import decompose as decompose
from . import echem as echem
from . import errors as errors
from . import failure as failure
from . import figures as figures
from . import io as io
from . import pdf as pdf
from . import report as report
from . import saxs as saxs
from . import scattering as scattering
from . import schema as schema
from . import simulate as simulate
from . import threads as threads
from . import xas as xas
from . import xrd as xrd
from .io import open as open
from .io import save as save
from .scattering import follow as follow

__version__: str
