//! The facts of each exchange on the evidence page: addresses, TLS, response header, socket, controls.

use crate::exposition::durations::words;
use crate::exposition::evidence::{first_bytes, notes, shown_value};
use glassbox_probe::probe::Finding;
use glassbox_verdict::investigation::Vantage;
use glassbox_verdict::report::{
    Certificate, ClockSource, Deviations, Dialogue, Exchange, Reply, TlsFacts, TlsInspection,
};
use maud::{Markup, html};
use std::time::{SystemTime, UNIX_EPOCH};

/// The part of the page below the waterfall.
pub(super) fn all(finding: &Finding) -> Markup {
    let began = finding.report.began;
    let exchanges = &finding.report.exchanges;
    html! {
        @for (number, exchange) in exchanges.iter().enumerate() {
            section.exchange aria-label={ "Exchange " (number + 1) } {
                h2 { @if exchange.for_credentials { "For credentials: " } (exchange.method.as_deref().unwrap_or("Request")) " " bdi { (exchange.url) } }
                dl { (connection(exchange)) }
                @for note in notes(exchange) { p { "Note: " (note) } }
                @if let Some(tls) = &exchange.tls { (secured(tls, began)) }
                @if let Some(inspection) = &exchange.inspection { (inspected(inspection)) }
                @if let Some(reply) = &exchange.reply { (answer(reply, &exchange.deviations)) }
                @if let Some(held) = exchange.dialogue() { (dialogue(held)) }
                @if let Some(bytes) = first_bytes(exchange) { p { "First bytes: " code { (bytes) } } }
            }
        }
        @if let Some(vantage) = &finding.vantage { (controls(vantage)) }
    }
}

fn connection(exchange: &Exchange) -> Markup {
    let by_kernel = exchange.wire.clocks.first_byte == ClockSource::Kernel;
    html! {
        @if !exchange.addresses.is_empty() {
            dt { "Addresses" }
            dd { @for address in &exchange.addresses { (address) " " } }
        }
        @if let Some(proxy) = &exchange.proxy { dt { "Proxy" } dd { bdi { (proxy) } } }
        @if let Some(peer) = exchange.peer { dt { "Connected to" } dd { (peer) @if let Some(local) = exchange.local { " from " (local) } } }
        @if let Some(socket) = exchange.socket {
            dt { "Socket" }
            dd { @if let Some(rtt) = socket.rtt { "round trip " (words(rtt)) ", " } (socket.retransmits) " retransmissions" }
        }
        dt { "Bytes" }
        dd { (exchange.wire.written) " written, " (exchange.wire.read) " read" }
        dt { "Timestamps" }
        dd { @if by_kernel { "from the kernel (time of arrival)" } @else { "from the exporter (time of reading)" } }
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
            p { "When offered every common TLS version and cipher suite, the server answered with " bdi { (answer) } "." }
        }
        @if inspection.repeated { p { "The handshake was repeated with the second TLS library, on a separate connection." } }
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

fn answer(reply: &Reply, deviations: &Deviations) -> Markup {
    html! {
        h3 { (reply.version) " " (reply.status) ", " (reply.body_length) " bytes of body" }
        @if let Some(line) = deviations.line() { p { bdi { (line) } } }
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

/// The failed step of a dialogue, and the received data.
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
        @if let Some(code) = dialogue.close_code { p { "The server closed the WebSocket with code " (code) "." } }
    }
}

fn controls(vantage: &Vantage) -> Markup {
    html! {
        section aria-label="Controls" {
            h2 { "Controls: " @if vantage.healthy() { span.ok { "answered" } } @else { span.failed { "the exporter's own network is suspect" } } }
            ul {
                @for control in &vantage.controls {
                    li {
                        bdi { (control.what) } ": "
                        (control.outcome.as_str())
                        @if !control.detail.is_empty() { ". " bdi { (control.detail) } }
                    }
                }
            }
        }
    }
}
