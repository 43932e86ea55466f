//! The node's identity: its Ed25519 key pair, stored in `identity.key`. The public key is the node id.
//!
//! The file is one line: `polypeer-identity-1 ` and the 32-byte seed of the key as 64 hex digits. It is created once,
//! readable by its owner only, and never overwritten. A damaged file, or one that others can read, is an error: with a
//! new key this node would be a stranger to all its peers. [`crate::transport`] signs handshakes with the key.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use polypeer_ipc_protocol::ids::NodeId;
use ring::signature::{Ed25519KeyPair, KeyPair};

mod keys;
#[cfg(unix)]
#[path = "identity/unix.rs"]
mod platform;
#[cfg(windows)]
#[path = "identity/windows.rs"]
mod platform;

use crate::random;
pub(crate) use platform::make_private;

/// The prefix of the file, with the version of its format.
const PREFIX: &str = "polypeer-identity-1 ";
/// Bytes of the file: prefix, 64 digits, newline. A longer file is malformed.
const FILE_BYTES: usize = PREFIX.len() + 64 + 1;
/// PKCS #8 version 1 of an Ed25519 seed, up to the seed itself (RFC 8410, section 7).
const PKCS8_PREFIX: [u8; 16] = [48, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 112, 4, 34, 4, 32];

/// Why the identity cannot be used. Every text ends in a remedy.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file exists, but this user may not read it.
    #[error("read the identity key {}: permission denied; run as the user that owns it", path.display())]
    Denied { path: PathBuf },
    /// The file could not be read or created, for another reason.
    #[error("{action} the identity key {}: {source}; check the folder and the disk", path.display())]
    Io {
        /// `read` or `create`.
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// It is a symbolic link, which could make this node use or reveal somebody else's file.
    #[error("use the identity key {}: it is a symbolic link; put the file itself there", path.display())]
    Link { path: PathBuf },
    /// It is a folder, a device or a pipe.
    #[error("use the identity key {}: it is not a regular file; move it away", path.display())]
    NotAFile { path: PathBuf },
    /// It belongs to another user, who could change it.
    #[error("use the identity key {}: it belongs to user {owner}; run as that user, or chown it", path.display())]
    NotOurs {
        path: PathBuf,
        /// The user id of its owner.
        owner: u32,
    },
    /// Its group or others may read or write it.
    #[error(
        "use the identity key {}: others can read it (mode {mode:03o}); run chmod 600 on it, \
         or move it away for a new identity if somebody may have copied it", path.display()
    )]
    Exposed {
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is not in the format that the module describes.
    #[error(
        "use the identity key {}: {problem}; restore it from a backup, or move it away for a new identity",
        path.display()
    )]
    Corrupt { path: PathBuf, problem: &'static str },
}

/// A node's key pair.
pub struct Identity {
    seed: [u8; 32],
    pair: Ed25519KeyPair,
    node: NodeId,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Identity").field(&self.node).finish()
    }
}

impl Identity {
    /// Reads the key at `path`, or creates one if there is no file. Two processes that start at once get the same key.
    pub fn load_or_create(path: &Path) -> Result<Self, IdentityError> {
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create(path, &random::bytes())?;
                Self::load(path)
            }
            _ => Self::load(path),
        }
    }

    /// Reads the key at `path`.
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        let text = platform::read_private(path, FILE_BYTES)?;
        let seed = parse(&text).map_err(|problem| IdentityError::Corrupt { path: path.to_owned(), problem })?;
        Ok(Self::from_seed(seed))
    }

    /// Creates a random key, which is not stored.
    pub fn generate() -> Self {
        Self::from_seed(random::bytes())
    }

    /// Creates the key pair of an Ed25519 seed.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("every 32 bytes are an Ed25519 seed");
        let public = pair.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes");
        Self { seed, pair, node: NodeId(public) }
    }

    /// The node id: the public key.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// An Ed25519 signature of `message`, 64 bytes.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }

    /// The private key in the form that a TLS library reads (PKCS #8, version 1).
    pub(crate) fn pkcs8(&self) -> Vec<u8> {
        [PKCS8_PREFIX.as_slice(), &self.seed].concat()
    }

    /// Derives a secret of this node for one `purpose`; it is the same after every restart.
    pub(crate) fn derive(&self, purpose: &str) -> [u8; 32] {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &self.seed);
        let tag = ring::hmac::sign(&key, purpose.as_bytes());
        tag.as_ref().try_into().expect("HMAC-SHA256 gives 32 bytes")
    }
}

fn parse(text: &[u8]) -> Result<[u8; 32], &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    let digits = text.strip_prefix(PREFIX.as_bytes()).ok_or("it does not start with polypeer-identity-1")?;
    let digits = digits.strip_suffix(b"\n").unwrap_or(digits);
    let seed = HEXLOWER.decode(digits).map_err(|_| "what follows is not 64 hexadecimal digits")?;
    seed.try_into().map_err(|_| "what follows is not 64 hexadecimal digits")
}

