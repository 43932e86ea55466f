//! A file by iroh-blobs: hashed and offered by one process, fetched, verified and exported by another, each with a
//! store on disk.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use iroh::protocol::Router;
use iroh_blobs::store::fs::FsStore;
use iroh_blobs::{ALPN, BlobsProtocol, Hash};

/// Imports the file, prints where it can be fetched, and serves until killed.
pub(crate) async fn offer(file: &Path) -> Result<()> {
    let store = FsStore::load(file.with_extension("store")).await?;
    let tag = store.blobs().add_path(std::path::absolute(file)?).await?;
    let endpoint = crate::endpoint(ALPN).await?;
    println!("{}/{}", crate::address_of(&endpoint)?, tag.hash);
    let router = Router::builder(endpoint).accept(ALPN, BlobsProtocol::new(&store, None)).spawn();
    std::future::pending::<()>().await;
    router.shutdown().await?;
    Ok(())
}

/// Fetches into a store in `folder`, exports to `file`, and prints the seconds that both took.
pub(crate) async fn fetch(from: &str, folder: &Path, file: &Path) -> Result<()> {
    let (address, hash) = from.rsplit_once('/').context("expected ADDRESS/HASH")?;
    let hash: Hash = hash.parse()?;
    let store = FsStore::load(folder).await?;
    let endpoint = crate::endpoint(ALPN).await?;
    let started = Instant::now();
    let connection = endpoint.connect(crate::parse(address)?, ALPN).await?;
    store.remote().fetch(connection, hash).await?;
    store.blobs().export(hash, std::path::absolute(file)?).await?;
    println!("{}", started.elapsed().as_secs_f64());
    store.shutdown().await?;
    Ok(())
}
