"""The ids that the tests of the API and of the page ask for."""

import httpx2
import pytest


@pytest.fixture(scope="session")
def ids(server: str) -> dict[str, str]:
    """Return the ids of a trending `product` and of a `user` with recent brands."""
    product = httpx2.get(f"{server}/v1/trends").json()["trends"][0]["product_id"]
    return {"product": product, "user": httpx2.get(f"{server}/v1/users").json()["users"][0]["user_id"]}
