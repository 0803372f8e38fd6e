//! An HTTP/3 server on loopback with the behavior from the test.

use bytes::{Buf as _, Bytes};
use h3::server::RequestStream;
use h3_quinn::BidiStream;
use http::{Request, Response};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, ServerConfig};
use std::future::Future;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

/// The stream of a request and its response.
pub type Stream = RequestStream<BidiStream<Bytes>, Bytes>;

/// A server on a free UDP port of loopback. It is stopped on drop.
pub struct QuicServer {
    pub address: SocketAddr,
    pub requests: Arc<Mutex<Vec<Request<()>>>>,
    _endpoint: Endpoint,
}

impl QuicServer {
    /// Starts a server that runs `behave` for each request.
    pub fn start<F>(
        tls: Arc<rustls::ServerConfig>,
        behave: impl Fn(quinn::Connection, Stream) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let crypto = QuicServerConfig::try_from(tls).unwrap();
        let mut config = ServerConfig::with_crypto(Arc::new(crypto));
        // Connections have no idle timeout. The client closes them.
        let transport = Arc::get_mut(&mut config.transport).unwrap();
        transport.max_idle_timeout(None);
        let endpoint = Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let requests = Arc::<Mutex<Vec<_>>>::default();
        let (listener, kept) = (endpoint.clone(), requests.clone());
        tokio::spawn(async move {
            while let Some(incoming) = listener.accept().await {
                let (behave, kept) = (behave.clone(), kept.clone());
                tokio::spawn(async move {
                    let Ok(connection) = incoming.await else { return };
                    let over = h3_quinn::Connection::new(connection.clone());
                    let Ok(mut http) = h3::server::Connection::<_, Bytes>::new(over).await else {
                        return;
                    };
                    while let Ok(Some(resolver)) = http.accept().await {
                        let (request, stream) = resolver.resolve_request().await.unwrap();
                        kept.lock().unwrap().push(request);
                        tokio::spawn(behave(connection.clone(), stream));
                    }
                });
            }
        });
        Self {
            address: endpoint.local_addr().unwrap(),
            requests,
            _endpoint: endpoint,
        }
    }

    pub fn url(&self) -> String {
        format!("https://{}/", self.address)
    }

    pub fn request(&self, number: usize) -> Request<()> {
        self.requests.lock().unwrap()[number].clone()
    }
}

/// Responds with 200 and the body of the request.
pub async fn echo(_: quinn::Connection, mut stream: Stream) {
    let mut body = Vec::new();
    while let Some(data) = stream.recv_data().await.unwrap() {
        data.reader().read_to_end(&mut body).unwrap();
    }
    let head = Response::builder()
        .header("content-length", body.len())
        .body(())
        .unwrap();
    stream.send_response(head).await.unwrap();
    stream.send_data(body.into()).await.unwrap();
    stream.finish().await.unwrap();
}
