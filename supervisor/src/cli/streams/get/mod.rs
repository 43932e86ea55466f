//! `polypeer get LINK`: downloads a file or folder by its hash. [`parts`] keeps what has arrived; the content is
//! verified as it lies on the disk, and only then gets its name, where it never replaces what came up meanwhile. A
//! folder's content is an archive, which [`unpack`] unpacks.

mod parts;
mod unpack;

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::ProgressBar;
use serde::Deserialize;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::task::{block_in_place, spawn_blocking};

use self::parts::{Parts, exists};
use self::unpack::{UnpackError, unpack};
use super::file_link::FileLink;
use super::files_app::{APP, Answer, CHUNK, Refusal, ask, progress_bar, request};
use super::{Session, file_error, files, handover, lines};
use crate::cli::Context;
use crate::cli_error::{CliError, of_stream};
use crate::manifest::values::shown_size;
use crate::output::duration;

/// The app's first line in answer to `get`.
#[derive(Debug, Deserialize)]
struct Found {
    /// Size of the file, bytes.
    size: u64,
    /// How much of it the node has stored, bytes.
    have: u64,
}

/// Download the file or folder that a link names, and verify it
///
/// The node keeps a copy for 24 hours, which others with the link can fetch from it; `polypeer files stop` ends that.
#[derive(Debug, Args)]
pub(in crate::cli) struct Get {
    /// Link that `polypeer send` printed
    link: FileLink,
    /// Path to write to [default: the name in the link, in the current folder]
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Replace an existing file
    #[arg(short, long)]
    force: bool,
}

impl Get {
    pub(in crate::cli) async fn run(self, context: &Context) -> Result<(), CliError> {
        let Self { link, output, force } = self;
        let output = match output {
            Some(path) if path.is_dir() => path.join(link.output_name()),
            Some(path) => path,
            None => PathBuf::from(link.output_name()),
        };
        let started = Instant::now();
        if link.is_folder && output.symlink_metadata().is_ok() {
            return Err(exists(&output));
        }
        if !link.is_folder
            && !force
            && let Some(size) = block_in_place(|| size_if_right(&output, &link))
        {
            context.printer.say(format!("{} already exists, with the content that the link names", output.display()));
            return print(context, &output, &link, size);
        }
        let replace = !link.is_folder && may_replace(context, &output, force)?;
        let parts = Parts::lock(&output, &link.hash)?;
        let fetched = tokio::select! {
            fetched = fetch(context, &link, &parts) => fetched,
            _ = tokio::signal::ctrl_c() => Err(CliError::failed("interrupted", "run the same command again")),
        };
        let (size, finished, offer) = match fetched {
            Ok(fetched) => fetched,
            Err(error) => return Err(kept(error, &link, parts)),
        };
        parts.put(&finished, replace)?;
        context.printer.say(format!(
            "{}: {} in {}, verified",
            output.display(),
            shown_size(size),
            took(started.elapsed())
        ));
        if let Some(hash) = offer {
            context.printer.say(format!(
                "whoever has the link can fetch it from this node, too, for 24 hours; `polypeer files stop {hash}` ends that"
            ));
        }
        print(context, &output, &link, size)
    }
}

fn print(context: &Context, output: &Path, link: &FileLink, size: u64) -> Result<(), CliError> {
    let document = json!({ "path": output.to_string_lossy(), "hash": link.hash, "size_bytes": size });
    context.printer.either(&document, || output.display().to_string())
}

fn took(time: Duration) -> String {
    if time.as_secs() < 10 { format!("{:.1} s", time.as_secs_f64()) } else { duration(time.as_secs()) }
}

/// The size of `path` if it is the file that the link names; `None` if it is missing, unreadable or another file.
fn size_if_right(path: &Path, link: &FileLink) -> Option<u64> {
    let metadata = path.metadata().ok().filter(std::fs::Metadata::is_file)?;
    if link.size.is_some_and(|size| size != metadata.len()) {
        return None;
    }
    (hash_of(path, &ProgressBar::hidden()).ok()? == link.hash).then_some(metadata.len())
}

/// Whether to replace what has the name, which a person may be asked.
fn may_replace(context: &Context, output: &Path, force: bool) -> Result<bool, CliError> {
    if force || output.symlink_metadata().is_err() {
        return Ok(force);
    }
    match context.printer.confirm(&format!("{} exists. Replace it?", output.display())) {
        Some(true) => Ok(true),
        _ => Err(exists(output)),
    }
}

