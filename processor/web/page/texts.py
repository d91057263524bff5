"""Every text of the page, in English and Swedish: one row each, so that none can be missing in one language.

The labels of statuses, and what each means in English, are not here: they are domain/status.py's.
"""

from __future__ import annotations

from processor.domain.status import DEFINITIONS, Status
from processor.web.problems import (
    BAD_REQUEST,
    FORBIDDEN,
    HOP_REFUSED,
    INTERNAL_ERROR,
    INVALID_REQUEST,
    MESSAGE_UNREADABLE,
    NOT_INDEXED,
    TOO_LARGE,
    Kind,
)

#: The places of the languages in each row.
ENGLISH, SWEDISH = 0, 1

_FRAME: dict[str, tuple[str, str]] = {
    "product": ("Delivery status", "Leveransstatus"),
    "skip": ("Skip to the content", "Hoppa till innehållet"),
    "nav": ("Pages", "Sidor"),
    "nav.overview": ("Overview", "Översikt"),
    "nav.deliveries": ("Deliveries", "Leveranser"),
    "nav.statuses": ("Statuses", "Statusar"),
    "trail": ("You are here", "Du är här"),
    "languages": ("Language", "Språk"),
    "find.label": (
        "Find messages by id, provider's id or whole address, and deliveries by id or label",
        "Hitta meddelanden på id, leverantörens id eller hel adress, och leveranser på id eller etikett",
    ),
    "find.placeholder": ("Id, address, number or label", "Id, adress, nummer eller etikett"),
    "find.button": ("Find", "Sök"),
    "find.title": ("Found by “{text}”", "Hittat på ”{text}”"),
    "find.none": ("Nothing was found.", "Inget hittades."),
    "find.matched": ("What is alike", "Vad som är lika"),
    "kind.message": ("Message", "Meddelande"),
    "kind.delivery": ("Delivery", "Leverans"),
    "matched.message_id": ("the message's id", "meddelandets id"),
    "matched.provider_message_id": ("the provider's id", "leverantörens id"),
    "matched.recipient": ("the recipient", "mottagaren"),
    "matched.delivery_id": ("the delivery's id", "leveransens id"),
    "matched.label": ("the label", "etiketten"),
    "logout": ("Sign out", "Logga ut"),
    "signed_in": ("Signed in as", "Inloggad som"),
    "owner.read token": ("read token", "läsnyckel"),
    "owner.write token": ("write token", "skrivnyckel"),
    "owner.no token": ("no token", "ingen nyckel"),
    "role.reader": ("Reader", "Läsare"),
    "role.unmasked_reader": ("Unmasked reader", "Läsare utan dolda mottagare"),
    "role.operator": ("Operator", "Operatör"),
    "role.none": ("No role", "Ingen roll"),
    "reload": ("Reload", "Läs in igen"),
    "foot": ("delivery-status {version}", "delivery-status {version}"),
    "foot.api": ("API", "API"),
    "foot.metrics": ("Metrics", "Mätvärden"),
    "live.as_of": ("As of", "Per"),
    "live.on": ("Live, as of", "Direkt, per"),
    "live.poll": ("Renewed every few seconds, as of", "Förnyas med några sekunders mellanrum, per"),
    "live.lost": ("No contact, trying again; as of", "Ingen kontakt, försöker igen; per"),
    "live.paused": ("Paused, as of", "Pausad, per"),
    "live.pause": ("Pause", "Pausa"),
    "live.resume": ("Resume", "Fortsätt"),
    "copy": ("Copy", "Kopiera"),
    "copy.done": ("Copied", "Kopierat"),
    "zone": ("Times in", "Tider i"),
    "zone.own": ("this device's zone", "denna enhets zon"),
    "none": ("none", "inga"),
    "bar": ("Messages by status:", "Meddelanden per status:"),
    "paging": ("Pages of the list", "Listans sidor"),
    "paging.first": ("First page", "Första sidan"),
    "paging.next": ("Next page", "Nästa sida"),
    "in": ("in {span}", "om {span}"),
    "age": ("for {span}", "i {span}"),
    "unit.second": ("s", "s"),
    "unit.minute": ("min", "min"),
    "unit.hour": ("h", "tim"),
    "unit.day": ("d", "d"),
    "column.status": ("Status", "Status"),
    "column.channel": ("Channel", "Kanal"),
    "column.all": ("All", "Alla"),
    "column.provider": ("Provider", "Leverantör"),
    "column.delivery": ("Delivery", "Leverans"),
    "column.messages": ("Messages", "Meddelanden"),
    "column.count": ("Count", "Antal"),
    "column.reason": ("Reason", "Orsak"),
    "column.kind": ("Kind", "Slag"),
    "column.state": ("State", "Läge"),
    "column.progress": ("Progress by status", "Förlopp per status"),
    "column.stuck": ("Stuck", "Fastnat"),
    "column.activity": ("Last activity", "Senaste aktivitet"),
    "column.share": ("Share", "Andel"),
    "column.time": ("Time", "Tid"),
}

#: What each status means, in Swedish; what it means in English, domain/status.py says.
_MEANINGS: dict[Status, str] = {
    Status.PENDING: "Klart att skickas; väntar på leveransservern (MTA), eller på sitt datum.",
    Status.PREPARED: (
        "Mellanliggande, endast för externa anslutningar. Följer på Väntande; den externa kopplingen avgör "
        "vad som följer."
    ),
    Status.SENT_TO_PROVIDER: "Överlämnat till SMS-tjänstleverantören, som inte har bekräftat det än.",
    Status.TAKEN_INTO_ACCOUNT: "SMS: tjänsteleverantören har tagit emot det. E-post: vidarebefordrat till MTA.",
    Status.SENT: (
        "E-post: mottagarens server tog emot det. SMS: lämnat till mobilnätet. Inte slutgiltigt: mottagaren "
        "har inte nödvändigtvis fått det."
    ),
    Status.RECEIVED_ON_MOBILE: "Mottagarens mobil har kvitterat det.",
    Status.FAILED: "Kunde inte nå mottagaren; har en orsak.",
    Status.IGNORED: "Skickades aldrig: adressen var på blockeringslista, i karantän, saknades eller var en dubblett.",
    Status.CANCELED: "En operator avbröt det.",
    Status.NOT_APPLICABLE: "Togs med i beräkningen av servern (MTA) men bearbetades inte.",
}

