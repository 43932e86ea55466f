//! `polypeer get LINK`: downloads a file by its hash. Bytes are written to `NAME.part` and hashed; only a file with the
//! link's hash gets its name. After an interruption, the next run resumes where `NAME.part` ends.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};

use super::file_link::FileLink;
use super::send::{APP, PROTOCOL, progress_bar};
use super::{Session, file_error, lines};
use crate::cli::Context;
use crate::cli_error::{CliError, Exit, of_stream};

/// Bytes moved at a time.
const CHUNK: usize = 256 << 10;

/// The app's first line in answer to `get`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Found {
    Failed { error: String },
    Size { size: u64 },
}

/// What the app answers to `why`.
#[derive(Debug, Deserialize)]
struct Why {
    error: String,
}

/// The result of one attempt.
enum Attempt {
    /// The file is complete and its hash is right; its size, bytes.
    Whole(u64),
    /// The file is complete and its hash is wrong.
    OtherContent,
}

/// Download the file that a link names, and verify it
#[derive(Debug, Args)]
pub(in crate::cli) struct Get {
    /// Link that `polypeer send` printed
    link: FileLink,
    /// Path to write to [default: the file's name, in the current folder]
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
            Some(path) if path.is_dir() => path.join(&link.name),
            Some(path) => path,
            None => PathBuf::from(&link.name),
        };
        if !force && let Some(size) = tokio::task::block_in_place(|| size_if_right(&output, &link)) {
            context.printer.say(format!("{} already exists, with the content that the link names", output.display()));
            return done(context, &output, &link, size);
        }
        may_write(context, &output, force)?;
        let part = part_of(&output);
        let session = Session::open(context).await?;
        let mut resumed = part.metadata().is_ok_and(|part| part.len() > 0);
        let size = loop {
            match attempt(context, &session, &link, &part).await? {
                Attempt::Whole(size) => break size,
                // The part of an earlier run may belong to another file.
                Attempt::OtherContent => {
                    std::fs::remove_file(&part).map_err(|error| file_error("remove", &part, &error))?;
                    if !resumed {
                        let message = "the received file does not match the hash in the link";
                        return Err(CliError::failed(message, "ask for a new link to the file"));
                    }
                    context.printer.say(format!("{} belongs to another file; starting over", part.display()));
                    resumed = false;
                }
            }
        };
        put_in_place(&part, &output, force)?;
        done(context, &output, &link, size)
    }
}

fn done(context: &Context, output: &Path, link: &FileLink, size: u64) -> Result<(), CliError> {
    let document = json!({ "path": output, "hash": link.hash, "size_bytes": size });
    context.printer.either(&document, || output.display().to_string())
}

fn part_of(output: &Path) -> PathBuf {
    let mut part = output.as_os_str().to_owned();
    part.push(".part");
    part.into()
}

/// The size of `path` if it is the file that the link names; `None` if it is missing, unreadable or another file.
fn size_if_right(path: &Path, link: &FileLink) -> Option<u64> {
    let metadata = path.metadata().ok().filter(std::fs::Metadata::is_file)?;
    if link.size.is_some_and(|size| size != metadata.len()) {
        return None;
    }
    let mut hasher = blake3::Hasher::new();
    let size = hash_all(&mut File::open(path).ok()?, &mut hasher).ok()?;
    (hasher.finalize().to_hex().as_str() == link.hash).then_some(size)
}

/// Asks whether to replace an existing file.
fn may_write(context: &Context, output: &Path, force: bool) -> Result<(), CliError> {
    if force || !output.exists() {
        return Ok(());
    }
    match context.printer.confirm(&format!("{} exists. Replace it?", output.display())) {
        Some(true) => Ok(()),
        _ => Err(exists(output)),
    }
}

fn exists(output: &Path) -> CliError {
    let message =
        format!("{} already exists, with other content than the link names; nothing was changed", output.display());
    CliError::new(Exit::Refused, message, "keep both with --output OTHER-NAME, or replace it with --force")
}

