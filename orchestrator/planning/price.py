"""HourlyPrice: money per hour of a rented device."""

import math
import re
import unicodedata
from dataclasses import dataclass

from search_spaces.errors import InvalidInput, shown

# A currency is a sign, as in $ or US$, or a code, as in EUR; it stands before the number or behind it.
_CURRENCY = r"[A-Z]{0,3}[^\w\s.]|[A-Z]{3}"
_PRICE = re.compile(rf"((?:{_CURRENCY})?\s*)(\d+(?:\.\d+)?|\.\d+)(\s*(?:{_CURRENCY})?)\s*(?:/\s*h)?")


@dataclass(frozen=True)
class HourlyPrice:
    """HourlyPrice: money per hour, with its currency as it was written."""

    text: str
    """Price as it was written."""

    per_hour: float
    """Money per hour, above 0."""

    before: str
    """Currency before the number, with its space; empty where there is none."""

    after: str
    """Currency behind the number, with its space; empty where there is none."""

    def money(self, hours: float) -> str:
        """Return the money for some hours, with its currency: two decimals, or more where they would show nothing."""
        amount = self.per_hour * hours
        decimals = max(2, 1 - math.floor(math.log10(amount))) if amount else 2
        return f"{self.before}{amount:,.{decimals}f}{self.after}"


def read_price(text: str) -> HourlyPrice:
    """Return the price per hour in `text`, e.g. 1.20/h or 1.20, with a currency or without.

    Raises InvalidInput for any other text, and for a price that is not above 0.
    """
    found = _PRICE.fullmatch(text.strip())
    before, number, after = ("", "0", "") if found is None else found.groups()
    price = HourlyPrice(text.strip(), float(number), before, after.rstrip())
    signs = [char for char in before + after if not char.isalpha() and not char.isspace()]
    is_currency = all(unicodedata.category(sign) == "Sc" for sign in signs) and not (before.strip() and after.strip())
    if not is_currency or not 0 < price.per_hour < math.inf:
        raise InvalidInput(
            f"--price: must be money per hour, above 0, got {shown(text)}; "
            "write e.g. 1.20/h or 1.20, with a currency: '$1.20/h' or '1.20 EUR/h'"
        )
    return price
