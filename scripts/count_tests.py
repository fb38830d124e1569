"""Add up the closing lines of several pytest runs: ``N passed, N failed, N skipped``."""

import re
import sys
from pathlib import Path

CLOSING = re.compile(r"^=* ?((?:\d+ [a-z]+(?:, )?)+) in [\d.]+s", re.MULTILINE)


def count(text: str) -> dict[str, int]:
    totals = {"passed": 0, "failed": 0, "skipped": 0}
    for closing in CLOSING.findall(text):
        for number, word in re.findall(r"(\d+) ([a-z]+)", closing):
            word = "failed" if word in ("error", "errors") else word
            if word in totals:
                totals[word] += int(number)
    return totals


if __name__ == "__main__":
    totals = count(Path(sys.argv[1]).read_text(errors="replace"))
    sys.stdout.write(f"{totals['passed']} passed, {totals['failed']} failed, {totals['skipped']} skipped\n")
