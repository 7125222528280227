"""The Grafana dashboard as data, and its JSON by Grafana's own builders.

Every panel has a unit and one sentence that says what it shows and what is good. Expressions take `$namespace` and Grafana's
`$__rate_interval`; tests parse each of them and look its metrics up in the reference.
"""

from __future__ import annotations

import itertools
import string
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import common, dashboard, prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import StackingMode

_IN: Final = 'namespace=~"$namespace"'
_WIDTH: Final = 8
_HEIGHT: Final = 7


@dataclass(frozen=True, slots=True)
class Panel:
    """One graph. `queries` are pairs of an expression and its legend; `unit` is one of Grafana's."""

    title: str
    sentence: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


def _one(title: str, sentence: str, unit: str, expression: str, legend: str = "", *, stacked: bool = False) -> Panel:
    return Panel(title, sentence, unit, ((expression, legend),), stacked)


def _rate(metric: str, by: str, *, where: str = "") -> str:
    matchers = f"{_IN}, {where}" if where else _IN
    return f"sum by ({by}) (rate({metric}{{{matchers}}}[$__rate_interval]))"


def _quantile(share: float, metric: str, *by: str) -> str:
    labels = ", ".join((*by, "le"))
    return f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket{{{_IN}}}[$__rate_interval])))"


def _quantiles(metric: str) -> tuple[tuple[str, str], ...]:
    return ((_quantile(0.5, metric), "half of them"), (_quantile(0.99, metric), "99 of 100"))


def _now(metric: str, *, where: str = "") -> str:
    return f"{metric}{{{_IN}, {where}}}" if where else f"{metric}{{{_IN}}}"


