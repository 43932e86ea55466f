//! The reader of stdout on Windows, where a pipe does not report that its reader has gone: the next write does.

/// Never.
pub(crate) async fn gone() {
    std::future::pending().await
}
