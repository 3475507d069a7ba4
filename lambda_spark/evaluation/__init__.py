"""How good the trend rule and the recommendation rule are, on generated shops and on a grocery log.

A rule, its competitors and events with a known future come in.
Out go hit rates, NDCG and planted trends found, as JSON for docs/evaluation.md.
"""
