//! Paths of the programs that the supervisor starts.

use std::io;
use std::path::{Path, PathBuf};

/// Paths of the programs and the folder of what is installed beside them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// The program `polypeer`, for inits and the reaper.
    pub polypeer: PathBuf,
    /// The network core.
    pub netcore: PathBuf,
    /// The folder of `sdk-python/`, `sdk-go/` and `contrib/apps/`, if it exists.
    pub lib: Option<PathBuf>,
}

impl Programs {
    /// Finds the programs from the path of the running one: netcore in its folder, `lib` where an installation
    /// or a source tree has it.
    ///
    /// # Errors
    /// When the system does not report the path of the running program.
    pub fn find() -> io::Result<Self> {
        let own = std::env::current_exe()?;
        let folder = own.parent().unwrap_or(Path::new("/"));
        let lib = lib_folder(folder);
        // The link stays valid when the file is replaced while this process runs. An init must be of the same version.
        let polypeer = if cfg!(target_os = "linux") { PathBuf::from("/proc/self/exe") } else { own.clone() };
        Ok(Self { polypeer, netcore: folder.join("polypeer-netcore"), lib })
    }
}

/// The first of `<folder>/../lib/polypeer` (installed) and `<folder>/../..` (built) that has `sdk-python`. Not
/// `../share/polypeer`: below `~/.local` that is the home of the user's node.
pub fn lib_folder(folder: &Path) -> Option<PathBuf> {
    let candidates = [folder.join("../lib/polypeer"), folder.join("../..")];
    candidates.into_iter().find(|path| path.join("sdk-python").is_dir()).and_then(|path| path.canonicalize().ok())
}