_VOCABULARY: dict[str, tuple[str, str]] = {
    "channel.email": ("E-mail", "E-post"),
    "channel.sms": ("SMS", "SMS"),
    "status.not_on_channel": ("not on this channel", "finns inte i denna kanal"),
    "node.failed_gave_up": ("{failed} (gave\N{NO-BREAK SPACE}up)", "{failed} (gav\N{NO-BREAK SPACE}upp)"),
    "state.planned": ("Planned", "Planerad"),
    "state.scheduled": ("Scheduled", "Schemalagd"),
    "state.running": ("Running", "Pågår"),
    "state.paused": ("Paused", "Pausad"),
    "state.finished": ("Finished", "Avslutad"),
    "state.canceled": ("Canceled", "Avbruten"),
    "cause.scheduled": ("Pending: waits for its date.", "Väntande: inväntar sitt datum."),
    "cause.scheduled.short": ("waits for its date", "inväntar sitt datum"),
    "cause.scheduled.text": ("It is scheduled and starts at", "Den är schemalagd och startar"),
    "cause.concurrency_limit": (
        "Pending: held by the concurrency limit.",
        "Väntande: hålls av gränsen för samtidiga kampanjer.",
    ),
    "cause.concurrency_limit.short": ("held by the concurrency limit", "hålls av gränsen för samtidiga"),
    "cause.concurrency_limit.text": (
        "{running} campaigns run, and at most {limit} may run at once. It goes on when one of them ends.",
        "{running} kampanjer körs, och högst {limit} får köras samtidigt. Den går vidare när en av dem är klar.",
    ),
    "cause.mta_resources": ("Pending: waits for the MTA.", "Väntande: inväntar MTA."),
    "cause.mta_resources.short": ("waits for the MTA", "inväntar MTA"),
    "cause.mta_resources.text": (
        "Its date has come and the limit lets it run, but the MTA has not taken its messages.",
        "Dess datum är inne och gränsen släpper fram den, men MTA har inte tagit dess meddelanden.",
    ),
    "category.undefined": ("Not defined", "Ej definierad"),
    "category.user_unknown": ("User unknown", "Okänd användare"),
    "category.invalid_domain": ("Invalid domain", "Ogiltig domän"),
    "category.unreachable": ("Unreachable", "Kan inte nås"),
    "category.account_disabled": ("Account disabled", "Inaktiverat konto"),
    "category.mailbox_full": ("Mailbox full", "Full inkorg"),
    "category.not_connected": ("Not connected", "Inte ansluten"),
    "category.address_not_specified": ("Address not specified", "Adress saknas"),
    "category.denylisted": ("Denylisted", "På blockeringslista"),
    "category.quarantined": ("Quarantined", "I karantän"),
    "category.duplicate": ("Duplicate", "Dubblett"),
    "category.excluded_by_rule": ("Excluded by a rule", "Utesluten av en regel"),
    "category.excluded_by_arbitration": ("Excluded by arbitration", "Utesluten vid prioritering"),
    "category.bad_quality_address": ("Address of bad quality", "Adress av dålig kvalitet"),
    "category.unqualified_address": ("Unqualified address", "Okvalificerad adress"),
    "category.not_eligible": ("Not eligible", "Inte berättigad"),
    "category.target_limited": ("Target limited in size", "Målgruppen begränsad"),
    "category.refused": ("Refused", "Nekad"),
    "category.error_ignored": ("Error ignored", "Felet ignorerat"),
    "category.control_address": ("Control address", "Kontrolladress"),
    "category.personalization": ("Personalization", "Personalisering"),
    "permanence.transient": (
        "The attempt failed, and the provider is still trying.",
        "Försöket misslyckades, och leverantören försöker fortfarande.",
    ),
    "permanence.gave_up": (
        "A temporary condition outlived the retries. A later report may still correct it.",
        "Ett tillfälligt hinder varade längre än försöken. En senare rapport kan ännu rätta det.",
    ),
    "permanence.permanent": ("Failed for good.", "Misslyckades slutgiltigt."),
    "permanence.transient.short": ("Transient, still trying", "Tillfälligt, försöker fortfarande"),
    "permanence.gave_up.short": ("Gave up after retries", "Gav upp efter flera försök"),
    "permanence.permanent.short": ("Permanent", "Permanent"),
    "wait.paused": ("The delivery, which is paused.", "Leveransen, som är pausad."),
    "wait.scheduled": ("The date of its delivery.", "Leveransens datum."),
    "wait.concurrency_limit": (
        "Other campaigns to end: as many run as may at once.",
        "Att andra kampanjer blir klara: så många körs som får köras samtidigt.",
    ),
    "wait.mta_resources": ("The MTA to take it.", "Att MTA tar det."),
    "wait.retry": (
        "The next try: the last one failed for a reason that may pass.",
        "Nästa försök: det senaste misslyckades av en orsak som kan gå över.",
    ),
    "wait.connector": (
        "The external connector, which decides what comes next.",
        "Den externa kopplingen, som avgör vad som följer.",
    ),
    "wait.provider": ("The SMS provider to confirm it.", "Att SMS-tjänstleverantören bekräftar det."),
    "wait.mail_server": ("The answer of the recipient's mail server.", "Svar från mottagarens e-postserver."),
    "wait.network": ("The mobile network to take it.", "Att mobilnätet tar emot det."),
    "wait.receipt": ("The handset's receipt.", "Mobilens kvitto."),
    "dead.null_value": ("No value", "Inget värde"),
    "dead.empty_value": ("Empty value", "Tomt värde"),
    "dead.record_too_large": ("Record too large", "För stor post"),
    "dead.invalid_encoding": ("Not text in UTF-8", "Inte text i UTF-8"),
    "dead.invalid_json": ("Not JSON", "Inte JSON"),
    "dead.invalid_event": ("Not a valid event", "Inte en giltig händelse"),
    "dead.invalid_status": ("Status not on the channel", "Statusen finns inte i kanalen"),
    "dead.time_ahead": ("Time lies ahead", "Tiden ligger i framtiden"),
    "dead.too_old": ("Time lies too far back", "Tiden ligger för långt tillbaka"),
    "dead.unreadable_record": ("The record cannot be taken apart", "Posten kan inte läsas"),
    "dead.unreadable_batch": ("The batch cannot be taken apart", "Hela bunten kan inte läsas"),
    "dead.batch_too_large": ("The batch expands to more than fits", "Bunten packas upp till mer än vad som ryms"),
    "dead.row_unreadable": ("The message's row cannot be read", "Meddelandets rad kan inte läsas"),
    "dead.cancel_marker": ("A cancel among the events", "Ett avbrott bland händelserna"),
    "dead.invalid_control": ("Not a valid control record", "Inte en giltig styrpost"),
    "dead.invalid_link": ("Not a valid link", "Inte en giltig länk"),
    "dead.unmatched": ("No link came for a receipt", "Ingen länk kom för ett kvitto"),
    "dead.no_provider": ("No provider named", "Ingen leverantör angiven"),
    "dead.unknown_provider": ("Provider without an adapter", "Leverantör utan adapter"),
    "dead.unreadable_payload": ("Not what the provider sends", "Inte vad leverantören skickar"),
    "dead.unknown_status": ("Native status not known", "Okänd status hos leverantören"),
    "dead.internal_error": ("A fault of ours", "Ett fel hos oss"),
    "stage.normalize": ("Normalize", "Normalisering"),
    "stage.link": ("Link", "Länkning"),
    "stage.correlate": ("Correlate", "Kvittokoppling"),
    "stage.addresses": ("Addresses", "Adresser"),
    "stage.fold": ("Fold", "Sammanvägning"),
    "stage.control": ("Control", "Styrning"),
    "partition.running": ("Running", "Igång"),
    "partition.recovering": ("Recovering", "Återställs"),
    "partition.closing": ("Closing", "Lämnas över"),
    "partition.unknown": ("Not heard of", "Inte hörd av"),
}

