//! Damages records at random.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value, json};

use crate::input::{BASES, ORIGINS, PATH_PIECES, URL_PIECES, mixed};

#[derive(Debug, Clone)]
pub(crate) enum Damage {
    Replace(Vec<Index>, Value),
    Remove(Vec<Index>, Index),
    Swap(Vec<Index>, Vec<Index>),
    Nest(Vec<Index>, usize),
    Rename(Vec<Index>, Index, String),
    Truncate(Index),
    Insert(Index, String),
}

pub(crate) fn damage() -> impl Strategy<Value = Damage> {
    let place = || vec(any::<Index>(), 1..5);
    let junk = json!([
        null, true, 0, -1, 0.5, 1e308, u64::MAX, 4_294_967_297_u64, "", "/", "blue", "domain:x", "x\u{0}y", [], {}, [[]], {"storefront": "tea"},
        "https://evil.example", "http://a.example", "http://local.test:8080", "https://a.example@evil.example", "https://a.example\\@evil.example",
        "https://a.example.evil.example", "https://a.example:444", "https://127.0.0.1", "https://[::1]", "https://shops.test", "https://evilshops.test", "https://1.shops.test",
        "https://a.example/..", "https://a.example/%2e%2e/x", "https://a.example/x?y", "https://a.example#", "//a.example", "https:a.example",
    ]);
    let junk = prop_oneof![
        3 => select(junk.as_array().cloned().unwrap_or_default()),
        3 => (select(ORIGINS), select(BASES)).prop_map(|(origin, base)| Value::from([origin, base].concat())),
        1 => mixed(URL_PIECES, 5).prop_map(Value::from),
        1 => mixed(PATH_PIECES, 5).prop_map(Value::from),
    ];
    let text = prop_oneof![
        Just("9".repeat(400)),
        Just("[".repeat(300)),
        Just("{\"a\":".repeat(200)),
        Just(",".to_owned()),
        Just("1e999".to_owned()),
        Just("\\ud800".to_owned()),
        any::<String>(),
    ];
    prop_oneof![
        6 => (place(), junk).prop_map(|(place, junk)| Damage::Replace(place, junk)),
        1 => (place(), any::<Index>()).prop_map(|(place, index)| Damage::Remove(place, index)),
        2 => (place(), place()).prop_map(|(one, other)| Damage::Swap(one, other)),
        1 => (place(), 1..200_usize).prop_map(|(place, depth)| Damage::Nest(place, depth)),
        1 => (place(), any::<Index>(), "[a-zA-Z$ ]{0,9}|.{0,3}").prop_map(|(place, index, name)| Damage::Rename(place, index, name)),
        1 => any::<Index>().prop_map(Damage::Truncate),
        1 => (any::<Index>(), text).prop_map(|(index, text)| Damage::Insert(index, text)),
    ]
}

/// Returns the value at the end of a path of random choices.
fn at<'v>(value: &'v mut Value, place: &[Index]) -> &'v mut Value {
    let children = value.as_array().map(Vec::len).or(value.as_object().map(Map::len)).unwrap_or(0);
    let Some((index, place)) = place.split_first().filter(|_| children > 0) else { return value };
    let chosen = index.index(children);
    let child = match value {
        Value::Array(elements) => elements.get_mut(chosen),
        Value::Object(members) => members.values_mut().nth(chosen),
        _ => None,
    };
    at(child.expect("a child"), place)
}

fn member(members: &Map<String, Value>, index: Index) -> Option<String> {
    (!members.is_empty()).then(|| members.keys().nth(index.index(members.len())).expect("a member").clone())
}

pub(crate) fn damaged(mut record: Value, damages: Vec<Damage>) -> String {
    let mut to_text = Vec::new();
    for damage in damages {
        match damage {
            Damage::Replace(place, junk) => *at(&mut record, &place) = junk,
            Damage::Remove(place, index) => match at(&mut record, &place) {
                Value::Object(members) => drop(member(members, index).map(|name| members.remove(&name))),
                Value::Array(elements) if !elements.is_empty() => drop(elements.remove(index.index(elements.len()))),
                _ => {}
            },
            Damage::Swap(one, other) => {
                let moved = at(&mut record, &one).clone();
                let other = at(&mut record, &other);
                let moved_back = std::mem::replace(other, moved);
                *at(&mut record, &one) = moved_back;
            }
            Damage::Nest(place, depth) => {
                let value = at(&mut record, &place);
                (0..depth).for_each(|_| *value = json!([value.take()]));
            }
            Damage::Rename(place, index, name) => {
                if let Value::Object(members) = at(&mut record, &place)
                    && let Some(value) = member(members, index).and_then(|old| members.remove(&old))
                {
                    members.insert(name, value);
                }
            }
            Damage::Truncate(_) | Damage::Insert(..) => to_text.push(damage),
        }
    }
    let mut text = record.to_string();
    for damage in to_text {
        let (Damage::Truncate(index) | Damage::Insert(index, _)) = &damage else { continue };
        let mut place = index.index(text.len() + 1);
        while !text.is_char_boundary(place) {
            place -= 1;
        }
        match damage {
            Damage::Insert(_, inserted) => text.insert_str(place, &inserted),
            _ => text.truncate(place),
        }
    }
    text
}
