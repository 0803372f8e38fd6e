//! tcp: connections, banners, dialogues, TLS.

use super::Table;
use crate::support::peer::Peer;
use crate::support::process::free_port;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

/// A server that sends a banner and then echoes each line.
async fn echo_after(banner: &'static [u8]) -> Peer {
    Peer::start(move |stream| async move {
        let mut stream = BufReader::new(stream);
        let _ = stream.write_all(banner).await;
        let mut line = Vec::new();
        while matches!(stream.read_until(b'\n', &mut line).await, Ok(count) if count > 0) {
            let _ = stream.write_all(&line).await;
            line.clear();
        }
    })
    .await
}

/// A mail server with STARTTLS.
async fn mail(table: &Table) -> Peer {
    let acceptor = TlsAcceptor::from(table.authority.leaf("127.0.0.1").server(&[]));
    Peer::start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = BufReader::new(stream);
            let _ = stream.write_all(b"220 mail.test ESMTP\r\n").await;
            let mut line = String::new();
            while matches!(stream.read_line(&mut line).await, Ok(count) if count > 0) {
                if line.starts_with("STARTTLS") {
                    let _ = stream.write_all(b"220 go\r\n").await;
                    return over_tls(stream.into_inner(), acceptor).await;
                }
                let _ = stream.write_all(b"250-mail.test\r\n250-STARTTLS\r\n250 OK\r\n").await;
                line.clear();
            }
        }
    })
    .await
}

async fn over_tls(stream: TcpStream, acceptor: TlsAcceptor) {
    if let Ok(stream) = acceptor.accept(stream).await {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        while matches!(stream.read_line(&mut line).await, Ok(count) if count > 0) {
            let _ = stream.write_all(b"250-AUTH PLAIN\r\n250 OK\r\n").await;
            line.clear();
        }
    }
}

pub async fn add(table: &mut Table) {
    let ssh = echo_after(b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n").await;
    let lines = echo_after(b"first\r\nsecond line\nPING :token\r\n").await;
    let bytes = echo_after(b"\x00\x01\x02rest\n").await;
    let quiet = echo_after(b"").await;
    let closing = Peer::start(|mut stream| async move {
        let _ = stream.write_all(b"554 go away\r\n").await;
        let _ = stream.shutdown().await;
        // Unread data would turn the close into a reset.
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await;
    let mail = mail(table).await;
    let secured = Peer::with_tls(table.authority.leaf("127.0.0.1").server(&[]), |mut stream| async move {
        let _ = stream.write_all(b"+OK ready\r\n").await;
        let _ = stream.shutdown().await;
    })
    .await;
    let targets = [
        ("ssh", ssh.address.to_string()),
        ("lines", lines.address.to_string()),
        ("bytes", bytes.address.to_string()),
        ("quiet", quiet.address.to_string()),
        ("closing", closing.address.to_string()),
        ("mail", mail.address.to_string()),
        ("secured", secured.address.to_string()),
        ("refused", format!("127.0.0.1:{}", free_port())),
        ("unknown", "unknown.test:25".to_owned()),
        ("no_port", "127.0.0.1".to_owned()),
    ];
    for (name, keys) in modules(&table.trust()) {
        table.cross("tcp", &[(name, &keys)], &targets);
    }
    table.keep((ssh, lines, bytes, quiet, closing, mail, secured));
}

/// The modules of the tcp cases.
fn modules(trust: &str) -> Vec<(&'static str, String)> {
    let ip4 = "preferred_ip_protocol: ip4";
    let tls = format!("{ip4}, tls: true, tls_config: {{{trust}}}");
    let pop = format!("{tls}, query_response: [{{expect: '^[+]OK'}}]");
    let smtp = format!(
        "{ip4}, tls_config: {{{trust}}}, query_response: [{{expect: '^220 ([^ ]+) ESMTP'}}, {{send: \"EHLO prober\\r\"}}, \
         {{expect: '^250-STARTTLS'}}, {{expect: '^250 '}}, {{send: \"STARTTLS\\r\"}}, {{expect: '^220'}}, {{starttls: true}}, \
         {{send: \"EHLO prober\\r\"}}, {{expect: '^250-AUTH'}}]"
    );
    let labels = "query_response: [{expect: '^SSH-([0-9.]+)-(?P<software>.*)$', labels: [{name: version, value: 'v${1}'}, \
                  {name: software, value: '${software} $$'}]}]";
    let ping = "query_response: [{expect: '^PING :(.*)$', send: 'PONG ${1} $$'}, {expect: '^PONG token [$]$'}]";
    let modules = [
        ("connect", ip4),
        ("no_keys", ""),
        ("banner", "query_response: [{expect: '^SSH-2[.]0-'}]"),
        ("labels", labels),
        ("ping", ping),
        (
            "bytes",
            "query_response: [{expect_bytes: !!binary AAEC}, {send: hello}, {expect: hello}]",
        ),
        ("send_first", "query_response: [{send: hello}, {expect: '^hello$'}]"),
        ("tls", tls.as_str()),
        ("pop", pop.as_str()),
        ("smtp", smtp.as_str()),
        ("source", "preferred_ip_protocol: ip4, source_ip_address: 127.0.0.1"),
    ];
    modules.map(|(name, keys)| (name, keys.to_owned())).into()
}