async fn attempt(context: &Context, session: &Session, link: &FileLink, part: &Path) -> Result<Attempt, CliError> {
    let told = |error: &std::io::Error| file_error("write", part, error);
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(part).map_err(|e| told(&e))?;
    let mut hasher = blake3::Hasher::new();
    let most = link.size.unwrap_or(u64::MAX);
    if file.metadata().map_err(|error| told(&error))?.len() > most {
        file.set_len(0).map_err(|error| told(&error))?;
    }
    let offset = tokio::task::block_in_place(|| hash_all(&mut file, &mut hasher)).map_err(|error| told(&error))?;
    let from: Vec<String> = link.from.iter().map(ToString::to_string).collect();
    let request = json!({ "op": "get", "hash": link.hash, "size": link.size, "from": from, "offset": offset });

    let mut stream = session.app(context, APP, PROTOCOL).await?;
    lines::write(&mut stream, &request).await.map_err(|error| of_stream(&error))?;
    stream.shutdown().await.map_err(|error| of_stream(&error))?;
    let mut stream = BufReader::with_capacity(CHUNK, stream);
    let size = match lines::read::<Found>(&mut stream).await.map_err(|error| of_stream(&error))? {
        Some(Found::Size { size }) => size,
        Some(Found::Failed { error }) => return Err(not_fetched(&error, part, offset)),
        None => {
            return Err(CliError::failed(format!("the app {APP} did not answer"), "see `polypeer plugin logs files`"));
        }
    };
    let bar = progress_bar(context, size, offset, &link.name);
    let mut done = offset;
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = match stream.read(&mut buffer).await {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) => {
                bar.abandon();
                let kept = file.sync_all().map_or(0, |()| done);
                return Err(match why(context, session, &link.hash).await {
                    Some(reason) => not_fetched(&reason, part, kept),
                    None => not_fetched(&error.to_string(), part, kept),
                });
            }
        };
        tokio::task::block_in_place(|| {
            hasher.update(&buffer[..read]);
            file.write_all(&buffer[..read])
        })
        .map_err(|error| told(&error))?;
        done += read as u64;
        bar.set_position(done);
    }
    bar.finish_and_clear();
    if done < size {
        return Err(not_fetched("the app ended the stream early", part, done));
    }
    file.sync_all().map_err(|error| told(&error))?;
    let right = hasher.finalize().to_hex().as_str() == link.hash;
    Ok(if right { Attempt::Whole(done) } else { Attempt::OtherContent })
}

/// Hashes a file and leaves the position at its end. Returns its size, bytes.
fn hash_all(file: &mut File, hasher: &mut blake3::Hasher) -> std::io::Result<u64> {
    file.seek(SeekFrom::Start(0))?;
    hasher.update_reader(&mut *file)?;
    file.seek(SeekFrom::End(0))
}

/// Asks the app why it aborted the download.
async fn why(context: &Context, session: &Session, hash: &str) -> Option<String> {
    let mut stream = session.app(context, APP, PROTOCOL).await.ok()?;
    lines::write(&mut stream, &json!({ "op": "why", "hash": hash })).await.ok()?;
    stream.shutdown().await.ok()?;
    let answer: Option<Why> = lines::read(&mut BufReader::new(stream)).await.ok()?;
    answer.map(|answer| answer.error).filter(|error| !error.is_empty())
}

fn not_fetched(reason: &str, part: &Path, done: u64) -> CliError {
    let hint = match done {
        0 => "check that the node that offers the file is online, then run the same command again".to_owned(),
        done => format!("run the same command again: it resumes after the {done} bytes in {}", part.display()),
    };
    CliError::failed(format!("the download failed: {reason}"), hint)
}

/// Gives the finished file its name. Without `force` it never replaces another file, even one created meanwhile.
fn put_in_place(part: &Path, output: &Path, force: bool) -> Result<(), CliError> {
    let told = |error: std::io::Error| file_error("write", output, &error);
    if !force && !output.exists() {
        match std::fs::hard_link(part, output) {
            Ok(()) => return std::fs::remove_file(part).map_err(told),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Err(exists(output)),
            Err(_) => {} // A file system without hard links.
        }
    }
    std::fs::rename(part, output).map_err(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finished_file_gets_its_name_and_replaces_only_when_told() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (part, output) = (folder.path().join("a.part"), folder.path().join("a"));
        std::fs::write(&part, "new").expect("written");
        put_in_place(&part, &output, false).expect("in place");
        assert!(!part.exists() && std::fs::read(&output).expect("there") == b"new");
        std::fs::write(&part, "newer").expect("written");
        put_in_place(&part, &output, true).expect("replaced");
        assert_eq!(std::fs::read(&output).expect("there"), b"newer");
    }

    #[test]
    fn file_that_is_there_is_compared_with_the_link() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a");
        let hash = blake3::hash(b"hello");
        let link: FileLink = format!("polypeer-file:{}/a", hash.to_hex()).parse().expect("a link");
        assert_eq!(size_if_right(&path, &link), None, "there is none");
        std::fs::write(&path, "hello").expect("written");
        assert_eq!(size_if_right(&path, &link), Some(5));
        assert_eq!(size_if_right(&path, &FileLink { size: Some(5), ..link.clone() }), Some(5));
        assert_eq!(size_if_right(&path, &FileLink { size: Some(6), ..link.clone() }), None);
        assert_eq!(size_if_right(folder.path(), &link), None, "a folder");
        std::fs::write(&path, "hallo").expect("written");
        assert_eq!(size_if_right(&path, &link), None);
    }

    #[test]
    fn what_is_there_is_hashed_and_appended_to() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.part");
        std::fs::write(&path, "hello ").expect("written");
        let mut file = OpenOptions::new().read(true).write(true).open(&path).expect("opened");
        let mut hasher = blake3::Hasher::new();
        assert_eq!(hash_all(&mut file, &mut hasher).expect("hashed"), 6);
        file.write_all(b"world").expect("appended");
        hasher.update(b"world");
        assert_eq!(hasher.finalize(), blake3::hash(b"hello world"));
        assert_eq!(std::fs::read(&path).expect("read"), b"hello world");
    }
}
