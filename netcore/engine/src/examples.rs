//! The hex examples of `PROTOCOL.md`, which tests compare with the code.

use std::collections::BTreeMap;

/// The bytes of each block ```` ```hex NAME ````, by name; `#` begins a comment.
pub(crate) fn examples() -> BTreeMap<&'static str, Vec<u8>> {
    let text = include_str!("../../PROTOCOL.md");
    let mut examples = BTreeMap::new();
    for block in text.split("```hex ").skip(1) {
        let (name, rest) = block.split_once('\n').unwrap();
        let (body, _) = rest.split_once("```").unwrap();
        let digits: String = body.lines().flat_map(|line| [line.split('#').next().unwrap_or(line), " "]).collect();
        let bytes = digits.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        assert!(examples.insert(name.trim(), bytes).is_none(), "{name} twice");
    }
    examples
}