/// Fetches and verifies the content, and unpacks a folder. Returns the size of the content in bytes, and the path of
/// what is to get the name; and the hash to stop it by if this node offers a fetched copy of it since.
async fn fetch(context: &Context, link: &FileLink, parts: &Parts) -> Result<(u64, PathBuf, Option<String>), CliError> {
    let content = parts.content();
    let mut offer = None;
    let (mut is_resumed, mut may_clone) = (length(&content) > 0, true);
    loop {
        let mut is_clone = false;
        if link.size != Some(length(&content)) || !content.exists() {
            (is_clone, offer) = receive(context, link, parts, may_clone).await?;
        }
        if verify(context, link, content.clone()).await? {
            break;
        }
        // What an earlier run left may have been changed since.
        parts.discard()?;
        if is_clone {
            // The app checks what it streams: it stops before the damage, and fetches that anew the next time.
            context.printer.say("the copy that this node has stored is damaged; getting it without a clone");
            (is_resumed, may_clone) = (false, false);
            continue;
        }
        if !is_resumed {
            let message = "the received file does not match the hash in the link";
            return Err(CliError::failed(message, "ask for a new link to the file"));
        }
        let folder = parts.folder().display();
        context.printer.say(format!("what {folder} has from an earlier run is not of this file; starting over"));
        is_resumed = false;
    }
    let size = length(&content);
    if !link.is_folder {
        return Ok((size, content, offer));
    }
    let unpacked = parts.unpacked();
    let (archive, into) =
        (File::open(&content).map_err(|error| file_error("read", &content, &error))?, unpacked.clone());
    match spawn_blocking(move || unpack(archive, &into)).await {
        Ok(Ok(())) => Ok((size, unpacked, offer)),
        Ok(Err(UnpackError::Write { path, source })) => Err(file_error("write", &path, &source)),
        Ok(Err(error)) => Err(CliError::failed(
            format!("failed to unpack {}: {error}", link.name),
            match error.is_final() {
                true => "nothing was made of it; ask who sent it for another archive",
                false => "run the same command again",
            },
        )),
        Err(_) => Err(CliError::failed("unpacking was aborted", "run the same command again")),
    }
}

/// Receives what is missing of the content, or if allowed a clone of what the node has stored, and flushes it to the
/// disk. Returns whether it is a clone, which nothing has checked, and what [`files::offered_copy`] says.
async fn receive(
    context: &Context,
    link: &FileLink,
    parts: &Parts,
    may_clone: bool,
) -> Result<(bool, Option<String>), CliError> {
    let mut session = Session::open(context).await?;
    let received = receive_from(context, &session, link, parts, may_clone).await;
    let is_clone = session.explained(received).await?;
    Ok((is_clone, files::offered_copy(context, &session, &link.hash).await))
}

async fn receive_from(
    context: &Context,
    session: &Session,
    link: &FileLink,
    parts: &Parts,
    may_clone: bool,
) -> Result<bool, CliError> {
    let cloned = async || {
        may_clone && handover::clone_stored(context, session, &link.hash, parts.new_clone(), parts.content()).await
    };
    let path = parts.content();
    if link.size.is_some_and(|size| length(&path) > size) {
        parts.discard()?;
    }
    let mut file = parts.open()?;
    let told = |error: std::io::Error| file_error("write", &path, &error);
    if cloned().await {
        return Ok(true);
    }
    let offset = length(&path);
    let from: Vec<String> = link.from.iter().map(ToString::to_string).collect();
    let document = json!({ "op": "get", "hash": link.hash, "name": link.name, "size": link.size, "from": from,
                           "offset": offset });
    let mut stream = request(context, session, &document).await?;
    let found: Found = match lines::read(&mut stream).await.map_err(|error| of_stream(&error))? {
        Some(Answer::Given(found)) => found,
        Some(Answer::Refused(refusal)) => return Err(not_fetched(context, link, &refusal)),
        None => {
            return Err(CliError::failed(format!("the app {APP} did not answer"), "see `polypeer plugin logs files`"));
        }
    };
    let bar = progress_bar(context, Some(found.size), offset, &link.name);
    let mut done = offset;
    let mut buffer = vec![0; CHUNK];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) => break,
            Ok(read) => {
                block_in_place(|| file.write_all(&buffer[..read])).map_err(told)?;
                let was_here = done < found.have;
                done += read as u64;
                bar.set_position(done);
                if was_here && done >= found.have {
                    bar.reset_eta(); // The speed from here on is that of the network.
                }
            }
            Err(error) => {
                bar.abandon();
                return Err(match why(context, session, &link.hash).await {
                    Some(refusal) => not_fetched(context, link, &refusal),
                    None => of_stream(&error),
                });
            }
        }
    }
    bar.finish_and_clear();
    if done < found.size {
        let refusal = Refusal { error: "the app ended the stream early".into(), code: 0 };
        return Err(not_fetched(context, link, &refusal));
    }
    if cloned().await {
        return Ok(true); // What was written shares the blocks of the stored copy now.
    }
    spawn_blocking(move || file.sync_all()).await.map_or(Ok(()), |synced| synced.map_err(told)).map(|()| false)
}

