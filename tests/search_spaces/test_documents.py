import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.documents import dump_yaml, parse_json, parse_yaml, read_document, read_mapping
from search_spaces.errors import InvalidInput

words = st.text(max_size=12) | st.sampled_from(
    ["1e-3", "1e5", "on", "no", "none", "~", "1:30", "0o7", "", " a", "# b", "\x85", "a\u2028b"]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3), max_leaves=8
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 1e5),
        ("-2e+4", -2e4),
        ("3.0e-4", 3e-4),
        (".5", 0.5),
        ("7", 7),
        ("1e", "1e"),
        ("e-3", "e-3"),
        ("'1e-3'", "1e-3"),
        ("none", "none"),
        ("~", None),
        ("v1e5", "v1e5"),
    ],
)
def test_numbers_are_read_as_people_mean_them(text: str, value: Any) -> None:
    read = parse_yaml(text, "file")
    assert read == value
    assert type(read) is type(value)


def test_on_and_no_are_yaml_1_1_booleans_and_quoted_they_are_names() -> None:
    # No setting of ours is named so: where one stands by mistake, validation shows True or False.
    assert parse_yaml("[on, no, 'on', 'no']", "file") == [True, False, "on", "no"]


@given(documents)
def test_what_is_dumped_is_read_back_equal(value: Any) -> None:
    assert parse_yaml(dump_yaml(value), "file") == value


@given(documents)
def test_json_is_read_as_well(value: Any) -> None:
    assert parse_json(json.dumps(value, indent="\t"), "file") == value


def test_a_json_file_is_read_as_json(tmp_path: Path) -> None:
    path = tmp_path / "points.json"
    path.write_text('[\n\t{"lr": 1e-3, "strategy": "\\ud83d\\ude00"}\n]')
    assert read_document(path) == [{"lr": 1e-3, "strategy": "😀"}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1,\n "b"}', "file: line 2, column 5: must be valid JSON, got: Expecting ':' delimiter; fix that line"),
        ('[{"a": 1, "b": 2, "a": 3}]', "file: must be valid JSON, got: key 'a' is given twice; fix it"),
        ("[" * 100_000, "file: must be valid JSON, got: maximum recursion depth exceeded"),
    ],
)
def test_what_is_no_json_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_json(text, "file")
    assert str(caught.value).startswith(message)


@given(st.text(alphabet="ab:-[]{}!&*?|>'\"#%@, \n\t0159.e<~", max_size=25))
def test_whatever_the_text_nothing_but_invalid_input_is_raised(text: str) -> None:
    try:
        parse_yaml(text, "file")
    except InvalidInput as error:
        assert str(error).startswith("file:")


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3", "a: 1\nb: 2\n'a': 3", "x: &x {c: 1}\n\na: {b: 1, b: 2}"])
def test_a_key_given_twice_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"file: line 3, column \d+: .*key '[ab]' is given twice; fix"):
        parse_yaml(text, "file")


def test_merge_keys_merge_and_may_be_overridden() -> None:
    assert parse_yaml("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}", "file")["b"] == {"x": 1, "y": 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: [1,", "file: line 2, column 7: must be valid YAML"),
        ("a: 1\n\tb: 2", "file: line 2, column 1: must be valid YAML"),
        ("a: !!python/object:os.system {}", "file: line 1, column 4: must be valid YAML"),
        ("a: 1\n[1, 2]: 3", "line 2, column 1: must be valid YAML, got: key [1, 2] is no name"),
        ("{{a: b}: c}", "line 1, column 2: must be valid YAML, got: key {'a': 'b'} is no name"),
        ("day: 2001-99-99", "file: line 1, column 6: must be valid YAML, got: '2001-99-99' is not a value"),
        ("n: !!int many", "file: line 1, column 4: must be valid YAML, got: 'many' is not a value"),
        ("a: \x01", "file: must be valid YAML, got: unacceptable character #x0001"),
        ("[" * 5000, "file: must be valid YAML, got: maximum recursion depth"),
    ],
)
def test_errors_name_file_and_line_where_it_is_known(text: str, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_yaml(text, "file")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "found"), [("", "nothing"), ("- a", "a list"), ("7", "a int"), ("name", "a str")])
def test_a_file_of_something_else_than_keys_is_refused(tmp_path: Path, text: str, found: str) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    assert read_document(path) == parse_yaml(text, "file")
    with pytest.raises(InvalidInput, match=rf"sweep.yaml: must hold `key: value` lines, got {found}; see `thaw init`"):
        read_mapping(path)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    for name, message in (("none.yaml", "file must exist"), ("binary.yaml", "readable text"), (".", "readable text")):
        with pytest.raises(InvalidInput, match=message) as caught:
            read_mapping(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


@pytest.mark.timeout(20)
def test_merges_of_merges_are_refused_before_they_fill_the_memory() -> None:
    lines = ["a0: &a0 {k: 1}", *(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}" for i in range(1, 12))]
    with pytest.raises(InvalidInput, match=r"s.yaml: line \d+, column \d+: must be valid YAML, got: merge keys repeat"):
        parse_yaml("\n".join(lines), "s.yaml")
    with pytest.raises(InvalidInput, match=r"s.yaml: "):
        parse_yaml("a: &a {<<: *a}", "s.yaml")
    wide = f"a: &a {{{', '.join(f'k{i}: 1' for i in range(2000))}}}\nb: {{<<: [{', '.join(['*a'] * 2000)}]}}"
    with pytest.raises(InvalidInput, match="merge keys repeat"):
        parse_yaml(wide, "s.yaml")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", ["1" * 5000, "1:" * 500_000 + "1", "0x" + "f" * 500_000, "1_" * 500_000 + "1"])
def test_a_number_without_end_is_refused_at_once(text: str) -> None:
    with pytest.raises(
        InvalidInput, match=r"s.yaml: line 1, column 4: must be valid YAML, got: a number of [\d,]+ char"
    ):
        parse_yaml(f"a: {text}", "s.yaml")


@pytest.mark.timeout(20)
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "s.yaml")
    with pytest.raises(InvalidInput, match=r"s.yaml: a YAML or JSON file must be a file, got a pipe or device; name"):
        read_document(tmp_path / "s.yaml")
