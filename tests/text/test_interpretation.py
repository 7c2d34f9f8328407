"""Interpretation of files: lines shown before training, and unused columns that stop it."""

import json

import pytest

from tfbert.config import DataConfig
from tfbert.tasks.base import load_task
from tfbert.text.interpretation import interpret
from tfbert.text.splits import load_splits


def interpreted(path, task="classification", **settings):
    data = DataConfig(**{"validation_fraction": 0.0, "test_fraction": 0.0} | settings)
    return interpret(load_splits(data, path, load_task(task).schema), data, load_task(task).columns)


def table(path, header, *rows):
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def pairs(path, column, values):
    rows = [f"where is parcel {i},parcel {i} is on its way,{value}" for i, value in enumerate(values)]
    return table(path, f"sentence1,sentence2,{column}", *rows)


def test_files_with_the_same_interpretation_share_their_lines(tmp_path):
    for name in ("train.csv", "test.csv"):
        table(tmp_path / name, "id,text,label", "7,late,delivery", "8,twice,fee")
    table(tmp_path / "validation.csv", "text;label", "late;delivery")
    assert interpreted(tmp_path).lines() == [
        "train.csv, test.csv: csv with ',' between columns, utf-8, column names on line 1",
        "train.csv, test.csv: reads text from 'text', label from 'label'; unused columns: 'id'",
        "validation.csv: csv with ';' between columns, utf-8, column names on line 1",
        "validation.csv: reads text from 'text', label from 'label'; unused columns: none",
    ]


def test_a_directory_per_class_lists_the_classes(tmp_path):
    for place in ("Desktop/1.txt", "Documents/2.txt", "Documents/3.txt"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text("notes", encoding="utf-8")
    assert interpreted(tmp_path).lines()[0] == (
        f"{tmp_path.name}: one directory per label: 'Desktop' 1, 'Documents' 2, utf-8"
    )


@pytest.mark.parametrize(
    ("column", "values", "reason", "advice"),
    [
        ("label", [0, 1, 1], "has the name of a label or flag ('1' 2, '0' 1)", "--set data.columns=score=label"),
        ("is_duplicate", ["1.0", "0.0", "0.0"], "has the name of a label or flag", "data.columns=score=is_duplicate"),
        ("Label", ["same", "same", "other"], "has the name of a label or flag", "data.ignored_columns=Label"),
        ("ok", ["yes", "no", "yes"], "contains flags ('yes' 2, 'no' 1)", "data.ignored_columns=ok"),
        ("grade", [0, 3, 3, 0], "contains grades ('0' 2, '3' 2)", "to use it: --set data.columns=score=grade"),
        ("says", ["entailment", "neutral"], "contains labels", "data.ignored_columns=says"),
        ("part", ["train", "test"], "names splits ('test' 1, 'train' 1)", "write each split to a separate file"),
        ("state", ["accept", "reject"], "contains verdicts", "remove the records that were not accepted"),
        ("是否匹配", ["是", "否", "是"], "contains flags", "data.ignored_columns="),
        ("ok", [1, 0, "nan", 1], "contains flags ('1' 2, '0' 1)", "--set data.columns=score=ok"),
        ("paraphrase", ["true", "false"], "contains flags", "--set data.columns=score=paraphrase"),
        ("sim", [0.31, 0.92, 0.5], "contains numbers with fractions", "--set data.columns=score=sim"),
    ],
)
def test_an_unused_column_that_may_matter_stops_training(tmp_path, column, values, reason, advice):
    path = pairs(tmp_path / "a.csv", column, values)
    refusal = interpreted(path, "matching").refusal
    assert refusal.startswith(f"a.csv: column '{column}' {reason}")
    assert "but is not used; " in refusal
    assert advice in refusal
    assert interpreted(path, "matching", ignored_columns=column).refusal == ""


@pytest.mark.parametrize(
    ("column", "values"),
    [("id", [1, 2, 3]), ("label", [1, 1, 1]), ("flag", ["", "", ""]), ("state", ["accept", "accept"]),
     ("source", ["web", "mail", "web"]), ("part", ["train", "train"])],
)  # fmt: skip
def test_an_unused_column_that_does_not_distinguish_records_is_accepted(tmp_path, column, values):
    assert interpreted(pairs(tmp_path / "a.csv", column, values), "matching").refusal == ""


def test_naming_the_answer_does_not_allow_an_unused_label_column(tmp_path):
    rows = ["a question,a sentence,exact", "b question,b sentence,none", "c question,c sentence,exact"]
    path = table(tmp_path / "a.csv", "Question,Sentence,Label", *rows)
    refusal = interpreted(path, "matching", columns="answer=Sentence").refusal
    assert refusal.startswith("a.csv: column 'Label' has the name of a label or flag ('exact' 2, 'none' 1) but")


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("Answer", [f"it takes {i} days until it is there" for i in range(9)]),
        ("category_id", [1, 2, 3, 1]),
        ("country", ["n", "t", "n"]),
        ("status", ["open", "closed", "open"]),
    ],
)
def test_ordinary_columns_next_to_a_label_are_accepted(tmp_path, column, values):
    rows = [f"text {i},{'ab'[i % 2]},{value}" for i, value in enumerate(values)]
    assert interpreted(table(tmp_path / "a.csv", f"text,label,{column}", *rows)).refusal == ""


