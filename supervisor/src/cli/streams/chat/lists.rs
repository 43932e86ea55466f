//! Conversations, and the history of one, as text and as documents.

use polypeer_ipc_protocol::ids::NodeId;
use serde_json::json;
use tokio::io::{AsyncWriteExt, BufReader};

use super::document::{Message, Said, refused};
use super::{APP, PROTOCOL, clock};
use crate::cli::Context;
use crate::cli::peer::{Peer, known_peers};
use crate::cli::streams::{Session, lines};
use crate::cli_error::{CliError, of_stream};
use crate::output::clean;
use crate::petname;

/// Asks the app something that it answers with documents until the end.
async fn ask(context: &Context, session: &Session, operation: serde_json::Value) -> Result<Vec<Said>, CliError> {
    let told = |error: std::io::Error| of_stream(&error);
    let mut stream = BufReader::new(session.app(context, APP, PROTOCOL).await?);
    lines::write(&mut stream, &operation).await.map_err(told)?;
    stream.shutdown().await.map_err(told)?;
    let mut all = Vec::new();
    while let Some(said) = lines::read::<Said>(&mut stream).await.map_err(told)? {
        match said {
            Said::Failed { error } => return Err(refused(&error)),
            said => all.push(said),
        }
    }
    Ok(all)
}

/// Prints the conversations, the most recent first.
pub(super) async fn conversations(context: &Context, session: &Session) -> Result<(), CliError> {
    let said = ask(context, session, json!({ "op": "peers" })).await?;
    let all: Vec<_> = said
        .into_iter()
        .filter_map(|said| if let Said::Conversations { peers } = said { Some(peers) } else { None })
        .flatten()
        .collect();
    let known = known_peers(context).await?;
    if context.printer.json {
        let documents = all.iter().map(|conversation| {
            let mut document = json!({
                "node_id": conversation.peer,
                "messages": conversation.messages,
                "unread": conversation.unread,
                "undelivered": conversation.undelivered,
            });
            if let Some(name) = known.name(&conversation.peer) {
                document["name"] = json!(name.to_string());
            }
            document
        });
        return context.printer.document(&documents.collect::<Vec<_>>());
    }
    if all.is_empty() {
        context.printer.say("no conversations yet; begin one with `polypeer chat PEER`");
        return Ok(());
    }
    let rows = all.iter().map(|conversation| {
        vec![
            petname::shown(&conversation.peer, known.name(&conversation.peer)),
            conversation.unread.to_string(),
            conversation.undelivered.to_string(),
            conversation.messages.to_string(),
        ]
    });
    let headings = ["PEER", "UNREAD", "WAITING", "MESSAGES"];
    context.printer.data(&context.printer.table(&headings, &rows.collect::<Vec<_>>()))
}

/// The newest messages of a conversation, oldest first.
pub(super) async fn messages(
    context: &Context,
    session: &Session,
    peer: NodeId,
    count: u32,
) -> Result<Vec<Message>, CliError> {
    let said = ask(context, session, json!({ "op": "history", "peer": peer, "limit": count })).await?;
    Ok(said
        .into_iter()
        .filter_map(|said| if let Said::Message(message) = said { Some(message) } else { None })
        .collect())
}

/// Prints the newest messages of a conversation. It leaves unread what is unread.
pub(super) async fn history(context: &Context, session: &Session, peer: &Peer, count: u32) -> Result<(), CliError> {
    let messages = messages(context, session, peer.node(), count).await?;
    if context.printer.json {
        let documents = messages.iter().map(|message| {
            let mut document = json!({
                "id": message.id, "from": message.from, "text": message.text,
                "at": message.at, "state": message.state,
            });
            if let Some(error) = &message.error {
                document["error"] = json!(error);
            }
            document
        });
        return context.printer.document(&documents.collect::<Vec<_>>());
    }
    if messages.is_empty() {
        context.printer.say("no messages yet");
        return Ok(());
    }
    messages.iter().try_for_each(|message| context.printer.data(&line(message, peer)))
}

/// A message of the conversation with `peer` as one line.
pub(super) fn line(message: &Message, peer: &Peer) -> String {
    let who = match &peer.name {
        _ if message.from != peer.node() => "you".to_owned(),
        Some(name) => name.to_string(),
        None => short(message.from),
    };
    let state = match message.state.as_str() {
        "sent" => " (waiting)".to_owned(),
        "failed" => format!(" (not sent: {})", clean(message.error.as_deref().unwrap_or("no reason given"))),
        _ => String::new(),
    };
    format!("{} {who}: {}{state}", clock::shown(message.at), clean(&message.text))
}

/// The beginning of a node id.
fn short(peer: NodeId) -> String {
    peer.to_string().chars().take(8).collect()
}

#[cfg(test)]
mod tests {
    use polypeer_ipc_protocol::ticket::Ticket;

    use super::*;

    #[test]
    fn line_of_the_history_says_who_and_what_became_of_it() {
        let (me, node) = (NodeId([1; 32]), NodeId([2; 32]));
        let ticket = Ticket { node, addresses: Vec::new() };
        let mut peer = Peer { ticket, name: None, is_own: false };
        let message = |from, state: &str| Message {
            id: "1".into(),
            from,
            text: "hi\x1b[2J".into(),
            at: 7,
            state: state.into(),
            error: Some("too late".into()),
            code: None,
        };
        let tail = |message: &Message, peer: &Peer| {
            let line = line(message, peer);
            line.split_once(&clock::shown(7)).map(|(_, tail)| tail.to_owned()).unwrap_or_default()
        };
        assert_eq!(tail(&message(me, "delivered"), &peer), " you: hi\\u{1b}[2J");
        assert_eq!(tail(&message(me, "sent"), &peer), " you: hi\\u{1b}[2J (waiting)");
        assert_eq!(tail(&message(me, "failed"), &peer), " you: hi\\u{1b}[2J (not sent: too late)");
        assert_eq!(tail(&message(node, "received"), &peer), format!(" {}: hi\\u{{1b}}[2J", short(node)));
        peer.name = "ann".parse().ok();
        assert_eq!(tail(&message(node, "received"), &peer), " ann: hi\\u{1b}[2J");
    }
}
