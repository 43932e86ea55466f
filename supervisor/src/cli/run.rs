//! `polypeer run`: the daemon in the foreground, with the options of the command line over `config.toml`.

use super::Context;
use super::args::Run;
use crate::cli_error::CliError;
use crate::config::{DaemonConfig, MAX_LISTEN};
use crate::daemon;
use crate::home::Home;

pub(super) async fn run(context: Context, options: Run) -> Result<(), CliError> {
    context.home.prepare()?;
    let config = configure(&context.home, options)?;
    daemon::run(context.home, config, &context.printer).await
}

fn configure(home: &Home, options: Run) -> Result<DaemonConfig, CliError> {
    let mut config = DaemonConfig::load(home)?;
    if options.listen.len() > MAX_LISTEN {
        return Err(CliError::usage("too many addresses to listen on", "use 0.0.0.0 and [::] for every interface"));
    }
    if !options.listen.is_empty() {
        config.listen = options.listen;
    }
    config.lan &= !options.no_lan;
    config.seed_only = options.seed_only;
    Ok(config)
}
