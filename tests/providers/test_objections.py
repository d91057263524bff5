"""Complaints and unsubscriptions are no statuses, and say of an address that its owner objects."""

from datetime import datetime, timezone

import pytest

from processor.domain.addresses import Kind
from processor.providers import outcome, read
from processor.providers.adapter import Context
from tests.providers.test_samples import ALL

RECEIVED = Context(received=datetime(2026, 11, 23, 8, tzinfo=timezone.utc))

#: Of the samples of each provider: which rows are objections, and of which kind.
ROWS = {
    "brevo": {
        "spam": "complaint",
        "complaint": "complaint",
        "unsubscribe": "unsubscribe",
        "unsubscribed": "unsubscribe",
    },
    "kumomta": {},
    "mailgun": {"complained": "complaint", "unsubscribed": "unsubscribe"},
    "mailjet": {"spam": "complaint", "unsub": "unsubscribe"},
    "postmark": {
        "SpamComplaint": "complaint",
        "Bounce SpamComplaint": "complaint",
        "Bounce Unsubscribe": "unsubscribe",
    },
    "powermta": {"f": "complaint"},
    "resend": {"email.complained": "complaint"},
    "sendgrid": {"spamreport": "complaint", "unsubscribe": "unsubscribe"},
    "ses": {"Complaint": "complaint"},
    "sparkpost": {
        "spam_complaint": "complaint",
        "list_unsubscribe": "unsubscribe",
        "link_unsubscribe": "unsubscribe",
        "bounce class 90": "unsubscribe",
    },
}


def objections(provider, payload):
    findings = read(provider, payload, RECEIVED)
    assert outcome(findings)[0] == "no_status"
    return [each for finding in findings for each in finding.objections]


@pytest.mark.parametrize("provider", ALL)
def test_these_samples_and_no_others_say_that_somebody_objects(provider):
    found = {}
    for sample in ALL[provider]:
        if sample["expected"] == "no_status":
            for objection in objections(provider, sample["raw"]):
                assert "@" in objection.recipient, sample
                assert objection.time.tzinfo is not None, sample
                found[sample.get("row")] = objection.kind.name.lower()
    assert found == ROWS.get(provider, {})


def feedback(kind):
    report = {"feedback_type": kind, "original_rcpt_to": ["anna@example.org"], "original_mail_from": "b@example.com"}
    return {"type": "Feedback", "id": "", "recipient": "fbl@example.com", "timestamp": 1762502400,
            "feedback_report": report}  # fmt: skip


def test_a_feedback_report_names_whose_complaint_it_is():
    [found] = objections("kumomta", feedback("abuse"))
    assert (found.kind, found.recipient) == (Kind.COMPLAINT, "anna@example.org")
    assert found.time == datetime.fromtimestamp(1762502400, timezone.utc)


@pytest.mark.parametrize("kind", ["not-spam", "auth-failure", "other"])
def test_a_feedback_report_of_another_type_is_no_complaint(kind):
    assert objections("kumomta", feedback(kind)) == []


@pytest.mark.parametrize("named", [[], ["a@example.com", "b@example.com"]])
def test_nobody_objects_where_it_is_not_said_which_recipient_complained(named):
    part = {"complainedRecipients": [{"emailAddress": each} for each in named], "timestamp": "2025-11-07T08:00:00Z"}
    assert objections("ses", {"eventType": "Complaint", "mail": {"messageId": "1"}, "complaint": part}) == []
    resend = {"type": "email.complained", "created_at": "2025-11-07T08:00:00Z", "data": {"to": named}}
    assert objections("resend", resend) == []


def changed(**fields):
    told = {"Origin": "Recipient", "SuppressSending": True, "SuppressionReason": "ManualSuppression", **fields}
    told |= {"RecordType": "SubscriptionChange", "Recipient": "anna@example.org"}
    return {**told, "ChangedAt": "2025-11-07T08:01:00Z"}


def test_a_change_of_a_suppression_list_is_an_objection_if_the_recipient_made_it():
    [found] = objections("postmark", changed())
    assert (found.kind, found.recipient) == (Kind.UNSUBSCRIBE, "anna@example.org")
    assert objections("postmark", changed(Origin="Admin")) == []
    assert objections("postmark", changed(SuppressSending=False)) == []
    assert objections("postmark", changed(SuppressionReason="HardBounce")) == []
