//! The facts of each exchange: addresses, TLS, the answer's head, the socket, the controls.

use crate::exposition::durations::words;
use crate::exposition::evidence::{first_bytes, shown_value};
use crate::investigation::{Reached, Vantage};
use crate::probe::Finding;
use crate::report::{Certificate, Clock, Dialogue, Leg, Reply, TlsFacts, TlsInspection};
use maud::{Markup, html};
use std::time::{SystemTime, UNIX_EPOCH};

/// Everything below the waterfall.
pub(super) fn all(finding: &Finding) -> Markup {
    let began = finding.report.began;
    let legs = &finding.report.legs;
    html! {
        @for (number, leg) in legs.iter().enumerate() {
            section.leg aria-label={ "Exchange " (number + 1) } {
                h2 { @if leg.for_credentials { "For credentials: " } (leg.method.as_deref().unwrap_or("Request")) " " bdi { (leg.url) } }
                dl { (connection(leg)) }
                @if let Some(tls) = &leg.tls { (secured(tls, began)) }
                @if let Some(inspection) = &leg.inspection { (inspected(inspection)) }
                @if let Some(reply) = &leg.reply { (answer(reply)) }
                @if let Some(held) = leg.dialogue() { (dialogue(held)) }
                @if let Some(bytes) = first_bytes(leg) { p { "First bytes: " code { (bytes) } } }
            }
        }
        @if let Some(vantage) = &finding.vantage { (controls(vantage)) }
    }
}

fn connection(leg: &Leg) -> Markup {
    let by_kernel = leg.wire.clocks.first_byte == Clock::Kernel;
    html! {
        @if !leg.addresses.is_empty() {
            dt { "Addresses" }
            dd { @for address in &leg.addresses { (address) " " } }
        }
        @if let Some(proxy) = &leg.proxy { dt { "Proxy" } dd { bdi { (proxy) } } }
        @if let Some(peer) = leg.peer { dt { "Connected to" } dd { (peer) @if let Some(local) = leg.local { " from " (local) } } }
        @if let Some(socket) = leg.socket {
            dt { "Socket" }
            dd { @if let Some(rtt) = socket.rtt { "round trip " (words(rtt)) ", " } "sent again " (socket.retransmits) " times" }
        }
        dt { "Bytes" }
        dd { (leg.wire.written) " written, " (leg.wire.read) " read" }
        dt { "Clock" }
        dd { @if by_kernel { "the kernel's: when it came" } @else { "the exporter's: when it got to it" } }
    }
}

fn secured(tls: &TlsFacts, began: SystemTime) -> Markup {
    html! {
        h3 { (tls.version.unwrap_or("TLS")) @if let Some(cipher) = &tls.cipher { ", " (cipher) } }
        @if !tls.chain.is_empty() {
            table {
                thead { tr { th scope="col" { "Certificate of" } th scope="col" { "By" } th scope="col" { "Days left" } } }
                tbody { @for certificate in &tls.chain { (shown(certificate, began)) } }
            }
        }
        @if let Some(note) = &tls.note { p { "Note: " (note) } }
    }
}

fn inspected(inspection: &TlsInspection) -> Markup {
    html! {
        p { "First handshake: " bdi { (inspection.because) } }
        @if let Some(answer) = &inspection.answer {
            p { "Offered every usual version and cipher suite, the server answered with " bdi { (answer) } "." }
        }
        @if inspection.repeated { p { "The handshake was repeated with the second TLS library, on a connection of its own." } }
    }
}

fn shown(certificate: &Certificate, began: SystemTime) -> Markup {
    let now = began.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let left = certificate.not_after.saturating_sub_unsigned(now) / 86_400;
    html! {
        tr {
            td.target { bdi { (certificate.subject) } }
            td.target { bdi { (certificate.issuer) } }
            td.number.failed[left < 0] { (left) }
        }
    }
}

fn answer(reply: &Reply) -> Markup {
    html! {
        h3 { (reply.version) " " (reply.status) ", " (reply.body_length) " bytes of body" }
        @if !reply.headers.is_empty() {
            table.fields {
                thead { tr { th scope="col" { "Field" } th scope="col" { "Value" } } }
                tbody {
                    @for (name, value) in &reply.headers {
                        tr { th scope="row" { (name.as_str()) } td.target { bdi { (shown_value(name, value)) } } }
                    }
                }
            }
        }
    }
}

/// Where a dialogue failed, and what came instead of what was expected.
fn dialogue(dialogue: &Dialogue) -> Markup {
    html! {
        @if let Some(failed) = &dialogue.failed {
            h3 { "Step " (failed.number) " of the dialogue failed" }
            dl {
                @if let Some(expected) = &failed.expected { dt { "Expected" } dd { code { bdi { (expected) } } } }
                dt { "Received" }
                dd {
                    @if failed.received.is_empty() { "nothing" }
                    @for line in &failed.received { code { bdi { (line) } } br; }
                }
            }
        }
        @if let Some(code) = dialogue.close_code { p { "The server closed the WebSocket with the code " (code) "." } }
    }
}

fn controls(vantage: &Vantage) -> Markup {
    html! {
        section aria-label="Controls" {
            h2 { "Controls: " @if vantage.healthy() { span.ok { "answered" } } @else { span.failed { "our own side is suspect" } } }
            ul {
                @for control in &vantage.controls {
                    li {
                        bdi { (control.what) } ": "
                        @match control.outcome {
                            Reached::Answered => "answered",
                            Reached::NoName => "not resolved",
                            Reached::NoConnection => "not connected",
                            Reached::NotAsked => "not asked",
                        }
                        @if !control.detail.is_empty() { ". " bdi { (control.detail) } }
                    }
                }
            }
        }
    }
}
