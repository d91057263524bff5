"""The ten statuses, and what people are told about each."""

import pytest

from processor.domain.status import DEFINITIONS, Channel, Permanence, Status

#: Name on the wire, English label, Swedish label, channels. The labels are Adobe's, to the letter.
DEFINED = """
pending            | Pending                                    | Väntande                                  | all
prepared           | Prepared                                   | Förberedd                                 | sms
sent_to_provider   | Sent to the service provider               | Skickat till tjänstleverantören           | sms
taken_into_account | Taken into account by the service provider | Tjänsteleverantören har tagit hänsyn till | all
sent               | Sent                                       | Skickat                                   | all
received_on_mobile | Received on mobile                         | Mottaget på mobilen                       | sms
failed             | Failed                                     | Misslyckades                              | all
ignored            | Ignored                                    | Ignorerad                                 | all
canceled           | Delivery canceled                          | Leveransen har avbrutits                  | all
not_applicable     | Not applicable                             | Ej tillämpligt                            | all
"""
ROWS = [tuple(cell.strip() for cell in line.split("|")) for line in DEFINED.strip().splitlines()]


@pytest.mark.parametrize(("name", "english", "swedish", "channels"), ROWS)
def test_the_definition_of_a_status(name, english, swedish, channels):
    definition = DEFINITIONS[Status(name)]
    assert (definition.english, definition.swedish) == (english, swedish)
    assert definition.channels == ({Channel.SMS} if channels == "sms" else set(Channel))


def test_there_are_ten_statuses_in_the_order_of_a_life():
    assert [status.value for status in Status] == [name for name, *_ in ROWS]
    assert list(DEFINITIONS) == list(Status)


def test_every_status_has_a_meaning_in_a_sentence():
    for definition in DEFINITIONS.values():
        assert definition.meaning.endswith(".")
        assert definition.meaning[0].isupper()


def test_sent_does_not_claim_more_than_is_known():
    assert DEFINITIONS[Status.SENT].meaning.endswith("Not final.")


def test_a_failure_is_final_given_up_or_still_being_tried():
    assert {permanence.value for permanence in Permanence} == {"transient", "gave_up", "permanent"}


def test_messages_travel_by_mail_or_sms():
    assert {channel.value for channel in Channel} == {"email", "sms"}
