"""`batch_pandas.py STEP FOLDER`: whole event files in one DataFrame, as in the original system."""

from pathlib import Path

import pandas as pd
from common import Inputs, answer_file, run_step

_TYPES = {"view": "view", "cart": "cart", "remove": "remove_from_cart", "purchase": "purchase"}


def activity(inputs: Inputs, folder: Path) -> dict[str, int]:
    """Event files -> counts per day and product."""
    events = pd.concat([pd.read_csv(file) for file in inputs["month"]], ignore_index=True)
    events["event_time"] = pd.to_datetime(events["event_time"], format="%Y-%m-%d %H:%M:%S UTC")
    events["event_date"] = events["event_time"].dt.date
    for name, kind in _TYPES.items():
        events[f"{name}_count"] = events["event_type"] == kind
    events = events.sort_values(["event_time", "price"])
    by_product = events.groupby(["event_date", "product_id"])
    counts = by_product[[f"{name}_count" for name in _TYPES]].sum()
    latest = by_product[["brand", "category_code", "price"]].last().rename(columns={"price": "last_price"})
    counts["event_count"], counts["user_count"] = by_product.size(), by_product["user_id"].nunique()
    counts.join(latest).reset_index().to_parquet(answer_file(folder))
    return {"rows": len(events)}


if __name__ == "__main__":
    run_step(__doc__, {"activity": activity})
