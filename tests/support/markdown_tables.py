"""Tables in the text of a page."""

from __future__ import annotations


def tables(text):
    """Return the rows of each table of a text that ends with a note: the first cell -> the others."""
    found = []
    for part in text.split("\n\n")[:-1]:
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines()]
        found.append({first: rest for first, *rest in rows})
    return found
