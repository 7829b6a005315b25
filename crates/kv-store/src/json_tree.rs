//! JSON that keeps the order of members and members that occur twice. `serde_json::Value`, like
//! the Worker, keeps only the last of these.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::Value;

use crate::record::{exceeded_limit, to_json};
use crate::schema::is_plain;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum JsonTree {
    /// The members in their order.
    Object(Vec<(String, JsonTree)>),
    /// The elements in their order.
    Array(Vec<JsonTree>),
    /// A string, a number, a boolean or null.
    Scalar(Value),
}

/// Why a text cannot be read as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonSyntaxError {
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in bytes.
    pub column: usize,
    /// What is wrong, without the place.
    pub problem: String,
}

impl JsonTree {
    /// Parses a text.
    ///
    /// # Errors
    /// [`JsonSyntaxError`] if the text is not JSON, or exceeds a limit ([`exceeded_limit`]).
    pub fn parse(text: &str) -> Result<Self, JsonSyntaxError> {
        serde_json::from_str(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let problem = if let Some(limit) = exceeded_limit(&error) {
                format!("it has {limit}")
            } else {
                let whole = error.to_string();
                let problem = whole.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&whole);
                format!("not JSON: {problem}")
            };
            JsonSyntaxError { line: line.max(1), column: column.max(1), problem }
        })
    }

    /// Returns the value as JSON without white space.
    #[must_use]
    pub fn to_json(&self) -> String {
        to_json(self)
    }

    /// Returns a string; `None` for every other value.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Scalar(Value::String(text)) = self { Some(text) } else { None }
    }

    /// Returns the members of an object, or an empty slice for every other value.
    #[must_use]
    pub fn members(&self) -> &[(String, JsonTree)] {
        if let Self::Object(members) = self { members } else { &[] }
    }

    /// Returns the member with this name: the last one, which is the one that counts.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&JsonTree> {
        self.members().iter().rev().find(|member| member.0 == name).map(|member| &member.1)
    }

    /// Returns the names that occur more than once in this object, each once.
    pub fn repeated_names(&self) -> impl Iterator<Item = &str> {
        repeated(self.members().iter().map(|member| member.0.as_str()))
    }

    /// Returns the paths of the members whose name occurs more than once in their object, at any
    /// depth, until these paths have `bytes_max` bytes together: the paths of a text can be far
    /// longer than the text.
    #[must_use]
    pub fn repeated(&self, bytes_max: usize) -> Vec<String> {
        let mut search = RepeatedMembers { path: Vec::new(), found: Vec::new(), bytes_left: bytes_max };
        search.visit(self);
        search.found
    }
}

/// One step of the path to a value.
enum TreeStep<'t> {
    Member(&'t str),
    Element(usize),
}

/// The search of [`JsonTree::repeated`]. A path is written only if it is reported.
struct RepeatedMembers<'t> {
    path: Vec<TreeStep<'t>>,
    found: Vec<String>,
    bytes_left: usize,
}

impl<'t> RepeatedMembers<'t> {
    fn visit(&mut self, tree: &'t JsonTree) {
        for name in tree.repeated_names() {
            self.report(name);
        }
        for (name, value) in tree.members() {
            self.descend(TreeStep::Member(name), value);
        }
        if let JsonTree::Array(elements) = tree {
            for (index, element) in elements.iter().enumerate() {
                self.descend(TreeStep::Element(index), element);
            }
        }
    }

    fn descend(&mut self, step: TreeStep<'t>, value: &'t JsonTree) {
        if self.bytes_left == 0 {
            return;
        }
        self.path.push(step);
        self.visit(value);
        self.path.pop();
    }

    fn report(&mut self, name: &str) {
        if self.bytes_left == 0 {
            return;
        }
        let mut path = String::new();
        for step in &self.path {
            match step {
                TreeStep::Member(name) => path = member_path(&path, name),
                TreeStep::Element(index) => path = format!("{path}[{index}]"),
            }
        }
        let path = member_path(&path, name);
        self.bytes_left = self.bytes_left.saturating_sub(path.len());
        self.found.push(path);
    }
}

/// Returns the texts that occur more than once, each once.
pub fn repeated<'t>(texts: impl Iterator<Item = &'t str>) -> impl Iterator<Item = &'t str> {
    let mut seen = HashSet::new();
    let mut reported = HashSet::new();
    texts.filter(move |text| !seen.insert(*text) && reported.insert(*text))
}

