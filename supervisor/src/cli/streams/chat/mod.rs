//! `polypeer chat`: the conversations; with a peer, a conversation with it, or its history. All of it is asked of the
//! app `chat` over `chat-control/1`.
//!
//! `talk` runs a conversation. It joins what is typed (`input`, on a terminal with `editor`), the app's documents
//! (`document`), what is known of the messages (`messages`) and of the peer (`presence`), and what is shown (`screen`,
//! with times from `clock`).
//! `lists` prints conversations and history.

mod clock;
mod document;
mod editor;
mod input;
mod lists;
mod messages;
mod presence;
mod screen;
mod talk;

use std::time::Duration;

use clap::Args;

use super::Session;
use crate::cli::peer::PeerArgument;
use crate::cli::{Context, time_limit};
use crate::cli_error::CliError;

/// The app, and the protocol of its controls.
const APP: &str = "chat";
const PROTOCOL: &str = "chat-control/1";
/// Time limit for the delivery of messages after the end of the input.
const DELIVERY: Duration = Duration::from_secs(15);
/// Messages of a history, unless told otherwise.
const HISTORY: u32 = 20;

/// List conversations, or exchange messages with a peer, line by line
#[derive(Debug, Args)]
pub(in crate::cli) struct Chat {
    /// Name, node id or its start, or ticket; without it, conversations are listed
    peer: Option<PeerArgument>,
    /// Print the newest messages of the conversation and leave [default: 20]
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "20", requires = "peer",
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    history: Option<u32>,
    /// How long to wait for delivery once the input has ended, such as 30 (seconds) or 5m [default: 15s]
    #[arg(long, value_name = "TIME", value_parser = time_limit::parse)]
    timeout: Option<Duration>,
}

impl Chat {
    pub(in crate::cli) async fn run(self, context: &Context) -> Result<(), CliError> {
        let peer = match self.peer {
            Some(peer) => Some(peer.resolve_other(context).await?),
            None => None,
        };
        let mut session = Session::open(context).await?;
        let done = match (peer, self.history) {
            (None, _) => lists::conversations(context, &session).await,
            (Some(peer), Some(count)) => lists::history(context, &session, &peer, count).await,
            (Some(peer), None) => {
                Box::pin(talk::run(context, &mut session, peer, self.timeout.unwrap_or(DELIVERY))).await
            }
        };
        session.explained(done).await
    }
}
