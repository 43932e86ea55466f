//! `polypeer files`: what the app `files` keeps on this node, one command below in each file.

mod list;
mod remove;
mod stop;

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Session;
use super::file_link::{FileLink, PREFIX};
use super::files_app::ask;
use crate::cli::Context;
use crate::cli_error::CliError;
use crate::output::clean;

/// Fewest digits that stand for a hash.
const MIN_DIGITS: usize = 4;

/// See and remove the files that the node keeps; without a command: list
#[derive(Debug, Args)]
pub(in crate::cli) struct Files {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(alias = "ls")]
    List(list::List),
    #[command(alias = "rm")]
    Remove(remove::Remove),
    Stop(stop::Stop),
}

impl Files {
    pub(in crate::cli) async fn run(self, context: &Context) -> Result<(), CliError> {
        match self.command.unwrap_or(Command::List(list::List {})) {
            Command::List(command) => command.run(context).await,
            Command::Remove(command) => command.run(context).await,
            Command::Stop(command) => command.run(context).await,
        }
    }
}

/// The `FILE…` or `--all` of a command.
#[derive(Debug, Args)]
struct Which {
    /// Names, hashes or their first digits, or links
    #[arg(required_unless_present = "all", value_name = "FILE")]
    files: Vec<String>,
    /// All of them
    #[arg(long, conflicts_with = "files")]
    all: bool,
}

/// One file that the node keeps, as `files list --json` prints it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Kept {
    hash: String,
    name: String,
    /// Of the whole file.
    size_bytes: u64,
    /// Of what lies on the disk: less for a part that is, or was, being fetched.
    have_bytes: u64,
    /// Whether others get it.
    offered: bool,
    /// Time until it is deleted, seconds; `None`: it is not.
    expires_s: Option<u64>,
}

/// Asks the app for all files.
async fn kept(context: &Context, session: &Session) -> Result<Vec<Kept>, CliError> {
    let files = ask(context, session, &json!({ "op": "list" })).await?;
    files.map_err(|refusal| refusal.to_error(context, "failed to list the files"))
}

/// The digits to stop a file by, if the node offers it, and not for as long as the operator wants: a copy of what was
/// fetched. `None` also when the app does not answer: nothing depends on it.
pub(super) async fn offered_copy(context: &Context, session: &Session, hash: &str) -> Option<String> {
    let files = kept(context, session).await.ok()?;
    let copy = files.into_iter().find(|file| file.hash == hash && file.offered && file.expires_s.is_some())?;
    Some(copy.hash.chars().take(list::SHOWN_DIGITS).collect())
}

/// Does `op` to the files that are meant, and prints them.
async fn change(context: &Context, which: &Which, op: &str, done: &str) -> Result<(), CliError> {
    let session = Session::open(context).await?;
    let meant = meant(which, kept(context, &session).await?)?;
    for file in &meant {
        let answer = ask::<serde_json::Value>(context, &session, &json!({ "op": op, "hash": file.hash })).await?;
        answer.map_err(|refusal| refusal.to_error(context, &format!("failed to {op} {}", clean(&file.name))))?;
        if !context.printer.json {
            context.printer.data(&format!("{done} {}", clean(&file.name)))?;
        }
    }
    if context.printer.json { context.printer.document(&meant) } else { Ok(()) }
}

/// The files that are meant, each once.
fn meant(which: &Which, files: Vec<Kept>) -> Result<Vec<Kept>, CliError> {
    if which.all {
        return Ok(files);
    }
    let mut meant: Vec<Kept> = Vec::new();
    for text in &which.files {
        let matching: Vec<&Kept> = files.iter().filter(|file| is_meant(file, text)).collect();
        match matching[..] {
            [file] if meant.contains(file) => {}
            [file] => meant.push(file.clone()),
            [] => {
                let message = format!("the node keeps no file {text:?}");
                return Err(CliError::usage(message, "`polypeer files list` shows names and hashes"));
            }
            [first, second, ref others @ ..] => {
                let more = if others.is_empty() { "" } else { ", …" };
                let message = format!("{text:?} is {} files: {}, {}{more}", matching.len(), first.hash, second.hash);
                return Err(CliError::usage(
                    message,
                    "give the first digits of the hash, as `polypeer files list` shows it",
                ));
            }
        }
    }
    Ok(meant)
}

fn is_meant(file: &Kept, text: &str) -> bool {
    match text.parse::<FileLink>() {
        Ok(link) => link.hash == file.hash,
        Err(_) if text.starts_with(PREFIX) => false,
        Err(_) => file.name == text || text.len() >= MIN_DIGITS && file.hash.starts_with(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli_error::Exit;

    fn file(digit: &str, name: &str) -> Kept {
        Kept { hash: digit.repeat(64), name: name.into(), size_bytes: 1, have_bytes: 1, offered: true, expires_s: None }
    }

    #[test]
    fn files_are_meant_by_name_hash_and_link() {
        let all = [file("a", "one"), file("b", "two"), file("c", "two")];
        let of = |texts: &[&str]| {
            let which = Which { files: texts.iter().map(|&text| text.into()).collect(), all: false };
            meant(&which, all.to_vec()).map_err(|error| error.exit)
        };
        assert_eq!(of(&["one"]), Ok(vec![all[0].clone()]));
        assert_eq!(of(&["bbbb", "cccccccccc"]), Ok(all[1..].to_vec()));
        let link = format!("{PREFIX}{}/other/size=1", "a".repeat(64));
        assert_eq!(of(&["one", &link, "aaaa"]), Ok(vec![all[0].clone()]), "each once");
        for wrong in ["two", "aaa", "", "three", "dddd"] {
            assert_eq!(of(&[wrong]), Err(Exit::Usage), "{wrong}");
        }
        let told = |files: &[Kept]| {
            let which = Which { files: vec!["two".into()], all: false };
            meant(&which, files.to_vec()).expect_err("which one?").message
        };
        let two = format!("\"two\" is 2 files: {}, {}", all[1].hash, all[2].hash);
        assert_eq!(told(&all), two);
        assert!(told(&[&all[..], &[file("d", "two")]].concat()).ends_with(", …"));
        assert_eq!(meant(&Which { files: Vec::new(), all: true }, all.to_vec()), Ok(all.to_vec()));
    }

    #[test]
    fn document_has_the_names_of_the_contract() {
        let text = serde_json::to_string(&file("a", "one")).expect("JSON");
        let hash = "a".repeat(64);
        let expected = format!(
            r#"{{"hash":"{hash}","name":"one","size_bytes":1,"have_bytes":1,"offered":true,"expires_s":null}}"#
        );
        assert_eq!(text, expected);
    }
}
