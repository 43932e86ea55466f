#!/usr/bin/env bash
# quinn 0.11.12 (quinn-proto 0.11.19): a connection that is closed while its congestion window is full never sends its
# CONNECTION_CLOSE. A good guess: `Connection::close` with a code reaches the peer at once, whatever is under way
# (RFC 9002, section 3: a packet with a CONNECTION_CLOSE does not count toward congestion control). Seen: while data waits
# to be sent, the packet with the close is held back like one of data, and the acknowledgements that would make room are
# not processed any more, so it is never sent. The peer waits for its idle timeout and is told "timed out".
# Consequence here: the window has room for ten packets of the present size (netcore/src/transport/congestion.rs).
# Needs cargo and the network once. Exits 0 while the behaviour is as described.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
cat >Cargo.toml <<'EOF'
[package]
name = "close"
version = "0.0.0"
edition = "2021"

[dependencies]
quinn = { version = "=0.11.12", default-features = false, features = ["runtime-tokio", "rustls-ring"] }
quinn-proto = "=0.11.19"
rcgen = { version = "=0.14.10", default-features = false, features = ["crypto", "ring"] }
rustls = { version = "0.23", default-features = false, features = ["ring", "std"] }
tokio = { version = "1", features = ["macros", "rt", "time"] }
EOF
cat >src/main.rs <<'EOF'
//! A client fills its congestion window, then closes the connection with a code. Prints what the server is told.
use std::{net::SocketAddr, sync::Arc, time::Duration};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let own = rcgen::generate_simple_self_signed(["here".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(own.cert.der().clone()).unwrap();
    let mut transport = quinn::TransportConfig::default();
    transport.max_idle_timeout(Some(Duration::from_secs(2).try_into().unwrap()));
    let transport = Arc::new(transport);
    let mut server = quinn::ServerConfig::with_single_cert(vec![own.cert.der().clone()], key.into()).unwrap();
    server.transport_config(transport.clone());
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let server = quinn::Endpoint::server(server, any).unwrap();
    let client = quinn::Endpoint::client(any).unwrap();
    let mut config = quinn::ClientConfig::with_root_certificates(Arc::new(roots)).unwrap();
    config.transport_config(transport);
    for bytes in [1_000, 1_000_000] {
        let connecting = client.connect_with(config.clone(), server.local_addr().unwrap(), "here").unwrap();
        let (near, far) = tokio::join!(connecting, async { server.accept().await.unwrap().await });
        let (near, far) = (near.unwrap(), far.unwrap());
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut stream = near.open_uni().await.unwrap();
        stream.write_all(&vec![0; bytes]).await.unwrap();
        tokio::task::yield_now().await; // the connection's task sends what the window allows
        near.close(7u32.into(), b"done");
        println!("{bytes} bytes written, then closed with 7; the other side: {}", far.closed().await);
    }
}
EOF
cargo run --quiet | tee output
diff - output <<'EOF'
1000 bytes written, then closed with 7; the other side: closed by peer: done (code 7)
1000000 bytes written, then closed with 7; the other side: timed out
EOF
