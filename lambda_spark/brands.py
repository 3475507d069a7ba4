"""What a brand is, for both engines: trimmed, in lower case, and never empty, blank or `Unknown`.

The two engines lower some letters differently (a final sigma, a dotted capital I), and Java lowers some by the language
of the machine (I in Turkish, others in Lithuanian), so these are mapped first. A test compares both expressions on
every character there is.
"""

from pyspark.sql import Column
from pyspark.sql import functions as F

_BLANKS = " \t\n\r\f\v\u00a0\u3000"
_UNEVEN = {"İ": "i", "Σ": "σ", "I": "i", "J": "j", "Ì": "ì", "Í": "í", "Ĩ": "ĩ", "Į": "į"}
_NO_BRAND = "unknown"


def normalised_brand(brand: Column) -> Column:
    """Return the brand that is compared, or NULL where there is none (Spark)."""
    even = F.translate(F.btrim(brand, F.lit(_BLANKS)), "".join(_UNEVEN), "".join(_UNEVEN.values()))
    lowered = F.lower(even)
    return F.when(~lowered.isin("", _NO_BRAND), lowered)


def normalised_brand_sql(brand: str) -> str:
    """Return the SQL for the brand that is compared, or NULL where there is none (DuckDB)."""
    even = f"translate(trim({brand}, '{_BLANKS}'), '{''.join(_UNEVEN)}', '{''.join(_UNEVEN.values())}')"
    return f"nullif(nullif(lower({even}), ''), '{_NO_BRAND}')"
