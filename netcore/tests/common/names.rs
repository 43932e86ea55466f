//! A small name server on 127.0.0.1 for tests: it knows what it is told, and can fail on demand.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::rdata::TXT;
use hickory_resolver::proto::rr::{RData, Record};
use tokio::net::UdpSocket;

/// What is known of a name.
#[derive(Debug, Clone)]
pub enum Known {
    /// Addresses, and texts, each of which is split as a record's strings must be.
    Records(Vec<IpAddr>, Vec<String>),
    /// Every question about it fails so.
    Fails(ResponseCode),
    /// Questions about it are not answered.
    Silent,
}

/// The server; ends when dropped.
pub struct Names {
    pub address: SocketAddr,
    known: Arc<Mutex<BTreeMap<String, Known>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Names {
    pub async fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap()
    }

    /// One at an address of its own.
    pub async fn start_at(address: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(address).await?;
        let address = socket.local_addr()?;
        let known = Arc::<Mutex<BTreeMap<String, Known>>>::default();
        let task = tokio::spawn(serve(socket, Arc::clone(&known)));
        Ok(Self { address, known, task })
    }

    /// From now on this is known of `name`.
    pub fn set(&self, name: &str, known: Known) {
        self.known.lock().unwrap().insert(format!("{name}."), known);
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(socket: UdpSocket, known: Arc<Mutex<BTreeMap<String, Known>>>) {
    let mut buffer = vec![0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let Ok(question) = Message::from_vec(&buffer[..length]) else { continue };
        let Some(query) = question.queries.first().cloned() else { continue };
        let found = known.lock().unwrap().get(&query.name.to_lowercase().to_string()).cloned();
        let mut answer = Message::new(question.metadata.id, MessageType::Response, question.metadata.op_code);
        answer.add_query(query.clone());
        match found {
            Some(Known::Silent) => continue,
            Some(Known::Fails(code)) => answer.metadata.response_code = code,
            None => answer.metadata.response_code = ResponseCode::NXDomain,
            Some(Known::Records(addresses, texts)) => {
                let of_addresses = addresses.into_iter().map(RData::from);
                let strings = |text: String| {
                    let parts = text.as_bytes().chunks(50);
                    parts.map(|part| String::from_utf8_lossy(part).into_owned()).collect::<Vec<_>>()
                };
                let of_texts = texts.into_iter().map(|text| RData::TXT(TXT::new(strings(text))));
                for data in of_addresses.chain(of_texts).filter(|data| data.record_type() == query.query_type) {
                    answer.add_answer(Record::from_rdata(query.name.clone(), 60, data));
                }
            }
        }
        let _ = socket.send_to(&answer.to_vec().unwrap(), from).await;
    }
}
