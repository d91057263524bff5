"""Write the dashboards that Grafana is provisioned with: what they show stands here, how it becomes JSON in panels.py.

`python ops/grafana/build.py` writes dashboards/*.json; with `--check` it changes nothing, and exits with 1 if anything
is out of date.
"""  # noqa: INP001 - a script, in no package

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs"), str(FOLDER)]

from generate import exported  # noqa: E402
from panels import Dashboard, Panel, Row, Surroundings, Variable, to_json  # noqa: E402

# Where the product's own page shows more.
DEAD_LETTERS, PARTITIONS, SILENT = "/#dead_letters", "/partitions", "/#silent"
FAILED, STUCK = "/deliveries?status=failed", "/deliveries?stuck=true"


def number(  # noqa: PLR0913 - what such a panel may differ in
    title: str,
    description: str,
    unit: str,
    expression: str,
    *alerts: str,
    page: str = "/",
    red_from: float | None = None,
) -> Panel:
    """Return a panel with one number, and from which value on it is red."""
    queries = {title: expression}
    return Panel(title, description, unit, queries, "stat", alerts, page, width=4, height=4, red_from=red_from)


def quantiles(metric: str, by: str, *percents: int) -> dict[str, str]:
    """Return queries for quantiles of a histogram, over all workers."""
    rate = f"sum by (le, {by}) (rate({metric}_bucket[$__rate_interval]))"
    return {f"{{{{{by}}}}} p{percent}": f"histogram_quantile({percent / 100}, {rate})" for percent in percents}


