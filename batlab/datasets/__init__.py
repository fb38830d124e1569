"""Open data by name: a local folder, else the public origin; licence, citation and SHA-256 known.

None of the data is in the repository or the wheel: ``table.csv`` names the sets, ``files.csv`` their files.

>>> from batlab import datasets
>>> datasets.table()["licovo4_operando"].licence
'GPL-3.0'
"""

from batlab.datasets._find import path
from batlab.datasets._table import OpenData, Table, table

__all__ = ["OpenData", "Table", "path", "table"]
