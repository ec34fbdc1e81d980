from hypothesis import given
from hypothesis import strategies as st

from trainables.nested_settings import flat_settings, shared_settings

LEAVES = st.sampled_from([0, 1, "a", 0.5, True])
NAMES = st.sampled_from("abc")
SETTINGS = st.dictionaries(NAMES, LEAVES | st.dictionaries(NAMES, LEAVES | st.dictionaries(NAMES, LEAVES)))


def test_the_names_of_sections_come_first() -> None:
    nested = {"lr": 1, "data": {"root": "/p", "split": {"val": 0.1}}, "empty": {}}
    assert flat_settings(nested) == {"lr": 1, "data.root": "/p", "data.split.val": 0.1}
    assert list(flat_settings(nested, "_")) == ["lr", "data_root", "data_split_val"]


@given(st.lists(SETTINGS, min_size=1, max_size=4))
def test_what_is_shared_is_what_is_equal_everywhere_once_flat(each) -> None:
    first, *others = map(flat_settings, each)
    missing = object()
    equal = {n: v for n, v in first.items() if all(other.get(n, missing) == v for other in others)}
    assert flat_settings(shared_settings(each)) == equal
