//! `kv-edge routes validate`: checks records of storefronts with the parser of the Worker.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::PathBuf;

use http_semantics::origin::OriginAllowList;
use kv_store::json_tree::{JsonTree, member_path};
use kv_store::limits::Key;
use kv_store::schema::FAULTS_MAX;
use serde_json::json;
use tenant_router::record_check::RecordCheck;
use tenant_router::storefront_record::{OriginPolicy, RoutingEntry};

use super::record_file::RecordFile;
use crate::ExitStatus;
use crate::progress::print_line;
use crate::validation_report::{FileReport, Finding, ValidationReport};

const EXAMPLES: &str = r#"A FILE holds one of these:
  {"origin": "https://a.example"}                       one record
  {"storefrontA": {"origin": "https://a.example"}}      keys and records
  [{"key": "storefrontA", "value": "{\"origin\": …}"}]    what `wrangler kv bulk put` accepts

Examples:
  kv-edge routes validate demo/storefronts.json
  kv-edge routes validate --origins 'https://*.shops.example' staging.json production.json
  kv-edge routes validate --key domain:www.tea.example tea.json
  npx wrangler kv key get storefrontA --binding ROUTING_CONFIG --remote --text | kv-edge routes validate -

With --json:
  {"files": [{"file", "storefronts", "faults": [{"key", "path", "problem"}], "warnings": […], "moreFaults"?, "error"?}], "valid"}
  A fault of the JSON itself also has "line" and "column"; "key" is null for a file that is a single record, and outside of records;
  "moreFaults" is true if a record may have more faults than the first 100, which are listed.

Without --json, the same problem is shown at most 20 times, and at most 200 faults and 200 warnings are shown.

Exit code: 0 if everything is valid, 1 if there are faults, 2 if a file cannot be read or the command line has a mistake."#;

/// Checks records of storefronts before they are uploaded
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RoutesValidateArguments {
    /// JSON files with records; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// The value of the Worker's `ROUTING_ORIGINS`: refuse records with other origins, as the
    /// Worker does
    #[arg(long, value_name = "LIST", value_parser = origin_list)]
    origins: Option<String>,

    /// Allow http origins on that list, as the Worker does if `ROUTING_INSECURE` is set
    #[arg(long, requires = "origins")]
    insecure: bool,

    /// FILE is a single record, and this is its key
    #[arg(long, value_parser = key)]
    key: Option<String>,

    /// Write one line of JSON, for programs
    #[arg(long)]
    json: bool,
}

/// Refuses a list with an entry that is not an origin. The Worker skips such an entry, but here
/// its author can correct it.
fn origin_list(list: &str) -> Result<String, String> {
    // An entry without a scheme means https.
    let is_origin = |entry: &&str| OriginAllowList::parse(entry, &["https"]) != OriginAllowList::default();
    let mut entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries.find(|entry| !is_origin(entry)).map_or_else(
        || Ok(list.to_owned()),
        |entry| {
            Err(format!(
                "{entry:?} is not an origin; write https://host, https://*.host or host, with a port if necessary"
            ))
        },
    )
}

fn key(key: &str) -> Result<String, String> {
    Key::new(key).map(|key| key.as_str().to_owned()).map_err(|error| error.to_string())
}

impl RoutesValidateArguments {
    pub(super) fn run(self, out: &mut impl Write) -> io::Result<ExitStatus> {
        if self.key.is_some() && self.files.len() > 1 {
            let sentence = "--key is the key of a single record; give exactly one FILE with it";
            print_line(&format!("error: {sentence}"));
            if self.json {
                writeln!(out, "{}", json!({ "error": sentence }))?;
            }
            return Ok(ExitStatus::CannotRun);
        }
        let policy = self.origins.as_deref().map(|origins| OriginPolicy::parse(origins, self.insecure));
        let check = |text: &str| check(text, self.key.as_deref(), policy.as_ref());
        ValidationReport::of_files("storefront", self.files, check).write(self.json, out)
    }
}

