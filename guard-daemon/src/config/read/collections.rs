//! Tables of tables, lists of tables, steps, lists of endpoints and networks.

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::scalar::type_name;
use super::{Named, Node, Place, Reader, Value, join};
use crate::config::schema::{Absent, BESIDE_STEPS, Key, MAX_RULES, Names};
use crate::config::text::{endpoint, name, network};
use crate::plan::OTHER;

impl Reader<'_> {
    pub(super) fn named(
        &mut self,
        key: &'static Key,
        place: &Place,
        table: &DeTable<'_>,
        keys: &'static [Key],
        (names, max): (Names, usize),
    ) -> Value {
        if table.len() > max {
            let message = format!("`{}` has {} entries", place.path, table.len());
            let last = table.iter().map(|(name, _)| name.span()).max_by_key(|s| s.start);
            let span = last.unwrap_or(place.span.clone());
            let help = "split them over hosts, or make one entry cover several";
            self.sink.error(
                &span,
                &place.path,
                message,
                format!("at most {max} are allowed"),
                help,
            );
            return Value::Named(Vec::new());
        }
        let mut entries = Vec::with_capacity(table.len());
        for (entry, value) in table {
            let path = join(&place.path, entry.get_ref());
            let mut at = Place { path, span: entry.span(), inert: place.inert };
            self.entry_name(entry.get_ref(), names, &at);
            if !key.enforced && !at.inert {
                self.not_enforced(&at);
                at.inert = true;
            }
            let Some(node) = self.sub_table(value, keys, &at) else { continue };
            let name = entry.get_ref().to_string();
            entries.push(Named { name, name_span: entry.span(), node });
        }
        Value::Named(entries)
    }

    fn entry_name(&mut self, entry: &str, names: Names, at: &Place) {
        if names == Names::ServiceRef && entry == OTHER {
            return;
        }
        if names == Names::Service && entry == OTHER {
            let message = "the service name `other` is reserved";
            let help = "it is the built-in service of every destination that no endpoint matches; \
                        choose another name";
            self.sink.error(&at.span, &at.path, message, "reserved", help);
        } else if let Err(problem) = name::check(entry) {
            self.sink.problem(&at.span, &at.path, problem);
        }
    }

    /// A table below `at`, or an error that it is none.
    fn sub_table(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        keys: &'static [Key],
        at: &Place,
    ) -> Option<Node> {
        match value.get_ref() {
            DeValue::Table(table) => {
                // A table's header says more than its whole extent.
                Some(self.table(table, keys, at))
            }
            other => {
                let message = format!("`{}` must be a table, not {}", at.path, type_name(other));
                let help = format!("write `[{}]` and its keys below it", at.path);
                self.sink.error(&value.span(), &at.path, message, "not a table", help);
                None
            }
        }
    }

    pub(super) fn list(
        &mut self,
        key: &'static Key,
        place: &Place,
        array: &DeArray<'_>,
        keys: &'static [Key],
    ) -> Value {
        if let Some(one_more) = array.get(MAX_RULES) {
            let message = format!("`{}` has {} entries", place.path, array.len());
            let label = format!("at most {MAX_RULES} are allowed");
            let help = "make one entry cover several cases";
            self.sink.error(&one_more.span(), &place.path, message, label, help);
            return Value::List(Vec::new());
        }
        if array.is_empty() && key.default == Absent::Required {
            let message = format!("`{}` is empty", place.path);
            let help = format!("add `[[{}]]` and its keys below it", key.name);
            self.sink.error(&place.span, &place.path, message, "at least one is needed", help);
        }
        let mut nodes = Vec::new();
        for (index, value) in array.iter().enumerate() {
            let path = format!("{}[{index}]", place.path);
            let mut at = Place { path, span: value.span(), inert: place.inert };
            if !key.enforced && !at.inert {
                self.not_enforced(&at);
                at.inert = true;
            }
            nodes.extend(self.sub_table(value, keys, &at));
        }
        Value::List(nodes)
    }

    pub(super) fn steps(
        &mut self,
        place: &Place,
        array: &DeArray<'_>,
        keys: &'static [Key],
    ) -> Value {
        if array.is_empty() {
            let message = format!("`{}` is empty", place.path);
            let help = "name at least one step, such as { reset_connections = {} }";
            self.sink.error(&place.span, &place.path, message, "no step", help);
        }
        let mut nodes = Vec::new();
        for (index, value) in array.iter().enumerate() {
            let path = format!("{}[{index}]", place.path);
            let at = Place { path, span: value.span(), inert: place.inert };
            if let DeValue::Table(table) = value.get_ref()
                && let actions = table
                    .keys()
                    .filter(|key| !BESIDE_STEPS.contains(&key.get_ref().as_ref()))
                    .count()
                && actions != 1
            {
                let message = format!("`{}` must have exactly one action, not {actions}", at.path);
                let help = "one table for each step: [ { reset_limits = {} }, { thaw = {} } ]";
                self.sink.error(&at.span, &at.path, message, "one step each", help);
            }
            nodes.extend(self.sub_table(value, keys, &at));
        }
        Value::List(nodes)
    }

    pub(super) fn endpoints(&mut self, place: &Place, array: &DeArray<'_>) -> Value {
        if array.is_empty() {
            let message = format!("`{}` is empty", place.path);
            let help = "name at least one endpoint, such as \"api.example.com:443\"";
            self.sink.error(&place.span, &place.path, message, "no endpoint", help);
        }
        let mut endpoints = Vec::with_capacity(array.len());
        for (span, text) in self.texts(place, array) {
            match endpoint::parse(&text) {
                Ok(endpoint) => endpoints.push((span, endpoint)),
                Err(problem) => self.sink.problem(&span, &place.path, problem),
            }
        }
        Value::Endpoints(endpoints)
    }

    pub(super) fn networks(&mut self, place: &Place, array: &DeArray<'_>) -> Value {
        let mut networks = Vec::with_capacity(array.len());
        for (span, text) in self.texts(place, array) {
            match network::parse_protected(&text) {
                Ok(network) => networks.push(network),
                Err(problem) => self.sink.problem(&span, &place.path, problem),
            }
        }
        Value::Networks(networks)
    }
}
