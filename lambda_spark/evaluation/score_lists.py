"""Score recommendations with rectools, with bootstraps over users. Runs in .venv-evaluation (see shops.py).

python score_lists.py FOLDER: each folder in it is a cut with the tables of cases.Case as Parquet files,
competitors.parquet with one row per competitor, and recommended.parquet with one row per (competitor, user_id, rank).
Prints JSON: competitor -> metric -> [value, low, high], and under `lift` the ratios to the best baseline.

A user's value is the mean over the cuts at which the user is judged. Users are resampled with all of their cuts.
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from implicit.nearest_neighbours import TFIDFRecommender
from rectools.dataset import Dataset
from rectools.metrics import NDCG, CatalogCoverage, HitRate, MeanInvUserFreq, Precision
from rectools.models import ImplicitItemKNNWrapperModel
from scipy.stats import bootstrap

K, RESAMPLES, NEIGHBOURS = 20, 1_000, 50
KNN = "item-item kNN"
BASELINES = ("popularity", "recent popularity", "last brand's popularity")
GOAL_METRICS = ("hit_rate", "ndcg")
PAIR = ["user_id", "item_id"]


def main() -> None:
    """Print the scores of the folder."""
    cuts = sorted(path for path in Path(sys.argv[1]).iterdir() if path.is_dir())
    read = [read_cut(cut) for cut in cuts]
    names = [*dict.fromkeys(name for tables in read for name in tables["competitors"]["competitor"]), KNN]
    scored = [score_cut(cut.name.rsplit("-", 1)[0], tables, names) for cut, tables in zip(cuts, read, strict=True)]
    values = pd.concat([frame for frame, _ in scored])
    coverage = pd.DataFrame([covered for _, covered in scored]).mean()
    by_user = values.groupby(["competitor", "case", "user_id"]).mean()
    found = {name: summarise(by_user.loc[name]) | {"catalogue_coverage": [coverage[name]]} for name in names}
    judgements, users = (int(frame.groupby("competitor").size().max()) for frame in (values, by_user))
    ratios = {name: ratio_to_best_baseline(by_user, name) for name in names if name not in BASELINES}
    scores = {"cuts": len(cuts), "users": users, "judgements": judgements, "competitors": found, "lift": ratios}
    print(json.dumps(scores))


def read_cut(folder: Path) -> dict[str, pd.DataFrame]:
    """Return the tables of a cut with rectools' column names; `recommended` also has the lists of kNN."""
    tables = {
        file.stem: pd.read_parquet(file).rename(columns={"product_id": "item_id"}) for file in folder.glob("*.parquet")
    }
    return tables | {"recommended": pd.concat([tables["recommended"], recommend_knn(tables)])}


def score_cut(case: str, tables: dict[str, pd.DataFrame], names: list[str]) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return the metrics of each judged user, indexed by (competitor, case, user_id), and coverage by competitor.

    Competitors without recommendations at this cut are scored too.
    """
    catalogue = tables["training"]["item_id"].unique()
    frames, coverage = [], {}
    for name in names:
        recommended = tables["recommended"].query("competitor == @name").drop(columns="competitor")
        frames.append(score_users(recommended, tables).assign(competitor=name, case=case))
        coverage[name] = float(CatalogCoverage(K, normalize=True).calc(recommended, catalogue))
    return pd.concat(frames).set_index(["competitor", "case"], append=True).reorder_levels([1, 2, 0]), coverage


def score_users(recommended: pd.DataFrame, tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the metrics of each judged user; novelty and already_seen are NaN for users without recommendations."""
    truth, judged = tables["truth"], pd.Index(tables["judged"]["user_id"])
    metrics = {"hit_rate": HitRate(K), "ndcg": NDCG(K, divide_by_achievable=True), "precision": Precision(K)}
    rated = {name: metric.calc_per_user(recommended, truth) for name, metric in metrics.items()}
    found = {name: values.reindex(judged, fill_value=0.0) for name, values in rated.items()}
    found["user_coverage"] = pd.Series(judged.isin(recommended["user_id"]).astype(float), judged)
    found["novelty"] = MeanInvUserFreq(K).calc_per_user(recommended, tables["training"]).reindex(judged)
    is_seen = recommended[PAIR].merge(tables["interacted"].assign(seen=1.0), on=PAIR, how="left")["seen"].notna()
    found["already_seen"] = is_seen.astype(float).groupby(recommended["user_id"].to_numpy()).mean().reindex(judged)
    return pd.DataFrame(found)


def recommend_knn(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Recommend the products most similar to those of the user in the window, to users that have any."""
    training = tables["training"].rename(columns={"event_count": "weight"})
    dataset = Dataset.construct(training.assign(datetime=pd.Timestamp(0)))
    model = ImplicitItemKNNWrapperModel(TFIDFRecommender(K=NEIGHBOURS, num_threads=1)).fit(dataset)
    users = np.intersect1d(tables["judged"]["user_id"], training["user_id"])
    candidates = model.recommend(users, dataset, k=3 * K, filter_viewed=False)
    excluded = pd.MultiIndex.from_frame(tables["excluded"][PAIR])
    kept = candidates[~pd.MultiIndex.from_frame(candidates[PAIR]).isin(excluded)]
    ranked = kept.assign(rank=kept.groupby("user_id").cumcount() + 1, competitor=KNN)
    return ranked.loc[ranked["rank"] <= K, ["competitor", *PAIR, "rank"]]


def summarise(users: pd.DataFrame) -> dict[str, list[float | None]]:
    """Return the mean of each metric over users with its 95 % interval."""
    return {str(name): interval((users[name].dropna().to_numpy(),), mean) for name in users.columns}


def ratio_to_best_baseline(by_user: pd.DataFrame, name: str) -> dict[str, object]:
    """Return the ratio to the best baseline by each metric of the goal, over the same resampled users."""
    found: dict[str, object] = {}
    for metric in GOAL_METRICS:
        means = by_user[metric].groupby("competitor").mean()
        best = max(BASELINES, key=means.get)
        both = (by_user.loc[kind, metric].sort_index().to_numpy() for kind in (name, best))
        found[metric] = {"over": best, "times": interval(tuple(both), quotient, paired=True)}
    return found


def interval(samples: tuple[np.ndarray, ...], statistic, **options) -> list[float | None]:
    """Return the statistic with its bootstrapped 95 % interval; None if too few users have a value."""
    if len(samples[0]) < 2:
        return [None, None, None]
    options |= {"n_resamples": RESAMPLES, "method": "percentile", "batch": 100, "vectorized": True}
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = float(statistic(*samples))
        low, high = bootstrap(samples, statistic, rng=np.random.default_rng(0), **options).confidence_interval
    return [round(float(number), 5) if np.isfinite(number) else None for number in (value, low, high)]


def mean(values, axis=-1):
    """Return the mean of the users, or of each resample of them."""
    return np.mean(values, axis=axis)


def quotient(values, baseline, axis=-1):
    """Return the mean of the users divided by that of the baseline."""
    return mean(values, axis) / mean(baseline, axis)


if __name__ == "__main__":
    main()
