//! Variables of a transcript: `$name` is bound at first sight, `$_name` matches anything.

use serde_json::{Map, Value};
use std::fmt;

/// What the variables stand for.
#[derive(Debug, Clone, Default)]
pub struct Bindings {
    bound: Map<String, Value>,
    values: Map<String, Value>,
}

/// Where an observed value differs from the expected one.
#[derive(Debug, Clone, PartialEq)]
pub struct Mismatch {
    /// JSON pointer.
    pub path: String,
    /// With variables replaced as far as they are bound.
    pub expected: Value,
    /// What came; `None` if there was nothing.
    pub actual: Option<Value>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.actual {
            Some(actual) => write!(f, "at `{}` expected {}, got {actual}", self.path, self.expected),
            None => write!(f, "at `{}` expected {}, got nothing", self.path, self.expected),
        }
    }
}

impl Bindings {
    /// Nothing bound yet; `values` are taken for injection.
    #[must_use]
    pub fn new(values: Map<String, Value>) -> Self {
        Self { bound: Map::new(), values }
    }

    /// Binds `name` (without `$`) before the replay starts.
    pub fn bind(&mut self, name: &str, value: impl Into<Value>) {
        self.bound.insert(name.to_owned(), value.into());
    }

    /// What `name` (without `$`) stands for: the bound value, else the file's.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.bound.get(name).or_else(|| self.values.get(name))
    }

    /// `template` with every variable replaced, for injection. What gets injected is bound from then on.
    ///
    /// # Panics
    /// If a variable has no value: the file is wrong.
    pub fn fill(&mut self, template: &Value) -> Value {
        match template {
            Value::String(text) => self.fill_text(text),
            Value::Array(items) => items.iter().map(|item| self.fill(item)).collect(),
            Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), self.fill(value))).collect(),
            other => other.clone(),
        }
    }

    /// [`Bindings::fill`] for a text that stays a text.
    pub fn fill_str(&mut self, template: &str) -> String {
        plain(&self.fill_text(template))
    }

    fn fill_text(&mut self, template: &str) -> Value {
        if let Some(name) = whole_variable(template) {
            return self.take(name);
        }
        let mut out = String::new();
        let mut rest = template;
        while let Some((before, name, after)) = next_variable(rest) {
            out.push_str(before);
            out.push_str(&plain(&self.take(name)));
            rest = after;
        }
        out.push_str(rest);
        Value::String(out)
    }

    fn take(&mut self, name: &str) -> Value {
        let value = self.value(name).unwrap_or_else(|| panic!("the transcript has no value for `${name}`")).clone();
        if !name.starts_with('_') {
            self.bound.insert(name.to_owned(), value.clone());
        }
        value
    }

    /// Compares what came with what was expected and binds the variables met; nothing is bound on a mismatch.
    pub fn matches(&mut self, expected: &Value, actual: &Value) -> Result<(), Mismatch> {
        let mut bound = self.bound.clone();
        compare(&mut bound, expected, actual, String::new())?;
        self.bound = bound;
        Ok(())
    }
}

fn compare(bound: &mut Map<String, Value>, expected: &Value, actual: &Value, path: String) -> Result<(), Mismatch> {
    let mismatch =
        |expected: &Value| Mismatch { path: path.clone(), expected: expected.clone(), actual: Some(actual.clone()) };
    match (expected, actual) {
        (Value::String(template), _) => compare_text(bound, template, actual).map_err(|text| mismatch(&text)),
        (Value::Object(fields), Value::Object(found)) => fields.iter().try_for_each(|(key, value)| {
            let path = format!("{path}/{key}");
            match found.get(key) {
                Some(actual) => compare(bound, value, actual, path),
                None => Err(Mismatch { path, expected: value.clone(), actual: None }),
            }
        }),
        (Value::Array(items), Value::Array(found)) if items.len() == found.len() => items
            .iter()
            .zip(found)
            .enumerate()
            .try_for_each(|(index, (item, actual))| compare(bound, item, actual, format!("{path}/{index}"))),
        _ if expected == actual => Ok(()),
        _ => Err(mismatch(expected)),
    }
}

/// The error is the template with what is bound put in.
fn compare_text(bound: &mut Map<String, Value>, template: &str, actual: &Value) -> Result<(), Value> {
    if let Some(name) = whole_variable(template) {
        return match bound.get(name) {
            _ if name.starts_with('_') => Ok(()),
            Some(known) if known == actual => Ok(()),
            Some(known) => Err(known.clone()),
            None => {
                bound.insert(name.to_owned(), actual.clone());
                Ok(())
            }
        };
    }
    let known = replace_bound(bound, template);
    let refused = || Value::String(known.clone());
    let text = actual.as_str().ok_or_else(refused)?;
    let Some((before, name, after)) = next_variable(&known) else {
        return if known == text { Ok(()) } else { Err(refused()) };
    };
    let middle = text.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)).ok_or_else(refused)?;
    if !name.starts_with('_') {
        bound.insert(name.to_owned(), middle.into());
    }
    Ok(())
}

fn replace_bound(bound: &Map<String, Value>, template: &str) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, name, after)) = next_variable(rest) {
        out.push_str(before);
        match bound.get(name) {
            Some(value) => out.push_str(&plain(value)),
            None => out.extend(["$", name]),
        }
        rest = after;
    }
    out + rest
}

fn whole_variable(text: &str) -> Option<&str> {
    match next_variable(text) {
        Some(("", name, "")) => Some(name),
        _ => None,
    }
}

fn next_variable(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('$')?;
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
    if end == 0 { None } else { Some((before, &rest[..end], &rest[end..])) }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_variable_is_bound_once_and_equal_later() {
        let mut vars = Bindings::default();
        assert_eq!(vars.matches(&json!({"a": "$x"}), &json!({"a": 7, "b": 1})), Ok(()));
        assert_eq!(vars.matches(&json!("Bearer $x"), &json!("Bearer 7")), Ok(()));
        assert!(vars.matches(&json!(["$x"]), &json!([8])).is_err());
        assert_eq!(vars.matches(&json!("/s/$id/socket"), &json!("/s/abc/socket")), Ok(()));
        assert_eq!(vars.value("id"), Some(&json!("abc")));
    }

    #[test]
    fn a_mismatch_binds_nothing_and_says_where() {
        let mut vars = Bindings::default();
        let error = vars.matches(&json!({"a": "$x", "b": {"c": 1}}), &json!({"a": 1, "b": {}})).expect_err("no c");
        assert_eq!(error.path, "/b/c");
        assert_eq!(vars.value("x"), None);
    }

    #[test]
    fn injection_takes_the_files_value_and_binds_it() {
        let values = json!({"token": "t1", "_any": 5}).as_object().expect("an object").clone();
        let mut vars = Bindings::new(values);
        assert_eq!(vars.fill(&json!({"a": "Bearer $token", "n": "$_any"})), json!({"a": "Bearer t1", "n": 5}));
        assert!(vars.matches(&json!("$token"), &json!("t2")).is_err());
        assert_eq!(vars.matches(&json!("$_any"), &json!("whatever")), Ok(()));
    }
}