_OVERVIEW: dict[str, tuple[str, str]] = {
    "wrong.title": ("What is wrong now", "Vad som är fel just nu"),
    "wrong.none": ("all well", "allt väl"),
    "wrong.failing": ("Unusual failures", "Ovanligt många fel"),
    "wrong.failing.about": (
        "Failed in the last hour, far more than usual",
        "Misslyckades den senaste timmen, långt fler än vanligt",
    ),
    "wrong.failing.named": ("{name}: {share} fail", "{name}: {share} misslyckas"),
    "wrong.stuck": ("Stuck messages", "Meddelanden som fastnat"),
    "wrong.stuck.about": ("Longer in one status than is usual", "Längre i en status än vad som är vanligt"),
    "wrong.silent": ("Silent providers", "Tysta leverantörer"),
    "wrong.silent.about": ("Sends flow, but receipts stopped", "Utskick pågår, men kvitton har upphört"),
    "wrong.silent.named": ("{provider}, for {span}", "{provider}, i {span}"),
    "wrong.contradictions": ("Contradictions", "Motsägelser"),
    "wrong.contradictions.about": ("Reports that cannot both be true", "Rapporter som inte båda kan vara sanna"),
    "wrong.dead_letters": ("Dead letters", "Oanvändbara poster"),
    "wrong.dead_letters.about": ("Records that could not be used", "Poster som inte kunde användas"),
    "wrong.held": ("Deliveries that wait", "Leveranser som väntar"),
    "summary": (
        (
            "{failing} unusual failures, {stuck} stuck messages, {silent} silent providers, "
            "{contradictions} contradictions, {dead_letters} dead letters"
        ),
        (
            "{failing} ovanliga fel, {stuck} meddelanden har fastnat, {silent} tysta leverantörer, "
            "{contradictions} motsägelser, {dead_letters} oanvändbara poster"
        ),
    ),
    "messages.title": ("Messages by status", "Meddelanden per status"),
    "messages.all": ("Messages", "Meddelanden"),
    "messages.n.one": ("{n} message", "{n} meddelande"),
    "messages.n.other": ("{n} messages", "{n} meddelanden"),
    "messages.success": ("Success", "Lyckade"),
    "history.title": ("Processed over time", "Bearbetade över tid"),
    "history.1h": ("1 hour", "1 timme"),
    "history.3h": ("3 hours", "3 timmar"),
    "history.24h": ("24 hours", "24 timmar"),
    "history.30d": ("30 days", "30 dagar"),
    "history.described": (
        "Bars of messages over time, up to {n}; the table below has the same numbers.",
        "Staplar av meddelanden över tid, upp till {n}; tabellen nedanför har samma tal.",
    ),
    "history.none": ("Nothing was processed in this time.", "Inget bearbetades under denna tid."),
    "history.hint": (
        (
            "By when it was counted: what comes late does not change what was. The same at every worker. "
            "A number leads to the messages that have had their present status since then, by event time."
        ),
        (
            "Efter när det räknades: det som kommer sent ändrar inte det som var. Samma hos varje arbetare. "
            "Ett antal leder till de meddelanden som haft sin nuvarande status sedan dess, efter händelsetid."
        ),
    ),
    "history.hint.place": (
        "Each message once, when it came to where it stands, by the time of its events.",
        "Varje meddelande en gång, när det kom dit där det står, efter händelsernas tid.",
    ),
    "history.known_since": (
        "Older changes are too many to be looked at. Shown from:",
        "Äldre ändringar är för många för att gås igenom. Visas från:",
    ),
    "throughput": ("Throughput", "Genomströmning"),
    "throughput.unit": ("a second", "per sekund"),
    "failing.hint": (
        "Judged against their own past week, as the alerts do. A storm: over 30 % of what ended in ten minutes.",
        "Bedöms mot den egna senaste veckan, som larmen gör. En storm: över 30 % av det som slutade på tio minuter.",
    ),
    "failing.storm": ("storm", "storm"),
    "failing.high": ("unusual", "ovanligt"),
    "failing.what": ("Provider or delivery", "Leverantör eller leverans"),
    "failing.10m": ("In 10 min", "På 10 min"),
    "failing.1h": ("In 1 h", "På 1 h"),
    "failing.usual": ("Usual", "Vanligt"),
    "failing.failed": ("Failed in 1 h", "Misslyckade på 1 h"),
    "failing.hard": ("Hard", "Hårda"),
    "failing.soft": ("Soft", "Mjuka"),
    "failing.domains": ("Mostly at", "Mest hos"),
    "silent.hint": (
        "Judged against each provider's own recent delay. Its messages stay where they are until it speaks again.",
        "Bedöms mot varje leverantörs egen fördröjning på senare tid. Dess meddelanden står kvar tills den hörs igen.",
    ),
    "silent.last": ("Last heard", "Hördes senast"),
    "silent.for": ("Silent for", "Tyst i"),
    "silent.usual": ("Usual delay", "Vanlig fördröjning"),
    "silent.unanswered": ("Unanswered", "Obesvarade"),
    "stuck.hint": (
        "A label, never a status: what comes late still counts.",
        "En märkning, aldrig en status: det som kommer sent räknas ändå.",
    ),
    "stuck.oldest": ("Oldest", "Äldst"),
    "stuck.messages": ("All stuck messages", "Alla meddelanden som fastnat"),
    "stuck.all": ("All deliveries with stuck messages", "Alla leveranser med meddelanden som fastnat"),
    "unreadable.title": ("Rows that cannot be read: {number}", "Rader som inte kan läsas: {number}"),
    "unreadable.hint": (
        "Records of our own topics, set aside and left as they are: see the runbook DeliveryRowsUnreadable.",
        "Poster i våra egna ämnen som har lagts åt sidan och lämnas som de är; se DeliveryRowsUnreadable.",
    ),
    "unreadable.key": ("Key", "Nyckel"),
    "unreadable.place": ("Topic, partition and offset", "Ämne, partition och plats"),
    "unreadable.problem": ("Why", "Varför"),
    "contradictions.hint": (
        "The status stands, the report is kept as evidence.",
        "Statusen står fast, och rapporten sparas som bevis.",
    ),
    "contradictions.stands": ("Stands", "Står fast"),
    "contradictions.rejected": ("Rejected", "Avvisad"),
    "contradictions.evidence": ("Example", "Exempel"),
    "dead.hint": (
        "They wait to be replayed or discarded. All are kept with their bytes for 30 days in the topic “dead.v1”.",
        "De som väntar på att återpubliceras eller avskrivas. Alla sparas byte för byte i 30 dagar i ämnet ”dead.v1”.",
    ),
    "dead.hint.since_start": (
        "Since the workers started: those that wait could not be counted yet.",
        "Sedan arbetarna startade: de som väntar har inte kunnat räknas än.",
    ),
    "incomplete.title": ("Incomplete.", "Ofullständigt."),
    "incomplete.text": (
        "Partitions {numbers} recover or move; what they know is missing here.",
        "Partition {numbers} återställs eller flyttas; det som de vet saknas här.",
    ),
    "gateways.title": ("Providers", "Leverantörer"),
    "gateways.hint": (
        "What became of their calls to our gateways, since each of these started.",
        "Vad som blev av deras anrop till våra mottagare, sedan var och en av dessa startade.",
    ),
    "gateways.none": ("No call has come yet.", "Inget anrop har kommit ännu."),
    "gateways.away": ("does not answer", "svarar inte"),
    "gateways.well": ("nothing waits on its disk", "inget väntar på dess disk"),
    "gateways.waiting.one": (
        "{n} record waits on its disk, for {span}",
        "{n} post väntar på dess disk, i {span}",
    ),
    "gateways.waiting.other": (
        "{n} records wait on its disk, the oldest for {span}",
        "{n} poster väntar på dess disk, den äldsta i {span}",
    ),
    "gateways.last": ("Last call", "Senaste anrop"),
    "gateways.taken": ("Taken", "Mottagna"),
    "gateways.spooled": ("Kept on disk meanwhile", "Under tiden på disk"),
    "gateways.refused": ("Refused", "Avvisade"),
    "gateways.why": ("Last refused, and why", "Senast avvisat, och varför"),
    "gateways.unusable": ("Unreadable", "Oläsbara"),
    "gateways.again": ("Asked to repeat", "Ombedda att upprepa"),
    "gateways.answering": ("Answers", "Svarar"),
    "answering.unknown": ("Not known", "Okänt"),
    "answering.flowing": ("Yes", "Ja"),
    "answering.idle": ("Little is asked", "Lite efterfrågas"),
    "answering.silent": ("Silent", "Tyst"),
    "partitions.title": ("Partitions and recovery", "Partitioner och återställning"),
    "partitions.by_worker": ("Partitions by worker", "Partitioner per arbetare"),
    "partitions.summary": (
        "{running} of {all} partitions run; {lag} records wait to be read.",
        "{running} av {all} partitioner är igång; {lag} poster väntar på att läsas.",
    ),
    "partitions.topic": ("Topic", "Ämne"),
    "partitions.stage": ("Stage", "Steg"),
    "partitions.owner": ("Worker", "Arbetare"),
    "partitions.nobody": ("Nobody", "Ingen"),
    "partitions.numbers": ("Partitions", "Partitioner"),
    "partitions.state": ("State", "Läge"),
    "partitions.lag": ("Waiting records", "Väntande poster"),
}