OVERVIEW = Dashboard(
    "delivery-overview",
    "Delivery status: overview",
    "Messages by status, throughput, and present problems.",
    (Variable("channel", "Channel", "delivery_messages"),),
    (
        Row(
            "Is anything wrong now?",
            (
                number(
                    "Workers",
                    "Workers that Prometheus reaches. At 0 nothing is processed, and all other panels are out of date.",
                    "none",
                    "sum(up)",
                    "DeliveryProcessorDown",
                    "DeliveryWorkerDown",
                ),
                number(
                    "Age of events, p99",
                    "Time from an event to its committed row, of 99 in 100 events, on the slower channel. The promise "
                    "is five minutes; providers that report late, and old history that is brought in, add to it.",
                    "s",
                    "max(histogram_quantile(0.99, "
                    "sum by (le, channel) (rate(delivery_event_age_seconds_bucket[$__rate_interval]))))",
                    "DeliveryEventsLate",
                    red_from=300,
                ),
                number(
                    "Records waiting",
                    "Records of the input topics that are not committed yet.",
                    "short",
                    "sum(delivery_lag_records)",
                    "DeliveryLagRising",
                    "DeliveryEventsStalled",
                    page=PARTITIONS,
                ),
                number(
                    "Stuck messages",
                    "Messages that have waited in a status for longer than its threshold (DELIVERY_STUCK_AFTER).",
                    "short",
                    "sum(delivery_stuck_messages)",
                    "DeliveryMessagesStuck",
                    "DeliveryReceiptsMissing",
                    page=STUCK,
                    red_from=1,
                ),
                number(
                    "Silent providers",
                    "Providers with outstanding messages that have stopped reporting, judged by their usual delay.",
                    "none",
                    "count(max by (provider) (delivery_provider_silent_seconds) > 0) or vector(0)",
                    "DeliveryProviderSilent",
                    page=SILENT,
                    red_from=1,
                ),
                number(
                    "Deliveries held",
                    "Deliveries that are pending because the limit is reached (DELIVERY_CONCURRENCY_LIMIT).",
                    "none",
                    'max(delivery_pending_deliveries{cause="concurrency_limit"})',
                    "DeliveryHeldByLimit",
                    page="/deliveries?pending=concurrency_limit",
                    red_from=1,
                ),
                number(
                    "Share that fails",
                    "Share of messages ending now that fail or are given up.",
                    "percentunit",
                    'sum(rate(delivery_outcomes_total{outcome!="success"}[$__rate_interval]))'
                    " / sum(rate(delivery_outcomes_total[$__rate_interval]))",
                    "DeliveryFailureRatioHigh",
                    "DeliveryBounceStorm",
                    page=FAILED,
                    red_from=0.3,
                ),
                number(
                    "Contradictions",
                    "Events in the selected time without effect, because they contradict their message's status.",
                    "short",
                    "sum(increase(delivery_rejected_transitions_total[$__range]))",
                    "DeliveryContradictionsRising",
                    page="/#contradictions",
                ),
                number(
                    "Dead letters",
                    "Unusable records in the selected time, written as dead letters.",
                    "short",
                    "sum(increase(delivery_dead_letters_total[$__range]))",
                    "DeliveryDeadLetters",
                    page=DEAD_LETTERS,
                ),
                number(
                    "Unknown native statuses",
                    "Provider statuses without a mapping in the selected time; they are dead letters.",
                    "short",
                    "sum(increase(delivery_unknown_native_status_total[$__range]))",
                    "DeliveryUnknownStatuses",
                    page=DEAD_LETTERS,
                ),
                number(
                    "Books out of balance",
                    "Messages by which counts differ from rows. Anything but 0 is a bug.",
                    "short",
                    "sum(delivery_conservation_error)",
                    "DeliveryConservationBroken",
                    red_from=1,
                ),
                number(
                    "Alerts firing",
                    "Firing alerts of this product; the table below names them.",
                    "none",
                    'count(ALERTS{alertname=~"Delivery.+",alertstate="firing"}) or vector(0)',
                    red_from=1,
                ),
            ),
        ),
        Row(
            "Messages",
            (
                Panel(
                    "Messages by status",
                    "Known messages by present status, without those of partitions in recovery.",
                    "short",
                    {"{{status}}": "sum by (status) (delivery_messages)"},
                    page="/statuses",
                    is_stacked=True,
                    legend_on_right=True,
                ),
                Panel(
                    "Messages by channel and status, now",
                    "The same, as numbers.",
                    "short",
                    {"{{channel}} {{status}}": "sum by (channel, status) (delivery_messages)"},
                    "bargauge",
                    page="/deliveries",
                ),
                Panel(
                    "Moves between statuses",
                    "Rate of messages that reach a status. A new attempt may reopen `failed_gave_up`.",
                    "mps",
                    {"{{to}}": "sum by (to) (rate(delivery_status_changes_total[$__rate_interval]))"},
                    alerts=("DeliveryEventsMissing",),
                    page="/statuses",
                    legend_on_right=True,
                ),
                Panel(
                    "Time spent in a status",
                    "Time after which nine of ten messages had left a status, by event time.",
                    "s",
                    quantiles("delivery_time_in_status_seconds", "status", 90),
                    page="/statuses",
                    legend_on_right=True,
                ),
                Panel(
                    "Events by verdict",
                    "What was done with events, a second. *Late* and *duplicate* changed no status, *rejected* "
                    "contradicts the message's status, *rerouted* came to the wrong partition and was sent on.",
                    "ops",
                    {"{{verdict}}": "sum by (verdict) (rate(delivery_events_total[$__rate_interval]))"},
                    alerts=("DeliveryEventsStalled", "DeliveryEventsMissing"),
                    is_stacked=True,
                    legend_on_right=True,
                ),
                Panel(
                    "Age of events",
                    "Time from an event to its committed row. The objective: 99 of 100 within five minutes.",
                    "s",
                    quantiles("delivery_event_age_seconds", "channel", 50, 90, 99),
                    alerts=("DeliveryEventsLate",),
                    red_from=300,
                    legend_on_right=True,
                ),
            ),
        ),
        Row(
            "What waits",
            (
                Panel(
                    "Stuck messages",
                    "Messages that have waited in a status for longer than its threshold (DELIVERY_STUCK_AFTER).",
                    "short",
                    {"{{channel}} {{status}}": "sum by (channel, status) (delivery_stuck_messages)"},
                    alerts=("DeliveryMessagesStuck", "DeliveryReceiptsMissing"),
                    page=STUCK,
                    legend_on_right=True,
                ),
                Panel(
                    "Stuck messages that moved after all",
                    "Stuck messages that moved, per minute, by the status that they left.",
                    "short",
                    {
                        "{{channel}} {{status}}": "60 * sum by (channel, status) "
                        "(rate(delivery_stuck_cleared_total[$__rate_interval]))"
                    },
                    alerts=("DeliveryMessagesStuck", "DeliveryReceiptsMissing"),
                    page=STUCK,
                    legend_on_right=True,
                ),
                Panel(
                    "Longest wait",
                    "How long the message has waited that has done so for longest, by event time. Each worker tells "
                    "of its own partitions, so this is the maximum over workers.",
                    "s",
                    {"{{channel}} {{status}}": "max by (channel, status) (delivery_oldest_in_status_seconds)"},
                    alerts=("DeliveryMessagesStuck",),
                    page=STUCK,
                    legend_on_right=True,
                ),
                Panel(
                    "Deliveries that wait",
                    "By cause. Every worker counts all deliveries, so this is the maximum over workers, not their sum.",
                    "short",
                    {"{{cause}}": "max by (cause) (delivery_pending_deliveries)"},
                    alerts=("DeliveryHeldByLimit",),
                    page="/deliveries?pending=any",
                    legend_on_right=True,
                ),
                Panel(
                    "Silent for",
                    "Time since providers with outstanding messages last reported. Empty while all report.",
                    "s",
                    {"{{provider}}": "max by (provider) (delivery_provider_silent_seconds) > 0"},
                    alerts=("DeliveryProviderSilent",),
                    page=SILENT,
                    legend_on_right=True,
                ),
                Panel(
                    "Alerts that fire",
                    "Each with its labels. Its runbook is the page of its name in docs/runbooks.",
                    "none",
                    {
                        "firing": "max by (alertname, severity, channel, provider, status, instance) "
                        '(ALERTS{alertname=~"Delivery.+",alertstate="firing"})'
                    },
                    "table",
                ),
            ),
        ),
    ),
)

