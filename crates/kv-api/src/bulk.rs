//! Bulk calls: many keys in one request. A batch is checked whole before its first write, and
//! split if it has more keys than one invocation of a Worker may change.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use kv_store::limits::{BULK_READ_KEYS_MAX, METADATA_BYTES_MAX, VALUE_BYTES_MAX};
use kv_store::record::to_json;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::bulk_call::KEYS_MAX;
use crate::error::{KvApiError, Operation};
use crate::expiration::Expiration;
use crate::split_batch::BulkItem;

/// Padding may be missing.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A pair of a bulk write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair<'a> {
    /// The key.
    pub key: Cow<'a, str>,
    /// The value.
    pub value: PairValue<'a>,
    /// When the pair expires.
    pub expiration: Option<Expiration>,
    /// The metadata as JSON.
    pub metadata: Option<&'a str>,
}

/// The value of a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PairValue<'a> {
    /// Text.
    Text(Cow<'a, str>),
    /// Bytes, which the body has in base64.
    Bytes(Vec<u8>),
}

#[derive(Deserialize)]
struct PairJson<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow)]
    value: Cow<'a, str>,
    base64: Option<bool>,
    expiration: Option<serde_json::Number>,
    expiration_ttl: Option<serde_json::Number>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

/// The pairs of a bulk write, each with its JSON.
#[derive(Debug)]
pub struct BulkPut<'a> {
    pairs: Vec<(Pair<'a>, &'a str)>,
}

impl<'a> BulkPut<'a> {
    /// Reads and checks the body of a bulk write. Of several pairs with one key the last one
    /// counts. `key_bytes_max` is the longest key of the namespace, `now` the time in seconds
    /// since the Unix epoch.
    ///
    /// # Errors
    /// [`KvApiError`] if the body is no list of pairs, or has more than [`KEYS_MAX`], or else for
    /// the first pair that cannot be written, which it names. Nothing is written then.
    ///
    /// # Examples
    ///
    /// ```
    /// use kv_api::bulk::{BulkPut, PairValue};
    ///
    /// let body = br#"[{"key": "a", "value": "1"}, {"key": "b", "value": "aGk=", "base64": true},
    ///     {"key": "a", "value": "2"}]"#;
    /// let pairs = BulkPut::parse(body, 512, 1_764_424_800)?.into_pairs();
    /// let values: Vec<_> = pairs.into_iter().map(|pair| (pair.key, pair.value)).collect();
    /// let (a, b) = (PairValue::Text("2".into()), PairValue::Bytes(b"hi".to_vec()));
    /// assert_eq!(values, [("a".into(), a), ("b".into(), b)]);
    /// # Ok::<(), kv_api::error::KvApiError>(())
    /// ```
    #[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "no pair is removed while others are added")]
    pub fn parse(body: &'a [u8], key_bytes_max: usize, now: u64) -> Result<Self, KvApiError> {
        let invalid = |why: String| KvApiError::InvalidBody(Operation::BulkPut, why);
        let raw: Vec<&'a RawValue> = serde_json::from_slice(body).map_err(|error| invalid(error.to_string()))?;
        check_count(raw.len(), Operation::BulkPut)?;
        let mut pairs: Vec<(Pair<'a>, &'a str)> = Vec::with_capacity(raw.len());
        let mut positions: HashMap<Cow<'a, str>, usize> = HashMap::with_capacity(raw.len());
        for (index, raw) in raw.into_iter().enumerate() {
            let json: PairJson<'a> =
                serde_json::from_str(raw.get()).map_err(|error| invalid(format!("pair {index}: {error}")))?;
            let pair = Pair::check(json, key_bytes_max, now).map_err(|error| error.of_pair(index))?;
            match positions.entry(pair.key.clone()) {
                Entry::Occupied(position) => {
                    let earlier = pairs.get_mut(*position.get()).expect("each position is that of a pair");
                    *earlier = (pair, raw.get());
                }
                Entry::Vacant(position) => {
                    position.insert(pairs.len());
                    pairs.push((pair, raw.get()));
                }
            }
        }
        Ok(Self { pairs })
    }