_DELIVERIES: dict[str, tuple[str, str]] = {
    "filter.title": ("Filter the deliveries", "Filtrera leveranserna"),
    "filter.q": ("Search label, campaign or id", "Sök på namn, kampanj eller id"),
    "filter.state": ("State", "Läge"),
    "filter.channel": ("Channel", "Kanal"),
    "filter.status": ("Has messages", "Har meddelanden"),
    "filter.pending": ("Pending", "Väntande"),
    "filter.pending.any": ("Any cause", "Alla orsaker"),
    "filter.provider": ("Provider", "Leverantör"),
    "filter.active": ("Active", "Aktiv"),
    "filter.stuck": ("Only with stuck messages", "Bara med meddelanden som fastnat"),
    "filter.any": ("Any", "Alla"),
    "filter.active.any": ("At any time", "När som helst"),
    "filter.active.1h": ("In the last hour", "Senaste timmen"),
    "filter.active.24h": ("In the last 24 hours", "Senaste dygnet"),
    "filter.active.7d": ("In the last 7 days", "Senaste 7 dygnen"),
    "filter.apply": ("Show", "Visa"),
    "filter.reset": ("Show all", "Visa alla"),
    "deliveries.found.one": ("{n} delivery", "{n} leverans"),
    "deliveries.found.other": ("{n} deliveries", "{n} leveranser"),
    "deliveries.success": ("{share} success", "{share} lyckade"),
    "deliveries.empty_bar": ("no message yet", "inget meddelande än"),
    "deliveries.of": ("of {n}", "av {n}"),
    "deliveries.planned": ("of {n} planned", "av {n} planerade"),
    "deliveries.none": ("No delivery fits.", "Ingen leverans passar."),
    "deliveries.empty": ("No delivery is known yet.", "Ingen leverans är känd än."),
    "deliveries.empty.hint": (
        "One appears as soon as an event or a control record names it.",
        "En visas så snart en händelse eller en styrpost nämner den.",
    ),
    "tabs": ("About this delivery", "Om denna leverans"),
    "tabs.counts": ("Counts", "Antal"),
    "tabs.messages": ("Messages", "Meddelanden"),
    "tabs.domains": ("Domains", "Domäner"),
    "tabs.exclusions": ("Exclusions", "Uteslutningar"),
    "tabs.audit": ("Audit", "Logg"),
    "breakdown.whole.one": ("{n} message, all that there is.", "{n} meddelande, det enda som finns."),
    "breakdown.whole.other": ("{n} messages, all that there are.", "{n} meddelanden, alla som finns."),
    "breakdown.part.one": (
        "The {n} message with the newest change; what is older was not looked through.",
        "Det {n} meddelande som ändrades senast; äldre har inte gåtts igenom.",
    ),
    "breakdown.part.other": (
        "The {n} messages with the newest changes; what is older was not looked through.",
        "De {n} meddelanden som ändrades senast; äldre har inte gåtts igenom.",
    ),
    "domains.title": ("By domain or country", "Per domän eller land"),
    "domains.place": ("Domain or country", "Domän eller land"),
    "domains.share": ("Failed share", "Andel misslyckade"),
    "domains.others": ("All others", "Alla andra"),
    "domains.unknown": ("Not known", "Inte känt"),
    "domains.reasons": ("Why messages failed:", "Varför meddelanden misslyckades:"),
    "domains.all": ("All domains", "Alla domäner"),
    "domains.messages": ("Its messages", "Dess meddelanden"),
    "domains.no_failure": ("No message to it has failed.", "Inget meddelande dit har misslyckats."),
    "exclusions.title": ("Messages that were never sent", "Meddelanden som aldrig skickades"),
    "exclusions.hint": (
        "By the rule that kept them back; below each, in the words of the system that applied it.",
        "Efter regeln som höll dem tillbaka; under var och en, med ord från det system som tillämpade den.",
    ),
    "exclusions.rule": ("Rule", "Regel"),
    "exclusions.part": (
        "The words are those of {n} messages with the newest changes; the numbers beside the rules count all.",
        "Orden är från {n} meddelanden som ändrades senast; talen bredvid reglerna räknar alla.",
    ),
    "exclusions.none": ("No message was excluded.", "Inget meddelande uteslöts."),
    "exclusion.denylisted": (
        "The recipient has asked not to be written to, or was put on a denylist.",
        "Mottagaren har avsagt sig utskick, eller finns på en blockeringslista.",
    ),
    "exclusion.quarantined": (
        "Earlier messages to the address failed, so it is in quarantine.",
        "Tidigare meddelanden till adressen misslyckades, så den är i karantän.",
    ),
    "exclusion.duplicate": (
        "Another message of the delivery goes to the same address.",
        "Ett annat meddelande i leveransen går till samma adress.",
    ),
    "exclusion.address_not_specified": ("The recipient has no address.", "Mottagaren har ingen adress."),
    "exclusion.excluded_by_rule": (
        "A rule of the sending system, such as one on how often somebody may be written to.",
        "En regel i det sändande systemet, till exempel hur ofta någon får ett utskick.",
    ),
    "exclusion.excluded_by_arbitration": (
        "Another campaign had precedence with this recipient.",
        "En annan kampanj hade företräde hos mottagaren.",
    ),
    "exclusion.bad_quality_address": (
        "The address is rated too low to be worth sending to.",
        "Adressen bedöms som för dålig för att skickas till.",
    ),
    "exclusion.unqualified_address": (
        "Nobody has checked the address yet.",
        "Ingen har kontrollerat adressen ännu.",
    ),
    "exclusion.not_eligible": (
        "The recipient does not meet the offer's conditions.",
        "Mottagaren uppfyller inte villkoren.",
    ),
    "exclusion.target_limited": (
        "The delivery had as many recipients as it may.",
        "Leveransen hade redan så många mottagare som den får.",
    ),
    "exclusion.control_address": (
        "It was a control address, not a recipient.",
        "Det var en kontrolladress, ingen mottagare.",
    ),
    "exclusion.personalization": (
        "The message could not be made for this recipient.",
        "Meddelandet kunde inte göras för mottagaren.",
    ),
    "exclusion.undefined": ("No reason was given.", "Ingen orsak angavs."),
    "audit.title": ("What was done, and set", "Vad som gjorts och angetts"),
    "audit.hint": (
        "From control records, the newest first. They name no person; of each fact the last word is kept.",
        "Från styrposter, de nyaste först. De anger ingen person; av varje uppgift sparas det senaste beskedet.",
    ),
    "audit.what": ("What", "Vad"),
    "audit.value": ("Value", "Värde"),
    "audit.again": ("reported again, last", "rapporterades igen, senast"),
    "audit.none": (
        "No control record has named this delivery: it is known from its messages alone.",
        "Ingen styrpost har nämnt leveransen: den är känd bara från sina meddelanden.",
    ),
    "audit.register": ("Registered", "Registrerad"),
    "audit.schedule": ("Scheduled", "Schemalagd"),
    "audit.start": ("Started", "Startad"),
    "audit.pause": ("Paused", "Pausad"),
    "audit.resume": ("Resumed", "Återupptagen"),
    "audit.finish": ("Finished", "Avslutad"),
    "audit.cancel": ("Canceled", "Avbruten"),
    "audit.label": ("Label set", "Etikett angiven"),
    "audit.campaign": ("Campaign set", "Kampanj angiven"),
    "audit.channel": ("Channel set", "Kanal angiven"),
    "audit.planned": ("Planned count set", "Planerat antal angivet"),
    "audit.scheduled_at": ("Start time set", "Starttid angiven"),
    "provider.unknown": ("Provider not named", "Leverantör ej angiven"),
    "delivery.unknown": ("No delivery named", "Ingen leverans angiven"),
    "delivery.campaign": ("Campaign {name}", "Kampanj {name}"),
    "delivery.canceled": ("Canceled by an operator", "Avbruten av en operator"),
    "delivery.canceled.text": (
        "{canceled} messages were stopped; {gone} had been sent or had ended before.",
        "{canceled} meddelanden stoppades; {gone} hade redan skickats eller avslutats.",
    ),
    "delivery.stuck.one": ("{n} message is stuck.", "{n} meddelande har fastnat."),
    "delivery.stuck.other": ("{n} messages are stuck.", "{n} meddelanden har fastnat."),
    "delivery.stuck.text": (
        "They have been in one status for longer than is usual. Their status stays what was last reported.",
        "De har varit i en status längre än vad som är vanligt. Deras status förblir vad som senast rapporterades.",
    ),
    "delivery.expired.one": (
        "{n} of these is no longer kept one by one, and is only counted.",
        "{n} av dessa sparas inte längre för sig, utan räknas bara.",
    ),
    "delivery.expired.other": (
        "{n} of these are no longer kept one by one, and are only counted.",
        "{n} av dessa sparas inte längre för sig, utan räknas bara.",
    ),
    "indicator.processed": ("Processed", "Bearbetade"),
    "indicator.success": ("Success", "Lyckade"),
    "indicator.failed": ("Failed", "Misslyckades"),
    "indicator.rate": ("Rate", "Takt"),
    "indicator.end": ("Estimated end", "Beräknat slut"),
    "indicator.hard": ("Hard bounces", "Hårda studsar"),
    "indicator.soft": ("Soft bounces", "Mjuka studsar"),
    "series.title": ("Counts over time", "Antal över tid"),
    "series.described": (
        "Messages by status over time, at most {n}. The table below has the same numbers.",
        "Meddelanden per status över tid, som mest {n}. Tabellen nedan har samma tal.",
    ),
    "series.table": ("The same as a table", "Samma som tabell"),
    "series.none": ("Nothing changed in this time.", "Inget ändrades under denna tid."),
    "series.hint": ("Over the time that is chosen above.", "Över den tid som är vald ovan."),
    "reasons.title": ("Reasons", "Orsaker"),
    "reasons.none": ("Nothing has failed or been ignored.", "Inget har misslyckats eller ignorerats."),
    "reasons.adobe": ("Adobe's code", "Adobes kod"),
    "reasons.hint": (
        (
            "Hard: user unknown. Soft: unreachable, mailbox full, invalid domain, account disabled, not connected, "
            "refused."
        ),
        (
            "Hårda: okänd användare. Mjuka: kan inte nås, full inkorg, ogiltig domän, inaktiverat konto, "
            "inte ansluten, nekad."
        ),
    ),
    "facts.title": ("Course", "Förlopp"),
    "facts.scheduled_at": ("Scheduled for", "Schemalagd till"),
    "facts.started_at": ("Started", "Startad"),
    "facts.paused_at": ("Paused", "Pausad"),
    "facts.finished_at": ("Finished", "Avslutad"),
    "facts.canceled_at": ("Canceled", "Avbruten"),
    "facts.first_activity": ("First event", "Första händelsen"),
    "facts.last_activity": ("Last activity", "Senaste aktivitet"),
    "facts.estimated_end": ("Estimated end", "Beräknat slut"),
    "facts.providers": ("Providers", "Leverantörer"),
    "delivery.paused": ("Paused", "Pausad"),
    "delivery.paused.text": (
        "What was not handed over waits, and is not called stuck before the delivery is resumed.",
        "Det som inte har lämnats över väntar, och räknas inte till det som har fastnat förrän leveransen återupptas.",
    ),
}

