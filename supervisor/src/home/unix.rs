//! Where a home and its sockets are on Unix: the sockets in the home, or, as their paths are limited, in a private
//! folder elsewhere.

use std::path::{Path, PathBuf};

use super::{Existing, Home, HomeError, MAX_SOCKET_PATH, SOCKET_ROOM, check_private, io, private_folder, variable};

/// The folder of a user's data: `Library/Application Support` on macOS, the XDG folder elsewhere.
pub(super) fn data_folder() -> Option<PathBuf> {
    let data = variable("XDG_DATA_HOME").filter(|path| path.is_absolute() && !cfg!(target_os = "macos"));
    data.map(|data| data.join("polypeer")).or_else(|| variable("HOME").map(|user| below(&user)))
}

/// The usual place in a user's folder.
fn below(user: &Path) -> PathBuf {
    user.join(if cfg!(target_os = "macos") { "Library/Application Support/Polypeer" } else { ".local/share/polypeer" })
}

/// The person who became root by sudo, and the default home of that person.
pub(super) fn before_sudo() -> Option<(String, Home)> {
    let uid: u32 = std::env::var("SUDO_UID").ok()?.parse().ok()?;
    let person = nix::unistd::User::from_uid(uid.into()).ok()??;
    nix::unistd::geteuid().is_root().then(|| (person.name, Home::at(below(&person.dir))))
}

/// Says where the sockets are when they are not in [`Home::run`], since the environment of a later command may
/// differ from the daemon's.
fn pointer(home: &Home) -> PathBuf {
    home.run().join("sockets.path")
}

/// See [`Home::sockets`].
pub(super) fn sockets(home: &Home) -> PathBuf {
    let run = home.run();
    if run.as_os_str().len() + SOCKET_ROOM <= MAX_SOCKET_PATH {
        return run;
    }
    match std::fs::read_to_string(pointer(home)) {
        Ok(path) if path.starts_with('/') && path.len() + SOCKET_ROOM <= MAX_SOCKET_PATH => path.into(),
        _ => private_sockets(home.root()),
    }
}

fn private_sockets(root: &Path) -> PathBuf {
    let digest = blake3::hash(root.as_os_str().as_encoded_bytes()).to_hex();
    let name = &digest[..16];
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| {
        path.is_absolute()
            && path.as_os_str().len() + 26 + SOCKET_ROOM <= MAX_SOCKET_PATH
            && check_private(path).is_ok()
    });
    match own {
        Some(folder) => folder.join(format!("polypeer-{name}")),
        None => format!("/tmp/polypeer-{}-{name}", nix::unistd::geteuid()).into(),
    }
}

/// See [`Home::control_socket`].
pub(super) fn control_socket(home: &Home) -> PathBuf {
    home.sockets().join("control.sock")
}

/// See [`Home::metrics_socket`].
pub(super) fn metrics_socket(home: &Home) -> PathBuf {
    home.sockets().join("metrics.sock")
}

/// Makes the folder of the sockets.
pub(super) fn place_sockets(home: &Home) -> Result<(), HomeError> {
    let pointer = pointer(home);
    match std::fs::remove_file(&pointer) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io("remove", &pointer)(error)),
        _ => {}
    }
    let sockets = home.sockets();
    if sockets != home.run() {
        private_folder(&sockets, Existing::MustBePrivate)?;
        std::fs::write(&pointer, sockets.as_os_str().as_encoded_bytes()).map_err(io("write", &pointer))?;
    }
    Ok(())
}

/// See [`Home::leave_sockets`].
pub(super) fn leave_sockets(home: &Home) {
    let sockets = home.sockets();
    if sockets != home.run() {
        let _ = std::fs::remove_dir(sockets); // What is left there is somebody's, or tells what went wrong.
    }
}

/// See [`Home::check_sockets`].
pub(super) fn check_sockets(home: &Home) -> Result<(), HomeError> {
    check_private(&home.sockets())
}