DELIVERABILITY = Dashboard(
    "delivery-deliverability",
    "Delivery status: deliverability",
    "How messages end, by channel, provider and reason, and reports of providers that are unusable.",
    (
        Variable("channel", "Channel", "delivery_messages"),
        Variable("provider", "Provider", "delivery_outcomes_total"),
    ),
    (
        Row(
            "By channel",
            (
                Panel(
                    "Outcomes",
                    "Messages, a second, that were sent or arrived, failed for good, or were given up.",
                    "mps",
                    {
                        "{{channel}} {{outcome}}": "sum by (channel, outcome) "
                        "(rate(delivery_outcomes_total[$__rate_interval]))"
                    },
                    page="/deliveries",
                    is_stacked=True,
                    legend_on_right=True,
                ),
                Panel(
                    "Share that fails",
                    "Share of ended messages that failed or were given up, now and a week ago.",
                    "percentunit",
                    {
                        f"{{{{channel}}}}{name}": "sum by (channel) "
                        f'(rate(delivery_outcomes_total{{outcome!="success"}}[$__rate_interval]{offset}))'
                        f" / sum by (channel) (rate(delivery_outcomes_total[$__rate_interval]{offset}))"
                        for name, offset in (("", ""), (" a week ago", " offset 1w"))
                    },
                    alerts=("DeliveryFailureRatioHigh",),
                    page=FAILED,
                    legend_on_right=True,
                ),
            ),
        ),
        Row(
            "By provider",
            (
                Panel(
                    "Providers in the time shown",
                    "Events of each provider, outcomes of its messages, and anomalies.",
                    "short",
                    {
                        "events": "sum by (provider) (increase(delivery_events_total[$__range])) > 0",
                        "fails": "sum by (provider) "
                        '(increase(delivery_outcomes_total{outcome!="success"}[$__range]))'
                        " / (sum by (provider) (increase(delivery_outcomes_total[$__range])) > 0)",
                        "last event": "time() - max by (provider) (delivery_last_event_timestamp_seconds > 0)",
                        "silent": "max by (provider) (delivery_provider_silent_seconds) > 0",
                        "clock ahead": "max by (provider) (delivery_clock_skew_seconds) != 0",
                        "contradictions": "sum by (provider) "
                        "(increase(delivery_rejected_transitions_total[$__range])) > 0",
                        "dead letters": "sum by (provider) (increase(delivery_dead_letters_total[$__range])) > 0",
                    },
                    "table",
                    page=SILENT,
                    width=24,
                    columns={"fails": "percentunit", "last event": "s", "silent": "s", "clock ahead": "s"},
                    join="provider",
                    lowest=None,
                ),
                Panel(
                    "Share that fails",
                    "Share of a provider's ended messages that failed or were given up.",
                    "percentunit",
                    {
                        "{{provider}}": "sum by (provider) "
                        '(rate(delivery_outcomes_total{outcome!="success"}[$__rate_interval]))'
                        " / (sum by (provider) (rate(delivery_outcomes_total[$__rate_interval])) > 0)"
                    },
                    alerts=("DeliveryBounceStorm",),
                    page=FAILED,
                    red_from=0.3,
                    legend_on_right=True,
                ),
                Panel(
                    "Events",
                    "Rate of folded events by provider.",
                    "ops",
                    {"{{provider}}": "sum by (provider) (rate(delivery_events_total[$__rate_interval])) > 0"},
                    alerts=("DeliveryProviderSilent",),
                    page=SILENT,
                    legend_on_right=True,
                ),
                Panel(
                    "Time since the last event",
                    "By event time. At night it is no evidence: the overview shows silent providers.",
                    "s",
                    {"{{provider}}": "time() - max by (provider) (delivery_last_event_timestamp_seconds > 0)"},
                    alerts=("DeliveryProviderSilent",),
                    page=SILENT,
                    legend_on_right=True,
                    lowest=None,
                ),
                Panel(
                    "Clocks",
                    "By how much event times lie ahead of their records' timestamps. Above 0 the provider's clock is "
                    "ahead; below 0 it is behind, or its reports are late.",
                    "s",
                    {"{{provider}}": "max by (provider) (delivery_clock_skew_seconds) != 0"},
                    legend_on_right=True,
                    lowest=None,
                ),
                Panel(
                    "Raw records by what was found in them",
                    "`no_status`: understood, and without bearing on a status. `unknown`: a native status that is in "
                    "no table of ours. `dead`: not what this provider sends.",
                    "ops",
                    {"{{outcome}}": "sum by (outcome) (rate(delivery_normalized_records_total[$__rate_interval]))"},
                    alerts=("DeliveryUnknownStatuses", "DeliveryDeadLetters"),
                    page=DEAD_LETTERS,
                    legend_on_right=True,
                ),
                Panel(
                    "Receipts without an id of ours",
                    "By what became of them. `received` and not yet `matched`: they wait for a link that says whose "
                    "the provider's id is. `corrected`: a newer link of an id that was used again has taken them from "
                    "an older message.",
                    "ops",
                    {"{{outcome}}": "sum by (outcome) (rate(delivery_receipts_total[$__rate_interval])) > 0"},
                    alerts=("DeliveryReceiptsWaiting",),
                    legend_on_right=True,
                ),
                Panel(
                    "Links",
                    "Links of providers' ids to messages. `contradicted`: of two of one moment, one was not believed.",
                    "ops",
                    {"{{outcome}}": "sum by (outcome) (rate(delivery_links_total[$__rate_interval])) > 0"},
                    alerts=("DeliveryReceiptsWaiting",),
                    legend_on_right=True,
                ),
                Panel(
                    "Receipts that wait for their link",
                    "By provider.",
                    "short",
                    {"{{provider}}": "sum by (provider) (delivery_receipts_waiting) > 0"},
                    alerts=("DeliveryReceiptsWaiting", "DeliveryReceiptsUnmatched"),
                    legend_on_right=True,
                ),
                Panel(
                    "The longest wait",
                    "Since the receipt came in that has waited longest, by provider.",
                    "s",
                    {"{{provider}}": "max by (provider) (delivery_receipts_oldest_waiting_seconds) > 0"},
                    alerts=("DeliveryReceiptsUnmatched",),
                    legend_on_right=True,
                ),
                Panel(
                    "Unknown native statuses",
                    "Per hour, by provider: each is a dead letter until the table has a mapping.",
                    "short",
                    {
                        "{{provider}}": "3600 * sum by (provider) "
                        "(rate(delivery_unknown_native_status_total[$__rate_interval])) > 0"
                    },
                    alerts=("DeliveryUnknownStatuses",),
                    page=DEAD_LETTERS,
                    legend_on_right=True,
                ),
            ),
        ),
        Row(
            "Webhooks",
            (
                Panel(
                    "Calls, by what became of them",
                    "`taken`: Kafka has it. `spooled`: it is on disk, since Kafka did not answer in time. `again`: "
                    "neither took it, and the provider is to repeat it.",
                    "ops",
                    {"{{outcome}}": "sum by (outcome) (rate(delivery_webhooks_total[$__rate_interval])) > 0"},
                    legend_on_right=True,
                    alerts=("DeliveryGatewayDown", "DeliveryWebhooksNotTaken"),
                ),
                Panel(
                    "Calls that are not verified",
                    "Strangers; or a secret that is wrong, and then its provider gives its calls up.",
                    "ops",
                    {
                        "{{provider}}": "sum by (provider) "
                        '(rate(delivery_webhooks_total{outcome="refused"}[$__rate_interval])) > 0'
                    },
                    legend_on_right=True,
                    alerts=("DeliveryWebhooksRefused",),
                ),
                Panel(
                    "Time to the answer",
                    "From a call's last byte. Telnyx waits 2 s, most others 10 to 15 s.",
                    "s",
                    quantiles("delivery_webhook_seconds", "provider", 99),
                    legend_on_right=True,
                ),
                Panel(
                    "Since the last call",
                    "Since the last verified one, by provider.",
                    "s",
                    {"{{provider}}": "time() - max by (provider) (delivery_last_webhook_timestamp_seconds > 0)"},
                    legend_on_right=True,
                    lowest=None,
                    alerts=("DeliveryRouteSilent",),
                ),
                Panel(
                    "Spool",
                    "Bytes that wait on disk for Kafka.",
                    "bytes",
                    {"{{instance}}": "sum by (instance) (delivery_spool_bytes)"},
                ),
                Panel(
                    "Records in the spool",
                    "They go to Kafka in the order in which they came, beside new calls.",
                    "short",
                    {"{{instance}}": "sum by (instance) (delivery_spool_records)"},
                ),
                Panel(
                    "The oldest record in the spool",
                    "How long it has waited for Kafka.",
                    "s",
                    {"{{instance}}": "max by (instance) (delivery_spool_oldest_seconds)"},
                    alerts=("DeliverySpoolAging",),
                ),
            ),
        ),
        Row(
            "By reason",
            (
                Panel(
                    "Failures",
                    "Rate of messages that became failed, by category.",
                    "mps",
                    {"{{category}}": "sum by (category) (rate(delivery_failures_total[$__rate_interval])) > 0"},
                    alerts=("DeliveryFailureRatioHigh", "DeliveryBounceStorm"),
                    page=FAILED,
                    is_stacked=True,
                    legend_on_right=True,
                ),
                Panel(
                    "Ignored",
                    "Rate of messages that became ignored, by category.",
                    "mps",
                    {"{{category}}": "sum by (category) (rate(delivery_ignored_total[$__rate_interval])) > 0"},
                    page="/deliveries?status=ignored",
                    is_stacked=True,
                    legend_on_right=True,
                ),
                Panel(
                    "Failures in the time shown",
                    "The most frequent first. *permanent*: final; *gave_up*: after several attempts.",
                    "short",
                    {
                        "messages": "sort_desc(sum by (channel, category, permanence) "
                        "(increase(delivery_failures_total[$__range])) > 0)"
                    },
                    "table",
                    page=FAILED,
                ),
                Panel(
                    "Addresses by condition",
                    "Of the quarantine feed. `quarantined` and `denylisted`: senders are to leave them out. There is "
                    "none without DELIVERY_ADDRESSES_KEY.",
                    "short",
                    {"{{channel}} {{condition}}": "sum by (channel, condition) (delivery_addresses) > 0"},
                    legend_on_right=True,
                ),
                Panel(
                    "Reasons that no rule covers",
                    "Of failures and failed attempts, per hour; `delivery-status reasons --unqualified` lists them.",
                    "short",
                    {
                        "{{provider}}": "3600 * sum by (provider) "
                        "(rate(delivery_unqualified_reasons_total[$__rate_interval])) > 0"
                    },
                    alerts=("DeliveryUnqualifiedReasons",),
                    legend_on_right=True,
                ),
            ),
        ),
        Row(
            "Contradictions, and what cannot be used",
            (
                Panel(
                    "Contradictions",
                    "Events, an hour, whose effect was withheld: where the message stood, and what was told of it.",
                    "short",
                    {
                        "{{from}}, then {{to}}": "3600 * sum by (from, to) "
                        "(rate(delivery_rejected_transitions_total[$__rate_interval])) > 0"
                    },
                    alerts=("DeliveryContradictionsRising",),
                    page="/#contradictions",
                    legend_on_right=True,
                ),
                Panel(
                    "Dead letters",
                    "Records, an hour, that could not be used; `/api/v1/dead-letters` has the newest.",
                    "short",
                    {"{{reason}}": "3600 * sum by (reason) (rate(delivery_dead_letters_total[$__rate_interval])) > 0"},
                    alerts=("DeliveryDeadLetters",),
                    page=DEAD_LETTERS,
                    legend_on_right=True,
                ),
                Panel(
                    "Statuses corrected by late history",
                    "Per hour. Not a fault; a high rate means that a provider reports late.",
                    "short",
                    {"corrected": "3600 * sum(rate(delivery_late_corrections_total[$__rate_interval]))"},
                    alerts=("DeliveryEventsLate",),
                ),
            ),
        ),
    ),
)