#: What people do with a delivery.
_STEERING: dict[str, tuple[str, str]] = {
    "steer.token": ("Write token", "Skrivnyckel"),
    "steer.token.hint": (
        "DELIVERY_WRITE_TOKEN of the workers, or your own as an operator. It is used for this once and not kept.",
        "Arbetarnas DELIVERY_WRITE_TOKEN, eller din egen som operatör. Den används för detta och sparas inte.",
    ),
    "steer.sender": (
        "This is a note for all who read the delivery. Its sender must follow it: nothing here sends or holds back.",
        (
            "Detta är ett besked till alla som läser leveransen. Avsändaren måste följa det: inget här skickar "
            "eller håller kvar."
        ),
    ),
    "steer.back": ("Back, change nothing", "Tillbaka, ändra inget"),
    "steer.not_done": ("Nothing was done.", "Inget gjordes."),
    "steer.wrong_token": (
        "That is neither the write token nor an operator's.",
        "Det är varken skrivnyckeln eller en operatörs nyckel.",
    ),
    "steer.unsure": ("Tick the box to confirm.", "Kryssa i rutan för att bekräfta."),
    "steer.off": (
        "Writing is off: the workers have neither DELIVERY_WRITE_TOKEN nor users.",
        "Skrivning är avstängd: arbetarna har varken DELIVERY_WRITE_TOKEN eller användare.",
    ),
    "obstacle.canceled": (
        "The delivery has been canceled, and nothing undoes that.",
        "Leveransen är avbruten, och det går inte att ångra.",
    ),
    "obstacle.finished": (
        "The delivery is finished: it neither pauses nor starts again.",
        "Leveransen är avslutad: den pausas inte och startar inte igen.",
    ),
    "obstacle.paused": ("The delivery is paused already.", "Leveransen är redan pausad."),
    "obstacle.not_paused": ("The delivery is not paused.", "Leveransen är inte pausad."),
    "pause.open": ("Pause…", "Pausa…"),
    "pause.title": ("Pause this delivery?", "Pausa denna leverans?"),
    "pause.can.one": (
        "{n} message has not been handed over. While the delivery is paused it is not called stuck.",
        "{n} meddelande har inte lämnats över. Medan leveransen är pausad räknas det inte till dem som har fastnat.",
    ),
    "pause.can.other": (
        "{n} messages have not been handed over. While the delivery is paused they are not called stuck.",
        "{n} meddelanden har inte lämnats över. Medan leveransen är pausad räknas de inte till dem som har fastnat.",
    ),
    "pause.gone.one": ("{n} was handed over, or has ended.", "{n} har lämnats över eller avslutats."),
    "pause.gone.other": ("{n} were handed over, or have ended.", "{n} har lämnats över eller avslutats."),
    "pause.do": ("Pause the delivery", "Pausa leveransen"),
    "pause.done": ("The pause is on its way.", "Pausen är på väg."),
    "resume.open": ("Resume…", "Återuppta…"),
    "resume.title": ("Resume this delivery?", "Återuppta denna leverans?"),
    "resume.can.one": (
        "{n} message has not been handed over. How long it waits is counted from now on.",
        "{n} meddelande har inte lämnats över. Hur länge det väntar räknas från och med nu.",
    ),
    "resume.can.other": (
        "{n} messages have not been handed over. How long they wait is counted from now on.",
        "{n} meddelanden har inte lämnats över. Hur länge de väntar räknas från och med nu.",
    ),
    "resume.gone.one": ("{n} was handed over, or has ended.", "{n} har lämnats över eller avslutats."),
    "resume.gone.other": ("{n} were handed over, or have ended.", "{n} har lämnats över eller avslutats."),
    "resume.do": ("Resume the delivery", "Återuppta leveransen"),
    "resume.done": ("The resumption is on its way.", "Återupptagandet är på väg."),
    "finish.open": ("Finish…", "Avsluta…"),
    "finish.title": ("Finish this delivery?", "Avsluta denna leverans?"),
    "finish.can.one": (
        "{n} message has not been handed over, and is stuck if it stays where it is: to stop it, cancel the delivery.",
        "{n} meddelande har inte lämnats över, och har fastnat om det blir kvar: avbryt leveransen för att stoppa det.",
    ),
    "finish.can.other": (
        (
            "{n} messages have not been handed over, and are stuck if they stay where they are: to stop them, "
            "cancel the delivery."
        ),
        "{n} meddelanden har inte lämnats över, och har fastnat om de blir kvar: avbryt leveransen för att stoppa dem.",
    ),
    "finish.gone.one": ("{n} was handed over, or has ended.", "{n} har lämnats över eller avslutats."),
    "finish.gone.other": ("{n} were handed over, or have ended.", "{n} har lämnats över eller avslutats."),
    "finish.sure": (
        "Yes, no more messages come. It cannot be undone.",
        "Ja, inga fler meddelanden kommer. Det går inte att ångra.",
    ),
    "finish.do": ("Finish the delivery", "Avsluta leveransen"),
    "finish.done": ("The end is on its way.", "Avslutet är på väg."),
    "cancel.open": ("Cancel delivery…", "Avbryt leveransen…"),
    "cancel.title": ("Cancel this delivery?", "Avbryta denna leverans?"),
    "cancel.can.one": (
        "{n} message can still be stopped, and so can those that turn up later.",
        "{n} meddelande kan ännu stoppas, liksom de som dyker upp senare.",
    ),
    "cancel.can.other": (
        "{n} messages can still be stopped, and so can those that turn up later.",
        "{n} meddelanden kan ännu stoppas, liksom de som dyker upp senare.",
    ),
    "cancel.gone.one": (
        "{n} can no longer be: what was sent stays sent.",
        "{n} kan det inte längre: det som har skickats förblir skickat.",
    ),
    "cancel.gone.other": (
        "{n} can no longer be: what was sent stays sent.",
        "{n} kan det inte längre: det som har skickats förblir skickat.",
    ),
    "cancel.sure": (
        "Yes, cancel this delivery. It cannot be undone.",
        "Ja, avbryt leveransen. Det går inte att ångra.",
    ),
    "cancel.do": ("Cancel the delivery", "Avbryt leveransen"),
    "cancel.done": ("The cancel is on its way.", "Avbrottet är på väg."),
    "steer.done.text": (
        "It arrives within seconds; state and counts follow.",
        "Det når fram inom några sekunder; läge och antal följer efter.",
    ),
}

