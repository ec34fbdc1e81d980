import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.errors import InvalidInput
from trainables.data.sources.manifest_table import ManifestRow, manifest_rows

ROWS = [ManifestRow(2, "a.png", "cat", "train"), ManifestRow(3, "b.png", "dog", "val")]


@pytest.fixture
def read(tmp_path):
    def read(text, encoding="utf-8"):
        (tmp_path / "m.csv").write_text(text, encoding=encoding, newline="")
        return manifest_rows(tmp_path / "m.csv")

    return read


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", " ; ", ", "])
@pytest.mark.parametrize(
    "header", ["path,label,split", "Path,LABEL,Split", "filename,class,split", "image path,Category,subset"]
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_separators_and_words(read, separator, header, end):
    lines = [header, "a.png,cat,train", "b.png,dog,val"]
    assert read(end.join(lines).replace(",", separator) + end) == ROWS


def test_the_own_name_comes_before_capitals_and_other_words(read):
    text = "path,Path,filename,class,label,split\na.png,x,x,x,cat,train\nb.png,x,x,x,dog,val\n"
    assert read(text) == ROWS


def test_a_line_for_excel_is_no_header(read):
    assert read("sep=;\npath;label;split\na.png;cat;train\nb.png;dog;val\n") == [
        row._replace(line=row.line + 1) for row in ROWS
    ]


def test_blank_rows_of_a_spreadsheet_are_no_rows(read):
    assert read("path,label,split\na.png,cat,train\nb.png,dog,val\n,,\n\n") == ROWS


@pytest.mark.parametrize(("zero", "one"), [("0", "1"), ("0.0", "1.0"), ("", "1"), ("False", "True")])
def test_one_column_per_class(read, zero, one):
    text = f"path,cat,dog,split\na.png,{one},{zero},train\nb.png,{zero},{one},val\n"
    assert read(text) == ROWS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,cat,dog,split\na.png,1,1,train\n", "m.csv:2: without a column label, .* got 2 of them; add a column"),
        ("path,cat,dog,split\na.png,0,0,train\n", "each row hold one 1, got 0 of them; add a column label"),
        ("path,cat,age,split\na.png,1,7,train\n", "each further column must be a class .* got '7' in age; add"),
        ("path,flag,split\na.png,1,train\n", "needs the columns path, label, split, got path, flag, split; add label"),
        ("filename,image,label,split\na,b,c,d\n", "column path must be one, got filename and image; rename the right"),
        ("path,class,target,split\na,b,c,d\n", "column label must be one, got class and target; rename the right one"),
        (
            "path,label,label,split\na,b,c,d\n",
            "column label must be one, got label and label; rename all but one",
        ),
        ("path,Label,LABEL,split\na,b,c,d\n", "column label must be one, got Label and LABEL"),
        (
            'path,label,split\na.png,cat,train\n"b.png,dog,train\n' + "c.png,cat,val\n" * 20_000,
            "m.csv:3: a field that begins with a quotation mark must end with one, got .*; close it, or double",
        ),
        (
            'path,label,split,note\na.png,cat,train,"old\nb.png,dog,train,"new"\n',
            "m.csv:2: a field that begins with a quotation mark must end with one",
        ),
        ("a;b;c\n1;2;3\n", "needs the columns path, label, split, got a;b;c; add path, label, split to its first"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_remedy(read, text, message):
    with pytest.raises(InvalidInput, match=message):
        read(text)


def test_a_row_of_several_lines_is_numbered_by_its_first(read):
    rows = read('path,label,split,note\na.png,cat,train,"two\nlines"\nb.png,dog,val,\n')
    assert [row.line for row in rows] == [2, 4]


WORD = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=12)
HEADERS = st.sampled_from([("path", "label", "split"), ("File", "CLASS", "Set"), ("image_path", "Category", "subset")])


@given(
    header=HEADERS,
    rows=st.lists(st.tuples(WORD, WORD, st.sampled_from(["train", "val"])), min_size=1, max_size=5),
    more=st.lists(st.sampled_from(["note", "age", "width"]), max_size=2, unique=True),
    separator=st.sampled_from(",;\t|"),
    order=st.randoms(use_true_random=False),
)
def test_every_table_is_read_as_it_was_written(tmp_path_factory, header, rows, more, separator, order):
    columns = [*header, *more]
    order.shuffle(columns)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, delimiter=separator, restval="x")
    writer.writeheader()
    writer.writerows(dict(zip(header, row, strict=True)) for row in rows)
    file = tmp_path_factory.getbasetemp() / "property.csv"
    file.write_text(text.getvalue(), encoding="utf-8", newline="")
    assert [(row.path, row.label, row.split) for row in manifest_rows(file)] == rows


@given(st.text(max_size=200))
def test_no_text_is_more_than_refused(tmp_path_factory, text):
    file = tmp_path_factory.getbasetemp() / "any.csv"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        rows = manifest_rows(file)
    except InvalidInput as error:
        assert str(error).startswith(str(file))
    else:
        assert rows