/// Returns the path of a member as [`schema`](crate::schema) writes it: `a.b`, but `a["b c"]`.
#[must_use]
pub fn member_path(parent: &str, name: &str) -> String {
    if !is_plain(name) {
        format!("{parent}[{name:?}]")
    } else if parent.is_empty() {
        name.to_owned()
    } else {
        format!("{parent}.{name}")
    }
}

impl Serialize for JsonTree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Object(members) => serializer.collect_map(members.iter().map(|(name, value)| (name, value))),
            Self::Array(elements) => serializer.collect_seq(elements),
            Self::Scalar(value) => value.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for JsonTree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonTreeVisitor)
    }
}

struct JsonTreeVisitor;

impl<'de> Visitor<'de> for JsonTreeVisitor {
    type Value = JsonTree;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<JsonTree, E> {
        Ok(JsonTree::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<JsonTree, E> {
        Ok(JsonTree::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<JsonTree, E> {
        Ok(JsonTree::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<JsonTree, E> {
        Ok(JsonTree::Scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<JsonTree, E> {
        Ok(JsonTree::Scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<JsonTree, E> {
        Ok(JsonTree::Scalar(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<JsonTree, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = access.next_element()? {
            elements.push(element);
        }
        Ok(JsonTree::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<JsonTree, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = access.next_entry()? {
            members.push(member);
        }
        Ok(JsonTree::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::schema::{self, Node};

    #[test]
    fn repeated_members_are_found_at_any_depth_and_reported_once() {
        for (json, expected) in [
            (r#"{"a": {"b": 1}, "c": [{"b": 1}, {"b": 1}]}"#, &[] as &[&str]),
            (r#"{"a": 1, "a": 1, "a": 1, "b": 2}"#, &["a"]),
            (r#"{"a": 1, "\u0061": 1}"#, &["a"]),
            (r#"{"a": {"b c": 1, "b c": 2}, "d": [0, {"e": 1, "e": 1}]}"#, &["a[\"b c\"]", "d[1].e"]),
            (r#"[[{"": 1, "": 1}]]"#, &["[0][0][\"\"]"]),
        ] {
            assert_eq!(JsonTree::parse(json).unwrap().repeated(usize::MAX), expected, "{json}");
        }
    }

    #[test]
    fn a_syntax_error_has_a_place() {
        for (json, line, column) in [("{", 1, 1), ("{\n  \"a\": 1,\n}", 3, 1), ("{} {}", 1, 4), ("{\"a\" 1}", 1, 6)] {
            let error = JsonTree::parse(json).unwrap_err();
            assert_eq!((error.line, error.column), (line, column), "{json}: {error:?}");
            assert!(error.problem.starts_with("not JSON: ") && !error.problem.contains(" at line "), "{error:?}");
        }
        for (json, problem) in
            [("[1e999]", "it has a number beyond 1.8e308"), (&"[".repeat(200), "it has more than 127 levels")]
        {
            assert_eq!(JsonTree::parse(json).unwrap_err().problem, problem);
        }
    }

    proptest! {
        // serde_json reads an integer below -2^63 as a float, and may read its digits as another
        // one.
        #[test]
        fn a_tree_is_the_same_json(text in r#"([1-9][0-9]{0,18}|-[1-9][0-9]{0,17}|-?[1-9]\.[0-9]{1,3}|true|null|"(\\n|\\u00e9|[a-z{]){0,9}")"#) {
            let json = format!(r#"{{"b": [{text}], "a": {{"x": {text}}}}}"#);
            let tree = JsonTree::parse(&json).unwrap();
            let value: Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(serde_json::from_str::<Value>(&tree.to_json()).unwrap(), value);
        }

        #[test]
        fn paths_are_written_as_faults_have_them(outer in "[a-z$_.\\-\" é]{0,3}", inner in "[a-z$_.\\-\" é]{0,3}") {
            let value = serde_json::json!({&outer: {&inner: 1}});
            let root = |node: &Node<'_>| node.map(1, |_, node| node.map(1, |_, node| node.fault::<()>("")));
            let faults = schema::read_value(&value, root).unwrap_err();
            prop_assert_eq!(&faults[0].path, &member_path(&member_path("", &outer), &inner));
        }
    }

    #[test]
    fn the_paths_of_repeated_members_end_at_their_bound_however_long_a_name_is() {
        let name = "n".repeat(1000);
        let members: Vec<_> = (0..1000).map(|index| format!(r#""m{index}":1,"m{index}":2"#)).collect();
        let json = format!(r#"{{"{name}":{{{}}}}}"#, members.join(","));
        let found = JsonTree::parse(&json).unwrap().repeated(10_000);
        assert_eq!(found.len(), 10);
        assert_eq!(found[9], format!("{name}.m9"));
    }
}
