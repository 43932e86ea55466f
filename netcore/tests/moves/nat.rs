//! A box between two nodes that gives each another address than it has, and gives it another one when told to; packets
//! to the earlier ones are lost from then on.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

pub struct Nat {
    acceptor: SocketAddr,
    /// Where the dialer is, once it has sent something.
    dialer: Arc<Mutex<Option<SocketAddr>>>,
    /// What the dialer takes for the acceptor, and what the acceptor takes for the dialer.
    sides: Arc<Mutex<[Arc<UdpSocket>; 2]>>,
    tasks: Vec<JoinHandle<()>>,
}

async fn socket() -> Arc<UdpSocket> {
    Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap())
}

impl Nat {
    pub async fn to(acceptor: SocketAddr) -> Self {
        let sides = Arc::new(Mutex::new([socket().await, socket().await]));
        let mut nat = Self { acceptor, dialer: Arc::default(), sides, tasks: Vec::new() };
        nat.carry();
        nat
    }

    /// The acceptor's address as the dialer sees it.
    pub fn inner(&self) -> SocketAddr {
        self.sides.lock().unwrap()[0].local_addr().unwrap()
    }

    /// The dialer's address as the acceptor sees it.
    pub fn outer(&self) -> SocketAddr {
        self.sides.lock().unwrap()[1].local_addr().unwrap()
    }

    pub async fn change_inner(&mut self) {
        let fresh = socket().await;
        self.sides.lock().unwrap()[0] = fresh;
        self.carry();
    }

    pub async fn change_outer(&mut self) {
        let fresh = socket().await;
        self.sides.lock().unwrap()[1] = fresh;
        self.carry();
    }

    fn carry(&mut self) {
        self.tasks.drain(..).for_each(|task| task.abort());
        let [inner, outer] = self.sides.lock().unwrap().clone();
        let (dialer, acceptor) = (Arc::clone(&self.dialer), self.acceptor);
        let (from, to) = (Arc::clone(&inner), Arc::clone(&outer));
        self.tasks.push(tokio::spawn(async move {
            let mut packet = vec![0; 65_536];
            while let Ok((length, source)) = from.recv_from(&mut packet).await {
                *dialer.lock().unwrap() = Some(source);
                let _ = to.send_to(&packet[..length], acceptor).await;
            }
        }));
        let dialer = Arc::clone(&self.dialer);
        self.tasks.push(tokio::spawn(async move {
            let mut packet = vec![0; 65_536];
            while let Ok((length, _)) = outer.recv_from(&mut packet).await {
                let known = *dialer.lock().unwrap();
                if let Some(dialer) = known {
                    let _ = inner.send_to(&packet[..length], dialer).await;
                }
            }
        }));
    }
}

impl Drop for Nat {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