    /// Returns the keys.
    #[must_use]
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &str> {
        self.pairs.iter().map(|(pair, _)| pair.key.as_ref())
    }

    /// Returns the pairs.
    #[must_use]
    pub fn into_pairs(self) -> Vec<Pair<'a>> {
        self.pairs.into_iter().map(|(pair, _)| pair).collect()
    }

    /// Returns each key with the JSON of its pair, for further invocations.
    #[must_use]
    pub fn into_items(self) -> Vec<BulkItem<'a>> {
        self.pairs.into_iter().map(|(pair, json)| BulkItem { key: pair.key.into_owned(), json: json.into() }).collect()
    }
}

impl<'a> Pair<'a> {
    fn check(json: PairJson<'a>, key_bytes_max: usize, now: u64) -> Result<Self, KvApiError> {
        let operation = Operation::BulkPut;
        check_key(&json.key, key_bytes_max, operation)?;
        let value = if json.base64 == Some(true) {
            let bytes = BASE64.decode(json.value.as_ref());
            PairValue::Bytes(bytes.map_err(|error| {
                KvApiError::InvalidBody(operation, format!("the value of {:?} is not base64: {error}", json.key))
            })?)
        } else {
            PairValue::Text(json.value)
        };
        let bytes = match &value {
            PairValue::Text(text) => text.len(),
            PairValue::Bytes(bytes) => bytes.len(),
        };
        if bytes as u64 > VALUE_BYTES_MAX {
            return Err(KvApiError::ValueTooLong(operation));
        }
        let number = |number: Option<serde_json::Number>| number.map(|number| number.to_string());
        let (expiration, ttl) = (number(json.expiration), number(json.expiration_ttl));
        let expiration = Expiration::parse(expiration.as_deref(), ttl.as_deref(), now, operation)?;
        let metadata = json.metadata.map(RawValue::get).filter(|json| *json != "null");
        let metadata = metadata.map(|json| check_metadata(json, operation)).transpose()?;
        Ok(Self { key: json.key, value, expiration, metadata })
    }
}

/// Reads and checks the keys of a bulk delete, each once.
///
/// # Errors
/// [`KvApiError`] if the body is no list of keys, has more than [`KEYS_MAX`], or one that is not
/// valid ([`check_key`]).
///
/// # Examples
///
/// ```
/// use kv_api::bulk::parse_delete;
///
/// assert_eq!(parse_delete(br#"["a", "b", "a"]"#, 512)?, ["a", "b"]);
/// assert!(parse_delete(br#"["a", ".."]"#, 512).is_err(), "then not even `a` is deleted");
/// # Ok::<(), kv_api::error::KvApiError>(())
/// ```
pub fn parse_delete(body: &[u8], key_bytes_max: usize) -> Result<Vec<String>, KvApiError> {
    let operation = Operation::BulkDelete;
    let keys: Vec<String> =
        serde_json::from_slice(body).map_err(|error| KvApiError::InvalidBody(operation, error.to_string()))?;
    check_count(keys.len(), operation)?;
    keys.iter().try_for_each(|key| check_key(key, key_bytes_max, operation))?;
    Ok(each_once(keys))
}

/// The form in which a bulk read returns values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueType {
    /// As text.
    #[default]
    Text,
    /// As JSON.
    Json,
}

/// The body of a bulk read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct BulkGet {
    /// The keys, each once.
    pub keys: Vec<String>,
    /// The form of the values.
    #[serde(default, rename = "type")]
    pub value_type: ValueType,
    /// True if the metadata is asked for, too.
    #[serde(default, rename = "withMetadata")]
    pub with_metadata: bool,
}

