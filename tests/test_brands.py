"""What a brand is: the same in Spark (batch layer) and in DuckDB (speed layer), on every character there is."""

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from lambda_spark import parsing
from lambda_spark.brands import normalised_brand, normalised_brand_sql

# Capital letters that came with Unicode 16 (2024) and 17 (2025). Spark's tables lower them already, DuckDB's (utf8proc)
# leave them as they are: the two layers would take them for two brands, until DuckDB knows them too. No shop does yet.
TOO_NEW_FOR_DUCKDB = {
    *(0x1C89, 0xA7CB, 0xA7CC, 0xA7CE, 0xA7D2, 0xA7D4, 0xA7DA, 0xA7DC),
    *range(0x10D50, 0x10D66),  # Garay
    *range(0x16EA0, 0x16EB9),  # Beria Erfe
}


def in_spark(spark: SparkSession, texts: pa.Array) -> pa.Array:
    brands = spark.createDataFrame(pa.table({"text": texts}))
    return brands.select(normalised_brand(F.col("text")).alias("brand")).toArrow()["brand"].combine_chunks()


def in_duckdb(texts: pa.Array) -> pa.Array:
    sql = f"SELECT {normalised_brand_sql('text')} AS brand FROM brands"
    return parsing.run(parsing.connect(), sql, brands=pa.table({"text": texts}))["brand"].combine_chunks()


def different(spark: SparkSession, texts: list[str]) -> list[str]:
    one, other = in_spark(spark, pa.array(texts)), in_duckdb(pa.array(texts))
    return [text for text, a, b in zip(texts, one.to_pylist(), other.to_pylist(), strict=True) if a != b]


def test_both_engines_agree_on_every_character(spark: SparkSession) -> None:
    # From U+0000 on; surrogates are no characters. No letter beyond U+20000 has two cases, nor is any blank.
    characters = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    alone = characters[:0x20000]
    # A later DuckDB may know some of the new ones.
    assert set(map(ord, different(spark, alone))) <= TOO_NEW_FOR_DUCKDB
    known = [character for character in characters if ord(character) not in TOO_NEW_FOR_DUCKDB]
    inside_words = ["A" + "b".join(known[start : start + 50]) for start in range(0, len(known), 50)]
    assert different(spark, inside_words + [f"{character}Ab{character}" for character in known[:0x3000]]) == []


@pytest.mark.parametrize("language", ["tr", "az", "lt"])
def test_both_engines_agree_on_a_machine_of_any_language(spark: SparkSession, language: str) -> None:
    # These three have rules of their own for I, J and their accents, and Java keeps to the language of the machine.
    locale = spark._jvm.java.util.Locale
    before = locale.getDefault()
    letters = [chr(code) for code in range(0x250)]
    locale.setDefault(locale.forLanguageTag(language))
    try:
        assert (
            different(spark, [f"é{letter}{accent}" for letter in letters for accent in ("", "\u0300", "\u0307")]) == []
        )
    finally:
        locale.setDefault(before)


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


@pytest.mark.parametrize("engine", ["spark", "duckdb"])
def test_a_brand_is_trimmed_in_lower_case_and_never_unknown_or_blank(spark: SparkSession, engine: str) -> None:
    texts = pa.array(BRANDS, pa.string())
    brands = in_spark(spark, texts) if engine == "spark" else in_duckdb(texts)
    assert dict(zip(BRANDS, brands.to_pylist(), strict=True)) == BRANDS


def test_a_brand_that_is_normalised_stays_as_it_is() -> None:
    once = in_duckdb(pa.array(BRANDS, pa.string()))
    assert in_duckdb(once) == once
