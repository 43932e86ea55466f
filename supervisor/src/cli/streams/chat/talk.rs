//! A conversation: lines that are typed go to the app, what the app shows goes to the screen. What was shown is said
//! to the app, so that the rest stays unread. An app that is started again is opened again, and hears again what it has
//! not confirmed.

use std::collections::BTreeSet;
use std::time::Duration;

use data_encoding::HEXLOWER;
use polypeer_ipc_protocol::client::StreamWriter;
use serde_json::json;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::document::{Message, Said, refused};
use super::input::{self, HELP, Lines, Typed};
use super::messages::{Line, Messages, Told};
use super::presence::Presence;
use super::screen::{self, Screen};
use super::{APP, PROTOCOL, lists};
use crate::cli::Context;
use crate::cli::peer::Peer;
use crate::cli::streams::{Session, lines};
use crate::cli_error::{CliError, of_stream};
use crate::output::clean;

/// Documents of the app that wait to be handled.
const HEARD: usize = 16;
/// Attempts to open an app again that has ended, and the pause between them.
const RETURNS: usize = 50;
const PAUSE: Duration = Duration::from_millis(200);
/// Characters of a message that are repeated when something is said of it.
const EXCERPT: usize = 40;

/// Runs a conversation until its input has ended and, from a pipe, everything is delivered or `patience` is over.
pub(super) async fn run(
    context: &Context,
    session: &mut Session,
    peer: Peer,
    patience: Duration,
) -> Result<(), CliError> {
    let presence = Presence::of(context, &peer).await?;
    let name = peer.shown();
    let hint = if input::is_terminal() { "; Ctrl-D leaves, /help lists commands" } else { "" };
    let mut app = App::open(context, session, &peer).await?;
    context.printer.say(format!("chatting with {name}: {}{hint}", presence.words()));
    let (input, screen) = if input::is_terminal() && !context.printer.json {
        let mode = screen::mode();
        let (lines, above) = input::of_terminal();
        (lines, Screen::terminal(above, mode))
    } else {
        (input::of_pipe(), Screen::Lines(context.printer.clone()))
    };
    let mut talk = Talk {
        context,
        peer,
        input: Some(input),
        screen,
        messages: Messages::default(),
        patience,
        over_at: None,
        caught_up: false,
        shown: BTreeSet::new(),
    };
    loop {
        match talk.turn(session, &mut app).await? {
            Turn::GoesOn => {}
            Turn::Over => break,
            Turn::Lost => app = talk.open_again(session).await?,
        }
    }
    talk.say_seen(&mut app).await;
    let _ = app.writer.shutdown().await; // The app may be gone; what it has confirmed, it keeps.
    talk.result()
}

/// The stream to the app.
struct App {
    writer: StreamWriter,
    /// A cancelled read would lose part of a line, so a task of its own reads.
    heard: mpsc::Receiver<std::io::Result<Option<Said>>>,
}

impl App {
    /// Opens the conversation.
    async fn open(context: &Context, session: &Session, peer: &Peer) -> Result<Self, CliError> {
        let (reader, mut writer) = session.app(context, APP, PROTOCOL).await?.split();
        let whom = if peer.ticket.addresses.is_empty() { peer.node().to_string() } else { peer.ticket.to_string() };
        lines::write(&mut writer, &json!({ "op": "open", "peer": whom })).await.map_err(|error| of_stream(&error))?;
        let (hears, heard) = mpsc::channel(HEARD);
        tokio::spawn(async move {
            let mut reader = BufReader::new(reader);
            loop {
                let said = lines::read::<Said>(&mut reader).await;
                let last = !matches!(said, Ok(Some(_)));
                if hears.send(said).await.is_err() || last {
                    return;
                }
            }
        });
        Ok(Self { writer, heard })
    }

    async fn tell(&mut self, document: serde_json::Value) -> Turn {
        match lines::write(&mut self.writer, &document).await {
            Ok(()) => Turn::GoesOn,
            Err(_) => Turn::Lost,
        }
    }
}

/// What comes after a turn of the conversation.
enum Turn {
    GoesOn,
    Over,
    /// The app is gone.
    Lost,
}

struct Talk<'a> {
    context: &'a Context,
    peer: Peer,
    /// Until its end.
    input: Option<Lines>,
    screen: Screen,
    messages: Messages,
    patience: Duration,
    /// When to leave even though messages wait.
    over_at: Option<Instant>,
    /// Everything that was unread is shown.
    caught_up: bool,
    /// Messages shown and not said to the app to be seen.
    shown: BTreeSet<String>,
}