ENGINE = Dashboard(
    "delivery-engine",
    "Delivery status: engine",
    "Lag, transactions, recovery, rebalances and partitions of the workers.",
    (Variable("topic", "Topic", "delivery_lag_records"), Variable("stage", "Stage", "delivery_partition_state")),
    (
        Row(
            "Lag",
            (
                Panel(
                    "Records waiting",
                    "Records that are not committed yet, by topic.",
                    "short",
                    {"{{topic}}": "sum by (topic) (delivery_lag_records)"},
                    alerts=("DeliveryLagRising", "DeliveryEventsStalled"),
                    page=PARTITIONS,
                ),
                Panel(
                    "Records waiting, the ten partitions with most",
                    "One far above the others: a key with most of the traffic, or a partition that does not commit.",
                    "short",
                    {"{{topic}} {{partition}}": "topk(10, max by (topic, partition) (delivery_lag_records))"},
                    alerts=("DeliveryLagRising",),
                    page=PARTITIONS,
                    legend_on_right=True,
                ),
                Panel(
                    "Records, by stage",
                    "Rate of committed records.",
                    "ops",
                    {"{{stage}}": "sum by (stage) (rate(delivery_chunk_records_sum[$__rate_interval]))"},
                    alerts=("DeliveryEventsStalled", "DeliveryLagRising"),
                    page=PARTITIONS,
                ),
                Panel(
                    "Events sent on to their own partition",
                    "Per second. A producer uses another key or partitioner: rerouting costs, but the result is right.",
                    "ops",
                    {"rerouted": 'sum(rate(delivery_events_total{verdict="rerouted"}[$__rate_interval]))'},
                ),
            ),
        ),
        Row(
            "Transactions",
            (
                Panel(
                    "Duration of a transaction",
                    "From a chunk to its commit. Seconds mean slow or distant brokers.",
                    "s",
                    quantiles("delivery_commit_seconds", "stage", 50, 99),
                    alerts=("DeliveryEventsLate",),
                    page=PARTITIONS,
                    legend_on_right=True,
                ),
                Panel(
                    "Transactions",
                    "Committed, a second, by stage.",
                    "ops",
                    {"{{stage}}": "sum by (stage) (rate(delivery_commit_seconds_count[$__rate_interval]))"},
                    alerts=("DeliveryEventsStalled",),
                    page=PARTITIONS,
                    legend_on_right=True,
                ),
                Panel(
                    "Records in a transaction",
                    "Few: there is time. DELIVERY_CHUNK_RECORDS: there is more than is worked off.",
                    "short",
                    quantiles("delivery_chunk_records", "stage", 50, 99),
                    alerts=("DeliveryLagRising",),
                    page=PARTITIONS,
                    legend_on_right=True,
                ),
                Panel(
                    "Partitions closed and recovered anew",
                    "After an error, in ten minutes, by stage: brokers that cannot be reached or are busy.",
                    "short",
                    {"{{stage}}": "sum by (stage) (increase(delivery_partition_reopenings_total[10m]))"},
                    alerts=("DeliveryRecoveryTooLong",),
                    page=PARTITIONS,
                ),
            ),
        ),
        Row(
            "Partitions, recovery and rebalances",
            (
                Panel(
                    "Partitions by state",
                    "Of all workers. Events of partitions in recovery wait.",
                    "short",
                    {"{{state}}": "sum by (state) (delivery_partition_state)"},
                    alerts=("DeliveryRecoveryTooLong", "DeliveryEventsStalled"),
                    page=PARTITIONS,
                    is_stacked=True,
                ),
                Panel(
                    "Partitions that run, by worker",
                    "An even share is usual. A worker with none is idle: there are more workers than partitions.",
                    "short",
                    {"{{instance}}": 'sum by (instance) (delivery_partition_state{state="running"})'},
                    alerts=("DeliveryWorkerDown",),
                    page=PARTITIONS,
                    is_stacked=True,
                ),
                Panel(
                    "Recovery",
                    "Share of its changelogs that each worker has read; a partition runs once its changelog is read.",
                    "percentunit",
                    {"{{instance}}": "min by (instance) (delivery_recovery_progress_ratio)"},
                    alerts=("DeliveryRecoveryTooLong",),
                    page=PARTITIONS,
                ),
                Panel(
                    "Rebalances",
                    "Times, in ten minutes, that partitions were handed out anew. All workers count the same ones, "
                    "so this is the maximum. One or two for each worker that comes or goes are usual.",
                    "short",
                    {"rebalances": "max(increase(delivery_rebalances_total[10m]))"},
                    alerts=("DeliveryRebalanceStorm",),
                    page=PARTITIONS,
                ),
                Panel(
                    "Books out of balance",
                    "Messages by which the counts of a worker differ from its rows. Anything but 0 is a bug.",
                    "short",
                    {"{{instance}}": "max by (instance) (abs(delivery_conservation_error))"},
                    alerts=("DeliveryConservationBroken",),
                    red_from=1,
                ),
                Panel(
                    "Settings that differ",
                    "Settings on which workers of the group disagree; the later one may not join.",
                    "short",
                    {"{{instance}}": "max by (instance) (delivery_settings_differ)"},
                    alerts=("DeliverySettingsDiffer",),
                    red_from=1,
                ),
                Panel(
                    "Topics changed",
                    "Topics deleted, created again or repartitioned since a worker started.",
                    "short",
                    {"{{instance}}": "max by (instance) (delivery_topic_problems)"},
                    alerts=("DeliveryTopicsChanged",),
                    red_from=1,
                ),
                Panel(
                    "Rows that cannot be read",
                    "Unreadable records of our own topics. Anything but 0 needs a person to repair it.",
                    "short",
                    {"{{topic}}": "sum by (topic) (delivery_rows_unreadable)"},
                    alerts=("DeliveryRowsUnreadable",),
                    red_from=1,
                ),
                Panel(
                    "Partitions whose readers wait",
                    "Partitions of our topics in which a transaction that is over has left records undecided.",
                    "short",
                    {"{{instance}}": "max by (instance) (delivery_undecided_partitions)"},
                    alerts=("DeliveryReadersWait",),
                    red_from=1,
                ),
                Panel(
                    "Clocks of workers",
                    "How far each worker's clock is from the brokers'. More than a minute is worth a look at its time "
                    "service.",
                    "s",
                    {"{{instance}}": "max by (instance) (delivery_worker_clock_skew_seconds)"},
                    lowest=None,
                ),
                Panel(
                    "Tasks",
                    "Tasks of each worker's event loop: constant while its partitions are.",
                    "short",
                    {"{{instance}}": "max by (instance) (delivery_tasks)"},
                ),
                Panel(
                    "Warnings and errors in the log",
                    "In ten minutes, by event, including repeated ones that the log suppressed.",
                    "short",
                    {"{{event}}": "sum by (event) (increase(delivery_warnings_total[10m])) > 0"},
                    alerts=("DeliveryRecordsExpired",),
                    legend_on_right=True,
                ),
            ),
        ),
        Row(
            "Scrapes",
            (
                Panel(
                    "Workers that are reached",
                    "1: Prometheus reads its metrics; 0: it does not answer.",
                    "none",
                    {"{{instance}}": "min by (instance) (up)"},
                    alerts=("DeliveryProcessorDown", "DeliveryWorkerDown"),
                    width=8,
                ),
                Panel(
                    "Duration of a scrape",
                    "A scrape runs in the thread that processes events.",
                    "s",
                    {"{{instance}}": "max by (instance) (scrape_duration_seconds)"},
                    alerts=("DeliveryWorkerDown",),
                    width=8,
                ),
                Panel(
                    "Series",
                    "Series exported by each worker: their number does not grow with traffic.",
                    "short",
                    {"{{instance}}": "max by (instance) (scrape_samples_scraped)"},
                    width=8,
                ),
            ),
        ),
        Row(
            "Processes",
            (
                Panel(
                    "CPU",
                    "Cores that each worker and gateway uses. A worker processes events in one thread.",
                    "short",
                    {"{{instance}}": "max by (instance) (rate(process_cpu_seconds_total[$__rate_interval]))"},
                    alerts=("DeliveryLagRising",),
                ),
                Panel(
                    "Memory",
                    "Resident memory of each worker and gateway.",
                    "bytes",
                    {"{{instance}}": "max by (instance) (process_resident_memory_bytes)"},
                ),
                Panel(
                    "Versions",
                    "Processes of each version and commit: more than one while an upgrade runs, or after half of one.",
                    "none",
                    {"{{version}} {{commit}}": "count by (version, commit) (delivery_build_info)"},
                ),
            ),
        ),
    ),
)

