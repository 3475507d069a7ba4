"""What a brand is."""

import pyarrow as pa

from lambda_spark import engine
from lambda_spark.engine import brand_sql


def normalised(texts: pa.Array) -> pa.Array:
    sql = f"SELECT {brand_sql('text')} AS brand FROM brands"
    return engine.run_sql(engine.connect(), sql, brands=pa.table({"text": texts}))["brand"].combine_chunks()


BRANDS = {
    "samsung": "samsung",
    "Samsung": "samsung",
    " \tSAMSUNG\r\n": "samsung",
    "\u00a0samsung\u3000": "samsung",
    "la  roche-posay": "la  roche-posay",
    "p.i.t.": "p.i.t.",
    "NESTLÉ": "nestlé",
    "ΟΔΟΣ": "οδοσ",
    "İstikbal": "istikbal",
    "ẞ": "ß",
    "ЁЛОЧКА": "ёлочка",
    "😀": "😀",
    "a\x00B": "a\x00b",
    "unknown brand": "unknown brand",
    "null": "null",
    "Unknown": None,
    "UNKNOWN ": None,
    "UN\u212aNOWN": None,  # a Kelvin sign
    "": None,
    " \t\u00a0": None,
    None: None,
}


def test_a_brand_is_trimmed_in_lower_case_and_never_unknown_or_blank() -> None:
    brands = normalised(pa.array(BRANDS, pa.string()))
    assert dict(zip(BRANDS, brands.to_pylist(), strict=True)) == BRANDS


def test_a_brand_that_is_normalised_stays_as_it_is() -> None:
    once = normalised(pa.array(BRANDS, pa.string()))
    assert normalised(once) == once
