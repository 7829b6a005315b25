//! A closed pipe, as in `kv-edge … 2>&1 | head`: the program ends like other programs, without a
//! panic.

// All of this is test code; Clippy recognizes only functions with `#[test]`.
#![allow(clippy::unwrap_used)]

mod test_folder;

use std::io::Write;
use std::process::{Command, Stdio};

use test_folder::TestFolder;

/// The exit code that a shell reports for a program that SIGPIPE ended.
const CLOSED_PIPE: i32 = 141;

/// The streams that are connected to the closed pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClosedStream {
    Stdout,
    Stderr,
    Both,
}

/// Runs the program after the reader is gone. Returns the exit code, and the output of the other
/// stream.
fn run(folder: &TestFolder, arguments: &[&str], stdin: &[u8], closed: ClosedStream) -> (Option<i32>, String) {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_kv-edge"));
    command.args(arguments).current_dir(&folder.0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if closed != ClosedStream::Stderr {
        command.stdout(writer.try_clone().unwrap());
    }
    if closed != ClosedStream::Stdout {
        command.stderr(writer);
    }
    let mut child = command.spawn().unwrap();
    let _closed = child.stdin.take().unwrap().write_all(stdin);
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[test]
fn a_closed_stdout_ends_the_program_like_sigpipe() {
    let folder = TestFolder::new("closed-pipe", &[]);
    for closed in [ClosedStream::Stdout, ClosedStream::Both] {
        for arguments in
            [&["config", "validate", "-"][..], &["config", "validate", "-", "--json"], &["routes", "validate", "-"]]
        {
            for stdin in [&b"{}"[..], br#"{"flags": {}}"#, b"{", b""] {
                let (code, rest) = run(&folder, arguments, stdin, closed);
                assert_eq!(code, Some(CLOSED_PIPE), "{arguments:?} {}", stdin.escape_ascii());
                assert!(!rest.contains("panicked") && !rest.contains("cannot be written"), "{rest}");
            }
        }
    }
}

#[test]
fn a_closed_stderr_does_not_stop_the_work() {
    let folder = TestFolder::new(
        "closed-pipe-stderr",
        &[("site/a.txt", b"a"), ("good.json", br#"{"flags": {"a": {"default": "off"}}}"#)],
    );
    let run = |arguments: &[&str]| run(&folder, arguments, b"", ClosedStream::Stderr);
    let (code, stdout) = run(&["config", "validate", "missing.json", "good.json"]);
    assert_eq!((code, stdout.as_str()), (Some(2), "1 flag in 2 files, no fault, 1 unreadable file\n"));
    assert_eq!(run(&["assets", "push", "site", "--local=1"]).0, Some(1));
    let (code, stdout) = run(&["assets", "push", "site", "--local=1", "--json"]);
    assert!(code == Some(1) && stdout.starts_with(r#"{"error":"#), "{stdout}");
    assert_eq!(run(&["config", "sync", "--local=1"]).0, Some(1));
}

#[test]
fn closed_streams_do_not_change_the_exit_code_of_help_and_usage_errors() {
    let folder = TestFolder::new("closed-pipe-help", &[]);
    for (arguments, code) in [
        (&["--help"][..], 0),
        (&["config", "sync", "--help"], 0),
        (&["--version"], 0),
        (&[], 2),
        (&["no-such-command"], 2),
        (&["routes", "validate", "--key", "a", "a.json", "b.json"], 2),
        (&["assets", "list", "--local", "8800"], 2),
    ] {
        assert_eq!(run(&folder, arguments, b"", ClosedStream::Both).0, Some(code), "{arguments:?}");
    }
}
