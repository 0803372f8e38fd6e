//! Listening sockets: bound here, or passed by systemd.

use glassbox_verdict::host_port::HostPort;
use std::io;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpSocket, lookup_host};

/// Length of the kernel's accept queue, limited by `net.core.somaxconn` (default 4096). If the queue is full, a client
/// retries after one second, so its scrape would be late.
const BACKLOG: u32 = 4096;

/// Where the server accepts connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen<'a> {
    /// Listen addresses in the syntax of `blackbox_exporter`: `:9115` means all addresses of the host.
    At(&'a [String]),
    /// The sockets that systemd passes (`sd_listen_fds(3)`).
    Inherited,
}

/// Binds the addresses, or uses the sockets that systemd passes.
///
/// # Errors
/// When an address is invalid or cannot be bound, or systemd passed no socket.
pub async fn listen(at: Listen<'_>) -> io::Result<Vec<TcpListener>> {
    let Listen::At(addresses) = at else {
        return inherited();
    };
    let mut listeners = Vec::new();
    for address in addresses {
        let listener = match HostPort::split(address) {
            Some((host, Some(port))) if host.as_str().is_empty() && !address.starts_with('[') => {
                match open(&format!("[::]:{port}")).await {
                    // The host may have no IPv6.
                    Err(_) => open(&format!("0.0.0.0:{port}")).await,
                    opened => opened,
                }
            }
            _ => open(address).await,
        };
        listeners.push(listener.map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))?);
    }
    Ok(listeners)
}

/// Listens at the first address of the name that can be bound.
async fn open(address: &str) -> io::Result<TcpListener> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
    let address = HostPort::parse(address).map_err(invalid)?;
    let mut refused = io::Error::new(io::ErrorKind::InvalidInput, "the name has no address");
    for at in lookup_host((address.host().as_str(), address.port())).await? {
        match open_at(at) {
            Ok(listener) => return Ok(listener),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

fn open_at(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = match at {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Allows a restart while connections of the previous process are still in TIME_WAIT. Without the option, binding
    // may fail until they are gone.
    let _ = socket.set_reuseaddr(true);
    socket.bind(at)?;
    socket.listen(BACKLOG)
}

fn inherited() -> io::Result<Vec<TcpListener>> {
    let mut passed = listenfd::ListenFd::from_env();
    let mut listeners = Vec::new();
    for number in 0..passed.len() {
        if let Some(listener) = passed.take_tcp_listener(number)? {
            listener.set_nonblocking(true)?;
            listeners.push(TcpListener::from_std(listener)?);
        }
    }
    if listeners.is_empty() {
        let words = "systemd passed no socket: --web.systemd-socket requires a .socket unit with ListenStream=";
        return Err(io::Error::new(io::ErrorKind::NotFound, words));
    }
    Ok(listeners)
}

#[cfg(test)]
mod tests {
    use super::{Listen, listen};
    use std::time::Duration;
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    #[tokio::test]
    async fn a_listen_address_has_a_host_and_a_port() {
        for (address, shown) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1"), ("[::1%1]:0", "::1")] {
            let listeners = listen(Listen::At(&[address.to_owned()])).await.unwrap();
            assert_eq!(listeners[0].local_addr().unwrap().ip().to_string(), shown);
        }
        for (address, words) in [
            ("127.0.0.1", "127.0.0.1: missing port"),
            ("::1", "::1: missing port"),
            (
                "127.0.0.1:x",
                "127.0.0.1:x: invalid port: expected a number from 0 to 65535",
            ),
        ] {
            let error = listen(Listen::At(&[address.to_owned()])).await.unwrap_err();
            assert_eq!(error.to_string(), words);
        }
    }

    #[tokio::test]
    async fn a_burst_of_connections_waits_in_the_accept_queue() {
        let addresses = ["127.0.0.1:0".to_owned()];
        let listeners = listen(Listen::At(&addresses)).await.unwrap();
        let address = listeners[0].local_addr().unwrap();
        let mut waiting = Vec::new();
        for _ in 0..1000 {
            let connection = timeout(Duration::from_secs(10), TcpStream::connect(address)).await;
            waiting.push(connection.expect("the accept queue has room").unwrap());
        }
    }
}
