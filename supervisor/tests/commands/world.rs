//! A temporary installation (the program, a fake network core beside it) and homes to run commands on.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long anything may take; a healthy machine never gets near it.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a command did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    /// The one document on stdout.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).expect("stdout is one JSON document")
    }

    /// Exit code, stdout and stderr as one text, to compare with.
    pub(crate) fn snapshot(&self) -> String {
        format!("{}\n--- out\n{}--- err\n{}", self.code, self.out, self.err)
    }

    /// Fails unless the command failed with this code, one error and one hint, and nothing on stdout.
    #[track_caller]
    pub(crate) fn refused(&self, code: i32, fragments: &[&str]) {
        assert_eq!((self.code, self.out.as_str()), (code, ""), "{self:?}");
        assert_eq!(self.err.matches("error: ").count(), 1, "{self:?}");
        let last = self.err.trim_end().lines().last().unwrap_or_default();
        assert!(last.starts_with("hint: ") && last.len() > 12, "{self:?}");
        for fragment in fragments {
            assert!(self.err.contains(fragment), "{fragment:?} in {self:?}");
        }
    }
}

/// An installation and one home.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) home: PathBuf,
    program: PathBuf,
    daemon: Option<Child>,
    _bin: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("pp-").tempdir().expect("a temporary folder");
        // A link and no copy: a program that was written a moment ago may be open for writing in another test's child,
        // and then cannot be run. In the folder of the build, as links do not cross file systems.
        let bin = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
        let program = bin.path().join("polypeer");
        fs::hard_link(env!("CARGO_BIN_EXE_polypeer"), &program).expect("the program");
        let fake = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/fake_netcore.py");
        symlink(fake, bin.path().join("polypeer-netcore")).expect("the fake network core");
        let home = folder.path().join("home");
        Self { folder, home, program, daemon: None, _bin: bin }
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("POLYPEER_HOME", &self.home).stdin(Stdio::null());
        // Whoever runs the tests may have these; a test that is about one sets it.
        for looked_at in ["CI", "CLICOLOR_FORCE", "JOURNAL_STREAM", "NO_COLOR", "NOTIFY_SOCKET", "SUDO_UID"] {
            command.env_remove(looked_at);
        }
        command
    }

    /// Runs a command to its end. Paths of this world are replaced, so that output can be compared.
    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        self.finish(self.command(arguments).output().expect("the program runs"))
    }

    /// Runs a command again and again until what it does is as it should be.
    pub(crate) fn until(&self, arguments: &[&str], right: impl Fn(&Done) -> bool) -> Done {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let done = self.run(arguments);
            if right(&done) {
                return done;
            }
            assert!(Instant::now() < deadline, "{done:?}");
        }
    }

    /// As [`Self::run`], for a command made by [`Self::command`].
    pub(crate) fn finish(&self, output: Output) -> Done {
        let text = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).expect("output is text");
            text.replace(&self.folder.path().display().to_string(), "FOLDER")
        };
        Done { code: output.status.code().expect("an exit code"), out: text(output.stdout), err: text(output.stderr) }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("daemon.log")).unwrap_or_default()
    }

    /// Starts the daemon and waits until it is ready.
    pub(crate) fn start(&mut self) {
        self.start_with(|_| {});
    }

    pub(crate) fn start_with(&mut self, adjust: impl FnOnce(&mut Command)) {
        let log = fs::File::create(self.folder.path().join("daemon.log")).expect("a log");
        let mut command = self.command(&["run"]);
        adjust(&mut command);
        self.daemon = Some(command.stdout(Stdio::null()).stderr(log).spawn().expect("the daemon starts"));
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains("is ready") {
            let ended = self.daemon.as_mut().expect("just started").try_wait().expect("a child of ours");
            assert!(ended.is_none() && Instant::now() < deadline, "not ready:\n{}", self.log());
            std::thread::yield_now();
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.daemon.as_ref().expect("it runs").id().try_into().expect("a pid")
    }

    /// Waits for the daemon's end; its exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.daemon.take().expect("it was started").wait().expect("a child of ours").code()
    }

    /// Writes a plugin's folder: a shell script and its manifest, to which `more` is added.
    pub(crate) fn plugin(&self, id: &str, script: &str, more: &str) -> String {
        let folder = self.folder.path().join(format!("source-{id}"));
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("main.sh"), script).expect("a script");
        let manifest = format!("[plugin]\nid = {id:?}\nversion = \"1.2.3\"\ncommand = [\"sh\", \"main.sh\"]\n{more}");
        fs::write(folder.join("plugin.toml"), manifest).expect("a manifest");
        folder.display().to_string()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(daemon.id().try_into().expect("a pid")),
                nix::sys::signal::Signal::SIGTERM,
            );
            let _ = daemon.wait();
        }
    }
}