impl BulkGet {
    /// Reads and checks the body of a bulk read.
    ///
    /// # Errors
    /// [`KvApiError`] if it does not parse, has no keys or more than 100, or one that is not valid
    /// ([`check_key`]).
    ///
    /// # Examples
    ///
    /// ```
    /// use kv_api::bulk::{BulkGet, ValueType};
    ///
    /// let read = BulkGet::parse(br#"{"keys": ["a", "b"], "type": "json"}"#, 512)?;
    /// assert_eq!(read.value_type, ValueType::Json);
    /// assert_eq!((read.keys, read.with_metadata), (vec!["a".to_owned(), "b".to_owned()], false));
    /// # Ok::<(), kv_api::error::KvApiError>(())
    /// ```
    pub fn parse(body: &[u8], key_bytes_max: usize) -> Result<Self, KvApiError> {
        let operation = Operation::BulkGet;
        let read: Self =
            serde_json::from_slice(body).map_err(|error| KvApiError::InvalidBody(operation, error.to_string()))?;
        let argument = |why: &str| Err(KvApiError::InvalidArgument(operation, why.to_owned()));
        match read.keys.len() {
            0 => return argument("You must request at least 1 key"),
            1..=BULK_READ_KEYS_MAX => {}
            _ => return argument("You can request a maximum of 100 keys"),
        }
        read.keys.iter().try_for_each(|key| check_key(key, key_bytes_max, operation))?;
        Ok(Self { keys: each_once(read.keys), ..read })
    }
}

/// The result of a bulk read: each key with its value, in the order in which they were asked for.
///
/// # Examples
///
/// ```
/// use kv_api::bulk::{BulkValue, BulkValues, ValueType};
///
/// let value = BulkValue::new(r#"{"plan": "pro"}"#.to_owned(), ValueType::Json, None).unwrap();
/// let values = vec![("ann".to_owned(), Some(value)), ("eve".to_owned(), None)];
/// let json = serde_json::to_string(&BulkValues { values, with_metadata: false })?;
/// assert_eq!(json, r#"{"values":{"ann":{"plan": "pro"},"eve":null}}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
pub struct BulkValues {
    /// A key with its value; `None` if the namespace has no such key.
    pub values: Vec<(String, Option<BulkValue>)>,
    /// True if the metadata is shown, too.
    pub with_metadata: bool,
}

/// A value of a bulk read.
pub struct BulkValue {
    value: Box<RawValue>,
    metadata: Option<Box<RawValue>>,
}

impl BulkValue {
    /// Returns the value in the form that was asked for, with its metadata as JSON.
    ///
    /// [`BulkValues`] has an example.
    ///
    /// # Errors
    /// [`KvApiError::InvalidArgument`] if the form is JSON and the value is not.
    pub fn new(text: String, value_type: ValueType, metadata: Option<String>) -> Result<Self, KvApiError> {
        let json = match value_type {
            ValueType::Text => to_json(&text),
            ValueType::Json => text,
        };
        let not_json = "At least one of the requested keys corresponds to a non-JSON value";
        let raw = |json| {
            RawValue::from_string(json)
                .map_err(|_| KvApiError::InvalidArgument(Operation::BulkGet, not_json.to_owned()))
        };
        Ok(Self { value: raw(json)?, metadata: metadata.map(raw).transpose()? })
    }
}

impl Serialize for BulkValues {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Values<T> {
            values: T,
        }
        #[derive(Serialize)]
        #[serde(untagged)]
        enum BulkValueJson<'a> {
            Value(&'a RawValue),
            WithMetadata { value: &'a RawValue, metadata: Option<&'a RawValue> },
        }
        let values = self.values.iter().map(|(key, value)| {
            let json = value.as_ref().map(|BulkValue { value, metadata }| {
                if self.with_metadata {
                    BulkValueJson::WithMetadata { value, metadata: metadata.as_deref() }
                } else {
                    BulkValueJson::Value(value)
                }
            });
            (key, json)
        });
        Values { values: OrderedMap(values.collect()) }.serialize(serializer)
    }
}

/// The members of an object, in their order.
struct OrderedMap<K, V>(Vec<(K, V)>);

impl<K: Serialize, V: Serialize> Serialize for OrderedMap<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

