"""What several gateways tell, merged: counts add up, times are the latest, and who does not answer is named."""

from processor.views.gateways import GatewayReport, RouteReport, gateway_list
from processor.watch.silence import Answering

SECOND = 1_000_000
FIRST = RouteReport("/hooks/twilio/a", "twilio", "a", 10, 2, 1, 3, 4, 5 * SECOND, 7 * SECOND, "an old secret")
SECOND_ROUTE = RouteReport("/hooks/twilio/a", "twilio", "a", 1, 0, 1, 0, 0, 9 * SECOND, 6 * SECOND, "no header")
MAIL = RouteReport("/hooks/postmark", "postmark", "")


def test_calls_of_one_route_add_up_over_the_gateways():
    reports = {"http://a": GatewayReport((FIRST, MAIL)), "http://b": GatewayReport((SECOND_ROUTE,))}
    mail, phone = gateway_list(reports, {"twilio": Answering.SILENT}).routes
    assert (phone.provider, phone.account, phone.answering) == ("twilio", "a", Answering.SILENT)
    assert (phone.taken, phone.spooled, phone.refused, phone.malformed, phone.again) == (11, 2, 2, 3, 4)
    assert phone.last_call == "1970-01-01T00:00:09Z"
    assert (phone.last_refused, phone.refusal) == ("1970-01-01T00:00:07Z", "an old secret")
    assert (mail.account, mail.last_call, mail.last_refused, mail.answering) == (None, None, None, None)


def test_a_gateway_that_does_not_answer_is_named():
    reports = {"http://a": GatewayReport((), 12, 3 * SECOND), "http://b": None, "http://c": GatewayReport(())}
    found = [(each.url, each.answers, each.waiting, each.oldest) for each in gateway_list(reports, {}).gateways]
    assert found == [
        ("http://a", True, 12, "1970-01-01T00:00:03Z"),
        ("http://b", False, None, None),
        ("http://c", True, 0, None),
    ]


def test_without_gateways_there_is_nothing():
    assert gateway_list({}, {}).gateways == gateway_list({}, {}).routes == ()
