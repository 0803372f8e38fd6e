//! The identifiers of the attribution rules, as shown in the evidence.

/// Machine whose product a verdict names in `answered_by`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AnsweringMachine {
    /// The one at the target's address.
    Edge,
    /// A backend, the module's own proxy, or a machine with a page that several products generate.
    Other,
}

/// Declares [`RuleId`] from its table: variant, name, and whose product its verdicts name.
macro_rules! rule_ids {
    ($($variant:ident = $name:literal, $machine:ident;)+) => {
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

            const fn answering_machine(self) -> AnsweringMachine {
                match self { $(Self::$variant => AnsweringMachine::$machine,)+ }
            }
        }
    };
}

rule_ids! {
    LocalFailure = "local-failure", Edge;
    TokenRequestFailed = "token-request-failed", Edge;
    ModuleProxyFailed = "module-proxy-failed", Other;
    ProxyCannotReachTarget = "proxy-cannot-reach-target", Other;
    ModuleProxyResponse = "module-proxy-response", Other;
    CaptivePortal = "captive-portal", Edge;
    ResolverFailed = "resolver-failed", Edge;
    ControlsFailed = "controls-failed", Edge;
    ResolverNoResponse = "resolver-no-response", Edge;
    NameNotResolved = "name-not-resolved", Edge;
    ConnectionRefused = "connection-refused", Edge;
    DatagramNoResponse = "datagram-no-response", Edge;
    ConnectNoResponse = "connect-no-response", Edge;
    TlsFailed = "tls-failed", Edge;
    ContentAssertionFailed = "content-assertion-failed", Edge;
    GrpcHealthStatus = "grpc-health-status", Edge;
    WebsocketNotUpgraded = "websocket-not-upgraded", Edge;
    RedirectLoop = "redirect-loop", Edge;
    ResponseSlow = "response-slow", Edge;
    BackendBroken = "backend-broken", Other;
    BackendFailsAlike = "backend-fails-alike", Other;
    ClientCertificateRequired = "client-certificate-required", Edge;
    GatewayOwnError = "gateway-own-error", Edge;
    GatewayRelayedResponse = "gateway-relayed-response", Edge;
    BaselineHeadersPresent = "baseline-headers-present", Edge;
    BackendHealthy = "backend-healthy", Other;
    GatewayUpstreamError = "gateway-upstream-error", Edge;
    PlaintextToTlsPort = "plaintext-to-tls-port", Edge;
    ExchangeBrokenBehindGateway = "exchange-broken-behind-gateway", Edge;
    ExchangeBrokenAtEdge = "exchange-broken-at-edge", Edge;
    MatchesReferenceErrorPage = "matches-reference-error-page", Edge;
    NotAGatewayPage = "not-a-gateway-page", Edge;
    GenericErrorPage = "generic-error-page", Other;
    BaselineHeadersMissing = "baseline-headers-missing", Edge;
    CustomErrorPage = "custom-error-page", Edge;
    BareErrorPage = "bare-error-page", Edge;
    Undecided = "undecided", Edge;
    SuccessFromCaptivePortal = "success-from-captive-portal", Edge;
    SuccessWithBrokenBackend = "success-with-broken-backend", Other;
    RepairedUpstreamResponse = "repaired-upstream-response", Edge;
    SuccessWithExcessBody = "success-with-excess-body", Edge;
    SuccessWithLargeHeader = "success-with-large-header", Edge;
    SuccessWithEmptyBody = "success-with-empty-body", Edge;
}

impl RuleId {
    /// Whether the rule matches only responses that a known gateway generated itself.
    #[must_use]
    pub const fn matches_a_gateways_page(self) -> bool {
        matches!(self, Self::GatewayOwnError | Self::GatewayUpstreamError)
    }

    /// Whether the product that a verdict names by this rule is the one at the target's address.
    #[must_use]
    pub const fn identifies_the_edge(self) -> bool {
        matches!(self.answering_machine(), AnsweringMachine::Edge)
    }
}
