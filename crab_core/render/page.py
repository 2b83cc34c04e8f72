"""One self-contained HTML page: no script, no network, light and dark, fit for print. Every text is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

# nothing but inline pictures and styles may be loaded, whatever a text in the page says
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
STYLE = """
:root{color-scheme:light dark;--ink:#1c1e21;--dim:#5c6470;--paper:#fff;--line:#d9dde3;--soft:#f4f6f8}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8eb;--dim:#9aa3af;--paper:#14171a;--line:#343a42;--soft:#1d2126}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1080px;padding:24px 16px 64px;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,"DejaVu Sans",sans-serif;overflow-wrap:anywhere}
h1{font-size:24px;margin:0 0 4px}h2{font-size:18px;margin:36px 0 6px}
p{margin:6px 0;max-width:75ch}.dim{color:var(--dim)}p.answer{font-size:20px;font-weight:600}
.wide{overflow-x:auto;margin:8px 0}svg{max-width:100%;height:auto;display:block}
table{border-collapse:collapse}th,td{text-align:left;padding:4px 14px 4px 0;border-bottom:1px solid var(--line);
vertical-align:top;overflow-wrap:break-word;max-width:60ch}td.number,th.number{text-align:right;font-variant-numeric:tabular-nums}td.number{white-space:nowrap}
.texts td:first-child{min-width:7em}.texts td:not(.number):not(:first-child){min-width:14em}
@media(min-width:640px){.texts td:first-child,.texts th{white-space:nowrap}}
.frames{border-collapse:separate;border-spacing:3px}.frames td,.frames th{border:0;padding:0;text-align:center;
font-weight:400;font-size:12px;color:var(--dim)}.frames th.row{text-align:right;vertical-align:middle;
padding-right:8px;white-space:nowrap}
.frames img{display:block;width:92px;height:auto;border-radius:3px}.sound img{display:block;width:100%;height:72px}
.sound{display:grid;grid-template-columns:auto 1fr;gap:4px 8px;align-items:center;font-size:12px;color:var(--dim)}
.card{border-top:1px solid var(--line);margin-top:22px;padding-top:6px}h3{font-size:15px;margin:8px 0 0}
.card p.said{font-size:17px;font-weight:600}.doubt{border-left:3px solid #d55e00;padding-left:8px}
.thumbs{display:flex;flex-wrap:wrap;gap:6px;margin:8px 0}figure{margin:0;max-width:calc(50% - 3px)}
figure img{display:block;border-radius:3px;
max-width:100%}figcaption{font-size:12px;color:var(--dim);text-align:center}
.key{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.35em;vertical-align:-1px}
.mark{display:inline-flex;align-items:center;gap:5px;margin-right:16px}.mark svg{flex:none}
.tokens{line-height:2.3;background:var(--soft);padding:10px 14px;border-radius:6px;white-space:pre-wrap}
.token{padding-bottom:5px;background-repeat:no-repeat;background-position:bottom;background-size:100% 5px}
.token.answer{font-weight:700}.charts{display:flex;flex-wrap:wrap;gap:24px;margin:12px 0}
@media print{body{max-width:none;padding:0;font-size:11px}h2{break-after:avoid}.wide{overflow:visible}
h2+p{break-after:avoid}.thumbs figure{max-width:15.5%}
.frames tr,.charts>*,table tr,.sound,.tokens,.card{break-inside:avoid}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""


def page(title: str, body: Iterable[str]) -> str:
    """The whole document around parts that are HTML already."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def heading(text: str, level: int = 2) -> str:
    """A heading of plain text."""
    return f"<h{level}>{escape(text)}</h{level}>"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text; `kind` is `dim`, `answer` or nothing."""
    return f'<p class="{escape(kind)}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def picture(uri: str, told: str) -> str:
    """An inline picture and what it shows, for those who do not see it."""
    return f'<img src="{escape(uri)}" alt="{escape(told)}" title="{escape(told)}">'


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """A table of plain texts; the columns of `numbers` stand to the right."""
    return (
        f'<div class="wide"><table><tr>{_row(columns, "th", numbers)}</tr>'
        + "".join(f"<tr>{_row(row, 'td', numbers)}</tr>" for row in rows)
        + "</table></div>"
    )


def _row(cells: Sequence[str], tag: str, numbers: Sequence[int]) -> str:
    kinds = [' class="number"' if place in numbers else "" for place in range(len(cells))]
    return "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for cell, kind in zip(cells, kinds, strict=True))
