use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const PREFIX: &str = "p:";

fn keys() -> KeyRules {
    KeyRules { prefix: PREFIX.to_owned(), snapshot: Some("p:all".to_owned()) }
}

fn row(key: Option<&str>, value: &str) -> SourceRow {
    SourceRow { key: key.map(str::to_owned), value: value.to_owned() }
}

/// Returns all decisions of a plan, the sync's keys without a row, and how many keys it has.
fn planned(
    keys: &KeyRules,
    rows: impl IntoIterator<Item = SourceRow>,
    stored: impl IntoIterator<Item = StoredKey>,
) -> Result<(Vec<RowDecision>, UnmatchedKeys), PassError> {
    let mut plan = RowPlan::new(keys, stored.into_iter().map(Ok));
    let mut decisions = Vec::new();
    let mut push = |decision| {
        decisions.push(decision);
        Ok(())
    };
    rows.into_iter().try_for_each(|row| plan.row(row, &mut push))?;
    let unmatched = plan.finish(&mut push)?;
    Ok((decisions, unmatched))
}

/// Formats a decision: `a New`, `row 2: its key is NULL`.
fn line(decision: &RowDecision) -> String {
    match decision {
        RowDecision::Accept(AcceptedRow { id, state, .. }) => format!("{id} {state:?}"),
        RowDecision::Reject(RowFault { row, why }) => format!("row {row}: {why}"),
    }
}

fn owned(id: &str, value: &str) -> StoredKey {
    StoredKey { id: id.to_owned(), hash: Some(hash(value.as_bytes())), is_snapshot: false }
}

fn of_other(id: &str) -> StoredKey {
    StoredKey { id: id.to_owned(), hash: None, is_snapshot: false }
}

#[test]
fn a_row_is_new_changed_or_unchanged() {
    let rows = ["a", "b", "c", "d"].map(|id| row(Some(id), "{}"));
    let stored =
        [owned("0", "{}"), owned("b", "{}"), owned("c", "{\"x\":1}"), of_other("d"), owned("e", "{}"), of_other("f")];
    let (decisions, unmatched) = planned(&keys(), rows, stored).unwrap();
    let lines: Vec<_> = decisions.iter().map(line).collect();
    assert_eq!(lines, ["a New", "b Unchanged", "c Changed { was_own: true }", "d Changed { was_own: false }"]);
    assert_eq!(unmatched, UnmatchedKeys { gone: vec!["0".to_owned(), "e".to_owned()], owned: 4 });
}

#[test]
fn a_row_that_kv_cannot_hold_is_reported_by_its_number_and_the_others_go_on() {
    let long = "k".repeat(511);
    let longest = "k".repeat(510);
    let longest_new = format!("{longest} New");
    let too_much = format!("{{\"a\":\"{}\"}}", "x".repeat(25 << 20));
    for (name, rows, expected) in [
        (
            "NULL",
            vec![row(Some("a"), "{}"), row(None, "{}"), row(None, "{}")],
            vec!["row 2: its key is NULL", "row 3: its key is NULL", "a New"],
        ),
        ("empty", vec![row(Some(""), "{}"), row(Some("a"), "{}")], vec!["row 1: its key is empty", "a New"]),
        (
            "too long with the prefix",
            vec![row(Some(&longest), "{}"), row(Some(&long), "{}")],
            vec![&longest_new, "row 2: The key has 513 bytes; Workers KV accepts 512 at most."],
        ),
        (
            "reserved",
            vec![row(Some("all"), "{}"), row(Some("flags"), "{}")],
            vec!["row 1: its key is that of the flags or of the snapshot", "flags New"],
        ),
        (
            "duplicate keys",
            ["a", "b", "b", "c", "d", "d", "d"].map(|id| row(Some(id), "{}")).into(),
            vec![
                "a New",
                "row 2: another row has the same key",
                "row 3: another row has the same key",
                "c New",
                "row 5: another row has the same key",
                "row 6: another row has the same key",
                "row 7: another row has the same key",
            ],
        ),
        (
            "too long a value",
            vec![row(Some("a"), &too_much), row(Some("b"), "{}")],
            vec!["row 1: its value has 26214408 bytes; Workers KV accepts 26214400 at most", "b New"],
        ),
    ] {
        let (decisions, _) = planned(&keys(), rows, []).unwrap();
        let lines: Vec<_> = decisions.iter().map(line).collect();
        assert_eq!(lines, expected, "{name}");
    }
    let plain = KeyRules { prefix: String::new(), snapshot: None };
    let rows = [".", "..", "flags"].map(|id| row(Some(id), "{}"));
    let (decisions, _) = planned(&plain, rows, []).unwrap();
    assert!(decisions.iter().all(|decision| matches!(decision, RowDecision::Reject(_))), "{decisions:?}");
}

