//! A reader of JSON records that reports all faults, up to a hundred, each with its place, such as
//! `routes[1].origin`.
//!
//! Derived readers of serde stop at the first fault and know only its line. Here a [`Node`]
//! knows its path, which is formatted only for a fault, and reading goes on after a fault.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

use serde_json::Value;

use crate::record;

/// The largest number of faults that are reported for a record.
pub const FAULTS_MAX: usize = 100;

/// A fault in a record, and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The path, such as `variants[0].weight`; empty for the whole record.
    pub path: String,
    /// What is wrong.
    pub problem: Cow<'static, str>,
}

impl Fault {
    /// Returns the fault of a member whose name occurs again in the same object.
    #[must_use]
    pub fn of_repeated(path: String) -> Self {
        Self { path, problem: "it occurs more than once; only the last one counts".into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            formatter.write_str(&self.problem)
        } else {
            write!(formatter, "{}: {}", self.path, self.problem)
        }
    }
}

/// Reads a JSON object. `root` reads the root node; its result counts only if there is no fault.
///
/// # Errors
/// All faults: at least one, at most [`FAULTS_MAX`].
pub fn read<T>(json: &str, root: impl FnOnce(&Node<'_>) -> Option<T>) -> Result<T, Vec<Fault>> {
    let value: Value = record::parse(json)
        .map_err(|broken| vec![Fault { path: String::new(), problem: Cow::Owned(broken.to_string()) }])?;
    read_value(&value, root)
}

/// Reads a parsed JSON value, as [`read`] does.
///
/// # Errors
/// All faults: at least one, at most [`FAULTS_MAX`].
pub fn read_value<T>(value: &Value, root: impl FnOnce(&Node<'_>) -> Option<T>) -> Result<T, Vec<Fault>> {
    let faults = RefCell::default();
    let node = Node { value, path: NodePath { parent: None, step: PathStep::Root }, faults: &faults };
    let read = root(&node);
    let faults = faults.into_inner();
    match read {
        Some(read) if faults.is_empty() => Ok(read),
        _ if faults.is_empty() => Err(vec![Fault { path: String::new(), problem: "it is not complete".into() }]),
        _ => Err(faults),
    }
}

/// One value of a record, which knows its path.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    value: &'a Value,
    path: NodePath<'a>,
    faults: &'a RefCell<Vec<Fault>>,
}

#[derive(Clone, Copy)]
struct NodePath<'a> {
    parent: Option<&'a NodePath<'a>>,
    step: PathStep<'a>,
}

#[derive(Clone, Copy)]
enum PathStep<'a> {
    Root,
    Member(&'a str),
    Element(usize),
}

impl Node<'_> {
    /// Reports a fault at this node. Returns `None`, so that it can be the last expression of a
    /// reader.
    pub fn fault<T>(&self, problem: impl Into<Cow<'static, str>>) -> Option<T> {
        self.note(problem.into());
        None
    }

    /// A function of its own, so that it is compiled once and not for each type.
    fn note(&self, problem: Cow<'static, str>) {
        let mut faults = self.faults.borrow_mut();
        if faults.len() < FAULTS_MAX {
            faults.push(Fault { path: self.path.to_string(), problem });
        }
    }

    /// Returns a string, or reports a fault.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.value.as_str().or_else(|| self.fault("it must be a string"))
    }

    /// Returns a string; `None` without a fault if the node is something else.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        self.value.as_str()
    }

    /// Returns the result of parsing a string, or reports the error as a fault.
    pub fn parsed<T, E: fmt::Display>(&self, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        parse(self.text()?).map_or_else(|error| self.fault(error.to_string()), Some)
    }

    /// Returns the JSON value, for a reader of its own.
    #[must_use]
    pub fn value(&self) -> &Value {
        self.value
    }

    /// Returns a whole number in the range, or reports a fault.
    #[must_use]
    pub fn integer(&self, range: std::ops::RangeInclusive<u32>) -> Option<u32> {
        let number = self.value.as_u64().and_then(|number| u32::try_from(number).ok());
        number
            .filter(|number| range.contains(number))
            .or_else(|| self.fault(format!("it must be a whole number from {} to {}", range.start(), range.end())))
    }

    /// Reads each element of an array of at most `max`. Those that `read` returns nothing for are
    /// left out.
    pub fn list<T>(&self, max: usize, mut read: impl FnMut(&Node<'_>) -> Option<T>) -> Option<Vec<T>> {
        let Some(elements) = self.value.as_array() else { return self.fault("it must be an array") };
        if elements.len() > max {
            return self.fault(format!("it has {} elements; at most {max} are allowed", elements.len()));
        }
        let of = |(index, value)| read(&self.child(value, PathStep::Element(index)));
        Some(elements.iter().enumerate().filter_map(of).collect())
    }

    /// Reads each member of an object with arbitrary names, at most `max`. Those that `read`
    /// returns nothing for are left out.
    pub fn map<T>(&self, max: usize, mut read: impl FnMut(&str, &Node<'_>) -> Option<T>) -> Option<Vec<T>> {
        let Some(members) = self.value.as_object() else { return self.fault("it must be an object") };
        if members.len() > max {
            return self.fault(format!("it has {} members; at most {max} are allowed", members.len()));
        }
        let of = |(name, value): (&String, _)| read(name, &self.child(value, PathStep::Member(name)));
        Some(members.iter().filter_map(of).collect())
    }

    /// Returns an object that may only have these members, and `$schema`. An unknown member is a
    /// fault, because a misspelt name must not count as a missing one.
    #[must_use]
    pub fn object(&self, known: &[&str]) -> Option<ObjectNode<'_>> {
        let Some(members) = self.value.as_object() else { return self.fault("it must be an object") };
        for (name, value) in members {
            if name != "$schema" && !known.contains(&name.as_str()) {
                let _noted: Option<()> = self
                    .child(value, PathStep::Member(name))
                    .fault(format!("unknown member; known: {}", known.join(", ")));
            }
        }
        Some(ObjectNode { node: *self, members })
    }

    fn child<'c>(&'c self, value: &'c Value, step: PathStep<'c>) -> Node<'c> {
        Node { value, path: NodePath { parent: Some(&self.path), step }, faults: self.faults }
    }
}

