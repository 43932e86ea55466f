//! Where a home and its pipes are on Windows. Pipes have names instead of paths, in one folder that every process may
//! list; so each daemon draws a random name for its control pipe and writes it into the home.

use std::path::PathBuf;

use data_encoding::HEXLOWER;

use super::{Home, HomeError, io, variable};

/// The folder of a user's data on this machine.
pub(super) fn data_folder() -> Option<PathBuf> {
    variable("LOCALAPPDATA").map(|data| data.join("Polypeer"))
}

/// Nobody: there is no sudo that changes the user.
pub(super) fn before_sudo() -> Option<(String, Home)> {
    None
}

/// Holds the name of the control pipe, for the commands.
fn pointer(home: &Home) -> PathBuf {
    home.run().join("control.pipe")
}

/// See [`Home::sockets`]: only what belongs to gateways is in it.
pub(super) fn sockets(home: &Home) -> PathBuf {
    home.run()
}

/// See [`Home::control_socket`]. Without a daemon, a name that nobody listens on.
pub(super) fn control_socket(home: &Home) -> PathBuf {
    let name = std::fs::read_to_string(pointer(home)).unwrap_or_default();
    PathBuf::from(if name.starts_with(r"\\.\pipe\") { name } else { r"\\.\pipe\polypeer-none".to_owned() })
}

/// See [`Home::metrics_socket`]: as hard to guess as the control pipe's name, which it begins with.
pub(super) fn metrics_socket(home: &Home) -> PathBuf {
    let mut name = control_socket(home).into_os_string();
    name.push("-metrics");
    name.into()
}

/// A pipe's name that nobody can know before: 128 random bits.
pub(crate) fn random_pipe_name() -> std::io::Result<PathBuf> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(format!(r"\\.\pipe\polypeer-{}", HEXLOWER.encode(&bits)).into())
}

/// Draws the name of the control pipe.
pub(super) fn place_sockets(home: &Home) -> Result<(), HomeError> {
    let pointer = pointer(home);
    let name = random_pipe_name().map_err(io("draw a name for", &pointer))?;
    std::fs::write(&pointer, name.as_os_str().as_encoded_bytes()).map_err(io("write", &pointer))
}

/// See [`Home::leave_sockets`].
pub(super) fn leave_sockets(home: &Home) {
    let _ = std::fs::remove_file(pointer(home)); // The next start replaces it.
}

/// See [`Home::check_sockets`]: nobody else can know the name before the daemon listens there.
pub(super) fn check_sockets(_home: &Home) -> Result<(), HomeError> {
    Ok(())
}