/// Checks that Workers KV accepts a key: it is not empty, `.` or `..`, and has at most
/// `key_bytes_max` bytes. [`kv_store::limits::Key`] checks it again with its prefix.
///
/// # Errors
/// [`KvApiError::InvalidKey`] says why Workers KV does not accept it.
pub fn check_key(key: &str, key_bytes_max: usize, operation: Operation) -> Result<(), KvApiError> {
    let why = match key {
        "" => "key cannot be empty".to_owned(),
        "." | ".." => format!("key cannot be {key:?}"),
        _ => return check_prefix(key, key_bytes_max, operation),
    };
    Err(KvApiError::InvalidKey(operation, why))
}

/// Checks that keys may begin with this: only its length counts.
///
/// # Errors
/// [`KvApiError::InvalidKey`] if it is longer than a key.
pub fn check_prefix(prefix: &str, key_bytes_max: usize, operation: Operation) -> Result<(), KvApiError> {
    if prefix.len() <= key_bytes_max {
        return Ok(());
    }
    let why = format!("UTF-8 encoded length of {} exceeds key length limit of {key_bytes_max}.", prefix.len());
    Err(KvApiError::InvalidKey(operation, why))
}

/// Checks metadata and returns it.
///
/// # Errors
/// [`KvApiError::InvalidMetadata`] if it cannot be read as JSON,
/// [`KvApiError::MetadataTooLong`] if it has more than 1024 bytes in the form in which the runtime
/// stores it, without spaces.
///
/// # Examples
///
/// ```
/// use kv_api::bulk::check_metadata;
/// use kv_api::error::Operation;
///
/// let spaces = " ".repeat(2000);
/// assert!(check_metadata(&format!(r#"{{"v":{spaces}1}}"#), Operation::Put).is_ok());
/// assert!(check_metadata("{v: 1}", Operation::Put).is_err());
/// ```
pub fn check_metadata(json: &str, operation: Operation) -> Result<&str, KvApiError> {
    let value: Value = serde_json::from_str(json).map_err(|_| KvApiError::InvalidMetadata)?;
    let bytes = stringified_bytes(&value);
    if bytes > METADATA_BYTES_MAX { Err(KvApiError::MetadataTooLong(operation, bytes)) } else { Ok(json) }
}

/// Returns how many bytes `JSON.stringify` makes of a value. It differs from serde in numbers.
#[expect(clippy::expect_used, reason = "every number that serde_json parses is a double")]
fn stringified_bytes(value: &Value) -> usize {
    match value {
        Value::Number(number) => number_bytes(number.as_f64().expect("a number is a double")),
        Value::Array(values) => 1 + values.len().max(1) + values.iter().map(stringified_bytes).sum::<usize>(),
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| to_json(name).len() + 1 + stringified_bytes(value);
            1 + members.len().max(1) + members.iter().map(member).sum::<usize>()
        }
        Value::Null | Value::Bool(_) | Value::String(_) => value.to_string().len(),
    }
}

/// Returns the length of a number in JavaScript (ECMA-262, `Number::toString`).
#[expect(clippy::expect_used, reason = "`{:e}` writes digits, an `e` and an exponent")]
fn number_bytes(number: f64) -> usize {
    if number == 0.0 {
        return 1;
    }
    // The shortest digits that are this number, and its power of ten: `-1.25e-7`.
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').expect("a finite number has an exponent");
    let exponent: i32 = exponent.parse().expect("the exponent of a double fits");
    let sign = usize::from(number < 0.0);
    let count = digits.bytes().filter(u8::is_ascii_digit).count();
    let places = exponent.unsigned_abs() as usize;
    match exponent {
        0..=20 if count <= places + 1 => sign + places + 1,
        0..=20 => sign + count + 1,
        -6..=-1 => sign + 1 + places + count,
        // A positive exponent has a `+`.
        _ => scientific.len() + usize::from(exponent > 0),
    }
}

