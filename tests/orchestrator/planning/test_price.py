import pytest

from orchestrator.planning.price import read_price
from search_spaces.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "money"),
    [
        ("1.20/h", "2.40"),
        ("1.20", "2.40"),
        (" 1.20 / h ", "2.40"),
        ("$1.20/h", "$2.40"),
        ("US$1.20", "US$2.40"),
        ("€ 1.20", "€ 2.40"),
        ("1.20€/h", "2.40€"),
        ("1.20 EUR/h", "2.40 EUR"),
        ("CHF 1234.5 /h", "CHF 2,469.00"),
        ("¥900/h", "¥1,800.00"),
        (".5", "1.00"),
        ("0.0000171", "0.000034"),
    ],
)
def test_money_has_the_currency_of_the_price_as_it_was_written(text: str, money: str) -> None:
    assert read_price(text).money(2) == money
    assert read_price(text).text == text.strip()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/h",
        "0",
        "0.00/h",
        "-1.20",
        "1,20",
        "1.20/day",
        "1.20h",
        "1e3",
        "nan",
        "inf",
        "#1.20",
        "$1.20 EUR",
        "9" * 400,
    ],
)
def test_other_texts_are_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"--price: must be money per hour, above 0, got .*write e\.g\. 1\.20/h"):
        read_price(text)