def test_an_unused_column_of_chinese_sentences_causes_a_warning(tmp_path):
    path = table(tmp_path / "a.csv", "标题,text,label", "银行下调了存款利率,late,a", "央行公布新的货币政策,ok,b")
    assert interpreted(path).warnings[0].startswith("a.csv: column '标题' contains text that is not used")


def test_all_files_with_unused_columns_are_reported(tmp_path):
    for name in ("train", "test"):
        table(tmp_path / f"{name}.csv", f"text,label,{name}_ok", "late,a,0", "ok,b,1")
    refusal = interpreted(tmp_path).refusal
    assert "train.csv: column 'train_ok'" in refusal and ". test.csv: column 'test_ok'" in refusal


def test_a_flag_near_the_end_of_a_file_is_found(tmp_path):
    lines = [{"text": f"parcel {i}", "label": "ab"[i % 2]} for i in range(300)]
    lines[290]["answer"], lines[299]["answer"] = "accept", "ignore"
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert interpreted(path).refusal.startswith("a.jsonl: key 'answer' contains verdicts ('accept' 1, 'ignore' 1) but")


def test_naming_the_label_allows_other_label_columns_but_not_flags(tmp_path):
    path = table(tmp_path / "a.csv", "text,topic,intent,flagged", "late,a,x,0", "twice,b,y,1", "ok,a,y,1")
    refusal = interpreted(path, columns="label=topic").refusal
    assert refusal.startswith("a.csv: column 'flagged' has the name")
    assert "intent" not in refusal
    assert interpreted(path, columns="label=topic", ignored_columns="flagged").refusal == ""


def test_an_ignored_column_is_not_found_by_its_usual_name(tmp_path):
    path = table(tmp_path / "a.csv", 'text,review,label,"why, then?"', "late,good,a,0", "ok,bad,b,1")
    interpretation = interpreted(path, ignored_columns='["review", "why, then?"]')
    assert (interpretation.layouts["a.csv"].used["text"], interpretation.refusal) == (["text"], "")


@pytest.mark.parametrize(
    ("ignored", "expected"),
    [
        ("lable", "no file has a column 'lable'; unused columns are 'notes'"),
        ("note", "no file has a column 'note'; did you mean 'notes'?"),
        ("label", "'label' is read as the label; choose another column for it"),
        ("[3]", "[3]: expected names separated by commas, or a JSON list of strings"),
    ],
)
def test_ignoring_a_missing_or_used_column_is_rejected(tmp_path, ignored, expected):
    path = table(tmp_path / "a.csv", "text,label,notes", "late,a,x", "ok,b,y")
    columns = "label=label" if ignored == "label" else None
    with pytest.raises(ValueError, match="data.ignored_columns") as caught:
        interpreted(path, ignored_columns=ignored, columns=columns)
    assert str(caught.value).endswith(expected)


def test_an_unused_column_of_sentences_causes_a_warning(tmp_path):
    path = table(
        tmp_path / "a.csv",
        "article,text,label",
        "the whole story of a parcel,late,a",
        "and of a charge that came twice,ok,b",
    )
    assert interpreted(path).warnings == [
        "a.csv: column 'article' contains text that is not used (see data.columns and data.ignored_columns)"
    ]
    assert interpreted(path, ignored_columns="article").warnings == []


def test_an_interpretation_converts_to_json_values(tmp_path):
    path = table(tmp_path / "a.csv", "id,text,label", "1,late,a", "2,ok,b")
    assert json.loads(json.dumps(interpreted(path).to_dict())) == {
        "a.csv": {
            "format": "csv with ',' between columns",
            "encoding": "utf-8",
            "header": "column names on line 1",
            "used": {"text": ["text"], "label": ["label"]},
            "unused": ["id"],
            "notes": {},
        }
    }
