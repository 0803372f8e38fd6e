//! The closed list of reasons: one table, from which the labels, the documents and the tests derive.

/// Declares [`ReasonFamily`] and [`Reason`] from their table: families, and in each the variants with label and
/// meaning.
macro_rules! reasons {
    ($($family:ident = $word:literal { $($variant:ident = $label:literal, $meaning:literal;)+ })+) => {
        /// Subject of a reason: the part of its label before the first dot.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum ReasonFamily { $(#[doc = concat!("`", $word, "`")] $family,)+ }

        impl ReasonFamily {
            /// The prefix of the family's labels.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$family => $word,)+ }
            }
        }

        /// What went wrong. Labels are dotted, family first. Between the exporter and the edge they follow Network
        /// Error Logging.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Reason { $($(#[doc = $meaning] $variant,)+)+ }

        impl Reason {
            /// Every reason, in the order of the table.
            pub const ALL: &'static [Self] = &[$($(Self::$variant,)+)+];

            /// The value of the `reason` label.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $($(Self::$variant => $label,)+)+ }
            }

            /// The meaning, as a clause that can follow "because".
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $($(Self::$variant => $meaning,)+)+ }
            }

            /// The family of the reason.
            #[must_use]
            pub const fn family(self) -> ReasonFamily {
                match self { $($(Self::$variant)|+ => ReasonFamily::$family,)+ }
            }
        }
    };
}

