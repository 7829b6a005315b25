//! Finds a `[` that is not closed in a pattern of `.assetsignore` or `--immutable`. To git such a
//! pattern matches no file, and the `ignore` crate takes the `[` for the character itself. Neither
//! reports it, so a typing mistake would go unnoticed.

/// Checks a line that the `ignore` crate has accepted.
///
/// # Errors
/// A sentence if a `[` is not closed.
pub(super) fn check(line: &str) -> Result<(), String> {
    if line.starts_with('#') {
        return Ok(());
    }
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => drop(characters.next()),
            '[' if !skip_class(&mut characters) => {
                return Err("a [ is not closed; write \\[ for the character itself".to_owned());
            }
            _ => {}
        }
    }
    Ok(())
}

/// Skips a class up to and including the first `]` that is neither its first member nor escaped.
/// Returns false if there is none. As in the `ignore` crate, there are no named classes such as
/// `[:alpha:]`.
fn skip_class(characters: &mut std::str::Chars<'_>) -> bool {
    let rest = characters.as_str();
    // A `]` that comes first is a member of the class.
    let members = rest.strip_prefix(['!', '^']).unwrap_or(rest);
    let members = members.strip_prefix(']').unwrap_or(members);
    let mut after = members.chars();
    while let Some(character) = after.next() {
        match character {
            ']' => {
                *characters = after;
                return true;
            }
            '\\' => drop(after.next()),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unclosed_class_is_a_fault() {
        for (line, expected) in [
            ("", true),
            ("*.map", true),
            ("[a-z]*", true),
            ("[!a]", true),
            ("[]]", true),
            ("[^]a]", true),
            ("[\\]]", true),
            ("\\[", true),
            ("# [", true),
            ("a]", true),
            ("[", false),
            ("[]", false),
            ("[!]", false),
            ("a[bc", false),
            ("[a][", false),
            ("!/static/[a", false),
            ("\\\\[", false),
            ("[a\\]", false),
        ] {
            assert_eq!(check(line).is_ok(), expected, "{line:?}");
        }
    }
}
