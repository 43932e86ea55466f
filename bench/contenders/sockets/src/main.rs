//! Plain sockets: a Unix socket, TCP, and TLS over TCP. There a fresh stream is a fresh connection.
//!
//! `sockets serve unix|tcp|tls`, `sockets drive unix|tcp|tls ADDRESS`: the address is a path, or IP and port.

use std::any::Any;
use std::future::Future;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use contender::{Anybody, Link, answer, drive, own_certificate, provider, runtime};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf, split};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    runtime(0)?.block_on(async {
        match words[..] {
            ["serve", "unix"] => serve_unix().await,
            ["serve", "tcp"] => serve_tcp(|stream| async { Ok(stream) }).await,
            ["serve", "tls"] => serve_tls().await,
            ["drive", kind @ ("unix" | "tcp" | "tls"), address] => {
                let tls = (kind == "tls").then(client).transpose()?;
                drive(Place { unix: kind == "unix", tls, address: address.to_owned() }).await
            }
            _ => bail!("usage: sockets serve unix|tcp|tls | sockets drive unix|tcp|tls ADDRESS"),
        }
    })
}

async fn serve_unix() -> Result<()> {
    // The kernel names it; it vanishes with the process, as a port does.
    let name = format!("\0polypeer-bench-{}", std::process::id());
    let listener = UnixListener::bind(&name)?;
    println!("@{}", &name[1..]);
    loop {
        let (stream, _) = listener.accept().await?;
        let (read, write) = stream.into_split();
        tokio::spawn(answer(write, read));
    }
}

async fn serve_tcp<S, F>(secure: impl Fn(TcpStream) -> F) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = Result<S>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let secured = secure(stream);
        tokio::spawn(async move {
            let (read, write) = split(secured.await?);
            answer(write, read).await
        });
    }
}

async fn serve_tls() -> Result<()> {
    let (certificate, key) = own_certificate()?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    serve_tcp(move |stream| {
        let acceptor = acceptor.clone();
        async move { Ok(acceptor.accept(stream).await?) }
    })
    .await
}

fn client() -> Result<TlsConnector> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider())))
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The server: `address` is a path if `unix`, else `IP:PORT`; over TLS if there is a connector.
struct Place {
    unix: bool,
    tls: Option<TlsConnector>,
    address: String,
}

trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket for S {}

impl Place {
    async fn socket(&self) -> Result<Box<dyn Socket>> {
        if self.unix {
            let name = self.address.replacen('@', "\0", 1);
            return Ok(Box::new(UnixStream::connect(name).await.context("connect to the Unix socket")?));
        }
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        Ok(match &self.tls {
            Some(tls) => Box::new(tls.connect(ServerName::try_from("bench")?, stream).await?),
            None => Box::new(stream),
        })
    }
}

impl Link for Place {
    type Write = WriteHalf<Box<dyn Socket>>;
    type Read = ReadHalf<Box<dyn Socket>>;

    async fn open(&self) -> Result<(Self::Write, Self::Read)> {
        let (read, write) = split(self.socket().await?);
        Ok((write, read))
    }

    async fn connect(&self) -> Result<Box<dyn Any + Send>> {
        Ok(Box::new(self.socket().await?))
    }
}
