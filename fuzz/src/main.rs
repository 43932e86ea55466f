//! `polypeer-fuzz`: runs fuzz targets by hand.

use std::path::Path;
use std::process::ExitCode;

use data_encoding::HEXLOWER_PERMISSIVE;
use polypeer_fuzz::{TARGETS, Target, run};

const USAGE: &str = "polypeer-fuzz list                        the targets
polypeer-fuzz smoke [TARGET [ROUNDS [SEED]]]  random inputs, of all targets or one
polypeer-fuzz input TARGET HEX            one input, such as that of a crash
polypeer-fuzz file TARGET FILE            one input from a file, such as libFuzzer's
polypeer-fuzz seeds TARGET DIR            writes the seeds, one file each";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match command(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn command(arguments: &[&str]) -> Result<(), String> {
    match arguments {
        ["list"] => {
            for target in TARGETS {
                println!("{}", target.name);
            }
            Ok(())
        }
        ["smoke"] => TARGETS.iter().try_for_each(|target| smoke(target, target.rounds, 1)),
        ["smoke", name, rest @ ..] => {
            let target = find(name)?;
            let rounds = number(rest.first(), u64::from(target.rounds))?;
            smoke(target, u32::try_from(rounds).unwrap_or(u32::MAX), number(rest.get(1), 1)?)
        }
        ["input", name, hex] => {
            let input = HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).map_err(|error| error.to_string())?;
            (find(name)?.run)(&input);
            Ok(())
        }
        ["file", name, path] => {
            let input = std::fs::read(path).map_err(|error| format!("cannot read {path}: {error}"))?;
            (find(name)?.run)(&input);
            Ok(())
        }
        ["seeds", name, folder] => seeds(find(name)?, Path::new(folder)).map_err(|error| format!("{folder}: {error}")),
        _ => Err(USAGE.to_owned()),
    }
}

fn find(name: &str) -> Result<&'static Target, String> {
    TARGETS
        .iter()
        .find(|target| target.name == name)
        .ok_or_else(|| format!("no target {name}; see: polypeer-fuzz list"))
}

fn number(text: Option<&&str>, default: u64) -> Result<u64, String> {
    text.map_or(Ok(default), |text| text.parse().map_err(|_| format!("{text} is not a number")))
}

fn smoke(target: &Target, rounds: u32, seed: u64) -> Result<(), String> {
    println!("{}: {rounds} inputs, seed {seed}", target.name);
    run::smoke(target, rounds, seed).map_err(|crash| crash.to_string())
}

fn seeds(target: &Target, folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (number, seed) in (target.seeds)().iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{number:03}")), seed)?;
    }
    Ok(())
}
