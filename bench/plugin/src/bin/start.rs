//! A service that only tells that it runs: `start SOCKET` sends a byte to that Unix datagram socket, and sleeps.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

fn main() -> std::io::Result<()> {
    let socket = std::env::args_os().nth(1).expect("usage: start SOCKET");
    UnixDatagram::unbound()?.send_to(b"!", socket)?;
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}