/// Asks the app why it aborted the download.
async fn why(context: &Context, session: &Session, hash: &str) -> Option<Refusal> {
    match ask::<serde_json::Value>(context, session, &json!({ "op": "why", "hash": hash })).await {
        Ok(Err(refusal)) => Some(refusal),
        _ => None,
    }
}

fn not_fetched(context: &Context, link: &FileLink, refusal: &Refusal) -> CliError {
    let error = refusal.to_error(context, &format!("failed to get {}", link.name));
    if !link.from.is_empty() {
        return error;
    }
    let hint = "the link names no source, as if it were cut: paste the whole link, in quotes if it has a `?` or `&`";
    CliError::new(error.exit, error.message, hint)
}

/// The error of a download that did not end, with what is kept of it.
fn kept(error: CliError, link: &FileLink, parts: Parts) -> CliError {
    let bytes = length(&parts.content());
    if bytes == 0 {
        let _ = parts.discard(); // There may be none.
        parts.leave();
        return error;
    }
    let of = link.size.map(|size| format!(" of {}", shown_size(size))).unwrap_or_default();
    let hint = format!(
        "{}; {}{of} are kept in {}, where the same command goes on",
        error.hint,
        shown_size(bytes),
        parts.folder().display()
    );
    CliError { hint, ..error }
}

/// Whether the file is what the link names, read from the disk.
async fn verify(context: &Context, link: &FileLink, path: PathBuf) -> Result<bool, CliError> {
    let bar = progress_bar(context, Some(length(&path)), 0, &format!("verifying {}", link.name));
    let of = path.clone();
    let hash = spawn_blocking(move || hash_of(&of, &bar)).await;
    let hash = hash.map_err(|_| CliError::failed("verifying was aborted", "run the same command again"))?;
    Ok(hash.map_err(|error| file_error("read", &path, &error))? == link.hash)
}

/// The BLAKE3 hash of a file, as hexadecimal digits.
fn hash_of(path: &Path, bar: &ProgressBar) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        bar.inc(read as u64);
    }
    bar.finish_and_clear();
    Ok(hasher.finalize().to_hex().to_string())
}

fn length(path: &Path) -> u64 {
    path.metadata().map_or(0, |metadata| metadata.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli_error::Exit;
    use crate::home::Home;
    use crate::output::Printer;

    fn link(rest: &str) -> FileLink {
        format!("polypeer-file:{}/a{rest}", blake3::hash(b"hello").to_hex()).parse().expect("a link")
    }

    #[test]
    fn file_that_is_there_is_compared_with_the_link() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a");
        assert_eq!(size_if_right(&path, &link("")), None, "there is none");
        std::fs::write(&path, "hello").expect("written");
        assert_eq!(size_if_right(&path, &link("")), Some(5));
        assert_eq!(size_if_right(&path, &link("/size=5")), Some(5));
        assert_eq!(size_if_right(&path, &link("/size=6")), None);
        assert_eq!(size_if_right(folder.path(), &link("")), None, "a folder");
        std::fs::write(&path, "hallo").expect("written");
        assert_eq!(size_if_right(&path, &link("")), None);
    }

    #[test]
    fn hint_says_what_is_kept_and_where() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let failed = || CliError::failed("why", "do this");
        let parts = || Parts::lock(&folder.path().join("a"), "abc").expect("locked");
        let empty = parts();
        empty.open().expect("opened");
        assert_eq!(kept(failed(), &link("/size=5"), empty), failed());
        assert_eq!(std::fs::read_dir(folder.path()).expect("read").count(), 0, "an empty part is not left");
        let some = parts();
        some.open().expect("opened").write_all(b"hel").expect("written");
        let hint = kept(failed(), &link("/size=5"), some).hint;
        let expected = format!("do this; 3 B of 5 B are kept in {}/a.part, where", folder.path().display());
        assert!(hint.starts_with(&expected), "{hint}");
    }

    #[test]
    fn link_without_a_source_is_told_as_cut() {
        let context = Context { home: Home::at("/nowhere"), printer: Printer::new(false, true) };
        let refusal = Refusal { error: "no source".into(), code: 2 };
        let cut = not_fetched(&context, &link("?size=5"), &refusal);
        assert!(cut.exit == Exit::Failed && cut.hint.contains("whole link, in quotes"), "{cut:?}");
    }
}
