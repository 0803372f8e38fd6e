//! A name server on loopback with responses from the test.

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{RData, Record, RecordType};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// Response to a query.
#[derive(Clone, Debug)]
pub enum Says {
    Addresses(Vec<IpAddr>),
    Code(ResponseCode),
    NoData,
    Garbage,
    Nothing,
}

/// A name server. It is stopped on drop.
pub struct DnsServer {
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl DnsServer {
    /// Starts a server that responds with `says(name, type)`. Names have no trailing dot.
    pub async fn start(says: impl Fn(&str, RecordType) -> Says + Send + Sync + 'static) -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into(), says).await
    }

    /// Starts a server at an address of loopback. Port 53 requires root.
    pub async fn start_at(at: SocketAddr, says: impl Fn(&str, RecordType) -> Says + Send + Sync + 'static) -> Self {
        let socket = Arc::new(UdpSocket::bind(at).await.unwrap());
        let address = socket.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                if let Some(answer) = answer(&buffer[..length], &says) {
                    let _ = socket.send_to(&answer, from).await;
                }
            }
        });
        Self { address, task }
    }

    /// Starts a server with the same response to every query.
    pub async fn always(says: Says) -> Self {
        Self::start(move |_, _| says.clone()).await
    }

    /// The key of a module: `resolver: ["…"]`.
    pub fn as_key(&self) -> String {
        format!("resolver: [\"{}\"]", self.address)
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn answer(question: &[u8], says: &impl Fn(&str, RecordType) -> Says) -> Option<Vec<u8>> {
    let question = Message::from_vec(question).unwrap();
    let query = question.queries.first().unwrap().clone();
    let name = query.name().to_string();
    let mut answer = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
    answer.metadata.recursion_desired = question.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    answer.add_query(query.clone());
    match says(name.trim_end_matches('.'), query.query_type()) {
        Says::Nothing => return None,
        Says::Garbage => {
            // The right ID, followed by bytes that are not a DNS message.
            let mut bytes = question.metadata.id.to_be_bytes().to_vec();
            bytes.extend([0x81, 0x80, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xc0]);
            return Some(bytes);
        }
        Says::NoData => {}
        Says::Code(code) => answer.metadata.response_code = code,
        Says::Addresses(addresses) => {
            for address in addresses {
                let data = match (address, query.query_type()) {
                    (IpAddr::V4(address), RecordType::A) => RData::A(A(address)),
                    (IpAddr::V6(address), RecordType::AAAA) => RData::AAAA(AAAA(address)),
                    _ => continue,
                };
                answer.add_answer(Record::from_rdata(query.name().clone(), 60, data));
            }
        }
    }
    Some(answer.to_vec().unwrap())
}