_LETTERS: dict[str, tuple[str, str]] = {
    "letter.waiting": ("Waiting", "Väntar"),
    "letter.replayed": ("Replayed", "Återpublicerad"),
    "letter.discarded": ("Discarded", "Avskriven"),
    "letters.counts": ("By reason", "Efter orsak"),
    "letters.counts.newest": ("Of the newest ones only.", "Bara av de nyaste."),
    "letters.one": ("Dead letter", "Oanvändbar post"),
    "letters.filter": ("Filter the dead letters", "Filtrera de oanvändbara posterna"),
    "letters.reset": ("Show all that wait", "Visa alla som väntar"),
    "letters.state": ("State", "Läge"),
    "letters.topic": ("From topic", "Från ämne"),
    "letters.written": ("Put aside", "Lades åt sidan"),
    "letters.newest": ("Newest first", "Nyaste först"),
    "letters.foreign": ("Not written by this version", "Inte skriven av denna version"),
    "letters.obstacle": ("It cannot be replayed.", "Den kan inte återpubliceras."),
    "letters.none": ("No dead letter fits these filters.", "Ingen oanvändbar post passar dessa filter."),
    "letters.more": ("None so far.", "Ingen hittills."),
    "letters.bytes": ("As it came", "Som den kom"),
    "letters.null": ("The record has no value.", "Posten har inget värde."),
    "letters.withheld": (
        "The bytes are not text, and are shown to those only who may see recipients.",
        "Innehållet är inte text och visas bara för dem som får se mottagare.",
    ),
    "letters.size.one": ("{n} byte.", "{n} byte."),
    "letters.size.other": ("{n} bytes.", "{n} byte."),
    "letters.base64": ("Not text: shown as base64.", "Inte text: visas som base64."),
    "letters.cut": ("Only the beginning is shown.", "Bara början visas."),
    "letters.headers": ("Headers", "Huvudfält"),
    "letters.stacktrace": ("Where in our code", "Var i vår kod"),
    "letters.origin": ("Came from", "Kom från"),
    "letters.first": ("Came at first from", "Kom först från"),
    "letters.rounds": ("Times replayed", "Gånger återpublicerad"),
    "letters.timestamp": ("The record's time", "Postens tid"),
    "letters.mend": ("What to do", "Vad som ska göras"),
    "letters.settle": ("Replay or discard", "Återpublicera eller avskriv"),
    "letters.settle.hint": (
        "When the cause is mended, a replay publishes it again where it came from. A discard hides it.",
        "När orsaken är åtgärdad: återpublicera den dit den kom från. Den som avskrivs döljs.",
    ),
    "letters.replay": ("Replay", "Återpublicera"),
    "letters.discard": ("Discard", "Avskriv"),
    "letters.done.replayed": ("It has been published again.", "Den har publicerats igen."),
    "letters.done.discarded": ("It has been discarded.", "Den har avskrivits."),
    "letters.not_done": ("Nothing was done.", "Inget gjordes."),
    "letters.unsure": ("Choose what is to be done.", "Välj vad som ska göras."),
    "letters.refused": (
        "It was replayed or discarded before, or cannot be replayed.",
        "Den har redan återpublicerats eller avskrivits, eller så kan den inte återpubliceras.",
    ),
    "letters.taken_over": (
        "Another replay or discard has begun meanwhile: try again.",
        "En annan återpublicering eller avskrivning började under tiden: försök igen.",
    ),
    "letters.all": ("Look at them, replay or discard them", "Se, återpublicera eller avskriv dem"),
}

