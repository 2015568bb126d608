//! Lists of texts: commands and words.

use std::ops::Range;

use toml::de::{DeArray, DeTable, DeValue};

use super::scalar::type_name;
use super::{Place, Reader, Value, join};
use crate::config::schema::quoted;
use crate::config::text::{fallback, name, path, shown, signals};

impl Reader<'_> {
    /// The texts of a list; what is no text is reported and left out.
    pub(super) fn texts(
        &mut self,
        place: &Place,
        array: &DeArray<'_>,
    ) -> Vec<(Range<usize>, String)> {
        let mut texts = Vec::with_capacity(array.len());
        for (index, value) in array.iter().enumerate() {
            if let DeValue::String(text) = value.get_ref() {
                texts.push((value.span(), text.to_string()));
                continue;
            }
            let path = format!("{}[{index}]", place.path);
            let message = format!("`{path}` must be a text, not {}", type_name(value.get_ref()));
            self.sink.error(&value.span(), &path, message, "not a text", "put it in quotes");
        }
        texts
    }

    pub(super) fn argv(&mut self, place: &Place, array: &DeArray<'_>) -> Option<Value> {
        let texts = self.texts(place, array);
        let Some((span, program)) = texts.first() else {
            let message = format!("`{}` is empty", place.path);
            let help = "name a command, such as [\"/usr/local/bin/hook\"]";
            self.sink.error(&place.span, &place.path, message, "no command", help);
            return None;
        };
        if !program.starts_with('/') {
            let message = format!(
                "`{}` must start with an absolute path, not \"{}\"",
                place.path,
                shown(program)
            );
            let help = "guard runs no shell and searches no PATH: write where the program is";
            self.sink.error(span, &place.path, message, "not absolute", help);
        }
        if let Some((span, _)) = texts.iter().find(|(_, t)| t.contains('\0')) {
            let message = format!("`{}` has a NUL character", place.path);
            self.sink.error(span, &place.path, message, "NUL", "remove it");
        }
        Some(Value::Texts(texts.into_iter().map(|(_, text)| text).collect()))
    }

    /// `NAME=value` for each variable.
    pub(super) fn environment(&mut self, place: &Place, table: &DeTable<'_>) -> Value {
        let mut variables = Vec::with_capacity(table.len());
        for (name, value) in table {
            let path = join(&place.path, name.get_ref());
            let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let digit = name.get_ref().starts_with(|c: char| c.is_ascii_digit());
            if name.get_ref().is_empty() || digit || !name.get_ref().chars().all(good) {
                let message = format!("`{path}` is not the name of a variable");
                let help = "letters, digits and `_`, not a digit first";
                self.sink.error(&name.span(), &path, message, "not a name", help);
                continue;
            }
            match value.get_ref() {
                DeValue::String(text) if !text.contains('\0') => {
                    variables.push(format!("{}={text}", name.get_ref()));
                }
                DeValue::String(_) => {
                    let message = format!("`{path}` has a NUL character");
                    self.sink.error(&value.span(), &path, message, "NUL", "remove it");
                }
                other => {
                    let message = format!("`{path}` must be a text, not {}", type_name(other));
                    let help = "put it in quotes";
                    self.sink.error(&value.span(), &path, message, "not a text", help);
                }
            }
        }
        Value::Texts(variables)
    }

    /// Absolute paths, at least one.
    pub(super) fn paths(&mut self, place: &Place, array: &DeArray<'_>) -> Option<Value> {
        if array.is_empty() {
            let message = format!("`{}` is empty", place.path);
            self.sink.error(&place.span, &place.path, message, "no path", "name at least one");
            return None;
        }
        let mut paths = Vec::with_capacity(array.len());
        for (span, text) in self.texts(place, array) {
            match path::check_absolute(&text) {
                Ok(()) => paths.push(text),
                Err(problem) => self.sink.problem(&span, &place.path, problem),
            }
        }
        Some(Value::Texts(paths))
    }

    /// Patterns of names of files.
    pub(super) fn globs(&mut self, place: &Place, array: &DeArray<'_>) -> Value {
        let mut patterns = Vec::with_capacity(array.len());
        for (span, text) in self.texts(place, array) {
            let wrong = match glob::Pattern::new(&text) {
                Err(error) => Some(error.to_string()),
                Ok(_) if text.contains('/') => Some("it is of one name, without `/`".to_owned()),
                Ok(_) => None,
            };
            match wrong {
                None => patterns.push(text),
                Some(why) => {
                    let message =
                        format!("`{}` has a bad pattern \"{}\": {why}", place.path, shown(&text));
                    let help = "`*`, `?` and `[abc]` in one name, such as \"*.tmp\"";
                    self.sink.error(&span, &place.path, message, "not a pattern", help);
                }
            }
        }
        Value::Texts(patterns)
    }

    /// Fallbacks, in order; at least one.
    pub(super) fn fallbacks(&mut self, place: &Place, array: &DeArray<'_>) -> Option<Value> {
        if array.is_empty() {
            let message = format!("`{}` is empty", place.path);
            let help = "name at least one fallback, or leave the key out: then calls are refused";
            self.sink.error(&place.span, &place.path, message, "no fallback", help);
            return None;
        }
        let texts = self.texts(place, array);
        let mut good = texts.len() == array.len();
        for (span, text) in &texts {
            if let Err(problem) = fallback::parse(text) {
                self.sink.problem(span, &place.path, problem);
                good = false;
            }
        }
        good.then(|| Value::Texts(texts.into_iter().map(|(_, text)| text).collect()))
    }

    /// Names of services, each at most once, at least one; whether they exist is checked later.
    pub(super) fn service_refs(&mut self, place: &Place, array: &DeArray<'_>) -> Option<Value> {
        if array.is_empty() {
            let message = format!("`{}` is empty", place.path);
            let help = "name at least one service, or leave the key out: then it means all";
            self.sink.error(&place.span, &place.path, message, "no service", help);
            return None;
        }
        Some(self.names(place, array))
    }

    /// Names, each at most once; whether they exist is checked later.
    pub(super) fn names(&mut self, place: &Place, array: &DeArray<'_>) -> Value {
        let mut names: Vec<String> = Vec::with_capacity(array.len());
        for (span, text) in self.texts(place, array) {
            if let Err(problem) = name::check(&text) {
                self.sink.problem(&span, &place.path, problem);
            } else if names.contains(&text) {
                let message = format!("`{}` has \"{text}\" twice", place.path);
                self.sink.error(&span, &place.path, message, "again", "remove one of the two");
            } else {
                names.push(text);
            }
        }
        Value::Texts(names)
    }

    /// Words of a list, each at most once; `None` after an error was reported.
    pub(super) fn words(
        &mut self,
        place: &Place,
        array: &DeArray<'_>,
        known: &'static [&'static str],
    ) -> Option<Value> {
        if array.is_empty() {
            let message = format!("`{}` is empty", place.path);
            let help = format!("name at least one of {}", quoted(known));
            self.sink.error(&place.span, &place.path, message, "no word", help);
            return None;
        }
        let texts = self.texts(place, array);
        let mut good = texts.len() == array.len();
        let mut words = Vec::with_capacity(texts.len());
        for (span, text) in texts {
            if let Err(problem) = signals::one_of(&text, known) {
                self.sink.problem(&span, &place.path, problem);
                good = false;
            } else if words.contains(&text) {
                let message = format!("`{}` has \"{text}\" twice", place.path);
                self.sink.error(&span, &place.path, message, "again", "remove one of the two");
                good = false;
            } else {
                words.push(text);
            }
        }
        good.then_some(Value::Texts(words))
    }
}
