"""A worksheet for the tests of the failure board, and what they do with a board."""

from batlab.failure import Evidence, Store, worksheet

LOOK = Evidence("xrd", "line_breadth", "up", 0.30, 0.02, "1/angstrom", limit=0.05, confidence=0.99, cycles=(1, 50),
                test="width of the lines")  # fmt: skip
MISSED = Evidence("echem", "resistance", "none", 0.003, 0.02, "ohm", limit=0.06, cycles=(1, 100))
SPARE = Evidence("xas", "edge_shift", "down", -0.4, 0.1, "eV", limit=0.2, confidence=0.9)
ODD = "<script>alert('1')</script>"


def rated(mechanism, s, o, d, **more):
    return {"component": "cell", "mode": "fade", "mechanism": mechanism, "severity": s, "occurrence": o,
            "detection": d, **more}  # fmt: skip


def planted():
    made = worksheet(title="cell 7", author="ada", rows=[
        rated("cracking", 4, 7, 5, cause="fast charging", evidence=[LOOK]),
        rated("plating", 7, 4, 5, evidence=[MISSED]),
        rated("gas", 2, 2, 2),
        {"component": "tab", "mechanism": f"fatigue {ODD}"},
    ])  # fmt: skip
    return made.add(author="bob", **rated("corrosion", 10, 7, 2), reason="seen at the autopsy")


def names(board):
    return [row.mechanism for row in board.rows]


def told(board):
    return board.controls.told.value


def choose(board, mechanism):
    board.state.row = next(row.id for row in (*board.sheet.rows, *board.sheet.retired()) if row.mechanism == mechanism)


def kept(board):
    """What another process reads from the disk."""
    with Store(board.store.path) as other:
        return other.worksheet(board.sheet.id)
