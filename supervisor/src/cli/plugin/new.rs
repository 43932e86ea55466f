//! `polypeer plugin new`: writes a small working plugin, from the templates of `contrib/templates/`.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use polypeer_ipc_protocol::ids::PluginId;
use serde_json::json;

use super::super::Context;
use crate::cli_error::CliError;
use crate::files;
use crate::supervise::Programs;

/// The id in the templates.
const TEMPLATE_ID: &str = "my-plugin";
/// Where the Go template looks for the SDK.
const TEMPLATE_SDK: &str = "../../../sdk-go";

/// The files of a template: names and contents.
type Template = &'static [(&'static str, &'static str)];

macro_rules! template {
    ($folder:literal: $($name:literal),+) => {
        &[$(($name, include_str!(concat!("../../../../contrib/templates/", $folder, "/", $name)))),+]
    };
}

const PYTHON: Template = template!("python": "plugin.toml", "main.py");
const GO: Template = template!("go": "plugin.toml", "go.mod", "main.go");

/// Write a small working plugin to start from
#[derive(Debug, Args)]
pub(super) struct New {
    /// Language to write it in
    #[arg(long, value_name = "LANGUAGE")]
    lang: Language,
    /// Plugin id: 2 to 40 of a-z, 0-9 and -
    id: PluginId,
    /// Folder to make [default: the id, in the current folder]
    folder: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Language {
    Python,
    Go,
}

impl New {
    pub(super) fn run(self, context: &Context) -> Result<(), CliError> {
        let folder = self.folder.unwrap_or_else(|| self.id.as_str().into());
        let lib = Programs::find().ok().and_then(|programs| programs.lib);
        let sdk = lib.map(|lib| lib.join(self.lang.sdk())).filter(|sdk| sdk.is_dir()).ok_or_else(|| {
            let message = format!("the folder {} of the SDK is not beside this program", self.lang.sdk());
            CliError::failed(message, "run the program where it was built or installed; see docs/operating.md")
        })?;
        let files = self.lang.files(&self.id, &sdk);
        write(&folder, &files)?;
        if context.printer.json {
            let names: Vec<_> = files.iter().map(|(name, _)| name).collect();
            return context.printer.document(&json!({ "id": self.id, "folder": folder, "files": names, "sdk": sdk }));
        }
        let steps = next_steps(self.lang, &self.id, &folder, &sdk, |words| context.printer.command(words));
        context.printer.data(&steps)
    }
}

impl Language {
    /// The folder of its SDK, in the folder of shared files.
    fn sdk(self) -> &'static str {
        match self {
            Self::Python => "sdk-python",
            Self::Go => "sdk-go",
        }
    }

    /// The template's files for a plugin of this id.
    fn files(self, id: &PluginId, sdk: &Path) -> Vec<(&'static str, String)> {
        let template = if self == Self::Go { GO } else { PYTHON };
        let filled = |text: &str| {
            text.replace(TEMPLATE_ID, id.as_str()).replace(TEMPLATE_SDK, &format!("{:?}", sdk.display().to_string()))
        };
        template.iter().map(|(name, text)| (*name, filled(text))).collect()
    }
}

/// Writes the files into a new or empty folder.
fn write(folder: &Path, files: &[(&str, String)]) -> Result<(), CliError> {
    let failed = |action: &str, path: &Path, error: std::io::Error| {
        let message = format!("failed to {action} {}: {error}", path.display());
        CliError::failed(message, "check the owner and the permissions of the folder above it")
    };
    std::fs::create_dir_all(folder).map_err(|error| failed("make", folder, error))?;
    let mut entries = std::fs::read_dir(folder).map_err(|error| failed("read", folder, error))?;
    if entries.next().is_some() {
        let message = format!("{} is not empty", folder.display());
        return Err(CliError::usage(
            message,
            "name a folder that does not exist yet: `polypeer plugin new … ID FOLDER`",
        ));
    }
    for (name, text) in files {
        let path = folder.join(name);
        let file = files::program_file(false).write(true).create_new(true).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| failed("write", &path, error))?;
    }
    Ok(())
}

/// What to type next.
fn next_steps(
    language: Language,
    id: &PluginId,
    folder: &Path,
    sdk: &Path,
    command: impl Fn(&str) -> String,
) -> String {
    let shown = folder.display();
    let mut steps = Vec::new();
    if language == Language::Go {
        steps.push(format!("(cd {shown} && go build -o {id} .)"));
    }
    steps.push(command(&format!("plugin install --link {shown}")));
    steps.push(format!("echo Ada | {}", command(&format!("request local {id}/1"))));
    steps.push(command(&format!("plugin logs {id} -f")));
    let restart = command(&format!("plugin restart {id}"));
    let again = if language == Language::Go { "build it again, then " } else { "" };
    format!(
        "made {shown}; next:\n  {}\nafter an edit: {again}{restart}\nfor your editor, the SDK is in {}",
        steps.join("\n  "),
        sdk.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Manifest;

    fn id() -> PluginId {
        "guestbook".parse().expect("an id")
    }

    #[test]
    fn filled_templates_have_the_id_everywhere_and_a_valid_manifest() {
        for language in Language::value_variants() {
            let files = language.files(&id(), Path::new("/usr/lib/polypeer/sdk"));
            assert!(files.iter().all(|(_, text)| !text.contains(TEMPLATE_ID) && !text.contains(TEMPLATE_SDK)));
            let manifest = Manifest::parse(Path::new("plugin.toml"), &files[0].1).expect("valid");
            assert_eq!((manifest.plugin.id, manifest.permissions.serve.0.len()), (id(), 1));
        }
        let go = Language::Go.files(&id(), Path::new("/with space/sdk-go"));
        assert!(go[1].1.contains("replace polypeer => \"/with space/sdk-go\""), "{}", go[1].1);
    }

    #[test]
    fn next_steps_are_about_the_node_that_was_named() {
        let home = crate::home::Home::at("/x y");
        let steps = next_steps(Language::Go, &id(), Path::new("g"), Path::new("/sdk"), |words| home.command(words));
        assert_eq!(
            (steps.matches("polypeer --home '/x y' ").count(), steps.matches("polypeer ").count()),
            (4, 4),
            "{steps}"
        );
    }

    #[test]
    fn folder_with_something_in_it_is_left_alone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files = Language::Python.files(&id(), Path::new("/sdk"));
        write(&folder.path().join("new"), &files).expect("written");
        let error = write(&folder.path().join("new"), &files).expect_err("refused");
        assert!(error.message.contains("is not empty"), "{error}");
    }
}
