//! Where the programs are that the supervisor starts.

use std::io;
use std::path::{Path, PathBuf};

/// Paths of what is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// This program, for inits and the reaper.
    pub polypeer: PathBuf,
    /// The network core.
    pub netcore: PathBuf,
    /// The folder with `sdk-python/`, if there is one.
    pub share: Option<PathBuf>,
}

impl Programs {
    /// Beside the running program: netcore in its folder, the share folder where an installation or a source tree has
    /// it.
    ///
    /// # Errors
    /// When the system does not say where this program is.
    pub fn find() -> io::Result<Self> {
        let own = std::env::current_exe()?;
        let folder = own.parent().unwrap_or(Path::new("/"));
        let share = share_folder(folder);
        // The link stays right when the file is replaced while we run; what a new init says must fit what we are.
        let polypeer = if cfg!(target_os = "linux") { PathBuf::from("/proc/self/exe") } else { own.clone() };
        Ok(Self { polypeer, netcore: folder.join("polypeer-netcore"), share })
    }
}

/// The first of `<folder>/../share/polypeer` and `<folder>/../..` that has `sdk-python`.
pub fn share_folder(folder: &Path) -> Option<PathBuf> {
    let candidates = [folder.join("../share/polypeer"), folder.join("../..")];
    candidates.into_iter().find(|path| path.join("sdk-python").is_dir()).and_then(|path| path.canonicalize().ok())
}
