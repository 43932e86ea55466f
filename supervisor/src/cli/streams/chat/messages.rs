//! What is known of the messages typed in this conversation: pure. A line is *unconfirmed* until the app says that it
//! is kept, then it *waits* until it is delivered or has failed. Each has an id, so that repeating it to an app that
//! was started again neither loses nor doubles it.

use std::collections::{BTreeMap, VecDeque};

use polypeer_ipc_protocol::error::ErrorCode;

use super::document::Message;
use crate::cli_error::{CliError, Exit, split_remedy};
use crate::output::clean;

/// Lines sent to the app and not confirmed, at most; no more is read meanwhile.
const UNCONFIRMED: usize = 256;

/// A line as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) id: String,
    pub(super) text: String,
}

/// What is worth a word to the person at the terminal.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    Nothing,
    Delivered,
    /// The first word about a peer that is away since something was delivered.
    Waiting(String),
    Failed(String),
}

#[derive(Debug, Default)]
pub(super) struct Messages {
    unconfirmed: VecDeque<Line>,
    /// Kept and not delivered, by id; at most as many as the app lets wait for a peer.
    waiting: BTreeMap<String, Line>,
    failed: u64,
    /// The reason of the first failure.
    failure: Option<String>,
    /// Why the oldest still waits, and what helps.
    why: Option<String>,
    remedy: Option<String>,
    blocked: bool,
}

impl Messages {
    /// Whether another line may be typed.
    pub(super) fn has_room(&self) -> bool {
        self.unconfirmed.len() < UNCONFIRMED
    }

    pub(super) fn typed(&mut self, line: Line) {
        self.unconfirmed.push_back(line);
    }

    /// The lines to repeat to an app that was started again: it says then what became of them.
    pub(super) fn unsettled(&self) -> impl Iterator<Item = &Line> {
        self.waiting.values().chain(&self.unconfirmed)
    }

    /// Whether nothing is in flight.
    pub(super) fn are_settled(&self) -> bool {
        self.unconfirmed.is_empty() && self.waiting.is_empty()
    }

    pub(super) fn have_failed(&self) -> bool {
        self.failed > 0
    }

    /// Whether the peer has blocked this node, or this node the peer.
    pub(super) fn are_blocked(&self) -> bool {
        self.blocked
    }

    /// The number that is kept and not delivered.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Handles what the app says of a message that this node wrote.
    pub(super) fn handle(&mut self, message: &Message) -> Told {
        let unconfirmed = self.unconfirmed.iter().position(|line| line.id == message.id);
        if let Some(line) = unconfirmed.and_then(|place| self.unconfirmed.remove(place)) {
            self.waiting.insert(line.id.clone(), line);
        }
        if !self.waiting.contains_key(&message.id) {
            return self.handle_other(message);
        }
        match message.state.as_str() {
            "delivered" => {
                self.waiting.remove(&message.id);
                (self.why, self.blocked) = (None, false);
                Told::Delivered
            }
            "failed" => {
                self.waiting.remove(&message.id);
                self.failed += 1;
                let reason = clean(message.error.as_deref().unwrap_or("no reason given"));
                self.failure.get_or_insert_with(|| reason.clone());
                Told::Failed(reason)
            }
            _ => self.handle_other(message),
        }
    }

    /// A message typed elsewhere or earlier matters only as far as it says why messages wait.
    fn handle_other(&mut self, message: &Message) -> Told {
        let Some(error) = message.error.as_ref().filter(|_| message.state == "sent") else { return Told::Nothing };
        self.blocked = message.code == Some(ErrorCode::Blocked.number());
        let (reason, remedy) = split_remedy(error);
        self.remedy = remedy.map(clean);
        let reason = clean(reason);
        match self.why.replace(reason.clone()) {
            None => Told::Waiting(reason),
            Some(_) => Told::Nothing,
        }
    }

    /// The end of a conversation whose input came from a pipe.
    pub(super) fn result(&self, peer: &str) -> Result<(), CliError> {
        let why = self.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        let waiting = self.waiting.len();
        let until = if self.blocked { "lets it through" } else { "is back" };
        let kept = match waiting {
            0 => String::new(),
            1 => format!("1 message is kept: it is delivered when {peer} {until}{why}"),
            _ => format!("{waiting} messages are kept: they are delivered when {peer} {until}{why}"),
        };
        if let Some(failure) = &self.failure {
            let rest = if kept.is_empty() { kept } else { format!("; {kept}") };
            let message = format!("{} of the lines were not taken: {failure}{rest}", self.failed);
            return Err(CliError::failed(message, "`polypeer chat PEER --history` shows what was taken"));
        }
        if !self.unconfirmed.is_empty() {
            let count = self.unconfirmed.len();
            let message = format!("the app chat has not confirmed the last {count} of the lines");
            return Err(CliError::failed(message, "`polypeer chat PEER --history` shows which were taken"));
        }
        if waiting == 0 {
            return Ok(());
        }
        let exit = if self.blocked { Exit::Refused } else { Exit::Unreachable };
        let hint = self.remedy.as_deref().filter(|_| self.blocked);
        Err(CliError::new(exit, kept, hint.unwrap_or("nothing needs to be done; `polypeer chat` shows what waits")))
    }
}

