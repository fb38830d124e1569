"""What failed, why, and how sure: evidence from data, mechanisms judged by it, and signed marks, kept for good.

>>> import tempfile
>>> from batlab.failure import Store
>>> store = Store(tempfile.mkdtemp() + "/cell7.marks.sqlite")
>>> mark = store.add("identity of a dataset", author="ada", frames=(48, 52), category="electrochemical",
...                  mechanism="lithium plating", confidence=0.6, text="shoulder at the graphite line")
>>> store.marks()[0].mechanism
'lithium plating'
"""

from batlab.lazy import names as _names

# Public name -> module that holds it: one line a name.
_HOMES: dict[str, str] = {
    "CATEGORIES": "_mark",
    "Mark": "_mark",
    "Store": "store",
    "StoreError": "_open",
    "RELATIONS": "_link",
    "Link": "_link",
    "Worksheet": "worksheets",
    "worksheet": "_worksheet_new",
    "read_worksheet": "_worksheet_files",
    "read_action_priority": "_worksheet_priority",
    "ActionPriority": "_worksheet_priority",
    "Evidence": "evidence",
    "Knowledge": "_knowledge",
    "knowledge": "_knowledge",
    "Assessment": "_assess",
    "assess": "_assess",
    "examine": "_examine",
    "find": "_find",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605
__getattr__, __dir__ = _names(__name__, _HOMES)
