"""The page of a run: complete, safe, and without a network."""

import json
import re
from html.parser import HTMLParser

import pytest
from sample_run import (
    END,
    USER,
    backtest,
    competitor,
    planted_shop,
    quality,
    recommendation,
    summary,
    trend,
    user_brands,
)

from lambda_spark.delta.event_log import Counts
from lambda_spark.report.html_report import render, write_report


class Page(HTMLParser):
    """The parts of a page that the tests check."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts, self.scripts, self.styles, self.cells = [], [], [], [], []
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        place = {"script": self.scripts, "style": self.styles}.get(self._inside, self.texts)
        place.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    @property
    def charts(self):
        [(specs, _)] = [
            json.JSONDecoder().raw_decode(script, script.index("Object.entries(") + len("Object.entries("))
            for script in self.scripts
            if script.lstrip().startswith("const options")
        ]
        return specs


def chart_values(spec):
    return spec["data"]["values"]


@pytest.fixture(scope="module")
def page():
    return Page(render(summary()))


def test_the_page_is_one_file_with_everything_in_it(tmp_path):
    path = write_report(tmp_path / "new folder" / "report.html", summary())
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]


def test_nothing_on_the_page_points_outside(page):
    loading = {"src", "href", "srcset", "data", "action", "poster", "background", "xlink:href"}
    assert [(tag, attrs) for tag, attrs in page.tags if loading & attrs.keys()] == []
    assert not any(tag in ("link", "iframe", "object", "embed", "base") for tag, _ in page.tags)
    assert not re.search(r"@import|url\(", "".join(page.styles))
    [policy] = [attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    assert all("url" not in spec["data"] for spec in page.charts.values())


def test_every_chart_has_its_place_and_the_library_is_inside(page):
    places = {attrs["id"] for tag, attrs in page.tags if attrs.get("class") == "chart"}
    of_the_run = {"trend-1", "trend-2", "trend-3", "scores-chart", "brands-chart"}
    of_quality = {"backtest-1-hit_rate", "backtest-1-ndcg", "kinds-1"}
    assert set(page.charts) == places == of_the_run | of_quality
    assert any(len(script) > 500_000 and "vegaEmbed" in script for script in page.scripts)


def test_the_page_shows_the_run(page):
    for shown in (
        "2019-11-01 to 2019-11-08 UTC",
        "213,004",
        "The batch layer received all 213,004 messages sent.",
        "user_id is no 64-bit integer.",
        "tessel & söhne",
        "1004856",
        "+357 %",
        "new",
        f"User {USER}",
        "up 357 % in 7 days, trend no. 1; you looked at norrvik 2 days ago (brand no. 1 of 3)",
        "The batch result is stored in the serving layer: data",
        "replay",
    ):
        assert shown in page.text


def test_the_bars_of_a_trend_are_its_counts(page):
    assert [bar["count"] for bar in page.charts["trend-1"]["data"]["values"]] == [21, 24, 30, 45, 60, 81, 96]
    assert page.charts["trend-1"]["data"]["values"][0]["bucket"] == "1 Nov"


def test_dots_of_recommended_brands_are_coloured(page):
    dots = page.charts["brands-chart"]["data"]["values"]
    assert {dot["brand"] for dot in dots if dot["recommended"] == "yes"} == {"norrvik", "tessel & söhne"}
    assert all(dot["at"].endswith("Z") for dot in dots)


def test_ids_are_text_in_charts_since_javascript_would_round_them(page):
    assert str(USER) in page.charts["brands-chart"]["data"]["values"][0]["user"]
    assert all(isinstance(dot["product"], str) for dot in page.charts["scores-chart"]["data"]["values"])


def test_hostile_text_stays_text():
    hostile = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u202e\x00"
    product = trend(1, 1, [1, 2], brand=hostile, category_code=f"a.{hostile}")
    run = summary(
        trends=[product],
        brands=[user_brands(7, hostile)],
        recommendations=[recommendation(7, 1, product)],
        counts=Counts(1, 1, 1, 0, {hostile: 1}),
        notes=[hostile],
    )
    page = Page(render(run))
    assert len(page.scripts) == 2
    assert not any(tag == "img" for tag, _ in page.tags)
    assert "<script>alert(1)</script>" in page.text
    assert page.charts["scores-chart"]["data"]["values"][0]["brand"].startswith("</script><script>alert(1)")
    assert not any(character in render(run) for character in "\u202e\x00")


def test_hostile_text_of_an_evaluation_stays_text():
    hostile = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u202e"
    of_backtest = backtest(competitors={**backtest()["competitors"], hostile: competitor(0.9, 0.9)})
    of_shop = planted_shop(rankings={**planted_shop()["rankings"], hostile: planted_shop()["rankings"]["score, users"]})
    run = summary(quality=quality({hostile: of_backtest}, {hostile: of_shop}))
    page = Page(render(run))
    assert len(page.scripts) == 2
    assert not any(tag == "img" for tag, _ in page.tags)
    assert page.text.count("<img src=x onerror=alert(2)>") >= 4
    assert "\u202e" not in render(run)


def test_counts_that_differ_are_marked():
    page = Page(render(summary(counts=Counts(100, 90, 100, 90))))
    assert "✗ The batch layer lacks 10 messages of 100 sent" in page.text
    assert [attrs for tag, attrs in page.tags if attrs.get("class") == "wrong"]


def test_an_empty_run_explains_itself():
    nothing = {"trends": [], "brands": [], "recommendations": [], "seconds": {}, "counts": Counts()}
    page = Page(render(summary(**nothing, quality=quality({}, {}))))
    assert "No product reached min_events = 25 with two users in one bucket in this range" in page.text
    assert "No user has viewed a brand yet" in page.text
    assert "set fallback = true" in page.text
    assert page.charts == {}


def test_without_percentages_there_is_no_chart_of_them():
    page = Page(render(summary(trends=[trend(1, 1, [0, 5]), trend(2, 2, [0, 4])])))
    assert "scores-chart" not in page.charts
    assert "Score against percentage" not in page.text


def test_a_product_without_score_or_brand_is_shown():
    row = trend(
        1, 1, [0, 5], brand=None, category_code=None, trend_score=None, growth_pct=None, z=None, confidence=None
    )
    fallback = recommendation(7, 1, row, is_fallback=True, brand_position=None, brand_last_seen_at=None)
    page = Page(render(summary(trends=[row], recommendations=[fallback])))
    assert "fallback: a trend of the whole shop" in page.text


def test_the_page_says_who_wins_the_backtest_and_by_how_much(page):
    for shown in (
        "How good this is",
        "Generated months",
        "1,230 users, 6 instants",
        "By HR@20, popularity wins: it has 50.0 %, the default order 40.0 %. "
        "That is 20 % less (95 % interval: 16 to 23 %). The rule trend-rank has 20.0 %. "
        "“all products” has the most, 55.0 %.",
        "By NDCG@20, the default order wins: it has 0.130, popularity 0.100. "
        "That is 30 % more (95 % interval: 20 to 40 %). The rule trend-rank has 0.030.",
        "order relevance (default) 40.0 % 39.0 to 41.0 % 0.130 0.125 to 0.135",
    ):
        assert shown in page.text


def test_without_a_significant_difference_nobody_wins():
    even = {"over": "popularity", "times": [1.02, 0.95, 1.08]}
    part = backtest(lift={"order relevance": {"hit_rate": even, "ndcg": even}})
    page = Page(render(summary(quality=quality({"Shop": part}))))
    assert "By HR@20, popularity (50.0 %) and the default order (40.0 %) cannot be told apart." in page.text
    assert "wins" not in page.text


def test_dots_of_the_backtest_are_sorted_with_their_intervals(page):
    dots = chart_values(page.charts["backtest-1-hit_rate"])
    assert [(dot["competitor"], dot["value"]) for dot in dots] == [
        ("all products", 0.55),
        ("popularity", 0.5),
        ("order relevance (default)", 0.4),
        ("trend-rank", 0.2),
    ]
    assert all(dot["low"] == pytest.approx(dot["value"] - 0.01) for dot in dots)
    assert all(dot["high"] == pytest.approx(dot["value"] + 0.01) for dot in dots)
    assert [dot["is_default"] for dot in dots] == [False, False, True, False]
    assert chart_values(page.charts["backtest-1-ndcg"])[0]["label"] == "order relevance (default) 0.130"


def test_planted_products_are_compared_with_found_ones(page):
    for shown in (
        "13.0 of the first 20 places of the default ranking hold a planted trend, 7.0 do not. "
        "Of the 20 planted trends 7.0 are missed there, and 3.0 by the first 100 places.",
        "The default ranking, 120 weeks",
        "planted trend 20.0 13.0 4.0 3.0",
        "spam of one user 20.0 0.0 0.0 20.0",
        "nothing planted – 6.2 76.0 –",
        "score, events 6.5 10.0 0.5 0.2 2.8 13.5",
    ):
        assert shown in page.text


def test_a_bar_holds_the_first_20_places_of_a_ranking(page):
    parts = chart_values(page.charts["kinds-1"])
    assert [(part["ranking"], part["count"]) for part in parts if part["kind"] == "planted trend"] == [
        ("score, users (default)", 13),
        ("score, events", 6.5),
    ]
    ends = [part["end"] for part in parts if part["ranking"] == "score, events"]
    assert ends == [6.5, 16.5, 17, 17.25, 20]


def test_what_was_planted_in_a_generated_month_is_marked_in_its_trends(page):
    assert "planted trends in the last three days" not in page.text
    marked = Page(render(summary(planted_ids=frozenset([1004856, 7]))))
    assert "with 2 planted trends in the last three days of the month: 1 of the 3 trends above" in marked.text
    assert "1004856, planted" in marked.text
    assert "44600062, planted" not in marked.text


def test_the_same_run_makes_the_same_page():
    assert render(summary()) == render(summary())


def test_tables_have_captions_and_headers(page):
    tags = [tag for tag, _ in page.tags]
    assert tags.count("table") == tags.count("caption") == tags.count("thead")
    assert all("scope" in attrs for tag, attrs in page.tags if tag == "th")
    assert dict(page.tags)["html"] == {"lang": "en"}


def test_text_keeps_its_contrast_in_light_and_dark(page):
    themes = re.findall(r":root\s*{(.*?)}", "".join(page.styles), re.DOTALL)
    assert len(themes) == 2
    for theme in themes:
        colours = dict(re.findall(r"--(\w+): (#\w{6})", theme))
        for text in ("ink", "soft", "accent", "bad"):
            assert contrast(colours[text], colours["paper"]) >= 4.5
        assert contrast(colours["muted"], colours["paper"]) >= 3
        for text, bar in (("paper", "accent"), ("paper", "soft"), ("dark", "muted"), ("ink", "pale"), ("ink", "line")):
            assert contrast(colours[text], colours[bar]) >= 4.5


def contrast(one, other):
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def luminance(colour):
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_naive_times_of_pyspark_are_shown_in_utc():
    local = END.astimezone().replace(tzinfo=None)
    page = Page(render(summary(window_to=local)))
    assert "2019-11-01 to 2019-11-08 UTC" in page.text
