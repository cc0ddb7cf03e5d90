"""Currencies and amounts that Stripe accepts. Amounts are in minor units throughout."""

from typing import Any

from deploy.local.stripe_standin.errors import invalid
from deploy.local.stripe_standin.forms import text

# https://docs.stripe.com/currencies: by number of decimals
_ZERO_DECIMALS = "bif clp djf gnf jpy kmf krw mga pyg rwf ugx vnd vuv xaf xof xpf"
_THREE_DECIMALS = "bhd jod kwd omr tnd"
_TWO_DECIMALS = """
    aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bmd bnd bob brl bsd bwp byn bzd cad
    cdf chf cny cop crc cve czk dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gtq gyd hkd hnl
    htg huf idr ils inr isk jmd kes kgs khr kyd kzt lak lbp lkr lrd lsl mad mdl mkd mmk mnt mop
    mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd pab pen pgk php pkr pln qar ron rsd rub sar
    sbd scr sek sgd shp sle sos srd std szl thb tjs top try ttd twd tzs uah usd uyu uzs wst xcd
    yer zar zmw
"""
_SUPPORTED = frozenset(f"{_ZERO_DECIMALS} {_THREE_DECIMALS} {_TWO_DECIMALS}".split())

# https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts; others have none here
_MINIMUM = {
    "aed": 200, "aud": 50, "bgn": 100, "brl": 50, "cad": 50, "chf": 50, "czk": 1500, "dkk": 250,
    "eur": 50, "gbp": 30, "hkd": 400, "huf": 17500, "inr": 50, "jpy": 50, "mxn": 1000, "myr": 200,
    "nok": 300, "nzd": 50, "pln": 200, "ron": 200, "sek": 300, "sgd": 50, "thb": 1000, "usd": 50,
}  # fmt: skip
_MAXIMUM = 99_999_999


def currency(name: str, value: Any) -> str:
    """A supported three-letter code, in lower case."""
    code = text(name, value).lower()
    if code not in _SUPPORTED:
        raise invalid(
            f"Invalid currency: {code}. Stripe currently supports these currencies: "
            f"{', '.join(sorted(_SUPPORTED))}",
            param=name,
        )
    return code


def shown(amount: int, code: str) -> str:
    """An amount for people: `12.50 zar`."""
    decimals = 0 if code in _ZERO_DECIMALS else 3 if code in _THREE_DECIMALS else 2
    return f"{amount / 10**decimals:,.{decimals}f} {code}"


def check_amount(amount: int, code: str) -> None:
    """Raise StripeError for an amount that is too small or too large to be charged."""
    minimum = _MINIMUM.get(code, 1)
    if amount < minimum:
        raise invalid(
            f"Amount must be at least {shown(minimum, code)}",
            code="amount_too_small",
            param="amount",
        )
    if amount > _MAXIMUM:
        raise invalid(
            f"Amount must be no more than {shown(_MAXIMUM, code)}",
            code="amount_too_large",
            param="amount",
        )
    if code in _THREE_DECIMALS and amount % 10:
        raise invalid(f"Invalid amount: amounts in {code} must be a multiple of 10", param="amount")