reasons! {
    Dns = "dns" {
        DnsNameNotResolved = "dns.name_not_resolved", "the name does not exist (NXDOMAIN)";
        DnsNoData = "dns.no_data", "the name exists but has no address of the requested family";
        DnsServfail = "dns.servfail", "the name server failed (SERVFAIL)";
        DnsRefused = "dns.refused", "the name server refused the question (REFUSED)";
        DnsTimedOut = "dns.timed_out", "no name server responded in time";
        DnsMalformed = "dns.malformed", "the name server's response could not be parsed";
        DnsFailed = "dns.failed", "the name could not be resolved";
        DnsServerUnreachable = "dns.server_unreachable", "nothing is listening on the probed name server's port";
    }
    Tcp = "tcp" {
        TcpRefused = "tcp.refused", "the connection was refused";
        TcpTimedOut = "tcp.timed_out", "the connection attempt timed out";
        TcpReset = "tcp.reset", "the connection was reset";
        TcpClosed = "tcp.closed", "the server closed the connection before it sent the expected data";
        TcpNoResponse = "tcp.no_response", "the server accepted the connection but did not send the expected data in time";
        TcpAddressUnreachable = "tcp.address_unreachable", "there is no route to the address";
        TcpFailed = "tcp.failed", "the connection failed";
    }
    Quic = "quic" {
        QuicRefused = "quic.refused", "nothing is listening on the UDP port";
        QuicTimedOut = "quic.timed_out", "no datagram arrived from the address in time";
        QuicFailed = "quic.failed", "the QUIC connection failed";
    }
    Proxy = "proxy" {
        ProxyRefused = "proxy.refused", "the proxy refused to open a tunnel";
        ProxyTargetUnreachable = "proxy.target_unreachable", "the proxy cannot reach the target";
        ProxyFailed = "proxy.failed", "the exchange with the proxy failed";
    }
    Tls = "tls" {
        TlsVersionOrCipherMismatch = "tls.version_or_cipher_mismatch", "the two sides share no TLS version or cipher suite";
        TlsProtocolError = "tls.protocol_error", "the server violated the TLS protocol";
        TlsAlert = "tls.alert", "the server ended the TLS connection with an alert";
        TlsTimedOut = "tls.timed_out", "the TLS handshake did not finish in time";
        TlsClosed = "tls.closed", "the server closed the connection during the TLS handshake";
        TlsNotSupported = "tls.not_supported", "the server does not use TLS on this port";
        TlsCertNameInvalid = "tls.cert.name_invalid", "the certificate was issued for a different name";
        TlsCertDateInvalid = "tls.cert.date_invalid", "the certificate is expired or not yet valid";
        TlsCertAuthorityInvalid = "tls.cert.authority_invalid", "the certificate was issued by an untrusted authority";
        TlsCertSelfSigned = "tls.cert.self_signed", "the certificate is self-signed";
        TlsCertInvalid = "tls.cert.invalid", "the certificate is not valid";
        TlsRequired = "tls.required", "the port expects TLS, but the request was sent in plain text";
        TlsClientCert = "tls.client_cert", "the server requires a client certificate or rejected the one it received";
    }
    Http = "http" {
        HttpStatus = "http.status", "the module does not accept the status code";
        HttpClosedBeforeResponse = "http.closed_before_response", "the connection was closed before the response header was complete";
        HttpTimedOutWaiting = "http.timed_out_waiting", "the response header was not complete in time";
        HttpClosedMidBody = "http.closed_mid_body", "the connection was closed before the response body was complete";
        HttpTimedOutMidBody = "http.timed_out_mid_body", "the response body was not complete in time";
        HttpResponseInvalid = "http.response.invalid", "the response is not valid HTTP";
        HttpResponseTooManyInterim = "http.response.too_many_interim", "there were too many interim responses before the final one";
        HttpResponseHeaderTooLarge = "http.response.header_too_large", "the response header exceeds the size limit";
        HttpResponseBadCoding = "http.response.bad_coding", "the body is not in the content coding that the module expects";
        HttpResponseRedirectLoop = "http.response.redirect_loop", "there were too many redirects";
        HttpResponseBadRedirect = "http.response.bad_redirect", "the redirect does not contain a usable location";
        HttpResponseTooLarge = "http.response.too_large", "the body exceeds the module's size limit";
        HttpSlow = "http.slow", "the response took longer than the module allows";
        HttpExcessBody = "http.excess_body", "the server sent more bytes than the response's Content-Length declares";
        HttpFailed = "http.failed", "the HTTP exchange failed";
    }
    Content = "content" {
        ContentBody = "content.body", "the body fails an assertion";
        ContentHeader = "content.header", "a header fails an assertion";
        ContentVersion = "content.version", "the module does not accept the HTTP version";
        ContentTlsRequired = "content.tls_required", "the response arrived without TLS, which the module requires";
        ContentTlsForbidden = "content.tls_forbidden", "the response arrived over TLS, which the module forbids";
        ContentJsonTooLarge = "content.json_too_large", "the JSON body contains more values than the limit for CEL expressions";
        ContentJson = "content.json", "the JSON body fails an assertion";
        ContentExpect = "content.expect", "the server did not send what the module expects";
        ContentLineTooLong = "content.line_too_long", "the server sent a line that exceeds the size limit for matching";
        ContentRcode = "content.rcode", "the name server returned a response code that the module does not accept";
        ContentBodyTooLarge = "content.body_too_large", "the body exceeds the size limit for assertions";
    }
    Icmp = "icmp" {
        IcmpTimedOut = "icmp.timed_out", "no echo reply arrived in time";
        IcmpTooBig = "icmp.too_big", "the echo request exceeds the path MTU and must not be fragmented";
        IcmpUnreachable = "icmp.unreachable", "a router or the host itself reports that the host is unreachable";
    }
    Grpc = "grpc" {
        GrpcStatus = "grpc.status", "the health check ended with a gRPC status other than OK";
        GrpcNotServing = "grpc.not_serving", "the health service reports that the service is not serving";
        GrpcInvalid = "grpc.invalid", "the response is not a valid gRPC health check response";
    }
    Websocket = "websocket" {
        WebsocketNotUpgraded = "websocket.not_upgraded", "the server did not switch to the WebSocket protocol";
        WebsocketClosed = "websocket.closed", "the WebSocket was closed before the expected message";
        WebsocketInvalid = "websocket.invalid", "the server violated the WebSocket protocol";
    }
    Upstream = "upstream" {
        UpstreamDnsError = "upstream.dns_error", "the gateway could not resolve its backend's name";
        UpstreamDnsTimeout = "upstream.dns_timeout", "the gateway's name server did not respond";
        UpstreamConnectionRefused = "upstream.connection_refused", "the gateway's backend refused the connection";
        UpstreamConnectionTimeout = "upstream.connection_timeout", "the gateway's backend did not accept the connection in time";
        UpstreamConnectionTerminated = "upstream.connection_terminated", "the gateway's backend closed the connection before a complete response";
        UpstreamConnectionLimitReached = "upstream.connection_limit_reached", "the gateway has too many connections to its backend";
        UpstreamTlsCertificateError = "upstream.tls_certificate_error", "the gateway does not accept its backend's certificate";
        UpstreamTlsProtocolError = "upstream.tls_protocol_error", "TLS between the gateway and its backend failed";
        UpstreamTlsAlertReceived = "upstream.tls_alert_received", "the gateway's backend ended TLS with an alert";
        UpstreamDestinationIpUnroutable = "upstream.destination_ip_unroutable", "the gateway has no route to its backend";
        UpstreamDestinationIpProhibited = "upstream.destination_ip_prohibited", "the gateway is not allowed to connect to its backend";
        UpstreamDestinationUnavailable = "upstream.destination_unavailable", "the gateway considers all its backends down";
        UpstreamHttpProtocolError = "upstream.http_protocol_error", "the gateway's backend does not send valid HTTP";
        UpstreamHttpResponseIncomplete = "upstream.http_response_incomplete", "the response from the gateway's backend was cut off";
        UpstreamHttpResponseTimeout = "upstream.http_response_timeout", "the gateway's backend did not respond within the gateway's timeout";
        UpstreamHttpResponseHeaderSectionSize = "upstream.http_response_header_section_size", "the response header is too large for the gateway";
        UpstreamConnectionReadTimeout = "upstream.connection_read_timeout", "the gateway's backend stopped sending during its response";
        UpstreamConnectionWriteTimeout = "upstream.connection_write_timeout", "the gateway's backend stopped reading the request";
        UpstreamHttpResponseBodySize = "upstream.http_response_body_size", "the response body is too large for the gateway";
        UpstreamHttpResponseContentCoding = "upstream.http_response_content_coding", "the gateway could not decode the response's content coding";
        UpstreamHttpUpgradeFailed = "upstream.http_upgrade_failed", "the gateway could not switch protocols with its backend";
        UpstreamHttpResponseTransferCoding = "upstream.http_response_transfer_coding", "the gateway could not decode the response's transfer coding";
        UpstreamTlsRequired = "upstream.tls_required", "the gateway sends plain text to a port that expects TLS";
        UpstreamUnreachable = "upstream.unreachable", "the gateway cannot reach its backend";
        UpstreamInvalidResponse = "upstream.invalid_response", "the gateway received no valid response from its backend";
        UpstreamFailed = "upstream.failed", "the exchange between the gateway and its backend failed";
    }
    Edge = "edge" {
        EdgeDenied = "edge.denied", "the edge's own policy refused the request";
        EdgeRequestRefused = "edge.request_refused", "the edge rejects the request as malformed";
        EdgeNotFound = "edge.not_found", "the edge has no route for the request";
        EdgeOverloaded = "edge.overloaded", "the edge has reached one of its own limits";
        EdgeRateLimited = "edge.rate_limited", "the edge rate-limits requests";
        EdgeInternalError = "edge.internal_error", "the edge itself failed";
        EdgeLoop = "edge.loop", "the edge forwards requests to itself";
    }
    Origin = "origin" {
        OriginSlow = "origin.slow", "the application's response is correct but slow";
        OriginStatus = "origin.status", "the application itself returned this status";
    }
    Local = "local" {
        LocalNoRoute = "local.no_route", "this host has no route to the address";
        LocalResolverUnreachable = "local.resolver_unreachable", "the exporter's name server is unreachable";
        LocalCaptivePortal = "local.captive_portal", "a captive portal in the exporter's network answers every DNS query";
        LocalControlsFailed = "local.controls_failed", "all controls are unreachable from the exporter";
        LocalDenied = "local.denied", "the exporter's policy forbids connections to the address";
        LocalTargetInvalid = "local.target_invalid", "the target is not valid for this prober";
        LocalTlsUnsupported = "local.tls_unsupported", "the exporter does not support the TLS version or cipher suite that the probe needs";
        LocalNotPermitted = "local.not_permitted", "the exporter lacks a permission that the probe needs";
        LocalSourceAddressUnavailable = "local.source_address_unavailable", "the module's source address is not available on the exporter's host";
        LocalCredentials = "local.credentials", "the credentials for the target could not be obtained";
        LocalFileUnreadable = "local.file_unreadable", "a file that the module refers to is unusable";
        LocalConcurrencyLimit = "local.concurrency_limit", "the probe spent half of its time waiting for other probes of the same destination";
        LocalOverloaded = "local.overloaded", "the exporter has reached its concurrency limit";
        LocalStalled = "local.stalled", "the exporter stalled during the probe for long enough to affect the result";
        LocalOutOfFiles = "local.out_of_files", "the exporter has no free file descriptor";
        LocalOutOfPorts = "local.out_of_ports", "the exporter has no free local port";
        LocalOutOfMemory = "local.out_of_memory", "the exporter's kernel has no buffers left";
        LocalPanic = "local.panic", "the exporter's own code panicked";
        LocalInternalError = "local.internal_error", "a defect in the exporter's own code stopped the probe";
    }
}

