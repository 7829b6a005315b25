//! Finds mistakes in patterns of `.gitignore` that git accepts silently: a pattern with an
//! unclosed `[` matches no file, so a typing mistake would ignore nothing and go unnoticed.

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
            '[' if !passes_class(&mut characters) => {
                return Err("a [ is not closed; write \\[ for the character itself".to_owned());
            }
            _ => {}
        }
    }
    Ok(())
}

/// Skips a bracket expression up to and including its `]` (POSIX.1 §9.3.5). Returns false if
/// there is no `]`.
fn passes_class(characters: &mut std::str::Chars<'_>) -> bool {
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
