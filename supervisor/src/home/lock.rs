//! The lock of a home: `run/daemon.lock`, locked as long as its daemon runs, with the daemon's pid in it. It alone says
//! whether a daemon runs; the system releases it however the daemon ends.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use same_file::Handle;

use super::{Home, HomeError, io};
use crate::files;

/// How long a new daemon tries: a command that looks for a daemon holds the lock for a moment.
const PATIENCE: Duration = Duration::from_millis(500);
/// Interval of the attempts.
const AGAIN: Duration = Duration::from_millis(25);

/// The lock of a home.
#[derive(Debug)]
pub struct HomeLock {
    file: File,
}

impl HomeLock {
    /// Locks a home.
    ///
    /// # Errors
    /// When another daemon has locked it.
    pub(super) fn take(home: &Home) -> Result<Self, HomeError> {
        let path = home.lock_file();
        let until = Instant::now() + PATIENCE;
        let mut options = files::private_file();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).open(&path).map_err(io("open", &path))?;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < until => std::thread::sleep(AGAIN),
                Err(TryLockError::WouldBlock) => {
                    return Err(HomeError::Running { pid: pid_in(&mut file), root: home.root().into() });
                }
                Err(TryLockError::Error(source)) => return Err(io("lock", &path)(source)),
            }
        }
        let mut write = || {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write().map_err(io("write", &path))?;
        Ok(Self { file })
    }

    /// Whether the locked file is that of the home still.
    pub fn is_ours(&self, home: &Home) -> bool {
        let ours = self.file.try_clone().and_then(Handle::from_file);
        matches!((ours, Handle::from_path(home.lock_file())), (Ok(ours), Ok(found)) if ours == found)
    }

    /// Locks the home again if somebody has removed the locked file, which otherwise would let a second daemon in.
    ///
    /// # Errors
    /// When another daemon has locked it meanwhile, or the file cannot be created.
    pub fn renew(&mut self, home: &Home) -> Result<(), HomeError> {
        if !self.is_ours(home) {
            super::private_folder(&home.run(), super::Existing::Tighten)?;
            *self = Self::take(home)?;
        }
        Ok(())
    }
}

/// Who has locked the file: a pid, if it can be read. `None` when nobody has.
pub(super) fn holder(path: &Path) -> Option<Option<u32>> {
    let mut file = File::open(path).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some(pid_in(&mut file)),
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

fn pid_in(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(20).read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok())
}
