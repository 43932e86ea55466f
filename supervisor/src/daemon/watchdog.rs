//! Tells the service manager that the daemon is healthy, as often as it asks for (sd_watchdog_enabled(3)). What is not
//! healthy says nothing, and is restarted by the service manager.

use std::time::Duration;

use super::notify;
use crate::supervise::Supervisor;

/// Says so at half the time after which silence counts as a failure, as long as the supervisor's task answers. Ends
/// only where nobody asks for it.
pub(super) async fn run(supervisor: Supervisor, timeout: Option<Duration>) {
    let Some(every) = timeout.map(|timeout| timeout / 2) else { return };
    loop {
        // Netcore and plugins are the supervisor's to restart; its own task is what nobody else watches.
        match tokio::time::timeout(every, supervisor.netcore()).await {
            Ok(_) => notify::tell("WATCHDOG=1"),
            Err(_) => tracing::error!("the supervisor's task has not answered for {} s", every.as_secs_f32()),
        }
        tokio::time::sleep(every).await;
    }
}