DASHBOARDS = (OVERVIEW, DELIVERABILITY, ENGINE)


def runbooks() -> dict[str, str]:
    """Return the address of each alert's runbook, as the alerts have it."""
    files = sorted((ROOT / "ops" / "prometheus" / "rules").glob("*.yml"))
    groups = [group for path in files for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]]
    rules = [rule for group in groups for rule in group["rules"]]
    return {rule["alert"]: rule["annotations"]["runbook_url"] for rule in rules if "alert" in rule}


def surroundings() -> Surroundings:
    """Return what dashboards must know of the metrics, the alerts and each other."""
    labels = {metric.name: frozenset(label.name for label in metric.labels) for metric in exported()}
    return Surroundings(labels, runbooks(), DASHBOARDS)


def files() -> Iterator[tuple[Path, str]]:
    """Yield each file, and what it should hold."""
    around = surroundings()
    for dashboard in DASHBOARDS:
        text = json.dumps(to_json(dashboard, around), indent=2, ensure_ascii=False)
        yield FOLDER / "dashboards" / f"{dashboard.uid}.json", text + "\n"


def main(arguments: list[str]) -> int:
    """Write or check every file; return the exit code."""
    outdated = 0
    for path, due in files():
        if path.exists() and path.read_text(encoding="utf-8") == due:
            continue
        outdated += 1
        if "--check" in arguments:
            sys.stdout.write(f"{path.relative_to(ROOT)} is out of date: python ops/grafana/build.py\n")
        else:
            path.write_text(due, encoding="utf-8")
            sys.stdout.write(f"wrote {path.relative_to(ROOT)}\n")
    return 1 if outdated and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
