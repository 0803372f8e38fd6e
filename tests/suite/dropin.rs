//! Dashboards and alert rules written for `blackbox_exporter`: all of their queries return data from a Prometheus that
//! scrapes `glassbox_exporter`.

use crate::dashboards::job;
use crate::support::exporter::Exporter;
use crate::support::peer::{Peer, ok};
use crate::support::pki::Authority;
use crate::support::process::eventually;
use crate::support::prometheus::Prometheus;

/// Dashboards of Grafana.com by number, and the queries of their panels and variables with Grafana's variables
/// replaced.
const DASHBOARDS: [(&str, &[&str]); 6] = [
    (
        "7587",
        &[
            "probe_success{instance=~\".+\"}",
            "probe_duration_seconds{instance=~\".+\"}",
            "probe_http_duration_seconds{instance=~\".+\"}",
            "probe_http_status_code{instance=~\".+\"}",
            "probe_http_version{instance=~\".+\"}",
            "probe_http_ssl{instance=~\".+\"}",
            "probe_ssl_earliest_cert_expiry{instance=~\".+\"}-time()",
            "avg(probe_duration_seconds{instance=~\".+\"})",
            "avg(probe_dns_lookup_time_seconds{instance=~\".+\"})",
        ],
    ),
    (
        "14928",
        &[
            "group by (phase) (probe_http_duration_seconds)",
            "avg_over_time(probe_success{instance=~\".+\"}[1m])",
            "probe_ip_protocol{instance=~\".+\"}",
            "probe_http_duration_seconds{instance=~\".+\", phase=~\"connect|processing|resolve|tls|transfer\"}",
            "probe_tls_version_info{instance=~\".+\", version=~\"TLS.*\"}",
        ],
    ),
    (
        "13659",
        &[
            "probe_success - 0",
            "probe_http_ssl > 0",
            "(probe_ssl_earliest_cert_expiry - time()) / 3600 / 24",
            "probe_http_status_code > 0",
            "avg_over_time(probe_duration_seconds[1m])",
            "probe_tls_version_info",
            "avg_over_time(probe_dns_lookup_time_seconds[1m])",
            "sum(probe_http_duration_seconds) by (instance)",
        ],
    ),
    (
        "11529",
        &[
            "count(probe_success)",
            "sum(probe_success)/count(probe_success)",
            "min(probe_ssl_earliest_cert_expiry - time())",
            "topk(5, probe_duration_seconds)",
        ],
    ),
    (
        "16124",
        &[
            "probe_http_redirects",
            "avg_over_time(probe_success[30d])",
            "sum by (phase) (probe_icmp_duration_seconds)",
            "avg by (job, instance, phase) (probe_http_duration_seconds)",
            "probe_ssl_last_chain_expiry_timestamp_seconds",
            "max by (job, instance) (probe_ssl_last_chain_info)",
        ],
    ),
    (
        "the exporter itself",
        &[
            "blackbox_exporter_build_info",
            "blackbox_exporter_config_last_reload_successful == 1",
            "time() - blackbox_exporter_config_last_reload_success_timestamp_seconds",
            "blackbox_module_unknown_total",
            "process_resident_memory_bytes",
            "rate(process_cpu_seconds_total[10s])",
            "promhttp_metric_handler_requests_total",
            "net_conntrack_dialer_conn_attempted_total",
        ],
    ),
];

/// Expressions of widely used alert rules, with thresholds that the targets of the test exceed.
const ALERTS: [&str; 8] = [
    "probe_success == 0",
    "avg_over_time(probe_duration_seconds[1m]) > 0",
    "probe_http_status_code <= 199 or probe_http_status_code >= 400",
    "round((last_over_time(probe_ssl_earliest_cert_expiry[10m]) - time()) / 86400, 0.1) > 3",
    "avg_over_time(probe_http_duration_seconds[1m]) >= 0",
    "avg_over_time(probe_icmp_duration_seconds[1m]) > 0",
    "probe_success{job=\"blackbox\"} == 0 and on (instance) probe_http_status_code == 0",
    "changes(probe_ip_addr_hash[1m]) == 0",
];

#[tokio::test]
async fn dashboards_and_alerts_for_blackbox_exporter_work_unchanged() {
    let authority = Authority::new();
    let plain = Peer::start(ok).await;
    let secured = Peer::with_tls(authority.leaf("127.0.0.1").server(&[]), ok).await;
    let failing = Peer::answering("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").await;
    let exporter = Exporter::start(&format!(
        "modules:\n  web: {{prober: http, http: {{preferred_ip_protocol: ip4, tls_config: {{ca_file: {}}}}}}}\n  \
         ping: {{prober: icmp, icmp: {{preferred_ip_protocol: ip4}}}}\n",
        authority.ca_file.display()
    ))
    .await;
    let gone = "http://127.0.0.1:9/".to_owned();
    let config = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n{}{}- job_name: exporter\n  static_configs: [{{targets: ['{}']}}]\n",
        job(&exporter, "web", &[plain.http(), secured.https(), failing.http(), gone]),
        job(&exporter, "ping", &["127.0.0.1".to_owned()]),
        exporter.address,
    )
    .replace("replacement: glassbox", "replacement: blackbox");
    let prometheus = Prometheus::start(&config, &[]).await;
    let dashboards = DASHBOARDS
        .iter()
        .flat_map(|(name, queries)| queries.iter().map(move |query| (*name, *query)));
    let alerts = ALERTS.iter().map(|query| ("alert", *query));
    for (name, query) in dashboards.chain(alerts) {
        eventually(&format!("{name}: {query}"), async || {
            !prometheus.values(query).await.is_empty()
        })
        .await;
    }
}
