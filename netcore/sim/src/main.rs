//! `polypeer-sim`: runs a scenario and tells its figures.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use polypeer_sim::scenarios::Scenario;

/// Tens of thousands of nodes are hundreds of millions of small pieces: a fifth of a run with the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Most nodes of a run: at some 160 KB each they would need more memory than most machines have beyond.
const MOST: usize = 200_000;
/// Fewest: below, there is no network.
const FEWEST: usize = 20;

/// Runs thousands of network cores in one thread and virtual time.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// steady, churn, partition, liars, sybil, eclipse, spam, gossip, or all of them one after another
    #[arg(long, default_value = "steady", value_parser = scenarios)]
    scenario: Chosen,
    /// How many honest nodes the network has at a time
    #[arg(long, default_value_t = 1000, value_parser = nodes)]
    nodes: usize,
    /// Everything random follows from it: the same seed, the same run
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// One JSON object a scenario on standard output instead of a table
    #[arg(long)]
    json: bool,
}

/// What `--scenario` stands for.
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
        let mut told = |what: &str, world: &polypeer_sim::world::World| {
            let minutes = world.time() / polypeer_sim::queue::MINUTE;
            let (nodes, events) = (world.population(), world.events());
            bar.set_message(format!("{what}: minute {minutes}, {nodes} nodes, {events} events"));
            bar.tick();
        };
        eprintln!("{} with {} nodes, seed {}", scenario.name(), arguments.nodes, arguments.seed);
        let figures = scenario.run(arguments.nodes, arguments.seed, &mut told);
        bar.finish_and_clear();
        if arguments.json {
            println!("{}", figures.json());
        } else {
            print!("{}", figures.table());
        }
    }
    ExitCode::SUCCESS
}

/// On standard error, and only for people.
fn progress() -> ProgressBar {
    let target =
        if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(None, target);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
        bar.set_style(style);
    }
    bar
}
