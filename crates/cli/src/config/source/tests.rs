//! Tests with a real PostgreSQL, whose address is in `TEST_DATABASE_URL` and whose user is a
//! superuser. They run with `cargo test -- --ignored`; `npm test -- --only postgres` starts a
//! PostgreSQL and runs them.

use std::collections::BTreeMap;
use std::time::Instant;

use super::*;

fn url() -> String {
    std::env::var("TEST_DATABASE_URL").expect("TEST_DATABASE_URL names a database")
}

fn connector(url: &str) -> Result<DatabaseConnector, SourceError> {
    DatabaseConnector::new(url, CancellationToken::new())
}

/// Lets a stopped source continue on the same connection.
fn go_on(source: &mut PostgresSource) {
    let token = CancellationToken::new();
    source.connector.runtime.stop = token.clone();
    source.session.driver.runtime.stop = token;
}

fn try_open(query: &str) -> Result<PostgresSource, SourceError> {
    PostgresSource::open_at(connector(&url())?, query)
}

fn open(query: &str) -> PostgresSource {
    try_open(query).unwrap()
}

/// Executes SQL on another connection.
fn execute(sql: &str) {
    let session = connector(&url()).unwrap().connect().unwrap();
    session.driver.run(session.client.batch_execute(sql)).unwrap();
}

fn rows_of(source: &mut PostgresSource, keys: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let keys: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
    let each = &mut |row: SourceRow| {
        found.push(row.key.unwrap());
        ControlFlow::Continue(())
    };
    source.rows_of(&keys, each).unwrap();
    found
}

fn all(source: &mut PostgresSource) -> Vec<(Option<String>, String)> {
    let mut all = Vec::new();
    source
        .rows(&mut |row| {
            all.push((row.key, row.value));
            ControlFlow::Continue(())
        })
        .unwrap();
    all
}

fn refused(query: &str) -> String {
    match try_open(query) {
        Ok(mut source) => source.rows(&mut |_| ControlFlow::Continue(())).expect_err(query).to_string(),
        Err(error) => error.to_string(),
    }
}

