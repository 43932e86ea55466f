//! What a command that starts or stops a plugin says while it waits.

use std::time::Duration;

use polypeer_ipc_protocol::ids::PluginId;
use tokio::sync::mpsc;

use super::Daemon;
use crate::control::Answer;

/// Interval of the lines: what takes less needs none.
const EVERY: Duration = Duration::from_secs(2);

impl Daemon {
    /// Does `work`, and tells the caller every few seconds what the plugin is in the middle of.
    pub(super) async fn telling<T>(
        &self,
        id: &PluginId,
        answers: &mpsc::Sender<Answer>,
        work: impl Future<Output = T>,
    ) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(EVERY) => {
                    if let Some((state, note)) = self.supervisor.plugin_note(id).await {
                        let note = note.map(|note| format!(": {note}")).unwrap_or_default();
                        // A caller that does not read, or is gone, gets the answer, or nothing.
                        let _ = answers.try_send(Answer::Progress(format!("{id} is {}{note}", state.as_str())));
                    }
                }
            }
        }
    }
}