ROWS: Final = (
    Row(
        "Overview",
        (
            _one(
                "Guilds by pod",
                "How the guilds are spread over the gateway pods; the areas should be alike.",
                "short",
                f"max by (owner) ({_now('modbot_config_owner_guilds')})",
                "{{owner}}",
                stacked=True,
            ),
            _one(
                "Shards by pod",
                "How the shards are spread over the gateway pods.",
                "short",
                f"max by (owner) ({_now('modbot_config_owner_shards')})",
                "{{owner}}",
                stacked=True,
            ),
            Panel(
                "Shards that are not served",
                "All of these should be 0: shards without an owner, not open at their owner, or without a gateway session.",
                "short",
                (
                    (f"max({_now('modbot_config_unowned_shards')})", "no owner"),
                    (f"count({_now('modbot_shard_open')} == 0) or vector(0)", "not open"),
                    (f"count({_now('modbot_gateway_connected')} == 0) or vector(0)", "not connected"),
                ),
            ),
            _one(
                "Pods",
                "Gateway pods by state, as the config service sees them.",
                "short",
                f"max by (state) ({_now('modbot_config_pods')})",
                "{{state}}",
            ),
            _one(
                "Imbalance",
                "Load of the most loaded pod over the mean: 1 is even, above 1.25 for long is an alert.",
                "none",
                f"max({_now('modbot_config_imbalance')})",
                "most over mean",
            ),
            Panel(
                "Leases",
                "What is left of each pod's lease, and which pods act in failsafe mode; a lease at 0 means that nothing is sent.",
                "s",
                (
                    (_now("modbot_lease_seconds"), "{{pod}}"),
                    (f"{_now('modbot_failsafe')} == 1", "{{pod}} in failsafe mode"),
                ),
            ),
        ),
    ),
    Row(
        "Events",
        (
            _one(
                "Events committed",
                "Gateway events that were committed, by pod.",
                "cps",
                _rate("modbot_events_total", "pod"),
                "{{pod}}",
                stacked=True,
            ),
            Panel(
                "From receiving to commit",
                "How long an event takes from its arrival to its commit; 99 of 100 should stay below a second.",
                "s",
                _quantiles("modbot_event_lag_seconds"),
            ),
            Panel(
                "Gaps and dead letters",
                "Gaps in the stream, guilds still being read back, and events whose handler failed; all of these should stay at 0.",
                "short",
                (
                    (f"sum by (reason) (increase({_now('modbot_gaps_total')}[$__rate_interval]))", "gap: {{reason}}"),
                    (f"sum({_now('modbot_gap_guilds')})", "guilds under repair"),
                    (
                        f"sum by (handler) (increase({_now('modbot_dead_letters_total')}[$__rate_interval])) > 0",
                        "dead: {{handler}}",
                    ),
                ),
            ),
        ),
    ),
    Row(
        "Interactions",
        (
            _one(
                "Interactions by outcome",
                "What Discord was told first; nearly all should be answered, some open a form.",
                "cps",
                _rate("modbot_http_interactions_total", "outcome"),
                "{{outcome}}",
                stacked=True,
            ),
            Panel(
                "Time to the first answer",
                "From Discord's request to our answer; Discord waits three seconds.",
                "s",
                _quantiles("modbot_http_interaction_seconds"),
            ),
            Panel(
                "Deferrals and journal",
                "Deferrals that the inbox does not know of yet or never will, and interactions that were forwarded unjournaled.",
                "short",
                (
                    (f"sum({_now('modbot_http_deferrals_pending')})", "pending"),
                    (f"sum(increase({_now('modbot_http_deferrals_lost_total')}[$__rate_interval]))", "lost"),
                    (f"sum(increase({_now('modbot_http_unjournaled_total')}[$__rate_interval]))", "unjournaled"),
                ),
            ),
            _one(
                "Tries to reach an owner",
                "Forwarded calls by outcome; during a handoff some find an owner that has just changed.",
                "cps",
                _rate("modbot_http_forwards_total", "outcome"),
                "{{outcome}}",
            ),
            _one(
                "Portal pages",
                "Requests to the portal by status.",
                "reqps",
                _rate("modbot_http_pages_total", "status"),
                "{{status}}",
            ),
            Panel(
                "Http pods",
                "Running pods of the http service and what its autoscaler wants; the line at the top is the most that it may start.",
                "short",
                (
                    (
                        _now(
                            "kube_horizontalpodautoscaler_status_current_replicas",
                            where='horizontalpodautoscaler="http-service-hpa"',
                        ),
                        "running",
                    ),
                    (
                        _now(
                            "kube_horizontalpodautoscaler_status_desired_replicas",
                            where='horizontalpodautoscaler="http-service-hpa"',
                        ),
                        "wanted",
                    ),
                    (
                        _now(
                            "kube_horizontalpodautoscaler_spec_max_replicas",
                            where='horizontalpodautoscaler="http-service-hpa"',
                        ),
                        "at most",
                    ),
                ),
            ),
        ),
    ),
    Row(
        "Replicas",
        (
            _one(
                "Replica lag",
                "Age of the oldest commit that is not in the replica store, the worst shard of each pod; a second or two is normal.",
                "s",
                f"max by (pod) ({_now('modbot_replica_lag_seconds')})",
                "{{pod}}",
            ),
            _one(
                "Database size by pod",
                "Size of all shard files of a pod.",
                "bytes",
                f"sum by (pod) ({_now('modbot_shard_bytes')})",
                "{{pod}}",
                stacked=True,
            ),
            _one(
                "Database size by shard",
                "Size of each shard file.",
                "bytes",
                f"max by (shard) ({_now('modbot_shard_bytes')})",
                "{{shard}}",
            ),
            _one(
                "Logs (WAL)",
                "The largest log of each pod's shard files; a sidecar that stands still makes it grow.",
                "bytes",
                f"max by (pod) ({_now('modbot_wal_bytes')})",
                "{{pod}}",
            ),
            _one(
                "Barriers",
                "Litestream's answers whether everything is in the store, by outcome.",
                "cps",
                _rate("modbot_replica_syncs_total", "outcome"),
                "{{outcome}}",
            ),
            _one(
                "Restores",
                "Epochs that restores have looked at; behind, damaged and wrong are alerts.",
                "short",
                f"sum by (outcome) (increase({_now('modbot_restores_total')}[$__rate_interval]))",
                "{{outcome}}",
            ),
        ),
    ),
    Row(
        "Handoffs and takeovers",
        (
            Panel(
                "Pause of a handoff",
                "From the source's last event to the first one at the target; the target is one second.",
                "s",
                _quantiles("modbot_handoff_pause_seconds"),
            ),
            _one(
                "Moves",
                "Moves by cause and outcome.",
                "short",
                f"sum by (cause, outcome) (increase({_now('modbot_config_moves_total')}[$__rate_interval]))",
                "{{cause}}, {{outcome}}",
            ),
            Panel(
                "Takeovers and grants",
                "Shards taken from pods whose lease ran out, and shards granted by placement.",
                "short",
                (
                    (f"sum(increase({_now('modbot_config_takeovers_total')}[$__rate_interval]))", "taken over"),
                    (f"sum(increase({_now('modbot_config_grants_total')}[$__rate_interval]))", "granted"),
                    (f"max({_now('modbot_config_moving_shards')})", "moving now"),
                    (f"max({_now('modbot_config_moves_held')})", "held"),
                ),
            ),
        ),
    ),
    Row(
        "Config service",
        (
            Panel(
                "Assignment latency",
                "Time to answer where a guild lives.",
                "s",
                _quantiles("modbot_config_assignment_seconds"),
            ),
            _one(
                "Connections to PostgreSQL",
                "The pool of each replica, by use; busy at the limit for long is an alert.",
                "short",
                f"sum by (pod, use) ({_now('modbot_config_pool_connections')})",
                "{{pod}} {{use}}",
            ),
            _one(
                "Calls by status",
                "Calls of the config service by status; 409 and 503 are answers that callers know.",
                "reqps",
                _rate("modbot_config_calls_total", "status"),
                "{{status}}",
            ),
        ),
    ),
    Row(
        "Discord: requests and limits",
        (
            _one(
                "Requests by outcome",
                "Tries of requests to Discord; denied and limited count towards Discord's ban of the address.",
                "reqps",
                _rate("modbot_rest_requests_total", "outcome"),
                "{{outcome}}",
                stacked=True,
            ),
            Panel(
                "Limits hit and IDENTIFYs left",
                "Rate limits by scope, and what is left of the day's IDENTIFYs.",
                "short",
                (
                    (f"sum by (scope) (increase({_now('modbot_rest_limited_total')}[$__rate_interval]))", "{{scope}}"),
                    (f"min({_now('modbot_config_identify_remaining')})", "IDENTIFYs left"),
                ),
            ),
            Panel(
                "Waiting and answering",
                "99 of 100 requests wait this long for limits before they are sent, and get Discord's answer after this long.",
                "s",
                (
                    (_quantile(0.99, "modbot_rest_wait_seconds"), "wait"),
                    (_quantile(0.99, "modbot_rest_seconds"), "answer"),
                ),
            ),
            _one(
                "Effects by outcome",
                "What modbot did in Discord, by how it ended.",
                "cps",
                _rate("modbot_effects_total", "outcome"),
                "{{outcome}}",
            ),
            Panel(
                "Time to an effect",
                "From asking for an effect to its end.",
                "s",
                _quantiles("modbot_effect_seconds"),
            ),
            _one(
                "Oldest effect",
                "How long the oldest effect of each pod has been due; seconds are normal, minutes are not.",
                "s",
                f"max by (pod) ({_now('modbot_effect_oldest_seconds')})",
                "{{pod}}",
            ),
        ),
    ),
    Row(
        "Resources",
        (
            _one(
                "CPU",
                "Cores in use by each process.",
                "none",
                _rate("process_cpu_seconds_total", "pod", where='job=~"http|config|gateway"'),
                "{{pod}}",
            ),
            Panel(
                "Memory",
                "Memory in use by each process, and the limit of its container.",
                "bytes",
                (
                    (_now("process_resident_memory_bytes", where='job=~"http|config|gateway"'), "{{pod}}"),
                    (_now("modbot_memory_limit_bytes"), "limit of {{pod}}"),
                ),
            ),
            _one(
                "Free on the volumes",
                "What is free on the volume of each gateway pod; below 10 % of it is an alert.",
                "percentunit",
                f"{_now('modbot_volume_free_bytes')} / {_now('modbot_volume_bytes')}",
                "{{pod}}",
            ),
        ),
    ),
)


