//! The hosts file (hosts(5)).

use glassbox_verdict::host_port::Host;
use std::collections::HashMap;
use std::net::IpAddr;

/// The names of a hosts file with their addresses, in file order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hosts(HashMap<String, Vec<IpAddr>>);

impl Hosts {
    /// Parses the content of a file. Skips a line that cannot be parsed. Comments may have any encoding.
    pub fn parse(bytes: &[u8]) -> Self {
        let mut hosts = Self::default();
        for line in bytes.split(|byte| *byte == b'\n') {
            let line = line.split(|byte| *byte == b'#').next().unwrap_or_default();
            let line = String::from_utf8_lossy(line);
            let mut fields = line.split_ascii_whitespace();
            let Some(address) = fields.next().and_then(address) else {
                continue;
            };
            for name in fields {
                let addresses = hosts.0.entry(key(name)).or_default();
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        hosts
    }

    /// The addresses of a name. Empty if the file does not contain it.
    pub fn addresses(&self, name: &str) -> &[IpAddr] {
        self.0.get(&key(name)).map_or(&[], Vec::as_slice)
    }
}

/// Parses an address, which may have a zone (RFC 4007), as in `fe80::1%eth0`. A link-local address needs its zone,
/// which `IpAddr` cannot store, so such a line is skipped.
fn address(text: &str) -> Option<IpAddr> {
    let host = Host::without_brackets(text);
    let address = host.address()?;
    let needs_zone = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
    (host.zone().is_none() || !needs_zone).then_some(address)
}

/// Names are compared without case and without a final dot.
fn key(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::Hosts;
    use std::net::IpAddr;

    fn addresses(file: &[u8], name: &str) -> Vec<String> {
        let hosts = Hosts::parse(file);
        hosts.addresses(name).iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn a_line_that_cannot_be_read_costs_that_line() {
        let file = b"# caf\xe9\n127.0.0.1 localhost # \xff\n\xff\xfe db\nnot-an-address db\n\n127.0.0.2\tdb  db.test. DB2 #db3\n\
            300.0.0.1 db\n::1%lo db\nfe80::1%eth0 db\n127.0.0.3 db\r\n127.0.0.2 db\n127.0.0.4 db-caf\xe9 last";
        assert_eq!(addresses(file, "localhost"), ["127.0.0.1"]);
        assert_eq!(addresses(file, "db"), ["127.0.0.2", "::1", "127.0.0.3"]);
        assert_eq!(addresses(file, "DB.test"), ["127.0.0.2"]);
        assert_eq!(addresses(file, "db2."), ["127.0.0.2"]);
        assert!(addresses(file, "db3").is_empty());
        assert_eq!(addresses(file, "last"), ["127.0.0.4"]);
        assert!(addresses(b"", "db").is_empty());
    }
}
