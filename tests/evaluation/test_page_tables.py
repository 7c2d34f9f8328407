"""Tables that a task draws of its own."""

import re

from tfbert.evaluation import page


def test_numbers_of_a_tasks_own_table_stand_under_the_heads_they_belong_to(tmp_path):
    rows = [["1 word", 1061, "64.4 %", "–", "PER"], ["no answer", 12, "3.0 %", "0.5", "LOC"]]
    table = {
        "title": "By length",
        "columns": ["answer", "questions", "F1", "gain", "type"],
        "rows": rows,
        "caption": "C.",
    }
    page.render({"task": "answers"}, {"tables": [table]}, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    (part,) = re.findall(r"<h3>By length</h3>.*?</table>", text, re.DOTALL)
    heads = [bool(kind) for kind in re.findall(r"<th( class=\"n\")?>", part)]
    cells = [kind == "n" for kind in re.findall(r"<td class=\"(\w+)\"", part)]
    assert heads == [False, True, True, True, False] and cells == heads * 2
    assert '<td class="n">1,061</td>' in part.replace("\n", "")