/// Checks the contents of a file. If there is a `key`, the file is a single record with this key.
fn check(text: &str, key: Option<&str>, policy: Option<&OriginPolicy>) -> FileReport {
    let tree = match JsonTree::parse(text) {
        Ok(tree) => tree,
        Err(error) => return FileReport { faults: vec![Finding::of_syntax(error)], ..FileReport::default() },
    };
    let file = if key.is_some() { RecordFile::of_record(&tree) } else { RecordFile::of(&tree) };
    let mut report = FileReport { count: file.count, faults: file.faults, ..FileReport::default() };
    if file.count == 0 && report.faults.is_empty() {
        report.warnings.push(Finding::of_file("", "there is no storefront in it"));
    }
    let keys: HashSet<&str> = file.list.iter().filter_map(|entry| entry.key.as_deref()).collect();
    for entry in &file.list {
        let shown = entry.key.as_deref();
        let RecordCheck { entry: stored, faults, warnings } =
            RecordCheck::of(key.or(shown), &entry.json, &entry.repeated, policy);
        report.is_truncated |= faults.len() >= FAULTS_MAX;
        report.faults.extend(faults.into_iter().map(|fault| Finding::of_fault(shown, fault)));
        if let Some(RoutingEntry::CustomDomain(id)) = &stored
            && shown.is_some()
            && !keys.contains(id.as_str())
        {
            let problem = format!("{} has no record in this file", member_path("", id.as_str()));
            report.warnings.push(Finding::of_record(shown, "storefront", problem));
        }
        report.warnings.extend(warnings.into_iter().map(|warning| Finding::of_fault(shown, warning)));
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, key: Option<&str>, policy: Option<&OriginPolicy>) -> (Vec<String>, Vec<String>) {
        let report = check(text, key, policy);
        let shown = |findings: Vec<Finding>| findings.iter().map(ToString::to_string).collect();
        (shown(report.faults), shown(report.warnings))
    }

    #[test]
    fn each_fault_names_the_key_and_the_place_in_its_record() {
        let (faults, warnings) = lines(
            r#"{
                "storefrontB": {"origin": "https://b.example", "routes": [{"path": "/a", "origin": "a.example"}]},
                "shop-a": {"orgin": "https://a.example"},
                "c": {"origin": "https://c.example", "origin": "https://d.example"},
                ".": {"origin": "https://c.example"}
            }"#,
            None,
            None,
        );
        assert_eq!(faults.len(), 5, "{faults:?}");
        assert_eq!(faults[0], "storefrontB.routes[0].origin: it does not start with http:// or https://");
        assert!(faults[1].starts_with("[\"shop-a\"].orgin: unknown member"), "{faults:?}");
        assert_eq!(faults[2], "[\"shop-a\"].origin: it is missing");
        assert_eq!(faults[3], "c.origin: it occurs more than once; only the last one counts");
        assert_eq!(faults[4], "[\".\"]: The key is \".\" or \"..\", which Workers KV does not accept.");
        assert!(warnings.is_empty(), "{warnings:?}");
    }

    #[test]
    fn a_single_record_has_a_plain_id_or_the_given_key() {
        let alias = r#"{"storefront": "tea"}"#;
        assert_eq!(lines(alias, Some("domain:www.tea.example"), None), (Vec::new(), Vec::new()));
        let (faults, _) = lines(alias, None, None);
        assert!(faults[0].starts_with("storefront: only a custom domain"), "{faults:?}");
        let (faults, _) = lines(r#"{"a": {"origin": "https://a.example"}}"#, Some("a"), None);
        assert!(faults[0].starts_with("a: unknown member"), "{faults:?}");
    }

    #[test]
    fn with_a_list_of_origins_others_are_refused() {
        let records = r#"{"a": {"origin": "https://a.example"}, "b": {"origin": "http://b.example"}}"#;
        for (list, insecure, refused) in [
            ("a.example,http://b.example", true, &[] as &[&str]),
            ("a.example,http://b.example", false, &["b"]),
            ("", true, &["a", "b"]),
        ] {
            let (faults, _) = lines(records, None, Some(&OriginPolicy::parse(list, insecure)));
            let expected: Vec<String> = refused.iter().map(|key| format!("{key}.origin: ROUTING_ORIGINS")).collect();
            assert_eq!(faults.len(), expected.len(), "{faults:?}");
            assert!(faults.iter().zip(&expected).all(|(fault, start)| fault.starts_with(start)), "{faults:?}");
        }
    }

    #[test]
    fn a_list_with_an_entry_that_is_not_an_origin_is_refused() {
        for list in ["", "a.example, https://*.shops.example,", "http://127.0.0.1:8789", "[::1]:80"] {
            assert_eq!(origin_list(list), Ok(list.to_owned()));
        }
        for list in ["a.example,ftp://b.example", "https://a.example/path", "*", "a b"] {
            assert!(origin_list(list).is_err(), "{list}");
        }
    }

    #[test]
    fn a_valid_but_probable_mistake_is_a_warning() {
        for (records, expected) in [
            (r#"{"domain:a.example": {"storefront": "Tea"}, "Tea": {"origin": "https://a.example"}}"#, &[] as &[&str]),
            (
                r#"{"domain:a.example": {"storefront": "tea-2"}}"#,
                &["[\"domain:a.example\"].storefront: [\"tea-2\"] has no record in this file"],
            ),
            (
                r#"{"domain:A.example:443": {"origin": "https://a.example"}}"#,
                &["[\"domain:A.example:443\"]: no request finds this key; write it \"domain:a.example\""],
            ),
            (
                r#"{"domain:localhost": {"origin": "https://a.example"}}"#,
                &["[\"domain:localhost\"]: no request finds this key: its host cannot belong to a storefront"],
            ),
            ("{}", &["there is no storefront in it"]),
            ("[]", &["there is no storefront in it"]),
        ] {
            let (faults, warnings) = lines(records, None, None);
            assert!(faults.is_empty(), "{records}: {faults:?}");
            assert_eq!(warnings, expected, "{records}");
        }
    }
}
