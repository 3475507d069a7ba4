"""The settings: every default in one file, overridden by the environment and by options; a bad one is named."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from lambda_spark.errors import SettingsError
from lambda_spark.settings import CONFIG_FILE, PROJECT_ROOT, Settings, _note_old_word, load_settings


@pytest.fixture(autouse=True)
def _without_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("LAMBDA_")]:
        monkeypatch.delenv(name)


def test_the_file_holds_every_default() -> None:
    settings = load_settings()
    assert settings.data_root == str(PROJECT_ROOT / "data")
    assert (settings.trends.days, settings.trends.bucket, settings.trends.rank_by) == (7, "day", "trend_score")
    assert (settings.brands.limit, settings.brands.event_types) == (50, ())
    assert set(settings.trends.weights.model_dump().values()) == {1.0}
    # These two follow the size of the shop.
    assert (settings.trends.smoothing, settings.trends.min_events) == (None, None)


def test_the_environment_overrides_the_file_and_options_override_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBDA_KAFKA__TOPIC", "clicks")
    monkeypatch.setenv("LAMBDA_TRENDS__WEIGHTS__PURCHASE", "5")
    monkeypatch.setenv("LAMBDA_BRANDS__EVENT_TYPES", '["view", "cart"]')
    settings = load_settings(kafka={"partitions": 9}, trends={"weights": {"cart": 2}})
    assert (settings.kafka.topic, settings.kafka.partitions) == ("clicks", 9)
    assert settings.trends.weights.model_dump() == {
        "view": 1,
        "cart": 2,
        "remove_from_cart": 1,
        "purchase": 5,
        "other": 1,
    }
    assert settings.brands.event_types == ("view", "cart")
    assert load_settings(kafka={"topic": "orders"}).kafka.topic == "orders"


@pytest.mark.parametrize(
    ("root", "expected", "local"),
    [
        ("/mnt/shop", "/mnt/shop", Path("/mnt/shop")),
        ("elsewhere", f"{PROJECT_ROOT}/elsewhere", PROJECT_ROOT / "elsewhere"),
        ("s3a://shop/tables/", "s3a://shop/tables", PROJECT_ROOT / "data"),
    ],
)
def test_a_relative_data_root_is_taken_from_the_project_and_a_uri_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, root: str, expected: str, local: Path
) -> None:
    monkeypatch.setenv("LAMBDA_DATA_ROOT", root)
    assert (load_settings().data_root, load_settings().local_root) == (expected, local)


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("kafka", "topic", "my topic"),
        ("kafka", "partitions", "0"),
        ("ingest", "trigger", "soon"),
        ("ingest", "max_messages_per_trigger", "0"),
        ("speed", "shards", "many"),
        ("speed", "state_partitions", "-1"),
        ("brands", "limit", "0"),
        ("trends", "days", "0"),
        ("trends", "rank_by", "raw"),
        ("trends", "count_by", "sessions"),
        ("trends", "smoothing", "0"),
        ("trends", "min_events", "-1"),
        ("trends", "weights__view", "-1"),
        ("trends", "weights__view", "nan"),
        ("recommendations", "leave_out", "bought"),
        ("recommendations", "order", "luck"),
        ("recommendations", "fallback", "perhaps"),
        ("recommendations", "per_user", "0"),
    ],
)
def test_a_bad_value_is_an_error_that_names_setting_value_and_file(
    monkeypatch: pytest.MonkeyPatch, section: str, name: str, value: str
) -> None:
    monkeypatch.setenv(f"LAMBDA_{section}__{name}".upper(), value)
    with pytest.raises(SettingsError) as error:
        load_settings()
    message = str(error.value)
    assert f"{section}.{name.replace('__', '.')} = {value!r}" in message
    assert str(CONFIG_FILE) in message
    assert "\n" not in message


def test_trend_rank_is_an_order_and_its_old_word_is_accepted_with_a_note(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert load_settings(recommendations={"order": "trend-rank"}).recommendations.order == "trend-rank"
    assert caplog.messages == []

    def note_of(**overrides: object) -> str:
        _note_old_word.cache_clear()
        caplog.clear()
        for _ in range(2):
            assert load_settings(**overrides).recommendations.order == "trend-rank"
        (note,) = caplog.messages
        return note

    of_option = note_of(recommendations={"order": "origin"})
    monkeypatch.setenv("LAMBDA_RECOMMENDATIONS__ORDER", "origin")
    of_environment = note_of()
    monkeypatch.delenv("LAMBDA_RECOMMENDATIONS__ORDER")
    edited = tmp_path / "lambda.toml"
    edited.write_text(CONFIG_FILE.read_text().replace('order = "relevance"', 'order = "origin"'))
    monkeypatch.setitem(Settings.model_config, "toml_file", edited)
    of_file = note_of()
    assert of_option == of_environment == of_file
    assert 'recommendations.order = "origin" is now called "trend-rank"' in of_file
    assert "\n" not in of_file


def test_all_bad_values_are_named_at_once() -> None:
    with pytest.raises(SettingsError, match=r"trends\.days = 0: .*; trends\.rank_by = 'x': "):
        load_settings(trends={"days": 0, "rank_by": "x"})


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"nonsense": 1}, "nonsense = 1"),
        ({"kafka": {"nonsense": "x"}}, "kafka.nonsense = 'x'"),
        ({"trends": {"weights": {"wish": 2}}}, "trends.weights.wish = 2"),
    ],
)
def test_a_setting_that_does_not_exist_is_refused(overrides: dict[str, object], named: str) -> None:
    with pytest.raises(SettingsError, match=named.replace(".", r"\.")):
        load_settings(**overrides)


def test_a_setting_of_the_environment_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBDA_KAFKA__TOPICS", "clicks")
    with pytest.raises(SettingsError, match=r"kafka\.topics = 'clicks'"):
        load_settings()


def test_a_list_that_isnt_json_is_an_error_that_shows_how_to_write_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBDA_BRANDS__EVENT_TYPES", "view,cart")
    with pytest.raises(SettingsError, match=r"'view,cart' .* write lists as in \[\"view\", \"cart\"\]"):
        load_settings()


def test_a_settings_file_that_isnt_toml_is_an_error_that_names_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "lambda.toml"
    broken.write_text("data_root = \n")
    monkeypatch.setitem(Settings.model_config, "toml_file", broken)
    with pytest.raises(SettingsError, match=r"lambda\.toml.*line 1"):
        load_settings()


def test_settings_do_not_change_once_loaded() -> None:
    settings = load_settings()
    with pytest.raises(ValidationError):
        settings.kafka.topic = "clicks"


@pytest.mark.parametrize(
    ("kafka", "sentence"),
    [
        ({"security_protocol": "SASL_SSL"}, "SASL_SSL needs username, and one of password and password_file"),
        ({"security_protocol": "SASL_SSL", "username": "u"}, "SASL_SSL needs username, and one of"),
        (
            {"security_protocol": "SASL_SSL", "username": "u", "password": "hidden", "password_file": "x"},
            "SASL_SSL needs username, and one of",
        ),
        ({"username": "u", "password": "hidden"}, "PLAINTEXT uses no username and no password: set SASL_SSL"),
        ({"ca_file": "ca.pem"}, "PLAINTEXT uses no ca_file: set SSL or SASL_SSL"),
        ({"security_protocol": "SASL_SSL", "username": "a,b", "password": "hidden"}, "kafka.username = 'a,b'"),
        ({"security_protocol": "TLS"}, "kafka.security_protocol = 'TLS'"),
        ({"sasl_mechanism": "PLAIN"}, "kafka.sasl_mechanism = 'PLAIN'"),
        ({"passwrod": "hidden"}, "kafka.passwrod = …"),
        ({"password": ["hidden"]}, "kafka.password = …"),
    ],
)
def test_a_connection_is_secured_as_a_whole_and_an_error_shows_no_secret(
    kafka: dict[str, object], sentence: str
) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings(kafka=kafka)
    assert sentence in str(error.value)
    assert "hidden" not in f"{error.value}{error.value.__cause__}"


def test_a_section_of_the_environment_that_isnt_json_is_not_shown_if_it_may_hold_a_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LAMBDA_KAFKA", '{"password": "hidden"')
    with pytest.raises(SettingsError, match=r"Cannot read '…' as settings") as error:
        load_settings()
    assert "hidden" not in str(error.value)


def test_settings_show_no_secret() -> None:
    given = {"security_protocol": "SASL_SSL", "username": "u", "password": "hidden"}
    settings = load_settings(kafka=given)
    assert "hidden" not in f"{settings!r}{settings}{settings.model_dump()}{settings.model_dump_json()}"


@pytest.mark.parametrize(
    "root",
    [
        "",
        " ",
        "data\n/etc",
        "data\0",
        "s3a://",
        "s3a:///etc",
        "s3a://shop/../other",
        "s3a://shop/.",
        "s3a://shop/%2e%2e/other",
        "s3a://shop/a?region=x",
        "s3a://shop/a#b",
        "s3a://shop\\..\\other",
        "s3a://AKIA:hidden@shop/tables",
    ],
)
def test_a_data_root_that_could_lead_elsewhere_or_holds_a_key_is_refused(root: str) -> None:
    with pytest.raises(SettingsError, match="Cannot use these settings: data_root = ") as error:
        load_settings(data_root=root)
    assert "hidden" not in str(error.value)


@pytest.mark.parametrize("topic", [".", "..", "a/b", "../a", "a\\b", "a\0", "a\n", "", "a" * 250])
def test_a_topic_whose_name_is_a_path_is_refused(topic: str) -> None:
    with pytest.raises(SettingsError, match=r"kafka\.topic = "):
        load_settings(kafka={"topic": topic})
