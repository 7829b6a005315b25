//! Dictionaries of Structured Fields (RFC 8941 §3.2, §4.2.2).

/// A member's value, as far as cache directives need it. Parameters are dropped: "Parameters
/// received on directives are to be ignored" (RFC 9213 §2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MemberValue {
    Boolean(bool),
    Integer(i64),
    /// A string or a token.
    Text(String),
    /// A decimal, a byte sequence or an inner list.
    Other,
}

impl MemberValue {
    /// Returns the value as seconds if it is an integer. A negative one counts as 0, which means
    /// stale.
    pub(super) fn seconds(&self) -> Option<u64> {
        match self {
            Self::Integer(number) => Some(u64::try_from(*number).unwrap_or(0).min(super::SECONDS_MAX)),
            _ => None,
        }
    }

    /// Returns `Some(true)` if the value is the one of a directive without argument, which
    /// "always has a Boolean true value" (RFC 9213 §2.1).
    pub(super) fn flag(&self) -> Option<bool> {
        (*self == Self::Boolean(true)).then_some(true)
    }
}

/// Parses a dictionary. Returns `None` if the text is not one. Repeated keys are returned as
/// they are; the last one counts (§3.2), which is left to the caller.
pub(super) fn parse(field: &str) -> Option<Vec<(&str, MemberValue)>> {
    let mut parser = Parser { rest: field.trim_start_matches(' ') };
    let mut members: Vec<(&str, MemberValue)> = Vec::new();
    while !parser.rest.is_empty() {
        let key = parser.key()?;
        let value = if parser.eat('=') { parser.item_or_list()? } else { MemberValue::Boolean(true) };
        parser.parameters()?;
        members.push((key, value));
        parser.skip(&[' ', '\t']);
        if parser.rest.is_empty() {
            break;
        }
        if !parser.eat(',') {
            return None;
        }
        parser.skip(&[' ', '\t']);
        // "If input_string is empty, there is a trailing comma; fail parsing."
        if parser.rest.is_empty() {
            return None;
        }
    }
    Some(members)
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let char = chars.next()?;
        self.rest = chars.as_str();
        Some(char)
    }

    fn eat(&mut self, char: char) -> bool {
        let rest = self.rest.strip_prefix(char);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn skip(&mut self, chars: &[char]) {
        self.rest = self.rest.trim_start_matches(chars);
    }

    fn take_while(&mut self, is_part: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|char| !is_part(char)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    /// §4.2.3.3.
    fn key(&mut self) -> Option<&'a str> {
        let is_part =
            |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || matches!(char, '_' | '-' | '.' | '*');
        let key = self.take_while(is_part);
        key.starts_with(|first: char| first.is_ascii_lowercase() || first == '*').then_some(key)
    }

    /// §4.2.3.2.
    fn parameters(&mut self) -> Option<()> {
        while self.eat(';') {
            self.skip(&[' ']);
            self.key()?;
            if self.eat('=') {
                self.bare_item()?;
            }
        }
        Some(())
    }

    /// §4.2.1.1, §4.2.1.2.
    fn item_or_list(&mut self) -> Option<MemberValue> {
        if !self.eat('(') {
            return self.bare_item();
        }
        loop {
            self.skip(&[' ']);
            if self.eat(')') {
                return Some(MemberValue::Other);
            }
            self.bare_item()?;
            self.parameters()?;
            if !self.rest.starts_with([' ', ')']) {
                return None;
            }
        }
    }

    /// §4.2.3.1.
    fn bare_item(&mut self) -> Option<MemberValue> {
        match self.rest.chars().next()? {
            '-' | '0'..='9' => self.number(),
            '"' => self.string(),
            '?' => match (self.next()?, self.next()?) {
                (_, '0') => Some(MemberValue::Boolean(false)),
                (_, '1') => Some(MemberValue::Boolean(true)),
                _ => None,
            },
            ':' => {
                self.next()?;
                self.take_while(|char| char.is_ascii_alphanumeric() || matches!(char, '+' | '/' | '='));
                self.eat(':').then_some(MemberValue::Other)
            }
            first if first.is_ascii_alphabetic() || first == '*' => {
                let is_part = |char: char| char.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:/".contains(char);
                Some(MemberValue::Text(self.take_while(is_part).to_owned()))
            }
            _ => None,
        }
    }

    /// §4.2.4.
    fn number(&mut self) -> Option<MemberValue> {
        let is_negative = self.eat('-');
        let digits = self.take_while(|char| char.is_ascii_digit());
        if self.eat('.') {
            let decimals = self.take_while(|char| char.is_ascii_digit());
            let is_decimal = (1..=12).contains(&digits.len()) && (1..=3).contains(&decimals.len());
            return is_decimal.then_some(MemberValue::Other);
        }
        if digits.len() > 15 {
            return None;
        }
        let number: i64 = digits.parse().ok()?;
        Some(MemberValue::Integer(if is_negative { -number } else { number }))
    }

    /// §4.2.5.
    fn string(&mut self) -> Option<MemberValue> {
        self.next()?;
        let mut text = String::new();
        loop {
            match self.next()? {
                '"' => return Some(MemberValue::Text(text)),
                '\\' => match self.next()? {
                    char @ ('"' | '\\') => text.push(char),
                    _ => return None,
                },
                char @ ' '..='~' => text.push(char),
                _ => return None,
            }
        }
    }
}
