"""Files to labelled arrays and back: one module a format, recognised by content.

To add a reader: a module here with ``NAME``, ``HINTS``, ``recognise`` and ``read``, and its name in ``READERS``.
"""

from batlab.io._open import READERS, open, structure
from batlab.io._save import save
from batlab.io.hexrd import Instrument, Panel
from batlab.io.poni import Geometry

__all__ = ["READERS", "Geometry", "Instrument", "Panel", "open", "save", "structure"]