impl Talk<'_> {
    async fn turn(&mut self, session: &Session, app: &mut App) -> Result<Turn, CliError> {
        let settled = self.messages.are_settled() || self.messages.are_blocked();
        if self.input.is_none() && (self.screen.is_terminal() || (settled && self.caught_up)) {
            return Ok(Turn::Over);
        }
        let over_at = self.over_at;
        tokio::select! {
            said = app.heard.recv() => match said {
                Some(Ok(Some(said))) => self.hear(app, said).await,
                Some(Ok(None) | Err(_)) | None => Ok(Turn::Lost),
            },
            line = next(&mut self.input), if self.messages.has_room() => match line {
                Some(line) => self.handle(session, app, &line?).await,
                None => {
                    self.end_input();
                    Ok(Turn::GoesOn)
                }
            },
            () = at(over_at) => Ok(Turn::Over),
        }
    }

    fn end_input(&mut self) {
        self.input = None;
        self.over_at = Some(Instant::now() + self.patience);
    }

    async fn handle(&mut self, session: &Session, app: &mut App, line: &str) -> Result<Turn, CliError> {
        let typed = match self.screen {
            Screen::Terminal { .. } => input::parse(line),
            Screen::Lines(_) if line.is_empty() => Typed::Nothing,
            Screen::Lines(_) => Typed::Text(line.to_owned()),
        };
        match typed {
            Typed::Text(text) => return self.send(app, text).await,
            Typed::Quit => self.end_input(),
            Typed::Help => self.screen.show(HELP)?,
            Typed::Unknown(line) => {
                let line = clean(&line);
                self.screen
                    .show(&format!("there is no command {line}; /help lists them, //… sends a line with a /"))?;
            }
            Typed::History(count) => {
                for message in lists::messages(self.context, session, self.peer.node(), count.min(1000)).await? {
                    self.screen.show(&lists::line(&message, &self.peer))?;
                }
            }
            Typed::Nothing => {}
        }
        Ok(Turn::GoesOn)
    }

    async fn send(&mut self, app: &mut App, text: String) -> Result<Turn, CliError> {
        let mut id = [0; 16];
        getrandom::fill(&mut id)
            .map_err(|error| CliError::failed(format!("no random numbers: {error}"), "try again"))?;
        let line = Line { id: HEXLOWER.encode(&id), text };
        let document = json!({ "id": line.id, "text": line.text });
        self.messages.typed(line);
        Ok(app.tell(document).await)
    }

    async fn hear(&mut self, app: &mut App, said: Said) -> Result<Turn, CliError> {
        match said {
            Said::CaughtUp { .. } => self.caught_up = true,
            Said::Failed { error } => return Err(refused(&error)),
            Said::Message(message) if message.state == "received" => return self.show(app, &message).await,
            Said::Message(message) => self.tell(&message)?,
            Said::Conversations { .. } | Said::Other(_) => {}
        }
        Ok(Turn::GoesOn)
    }

    /// Shows a message of the peer, once.
    async fn show(&mut self, app: &mut App, message: &Message) -> Result<Turn, CliError> {
        if !self.shown.contains(&message.id) {
            if self.context.printer.json {
                let document =
                    json!({ "id": message.id, "from": message.from, "text": message.text, "at": message.at });
                self.screen.show(&document.to_string())?;
            } else {
                self.screen.show(&lists::line(message, &self.peer))?;
            }
            self.shown.insert(message.id.clone());
        }
        Ok(self.say_seen(app).await)
    }

    async fn say_seen(&mut self, app: &mut App) -> Turn {
        if self.shown.is_empty() {
            return Turn::GoesOn;
        }
        let turn = app.tell(json!({ "seen": self.shown })).await;
        if matches!(turn, Turn::GoesOn) {
            self.shown.clear();
        }
        turn
    }

    /// Says what became of a message of this node.
    fn tell(&mut self, message: &Message) -> Result<(), CliError> {
        let told = self.messages.handle(message);
        let text = match told {
            Told::Nothing => return Ok(()),
            Told::Delivered if !self.screen.is_terminal() => return Ok(()),
            Told::Delivered => format!("  delivered: {}", excerpt(&message.text)),
            Told::Waiting(why) if self.messages.are_blocked() => format!("  kept, and not delivered ({why})"),
            Told::Waiting(why) => format!("  kept; delivered when {} is back ({why})", self.peer.shown()),
            Told::Failed(why) => format!("  not sent: {}: {why}", excerpt(&message.text)),
        };
        match &mut self.screen {
            Screen::Lines(printer) => printer.say(text.trim_start()),
            screen @ Screen::Terminal { .. } => screen.show(&text)?,
        }
        // What follows it in a pipe is not taken: it would leave a gap.
        if self.messages.have_failed() && !self.screen.is_terminal() && self.input.is_some() {
            self.end_input();
        }
        Ok(())
    }

    /// Opens the conversation again once the app runs again, and repeats what it may not have.
    async fn open_again(&mut self, session: &mut Session) -> Result<App, CliError> {
        let mut why = CliError::failed("the app chat ended the conversation", "see `polypeer plugin logs chat`");
        for _ in 0..RETURNS {
            sleep(PAUSE).await;
            if let Some(stopped) = session.restored().await {
                return Err(stopped);
            }
            match App::open(self.context, session, &self.peer).await {
                Ok(mut app) => {
                    if self.repeat(&mut app).await {
                        return Ok(app);
                    }
                }
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    async fn repeat(&mut self, app: &mut App) -> bool {
        for line in self.messages.unsettled() {
            if matches!(app.tell(json!({ "id": line.id, "text": line.text })).await, Turn::Lost) {
                return false;
            }
        }
        true
    }

    fn result(&self) -> Result<(), CliError> {
        if !self.screen.is_terminal() {
            return self.messages.result(&self.peer.shown());
        }
        let peer = self.peer.shown();
        match self.messages.waiting() {
            0 => {}
            1 => self.context.printer.say(format!("1 message waits; it is delivered when {peer} is back")),
            count => self.context.printer.say(format!("{count} messages wait; they are delivered when {peer} is back")),
        }
        Ok(())
    }
}

/// The next line; never, once the input has ended.
async fn next(input: &mut Option<Lines>) -> Option<Result<String, CliError>> {
    match input {
        Some(lines) => lines.recv().await,
        None => std::future::pending().await,
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// The beginning of a message.
fn excerpt(text: &str) -> String {
    let mut excerpt: String = text.chars().take(EXCERPT).collect();
    if excerpt.len() < text.len() {
        excerpt.push('…');
    }
    clean(&excerpt)
}
