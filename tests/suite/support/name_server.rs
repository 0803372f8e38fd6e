//! A name server on loopback, over UDP and TCP, with responses from the test.

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{RData, Record, RecordType};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

/// A received query.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Name without the trailing dot.
    pub name: String,
    pub kind: RecordType,
    /// Whether the query has an OPT record.
    pub edns: bool,
    pub tcp: bool,
    message: Message,
}

/// Reaction of the server.
pub enum Reply {
    Bytes(Vec<u8>),
    After(Duration, Vec<u8>),
    Silence,
}

impl Asked {
    fn read(bytes: &[u8], tcp: bool) -> Self {
        let message = Message::from_vec(bytes).unwrap();
        let query = message.queries.first().unwrap();
        // The labels as on the wire, because the library escapes some characters.
        let labels: Vec<_> = query.name().iter().map(String::from_utf8_lossy).collect();
        Self {
            name: labels.join("."),
            kind: query.query_type(),
            edns: message.edns.is_some(),
            tcp,
            message: message.clone(),
        }
    }

    /// A response without records, to be modified by the test.
    pub fn answer(&self) -> Message {
        let mut answer = Message::new(self.message.metadata.id, MessageType::Response, OpCode::Query);
        answer.metadata.recursion_desired = true;
        answer.metadata.recursion_available = true;
        answer.add_query(self.message.queries[0].clone());
        answer
    }

    /// A response with the addresses of the queried family.
    pub fn addresses(&self, addresses: &[&str]) -> Reply {
        let mut answer = self.answer();
        for address in addresses {
            let data = match (address.parse().unwrap(), self.kind) {
                (IpAddr::V4(address), RecordType::A) => RData::A(A(address)),
                (IpAddr::V6(address), RecordType::AAAA) => RData::AAAA(AAAA(address)),
                _ => continue,
            };
            let name = self.message.queries[0].name().clone();
            answer.add_answer(Record::from_rdata(name, 60, data));
        }
        Reply::Bytes(answer.to_vec().unwrap())
    }

    pub fn code(&self, code: ResponseCode) -> Reply {
        let mut answer = self.answer();
        answer.metadata.response_code = code;
        Reply::Bytes(answer.to_vec().unwrap())
    }

    pub fn no_data(&self) -> Reply {
        self.addresses(&[])
    }

    pub fn truncated(&self) -> Reply {
        let mut answer = self.answer();
        answer.metadata.truncation = true;
        Reply::Bytes(answer.to_vec().unwrap())
    }

    /// A referral: no answer, no authority, no recursion.
    pub fn referral(&self) -> Reply {
        let mut answer = self.answer();
        answer.metadata.recursion_available = false;
        Reply::Bytes(answer.to_vec().unwrap())
    }

    /// The ID of the query, followed by unreadable bytes.
    pub fn garbage(&self) -> Reply {
        let mut bytes = self.message.metadata.id.to_be_bytes().to_vec();
        bytes.extend([0x81, 0x80, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xc0]);
        Reply::Bytes(bytes)
    }

    /// A response with these raw records. Their names point to the question.
    pub fn records(&self, records: &[&[u8]]) -> Reply {
        let Reply::Bytes(mut bytes) = self.no_data() else {
            unreachable!("it is bytes")
        };
        let count = u16::try_from(records.len()).unwrap();
        bytes[6..8].copy_from_slice(&count.to_be_bytes());
        for record in records {
            bytes.extend([0xc0, 12]);
            bytes.extend(*record);
        }
        Reply::Bytes(bytes)
    }
}

/// The type, class, TTL, length and data of a record.
pub fn record(kind: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap();
    [
        &kind.to_be_bytes()[..],
        &[0, 1, 0, 0, 0, 60],
        &length.to_be_bytes(),
        data,
    ]
    .concat()
}

type Handler = Arc<dyn Fn(&Asked) -> Reply + Send + Sync>;

/// A running name server. It is stopped on drop.
pub struct NameServer {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    tasks: [JoinHandle<()>; 2],
}

impl NameServer {
    /// Starts a server at a free port.
    pub async fn start(handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0", handler).await
    }

    /// Starts a server at an address of loopback. Port 53 requires root.
    pub async fn start_at(at: &str, handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let (udp, tcp) = both_transports(at).await;
        let address = tcp.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let handler: Handler = Arc::new(handler);
        let tasks = [
            tokio::spawn(over_udp(Arc::new(udp), handler.clone(), asked.clone())),
            tokio::spawn(over_tcp(tcp, handler, asked.clone())),
        ];
        Self { address, asked, tasks }
    }

    /// Queries since the last call.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// Queried names since the last call, without duplicates, in order.
    pub fn names_asked(&self) -> Vec<String> {
        let mut names: Vec<_> = self.asked().into_iter().map(|asked| asked.name).collect();
        names.dedup();
        names
    }
}

/// Binds the same port for UDP and TCP. If a concurrent test already uses the port for one of them, another port is
/// tried.
async fn both_transports(at: &str) -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let udp = UdpSocket::bind(at).await.unwrap();
        match TcpListener::bind(udp.local_addr().unwrap()).await {
            Ok(tcp) => return (udp, tcp),
            Err(error) => assert!(
                at.ends_with(":0") && error.kind() == ErrorKind::AddrInUse,
                "{at}: {error}"
            ),
        }
    }
    panic!("found no port that is free for both UDP and TCP");
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn over_udp(socket: Arc<UdpSocket>, handler: Handler, asked: Arc<Mutex<Vec<Asked>>>) {
    let mut buffer = [0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let question = Asked::read(&buffer[..length], false);
        asked.lock().unwrap().push(question.clone());
        match handler(&question) {
            Reply::Bytes(bytes) => drop(socket.send_to(&bytes, from).await),
            Reply::After(time, bytes) => {
                let socket = socket.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(time).await;
                    socket.send_to(&bytes, from).await
                });
            }
            Reply::Silence => {}
        }
    }
}

async fn over_tcp(listener: TcpListener, handler: Handler, asked: Arc<Mutex<Vec<Asked>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(connection(stream, handler.clone(), asked.clone()));
    }
}

async fn connection(mut stream: TcpStream, handler: Handler, asked: Arc<Mutex<Vec<Asked>>>) -> std::io::Result<()> {
    loop {
        let length = stream.read_u16().await?;
        let mut bytes = vec![0; length.into()];
        stream.read_exact(&mut bytes).await?;
        let question = Asked::read(&bytes, true);
        asked.lock().unwrap().push(question.clone());
        let bytes = match handler(&question) {
            Reply::Bytes(bytes) => bytes,
            Reply::After(time, bytes) => {
                tokio::time::sleep(time).await;
                bytes
            }
            Reply::Silence => continue,
        };
        stream.write_u16(u16::try_from(bytes.len()).unwrap()).await?;
        stream.write_all(&bytes).await?;
    }
}
