//! The errors of the built program for mistakes in arguments, folders, addresses and permissions.
//! Each message says what to do.

// All of this is test code; Clippy recognizes only functions with `#[test]`.
#![allow(clippy::unwrap_used)]

mod test_folder;

use serde_json::{Value, json};
use test_folder::TestFolder;

#[test]
fn the_error_for_a_mistake_in_the_command_line_says_what_to_do() {
    let folder = TestFolder::new("usage", &[("site/a.txt", b"a"), ("a.json", br#"{"flags": {}}"#)]);
    let local = |address| format!("--local={address}");
    for (arguments, part) in [
        (
            vec!["assets", "list", "--local", "http://localhost:8800"],
            "after an equals sign: --local=http://localhost:8800",
        ),
        (vec!["assets", "push", "--local", "8800", "site"], "after an equals sign: --local=8800"),
        (vec!["assets", "push", "site", "--local", "localhost:8800"], "after an equals sign: --local=localhost:8800"),
        (vec!["assets", "list", &local("http://local host:8800")], "write http://localhost:8787"),
        (vec!["assets", "list", &local("")], "write http://localhost:8787"),
        (vec!["assets", "list", &local("ftp://localhost")], "write http://localhost:8787"),
        (vec!["assets", "list", &local("99999")], "a port is a number from 1 to 65535"),
        (vec!["assets", "list", &local("localhost:0")], "a port is a number from 1 to 65535"),
        (vec!["assets", "list", "--api-base", "https://api.example:99999"], "a port is a number from 1 to 65535"),
        (vec!["assets", "list", "--account", "my account"], "`npx wrangler whoami` lists yours"),
        (vec!["assets", "list", "--local", "--namespace", " "], "give the ID or the title of a namespace"),
        (vec!["config", "sync", "--namespace", ""], "give the ID or the title of a namespace"),
        (vec!["config", "sync", "--watch", "--full-every", "-1"], "write a whole number from 0 to 525600"),
        (vec!["assets", "list", "--deadline", "soon"], "write a whole number from 1 to 86400"),
        (vec!["assets", "gc", "--keep", "-1"], "write a whole number from 0 to 1000000"),
        (vec!["assets", "push", "site", "--previous", "21"], "write a whole number from 0 to 20"),
        (vec!["assets", "push", "site", "--immutable", "["], "a [ is not closed; write \\[ for the character itself"),
        (vec!["assets", "push", "site", "--immutable", "!/static/[a"], "a [ is not closed"),
        (
            vec!["assets", "push", "site", "--immutable", ""],
            "no file can match this pattern; write one such as '/static/**'",
        ),
        (vec!["assets", "push", "site", "--immutable", "# hashed"], "no file can match this pattern"),
        (vec!["assets", "push", "site", "--immutable", "{a"], "unclosed alternate group; missing '}'"),
        (vec!["assets", "rollback", ""], "give a release"),
    ] {
        let (code, stdout, stderr) = folder.run(&arguments, b"");
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains(part), "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_folder_that_cannot_be_pushed_is_reported() {
    let redirects = "/only-a-source\n".repeat(2900);
    let files: &[(&str, &[u8])] = &[
        ("file.txt", b"a"),
        ("empty/.assetsignore", b""),
        ("folders/a.txt", b"a"),
        ("folders/_redirects/a", b""),
        ("bytes/a.txt", b"a"),
        ("bytes/_headers", b"\xff"),
        ("patterns/a.txt", b"a"),
        ("patterns/.assetsignore", b"*.map\n/drafts/[a"),
        ("redirects/a.txt", b"a"),
        ("redirects/_redirects", redirects.as_bytes()),
    ];
    let folder = TestFolder::new("usage-folders", files);
    for (pushed, exit_code, expected) in [
        ("nowhere", 2, "error: nowhere: there is no such folder; check the path, which is relative to "),
        ("file.txt", 2, "error: file.txt is a file; give the folder that contains it\n"),
        ("file.txt/site", 2, "error: file.txt/site: a part of the path is a file; check the path\n"),
        ("empty", 1, "error: there is no file in empty; "),
        ("folders", 1, "error: _redirects: it is a folder, but must be a file; rename it\n"),
        ("bytes", 1, "error: _headers: it is not UTF-8; save it as UTF-8\n"),
        ("patterns", 1, "error: .assetsignore line 2: a [ is not closed; write \\[ for the character itself\n"),
        ("redirects", 1, "error: the folder has 2900 faults:\n  _redirects line 1: "),
    ] {
        let (code, stdout, stderr) = folder.run(&["assets", "push", pushed, "--local=1"], b"");
        assert_eq!((code, stdout.as_str()), (exit_code, ""), "{pushed}: {stderr}");
        assert!(stderr.starts_with(expected) && stderr.ends_with("\nnothing was uploaded\n"), "{pushed}: {stderr}");
        assert!(stderr.lines().count() <= 23, "{pushed}: {stderr}");
    }
    let (_, stdout, _) = folder.run(&["assets", "push", "redirects", "--local=1", "--json"], b"");
    let json: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(json["faults"].as_array().map(Vec::len), Some(2900));
}

#[test]
fn the_error_for_an_address_without_the_api_says_what_to_do() {
    let folder = TestFolder::new("usage-addresses", &[]);
    let (code, _, stderr) = folder.run(&["assets", "list", "--local=1"], b"");
    assert_eq!(code, 1);
    assert!(
        stderr.contains(
            "run `npm start` or `npx wrangler dev` first, or give its address: --local=URL (http://localhost:1/"
        ),
        "{stderr}"
    );
    let server = CannedServer::new(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let (code, _, stderr) = folder.run(&["assets", "list", &format!("--local={}", server.0)], b"");
    assert_eq!(code, 1);
    assert!(stderr.contains("check that `wrangler dev` listens there"), "{stderr}");
}

/// An import reads its input twice, so it saves a stream first.
#[test]
fn a_temporary_folder_that_cannot_be_used_is_no_fault_of_the_input() {
    let folder = TestFolder::new("temporary", &[]);
    let arguments = ["kv", "import", "-", "--namespace", "WRITES", "--overwrite", "--local=9"];
    let missing = folder.0.join("missing");
    let (code, _, stderr) = folder.run_with(&arguments, b"{}", &[("TMPDIR", missing.to_str().unwrap())]);
    let expected = format!("error: cannot create a temporary file in {}: ", missing.display());
    assert!(code == 1 && stderr.starts_with(&expected) && stderr.contains("set TMPDIR"), "{code} {stderr}");
}

#[test]
fn an_empty_query_is_reported_before_any_request() {
    let folder = TestFolder::new("usage-query", &[]);
    let (code, _, stderr) = folder.run(&["config", "sync", "--query", " ", "--local=1"], b"");
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("'--query <SQL>': it is empty; write a SELECT"), "{stderr}");
}

#[test]
fn a_port_without_postgresql_is_reported() {
    let folder = TestFolder::new("usage-postgres", &[]);
    for response in [
        &b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"J\0\0\0\n8.0.30\0",
        b"",
    ] {
        for mode in ["disable", "prefer", "require"] {
            let server = CannedServer::new(response);
            let url = format!("postgres://u@127.0.0.1:{}/d?sslmode={mode}&connect_timeout=2", server.0);
            let arguments = ["config", "sync", "--local=1"];
            let (code, _, stderr) = folder.run_with(&arguments, b"", &[("DATABASE_URL", &url)]);
            assert_eq!(code, 1, "{stderr}");
            let is_helpful = stderr.contains("check that PostgreSQL listens there")
                || stderr.contains("the server there is not PostgreSQL");
            assert!(is_helpful, "{} {mode}: {stderr}", response.escape_ascii());
        }
    }
}

/// A server on a port of its own that sends the same response to every connection and closes it.
struct CannedServer(u16);

impl CannedServer {
    fn new(response: &'static [u8]) -> Self {
        use std::io::{Read, Write};
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for socket in server.incoming() {
                let mut socket = socket.unwrap();
                let _request = socket.read(&mut [0; 1024]);
                let _sent = socket.write_all(response);
            }
        });
        Self(port)
    }
}

#[cfg(unix)]
#[test]
fn missing_permissions_are_reported() {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    let folder = TestFolder::new(
        "usage-permissions",
        &[("closed/a.txt", b"a"), ("inner/sub/a.txt", b"a"), ("file/a.txt", b"a")],
    );
    let set = |mode| {
        for path in ["closed", "inner/sub", "file/a.txt"] {
            set_permissions(folder.0.join(path), Permissions::from_mode(mode)).unwrap();
        }
    };
    set(0o000);
    // Root can read everything.
    let is_root = std::fs::read_dir(folder.0.join("closed")).is_ok();
    // Files are read only after the namespace was found.
    let server = CannedServer::new(
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"success\": true, \"result\": [{\"id\": \"assets\", \"title\": \"assets\"}]}",
    );
    let local = format!("--local={}", server.0);
    let results = ["closed", "inner", "file"].map(|pushed| folder.run(&["assets", "push", pushed, &local], b""));
    set(0o755);
    if !is_root {
        let expected = [
            (2, "closed: permission denied; change its permissions (chmod -R u+rX)"),
            (1, "sub: permission denied; change its permissions (chmod -R u+rX)"),
            (1, "a.txt: permission denied; change its permissions (chmod u+r), or leave it out"),
        ];
        for ((code, _, stderr), (expected_code, part)) in results.into_iter().zip(expected) {
            assert!(code == expected_code && stderr.contains(part), "{code}: {stderr}");
        }
    }
}

#[test]
fn with_json_a_mistake_in_the_command_line_is_json_too() {
    let folder = TestFolder::new("usage-json", &[]);
    for (arguments, sentence) in [
        (
            &["kv", "ls", "--json", "--oops"][..],
            "unexpected argument '--oops' found; tip: to pass '--oops' as a value, use '-- --oops'",
        ),
        (&["config", "validate", "--json"], "the following required arguments were not provided: <FILE>..."),
        (&["kv", "list", "--json"], "unrecognized subcommand 'list'; tip: a similar subcommand exists: 'ls'"),
        (
            &["kv", "ls", "--json", "--local", "localhost:8800"],
            "--local needs its address after an equals sign: --local=localhost:8800",
        ),
    ] {
        let (code, stdout, stderr) = folder.run(arguments, b"");
        assert_eq!((code, stderr), (2, format!("error: {sentence}\n")));
        assert_eq!(serde_json::from_str::<Value>(&stdout).unwrap(), json!({ "error": sentence }));
    }
    let (code, stdout, stderr) = folder.run(&["kv", "ls", "--oops"], b"");
    assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
    assert!(stderr.contains("\nUsage: kv-edge kv ls "), "{stderr}");
}