def text() -> str:
    """Return the dashboard's JSON."""
    source = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
    made = (
        dashboard.Dashboard("modbot")
        .uid("modbot")
        .tags(["modbot"])
        .description(
            "Written by scripts/generate-monitoring. What the panels show is explained in docs/how-to/monitor.md."
        )
        .editable()
        .refresh("30s")
        .time("now-3h", "now")
        .timezone("browser")
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .with_variable(
            dashboard.QueryVariable("namespace")
            .label("Namespace")
            .datasource(source)
            .query("label_values(modbot_lease_seconds, namespace)")
            .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .include_all(include_all=True)
            .all_value(".*")
        )
    )
    numbers = itertools.count(1)
    for row in ROWS:
        made = made.with_row(dashboard.Row(row.title).id(next(numbers)))
        for panel in row.panels:
            made = made.with_panel(_graph(panel, source).id(next(numbers)))
    return JSONEncoder(sort_keys=True, indent=2).encode(made.build()) + "\n"


def _graph(panel: Panel, source: models.DataSourceRef) -> timeseries.Panel:
    graph = (
        timeseries.Panel()
        .title(panel.title)
        .description(panel.sentence)
        .unit(panel.unit)
        .min(0)
        .datasource(source)
        .span(_WIDTH)
        .height(_HEIGHT)
        .fill_opacity(20 if panel.stacked else 0)
    )
    if panel.stacked:
        graph = graph.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    for letter, (expression, legend) in zip(string.ascii_uppercase, panel.queries, strict=False):
        graph = graph.with_target(prometheus.Dataquery().ref_id(letter).expr(expression).legend_format(legend))
    return graph
