"""What a brand is: trimmed, in lower case, and never empty, blank or `Unknown`.

Engines lower some letters differently (a final sigma, a dotted capital I), and some of them by the language of the
machine (I in Turkish, others in Lithuanian), so these are mapped first: a brand is the same text in whatever reads it.
"""

_BLANKS = " \t\n\r\f\v\u00a0\u3000"
_UNEVEN = {"İ": "i", "Σ": "σ", "I": "i", "J": "j", "Ì": "ì", "Í": "í", "Ĩ": "ĩ", "Į": "į"}
_NO_BRAND = "unknown"


def normalised_brand_sql(brand: str) -> str:
    """Return the SQL for the brand that is compared, or NULL where there is none."""
    even = f"translate(trim({brand}, '{_BLANKS}'), '{''.join(_UNEVEN)}', '{''.join(_UNEVEN.values())}')"
    return f"nullif(nullif(lower({even}), ''), '{_NO_BRAND}')"
