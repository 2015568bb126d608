//! Single values: type first, then text, then range.

use toml::Spanned;
use toml::de::{DeInteger, DeValue};

use super::{Place, Reader, Value};
use crate::config::schema::{Key, Kind};
use crate::config::text::{
    Problem, calendar, duration, endpoint, fallback, line, name, path, rate, shown, signals, size,
    url,
};

impl Reader<'_> {
    /// Reads a value as the key wants it; `None` after an error was reported.
    pub(super) fn value(
        &mut self,
        key: &'static Key,
        place: &Place,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<Value> {
        let result = match (&key.kind, value.get_ref()) {
            (Kind::Table(keys), DeValue::Table(table)) => {
                return Some(Value::Table(self.table(table, keys, place)));
            }
            (Kind::Named { keys, names, max }, DeValue::Table(table)) => {
                return Some(self.named(key, place, table, keys, (*names, *max)));
            }
            (Kind::List(keys), DeValue::Array(array)) => {
                return Some(self.list(key, place, array, keys));
            }
            (Kind::Steps(keys), DeValue::Array(array)) => {
                return Some(self.steps(place, array, keys));
            }
            (Kind::Endpoints, DeValue::Array(array)) => return Some(self.endpoints(place, array)),
            (Kind::Networks, DeValue::Array(array)) => return Some(self.networks(place, array)),
            (Kind::Argv, DeValue::Array(array)) => return self.argv(place, array),
            (Kind::Words(known), DeValue::Array(array)) => return self.words(place, array, known),
            (Kind::Fallbacks, DeValue::Array(array)) => return self.fallbacks(place, array),
            (Kind::ServiceRefs, DeValue::Array(array)) => return self.service_refs(place, array),
            (Kind::Environment, DeValue::Table(table)) => {
                return Some(self.environment(place, table));
            }
            (Kind::Paths, DeValue::Array(array)) => return self.paths(place, array),
            (Kind::Globs, DeValue::Array(array)) => return Some(self.globs(place, array)),
            (Kind::Names, DeValue::Array(array)) => return Some(self.names(place, array)),
            (Kind::Flag, DeValue::Boolean(flag)) => return Some(Value::Flag(*flag)),
            (kind, DeValue::String(text)) => from_text(kind, text),
            (kind, DeValue::Integer(integer)) => from_integer(kind, integer),
            (kind, DeValue::Float(float)) => from_float(kind, float.as_str()),
            _ => Err(None),
        };
        let problem = match result {
            Ok(value) => return Some(value),
            Err(problem) => problem.unwrap_or_else(|| wrong_type(key, value.get_ref())),
        };
        self.sink.problem(&place.span, &place.path, problem);
        None
    }
}

/// `Err(None)`: the type is wrong.
type Read = Result<Value, Option<Problem>>;

fn from_text(kind: &Kind, text: &str) -> Read {
    let checked = |result: Result<(), Problem>| match result {
        Ok(()) => Ok(Value::Text(text.to_owned())),
        Err(problem) => Err(Some(problem)),
    };
    match kind {
        Kind::Duration { min, max } => {
            let value = duration::parse(text).map_err(Some)?;
            in_range(kind, (min..=max).contains(&&value), text)?;
            Ok(Value::Duration(value))
        }
        Kind::Size { min, max } => {
            let value = size::parse(text).map_err(Some)?;
            in_range(kind, (min..=max).contains(&&value), text)?;
            Ok(Value::Integer(value))
        }
        Kind::Rate { min, max } => {
            let value = rate::parse(text).map_err(Some)?;
            in_range(kind, (min..=max).contains(&&value), text)?;
            Ok(Value::Integer(value))
        }
        Kind::Percent { min, max } => {
            let value = size::parse_percent(text).map_err(Some)?;
            in_range(kind, (min..=max).contains(&&value), text)?;
            Ok(Value::Number(value))
        }
        Kind::Choice(words) => checked(signals::one_of(text, words).map(drop)),
        Kind::Errno => checked(signals::one_of(text, signals::ERRNOS).map(drop)),
        Kind::Signal => checked(signals::one_of(text, signals::SIGNALS).map(drop)),
        // Whether the named thing exists is checked when the whole file has been read.
        Kind::Name | Kind::BulkheadRef | Kind::ServiceRef => checked(name::check(text)),
        Kind::RestartTarget => checked(restart_target(text)),
        Kind::SocketPath => checked(path::check_socket(text)),
        Kind::CgroupPath => checked(path::check_cgroup(text)),
        Kind::CgroupRoot if text == "auto" => checked(Ok(())),
        Kind::CgroupRoot | Kind::AbsolutePath => checked(path::check_absolute(text)),
        Kind::Listen if text == "off" => Ok(Value::Listen(None)),
        Kind::Listen => {
            endpoint::parse_socket_address(text).map(|a| Value::Listen(Some(a))).map_err(Some)
        }
        Kind::Fallbacks => match fallback::parse(text) {
            Ok(_) => Ok(Value::Texts(vec![text.to_owned()])),
            Err(problem) => Err(Some(problem)),
        },
        Kind::Url => checked(url::check(text)),
        Kind::HttpUrl => checked(url::check_http(text)),
        Kind::Calendar => checked(calendar::check(text)),
        Kind::Line { min, max } => checked(line::check(text, *min, *max)),
        _ => Err(None),
    }
}

