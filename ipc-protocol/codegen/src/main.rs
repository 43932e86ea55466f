//! Writes the generated files that are not what they should be, and names them. Called by `make generate`.

use std::process::ExitCode;

use polypeer_codegen::{Error, generate, repository};

fn main() -> ExitCode {
    match write() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot generate {error}");
            ExitCode::FAILURE
        }
    }
}

fn write() -> Result<(), Error> {
    for file in generate()? {
        let path = repository().join(file.path);
        if std::fs::read_to_string(&path).is_ok_and(|text| text == file.text) {
            continue;
        }
        std::fs::write(&path, file.text).map_err(|source| Error::Io { path, source })?;
        println!("generated {}", file.path);
    }
    Ok(())
}