impl Reason {
    /// Whether the exporter itself failed. Such a probe is not counted as an attempt and implies nothing about the
    /// target.
    #[must_use]
    pub const fn is_local_error(self) -> bool {
        matches!(
            self,
            Self::LocalOverloaded
                | Self::LocalStalled
                | Self::LocalOutOfFiles
                | Self::LocalOutOfPorts
                | Self::LocalOutOfMemory
                | Self::LocalPanic
                | Self::LocalInternalError
        )
    }

    /// Whether a complete response arrived, and only its status was rejected. All other reasons of the family `http`
    /// mean that the exchange broke, or that the exporter could not use the response.
    #[must_use]
    pub const fn is_a_rejected_status(self) -> bool {
        matches!(self, Self::HttpStatus)
    }

    /// Whether the exporter rejected the server's certificate.
    #[must_use]
    pub const fn is_a_refused_certificate(self) -> bool {
        self.is_about_a_certificate() && !matches!(self, Self::TlsClientCert)
    }

    /// Whether TLS failed between a gateway and its backend.
    #[must_use]
    pub const fn is_tls_behind_a_gateway(self) -> bool {
        matches!(
            self,
            Self::UpstreamTlsCertificateError
                | Self::UpstreamTlsProtocolError
                | Self::UpstreamTlsAlertReceived
                | Self::UpstreamTlsRequired
        )
    }

