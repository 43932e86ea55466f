//! libFuzzer's coverage-guided search over one target, named by the environment variable `POLYPEER_FUZZ_TARGET`.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use polypeer_fuzz::{TARGETS, Target};

fn target() -> &'static Target {
    static TARGET: OnceLock<&'static Target> = OnceLock::new();
    TARGET.get_or_init(|| {
        let wanted = std::env::var("POLYPEER_FUZZ_TARGET").unwrap_or_default();
        TARGETS.iter().find(|target| target.name == wanted).unwrap_or_else(|| {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            eprintln!("POLYPEER_FUZZ_TARGET must be one of: {}", names.join(" "));
            std::process::exit(2);
        })
    })
}

fuzz_target!(|input: &[u8]| (target().run)(input));
