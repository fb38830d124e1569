"""Files to labelled arrays and back: one module a format, recognised by content.

To add a reader: a module here with ``NAME``, ``HINTS``, ``recognise`` and ``read``, and its name in ``READERS``.
"""

from batlab.io._open import READERS, open, structure
from batlab.io._save import save

__all__ = ["READERS", "open", "save", "structure"]
