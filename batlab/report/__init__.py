"""One experiment, one HTML file that needs no network: figures, tables with σ, marks, provenance.

>>> from batlab import report
>>> report.with_sigma(8.15823, 0.00041, "angstrom")
'8.1582(4) Å'
"""

from batlab.report._numbers import with_sigma
from batlab.report._write import write

__all__ = ["with_sigma", "write"]
