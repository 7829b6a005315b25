//! Runs the built program in a folder with files.

// All of this is test code; Clippy recognizes only functions with `#[test]`.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A folder of its own for a test, in which the program runs.
pub struct TestFolder(pub PathBuf);

impl TestFolder {
    pub fn new(test: &str, files: &[(&str, &[u8])]) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
        std::fs::create_dir_all(&folder).unwrap();
        for (name, bytes) in files {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        Self(folder)
    }

    /// Runs the program. Returns the exit code, stdout and stderr.
    pub fn run(&self, arguments: &[&str], stdin: &[u8]) -> (i32, String, String) {
        self.run_with(arguments, stdin, &[])
    }

    /// Runs the program with variables of the environment.
    pub fn run_with(&self, arguments: &[&str], stdin: &[u8], variables: &[(&str, &str)]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kv-edge"));
        command.args(arguments).current_dir(&self.0).envs(variables.iter().copied());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A program that does not read its input has closed it.
        let _closed = child.stdin.take().unwrap().write_all(stdin);
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }
}
