"""Why a message or a line is no event: the reasons, each with its sentence for people."""

from enum import Enum


class Reason(str, Enum):
    """A reason for rejecting. The value is what `rejected_events.reason` holds."""

    EMPTY_MESSAGE = "empty_message"
    NOT_UTF8 = "not_utf8"
    TOO_LONG = "too_long"
    NOT_A_JSON_OBJECT = "not_a_json_object"
    NOT_NINE_FIELDS = "not_nine_fields"
    EVENT_TIME_MISSING = "event_time_missing"
    EVENT_TIME_MALFORMED = "event_time_malformed"
    EVENT_TYPE_MISSING = "event_type_missing"
    EVENT_TYPE_MALFORMED = "event_type_malformed"
    PRODUCT_ID_MISSING = "product_id_missing"
    PRODUCT_ID_MALFORMED = "product_id_malformed"
    PRODUCT_ID_DAMAGED = "product_id_damaged_by_float"
    USER_ID_MISSING = "user_id_missing"
    USER_ID_MALFORMED = "user_id_malformed"
    USER_ID_DAMAGED = "user_id_damaged_by_float"
    CATEGORY_ID_MALFORMED = "category_id_malformed"
    CATEGORY_ID_DAMAGED = "category_id_damaged_by_float"
    PRICE_MALFORMED = "price_malformed"
    TEXT_MALFORMED = "text_malformed"


_NO_INTEGER = "is no 64-bit integer."
_DAMAGED = "was written as a decimal number, as spreadsheets and floats do; its last digits are lost."

SENTENCES = {
    Reason.EMPTY_MESSAGE: "The message has no value.",
    Reason.NOT_UTF8: "The value is not UTF-8 text.",
    Reason.TOO_LONG: "The value is longer than an event can be.",
    Reason.NOT_A_JSON_OBJECT: "The message is not a JSON object.",
    Reason.NOT_NINE_FIELDS: "The line has not nine fields.",
    Reason.EVENT_TIME_MISSING: "event_time is empty.",
    Reason.EVENT_TIME_MALFORMED: "event_time is no instant such as 2019-10-01 00:00:00 UTC.",
    Reason.EVENT_TYPE_MISSING: "event_type is empty.",
    Reason.EVENT_TYPE_MALFORMED: "event_type is no short lower-case word.",
    Reason.PRODUCT_ID_MISSING: "product_id is empty.",
    Reason.PRODUCT_ID_MALFORMED: f"product_id {_NO_INTEGER}",
    Reason.PRODUCT_ID_DAMAGED: f"product_id {_DAMAGED}",
    Reason.USER_ID_MISSING: "user_id is empty.",
    Reason.USER_ID_MALFORMED: f"user_id {_NO_INTEGER}",
    Reason.USER_ID_DAMAGED: f"user_id {_DAMAGED}",
    Reason.CATEGORY_ID_MALFORMED: f"category_id {_NO_INTEGER}",
    Reason.CATEGORY_ID_DAMAGED: f"category_id {_DAMAGED}",
    Reason.PRICE_MALFORMED: "price is no number, or below 0.",
    Reason.TEXT_MALFORMED: "A text column holds a nested JSON value.",
}