_LISTS: dict[str, tuple[str, str]] = {
    "list.filter": ("Filter the messages", "Filtrera meddelandena"),
    "list.domain": ("Domain, or code as +46", "Domän, eller kod som +46"),
    "list.changed": ("Last change", "Senaste ändring"),
    "list.indicator": ("Counted as", "Räknas som"),
    "list.stuck": ("Only stuck messages", "Bara de som fastnat"),
    "list.since": ("Since", "Sedan"),
    "list.only.permanence": ("How final:", "Hur slutgiltigt:"),
    "list.only.rejected": ("With a rejected report of:", "Med en avvisad rapport om:"),
    "list.only.unanswered": ("Handed over, and not answered.", "Överlämnade och obesvarade."),
    "list.only.since": ("Status since, from:", "Status sedan, från:"),
    "list.only.until": ("Status since, to:", "Status sedan, till:"),
    "list.newest": ("Messages, newest change first", "Meddelanden, senaste ändring först"),
    "list.download": ("Download as", "Ladda ned som"),
    "list.as.csv": ("CSV", "CSV"),
    "list.as.ndjson": ("JSON Lines", "JSON Lines"),
    "list.none": ("No message fits these filters.", "Inget meddelande passar dessa filter."),
    "list.last": ("There is no more.", "Det finns inga fler."),
    "list.empty": ("No message is known yet.", "Inget meddelande är känt än."),
    "list.empty.hint": (
        "One appears as soon as an event names it.",
        "Ett visas så snart en händelse nämner det.",
    ),
    "list.more": ("None of those looked at so far fits.", "Inget av dem som hittills setts igenom passar."),
    "list.more.hint": (
        "The search stopped after its share of work; the next page goes on from there.",
        "Sökningen stannade efter sin del av arbetet; nästa sida går vidare därifrån.",
    ),
}

_MESSAGE: dict[str, tuple[str, str]] = {
    "message": ("Message", "Meddelande"),
    "message.now": ("Where it stands", "Var det står"),
    "message.since": ("since", "sedan"),
    "message.waits": ("Waits for:", "Väntar på:"),
    "message.stuck": ("Stuck.", "Har fastnat."),
    "message.stuck.text": (
        "It has been in this status for longer than is usual.",
        "Det har varit i denna status längre än vad som är vanligt.",
    ),
    "message.too_late": ("The cancel came too late.", "Avbrottet kom för sent."),
    "message.too_late.text": (
        "The delivery was cancelled when this message was already on its way.",
        "Leveransen avbröts när meddelandet redan var på väg.",
    ),
    "message.facts": ("About the message", "Om meddelandet"),
    "message.recipient": ("Recipient", "Mottagare"),
    "message.provider_id": ("Provider's id", "Leverantörens id"),
    "message.attempt": ("Attempt", "Försök"),
    "message.masked": (
        "Recipients are masked; who signs in with the write token sees them whole.",
        "Mottagare maskeras; den som loggar in med skrivnyckeln ser dem hela.",
    ),
    "life.title": ("Line of life", "Livslinje"),
    "life.rejected": ("rejected", "avvisad"),
    "life.now": ("now", "nu"),
    "life.attempt": ("attempt {n}", "försök {n}"),
    "life.later": ("{span} later", "{span} senare"),
    "life.again": ("Reported again, last", "Rapporterades igen, senast"),
    "life.source": ("Reported by {provider}", "Rapporterades av {provider}"),
    "life.no_source": ("The source was not named", "Källan angavs inte"),
    "life.rule": (
        "It contradicts “{standing}”: neither may come after the other. Its effect was withheld.",
        "Det motsäger ”{standing}”: ingen av dem får komma efter den andra. Det fick ingen verkan.",
    ),
    "life.hint": (
        "By the time at which things happened, not by the time at which we heard of them.",
        "Efter när det hände, inte efter när vi fick veta det.",
    ),
    "reason.title": ("Reason", "Orsak"),
    "reason.category": ("Category", "Kategori"),
    "reason.permanence": ("How final", "Hur slutgiltigt"),
    "reason.code": ("Code", "Kod"),
    "reason.provider_code": ("Provider's code", "Leverantörens kod"),
    "reason.raw": ("In the words of {provider}", "Med ord från {provider}"),
    "reason.a_provider": ("the provider", "leverantören"),
    "reason.none": ("No reason was given for this status.", "Ingen orsak angavs för denna status."),
}