fn from_integer(kind: &Kind, integer: &DeInteger<'_>) -> Read {
    let shown = integer.to_string();
    match kind {
        Kind::Integer { min, max } => {
            let value = u64::from_str_radix(integer.as_str(), integer.radix());
            let value = value.ok().filter(|v| (min..=max).contains(&v));
            in_range(kind, value.is_some(), &shown)?;
            Ok(value.map_or(Value::Checked, Value::Integer))
        }
        Kind::Number { .. } if integer.radix() == 10 => from_float(kind, integer.as_str()),
        Kind::Duration { .. } => Err(Some(duration::bare_number(&shown))),
        Kind::Size { .. } => Err(Some(size::bare_number(&shown))),
        Kind::Rate { .. } => Err(Some(rate::bare_number(&shown))),
        Kind::Percent { .. } => Err(Some(size::bare_percent(&shown))),
        _ => Err(None),
    }
}

fn from_float(kind: &Kind, text: &str) -> Read {
    match kind {
        Kind::Number { min, max } => {
            // Not-a-number is in no range.
            let value = text.parse::<f64>().ok().filter(|v| (min..=max).contains(&v));
            in_range(kind, value.is_some(), text)?;
            Ok(value.map_or(Value::Checked, Value::Number))
        }
        Kind::Duration { .. } => Err(Some(duration::bare_number(text))),
        Kind::Size { .. } => Err(Some(size::bare_number(text))),
        Kind::Rate { .. } => Err(Some(rate::bare_number(text))),
        Kind::Percent { .. } => Err(Some(size::bare_percent(text))),
        _ => Err(None),
    }
}

fn in_range(kind: &Kind, inside: bool, text: &str) -> Result<(), Option<Problem>> {
    if inside {
        return Ok(());
    }
    let range = kind.range_words();
    Err(Some(Problem::new(
        format!("is {}, out of range", shown(text)),
        format!("must be {range}"),
        format!("allowed: {range}"),
    )))
}

fn wrong_type(key: &Key, value: &DeValue<'_>) -> Problem {
    let help = match key.example {
        "" if matches!(key.kind, Kind::List(_)) => {
            format!("write `[[{}]]` and its keys below it", key.name)
        }
        "" => format!("write `[{}]` and its keys below it", key.name),
        example => format!("for example `{} = {example}`", key.name),
    };
    let wanted = key.kind.type_words();
    let plain = ["one of", "\"", "true or false"];
    let wanted = if plain.iter().any(|p| wanted.starts_with(p)) {
        wanted
    } else {
        format!("{} {wanted}", if wanted.starts_with(['a', 'e', 'o']) { "an" } else { "a" })
    };
    Problem::new(format!("must be {wanted}, not {}", type_name(value)), "wrong type", help)
}

/// A TOML type with its article.
pub(super) fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A systemd unit, or a name: whether the bulkhead exists is checked later.
fn restart_target(text: &str) -> Result<(), Problem> {
    if is_unit(text) { Ok(()) } else { name::check(text) }
}

/// Whether it is written like the name of a systemd unit that can be restarted.
pub(in crate::config) fn is_unit(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    text.rsplit_once('.').is_some_and(|(stem, suffix)| {
        !stem.is_empty() && matches!(suffix, "service" | "scope" | "target")
    }) && text.len() <= 255
        && text.chars().all(good)
}