/// Creates the file: writes it under another name, then links it to `path`. If `path` exists by then, it stays as it
/// is, and is the identity.
fn create(path: &Path, seed: &[u8; 32]) -> Result<(), IdentityError> {
    let failed = |source| IdentityError::Io { action: "create", path: path.to_owned(), source };
    let folder = path.parent().unwrap_or(Path::new("."));
    let name: [u8; 8] = random::bytes();
    let temporary = folder.join(format!(".identity-{}.tmp", HEXLOWER.encode(&name)));
    let result = write_whole(&temporary, seed).and_then(|()| match fs::hard_link(&temporary, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    fs::remove_file(&temporary).ok();
    result.and_then(|()| platform::sync_folder(folder)).map_err(failed)
}

fn write_whole(path: &Path, seed: &[u8; 32]) -> io::Result<()> {
    let mut file: File = platform::create_private(path)?;
    file.write_all(format!("{PREFIX}{}\n", HEXLOWER.encode(seed)).as_bytes())?;
    file.sync_all()
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn written(content: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("identity.key");
        fs::write(&path, content).expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
        (folder, path)
    }

    fn good() -> String {
        format!("{PREFIX}{}\n", "07".repeat(32))
    }

    #[test]
    fn first_start_makes_a_private_key_and_the_next_ones_read_it() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("identity.key");
        let node = Identity::load_or_create(&path).expect("created").node();
        assert_eq!(Identity::load_or_create(&path).expect("read").node(), node);
        assert_eq!(fs::metadata(&path).expect("metadata").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).expect("list").count(), 1, "a temporary file was left");
    }

    #[test]
    fn key_that_appears_meanwhile_is_kept() {
        let (_folder, path) = written(&good(), 0o600);
        create(&path, &[9; 32]).expect("no error");
        assert_eq!(fs::read_to_string(&path).expect("read"), good());
    }

    #[test]
    fn key_others_can_read_is_refused_with_its_mode() {
        for mode in [0o640, 0o604, 0o660, 0o644] {
            let (_folder, path) = written(&good(), mode);
            match Identity::load_or_create(&path) {
                Err(error @ IdentityError::Exposed { .. }) => {
                    let text = error.to_string();
                    assert!(text.contains(&format!("{mode:o}")) && text.contains("chmod 600"), "{text}");
                }
                other => panic!("{mode:o}: {other:?}"),
            }
        }
    }

    #[test]
    fn key_behind_a_link_is_refused() {
        let (folder, path) = written(&good(), 0o600);
        let link = folder.path().join("link.key");
        symlink(&path, &link).expect("symlink");
        assert!(matches!(Identity::load_or_create(&link), Err(IdentityError::Link { .. })));
        let dangling = folder.path().join("dangling.key");
        symlink(folder.path().join("nowhere"), &dangling).expect("symlink");
        assert!(matches!(Identity::load_or_create(&dangling), Err(IdentityError::Link { .. })));
    }

    #[test]
    fn damaged_key_is_refused_and_left_as_it_is() {
        let long = format!("{}x", good());
        for content in ["", "garbage", PREFIX, &good()[..40], &good().replace("07", "0g"), &long] {
            let (_folder, path) = written(content, 0o600);
            assert!(matches!(Identity::load_or_create(&path), Err(IdentityError::Corrupt { .. })), "{content:?}");
            assert_eq!(fs::read_to_string(&path).expect("read"), content);
        }
    }

    #[test]
    fn folder_in_the_place_of_the_key_is_refused() {
        let folder = tempfile::tempdir().expect("temporary folder");
        assert!(matches!(Identity::load_or_create(folder.path()), Err(IdentityError::NotAFile { .. })));
    }

    #[test]
    fn missing_folder_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("nowhere/identity.key");
        let error = Identity::load_or_create(&path).expect_err("no folder");
        assert!(error.to_string().contains("nowhere/identity.key"), "{error}");
    }

    #[test]
    fn key_of_another_user_or_without_permission_is_refused() {
        let (_folder, path) = written(&good(), 0o600);
        if !nix::unistd::geteuid().is_root() {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("chmod");
            assert!(matches!(Identity::load_or_create(&path), Err(IdentityError::Denied { .. })));
            return;
        }
        std::os::unix::fs::chown(&path, Some(12345), None).expect("chown");
        assert!(matches!(Identity::load_or_create(&path), Err(IdentityError::NotOurs { owner: 12345, .. })));
    }

    #[test]
    fn node_id_is_the_public_key_of_rfc_8032_test_1() {
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let seed = HEXLOWER.decode(seed.as_bytes()).expect("hex").try_into().expect("32 bytes");
        assert_eq!(HEXLOWER.encode(&Identity::from_seed(seed).node().0), public);
    }
}