_STATUSES: dict[str, tuple[str, str]] = {
    "statuses.lead": (
        (
            "A message is one message to one recipient, and has one status. "
            "A delivery is the send that it belongs to; it has counts of messages by status."
        ),
        (
            "Ett meddelande går till en mottagare och har en status. "
            "En leverans är det utskick som det hör till; den har antal meddelanden per status."
        ),
    ),
    "statuses.ten": ("The ten statuses", "De tio statusarna"),
    "statuses.meaning": ("Meaning", "Betydelse"),
    "statuses.wire": ("Name in data", "Namn i data"),
    "statuses.follows": ("What may follow what: {channel}", "Vad som får följa på vad: {channel}"),
    "statuses.follows.hint": (
        (
            "An arrow means: may come after it, directly or because the steps between were never reported. "
            "Point at a status to see only its own."
        ),
        (
            "En pil betyder: får komma efter, direkt eller för att stegen emellan aldrig rapporterades. "
            "Peka på en status för att bara se dess egna."
        ),
    ),
    "statuses.diagram": (
        "Transitions between statuses, {channel}. The table below has the same.",
        "Övergångar mellan statusar, {channel}. Tabellen nedan visar detsamma.",
    ),
    "statuses.table": ("Transitions as a table, {channel}", "Övergångar som tabell, {channel}"),
    "statuses.after": ("After", "Efter"),
    "statuses.may": ("may come", "får komma"),
    "statuses.nothing": ("nothing: it is final", "inget: den är slutgiltig"),
    "statuses.again": ("with a new attempt", "med ett nytt försök"),
    "statuses.legend.step": ("the usual course", "det vanliga förloppet"),
    "statuses.legend.skip": ("may also come", "får också komma"),
    "statuses.legend.again": ("only with a new attempt", "bara med ett nytt försök"),
    "statuses.legend.final": ("final: nothing may follow", "slutgiltig: inget får följa"),
}

_DOOR: dict[str, tuple[str, str]] = {
    "login.title": ("Sign in", "Logga in"),
    "login.text": (
        "With your own token, or one of the workers': the read token shows recipients masked, the write token whole.",
        "Med din egen nyckel, eller en av arbetarnas: läsnyckeln visar mottagare dolda, skrivnyckeln visar dem hela.",
    ),
    "login.token": ("Token", "Nyckel"),
    "login.do": ("Sign in", "Logga in"),
    "attempts.wait": (
        "There were too many wrong tokens. Wait a minute, and try again.",
        "För många felaktiga nycklar angavs. Vänta en minut och försök igen.",
    ),
    "login.wrong": ("That token is not known here.", "Den nyckeln är inte känd här."),
    "error.message-not-known": ("No such message", "Inget sådant meddelande"),
    "error.message-not-known.text": (
        "No event has named the message “{id}”. It may not have reached us yet, or its id may be written differently.",
        (
            "Ingen händelse har nämnt meddelandet ”{id}”. Det kanske inte har nått oss än, "
            "eller så skrivs dess id annorlunda."
        ),
    ),
    "error.delivery-not-known": ("No such delivery", "Ingen sådan leverans"),
    "error.delivery-not-known.text": (
        "Neither an event nor a control record has named the delivery “{id}”.",
        "Varken en händelse eller en styrpost har nämnt leveransen ”{id}”.",
    ),
    "error.dead-letter-not-known": ("No such dead letter", "Ingen sådan oanvändbar post"),
    "error.dead-letter-not-known.text": (
        "No dead letter is kept under “{id}”. They are kept for 30 days.",
        "Ingen oanvändbar post finns under ”{id}”. De sparas i 30 dagar.",
    ),
    "error.not_found": ("No such page", "Ingen sådan sida"),
    "error.not_found.text": ("There is nothing at this address.", "Det finns inget på denna adress."),
    "error.forbidden": ("Not from here", "Inte härifrån"),
    "error.forbidden.text": (
        "This is not allowed. Reading from beyond this machine needs a read token.",
        "Detta är inte tillåtet. Att läsa från en annan maskin kräver en läsnyckel.",
    ),
    "error.role": ("Not with this role", "Inte med denna roll"),
    "error.role.text": (
        "You are signed in, but your role does not allow this.",
        "Du är inloggad, men din roll tillåter inte detta.",
    ),
    "error.foreign": ("Sent from another page", "Skickat från en annan sida"),
    "error.foreign.text": (
        "The form did not come from this page, so nothing was done.",
        "Formuläret kom inte från denna sida, så inget gjordes.",
    ),
    "error.invalid": ("That cannot be asked", "Så kan man inte fråga"),
    "error.invalid.text": ("A part of the address does not fit.", "En del av adressen passar inte."),
    "error.unavailable": ("One moment", "Ett ögonblick"),
    "error.unavailable.text": (
        "This cannot be answered right now. Nothing is lost.",
        "Detta kan inte besvaras just nu. Inget har gått förlorat.",
    ),
    "error.failed": ("Something broke", "Något gick sönder"),
    "error.failed.text": (
        "The worker could not make this page; its log has the error.",
        "Arbetaren kunde inte göra sidan; dess logg säger varför.",
    ),
    "unavailable.starting": (
        "This worker is starting, and still reads what it needs.",
        "Denna arbetare har just startat och läser fortfarande in.",
    ),
    "unavailable.rebalancing": (
        "The group of workers is rebalancing.",
        "Arbetarna fördelar partitionerna på nytt.",
    ),
    "unavailable.recovering": (
        "The partition of this message is recovering.",
        "Partitionen som vet detta återställs.",
    ),
    "unavailable.owner-away": (
        "The owner of the partition does not answer; another worker will take over.",
        "Arbetaren som vet detta svarar inte; en annan tar över.",
    ),
    "unavailable.broker-away": ("Kafka does not answer.", "Kafka svarar inte."),
    "error.retry": ("This page asks again in {span}.", "Sidan frågar igen om {span}."),
    "error.again": ("Ask again", "Fråga igen"),
    "error.home": ("To the overview", "Till översikten"),
}

#: The title of each problem that a page may tell of, in Swedish; its English title, web/problems.py has.
PROBLEMS: dict[Kind, str] = {
    INVALID_REQUEST: "En uppgift i adressen eller formuläret är ogiltig här",
    BAD_REQUEST: "Begäran kan inte förstås",
    FORBIDDEN: "Begäran är inte tillåten",
    TOO_LARGE: "Formuläret är för stort",
    INTERNAL_ERROR: "Arbetaren misslyckades; dess logg säger varför",
    MESSAGE_UNREADABLE: "Meddelandet finns, men denna version kan inte läsa dess rad",
    NOT_INDEXED: "Det som efterfrågas är inte indexerat: se DELIVERY_INDEX",
    HOP_REFUSED: "Arbetaren som vet detta avvisade frågan, eller så kan dess svar inte användas",
}

TEXTS: dict[str, tuple[str, str]] = {
    **_FRAME,
    **_VOCABULARY,
    **{f"meaning.{status.value}": (DEFINITIONS[status].meaning, swedish) for status, swedish in _MEANINGS.items()},
    **_OVERVIEW,
    **_DELIVERIES,
    **_STEERING,
    **_LETTERS,
    **_LISTS,
    **_MESSAGE,
    **_STATUSES,
    **_DOOR,
    **{f"problem.{kind.name}": (kind.title, swedish) for kind, swedish in PROBLEMS.items()},
}
