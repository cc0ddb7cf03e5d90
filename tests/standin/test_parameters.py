"""What Stripe says about wrong parameters, keys and ids."""

import base64
from typing import Any

import aiohttp
import pytest
import stripe

from tests.standin.process import PUBLISHABLE_KEY, SECRET_KEY, StandinProcess

GOOD = {"amount": "12000", "currency": "zar"}
WRONG = [
    ({"currency": "zar"}, "parameter_missing", "amount", "Missing required param: amount."),
    ({"amount": "100"}, "parameter_missing", "currency", "Missing required param: currency."),
    ({**GOOD, "amount": "1.5"}, "parameter_invalid_integer", "amount", "Invalid integer: 1.5"),
    (
        {**GOOD, "amount": "0"},
        "parameter_invalid_integer",
        "amount",
        "This value must be greater than or equal to 1.",
    ),
    (
        {"amount": "49", "currency": "usd"},
        "amount_too_small",
        "amount",
        "Amount must be at least 0.50 usd",
    ),
    (
        {**GOOD, "amount": "100000000"},
        "amount_too_large",
        "amount",
        "Amount must be no more than 999,999.99 zar",
    ),
    (
        {**GOOD, "colour": "red"},
        "parameter_unknown",
        "colour",
        "Received unknown parameter: colour",
    ),
    ({**GOOD, "confirm": "yes"}, None, "confirm", "Invalid boolean: yes"),
    ({**GOOD, "metadata": "x"}, None, "metadata", "Invalid object"),
    (
        {**GOOD, "payment_method": "pm_card_visa_gold"},
        "resource_missing",
        "payment_method",
        "No such PaymentMethod: 'pm_card_visa_gold'",
    ),
    (
        {**GOOD, "expand[]": "customer.address"},
        None,
        "expand",
        "This property cannot be expanded (customer.address).",
    ),
]


@pytest.mark.parametrize(("params", "code", "param", "message"), WRONG)
async def test_wrong_parameters_are_named(
    standin: StandinProcess, params: dict[str, str], code: str | None, param: str, message: str
) -> None:
    status, answer = await standin.call("POST", "/v1/payment_intents", data=params)

    error = answer["error"]
    assert status in (400, 404)
    assert (error["type"], error.get("code")) == ("invalid_request_error", code)
    assert (error["param"], error["message"]) == (param, message)


async def test_an_unsupported_currency_is_refused(standin: StandinProcess) -> None:
    status, answer = await standin.call(
        "POST", "/v1/payment_intents", data={"amount": "100", "currency": "xxx"}
    )

    assert status == 400
    assert answer["error"]["message"].startswith("Invalid currency: xxx. Stripe currently supports")
    assert "zar" in answer["error"]["message"]


async def test_a_wrong_id_is_404(standin: StandinProcess) -> None:
    with pytest.raises(stripe.InvalidRequestError) as missing:
        await standin.intents.retrieve_async("pi_none")

    assert (missing.value.http_status, missing.value.code) == (404, "resource_missing")
    assert "No such payment_intent: 'pi_none'" in str(missing.value)


@pytest.mark.parametrize("key", ["sk_live_abc", "pk_live_abc", "rk_live_abc", "nonsense", ""])
async def test_live_and_invalid_keys_are_refused(standin: StandinProcess, key: str) -> None:
    status, answer = await standin.call("GET", "/v1/payment_intents", key=key)

    assert status == 401
    assert key not in answer["error"]["message"] or key in ("", "nonsense")


async def test_a_customer_pays_with_the_client_secret_alone(standin: StandinProcess) -> None:
    intent = await standin.open("order-secret")
    path = f"/v1/payment_intents/{intent.id}/confirm"
    form: dict[str, Any] = {"payment_method": "pm_card_visa"}

    without, _ = await standin.call("POST", path, key=PUBLISHABLE_KEY, data=form)
    wrong, _ = await standin.call(
        "POST", path, key=PUBLISHABLE_KEY, data={**form, "client_secret": "pi_1_secret_2"}
    )
    right, paid = await standin.call(
        "POST", path, key=PUBLISHABLE_KEY, data={**form, "client_secret": intent.client_secret}
    )

    assert (without, wrong, right) == (400, 400, 200)
    assert paid["status"] == "succeeded"
    assert "metadata" not in paid


async def test_a_customers_errors_hide_the_merchants_notes(standin: StandinProcess) -> None:
    intent = await standin.open("order-hidden")
    await standin.intents.cancel_async(intent.id)

    status, answer = await standin.call(
        "POST",
        f"/v1/payment_intents/{intent.id}/confirm",
        key=PUBLISHABLE_KEY,
        data={"client_secret": intent.client_secret, "payment_method": "pm_card_visa"},
    )

    assert status == 400
    assert answer["error"]["payment_intent"]["status"] == "canceled"
    assert "order-hidden" not in str(answer)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/payment_intents"),
        ("GET", "/v1/events"),
        ("POST", "/v1/refunds"),
        ("POST", "/v1/payment_intents"),
        ("POST", "/v1/payment_intents/{id}/cancel"),
    ],
)
async def test_a_publishable_key_can_do_nothing_else(
    standin: StandinProcess, method: str, path: str
) -> None:
    intent = await standin.open()

    status, answer = await standin.call(
        method,
        path.format(id=intent.id),
        key=PUBLISHABLE_KEY,
        data=GOOD if method == "POST" else None,
    )

    assert (status, answer["error"]["code"]) == (401, "secret_key_required")


async def test_a_basic_user_is_a_key_too(standin: StandinProcess) -> None:
    credentials = base64.b64encode(f"{SECRET_KEY}:".encode()).decode()

    status, _ = await standin.call(
        "GET", "/v1/payment_intents", headers={"Authorization": f"Basic {credentials}"}
    )

    assert status == 200


async def test_a_web_page_may_call_the_api_as_stripe_js_does(standin: StandinProcess) -> None:
    preflight = {
        "Origin": "http://shop.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    async with (
        aiohttp.ClientSession(standin.url, headers=preflight) as http,
        http.options("/v1/payment_intents/pi_1/confirm") as api,
        http.options("/_control/faults") as control,
    ):
        pass

    assert api.status == 200
    assert api.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Origin" not in control.headers


async def test_a_web_page_cannot_post_to_the_control_interface(standin: StandinProcess) -> None:
    status, _ = await standin.call(
        "POST",
        "/_control/faults",
        data='{"kind": "rate_limit"}',
        headers={"Content-Type": "text/plain"},
    )

    assert status == 400
    assert (await standin.control("GET", "/faults"))["faults"] == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("dispute", {"amount": -1}),
        ("dispute", []),
        ("authenticate", {"success": "maybe"}),
        ("authenticate", {"success": True}),
        ("fail", {}),
    ],
)
async def test_the_control_interface_says_what_is_wrong(
    standin: StandinProcess, path: str, body: object
) -> None:
    intent = await standin.paid()

    status, answer = await standin.call(
        "POST", f"/_control/payment_intents/{intent.id}/{path}", json=body
    )

    assert status == 400
    assert answer["error"]["message"]