fn check_count(count: usize, operation: Operation) -> Result<(), KvApiError> {
    if count <= KEYS_MAX {
        return Ok(());
    }
    let why = format!("You can send a maximum of {KEYS_MAX} keys, not {count}");
    Err(KvApiError::InvalidArgument(operation, why))
}

fn each_once(keys: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::with_capacity(keys.len());
    keys.into_iter().filter(|key| seen.insert(key.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn put(json: &str) -> Result<Vec<Pair<'_>>, KvApiError> {
        BulkPut::parse(json.as_bytes(), 512, NOW).map(BulkPut::into_pairs)
    }

    #[test]
    fn a_pair_is_text_or_bytes_with_metadata_and_expiration() {
        let pairs = put(r#"[{"key":"a","value":"x\ny"},
                {"key":"ü","value":"AP8","base64":true,"metadata":{"n":[1]},"expiration_ttl":60,"expiration":1},
                {"key":"c","value":"","base64":false,"metadata":null,"expiration":1800000200,"other":1}]"#);
        let pair = |key: &'static str, value, expiration, metadata: Option<&'static str>| Pair {
            key: key.into(),
            value,
            expiration,
            metadata,
        };
        assert_eq!(
            pairs.unwrap(),
            [
                pair("a", PairValue::Text("x\ny".into()), None, None),
                pair("ü", PairValue::Bytes(vec![0, 255]), Some(Expiration::AfterSeconds(60)), Some(r#"{"n":[1]}"#)),
                pair("c", PairValue::Text("".into()), Some(Expiration::At(1_800_000_200)), None),
            ]
        );
    }

    #[test]
    fn one_bad_pair_refuses_the_batch() {
        let good = r#"{"key":"a","value":"b"}"#;
        for (bad, code) in [
            (r#"{"key":"","value":"b"}"#.to_owned(), "10030"),
            (r#"{"key":"..","value":"b"}"#.to_owned(), "10030"),
            (format!(r#"{{"key":"{}","value":"b"}}"#, "k".repeat(513)), "10030"),
            (r#"{"key":"a"}"#.to_owned(), "10012"),
            (r#"{"key":"a","value":1}"#.to_owned(), "10012"),
            (r#"{"key":"a","value":"!","base64":true}"#.to_owned(), "10012"),
            (r#"{"key":"a","value":"b","expiration":5}"#.to_owned(), "10033"),
            (r#"{"key":"a","value":"b","expiration_ttl":59}"#.to_owned(), "10034"),
            (r#"{"key":"a","value":"b","expiration_ttl":60.5}"#.to_owned(), "10034"),
            (format!(r#"{{"key":"a","value":"b","metadata":"{}"}}"#, "m".repeat(1023)), "10024"),
        ] {
            let error = put(&format!("[{good},{bad}]")).unwrap_err();
            assert_eq!(http_semantics::error_response::HttpError::response(&error).code(), code, "{bad}");
        }
        for body in ["", "{}", "[1]", "[{}", "null"] {
            assert!(matches!(put(body), Err(KvApiError::InvalidBody(Operation::BulkPut, _))), "{body}");
        }
        let many = format!("[{}]", vec![good; 10_001].join(","));
        assert!(matches!(put(&many), Err(KvApiError::InvalidArgument(Operation::BulkPut, _))));
    }

    #[test]
    fn the_last_pair_of_a_key_counts() {
        let body = br#"[{"key":"a","value":"1"},{"key":"b","value":"2"},{"key":"a","value":"3"}]"#;
        let batch = BulkPut::parse(body, 512, NOW).unwrap();
        assert_eq!(batch.keys().collect::<Vec<_>>(), ["a", "b"]);
        let items = batch.into_items();
        assert_eq!((items[0].key.as_str(), items[0].json.as_ref()), ("a", r#"{"key":"a","value":"3"}"#));
    }

    #[test]
    fn a_read_has_1_to_100_keys_and_a_delete_up_to_10_000() {
        let keys =
            |count: usize| serde_json::to_string(&(0..count).map(|n| n.to_string()).collect::<Vec<_>>()).unwrap();
        let get = |count| BulkGet::parse(format!(r#"{{"keys":{}}}"#, keys(count)).as_bytes(), 512);
        assert!(get(0).is_err() && get(101).is_err());
        assert_eq!(get(100).unwrap().keys.len(), 100);
        let read = BulkGet::parse(br#"{"keys":["a","a"],"type":"json","withMetadata":true}"#, 512).unwrap();
        assert_eq!(read, BulkGet { keys: vec!["a".into()], value_type: ValueType::Json, with_metadata: true });
        assert_eq!(parse_delete(keys(10_000).as_bytes(), 512).map(|keys| keys.len()), Ok(10_000));
        assert!(parse_delete(keys(10_001).as_bytes(), 512).is_err());
        assert_eq!(parse_delete(br#"["a","b","a"]"#, 512), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert!(parse_delete(br#"[{"name":"a"}]"#, 512).is_err());
    }

    #[test]
    fn values_come_in_the_order_of_their_keys() {
        let value = |text: &str, value_type, metadata: Option<&str>| {
            BulkValue::new(text.to_owned(), value_type, metadata.map(str::to_owned))
        };
        let values = vec![
            ("b".to_owned(), value("\"x\"\n", ValueType::Text, Some(r#"{"m":1}"#)).ok()),
            ("a".to_owned(), value("[1]", ValueType::Json, None).ok()),
            ("c".to_owned(), None),
        ];
        let mut result = BulkValues { values, with_metadata: false };
        assert_eq!(to_json(&result), r#"{"values":{"b":"\"x\"\n","a":[1],"c":null}}"#);
        result.with_metadata = true;
        assert_eq!(
            to_json(&result),
            r#"{"values":{"b":{"value":"\"x\"\n","metadata":{"m":1}},"a":{"value":[1],"metadata":null},"c":null}}"#
        );
        assert!(value("{", ValueType::Json, None).is_err());
    }

    #[test]
    fn metadata_has_1024_bytes_at_most_in_the_form_that_is_stored() {
        let check = |json: &str| check_metadata(json, Operation::Put).map(str::len);
        let spaced = format!("{{ \"a\": \"{}\" }}", "x".repeat(1016));
        assert_eq!(check(&spaced), Ok(1027));
        assert_eq!(check("{ }"), Ok(3));
        assert_eq!(check("{"), Err(KvApiError::InvalidMetadata));
        assert_eq!(check(""), Err(KvApiError::InvalidMetadata));
        let numbers = |count| format!("[{}]", vec!["1e20"; count].join(","));
        assert_eq!(check(&numbers(46)), Ok(231));
        assert_eq!(check(&numbers(47)), Err(KvApiError::MetadataTooLong(Operation::Put, 1035)));
    }

    #[test]
    fn metadata_has_the_bytes_that_javascript_gives_it() {
        for (json, stringified) in [
            ("[ ]", "[]"),
            (r#"{"a" : {}, "\u00fc": [null, true, "\u001f\/\n"]}"#, r#"{"a":{},"ü":[null,true,"\u001f/\n"]}"#),
            ("-0.0", "0"),
            ("0", "0"),
            ("12", "12"),
            ("1.50", "1.5"),
            ("-120.25", "-120.25"),
            ("1e20", "100000000000000000000"),
            ("-123456789012345680000", "-123456789012345680000"),
            ("1e21", "1e+21"),
            ("-1.5e300", "-1.5e+300"),
            ("18446744073709551615", "18446744073709552000"),
            ("9007199254740993", "9007199254740992"),
            ("0.000001", "0.000001"),
            ("-0.00000125", "-0.00000125"),
            ("0.0000001", "1e-7"),
            ("1.25e-7", "1.25e-7"),
            ("0.1", "0.1"),
        ] {
            assert_eq!(stringified_bytes(&serde_json::from_str(json).unwrap()), stringified.len(), "{json}");
        }
    }
}
