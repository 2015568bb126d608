//! Walks a TOML tree along the table of keys: unknown and missing keys, types, ranges. Serde would
//! stop at the first error; this goes on. It knows no key by name and makes no plan.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

mod collections;
mod node;
mod scalar;
mod texts;

pub(crate) use node::{Field, Named, Node, Value};
pub(super) use scalar::is_unit;

use super::schema::{self, Absent, Key, Kind};
use super::sink::Sink;
use super::text::{shown, suggest};

/// Reads one document.
#[derive(Debug)]
pub(super) struct Reader<'s> {
    sink: &'s mut Sink,
    /// The keys of the document.
    root: &'static [Key],
}

/// Where the reader is.
#[derive(Clone, Debug)]
struct Place {
    /// Path of the table or value in messages.
    path: String,
    /// What to point at.
    span: Range<usize>,
    /// Whether a warning has already said that nothing here has an effect.
    inert: bool,
}

impl<'s> Reader<'s> {
    /// A reader of documents with these keys.
    pub(super) fn new(sink: &'s mut Sink, root: &'static [Key]) -> Self {
        Self { sink, root }
    }

    /// Reads the whole document.
    pub(super) fn document(mut self, table: &DeTable<'_>) -> Node {
        let place = Place { path: String::new(), span: 0..0, inert: false };
        self.table(table, self.root, &place)
    }

    fn table(&mut self, table: &DeTable<'_>, keys: &'static [Key], place: &Place) -> Node {
        let (mut fields, mut wrong) = (Vec::new(), Vec::new());
        for (name, value) in table {
            let at = Place {
                path: join(&place.path, name.get_ref()),
                span: name.span(),
                inert: place.inert,
            };
            match keys.iter().find(|k| k.name == name.get_ref()) {
                Some(key) => match self.field(key, &at, value) {
                    Some(field) => fields.push(field),
                    None => wrong.push(key.name),
                },
                None => self.unknown(name.get_ref(), keys, &at, place),
            }
        }
        for key in keys {
            if table.iter().any(|(name, _)| name.get_ref() == key.name) {
                continue;
            }
            match key.default {
                Absent::Required => self.missing(key, keys, place),
                Absent::Value(text) => fields.extend(self.default(key, text, place)),
                Absent::Words(_) => fields.extend(self.empty_section(key, place)),
            }
        }
        Node { path: place.path.clone(), span: place.span.clone(), fields, wrong }
    }

    fn field(
        &mut self,
        key: &'static Key,
        at: &Place,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<Field> {
        let mut inside = Place { span: value.span(), ..at.clone() };
        // Entries of named tables and lists say it themselves, each with its own name.
        let by_entry = matches!(key.kind, Kind::Named { .. } | Kind::List(_));
        if !key.enforced && !at.inert && !by_entry {
            self.not_enforced(at);
            inside.inert = true;
        }
        let value = self.value(key, &inside, value)?;
        Some(Field { key, path: at.path.clone(), span: inside.span, value, given: true })
    }

    fn not_enforced(&mut self, at: &Place) {
        let message = format!("`{}` is accepted but not enforced by this version", at.path);
        let help = "it is checked and kept for a later version; nothing acts on it yet";
        self.sink.warning(&at.span, &at.path, message, "no effect yet", help);
    }

    fn unknown(&mut self, name: &str, keys: &'static [Key], at: &Place, table: &Place) {
        if self.sink.is_full() {
            return self.sink.count_error();
        }
        let owner =
            if table.path.is_empty() { "the file".to_owned() } else { format!("`{}`", table.path) };
        let mut names: Vec<&str> = keys.iter().map(|k| k.name).collect();
        names.sort_unstable();
        let keys = names.join(", ");
        let help = if let Some(near) = suggest::nearest(name, names.iter().copied()) {
            format!("did you mean `{near}`? keys: {keys}")
        } else if let Some(entry) =
            schema::entries_of(self.root).iter().find(|e| e.key.name == name)
        {
            format!("there is `{}`; keys here: {keys}", entry.path)
        } else {
            format!("keys: {keys}")
        };
        let message = format!("unknown key `{}`", at.path);
        self.sink.error(&at.span, &at.path, message, format!("not a key of {owner}"), help);
    }

    fn missing(&mut self, key: &'static Key, keys: &'static [Key], place: &Place) {
        if !self.sink.is_complete() {
            return;
        }
        if self.sink.is_full() {
            return self.sink.count_error();
        }
        let required: Vec<&str> =
            keys.iter().filter(|k| k.default == Absent::Required).map(|k| k.name).collect();
        let help = if let Kind::List(_) = key.kind {
            format!("add `[[{}]]` and its keys below it", key.name)
        } else if key.example.is_empty() {
            format!("add `{}`", key.name)
        } else {
            format!("add `{} = {}`", key.name, key.example)
        };
        let help = if required.len() > 1 {
            format!("{help}; required here: {}", required.join(", "))
        } else {
            help
        };
        let path = join(&place.path, key.name);
        let message = format!("`{path}` is missing");
        self.sink.error(&place.span, &path, message, "required here", help);
    }

    /// The default of an absent key, read like any value of a file.
    fn default(&mut self, key: &'static Key, text: &str, place: &Place) -> Option<Field> {
        let path = join(&place.path, key.name);
        let at = Place { path, span: place.span.clone(), inert: true };
        let Ok(parsed) = DeValue::parse(text) else {
            let message = format!("guard's own default of `{}` is broken: {text}", at.path);
            self.sink.error(&at.span, &at.path, message, "", "report this as a bug of guard");
            return None;
        };
        let value = self.value(key, &at, &parsed)?;
        let span = at.span.clone();
        Some(Field { key, path: at.path, span, value, given: false })
    }

    /// An absent table whose keys have defaults is read as an empty one.
    fn empty_section(&mut self, key: &'static Key, place: &Place) -> Option<Field> {
        let Kind::Table(keys) = key.kind else { return None };
        if keys.iter().any(|k| k.default == Absent::Required) || !key.enforced {
            return None;
        }
        let path = join(&place.path, key.name);
        let at = Place { path, span: place.span.clone(), inert: place.inert };
        let node = self.table(&DeTable::new(), keys, &at);
        let span = at.span.clone();
        let value = Value::Table(node);
        Some(Field { key, path: at.path, span, value, given: false })
    }
}

/// `path.name`, the name quoted where TOML needs it.
pub(super) fn join(path: &str, name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let name = if !name.is_empty() && name.chars().all(bare) {
        shown(name)
    } else {
        format!("\"{}\"", shown(name))
    };
    if path.is_empty() { name } else { format!("{path}.{name}") }
}