#[test]
#[ignore = "needs a PostgreSQL"]
fn values_are_converted_by_their_sql_types() {
    for (sql, expected) in [
        ("true", "true"),
        ("NULL::bool", "null"),
        ("32767::int2", "32767"),
        ("'-2147483648'::int4", "-2147483648"),
        ("9223372036854775807::int8", "9223372036854775807"),
        ("12345678901234567890.12345678901234567890::numeric", "12345678901234567890.12345678901234567890"),
        ("'NaN'::numeric", "\"NaN\""),
        ("0.1::float8", "0.1"),
        ("(1.0 / 3)::float4", "0.33333334"),
        ("'infinity'::float8", "\"Infinity\""),
        ("E'a\"\\\\\\n\\u00e9\\U0001F600'", "\"a\\\"\\\\\\né😀\""),
        ("'x'::varchar(3)", "\"x\""),
        ("'x'::char(3)", "\"x  \""),
        ("'0B2F7C3E-1d1a-4c6e-9a57-0123456789ab'::uuid", "\"0b2f7c3e-1d1a-4c6e-9a57-0123456789ab\""),
        ("'2026-01-02 03:04:05.678+02'::timestamptz", "\"2026-01-02T01:04:05.678+00:00\""),
        ("'2026-01-02 03:04:05'::timestamp", "\"2026-01-02T03:04:05\""),
        ("'2026-01-02'::date", "\"2026-01-02\""),
        ("'26 hours 1 day'::interval", "\"1 day 26:00:00\""),
        (r#"'{"b": 1, "a": [1, 2.50]}'::json"#, r#"{"b": 1, "a": [1, 2.50]}"#),
        (r#"'{"b": 1, "a": [1, 2.50]}'::jsonb"#, r#"{"a": [1, 2.50], "b": 1}"#),
        ("ARRAY['a', NULL, 'b']", r#"["a",null,"b"]"#),
        ("ARRAY[[1, 2], [3, 4]]", "[[1,2],[3,4]]"),
        ("'{}'::uuid[]", "[]"),
        (r"'\x00ff'::bytea", r#""\\x00ff""#),
        ("ROW(1, 'a')", r#"{"f1":1,"f2":"a"}"#),
        ("'10.0.0.1'::inet", "\"10.0.0.1\""),
    ] {
        let rows = all(&mut open(&format!("SELECT 'k', {sql} AS \"a \"\"b\"")));
        assert_eq!(rows, [(Some("k".to_owned()), format!(r#"{{"a \"b":{expected}}}"#))], "{sql}");
        assert!(serde_json::from_str::<Value>(&rows[0].1).is_ok(), "{sql}");
    }
}

#[test]
#[ignore = "needs a PostgreSQL"]
fn the_settings_of_a_session_change_no_value() {
    let settings = "SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'SQL, DMY'; SET extra_float_digits = -15; SET bytea_output = 'escape'";
    let mut source =
        open(r"SELECT 'a', '2026-01-02 03:04+00'::timestamptz AS t, 0.1::float8 + 0.2 AS f, '\x00'::bytea AS b");
    let before = all(&mut source);
    let DatabaseSession { client, driver } = &source.session;
    driver.run(client.batch_execute(settings)).unwrap();
    assert_eq!(all(&mut source), before);
}

#[test]
#[ignore = "needs a PostgreSQL"]
fn rows_come_in_the_order_of_their_keys_bytes() {
    let keys = ["\u{1F600}", "b", "é", "", "B", "a", "ab", "\u{ffff}", "10", "9", "a b", "Z"];
    let list = keys.map(|key| format!("('{key}', 1)")).join(", ");
    let mut source =
        open(&format!("SELECT k, v FROM (VALUES {list}, (NULL, 2)) AS t(k, v) ORDER BY v DESC -- as it likes"));
    let found: Vec<_> = all(&mut source).into_iter().map(|(key, _)| key).collect();
    let mut expected: Vec<_> = keys.iter().map(|key| Some((*key).to_owned())).collect();
    expected.sort();
    expected.push(None);
    assert_eq!(found, expected);
    assert_eq!(source.columns(), ["k", "v"]);
}

#[test]
#[ignore = "needs a PostgreSQL"]
fn the_order_is_that_of_utf8_whatever_the_database_holds() {
    let url = url();
    let (base, _) = url.rsplit_once('/').unwrap();
    // EUC_JP sorts these differently from UTF-8.
    for (encoding, keys) in [("LATIN1", &["é", "a", "Z", "ü"][..]), ("EUC_JP", &["一", "あ", "亜", "a", "ー"])] {
        execute(&format!("DROP DATABASE IF EXISTS other_{encoding}"));
        execute(&format!("CREATE DATABASE other_{encoding} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"));
        let list = keys.iter().map(|key| format!("('{key}')")).collect::<Vec<_>>().join(", ");
        let connector = connector(&format!("{base}/other_{}", encoding.to_lowercase())).unwrap();
        let mut source =
            PostgresSource::open_at(connector, &format!("SELECT k, k AS v FROM (VALUES {list}) AS t(k)")).unwrap();
        let mut expected: Vec<_> =
            keys.iter().map(|key| (Some((*key).to_owned()), format!("{{\"v\":\"{key}\"}}"))).collect();
        expected.sort();
        assert_eq!(all(&mut source), expected, "{encoding}");
        let mut requested = keys.to_vec();
        requested.sort_unstable_by(|one, other| other.cmp(one));
        let expected: Vec<_> = expected.into_iter().filter_map(|(key, _)| key).collect();
        assert_eq!(rows_of(&mut source, &requested), expected, "{encoding}");
    }
}

#[test]
#[ignore = "needs a PostgreSQL"]
fn each_form_of_a_query_is_accepted() {
    for query in [
        "SELECT 'a' AS id, 1 AS n",
        "SELECT 'a', 1 AS n ; -- that is all;",
        "WITH t AS (SELECT 'a', 1 AS n) SELECT * FROM t;",
        "VALUES ('a', 1)",
        "SELECT 'a', 1 AS n UNION SELECT 'b', 2 ORDER BY 1 LIMIT 1",
        "SELECT /* ; */ E'a', 1 AS \"n;\";",
    ] {
        assert_eq!(all(&mut open(query)).len(), 1, "{query}");
    }
    execute(
        "DROP TABLE IF EXISTS forms; CREATE TABLE forms (id int8 PRIMARY KEY, n int); INSERT INTO forms VALUES (1, 2)",
    );
    assert_eq!(all(&mut open("TABLE forms")), [(Some("1".to_owned()), r#"{"n":2}"#.to_owned())]);
}

#[test]
#[ignore = "needs a PostgreSQL"]
fn rows_are_found_by_their_keys() {
    execute(
        "DROP TABLE IF EXISTS found; DROP TYPE IF EXISTS colour; CREATE TYPE colour AS ENUM ('red', 'blue'); \
         DROP COLLATION IF EXISTS any_case; \
         CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false); \
         CREATE TABLE found (i2 int2, i4 int4, i8 int8, t text, v varchar(9), c char(4), u uuid, b bool, e colour, ci text COLLATE any_case, n numeric); \
         INSERT INTO found VALUES (7, 7, 7, 'a''b', 'v', 'c', '0b2f7c3e-1d1a-4c6e-9a57-0123456789ab', true, 'red', 'Ab', 1.50)",
    );
    for (column, there, gone) in [
        ("i2", "7", "007"),
        ("i4", "7", "99999999999"),
        ("i8", "7", "x"),
        ("t", "a'b", "A'b"),
        ("v", "v", "v "),
        ("c", "c", "c   "),
        ("u", "0b2f7c3e-1d1a-4c6e-9a57-0123456789ab", "0B2F7C3E-1d1a-4c6e-9a57-0123456789ab"),
        ("b", "true", "t"),
        ("e", "red", "green"),
        ("ci", "Ab", "ab"),
        ("n", "1.50", "1.5"),
    ] {
        let mut source = open(&format!("SELECT {column}, 1 AS one FROM found"));
        assert_eq!(rows_of(&mut source, &[there, gone, "", "a\0", "😀"]), [there], "{column}");
        assert!(rows_of(&mut source, &[gone]).is_empty(), "{column}");
    }
}

#[test]
#[ignore = "needs a PostgreSQL"]
fn a_bad_query_says_what_to_do() {
    execute("DROP TABLE IF EXISTS written; CREATE TABLE written (id text, n int); INSERT INTO written VALUES ('a', 1)");
    execute(
        "CREATE OR REPLACE FUNCTION writes() RETURNS int LANGUAGE sql AS 'INSERT INTO written VALUES (''x'', 0) RETURNING 1'",
    );
    for (query, expected) in [
        (
            "SELECT id, n\nFROM nowhere",
            "relation \"nowhere\" does not exist (line 2, column 6, SQLSTATE 42P01); correct the name",
        ),
        ("SELECT id, m FROM written", "column \"m\" does not exist (line 1, column 12, SQLSTATE 42703)"),
        ("SELEC", "syntax error at or near \"SELEC\" (line 1, column 1, SQLSTATE 42601)"),
        ("SELECT 1; SELECT 2", "cannot insert multiple commands"),
        ("", "returns no rows"),
        ("SELECT id FROM written", "only one column, \"id\""),
        ("SELECT id, n, n FROM written", "two columns \"n\"; give column 3"),
        ("SELECT '{}'::jsonb AS j, n FROM written", "\"j\", has the type jsonb"),
        ("SELECT id, n FROM written WHERE id = $1", "a parameter such as $1"),
        ("INSERT INTO written VALUES ('b', 2)", "returns no rows"),
        ("INSERT INTO written VALUES ('b', 2) RETURNING id, n", "must be a SELECT, VALUES or TABLE"),
        ("WITH w AS (DELETE FROM written RETURNING id, n) SELECT * FROM w", "must be a SELECT, VALUES or TABLE"),
        ("SELECT id, writes() FROM written", "cannot execute INSERT in a read-only transaction"),
        ("SELECT id, n FROM written FOR UPDATE", "cannot execute SELECT FOR UPDATE in a read-only transaction"),
        ("EXPLAIN SELECT 1", "only one column"),
        ("SELECT id, n FROM written) AS q; DROP TABLE written; --", "syntax error"),
        ("SELECT id, ('row of ' || id)::int AS n FROM written", "failed on the contents of a row (SQLSTATE 22P02"),
        ("SELECT id, 1 / (n - 1) AS n FROM written", "failed on the contents of a row (SQLSTATE 22012"),
    ] {
        let sentence = refused(query);
        assert!(sentence.contains(expected), "{query}: {sentence}");
        assert!(!sentence.contains("row of"), "{query}: {sentence}");
    }
    assert_eq!(all(&mut open("SELECT id, n FROM written")).len(), 1);
}

#[test]
#[ignore = "needs a PostgreSQL"]
fn a_failed_connection_says_why() {
    let url = url();
    let (base, _) = url.split_once('?').unwrap_or((&url, ""));
    let (scheme, rest) = base.split_once("://").unwrap();
    let (_, place) = rest.split_once('@').unwrap();
    let (host, _) = place.split_once('/').unwrap();
    execute(
        "DROP ROLE IF EXISTS nobody; CREATE ROLE nobody LOGIN PASSWORD 'hunter2'; DROP TABLE IF EXISTS locked; CREATE TABLE locked (id text, n int)",
    );
    for (url, query, expected) in [
        (
            format!("{scheme}://nobody:wrong-hunter2@{place}"),
            "SELECT 1",
            "password authentication failed for user \"nobody\"",
        ),
        (format!("{scheme}://nobody@{place}"), "SELECT 1", "asks \"nobody\" for a password"),
        (format!("{scheme}://nobody:hunter2@{host}/nowhere"), "SELECT 1", "database \"nowhere\" does not exist"),
        (format!("{scheme}://nobody:hunter2@127.0.0.1:9/d"), "SELECT 1", "127.0.0.1:9: Connection refused"),
        (format!("{scheme}://nobody:hunter2@nowhere.invalid/d"), "SELECT 1", "nowhere.invalid:5432"),
        (
            format!("{scheme}://nobody:hunter2@{place}"),
            "SELECT id, n FROM locked",
            "permission denied for table locked",
        ),
    ] {
        let source = connector(&url).and_then(|connector| PostgresSource::open_at(connector, query));
        let sentence = source.expect_err(query).to_string();
        assert!(sentence.contains(expected), "{sentence}");
        assert!(!sentence.contains("hunter2"), "{sentence}");
        eprintln!("{sentence}");
    }
}

#[test]
#[ignore = "needs a PostgreSQL"]
fn a_stopped_stream_ends_and_the_source_goes_on() {
    let mut source = open("SELECT g, repeat('x', 100) AS x FROM generate_series(1, 300000) AS g");
    assert!(source.estimate().is_some_and(|estimate| estimate > 100_000));
    let mut count = 0;
    source
        .rows(&mut |_| {
            count += 1;
            if count == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    assert_eq!(count, 3);
    let stop = source.connector.runtime.stop.clone();
    let error = source.rows(&mut |_| {
        stop.cancel();
        ControlFlow::Continue(())
    });
    assert!(error.unwrap_err().to_string().contains("it was stopped"));
    go_on(&mut source);
    assert_eq!(rows_of(&mut source, &["7", "10", "9"]), ["10", "7", "9"]);
}

#[test]
#[ignore = "needs a PostgreSQL"]
#[allow(clippy::disallowed_methods)]
fn a_statement_that_waits_for_a_lock_is_stopped_and_cancelled() {
    execute("DROP TABLE IF EXISTS waits; CREATE TABLE waits (id text, n int); INSERT INTO waits VALUES ('a', 1)");
    let mut source = open("SELECT id, n FROM waits");
    let holder = connector(&url()).unwrap().connect().unwrap();
    let run = |sql: &str| holder.driver.run(holder.client.query(sql, &[]));
    holder.driver.run(holder.client.batch_execute("BEGIN; LOCK TABLE waits IN ACCESS EXCLUSIVE MODE")).unwrap();
    let stop = source.connector.runtime.stop.clone();
    let stopper = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        stop.cancel();
    });
    let error = source.rows(&mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(error.to_string().contains("it was stopped") && !error.is_lost(), "{error}");
    stopper.join().unwrap();
    // The server has stopped, too: nothing waits for a lock any more.
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'waits'::regclass";
    let count = || run(waiting).unwrap()[0].get::<_, i64>(0);
    assert!((0..600).any(|_| count() == 0 || {
        std::thread::sleep(Duration::from_millis(100));
        false
    }));
    run("ROLLBACK").unwrap();
    go_on(&mut source);
    assert_eq!(all(&mut source).len(), 1);
}

#[test]
#[ignore = "needs a PostgreSQL"]
fn the_columns_are_read_anew_each_time() {
    execute("DROP TABLE IF EXISTS wide; CREATE TABLE wide (id text, n int); INSERT INTO wide VALUES ('a', 1)");
    let mut source = open("SELECT * FROM wide");
    let row = |json: &str| [(Some("a".to_owned()), json.to_owned())];
    execute("ALTER TABLE wide ADD COLUMN m int DEFAULT 2");
    assert_eq!(rows_of(&mut source, &["a"]), ["a"]);
    assert!(source.has_new_columns());
    assert_eq!(all(&mut source), row(r#"{"n":1,"m":2}"#));
    assert!(!source.has_new_columns());
    execute("ALTER TABLE wide DROP COLUMN n");
    assert_eq!(all(&mut source), row(r#"{"m":2}"#));
    assert_eq!((rows_of(&mut source, &["a"]).len(), source.has_new_columns()), (1, false));
    execute("ALTER TABLE wide DROP COLUMN m");
    let error = source.rows(&mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(error.to_string().contains("only one column"), "{error}");
}

#[test]
#[ignore = "needs a PostgreSQL"]
#[allow(clippy::disallowed_methods)]
fn notifications_are_received_and_a_lost_connection_is_reported() {
    let second = Duration::from_secs(1);
    let mut source = open("SELECT 'a', 1 AS n");
    source.listen("Odd \"channel\"").unwrap();
    let heard = |source: &mut PostgresSource| source.wait(Some(second));
    let start = Instant::now();
    assert_eq!(heard(&mut source).unwrap(), ChangedRows::nothing());
    assert!(start.elapsed() >= second);
    execute("SELECT pg_notify('Odd \"channel\"', 'b'), pg_notify('Odd \"channel\"', 'a')");
    assert_eq!(heard(&mut source).unwrap(), ChangedRows::Keys(["a", "b"].map(str::to_owned).into()));
    // Notifications during a pass are not lost.
    source
        .rows(&mut |_| {
            execute("NOTIFY \"Odd \"\"channel\"\"\"");
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(heard(&mut source).unwrap(), ChangedRows::Everything);
    execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'kv-edge config sync' AND pid <> pg_backend_pid() AND query LIKE '%COMMIT%' ",
    );
    let error = (0..3).find_map(|_| heard(&mut source).err()).expect("the connection is lost");
    assert!(error.is_lost(), "{error}");
    source.reconnect().unwrap();
    assert_eq!(all(&mut source).len(), 1);
}

#[test]
#[ignore = "needs a PostgreSQL, and takes a minute"]
#[allow(clippy::disallowed_methods)]
fn a_million_rows_take_little_more_memory_than_a_thousand() {
    let memory = || -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let mut high = BTreeMap::new();
    for (count, wait) in [(1_000, 0), (1_000_000, 0), (1_000_000, 100)] {
        let mut source = open(&format!(
            "SELECT 'user-' || g AS id, g % 2 = 0 AS preview, repeat('x', 100) AS filler FROM generate_series(1, {count}) AS g"
        ));
        let (start, mut rows, mut bytes) = (Instant::now(), 0, 0);
        source
            .rows(&mut |row| {
                rows += 1;
                bytes += row.value.len();
                if wait > 0 && rows % 10_000 == 0 {
                    std::thread::sleep(Duration::from_millis(wait));
                }
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(rows, count);
        eprintln!("{rows} rows of {bytes} bytes: {:?}, VmHWM {} kB", start.elapsed(), memory());
        high.insert((count, wait), memory());
    }
    assert!(high[&(1_000_000, 100)] < high[&(1_000, 0)] + 8_000, "{high:?}");
}