    /// Whether a stall of the exporter may cause this failure: a timeout, or a server that closed the connection
    /// meanwhile.
    #[must_use]
    pub const fn may_follow_a_stall(self) -> bool {
        matches!(
            self,
            Self::DnsTimedOut
                | Self::TcpTimedOut
                | Self::TcpReset
                | Self::TcpClosed
                | Self::QuicTimedOut
                | Self::QuicFailed
                | Self::ProxyFailed
                | Self::TlsTimedOut
                | Self::TlsClosed
                | Self::HttpClosedBeforeResponse
                | Self::HttpTimedOutWaiting
                | Self::HttpClosedMidBody
                | Self::HttpTimedOutMidBody
                | Self::WebsocketClosed
        )
    }

    /// Whether a server or client certificate was rejected or required.
    #[must_use]
    pub const fn is_about_a_certificate(self) -> bool {
        matches!(
            self,
            Self::TlsCertNameInvalid
                | Self::TlsCertDateInvalid
                | Self::TlsCertAuthorityInvalid
                | Self::TlsCertSelfSigned
                | Self::TlsCertInvalid
                | Self::TlsClientCert
        )
    }

    /// The reason that covers all given reasons: the only one, else their common umbrella.
    #[must_use]
    pub fn umbrella(reasons: &[Self]) -> Self {
        const UNREACHABLE: &[Reason] = &[
            Reason::UpstreamDnsError,
            Reason::UpstreamDnsTimeout,
            Reason::UpstreamConnectionRefused,
            Reason::UpstreamConnectionTimeout,
            Reason::UpstreamDestinationIpUnroutable,
            Reason::UpstreamDestinationIpProhibited,
            Reason::UpstreamDestinationUnavailable,
            Reason::UpstreamTlsCertificateError,
            Reason::UpstreamTlsProtocolError,
            Reason::UpstreamTlsAlertReceived,
        ];
        const INVALID: &[Reason] = &[
            Reason::UpstreamConnectionTerminated,
            Reason::UpstreamHttpProtocolError,
            Reason::UpstreamHttpResponseIncomplete,
            Reason::UpstreamHttpResponseHeaderSectionSize,
            Reason::UpstreamHttpResponseTransferCoding,
            Reason::UpstreamHttpResponseContentCoding,
            Reason::UpstreamHttpResponseBodySize,
            Reason::UpstreamTlsRequired,
        ];
        let all_in = |group: &[Self]| reasons.iter().all(|reason| group.contains(reason));
        match reasons {
            [one] => *one,
            _ if all_in(UNREACHABLE) => Self::UpstreamUnreachable,
            _ if all_in(INVALID) => Self::UpstreamInvalidResponse,
            _ => Self::UpstreamFailed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Reason;
    use std::collections::HashSet;

    #[test]
    fn labels_are_unique_dotted_and_lower_case() {
        let labels: HashSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(labels.len(), Reason::ALL.len());
        for label in labels {
            assert!(label.contains('.'), "{label}");
            assert!(
                label.chars().all(|c| c.is_ascii_lowercase() || c == '.' || c == '_'),
                "{label}"
            );
        }
    }

    #[test]
    fn each_label_begins_with_its_family() {
        for reason in Reason::ALL {
            let family = reason.as_str().split_once('.').map(|(family, _)| family);
            assert_eq!(family, Some(reason.family().as_str()));
        }
    }

    #[test]
    fn refused_certificates_are_those_of_their_labels() {
        for reason in Reason::ALL {
            let label = reason.as_str();
            assert_eq!(
                reason.is_a_refused_certificate(),
                label.starts_with("tls.cert."),
                "{label}"
            );
            assert_eq!(
                reason.is_tls_behind_a_gateway(),
                label.starts_with("upstream.tls_"),
                "{label}"
            );
        }
    }
}
