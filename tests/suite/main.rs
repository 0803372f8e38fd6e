//! Integration tests: the exporter probes real servers and deliberately broken ones, all on loopback.

#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    reason = "an unexpected error fails the test; gauges of whole numbers are exact"
)]

mod support;

mod alerting;
mod before_tls;
mod beside;
mod browser;
mod canaries;
mod certificates;
mod client_certificates;
mod command_line;
mod compose;
mod configuration;
mod dashboards;
mod documents;
mod dropin;
mod echoes;
mod evidence_store;
mod examples;
mod failures;
mod flags;
mod formats;
mod gateways;
mod http3;
mod image;
mod injection;
mod kernels;
mod kubernetes;
mod leases;
mod legacy_tls;
mod limits;
mod load;
mod names;
mod native;
mod nginx;
mod night;
mod odd_http;
mod odd_http2;
mod pages;
mod pages_over_time;
mod parsers;
mod policy;
mod probers;
mod prometheus;
mod proxies;
mod readme;
mod redirects;
mod reload;
mod renewals;
mod reproduce;
mod requests;
mod resolving;
mod routes;
mod servers;
mod serving;
mod shortage;
mod stalls;
mod terminal;
mod tokens;
mod torture;
mod truth;
mod weaknesses;
mod web;
mod web_proxies;
mod wire;
