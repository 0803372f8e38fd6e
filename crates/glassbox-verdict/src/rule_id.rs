//! The identifiers of the attribution rules, as shown in the evidence.

/// Declares [`RuleId`] from its table: variant, name.
macro_rules! rule_ids {
    ($($variant:ident = $name:literal,)+) => {
        /// A rule of the decision table (`docs/verdicts.md`). Its row in the table describes it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum RuleId { $(#[doc = concat!("`", $name, "`")] $variant,)+ }

        impl RuleId {
            /// Every rule, in the order of the decision table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in the evidence and in the documents.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

rule_ids! {
    LocalFailure = "local-failure",
    TokenRequestFailed = "token-request-failed",
    ModuleProxyFailed = "module-proxy-failed",
    ProxyCannotReachTarget = "proxy-cannot-reach-target",
    ModuleProxyResponse = "module-proxy-response",
    CaptivePortal = "captive-portal",
    ResolverFailed = "resolver-failed",
    ControlsFailed = "controls-failed",
    ResolverNoResponse = "resolver-no-response",
    NameNotResolved = "name-not-resolved",
    ConnectionRefused = "connection-refused",
    DatagramNoResponse = "datagram-no-response",
    ConnectNoResponse = "connect-no-response",
    TlsFailed = "tls-failed",
    ContentAssertionFailed = "content-assertion-failed",
    GrpcHealthStatus = "grpc-health-status",
    WebsocketNotUpgraded = "websocket-not-upgraded",
    RedirectLoop = "redirect-loop",
    ResponseSlow = "response-slow",
    BackendBroken = "backend-broken",
    BackendFailsAlike = "backend-fails-alike",
    ClientCertificateRequired = "client-certificate-required",
    GatewayOwnError = "gateway-own-error",
    GatewayRelayedResponse = "gateway-relayed-response",
    BaselineHeadersPresent = "baseline-headers-present",
    BackendHealthy = "backend-healthy",
    GatewayUpstreamError = "gateway-upstream-error",
    PlaintextToTlsPort = "plaintext-to-tls-port",
    ExchangeBrokenBehindGateway = "exchange-broken-behind-gateway",
    ExchangeBrokenAtEdge = "exchange-broken-at-edge",
    MatchesReferenceErrorPage = "matches-reference-error-page",
    NotAGatewayPage = "not-a-gateway-page",
    GenericErrorPage = "generic-error-page",
    BaselineHeadersMissing = "baseline-headers-missing",
    CustomErrorPage = "custom-error-page",
    BareErrorPage = "bare-error-page",
    Undecided = "undecided",
    SuccessFromCaptivePortal = "success-from-captive-portal",
    SuccessWithBrokenBackend = "success-with-broken-backend",
    RepairedUpstreamResponse = "repaired-upstream-response",
    SuccessWithExcessBody = "success-with-excess-body",
    SuccessWithLargeHeader = "success-with-large-header",
    SuccessWithEmptyBody = "success-with-empty-body",
}

impl RuleId {
    /// Whether the rule matches only responses that a known gateway generated itself.
    #[must_use]
    pub const fn matches_a_gateways_page(self) -> bool {
        matches!(self, Self::GatewayOwnError | Self::GatewayUpstreamError)
    }

    /// Whether the product that a verdict names by this rule is the one at the target's address. Other rules name a
    /// backend or the module's own proxy, or a page that several products generate.
    #[must_use]
    pub const fn identifies_the_edge(self) -> bool {
        !matches!(
            self,
            Self::BackendBroken
                | Self::BackendFailsAlike
                | Self::BackendHealthy
                | Self::SuccessWithBrokenBackend
                | Self::ModuleProxyFailed
                | Self::ProxyCannotReachTarget
                | Self::ModuleProxyResponse
                | Self::GenericErrorPage
        )
    }
}
