"""The page of a run: complete, safe, and without a network."""

import json
import re
from html.parser import HTMLParser

import pytest
from sample_run import END, USER, recommendation, summary, trend, user_brands

from lambda_spark.report import render, write_report
from lambda_spark.summary import Counts


class Page(HTMLParser):
    """The parts of a page that the tests ask for."""

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
    assert set(page.charts) == places == {"trend-1", "trend-2", "trend-3", "scores-chart", "brands-chart"}
    assert any(len(script) > 500_000 and "vegaEmbed" in script for script in page.scripts)


def test_the_page_tells_the_run(page):
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


def test_dots_are_coloured_where_the_brand_led_to_a_recommendation(page):
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


def test_counts_that_differ_are_marked():
    page = Page(render(summary(counts=Counts(100, 90, 100, 90))))
    assert "✗ The batch layer lacks 10 messages of 100 sent" in page.text
    assert [attrs for tag, attrs in page.tags if attrs.get("class") == "wrong"]


def test_an_empty_run_explains_itself():
    page = Page(render(summary(trends=[], brands=[], recommendations=[], counts=Counts(), seconds={})))
    assert "No product reached min_events = 25 with two users in one bucket in this range" in page.text
    assert "No user has met a brand yet" in page.text
    assert "set fallback = true" in page.text
    assert page.charts == {}


def test_products_that_are_all_new_leave_out_the_chart_of_percentages():
    page = Page(render(summary(trends=[trend(1, 1, [0, 5]), trend(2, 2, [0, 4])])))
    assert "scores-chart" not in page.charts
    assert "Score against percentage" not in page.text


def test_a_product_without_score_or_brand_is_shown():
    row = trend(
        1, 1, [0, 5], brand=None, category_code=None, trend_score=None, growth_pct=None, z=None, confidence=None
    )
    fallback = recommendation(7, 1, row, is_fallback=True, brand_position=None, brand_last_seen_at=None)
    page = Page(render(summary(trends=[row], recommendations=[fallback])))
    assert "fallback: a top trend" in page.text


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
            assert _contrast(colours[text], colours["paper"]) >= 4.5
        assert _contrast(colours["muted"], colours["paper"]) >= 3


def _contrast(one, other):
    bright, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def _luminance(colour):
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_naive_times_of_pyspark_are_told_in_utc():
    local = END.astimezone().replace(tzinfo=None)
    page = Page(render(summary(window_to=local)))
    assert "2019-11-01 to 2019-11-08 UTC" in page.text
