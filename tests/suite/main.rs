//! The scenarios: the exporter against real servers and against peers that misbehave on purpose, all on loopback.

mod support;

mod configuration;
mod examples;
mod failures;
mod image;
mod load;
mod nginx;
mod prometheus;
mod redirects;
mod serving;