#[cfg(test)]
mod tests {
    use polypeer_ipc_protocol::ids::NodeId;

    use super::*;

    fn said(id: &str, state: &str, error: Option<&str>, code: Option<ErrorCode>) -> Message {
        Message {
            id: id.into(),
            from: NodeId([1; 32]),
            text: "hi".into(),
            at: 1,
            state: state.into(),
            error: error.map(Into::into),
            code: code.map(ErrorCode::number),
        }
    }

    fn typed(ids: &[&str]) -> Messages {
        let mut messages = Messages::default();
        for id in ids {
            messages.typed(Line { id: (*id).into(), text: "hi".into() });
        }
        messages
    }

    fn exit(messages: &Messages) -> u8 {
        messages.result("ann").map_or_else(|error| error.exit.code(), |()| 0)
    }

    #[test]
    fn message_is_confirmed_then_delivered() {
        let mut messages = typed(&["1", "2"]);
        assert_eq!(exit(&messages), 1, "nobody has taken them");
        assert_eq!(messages.handle(&said("1", "sent", None, None)), Told::Nothing);
        assert_eq!(messages.unsettled().map(|line| line.id.as_str()).collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(messages.handle(&said("1", "delivered", None, None)), Told::Delivered);
        assert_eq!(messages.handle(&said("1", "delivered", None, None)), Told::Nothing, "once");
        assert_eq!(messages.handle(&said("2", "delivered", None, None)), Told::Delivered);
        assert!(messages.are_settled() && exit(&messages) == 0);
    }

    #[test]
    fn message_that_waits_is_kept_and_nobody_says_send_it_again() {
        let mut messages = typed(&["1"]);
        messages.handle(&said("1", "sent", None, None));
        let away = said("1", "sent", Some("unreachable"), Some(ErrorCode::Unreachable));
        assert_eq!(messages.handle(&away), Told::Waiting("unreachable".into()));
        assert_eq!(messages.handle(&away), Told::Nothing, "said before");
        let error = messages.result("ann").expect_err("not delivered");
        assert_eq!(error.exit, Exit::Unreachable);
        assert_eq!(error.message, "1 message is kept: it is delivered when ann is back (unreachable)");
        assert!(!error.hint.contains("again"));
    }

    #[test]
    fn blocked_peer_is_a_refusal_even_of_messages_from_earlier() {
        let mut messages = typed(&["1"]);
        messages.handle(&said("1", "sent", None, None));
        let why = "blocked; ask its operator to run: polypeer peers unblock ID";
        messages.handle(&said("earlier", "sent", Some(why), Some(ErrorCode::Blocked)));
        assert!(messages.are_blocked());
        let error = messages.result("ann").expect_err("not delivered");
        assert_eq!(error.exit, Exit::Refused);
        assert_eq!(error.message, "1 message is kept: it is delivered when ann lets it through (blocked)");
        assert_eq!(error.hint, "ask its operator to run: polypeer peers unblock ID");
    }

    #[test]
    fn failure_is_told_with_what_is_kept() {
        let mut messages = typed(&["1", "2"]);
        messages.handle(&said("1", "sent", None, None));
        assert_eq!(messages.handle(&said("2", "failed", Some("no\nroom"), None)), Told::Failed("no\\nroom".into()));
        let error = messages.result("ann").expect_err("failed");
        assert!(error.message.starts_with("1 of the lines were not taken: no\\nroom; 1 message is kept"), "{error:?}");
        assert!(messages.have_failed() && messages.waiting() == 1);
    }

    #[test]
    fn lines_are_taken_no_faster_than_they_are_confirmed() {
        let mut messages = Messages::default();
        for number in 0..UNCONFIRMED {
            assert!(messages.has_room());
            messages.typed(Line { id: number.to_string(), text: "hi".into() });
        }
        assert!(!messages.has_room());
        messages.handle(&said("0", "sent", None, None));
        assert!(messages.has_room());
    }
}
