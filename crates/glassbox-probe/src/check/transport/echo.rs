//! A socket for ICMP echo requests.

use super::Datagrams;

/// Size of the header of an echo message in bytes.
const HEADER: usize = 8;

/// The socket on which a request was sent.
#[derive(Debug)]
pub(in crate::check) struct EchoSocket {
    pub packets: Datagrams,
    pub kind: EchoSocketKind,
    pub id: u16,
}

/// Kind of socket that the system permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::check) enum EchoSocketKind {
    /// A ping socket, for members of the groups in `net.ipv4.ping_group_range` (icmp(7)). The kernel chooses the ID.
    Ping,
    /// A raw socket, for processes with `CAP_NET_RAW`. Received IPv4 packets include their IP header.
    Raw,
}

impl EchoSocket {
    /// The size of the payload, if the packet is the reply to the exporter's request.
    pub fn reply(&self, packet: &[u8], is_ip4: bool, sequence: u16) -> Option<usize> {
        let message = if is_ip4 && self.kind == EchoSocketKind::Raw {
            // The first byte contains the length of the IP header in units of four bytes.
            packet.get(usize::from(packet.first()? & 0x0f) * 4..)?
        } else {
            packet
        };
        let (header, payload) = message.split_first_chunk::<HEADER>()?;
        let is_reply = header[0] == if is_ip4 { 0 } else { 129 };
        let ours = header[4..6] == self.id.to_be_bytes() && header[6..8] == sequence.to_be_bytes();
        (is_reply && ours).then_some(payload.len())
    }
}
