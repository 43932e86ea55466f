//! Writes the stale files among the generated ones, and prints their names. `make generate` runs it.

use std::process::ExitCode;

use polypeer_codegen::{Error, File, generate, repository};

fn main() -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for file in generate() {
        if let Err(error) = write(file) {
            eprintln!("cannot generate {error}");
            code = ExitCode::FAILURE;
        }
    }
    code
}

fn write(File { path: name, text }: File) -> Result<(), Error> {
    let (path, text) = (repository().join(name), text?);
    if std::fs::read_to_string(&path).is_ok_and(|before| before == text) {
        return Ok(());
    }
    std::fs::write(&path, text).map_err(|source| Error::Io { path, source })?;
    println!("generated {name}");
    Ok(())
}
