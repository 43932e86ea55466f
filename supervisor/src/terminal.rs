//! What a terminal is given: text that cannot control it, and colours where it shows them. Used by the output of
//! commands ([`crate::output`]), by the daemon's log and by what plugins write.

/// Makes untrusted text safe for a terminal: a tab stays, every other control character becomes an escape such as `\n`
/// or `\u{1b}`, so that a line also stays one line.
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    push_clean(&mut out, text);
    out
}

/// Appends `text` as [`clean`] makes it.
pub(crate) fn push_clean(to: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '\t' => to.push(character),
            control if control.is_control() => to.extend(control.escape_default()),
            other => to.push(other),
        }
    }
}

/// Whether a stream shows colours: a terminal that can, unless `NO_COLOR` is set. `TERM=dumb` also holds where `CI` is
/// set, for which the library alone would take any terminal.
pub(crate) fn shows_colors(stream: &impl anstream::stream::RawStream) -> bool {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let forced = std::env::var_os("CLICOLOR_FORCE").is_some_and(|force| force != "0");
    (forced || !dumb) && anstream::AutoStream::choice(stream) != anstream::ColorChoice::Never
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_become_escapes() {
        assert_eq!(clean("a\x1b[2Jb\n\tc\u{9b}"), "a\\u{1b}[2Jb\\n\tc\\u{9b}");
    }
}