#[test]
fn a_snapshot_of_another_run_is_neither_replaced_by_a_row_nor_deleted() {
    let plain = KeyRules { prefix: String::new(), snapshot: None };
    let snapshot = || StoredKey { is_snapshot: true, ..of_other("all") };
    let (decisions, unmatched) = planned(&plain, ["all", "b"].map(|id| row(Some(id), "{}")), [snapshot()]).unwrap();
    let lines: Vec<_> = decisions.iter().map(line).collect();
    assert!(lines[0].starts_with("row 1: its key holds a snapshot"), "{lines:?}");
    assert_eq!((lines.len(), lines[1].as_str()), (2, "b New"));
    assert_eq!(unmatched, UnmatchedKeys::default());
    let (_, unmatched) = planned(&plain, [row(Some("b"), "{}")], [snapshot()]).unwrap();
    assert_eq!(unmatched, UnmatchedKeys::default());
}

#[test]
fn the_key_of_a_rejected_row_is_not_deleted() {
    let rows = [row(Some("a"), "{}"), row(Some("a"), "{}"), row(Some("b"), "{}")];
    let (decisions, unmatched) = planned(&keys(), rows, [owned("a", "{\"x\":1}"), owned("b", "{}")]).unwrap();
    assert_eq!(decisions.len(), 3);
    assert_eq!(unmatched, UnmatchedKeys { gone: Vec::new(), owned: 2 });
}

#[test]
fn rows_out_of_order_are_an_error() {
    let rows = [row(Some("b"), "{}"), row(Some("a"), "{}")];
    let error = planned(&keys(), rows, []).unwrap_err().to_string();
    assert!(error.contains("not in the order of their keys (row 2); nothing was deleted"), "{error}");
}

#[test]
fn more_than_a_fifth_is_a_mass_delete() {
    for (deletions, owned, recent_deletions, expected) in [
        (0, 0, 0, false),
        (0, 9, 0, false),
        (1, 0, 0, true),
        (1, 4, 0, true),
        (1, 5, 0, false),
        (2, 9, 0, true),
        (20, 100, 0, false),
        (21, 100, 0, true),
        // 80 of 100 keys are left: no further one may be deleted, however small the steps were.
        (1, 80, 20, true),
        (1, 81, 19, false),
        // Rows that were written in the meantime allow more deletions.
        (1, 90, 20, false),
        (0, 10, 90, false),
    ] {
        assert_eq!(
            is_mass_delete(deletions, owned, recent_deletions),
            expected,
            "{deletions} of {owned} after {recent_deletions}"
        );
    }
}

/// The keys of KV, with their value, and whether the sync owns them.
type TestKv = BTreeMap<String, (String, bool)>;

fn list(kv: &TestKv) -> Vec<StoredKey> {
    kv.iter().map(|(id, (value, is_own))| if *is_own { owned(id, value) } else { of_other(id) }).collect()
}

/// Applies a plan, except for writes and deletions that fail.
fn apply(kv: &mut TestKv, decisions: Vec<RowDecision>, unmatched: UnmatchedKeys, is_failing: impl Fn(&str) -> bool) {
    for decision in decisions {
        if let RowDecision::Accept(AcceptedRow { id, value, state, .. }) = decision
            && state != RowState::Unchanged
            && !is_failing(&id)
        {
            kv.insert(id, (value, true));
        }
    }
    for id in unmatched.gone {
        if !is_failing(&id) {
            kv.remove(&id);
        }
    }
}

