"""Published figures in the format of docstrings and pages."""

from decimal import ROUND_HALF_UP, Decimal


def quote(values, digits=3, separator=" / "):
    """Return figures in the format of docstrings: '.602 / .503'."""
    precision = Decimal(10) ** -digits
    rounded = (Decimal(str(value)).quantize(precision, ROUND_HALF_UP) for value in values)
    return separator.join(str(value).removeprefix("0") for value in rounded)
