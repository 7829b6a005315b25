//! Help texts, as the built program prints them, and the pages that list the commands.

// All of this is test code; Clippy recognizes only functions with `#[test]`.
#![allow(clippy::unwrap_used)]

mod test_folder;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use test_folder::TestFolder;

static FOLDER: LazyLock<TestFolder> = LazyLock::new(|| TestFolder::new("help", &[]));

/// Returns what `--help` prints after a command.
fn help_of(command: &str) -> String {
    let (code, stdout, stderr) = FOLDER.run(&[&words(command)[..], &["--help"]].concat(), b"");
    assert_eq!((code, stderr.as_str()), (0, ""), "{command}");
    stdout
}

fn words(command: &str) -> Vec<&str> {
    command.split_whitespace().collect()
}

/// Returns a command and all its subcommands, each with its help text. The empty one is the
/// program.
fn help_texts(command: &str) -> Vec<(String, String)> {
    let help = help_of(command);
    let below = subcommands(&help).flat_map(|name| help_texts(format!("{command} {name}").trim_start()));
    let below: Vec<_> = below.collect();
    [vec![(command.to_owned(), help)], below].concat()
}

/// Returns the subcommands that a help text lists.
fn subcommands(help: &str) -> impl Iterator<Item = &str> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // A description that goes on in the next line is indented further.
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help")
}

/// Returns the commands in the first column of a page's tables, without their arguments. A cell
/// may have several, such as "`config sync`, `validate FILE…`", with the group before the first
/// alone.
fn rows(page: &str) -> BTreeSet<String> {
    let cells = page.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let names = cells.flat_map(|cell| {
        let first = cell.split('`').next().unwrap_or_default();
        let group = first.split(' ').next().unwrap_or_default();
        cell.split('`').step_by(2).enumerate().map(move |(index, name)| {
            let words = name.split(' ').take_while(|word| !word.starts_with(|letter: char| !letter.is_lowercase()));
            let words = words.collect::<Vec<_>>().join(" ");
            if index == 0 { words } else { format!("{group} {words}") }
        })
    });
    names.collect()
}

#[test]
fn help_has_examples_at_each_level() {
    for (command, help) in help_texts("") {
        let usage = format!("Usage: {}", format!("kv-edge {command}").trim_end());
        assert!(help.contains(&usage) && help.contains("Examples:\n"), "{command}\n{help}");
        let longest = help.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        assert!(longest <= 140, "{command}\n{help}");
    }
    assert_eq!(FOLDER.run(&["-h"], b""), (0, help_of(""), String::new()));
}

#[test]
fn a_group_without_a_command_prints_its_help_and_is_a_usage_error() {
    let groups: Vec<_> = help_texts("").into_iter().filter(|(_, help)| subcommands(help).next().is_some()).collect();
    assert!(groups.iter().any(|(group, _)| group == "routes"));
    for (group, help) in groups {
        assert_eq!(FOLDER.run(&words(&group), b""), (2, String::new(), help), "{group}");
    }
}

#[test]
fn the_pages_list_every_command() {
    let texts = help_texts("").into_iter().filter(|(_, help)| subcommands(help).next().is_none());
    let commands: BTreeSet<String> = texts.map(|(command, _)| command).collect();
    assert!(commands.contains("routes validate"));
    assert_eq!(rows(include_str!("../README.md")), commands, "crates/cli/README.md");
    // Other tables of that page list variables.
    assert!(rows(include_str!("../../../docs/cli.md")).is_superset(&commands), "docs/cli.md");
}

#[test]
fn the_command_lines_of_the_readme_have_commands_and_options_that_exist() {
    let texts = help_texts("");
    let lines = include_str!("../README.md").lines().filter(|line| line.starts_with("kv-edge "));
    let lines: Vec<_> = lines.map(|line| line.split(" #").next().unwrap()).collect();
    assert!(!lines.is_empty());
    for line in lines {
        let is_shown = |command: &str| line.starts_with(&format!("kv-edge {command} "));
        let mut commands = texts.iter().filter(|(_, help)| subcommands(help).next().is_none());
        let (_, help) = commands.find(|(command, _)| is_shown(command)).unwrap();
        for option in words(line).into_iter().filter(|word| word.starts_with("--")) {
            assert!(words(help).contains(&option), "{line}");
        }
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    let version = concat!("kv-edge ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(FOLDER.run(&["--version"], b""), (0, version.to_owned(), String::new()));
}
