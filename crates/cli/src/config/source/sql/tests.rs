use proptest::prelude::*;

use super::*;

fn shape(columns: &[(&str, Type)]) -> Result<QueryShape, String> {
    let columns: Vec<_> = columns.iter().map(|(name, column)| ((*name).to_owned(), column.clone())).collect();
    QueryShape::new("SELECT 1;", &columns, true).map_err(|error| error.to_string())
}

#[test]
fn trailing_semicolons_are_removed() {
    for (query, expected) in [
        ("SELECT 1", "SELECT 1"),
        ("SELECT 1;", "SELECT 1"),
        ("SELECT 1 ; \n;-- bye;\n /* a /* b; */ ; */ ", "SELECT 1 "),
        ("SELECT 1 -- ; bye", "SELECT 1 -- ; bye"),
        ("SELECT ';'", "SELECT ';'"),
        ("SELECT ';';", "SELECT ';'"),
        ("SELECT 'it''s;' ;", "SELECT 'it''s;' "),
        (r"SELECT 'a\';", r"SELECT 'a\'"),
        (r"SELECT E'a\';';", r"SELECT E'a\';'"),
        (r"SELECT e'\\';", r"SELECT e'\\'"),
        (r"SELECT type'\';", r"SELECT type'\'"),
        ("SELECT \"a;\"\"b;\";", "SELECT \"a;\"\"b;\""),
        ("SELECT $$;'$$;", "SELECT $$;'$$"),
        ("SELECT $a$;$$;$a$ ;", "SELECT $a$;$$;$a$ "),
        ("SELECT a$b;", "SELECT a$b"),
        ("SELECT $1;", "SELECT $1"),
        ("SELECT é;", "SELECT é"),
        ("SELECT 1; SELECT 2", "SELECT 1; SELECT 2"),
        ("SELECT 1; SELECT 2;", "SELECT 1; SELECT 2"),
        ("SELECT 'a;", "SELECT 'a;"),
        ("/* ;", "/* ;"),
        (";", ""),
        ("", ""),
    ] {
        assert_eq!(without_end(query), expected, "{query:?}");
    }
}

#[test]
fn columns_that_make_no_key_or_no_value_are_refused() {
    for (columns, expected) in [
        (&[][..], "returns no rows"),
        (&[("id", Type::TEXT)], "only one column, \"id\""),
        (&[("id", Type::TEXT), ("a", Type::BOOL), ("a", Type::BOOL)], "two columns \"a\"; give column 3"),
        (&[("id", Type::TEXT), ("?column?", Type::INT4)], "column 2 of the query has no name"),
        (&[("id", Type::JSON), ("a", Type::BOOL)], "has the type json"),
        (&[("id", Type::JSONB), ("a", Type::BOOL)], "has the type jsonb"),
        (&[("id", Type::TEXT_ARRAY), ("a", Type::BOOL)], "has the type _text"),
        (&[("id", Type::BYTEA), ("a", Type::BOOL)], "has the type bytea"),
        (&[("id", Type::INT4_RANGE), ("a", Type::BOOL)], "has the type int4range"),
    ] {
        let sentence = shape(columns).unwrap_err();
        assert!(sentence.contains(expected), "{columns:?}: {sentence}");
    }
    for columns in [
        [("id", Type::INT8), ("id", Type::INT8)],
        [("?column?", Type::TEXT), ("a", Type::JSONB)],
        [("at", Type::TIMESTAMPTZ), ("a", Type::TEXT_ARRAY)],
    ] {
        assert!(shape(&columns).is_ok(), "{columns:?}");
    }
}

#[test]
fn the_statement_encloses_the_query() {
    let shape = shape(&[("id", Type::INT4), ("a \"b\"", Type::BOOL), ("c", Type::BOOL)]).unwrap();
    let select = "SELECT (q.c0)::text, row_to_json((SELECT r FROM (SELECT q.c1 AS \"a \"\"b\"\"\", q.c2 AS \"c\") AS r))::text \
                  FROM (\nSELECT 1\n) AS q(c0, c1, c2)";
    assert_eq!(shape.all(), format!("{select} ORDER BY (q.c0)::text COLLATE \"C\" NULLS LAST"));
    assert_eq!(
        shape.some(),
        format!(
            "{select} WHERE q.c0 = ANY($1::text[]::int4[]) AND (q.c0)::text COLLATE \"C\" = ANY($1::text[]) ORDER BY (q.c0)::text COLLATE \"C\""
        )
    );
}

#[test]
fn keys_that_no_row_can_have_are_not_queried() {
    let uuid = "0b2f7c3e-1d1a-4c6e-9a57-0123456789ab";
    for (key_type, key, expected) in [
        (KeyColumnType::Text, "", true),
        (KeyColumnType::Text, "a\0", false),
        (KeyColumnType::Int2, "32767", true),
        (KeyColumnType::Int2, "32768", false),
        (KeyColumnType::Int4, "-1", true),
        (KeyColumnType::Int4, "a", false),
        (KeyColumnType::Int8, "9223372036854775807", true),
        (KeyColumnType::Int8, "9223372036854775808", false),
        (KeyColumnType::Uuid, uuid, true),
        (KeyColumnType::Uuid, "0b2f7c3e1d1a4c6e9a570123456789ab", false),
        (KeyColumnType::Uuid, "------------------------------------", false),
        (KeyColumnType::Other, "anything", true),
    ] {
        assert_eq!(key_type.can_be(key), expected, "{key_type:?} {key:?}");
    }
}

proptest! {
    #[test]
    fn any_query_loses_only_a_suffix_that_begins_with_a_semicolon(query in r#"[a;'"$\\*/E \n-]{0,24}"#) {
        let rest = without_end(&query);
        prop_assert!(query.starts_with(rest));
        prop_assert!(rest.len() == query.len() || query.as_bytes()[rest.len()] == b';');
        prop_assert_eq!(without_end(rest), rest);
    }
}

#[test]
fn a_row_is_found_by_its_number_whatever_its_columns_are_called() {
    for (names, is_utf8, expected) in [
        (&["id", "a"][..], true, r#"AS q ORDER BY (q."id")::text COLLATE "C" OFFSET 3 LIMIT 1"#),
        (&["i\"d", "a"], true, r#"AS q ORDER BY (q."i""d")::text COLLATE "C" OFFSET 3 LIMIT 1"#),
        // A later column has the name of the first one and keeps it.
        (&["id", "id", "id_"], true, r#"AS q("id__") ORDER BY (q."id__")::text COLLATE "C" OFFSET 3 LIMIT 1"#),
        (&["id", "a"], false, r#"AS q ORDER BY convert_to((q."id")::text, 'UTF8') OFFSET 3 LIMIT 1"#),
    ] {
        let columns: Vec<_> = names.iter().map(|name| ((*name).to_owned(), Type::TEXT)).collect();
        let shape = QueryShape::new("SELECT 1", &columns, is_utf8).unwrap();
        assert_eq!(shape.how_to_find(4), format!("SELECT * FROM (the query) {expected}"), "{names:?}");
    }
}
