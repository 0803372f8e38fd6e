//! The closed list of reasons: one table, from which the labels, the documents and the tests derive.

/// Declares [`ReasonFamily`] and [`Reason`] from their table: families, and in each the variants with label and meaning.
macro_rules! reasons {
    ($($family:ident = $word:literal { $($variant:ident = $label:literal, $meaning:literal;)+ })+) => {
        /// What a reason is about: the part of its label before the first dot.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ReasonFamily { $(#[doc = concat!("`", $word, "`")] $family,)+ }

        impl ReasonFamily {
            /// The word that the labels of the family begin with.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$family => $word,)+ }
            }
        }

        /// What went wrong, dotted, family first (the words of Network Error Logging between the exporter and the edge).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason { $($(#[doc = $meaning] $variant,)+)+ }

        impl Reason {
            /// Every reason, in the order of the table.
            pub const ALL: &'static [Self] = &[$($(Self::$variant,)+)+];

            /// The value of the label `reason`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $($(Self::$variant => $label,)+)+ }
            }

            /// The meaning, as a clause that can follow "because".
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $($(Self::$variant => $meaning,)+)+ }
            }

            /// What it is about.
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
        DnsNoData = "dns.no_data", "the name exists but has no address of the wanted family";
        DnsServfail = "dns.servfail", "the name server failed (SERVFAIL)";
        DnsRefused = "dns.refused", "the name server refused the question (REFUSED)";
        DnsTimedOut = "dns.timed_out", "no name server answered in time";
        DnsMalformed = "dns.malformed", "the name server's answer could not be parsed";
        DnsFailed = "dns.failed", "the name could not be resolved";
        DnsServerUnreachable = "dns.server_unreachable", "nobody listens at the probed name server's port";
    }
    Tcp = "tcp" {
        TcpRefused = "tcp.refused", "the connection was refused";
        TcpTimedOut = "tcp.timed_out", "nobody answered the connection attempt in time";
        TcpReset = "tcp.reset", "the connection was reset";
        TcpClosed = "tcp.closed", "the peer closed the connection before it had said what was awaited";
        TcpNoResponse = "tcp.no_response", "the peer took the connection and did not say what was awaited in time";
        TcpAddressUnreachable = "tcp.address_unreachable", "there is no route to the address";
        TcpFailed = "tcp.failed", "the connection failed";
    }
    Quic = "quic" {
        QuicRefused = "quic.refused", "nobody listens at the UDP port";
        QuicTimedOut = "quic.timed_out", "no datagram came back from the address in time";
        QuicFailed = "quic.failed", "the QUIC connection failed";
    }
    Proxy = "proxy" {
        ProxyRefused = "proxy.refused", "the proxy refused to open a way through";
        ProxyTargetUnreachable = "proxy.target_unreachable", "the proxy does not get through to the target";
        ProxyFailed = "proxy.failed", "the exchange with the proxy failed";
    }
    Tls = "tls" {
        TlsVersionOrCipherMismatch = "tls.version_or_cipher_mismatch", "the two sides share no TLS version or cipher suite";
        TlsProtocolError = "tls.protocol_error", "the peer broke the TLS protocol";
        TlsAlert = "tls.alert", "the peer ended TLS with an alert";
        TlsTimedOut = "tls.timed_out", "the TLS handshake did not finish in time";
        TlsClosed = "tls.closed", "the peer closed the connection during the TLS handshake";
        TlsNotSupported = "tls.not_supported", "the peer does not speak TLS on this port";
        TlsCertNameInvalid = "tls.cert.name_invalid", "the certificate is for another name";
        TlsCertDateInvalid = "tls.cert.date_invalid", "the certificate is expired or not yet valid";
        TlsCertAuthorityInvalid = "tls.cert.authority_invalid", "the certificate was issued by an authority that is not trusted";
        TlsCertSelfSigned = "tls.cert.self_signed", "the certificate is self-signed";
        TlsCertInvalid = "tls.cert.invalid", "the certificate is not valid";
        TlsRequired = "tls.required", "the port speaks TLS, the request came in plain text";
        TlsClientCert = "tls.client_cert", "the peer demands a client certificate or refused ours";
    }
    Http = "http" {
        HttpStatus = "http.status", "the status code is not one the module accepts";
        HttpClosedBeforeResponse = "http.closed_before_response", "the connection was closed before a complete response head";
        HttpTimedOutWaiting = "http.timed_out_waiting", "no complete response head came in time";
        HttpClosedMidBody = "http.closed_mid_body", "the connection was closed within the response body";
        HttpTimedOutMidBody = "http.timed_out_mid_body", "the response body did not end in time";
        HttpResponseInvalid = "http.response.invalid", "the answer is not valid HTTP";
        HttpResponseTooManyInterim = "http.response.too_many_interim", "there were too many interim responses before the final one";
        HttpResponseHeaderTooLarge = "http.response.header_too_large", "the response head is over the limit";
        HttpResponseBadCoding = "http.response.bad_coding", "the body is not in the content coding that the module expects";
        HttpResponseRedirectLoop = "http.response.redirect_loop", "there were too many redirects";
        HttpResponseBadRedirect = "http.response.bad_redirect", "the redirect leads to no usable address";
        HttpResponseTooLarge = "http.response.too_large", "the body is over the module's size limit";
        HttpSlow = "http.slow", "the answer took longer than the module allows";
        HttpExcessBody = "http.excess_body", "more bytes came than the answer's Content-Length says";
        HttpFailed = "http.failed", "the HTTP exchange failed";
    }
    Content = "content" {
        ContentBody = "content.body", "the body fails an assertion";
        ContentHeader = "content.header", "a header fails an assertion";
        ContentVersion = "content.version", "the HTTP version is not one the module accepts";
        ContentTlsRequired = "content.tls_required", "the answer came without TLS, which the module demands";
        ContentTlsForbidden = "content.tls_forbidden", "the answer came over TLS, which the module forbids";
        ContentJsonTooLarge = "content.json_too_large", "the body's JSON has more values than may be matched against expressions";
        ContentJson = "content.json", "the body fails an assertion on its JSON";
        ContentExpect = "content.expect", "the peer did not say what the module expects";
        ContentLineTooLong = "content.line_too_long", "the peer's line is longer than what may be matched";
        ContentRcode = "content.rcode", "the name server answered with a code that the module does not accept";
        ContentBodyTooLarge = "content.body_too_large", "the body is larger than what may be matched against assertions";
    }
    Icmp = "icmp" {
        IcmpTimedOut = "icmp.timed_out", "no echo reply came in time";
        IcmpTooBig = "icmp.too_big", "the echo request is larger than the path takes, and must not be fragmented";
        IcmpUnreachable = "icmp.unreachable", "a router or the host itself says that it cannot be reached";
    }
    Grpc = "grpc" {
        GrpcStatus = "grpc.status", "the health check ended with a gRPC status other than OK";
        GrpcNotServing = "grpc.not_serving", "the health service says that the service does not serve";
        GrpcInvalid = "grpc.invalid", "the answer is not one of a gRPC health service";
    }
    Websocket = "websocket" {
        WebsocketNotUpgraded = "websocket.not_upgraded", "the server did not switch to the WebSocket protocol";
        WebsocketClosed = "websocket.closed", "the WebSocket was closed before the expected message";
        WebsocketInvalid = "websocket.invalid", "the peer broke the WebSocket protocol";
    }
    Upstream = "upstream" {
        UpstreamDnsError = "upstream.dns_error", "the gateway could not resolve the name of its backend";
        UpstreamDnsTimeout = "upstream.dns_timeout", "the gateway's name server did not answer";
        UpstreamConnectionRefused = "upstream.connection_refused", "the gateway's backend refused the connection";
        UpstreamConnectionTimeout = "upstream.connection_timeout", "the gateway's backend did not accept the connection in time";
        UpstreamConnectionTerminated = "upstream.connection_terminated", "the gateway's backend closed the connection before a complete response";
        UpstreamConnectionLimitReached = "upstream.connection_limit_reached", "the gateway has too many connections to its backend";
        UpstreamTlsCertificateError = "upstream.tls_certificate_error", "the gateway does not accept the certificate of its backend";
        UpstreamTlsProtocolError = "upstream.tls_protocol_error", "TLS between the gateway and its backend failed";
        UpstreamTlsAlertReceived = "upstream.tls_alert_received", "the gateway's backend ended TLS with an alert";
        UpstreamDestinationIpUnroutable = "upstream.destination_ip_unroutable", "the gateway has no route to its backend";
        UpstreamDestinationIpProhibited = "upstream.destination_ip_prohibited", "the gateway may not connect to its backend";
        UpstreamDestinationUnavailable = "upstream.destination_unavailable", "the gateway considers all its backends down";
        UpstreamHttpProtocolError = "upstream.http_protocol_error", "the gateway's backend does not send valid HTTP";
        UpstreamHttpResponseIncomplete = "upstream.http_response_incomplete", "the response of the gateway's backend was cut off";
        UpstreamHttpResponseTimeout = "upstream.http_response_timeout", "the gateway's backend did not respond within the gateway's timeout";
        UpstreamHttpResponseHeaderSectionSize = "upstream.http_response_header_section_size", "the answer's head is too large for the gateway";
        UpstreamConnectionReadTimeout = "upstream.connection_read_timeout", "the gateway's backend stopped sending during its response";
        UpstreamConnectionWriteTimeout = "upstream.connection_write_timeout", "the gateway's backend stopped reading the request";
        UpstreamHttpResponseBodySize = "upstream.http_response_body_size", "the answer's body is too large for the gateway";
        UpstreamHttpResponseContentCoding = "upstream.http_response_content_coding", "the gateway could not decode the answer's content coding";
        UpstreamHttpUpgradeFailed = "upstream.http_upgrade_failed", "the gateway could not switch protocols with its backend";
        UpstreamHttpResponseTransferCoding = "upstream.http_response_transfer_coding", "the gateway could not decode the answer's transfer coding";
        UpstreamTlsRequired = "upstream.tls_required", "the gateway speaks plain text to a port that wants TLS";
        UpstreamUnreachable = "upstream.unreachable", "the gateway cannot reach its backend";
        UpstreamInvalidResponse = "upstream.invalid_response", "the gateway got no valid response from its backend";
        UpstreamFailed = "upstream.failed", "the exchange between the gateway and its backend failed";
    }
    Edge = "edge" {
        EdgeDenied = "edge.denied", "the edge refused the request by its own policy";
        EdgeRequestRefused = "edge.request_refused", "the edge rejects the request as malformed";
        EdgeNotFound = "edge.not_found", "the edge has no route for the request";
        EdgeOverloaded = "edge.overloaded", "the edge has reached a limit of its own";
        EdgeRateLimited = "edge.rate_limited", "the edge limits the rate of requests";
        EdgeInternalError = "edge.internal_error", "the edge failed by itself";
        EdgeLoop = "edge.loop", "the edge forwards to itself";
    }
    Origin = "origin" {
        OriginSlow = "origin.slow", "the application's answer is right but slow";
        OriginStatus = "origin.status", "the application itself answered with this status";
    }
    Local = "local" {
        LocalNoRoute = "local.no_route", "this host has no route to the address";
        LocalResolverUnreachable = "local.resolver_unreachable", "our own name server cannot be reached";
        LocalCaptivePortal = "local.captive_portal", "somebody on our side answers for every name";
        LocalControlsFailed = "local.controls_failed", "nothing that should always answer can be reached from here";
        LocalDenied = "local.denied", "the exporter's policy does not let it be dialled";
        LocalTargetInvalid = "local.target_invalid", "the target is not something this prober can probe";
        LocalTlsUnsupported = "local.tls_unsupported", "the exporter does not speak the TLS version or cipher suite that the probe needs";
        LocalNotPermitted = "local.not_permitted", "the exporter lacks a permission that the probe needs";
        LocalSourceAddressUnavailable = "local.source_address_unavailable", "this host does not have the source address of the module";
        LocalCredentials = "local.credentials", "the credentials for the target could not be had";
        LocalFileUnreadable = "local.file_unreadable", "a file that the module names cannot be used";
        LocalConcurrencyLimit = "local.concurrency_limit", "other probes of the same destination took half of the probe's time";
        LocalOverloaded = "local.overloaded", "the exporter does as much at once as it may";
        LocalStalled = "local.stalled", "the exporter did not run for a part of the probe's time that could have mattered";
        LocalOutOfFiles = "local.out_of_files", "the exporter has no free file descriptor";
        LocalOutOfPorts = "local.out_of_ports", "the exporter has no free local port";
        LocalOutOfMemory = "local.out_of_memory", "the exporter's kernel has no buffers left";
        LocalPanic = "local.panic", "the exporter's own code panicked";
    }
}

impl Reason {
    /// Whether the exporter itself failed: such a probe is no attempt, and says nothing about the target.
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
        )
    }

    /// Whether the server's certificate was refused.
    #[must_use]
    pub const fn is_a_refused_certificate(self) -> bool {
        self.is_about_a_certificate() && !matches!(self, Self::TlsClientCert)
    }

    /// Whether a gateway failed at TLS with the machine behind it.
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

    /// Whether it may be how an exchange ends in which the exporter stood still: it timed out, or the peer did not wait any longer.
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

    /// Whether a certificate was refused or demanded, of the server or of the exporter.
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

    /// The one reason that stands for several: itself if it is alone, else an honest umbrella.
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
