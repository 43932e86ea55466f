//! `polypeer-sim`: runs a scenario and prints its figures.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use polypeer_sim::scenarios::Scenario;

/// Tens of thousands of nodes make hundreds of millions of small allocations: with the system's allocator they take a
/// fifth of a run.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Most nodes of a run: at some 160 KB each, more would exceed the memory of most machines.
const MOST: usize = 200_000;
/// Fewest nodes of a run: fewer are no network.
const FEWEST: usize = 20;

/// Runs thousands of network cores in one thread and virtual time.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// steady, churn, partition, liars, sybil, eclipse, spam, gossip, or all of them one after another
    #[arg(long, default_value = "steady", value_parser = scenarios)]
    scenario: Chosen,
    /// Number of honest nodes at a time
    #[arg(long, default_value_t = 1000, value_parser = nodes)]
    nodes: usize,
    /// Random seed: the same seed gives the same run
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object per scenario on standard output instead of a table
    #[arg(long)]
    json: bool,
}

/// The scenarios that `--scenario` selects.
#[derive(Debug, Clone)]
struct Chosen(Vec<Scenario>);

fn scenarios(text: &str) -> Result<Chosen, String> {
    if text == "all" { Ok(Chosen(Scenario::ALL.to_vec())) } else { Ok(Chosen(vec![text.parse()?])) }
}

fn nodes(text: &str) -> Result<usize, String> {
    let number: usize = text.parse().map_err(|_| "expected a number".to_owned())?;
    if (FEWEST..=MOST).contains(&number) { Ok(number) } else { Err(format!("expected {FEWEST} to {MOST}")) }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    for scenario in arguments.scenario.0 {
        let bar = progress();
        let mut report = |what: &str, world: &polypeer_sim::world::World| {
            let minutes = world.time() / polypeer_sim::queue::MINUTE;
            let (nodes, events) = (world.population(), world.events());
            bar.set_message(format!("{what}: minute {minutes}, {nodes} nodes, {events} events"));
            bar.tick();
        };
        eprintln!("{} with {} nodes, seed {}", scenario.name(), arguments.nodes, arguments.seed);
        let figures = scenario.run(arguments.nodes, arguments.seed, &mut report);
        bar.finish_and_clear();
        if arguments.json {
            println!("{}", figures.json());
        } else {
            print!("{}", figures.table());
        }
    }
    ExitCode::SUCCESS
}

/// Makes the progress bar: on standard error, and only if that is a terminal.
fn progress() -> ProgressBar {
    let target =
        if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(None, target);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
        bar.set_style(style);
    }
    bar
}
