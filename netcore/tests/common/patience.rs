//! How long tests wait for what must happen.

use std::time::Duration;

/// Long enough for anything on a busy machine; nothing waits for it to pass.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Waits for something that must happen.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("gave up waiting: {what}"))
}
