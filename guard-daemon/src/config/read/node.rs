//! The file after reading: a tree of typed values, with defaults filled in and positions kept.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::schema::Key;
use crate::plan::Endpoint;

/// A typed value.
#[derive(Clone, Debug)]
pub(in crate::config) enum Value {
    /// Right, but nothing in this version acts on it.
    Checked,
    Duration(Duration),
    Integer(u64),
    Number(f64),
    /// A word, a name or a path, checked.
    Text(String),
    Listen(Option<SocketAddr>),
    Endpoints(Vec<(Range<usize>, Endpoint)>),
    Networks(Vec<IpNet>),
    Table(Node),
    Named(Vec<Named>),
    List(Vec<Node>),
}

/// One entry of a `[x.NAME]` table.
#[derive(Clone, Debug)]
pub(in crate::config) struct Named {
    pub(in crate::config) name: String,
    pub(in crate::config) name_span: Range<usize>,
    pub(in crate::config) node: Node,
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(in crate::config) struct Field {
    pub(in crate::config) key: &'static Key,
    pub(in crate::config) path: String,
    pub(in crate::config) span: Range<usize>,
    pub(in crate::config) value: Value,
    /// Whether it is in the file; if not, it is the default.
    pub(in crate::config) given: bool,
}

/// A table: those of its keys that are right, and defaults.
#[derive(Clone, Debug, Default)]
pub(in crate::config) struct Node {
    pub(in crate::config) path: String,
    pub(in crate::config) fields: Vec<Field>,
    /// Keys that are in the file with a wrong value: neither that nor the default holds.
    pub(in crate::config) wrong: Vec<&'static str>,
}

impl Node {
    pub(in crate::config) fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|f| f.key.name == name)
    }

    pub(in crate::config) fn text(&self, name: &str) -> Option<&str> {
        match &self.field(name)?.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(in crate::config) fn duration(&self, name: &str) -> Option<Duration> {
        match self.field(name)?.value {
            Value::Duration(duration) => Some(duration),
            _ => None,
        }
    }

    pub(in crate::config) fn integer(&self, name: &str) -> Option<u64> {
        match self.field(name)?.value {
            Value::Integer(integer) => Some(integer),
            _ => None,
        }
    }

    pub(in crate::config) fn number(&self, name: &str) -> Option<f64> {
        match self.field(name)?.value {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    /// `None` for "off" too.
    pub(in crate::config) fn listen(&self, name: &str) -> Option<SocketAddr> {
        match self.field(name)?.value {
            Value::Listen(listen) => listen,
            _ => None,
        }
    }

    pub(in crate::config) fn networks(&self, name: &str) -> &[IpNet] {
        match self.field(name).map(|f| &f.value) {
            Some(Value::Networks(networks)) => networks,
            _ => &[],
        }
    }

    pub(in crate::config) fn endpoints(&self, name: &str) -> &[(Range<usize>, Endpoint)] {
        match self.field(name).map(|f| &f.value) {
            Some(Value::Endpoints(endpoints)) => endpoints,
            _ => &[],
        }
    }

    pub(in crate::config) fn table(&self, name: &str) -> Option<&Self> {
        match &self.field(name)?.value {
            Value::Table(node) => Some(node),
            _ => None,
        }
    }

    pub(in crate::config) fn named(&self, name: &str) -> &[Named] {
        match self.field(name).map(|f| &f.value) {
            Some(Value::Named(named)) => named,
            _ => &[],
        }
    }

    pub(in crate::config) fn list(&self, name: &str) -> &[Self] {
        match self.field(name).map(|f| &f.value) {
            Some(Value::List(list)) => list,
            _ => &[],
        }
    }
}
