//! The command line as it is parsed and shown: the definition of [`Cli`], with examples, and with the options of every
//! command shown once, in the help of `polypeer` itself.

use clap::{Arg, Command, CommandFactory, FromArgMatches};

use super::Cli;

/// The last line of each command's help.
const EVERYWHERE: &str = "`polypeer --help` shows the options of every command: --home, --json, -q, -v.";
/// Examples by command, those below another one after a space. A test parses each.
const EXAMPLES: &[(&str, &[&str])] = &[
    ("run", &["polypeer run", "polypeer run --listen 0.0.0.0:7470 --no-lan"]),
    ("peers add", &["polypeer peers add polypeer:57qoabihqquxxceitojn3c83d8warxatraj8fdpm3cx7oxkjpq4y@192.0.2.7:7470"]),
    ("peers name", &["polypeer peers name 57qoabih ann"]),
    ("peers ping", &["polypeer peers ping ann"]),
    ("plugin install", &["polypeer plugin install ./guestbook", "polypeer plugin install --yes ./guestbook"]),
    ("plugin limit", &["polypeer plugin limit chat", "polypeer plugin limit chat memory=512MiB cpu=default"]),
    ("plugin grants", &["polypeer plugin grants guestbook --peers list --add-peer ann"]),
    ("plugin logs", &["polypeer plugin logs chat -f"]),
    ("pipe", &["polypeer pipe ann echo/1"]),
    ("serve", &["polypeer serve upper/1 -- tr a-z A-Z"]),
    ("send", &["polypeer send holiday.jpg"]),
    ("get", &["polypeer get LINK -o holiday.jpg"]),
    ("chat", &["polypeer chat ann"]),
    ("doctor", &["polypeer doctor", "polypeer doctor ann"]),
    ("top", &["polypeer top", "polypeer top --json --samples 10 --every 5"]),
];

/// Parses the arguments of this process.
///
/// # Errors
/// When they are wrong, or ask for help or the version.
pub(super) fn parse() -> Result<Cli, clap::Error> {
    Cli::from_arg_matches(&command().try_get_matches()?)
}

fn command() -> Command {
    let command = Cli::command();
    let options = command.get_arguments().filter(|option| option.is_global_set());
    let hidden: Vec<Arg> = options.map(|option| option.clone().hide(true)).collect();
    command.mut_subcommands(|below| refined(below, "", &hidden))
}

/// A command, and those below it, with examples and without the options of every command.
fn refined(command: Command, above: &str, hidden: &[Arg]) -> Command {
    let path = format!("{above} {}", command.get_name()).trim().to_owned();
    let mut text: Vec<String> = command.get_after_help().map(ToString::to_string).into_iter().collect();
    if let Some((_, examples)) = EXAMPLES.iter().find(|(of, _)| *of == path) {
        let heading = if examples.len() == 1 { "Example" } else { "Examples" };
        text.push(format!("{heading}:\n  {}", examples.join("\n  ")));
    }
    text.push(EVERYWHERE.to_owned());
    // An option that a command has already is not handed down to it.
    let command = command.args(hidden.iter().cloned()).after_help(text.join("\n\n"));
    command.mut_subcommands(|below| refined(below, &path, hidden))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help_of(path: &str) -> String {
        let arguments = ["polypeer"].into_iter().chain(path.split(' ')).chain(["--help"]);
        command().try_get_matches_from(arguments).expect_err("help is no match").to_string()
    }

    #[test]
    fn every_example_is_understood_and_shown() {
        for (path, examples) in EXAMPLES {
            for example in *examples {
                let link = format!("polypeer-file:{}/holiday.jpg", "0".repeat(64));
                let arguments = example.split(' ').map(|word| if word == "LINK" { link.as_str() } else { word });
                let matches =
                    command().try_get_matches_from(arguments).unwrap_or_else(|error| panic!("{example}: {error}"));
                Cli::from_arg_matches(&matches).unwrap_or_else(|error| panic!("{example}: {error}"));
                assert!(help_of(path).contains(example), "{example} in the help of {path}");
            }
        }
    }

    #[test]
    fn options_of_every_command_are_understood_everywhere_and_shown_once() {
        for path in ["status", "plugin info", "peers name"] {
            let help = help_of(path);
            assert!(!help.contains("--home <DIR>") && help.contains(EVERYWHERE), "{help}");
        }
        let all = command().render_help().to_string();
        assert!(all.contains("--home <DIR>") && all.contains("--json"), "{all}");
        for line in ["polypeer --home /x --json plugin list", "polypeer plugin list --json --home=/x"] {
            let matches = command().try_get_matches_from(line.split(' ')).expect("understood");
            let cli = Cli::from_arg_matches(&matches).expect("understood");
            assert!(cli.global.json && cli.global.home.as_deref() == Some("/x".as_ref()), "{line}");
        }
    }
}
