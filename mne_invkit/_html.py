"""Tables in HTML, for reports and notebooks; everything is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable

import numpy as np

_LONGEST = 300  # characters of a cell


def html_table(rows: Iterable[tuple], header: tuple = ()) -> str:
    """HTML table whose first column is a heading.

    Parameters
    ----------
    rows : iterable of tuple
        The cells of each row.
    header : tuple
        The cells of the header, none if empty.

    Returns
    -------
    table : str
        HTML.
    """
    head = "".join(f'<th scope="col">{_text(cell)}</th>' for cell in header)
    body = "".join(
        f'<tr><th scope="row">{_text(first)}</th>'
        + "".join(f"<td>{_text(cell)}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in rows
    )
    head = f"<thead><tr>{head}</tr></thead>" if head else ""
    return f'<table class="table table-sm table-hover w-auto">{head}<tbody>{body}</tbody></table>'


def _text(value) -> str:
    """Short escaped text of a value."""
    if isinstance(value, np.ndarray) and value.size > 8:
        value = f"array of shape {value.shape}"
    elif isinstance(value, float | np.floating):
        value = f"{value:.6g}"
    text = str(value)
    return html.escape(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")
