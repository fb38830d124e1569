"""What a person saw: signed marks on data, kept for good.

>>> import tempfile
>>> from batlab.failure import Store
>>> store = Store(tempfile.mkdtemp() + "/cell7.marks.sqlite")
>>> mark = store.add("identity of a dataset", author="ada", frames=(48, 52), category="electrochemical",
...                  mechanism="lithium plating", confidence=0.6, text="shoulder at the graphite line")
>>> store.marks()[0].mechanism
'lithium plating'
"""

from batlab.failure._mark import CATEGORIES, Mark
from batlab.failure._open import StoreError
from batlab.failure.store import Store

__all__ = ["CATEGORIES", "Mark", "Store", "StoreError"]