/// An object with known members.
#[derive(Clone, Copy)]
pub struct ObjectNode<'a> {
    node: Node<'a>,
    members: &'a serde_json::Map<String, Value>,
}

impl ObjectNode<'_> {
    /// Reads a member if there is one. `null` is a fault, because an empty list of a template
    /// must not count as no list.
    pub fn member<T>(&self, name: &str, read: impl FnOnce(&Node<'_>) -> Option<T>) -> Option<T> {
        read(&self.filled(name)?)
    }

    /// Reads a member if there is one, even if it is `null`.
    pub fn member_or_null<T>(&self, name: &str, read: impl FnOnce(&Node<'_>) -> Option<T>) -> Option<T> {
        read(&self.node(name)?)
    }

    /// Reads a required member. Its absence is a fault.
    pub fn required<T>(&self, name: &str, read: impl FnOnce(&Node<'_>) -> Option<T>) -> Option<T> {
        if !self.has(name) {
            return self.node.child(&Value::Null, PathStep::Member(name)).fault("it is missing");
        }
        self.member(name, read)
    }

    /// Returns a member that is not `null`.
    fn filled<'s>(&'s self, name: &'s str) -> Option<Node<'s>> {
        let node = self.node(name)?;
        if node.value.is_null() { node.fault("it must not be null; leave it out") } else { Some(node) }
    }

    fn node<'s>(&'s self, name: &'s str) -> Option<Node<'s>> {
        Some(self.node.child(self.members.get(name)?, PathStep::Member(name)))
    }

    /// Returns true if the object has the member.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }
}

/// Returns true if the name needs no quotes in a path.
#[must_use]
pub fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$'))
}

impl fmt::Display for NodePath<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(formatter)?;
        }
        let is_first = self.parent.is_none_or(|parent| matches!(parent.step, PathStep::Root));
        match self.step {
            PathStep::Root => Ok(()),
            PathStep::Member(name) if is_plain(name) && is_first => formatter.write_str(name),
            PathStep::Member(name) if is_plain(name) => write!(formatter, ".{name}"),
            PathStep::Member(name) => write!(formatter, "[{name:?}]"),
            PathStep::Element(index) => write!(formatter, "[{index}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(json: &str) -> Vec<String> {
        let root = |node: &Node<'_>| {
            let object = node.object(&["name", "items"])?;
            let name = object.required("name", |name| name.text().map(str::to_owned));
            let items = object.member("items", |items| {
                items.list(2, |item| {
                    let item = item.object(&["weight", "set"])?;
                    item.member("set", |set| set.map(9, |_, value| value.text().map(str::to_owned)));
                    item.required("weight", |weight| weight.integer(1..=9))
                })
            });
            Some((name, items))
        };
        read(json, root).map_or_else(|faults| faults.iter().map(ToString::to_string).collect(), |_| Vec::new())
    }

    #[test]
    fn each_fault_names_its_place() {
        for (json, expected) in [
            (r#"{"name": "a", "items": [{"weight": 1}], "$schema": "x"}"#, &[] as &[&str]),
            (r#"{"name": "a", "items": null}"#, &["items: it must not be null; leave it out"]),
            ("[]", &["not a JSON object at line 1, column 1"]),
            ("{", &["invalid JSON at line 1, column 1"]),
            ("{}", &["name: it is missing"]),
            (r#"{"name": null}"#, &["name: it must not be null; leave it out"]),
            (r#"{"name": 1}"#, &["name: it must be a string"]),
            (r#"{"name": "a", "nmae": 1}"#, &["nmae: unknown member; known: name, items"]),
            (r#"{"name": "a", "items": {}}"#, &["items: it must be an array"]),
            (r#"{"name": "a", "items": [{"weight": 1}, 2]}"#, &["items[1]: it must be an object"]),
            (
                r#"{"items": [{"weight": 0}, {}]}"#,
                &[
                    "name: it is missing",
                    "items[0].weight: it must be a whole number from 1 to 9",
                    "items[1].weight: it is missing",
                ],
            ),
            (
                r#"{"name": "a", "items": [{"weight": 1.5, "set": {"X A": 1}}]}"#,
                &[
                    "items[0].set[\"X A\"]: it must be a string",
                    "items[0].weight: it must be a whole number from 1 to 9",
                ],
            ),
            (r#"{"name": "a", "items": [1, 2, 3]}"#, &["items: it has 3 elements; at most 2 are allowed"]),
        ] {
            assert_eq!(faults(json), expected, "{json}");
        }
    }
}