fn id() -> impl Strategy<Value = String> {
    "[a-cé€\u{10000}]{1,2}"
}

fn value() -> impl Strategy<Value = String> {
    (0..3).prop_map(|number| format!("{{\"n\":{number}}}"))
}

proptest! {
    /// After a pass, the keys that the sync owns are the rows, and all other keys are unchanged.
    /// What failed is as it was before, nothing else is lost, and the next pass completes it.
    #[test]
    fn kv_becomes_the_table(
        rows in proptest::collection::btree_map(id(), value(), 0..12),
        before in proptest::collection::btree_map(id(), (value(), any::<bool>()), 0..12),
        failing in proptest::collection::btree_set(id(), 0..12),
    ) {
        let table = || rows.iter().map(|(id, value)| row(Some(id), value));
        let mut kv = before.clone();
        let (decisions, unmatched) = planned(&keys(), table(), list(&kv)).unwrap();
        prop_assert_eq!(unmatched.owned, before.values().filter(|(_, is_own)| *is_own).count() as u64);
        apply(&mut kv, decisions, unmatched, |id| failing.contains(id));
        for id in before.keys().chain(rows.keys()).collect::<BTreeSet<_>>() {
            let wanted = match (rows.get(id), before.get(id)) {
                _ if failing.contains(id) => before.get(id).cloned(),
                (Some(value), _) => Some((value.clone(), true)),
                (None, Some((value, false))) => Some((value.clone(), false)),
                (None, _) => None,
            };
            prop_assert_eq!(kv.get(id), wanted.as_ref(), "{}", id);
        }
        let (decisions, unmatched) = planned(&keys(), table(), list(&kv)).unwrap();
        apply(&mut kv, decisions, unmatched, |_| false);
        let all_own: BTreeMap<_, _> = kv.iter().filter(|(_, (_, is_own))| *is_own).map(|(id, (value, _))| (id.clone(), value.clone())).collect();
        prop_assert_eq!(&all_own, &rows);
        let of_others = |kv: &TestKv| kv.iter().filter(|(id, (_, is_own))| !is_own && !rows.contains_key(*id)).map(|(id, entry)| (id.clone(), entry.clone())).collect::<TestKv>();
        prop_assert_eq!(of_others(&kv), of_others(&before));
        // A third pass has nothing to do.
        let (decisions, unmatched) = planned(&keys(), table(), list(&kv)).unwrap();
        prop_assert!(unmatched.gone.is_empty());
        let is_unchanged = |decision: &RowDecision| matches!(decision, RowDecision::Accept(AcceptedRow { state: RowState::Unchanged, .. }));
        prop_assert!(decisions.iter().all(is_unchanged), "{:?}", decisions);
    }

    /// Each row is written, unchanged or rejected, and no key that has a row is deleted.
    #[test]
    fn every_row_is_accounted_for(
        ids in proptest::collection::vec(proptest::option::weighted(0.9, "(\\.|\\.\\.|all|flags|[a-c]{0,2})"), 0..12),
        before in proptest::collection::btree_map(id(), (value(), any::<bool>()), 0..12),
    ) {
        let mut ids = ids;
        // NULL sorts last.
        ids.sort_by_key(|id| (id.is_none(), id.clone()));
        let rows = ids.iter().map(|id| row(id.as_deref(), "{}"));
        let (decisions, unmatched) = planned(&KeyRules { prefix: String::new(), snapshot: Some("all".to_owned()) }, rows, list(&before)).unwrap();
        prop_assert_eq!(decisions.len(), ids.len());
        prop_assert!(unmatched.gone.iter().all(|gone| !ids.contains(&Some(gone.clone()))));
        let accepted = |decision: &RowDecision| if let RowDecision::Accept(row) = decision { Some(row.id.clone()) } else { None };
        for id in decisions.iter().filter_map(accepted) {
            prop_assert!(Key::new(id.as_str()).is_ok() && id != "all" && id != "flags");
            prop_assert_eq!(ids.iter().filter(|other| other.as_deref() == Some(&id)).count(), 1);
        }
    }
}
